"""A read_committed reader sees each request's outcome once, whatever happens to the workers."""

import collections
import json
import threading
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from support.jobs import chat, encode
from support.ports import wait_until
from support.records import consume_quiet, is_drained, produce, wait_for_drain


@pytest.fixture
def scripted(config):
    """Workers that answer without a model, so that a test meets many transactions."""
    config["generator"] = "scripted"
    config["scripted.latency.ms"] = 20
    return config


def request_records(count, prefix="r"):
    return [(f"{prefix}-{i}", encode(chat(f"{prefix}-{i}")), None) for i in range(count)]


def ids_of(messages):
    return [json.loads(message.value())["custom_id"] for message in messages]


def assert_each_once(kafka, topics, ids):
    counts = collections.Counter(ids_of(consume_quiet(kafka.bootstrap, topics.responses)))
    repeated = [name for name, times in counts.items() if times > 1]
    assert not repeated, f"{len(repeated)} repeated: {repeated[:5]}"
    assert counts.keys() == set(ids)


def first_results(worker, former_owner):
    return worker.metric("millrace_first_result_seconds_count", former_owner=former_owner)


@pytest.mark.smoke
def test_results_and_offsets_are_one_transaction(kafka, topics, scripted, run_worker):
    records = request_records(500)
    produce(kafka.bootstrap, topics.requests, records)
    worker = run_worker(scripted)
    wait_for_drain(kafka, topics)
    assert "guarantee=exactly_once" in worker.log_text()
    wait_until(lambda: first_results(worker, "unknown") == 3, 30, "a result of each partition")
    assert worker.metric("millrace_commits_total", result="committed") > 0
    assert "event=group_has_no_offsets" in worker.log_text()
    assert worker.stop(30) == 0, worker.log_tail()
    second = run_worker(scripted)
    assert second.stop(30) == 0, second.log_tail()
    assert "event=group_has_no_offsets" not in second.log_text()
    assert_each_once(kafka, topics, [key for key, _, _ in records])


def test_lag_reaches_zero_past_markers_and_aborted_requests(kafka, topics, scripted, run_worker):
    worker = run_worker(scripted)
    settings = {"bootstrap.servers": kafka.bootstrap, "transactional.id": topics.requests}
    producer = Producer(settings)
    producer.init_transactions(30)
    for name, end in (("kept", producer.commit_transaction), ("not", producer.abort_transaction)):
        producer.begin_transaction()
        for key, value, _ in request_records(30, name):
            producer.produce(topics.requests, value, key)
        assert producer.flush(30) == 0
        end(30)
    wait_for_drain(kafka, topics)
    assert worker.stop(30) == 0, worker.log_tail()
    assert_each_once(kafka, topics, [f"kept-{i}" for i in range(30)])


@pytest.mark.smoke
def test_killed_workers_repeat_nothing_that_is_visible(kafka, topics, scripted, run_worker):
    scripted["kafka"]["transaction.timeout.ms"] = 3000
    records = request_records(6000)
    produce(kafka.bootstrap, topics.requests, records)
    worker = run_worker(scripted, "victim-0")
    for round_number in range(4):
        answered = worker.metric("millrace_records_total")
        wait_until(
            lambda: worker.metric("millrace_records_total") > answered + 200
            or is_drained(kafka.bootstrap, topics.requests, topics.requests),
            60,
            "some results",
        )
        worker.kill()
        worker = run_worker(scripted, f"victim-{round_number + 1}")
    wait_for_drain(kafka, topics)
    assert worker.stop(30) == 0, worker.log_tail()
    assert_each_once(kafka, topics, [key for key, _, _ in records])


