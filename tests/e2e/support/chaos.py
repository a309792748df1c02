"""Faults against a group of workers while requests flow, and the count of what readers saw.

Requests come at a steady rate. Each fault comes at a random moment of its share of them, counted by
what is answered, so that it meets work in progress however quick the machine is. What it breaks is
mended by a schedule while the next ones come. At the end everything is mended, the rest is
answered, the workers are stopped, and an independent read_committed client counts.
"""

import dataclasses
import heapq
import itertools
import json
import random
import time

from support.fleet import Fleet
from support.proxy import Proxy
from support.records import hanging, is_drained
from support.recovery import PROMPT_S, Recovery, summary
from support.traffic import Traffic, stamp

SESSION_TIMEOUT_S = 3
TRANSACTION_TIMEOUT_S = 5
TURN_S = 0.05
STEP_TIMEOUT_S = 10  # after this a fault comes also when too little is answered
RESTART_ANSWERS = 1000  # that a broker lives for at least,
RESTART_TIMEOUT_S = 60  # if it does not take longer
STALL_TIMEOUT_S = 90  # without any result, with everything mended
HANGING_S = 30  # far longer than a dead worker's transaction may last
WORKERS_MAX = 5
FENCED = 1  # exit code of a worker whose worker.id another one has taken

SCENARIOS = {
    "kills": ["kill_worker"],
    "broker": ["kill_broker"],
    "resize": ["resize"],
    "zombies": ["freeze_worker"],
    "network": ["break_network"],
    "mixed": ["kill_worker", "kill_broker", "resize", "freeze_worker", "break_network"],
}


@dataclasses.dataclass
class Plan:
    scenario: str
    requests: int
    faults: int
    seed: int
    guarantee: str = "auto"
    rate: int = 300  # requests in a second
    workers: int = 3
    latency_ms: int = 20
    is_static: bool = False  # members of the group, by kafka.group.instance.id


def worker_config(plan, bootstrap, topics):
    return {
        "kafka": {
            "bootstrap.servers": bootstrap,
            "group.id": topics.requests,
            "session.timeout.ms": SESSION_TIMEOUT_S * 1000,
            "heartbeat.interval.ms": 500,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_S * 1000,
        },
        "topics": vars(topics),
        "delivery.guarantee": plan.guarantee,
        "generator": "scripted",
        "scripted.latency.ms": plan.latency_ms,
        "intake.records.max": 256,
        # Each kill may be the fault of a record that runs: so many in a row are not meant here.
        "attempts.max": 20,
        "pool.threads": 1,
        "drain.timeout.ms": 10000,
        "models": [{"name": "scribe", "path": "."}],
    }


