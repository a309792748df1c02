"""Several request topics in one worker: each is answered, drained and told apart, and the requests
of one start soon although another is flooded."""

import json
import signal
import time

import pytest

from support import millrace
from support.jobs import chat, encode
from support.ports import wait_until
from support.records import consume_quiet, headers_of, lag, open_reader, produce


def create_topic(kafka, name, partitions):
    kafka.create_topics([name], partitions)
    wait_until(lambda: name in kafka.admin.list_topics(timeout=5).topics, 30, name)


@pytest.fixture
def second(kafka, topics):
    """A second request topic, with fewer partitions than the first and the responses have."""
    name = f"{topics.requests}.second"
    create_topic(kafka, name, 2)
    return name


@pytest.fixture
def two_topics(config, topics, second):
    """A worker that reads both, answers from the script, and is in a session of short timeouts."""
    names = {**vars(topics), "requests": [topics.requests, second]}
    return config | {"topics": names, "generator": "scripted"}


def records(prefix, count):
    return [(f"{prefix}-{i}", encode(chat(f"{prefix}-{i}")), None) for i in range(count)]


def lag_of(kafka, config):
    group = config["kafka"]["group.id"]
    return sum(lag(kafka.bootstrap, name, group) for name in config["topics"]["requests"])


def wait_for_drain(kafka, config, timeout_s=60):
    wait_until(lambda: lag_of(kafka, config) == 0, timeout_s, "the end of the backlogs")


def answers(kafka, topics):
    """-> {custom_id: message}, having asserted that each came once."""
    messages = consume_quiet(kafka.bootstrap, topics.responses)
    by_id = {json.loads(message.value())["custom_id"]: message for message in messages}
    assert len(by_id) == len(messages)
    return by_id


def test_each_topic_is_answered_with_its_own_coordinates(
    kafka, topics, second, two_topics, run_worker
):
    produce(kafka.bootstrap, topics.requests, [*records("a", 30), b"no request"])
    produce(kafka.bootstrap, second, [*records("b", 30), b"none either"])
    worker = run_worker(two_topics)
    wait_for_drain(kafka, two_topics)
    assert worker.stop() == 0, worker.log_tail()
    by_id = answers(kafka, topics)
    assert sorted(by_id) == sorted(f"{prefix}-{i}" for prefix in "ab" for i in range(30))
    sources = set()
    for custom_id, message in by_id.items():
        source = json.loads(message.value())["millrace"]["source"]
        assert source["topic"] == (topics.requests if custom_id[0] == "a" else second)
        sources.add((source["topic"], source["partition"], source["offset"]))
        if custom_id[0] == "a":  # as many partitions as responses has; else the key decides
            assert message.partition() == source["partition"]
    assert len(sources) == 60
    letters = consume_quiet(kafka.bootstrap, topics.dead_letters)
    told = {headers_of(letter)["__connect.errors.topic"]: letter.value() for letter in letters}
    assert told == {topics.requests: b"no request", second: b"none either"}
    # By the key, as Java's default partitioner and this test's producer have it.
    keys = {message.key(): message.partition() for message in by_id.values()}
    probe = f"{second}.probe"
    create_topic(kafka, probe, 3)
    produce(kafka.bootstrap, probe, [(f"b-{i}", b"", None) for i in range(30)])
    for message in consume_quiet(kafka.bootstrap, probe):
        assert keys[message.key()] == message.partition()


def test_produce_chooses_a_topic_and_collect_finds_its_run(
    kafka, topics, second, two_topics, run_worker, tmp_path
):
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text("".join(json.dumps(chat(f"p-{i}")) + "\n" for i in range(20)))
    path = tmp_path / "both.yaml"
    path.write_text(json.dumps(two_topics))
    options = ["--config", path, "--run-id"]
    first = millrace.run("produce", *options, "run-1", jobs)
    assert f" to {topics.requests}," in first.stdout, first.stderr
    other = millrace.run("produce", *options, "run-2", "--topic", second, jobs)
    assert f" to {second}," in other.stdout, other.stderr
    wrong = millrace.run("produce", *options, "run-3", "--topic", topics.responses, jobs)
    assert wrong.returncode == 2 and "none of topics.requests" in wrong.stderr
    worker = run_worker(two_topics)
    for run_id in ("run-1", "run-2"):
        output = tmp_path / f"{run_id}.jsonl"
        result = millrace.run("collect", *options, run_id, "--output", output)
        assert result.returncode == 0, result.stderr + result.stdout
        assert len(output.read_text().splitlines()) == 20
    again = millrace.run("produce", *options, "run-2", "--topic", second, "--missing", jobs)
    assert again.returncode == 0 and "20 were there already" in again.stdout, again.stderr
    assert worker.stop() == 0, worker.log_tail()