def test_a_successor_says_how_soon_results_came_and_after_whom(
    kafka, topics, scripted, run_worker
):
    # 30 records: some for each partition.
    produce(kafka.bootstrap, topics.requests, request_records(30, "one"))
    first = run_worker(scripted)
    wait_until(lambda: first_results(first, "unknown") == 3, 30, "results of a new group")
    wait_for_drain(kafka, topics)
    assert first.stop(30) == 0, first.log_tail()

    produce(kafka.bootstrap, topics.requests, request_records(30, "two"))
    second = run_worker(scripted | {"scripted.latency.ms": 2000})
    wait_until(lambda: first_results(second, "left") == 3, 30, "results after a drain")
    wait_for_drain(kafka, topics)
    produce(kafka.bootstrap, topics.requests, request_records(30, "three"))
    wait_until(lambda: second.metric("millrace_records_inside") > 0, 30, "work that is lost")
    second.kill()

    third = run_worker(scripted)
    wait_until(lambda: first_results(third, "died") == 3, 60, "results after a kill")
    assert first_results(third, "left") == first_results(third, "unknown") == 0
    wait_for_drain(kafka, topics)
    assert third.stop(30) == 0, third.log_tail()

    idle = run_worker(scripted)
    wait_until(lambda: idle.metric("millrace_available_seconds_total") > 3, 30, "idle seconds")
    produce(kafka.bootstrap, topics.requests, request_records(30, "four"))
    wait_for_drain(kafka, topics)
    assert idle.metric("millrace_first_result_seconds_count") == 0  # no record waited for it
    assert idle.stop(30) == 0, idle.log_tail()
    ids = [f"{name}-{i}" for name in ("one", "two", "three", "four") for i in range(30)]
    assert_each_once(kafka, topics, ids)


def test_availability_leaves_out_the_time_without_a_broker(kafka, scripted, run_worker):
    worker = run_worker(scripted)

    def seconds(state):
        return worker.metric(f"millrace_{state}_seconds_total")

    wait_until(lambda: seconds("available") >= 2, 30, "an available worker")
    kafka.kill()
    wait_until(lambda: worker.get("/readyz")[0] == 503, 30, "the loss of the broker")
    up, available = seconds("uptime"), seconds("available")
    wait_until(lambda: seconds("uptime") >= up + 4, 30, "time that passes")
    assert seconds("available") <= available + 1
    kafka.start()
    wait_until(lambda: seconds("available") >= available + 3, 60, "availability")
    assert seconds("available") < seconds("uptime") - 3
    assert worker.stop(30) == 0, worker.log_tail()


def test_an_aborted_transaction_is_invisible_and_repeated(kafka, topics, scripted, run_worker):
    """The last of some records is larger than its topic takes: its transaction is aborted, and all
    of it comes in the next one."""
    produce(kafka.bootstrap, topics.requests, request_records(1))
    worker = run_worker(scripted)
    wait_for_drain(kafka, topics)
    # An undecodable value becomes a dead letter as it is, and a dead letter has headers on top.
    large = b"{" + b"x" * (1 << 20)
    large = large[: 1048588 - 70 - 30]
    produce_large(kafka, topics, large)
    records = request_records(50, "later")
    produce(kafka.bootstrap, topics.requests, records)
    wait_for_drain(kafka, topics)
    assert worker.metric("millrace_commits_total", result="aborted") >= 1, worker.log_tail()
    assert worker.stop(30) == 0, worker.log_tail()
    assert_each_once(kafka, topics, ["r-0"] + [key for key, _, _ in records])
    letters = consume_quiet(kafka.bootstrap, topics.dead_letters)
    assert len(letters) == 1 and letters[0].value() is None


def produce_large(kafka, topics, value):
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "message.max.bytes": 2 << 20})
    producer.produce(topics.requests, value, "large", partition=0)
    assert producer.flush(30) == 0


