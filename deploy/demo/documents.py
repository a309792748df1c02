"""Synthetic business documents with known facts, and the three jobs the demo model is trained for.

A document is built from facts (a dict), so the right answer of every job is known:
  summarize  one sentence with the key facts
  extract    a JSON object with the facts
  classify   the document's type, one word

Three ways to use it:
  documents.py --count 1000 --seed 7           OpenAI batch lines (JSONL), each with the reference
                                               answer beside it under "millrace"
  documents.py --incumbent gpt-4o-mini ...     the same with an incumbent's recorded answer
  documents.py --count 40 --texts documents    a folder of plain text documents

The splits "train" and "test" never share a document, whatever their seeds.
"""

import argparse
import json
import pathlib
import random


def words(text):
    """The items of a text that separates them by bars; line breaks do not matter."""
    return [" ".join(item.split()) for item in text.split("|")]


PEOPLE = words("""
    Maria Lopez | James Carter | Aisha Khan | Peter Novak | Linda Berg | Tomas Silva |
    Grace Obi | Henry Wolff | Sofia Rossi | Daniel Kim | Emma Clarke | Victor Hugo Reyes |
    Nina Petrova | Omar Haddad | Julia Stein | Rahul Mehta | Chloe Martin | Lars Olsen |
    Yuki Tanaka | Kofi Mensah | Irene Walsh | Marco Bianchi | Hanna Virtanen | Samuel Green |
    Leila Nasser | Pavel Horak | Carmen Diaz | Oliver Grant | Fatima Zahra | Erik Lund
    """)
SERVICES = words("""
    billing api | search index | login gateway | order service | mail relay | payment queue |
    image store | report engine | inventory sync | customer portal | data warehouse |
    chat backend
    """)
CAUSES = words("""
    an expired certificate | a full disk | a bad configuration change | a memory leak |
    a failed database migration | a network partition | an overloaded cache |
    a faulty power supply | a stuck lock | a wrong DNS record
    """)
FIXES = words("""
    renewing the certificate | freeing disk space | rolling back the change |
    restarting the service | restoring the database | rerouting the traffic |
    adding cache nodes | replacing the power supply | clearing the lock | correcting the record
    """)
TEAMS = words("platform | storage | network | payments | identity | search | mobile | data")
SUPPLIERS = words("""
    Northwind Metals | Blue River Foods | Alpine Textiles | Harbor Plastics | Sunrise Paper |
    Delta Chemicals | Oakfield Timber | Granite Tools | Silver Creek Glass | Prairie Grains
    """)
ITEMS = words("""
    steel bolts | copper pipes | cotton rolls | glass panels | paper boxes | wooden pallets |
    paint drums | grain sacks | plastic lids | rubber seals | cable reels | filter cartridges
    """)
CARRIERS = words("""
    Falcon Freight | Metro Cargo | Transline | Baltic Haul | Swift Road | Union Rail
    """)
SITES = words("""
    kitchen | boiler room | loading dock | paint shop | cold store | laboratory |
    assembly hall | server room
    """)
FAULTS = words("""
    a blocked fire exit | a missing guard rail | an expired extinguisher | a leaking valve |
    unlabelled containers | a damaged cable | poor ventilation | a broken alarm
    """)
PRODUCTS = words("""
    coffee grinder | desk lamp | travel bag | water bottle | phone case | office chair |
    bread maker | hiking jacket | wall clock | power drill
    """)
ISSUES = words("""
    arrived damaged | stopped working | was the wrong color | came without a manual |
    was delivered late | made a loud noise | had a missing part | was charged twice
    """)
REMEDIES = words("""
    a full refund | a replacement | a repair | a discount | an apology | a spare part
    """)
PROJECTS = words("""
    Atlas | Beacon | Comet | Dolphin | Ember | Falcon | Glacier | Harvest | Indigo | Juniper
    """)
DECISIONS = words("""
    to delay the launch | to hire two engineers | to change the vendor | to extend the pilot |
    to cut the scope | to move to a new office | to start user testing | to freeze the budget
    """)

# Sentences without a fact that matters: a reader has to tell them from the others.
FILLER = words("""
    The weather was mild for most of the day. | Nothing else unusual was noted. |
    The notes were typed up the same evening. |
    Coffee was served in the small room on the second floor. |
    A copy of this note was filed in the shared folder. |
    The format of this note follows the usual template. |
    Several people asked for a shorter form next time. | The phone line was poor at times. |
    No visitors were present. | The previous note on this subject was closed last month. |
    Parking near the building was difficult. |
    The clock in the hall was still five minutes slow. | A reminder will be sent by mail. |
    The printer was out of paper again. | All times are local. |
    Some remarks were left out because they were not relevant. |
    The usual checks were made before lunch. | Thanks go to everyone who helped. |
    This text was written in a hurry and may contain small errors. |
    Further questions can be sent to the front desk. |
    The lights in the corridor were replaced during the week. |
    The old forms may still be used until the end of the year. |
    One attachment was too large to send. | The room was warmer than usual.
    """)


