"""Workers that compare: one comparison of each replayed request, whatever happens to them."""

import collections
import json

import pytest

from support import millrace
from support.jobs import chat, demo_jobs, encode, write_lines
from support.ports import wait_until
from support.records import consume_quiet, headers_of, is_drained, produce


def answer(text, model="gpt-4o-mini", **fields):
    """An incumbent's answer as a record brings it."""
    message = {"role": "assistant", "content": text}
    body = {
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
    }
    return {"status_code": 200, "body": body, "latency_ms": 900.0, **fields}


def with_answer(request, incumbent, **fields):
    return {**request, "millrace": {**fields, "incumbent": incumbent}}


def replayed(requests):
    return [(request["custom_id"], encode(request), None) for request in requests]


def is_compared(kafka, topics):
    return is_drained(kafka.bootstrap, topics.replay, topics.requests)


def comparisons(kafka, topics):
    """-> {custom_id: comparison}; each has come once."""
    messages = consume_quiet(kafka.bootstrap, topics.comparisons)
    found = [json.loads(message.value()) for message in messages]
    times = collections.Counter(comparison["custom_id"] for comparison in found)
    assert not [name for name, count in times.items() if count > 1]
    return {comparison["custom_id"]: comparison for comparison in found}


def verdicts(comparison):
    return {verdict["name"]: verdict["passed"] for verdict in comparison["verdicts"]}


@pytest.mark.smoke
def test_each_replayed_request_becomes_one_comparison(kafka, topics, config, run_worker):
    config["mode"] = "compare"
    jobs = demo_jobs(200)
    requests = [
        with_answer(line, answer(reference, cost_usd=0.0001), labels={"prompt": "demo"})
        for line, reference in jobs.values()
    ]
    streamed = with_answer(chat("streamed", stream=True, stream_options={}), answer("yes"))
    refused = with_answer(chat("refused", tea=1), answer("yes"))
    alone = chat("alone")
    produce(
        kafka.bootstrap, topics.replay, replayed([*requests, streamed, refused, alone]) + [b"no"]
    )
    worker = run_worker(config)
    wait_until(lambda: is_compared(kafka, topics), 120, "the comparisons")
    assert worker.metric("millrace_comparisons_total", candidate="answered") == 201
    assert worker.metric("millrace_comparisons_total", candidate="unsupported") == 1
    assert worker.metric("millrace_comparisons_total", candidate="failed") == 0
    assert worker.stop(30) == 0, worker.log_tail()
    found = comparisons(kafka, topics)
    assert found.keys() == {*jobs, "streamed", "refused"}
    for name, (_line, reference) in jobs.items():
        comparison = found[name]
        assert comparison["incumbent"]["body"]["choices"][0]["message"]["content"] == reference
        assert comparison["incumbent"]["completion_tokens"] == 5
        assert comparison["candidate"]["body"]["choices"][0]["message"]["content"]
        assert comparison["candidate"]["latency_ms"] > 0
        assert comparison["prompt_template"] == "demo"
        assert verdicts(comparison).items() >= {"supported": True, "answered": True}.items()
        scores = {score["name"]: score for score in comparison["scores"]}
        assert 0 <= scores["rougeL"]["value"] <= 1 and scores["rougeL"]["against"] == "incumbent"
    assert found["streamed"]["dropped"] == ["stream", "stream_options"]
    assert verdicts(found["refused"]) == {"supported": False}
    assert "tea" in found["refused"]["error"]["message"]
    letters = map(headers_of, consume_quiet(kafka.bootstrap, topics.dead_letters))
    reasons = sorted(letter["__connect.errors.exception.message"] for letter in letters)
    assert len(reasons) == 2 and "no answer of the incumbent" in reasons[0]
    assert not consume_quiet(kafka.bootstrap, topics.responses)


def test_killed_workers_lose_and_repeat_no_comparison(kafka, topics, config, run_worker):
    config |= {"mode": "compare", "generator": "scripted", "scripted.latency.ms": 20}
    config["kafka"]["transaction.timeout.ms"] = 3000
    requests = [with_answer(chat(f"r-{i}"), answer("yes")) for i in range(3000)]
    produce(kafka.bootstrap, topics.replay, replayed(requests))
    worker = run_worker(config, "victim-0")
    for round_number in range(3):
        wait_until(
            lambda: worker.metric("millrace_records_total") > 200 or is_compared(kafka, topics),
            60,
            "some comparisons",
        )
        worker.kill()
        worker = run_worker(config, f"victim-{round_number + 1}")
    wait_until(lambda: is_compared(kafka, topics), 60, "the end of the backlog")
    assert worker.stop(30) == 0, worker.log_tail()
    assert comparisons(kafka, topics).keys() == {f"r-{i}" for i in range(3000)}


def batch_answer(custom_id, text):
    """A line of an OpenAI batch output file."""
    response = {"status_code": 200, "request_id": "req", "body": answer(text)["body"]}
    return {"id": "batch_req", "custom_id": custom_id, "response": response, "error": None}


def values(kafka, topic):
    """-> partition -> values in their order."""
    found = collections.defaultdict(list)
    for message in consume_quiet(kafka.bootstrap, topic):
        found[message.partition()].append(message.value())
    return found


def replay(path, *options):
    result = millrace.run("replay", "--config", path, "--requests", "--json", *options)
    assert result.returncode in (0, 1), result.stderr
    return json.loads(result.stdout)


def test_recorded_requests_are_joined_with_their_answers(
    kafka, topics, config, run_worker, tmp_path
):
    """From a topic and a batch output file, by a sample; then both as files."""
    config |= {"mode": "compare", "generator": "scripted"}
    path = tmp_path / "worker.yaml"
    path.write_text(json.dumps(config))
    requests = [chat(f"r-{i}", millrace={"deadline_ms": 1}) for i in range(200)]
    produce(kafka.bootstrap, topics.requests, replayed(requests))
    lines = write_lines(tmp_path / "requests.jsonl", requests)
    recorded = [batch_answer(f"r-{i}", f"answer {i}") for i in range(190)]
    answers = write_lines(tmp_path / "answers.jsonl", recorded)

    dry = replay(path, "--answers", answers, "--dry-run")
    assert (dry["matched"], dry["sent"], dry["without_answer"]) == (200, 190, 10)
    assert not values(kafka, topics.replay)
    first = replay(path, "--answers", answers, "--sample", "0.5", "--rate", "200")
    assert first["seconds"] > first["sent"] / 200 - 0.01
    once = values(kafka, topics.replay)
    assert sum(map(len, once.values())) == first["sent"] and 60 < first["sent"] < 130
    assert replay(path, "--answers", answers, "--sample", "0.5")["sent"] == first["sent"]
    assert values(kafka, topics.replay) == {p: found * 2 for p, found in once.items()}

    produced = millrace.run(
        "produce", "--config", path, "--json", "--from", "openai-batch", lines, answers
    )
    assert produced.returncode == 1 and json.loads(produced.stdout)["sent"] == 190
    worker = run_worker(config)
    wait_until(lambda: is_compared(kafka, topics), 60, "the comparisons")
    assert worker.stop(30) == 0, worker.log_tail()
    messages = consume_quiet(kafka.bootstrap, topics.comparisons)
    assert len(messages) == 2 * first["sent"] + 190
    for message in messages:
        comparison = json.loads(message.value())
        number = comparison["custom_id"].removeprefix("r-")
        text = comparison["incumbent"]["body"]["choices"][0]["message"]["content"]
        assert text == f"answer {number}" and verdicts(comparison)["answered"]