def test_a_topic_that_comes_later_is_found(kafka, topics, two_topics, run_worker):
    late = f"{topics.requests}.late"
    two_topics["topics"]["requests"] = [topics.requests, late]
    two_topics["kafka"]["topic.metadata.refresh.interval.ms"] = 1000
    worker = run_worker(two_topics)
    assert f"event=request_topic_missing topic={late}" in worker.log_text()
    create_topic(kafka, late, 2)
    produce(kafka.bootstrap, late, records("late", 10))
    wait_for_drain(kafka, two_topics)
    assert worker.stop() == 0, worker.log_tail()
    assert len(answers(kafka, topics)) == 10


class Counter:
    """Reads the responses as they come."""

    def __init__(self, bootstrap, topic):
        self.reader = open_reader(bootstrap, topic)
        self.count = 0
        self.ids = set()

    def turn(self):
        for message in self.reader.consume(500, timeout=0.1):
            assert message.error() is None, message.error()
            self.count += 1
            self.ids.add(json.loads(message.value())["custom_id"])

    def wait_for(self, condition, timeout_s):
        begun = time.monotonic()
        while not condition():
            assert time.monotonic() - begun < timeout_s, f"{self.count} responses"
            self.turn()
        return time.monotonic() - begun


def test_a_quiet_topic_is_answered_soon_although_another_is_flooded(
    kafka, topics, second, two_topics, run_worker
):
    inside, latency_s = 64, 1
    two_topics |= {"intake.records.max": inside, "scripted.latency.ms": latency_s * 1000}
    produce(kafka.bootstrap, topics.requests, records("flood", 100_000))
    worker = run_worker(two_topics)
    counter = Counter(kafka.bootstrap, topics.responses)
    counter.wait_for(lambda: counter.count > 2 * inside, 60)
    for turn in range(5):
        quiet = {f"quiet-{turn}-{i}" for i in range(8)}
        counter.turn()
        before = counter.count
        produce(kafka.bootstrap, second, [(name, encode(chat(name)), None) for name in quiet])
        waited_s = counter.wait_for(lambda quiet=quiet: quiet <= counter.ids, 30)
        passed = counter.count - before - len(quiet)
        print(f"{waited_s:.1f} s, {passed} of the flood passed")
        # Its own latency, that of what was inside, a pause of the flood, a transaction.
        assert waited_s < 2 * latency_s + 2
        assert passed <= 4 * inside
    assert lag(kafka.bootstrap, topics.requests, two_topics["kafka"]["group.id"]) > 90_000
    assert worker.metric("millrace_records_inside") <= inside
    worker.signal(signal.SIGTERM)
    assert worker.process.wait(30) == 0, worker.log_tail()


def test_sigterm_drains_and_commits_two_topics(kafka, topics, second, two_topics, run_worker):
    slow = two_topics | {"scripted.latency.ms": 3000}
    worker = run_worker(slow)
    produce(kafka.bootstrap, topics.requests, records("a", 20))
    produce(kafka.bootstrap, second, records("b", 20))
    wait_until(lambda: worker.metric("millrace_records_inside") == 40, 30, "intake")
    worker.signal(signal.SIGTERM)
    wait_until(lambda: "event=draining" in worker.log_text(), 10, "the drain")
    produce(kafka.bootstrap, second, records("late", 5))
    assert worker.process.wait(30) == 0, worker.log_tail()
    assert len(answers(kafka, topics)) == 40
    assert lag_of(kafka, two_topics) == 5


def test_a_second_sigterm_leaves_two_topics_at_once(
    kafka, topics, second, two_topics, run_worker
):
    worker = run_worker(two_topics | {"scripted.latency.ms": 60_000})
    produce(kafka.bootstrap, topics.requests, records("a", 20))
    produce(kafka.bootstrap, second, records("b", 20))
    wait_until(lambda: worker.metric("millrace_records_inside") == 40, 30, "intake")
    worker.signal(signal.SIGTERM)
    wait_until(lambda: "event=draining" in worker.log_text(), 10, "the drain")
    worker.signal(signal.SIGTERM)
    assert worker.process.wait(2) == 1
    assert lag_of(kafka, two_topics) == 40
    successor = run_worker(two_topics)
    wait_for_drain(kafka, two_topics)
    assert successor.stop() == 0, successor.log_tail()
    assert len(answers(kafka, topics)) == 40