def day(rng):
    # Digits only: names of months, always in the same place, were never copied right.
    return f"{rng.randint(2021, 2029)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def incident_facts(rng):
    cause = rng.randrange(len(CAUSES))  # a cause and its fix belong together
    return dict(
        service=rng.choice(SERVICES),
        date=day(rng),
        minutes=rng.randint(4, 240),
        users=rng.randint(2, 99) * 10,
        cause=CAUSES[cause],
        fix=FIXES[cause],
        team=rng.choice(TEAMS),
    )


def delivery_facts(rng):
    return dict(
        supplier=rng.choice(SUPPLIERS),
        item=rng.choice(ITEMS),
        quantity=rng.randint(2, 90) * 10,
        damaged=rng.randint(1, 19),
        warehouse=rng.randint(2, 99),
        carrier=rng.choice(CARRIERS),
        date=day(rng),
    )


def inspection_facts(rng):
    return dict(
        site=rng.choice(SITES),
        building=rng.randint(2, 99),
        inspector=rng.choice(PEOPLE),
        score=rng.randint(31, 99),
        fault=rng.choice(FAULTS),
        deadline=day(rng),
    )


def complaint_facts(rng):
    return dict(
        customer=rng.choice(PEOPLE),
        product=rng.choice(PRODUCTS),
        order=rng.randint(1000, 9999),
        issue=rng.choice(ISSUES),
        remedy=rng.choice(REMEDIES),
        date=day(rng),
    )


def meeting_facts(rng):
    return dict(
        project=rng.choice(PROJECTS),
        chair=rng.choice(PEOPLE),
        decision=rng.choice(DECISIONS),
        budget=rng.randint(2, 95) * 1000,
        owner=rng.choice(PEOPLE),
        next=day(rng),
    )


FACTS = dict(
    incident=incident_facts,
    delivery=delivery_facts,
    inspection=inspection_facts,
    complaint=complaint_facts,
    meeting=meeting_facts,
)

# How each kind of document is told: every sentence in two wordings, then the right summary, then
# the same summary in an incumbent's words.
WORDINGS = dict(
    incident=dict(
        sentences=[
            (
                "On {date} the {service} stopped answering for {minutes} minutes.",
                "The {service} was down for {minutes} minutes on {date}.",
            ),
            ("About {users} users were affected.", "Support counted {users} affected users."),
            ("The cause was {cause}.", "The outage was traced to {cause}."),
            (
                "The {team} team solved it by {fix}.",
                "It was fixed by {fix}, done by the {team} team.",
            ),
        ],
        summary=(
            "The {service} was down for {minutes} minutes on {date} because of {cause}; the "
            "{team} team fixed it by {fix}."
        ),
        incumbent=(
            "On {date}, {cause} took down the {service} for {minutes} minutes, affecting "
            "{users} users, until the {team} team fixed it by {fix}."
        ),
    ),
    delivery=dict(
        sentences=[
            (
                "{supplier} delivered {quantity} {item} to warehouse {warehouse} on {date}.",
                "On {date} warehouse {warehouse} received {quantity} {item} from {supplier}.",
            ),
            ("The goods were carried by {carrier}.", "{carrier} was the carrier."),
            ("{damaged} of them were damaged.", "The check found {damaged} damaged pieces."),
        ],
        summary=(
            "{supplier} delivered {quantity} {item} to warehouse {warehouse} on {date} with "
            "{carrier}; {damaged} were damaged."
        ),
        incumbent=(
            "Warehouse {warehouse} received {quantity} {item} from {supplier} on {date}, "
            "carried by {carrier}, of which {damaged} were damaged."
        ),
    ),
    inspection=dict(
        sentences=[
            (
                "{inspector} inspected the {site} of building {building}.",
                "The {site} of building {building} was inspected by {inspector}.",
            ),
            ("The score was {score} out of 100.", "It scored {score} points of 100."),
            ("The main finding was {fault}.", "The inspector found {fault}."),
            (
                "It must be corrected by {deadline}.",
                "The deadline for the correction is {deadline}.",
            ),
        ],
        summary=(
            "{inspector} inspected the {site} of building {building}, gave it {score} of 100, "
            "and found {fault}, to be corrected by {deadline}."
        ),
        incumbent=(
            "The {site} of building {building} scored {score} of 100 in the inspection by "
            "{inspector}; {fault} must be corrected by {deadline}."
        ),
    ),
    complaint=dict(
        sentences=[
            (
                "{customer} wrote to us on {date} about order {order}.",
                "On {date} we got a letter from {customer} about order {order}.",
            ),
            ("The {product} {issue}.", "The customer says that the {product} {issue}."),
            ("The customer asks for {remedy}.", "The request is for {remedy}."),
        ],
        summary=(
            "{customer} complained on {date} that the {product} of order {order} {issue} and "
            "asks for {remedy}."
        ),
        incumbent=(
            "In a letter of {date}, {customer} reports that the {product} from order {order} "
            "{issue}, and wants {remedy}."
        ),
    ),
    meeting=dict(
        sentences=[
            (
                "{chair} chaired the meeting of the {project} project.",
                "The {project} project met; {chair} was in the chair.",
            ),
            ("The group decided {decision}.", "It was decided {decision}."),
            ("The budget is {budget} euros.", "A budget of {budget} euros was approved."),
            ("{owner} is responsible.", "The owner is {owner}."),
            ("The next meeting is on {next}.", "They meet again on {next}."),
        ],
        summary=(
            "The {project} project, chaired by {chair}, decided {decision} with a budget of "
            "{budget} euros; {owner} is responsible and the next meeting is on {next}."
        ),
        incumbent=(
            "In the {project} meeting led by {chair} it was decided {decision}; {owner} owns "
            "it, the budget is {budget} euros, and they meet again on {next}."
        ),
    ),
)