def test_a_restart_fences_its_predecessor(kafka, topics, scripted, run_worker):
    scripted["worker.id"] = "replica-0"
    first = run_worker(scripted, "first")
    produce(kafka.bootstrap, topics.requests, request_records(100, "one"))
    wait_for_drain(kafka, topics)
    second = run_worker(scripted, "second", ["--set", "kafka.session.timeout.ms=6000"])
    produce(kafka.bootstrap, topics.requests, request_records(300, "two"))
    assert first.process.wait(30) == 1
    assert "another process runs as worker.id replica-0" in first.log_text()
    wait_for_drain(kafka, topics)
    assert second.stop(30) == 0, second.log_tail()
    ids = [f"one-{i}" for i in range(100)] + [f"two-{i}" for i in range(300)]
    assert_each_once(kafka, topics, ids)


def test_an_assignment_waits_for_offsets_that_are_still_in_a_transaction(
    kafka, topics, scripted, run_worker
):
    """Somebody of the group has answered the first ten records, but not yet committed."""
    records = request_records(20)
    request_topic = topics.requests
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for key, value, _ in records:
        producer.produce(request_topic, value, key, partition=0)
    assert producer.flush(30) == 0
    member = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": topics.requests})
    answering = Producer(
        {"bootstrap.servers": kafka.bootstrap, "transactional.id": f"{request_topic}.other"}
    )
    answering.init_transactions(30)
    answering.begin_transaction()
    for i in range(10):
        answering.produce(topics.responses, json.dumps({"custom_id": f"r-{i}"}))
    answering.send_offsets_to_transaction(
        [TopicPartition(request_topic, 0, 10)], member.consumer_group_metadata(), 30
    )
    assert answering.flush(30) == 0
    commit = threading.Timer(4, answering.commit_transaction, [30])
    commit.start()
    worker = run_worker(scripted)  # ready once it is assigned
    commit.join()
    assert "committed_offsets_awaited code=UNSTABLE_OFFSET_COMMIT" in worker.log_text()
    wait_for_drain(kafka, topics)
    assert worker.stop(30) == 0, worker.log_tail()
    member.close()
    assert_each_once(kafka, topics, [key for key, _, _ in records])


def test_work_that_lasts_longer_than_max_poll_interval_stays_in_the_group(
    kafka, topics, scripted, run_worker
):
    scripted["scripted.latency.ms"] = 15000
    scripted["kafka"]["max.poll.interval.ms"] = 6000
    scripted["kafka"]["session.timeout.ms"] = 6000
    scripted["intake.records.max"] = 2
    records = request_records(4)
    produce(kafka.bootstrap, topics.requests, records)
    worker = run_worker(scripted)
    rebalances = worker.metric("millrace_rebalances_total")
    wait_for_drain(kafka, topics)
    assert worker.metric("millrace_rebalances_total") == rebalances
    assert worker.stop(30) == 0, worker.log_tail()
    assert_each_once(kafka, topics, [key for key, _, _ in records])


def test_a_broker_that_is_away_longer_than_a_transaction_may_last(
    kafka, topics, scripted, run_worker
):
    scripted["kafka"]["transaction.timeout.ms"] = 3000
    records = request_records(3000)
    produce(kafka.bootstrap, topics.requests, records)
    worker = run_worker(scripted)
    wait_until(lambda: worker.metric("millrace_records_total") > 100, 60, "some results")
    kafka.kill()
    time.sleep(5)
    kafka.start()
    wait_for_drain(kafka, topics)
    assert worker.stop(30) == 0, worker.log_tail()
    assert_each_once(kafka, topics, [key for key, _, _ in records])


def test_a_growing_and_shrinking_group_repeats_nothing(kafka, topics, scripted, run_worker):
    records = request_records(6000)
    produce(kafka.bootstrap, topics.requests, records)
    scripted["scripted.latency.ms"] = 200
    scripted["intake.records.max"] = 300
    workers = [run_worker(scripted)]
    for _ in range(2):
        workers.append(run_worker(scripted))
        time.sleep(1)
        assert workers.pop(0).stop(30) == 0
        workers.append(run_worker(scripted))
    wait_for_drain(kafka, topics)
    for worker in workers:
        assert worker.stop(30) == 0, worker.log_tail()
    assert_each_once(kafka, topics, [key for key, _, _ in records])