class Chaos:
    def __init__(self, plan, broker, topics, folder):
        self.plan, self.broker, self.topics, self.folder = plan, broker, topics, folder
        self.random = random.Random(plan.seed)
        self.proxy = Proxy(broker.proxy_port, broker.detour_port)
        self.fleet = Fleet(folder, worker_config(plan, broker.bootstrap, topics), plan.is_static)
        self.traffic = Traffic(broker.bootstrap, topics, plan.requests, plan.rate)
        self.schedule = []  # (time, order, what to do)
        self.order = itertools.count()
        self.events = []  # (time, kind, text)
        self.answered_before = 0  # the latest kill of the broker

    def run(self):
        """-> the report; its `problems` are empty when everything went as it must."""
        begun = time.monotonic()
        self.proxy.start()
        try:
            self.launch_workers()
            self.break_things()
            problems = self.settle()
        finally:
            self.fleet.kill_all()
            self.proxy.stop()
        return self.report(problems, time.monotonic() - begun)

    def launch_workers(self):
        for i in range(self.plan.workers):
            detour = i == 0 and "break_network" in SCENARIOS[self.plan.scenario]
            bootstrap = f"127.0.0.1:{self.broker.proxy_port}"
            self.fleet.launch(
                worker_config(self.plan, bootstrap, self.topics) if detour else None
            )

    def break_things(self):
        share = self.plan.requests / self.plan.faults
        self.wait_for(lambda: self.traffic.answered > 0, 60)
        for step in range(self.plan.faults):
            goal = (step + self.random.uniform(0.1, 0.9)) * share
            self.wait_for(lambda goal=goal: self.traffic.answered >= goal, STEP_TIMEOUT_S)
            getattr(self, self.random.choice(SCENARIOS[self.plan.scenario]))()

    # One turn of everything that goes on beside the faults.

    def turn(self):
        self.traffic.turn(TURN_S)
        self.fleet.reap()
        while self.schedule and self.schedule[0][0] <= time.monotonic():
            heapq.heappop(self.schedule)[2]()

    def wait_for(self, condition, timeout_s):
        deadline = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < deadline:
            self.turn()
        return condition()

    def later(self, seconds, action, *arguments):
        entry = (time.monotonic() + seconds, next(self.order), lambda: action(*arguments))
        heapq.heappush(self.schedule, entry)

    def note(self, kind, text):
        self.events.append((time.time(), kind, text))

    # The faults.

    def kill_worker(self):
        self.wait_for(self.fleet.running, STEP_TIMEOUT_S)
        worker = self.random.choice(self.fleet.running())
        self.note("kill", worker.log.name)
        self.fleet.kill(worker)
        fate = self.random.random()
        if fate < 0.5:
            self.relaunch(worker)
        elif fate < 0.75:
            self.later(self.random.uniform(0.2, 4), self.relaunch, worker)
        else:
            self.note("replace", worker.log.name)
            self.fleet.launch(worker.config)

    def relaunch(self, worker):
        self.note("restart", worker.log.name)
        self.fleet.relaunch(worker)

    def kill_broker(self):
        # Not again before it was of use: a start takes longer than a step on a busy machine.
        enough = self.answered_before + min(RESTART_ANSWERS, self.plan.requests // 10)
        self.wait_for(lambda: self.traffic.answered > enough, RESTART_TIMEOUT_S)
        if self.broker.process.poll() is None:
            self.note("kill broker", "")
            self.answered_before = self.traffic.answered
            self.broker.kill()
            self.later(self.random.uniform(0, 1), self.broker.launch)

    def resize(self):
        running = self.fleet.running()
        shrinks = len(running) >= WORKERS_MAX or self.random.random() < 0.5
        if shrinks and len(running) > 1:
            worker = self.random.choice(running)
            self.note("stop", worker.log.name)
            self.fleet.terminate(worker)
        else:
            worker = self.fleet.launch()
            self.note("grow", worker.log.name)

    def freeze_worker(self):
        self.wait_for(self.fleet.running, 2 * STEP_TIMEOUT_S)
        worker = self.random.choice(self.fleet.running())
        longest = max(SESSION_TIMEOUT_S, TRANSACTION_TIMEOUT_S)
        seconds = self.random.uniform(0.5 * longest, 2 * longest)
        self.note("freeze", f"{worker.log.name} for {seconds:.1f} s")
        self.fleet.freeze(worker)
        self.later(seconds, self.wake, worker)
        if self.plan.guarantee != "at_least_once" and self.random.random() < 0.3:
            self.later(seconds / 2, self.replace_frozen, worker)

    def replace_frozen(self, worker):
        """Another process takes the worker.id of one that sleeps, and fences it. A sleeper whose
        transaction has run into its timeout cannot tell that from a fence, and fences back; so
        either may end, but they must not go on fencing each other."""
        successor = self.fleet.launch(worker.config, worker.id)
        self.fleet.expected[worker] = {FENCED}
        self.fleet.fenced.add(successor)
        self.note("replace", f"{worker.log.name} by {successor.log.name}")

    def wake(self, worker):
        if worker in self.fleet.asleep:
            self.note("wake", worker.log.name)
            self.fleet.wake(worker)

    def break_network(self):
        self.proxy.heal()
        kind = self.random.choice(["cut", "refuse", "stall", "lose answers", "delay"])
        seconds = self.random.uniform(0.2, 2 * SESSION_TIMEOUT_S)
        self.note("network", f"{kind} for {seconds:.1f} s")
        if kind == "cut":
            self.proxy.cut()
        elif kind == "refuse":
            self.proxy.refuse()
        elif kind == "stall":
            self.proxy.stall()
        elif kind == "lose answers":
            self.proxy.stall("from_server")
            self.later(seconds * 0.9, self.proxy.cut)
        else:
            self.proxy.delay(self.random.uniform(0.01, 0.3))
        self.later(seconds, self.proxy.heal)

    # The end.

    def settle(self):
        """Mends everything, waits for the rest and counts. -> problems"""
        self.wait_for(lambda: not self.schedule, 60)
        self.proxy.heal()
        if not self.fleet.running():
            self.fleet.launch()
        problems = []
        if not self.answer_the_rest():
            problems.append(f"no result for {STALL_TIMEOUT_S} s, with requests waiting")
        elif not self.wait_for(self.is_lag_zero, 60):
            problems.append("the group's lag has not become zero")
        self.fleet.stop_all()
        self.wait_for(lambda: False, 1)
        problems += self.fleet.surprises + self.fleet.troubles()
        problems += self.hanging()
        self.counted = self.traffic.recount()
        self.wait_for(lambda: len(self.traffic.outcomes) >= len(self.counted), 10)
        return problems + self.count_problems()

    def hanging(self):
        """-> problems: results that stay hidden behind a transaction that the broker never ends.
        No request is lost by that, but its result is not there to be counted."""
        self.wait_for(lambda: not any(self.open_transactions().values()), HANGING_S)
        return [
            f"a transaction hangs in {topic}/{partition} at {first} of {end}"
            for topic, partitions in self.open_transactions().items()
            for partition, (first, end) in partitions.items()
        ]

    def open_transactions(self):
        topics = self.topics.responses, self.topics.dead_letters
        return {topic: hanging(self.broker.bootstrap, topic) for topic in topics}

    def answer_the_rest(self):
        answered, since = -1, time.monotonic()
        while self.traffic.answered < self.plan.requests:
            if self.traffic.answered > answered:
                answered, since = self.traffic.answered, time.monotonic()
            if time.monotonic() - since > STALL_TIMEOUT_S:
                return False
            self.turn()
        return True

    def is_lag_zero(self):
        return is_drained(self.broker.bootstrap, self.topics.requests, self.topics.requests)

    def count_problems(self):
        traffic, counted = self.traffic, self.counted
        wrong = [("lost", traffic.lost(counted)), ("changed", traffic.changed(counted))]
        if self.plan.guarantee != "at_least_once":
            wrong.append(("duplicated", traffic.duplicated(counted)))
        problems = []
        for word, numbers in wrong:
            if numbers:
                problems.append(f"{len(numbers)} requests {word}, the first of them:")
                problems += [traffic.describe(number, counted) for number in numbers[:10]]
        return problems

    def report(self, problems, wall_s):
        traffic, counted = self.traffic, self.counted
        kinds = [o.kind for outcomes in counted.values() for o in outcomes]
        recovery = Recovery(traffic.acknowledged, traffic.outcomes)
        faults = [at for at, kind, _ in self.events if kind in ("kill", "kill broker", "freeze")]
        delays = [delays for delays in map(recovery.after, faults) if delays]
        return {
            "plan": dataclasses.asdict(self.plan),
            "kafka": self.broker.version,
            "session_timeout_s": SESSION_TIMEOUT_S,
            "transaction_timeout_s": TRANSACTION_TIMEOUT_S,
            "wall_s": round(wall_s, 1),
            "faults": {
                kind: sum(k == kind for _, k, _ in self.events)
                for kind in sorted({k for _, k, _ in self.events})
            },
            "requests": traffic.produced,
            "outcomes": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
            "lost": len(traffic.lost(counted)),
            "duplicated": len(traffic.duplicated(counted)),
            "recovery": {
                "any_partition": summary([min(d) for d in delays]),
                "every_partition": summary([max(d) for d in delays]),
            },
            "waits": summary(recovery.waits),
            f"share_answered_within_{PROMPT_S}_s": round(recovery.share_prompt(), 4),
            "availability": round(recovery.availability(), 4),
            "readers_replaced": traffic.replaced,
            "reader_errors": sorted(traffic.reader.errors),
            "problems": problems,
        }

    def story(self):
        """What happened when, and how the logs end: to find out why."""
        lines = [f"seed {self.plan.seed}"]
        lines += [f"{stamp(at)} {kind} {text}" for at, kind, text in self.events[-60:]]
        for log in self.fleet.logs():
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            lines.append(f"--- {log}\n{tail}")
        return "\n".join(lines)


def run(plan, broker, topics, folder):
    """Runs the plan, and asserts that nothing was lost, doubled or otherwise wrong. -> report"""
    folder.mkdir(parents=True, exist_ok=True)
    print(f"chaos {json.dumps(dataclasses.asdict(plan))}")
    chaos = Chaos(plan, broker, topics, folder)
    report = chaos.run()
    print(json.dumps(report, indent=1))
    if report["problems"]:
        raise AssertionError("\n".join([*report["problems"], chaos.story()]))
    return report