SYSTEM = "You are a careful assistant that reads business documents."
TASKS = dict(
    summarize="Summarize the document in one sentence.",
    extract="Extract the facts of the document as a JSON object.",
    classify=(
        "Classify the document. Answer with one word: "
        "incident, delivery, inspection, complaint or meeting."
    ),
)


def document(rng, filler_max=10):
    """-> kind, text, facts, the right summary, an incumbent's summary."""
    kind = rng.choice(list(FACTS))
    facts = FACTS[kind](rng)
    wording = WORDINGS[kind]
    lines = [rng.choice(pair).format(**facts) for pair in wording["sentences"]]
    for sentence in rng.sample(FILLER, rng.randint(2, filler_max)):
        lines.insert(rng.randint(0, len(lines)), sentence)
    paragraphs, at = [], 0
    while at < len(lines):
        size = rng.randint(2, 5)
        paragraphs.append(" ".join(lines[at : at + size]))
        at += size
    text = "\n\n".join([f"Note {rng.randint(100, 999)}"] + paragraphs)
    summaries = [wording[name].format(**facts) for name in ("summary", "incumbent")]
    return kind, text, facts, *summaries


def job(rng, task=None, filler_max=10):
    """-> dict with task, kind, messages, the reference answer, and an incumbent's answer."""
    kind, text, facts, summary, incumbent_summary = document(rng, filler_max)
    task = task or rng.choice(list(TASKS))
    extracted = json.dumps(dict(type=kind, **facts))
    return dict(
        task=task,
        kind=kind,
        messages=[
            dict(role="system", content=SYSTEM),
            dict(role="user", content=TASKS[task] + "\n\n" + text),
        ],
        reference=dict(summarize=summary, extract=extracted, classify=kind)[task],
        incumbent=dict(summarize=incumbent_summary, extract=extracted, classify=kind)[task],
    )


def stream(split, seed):
    """A generator of random sources; the two splits never share one."""
    base = seed if split == "train" else 1_000_000 + seed
    return random.Random(base)


def incumbent_answer(rng, name, model, text):
    """The record of an answer that an incumbent gave: an OpenAI response and what it cost."""
    message = dict(role="assistant", content=text)
    body = dict(
        id=f"chatcmpl-{name}",
        object="chat.completion",
        created=1760000000,
        model=model,
        choices=[dict(index=0, message=message, logprobs=None, finish_reason="stop")],
    )
    latency_ms = rng.randint(400, 2500)
    return dict(status_code=200, body=body, model=model, latency_ms=latency_ms, cost_usd=0.0001)


def batch_lines(options):
    rng = stream(options.split, options.seed)
    for i in range(options.count):
        j = job(rng, options.task)
        name = f"{options.split}-{options.seed}-{i:06d}"
        extra = dict(labels=dict(task=j["task"], kind=j["kind"]), reference=j["reference"])
        if options.incumbent:
            extra["incumbent"] = incumbent_answer(rng, name, options.incumbent, j["incumbent"])
        body = dict(model=options.model, messages=j["messages"], temperature=0, max_tokens=160)
        url = "/v1/chat/completions"
        yield dict(custom_id=name, method="POST", url=url, body=body, millrace=extra)


def write_texts(options):
    folder = pathlib.Path(options.texts)
    folder.mkdir(parents=True, exist_ok=True)
    rng = stream(options.split, options.seed)
    for i in range(options.count):
        _, text, *_ = document(rng)
        (folder / f"note-{i:03d}.txt").write_text(text)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=["train", "test"], default="test")
    parser.add_argument("--task", choices=list(TASKS))
    parser.add_argument("--model", default="scribe")
    parser.add_argument("--incumbent", metavar="MODEL", help="record this model's answers too")
    parser.add_argument("--texts", metavar="DIR", help="write plain text documents to DIR")
    options = parser.parse_args()
    if options.texts:
        write_texts(options)
        return
    for line in batch_lines(options):
        print(json.dumps(line))


if __name__ == "__main__":
    main()
