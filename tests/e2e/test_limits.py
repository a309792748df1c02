"""What a worker does at its limits: large records, floods, slow answers, long absences, and a
second SIGTERM. Answers come from the script, so that no model is in the way."""

import json
import signal
import time

import pytest

from conftest import make_topics, worker_config
from support.jobs import chat, encode
from support.ports import wait_until
from support.records import consume_quiet, produce, wait_for_drain

MIB = 1 << 20


@pytest.fixture
def scripted(config):
    """A worker that answers at once, in a session whose timeouts are short."""
    return config | {"generator": "scripted"}


def with_latency(config, milliseconds):
    return config | {"scripted.latency.ms": milliseconds}


def records(count, text="What is it about?", prefix="r"):
    return [encode(chat(f"{prefix}-{i}", text)) for i in range(count)]


def answered(kafka, topics):
    responses = consume_quiet(kafka.bootstrap, topics.responses)
    return sorted(json.loads(message.value())["custom_id"] for message in responses)


def memory_mib(worker, name):
    """VmRSS: now; VmHWM: the most there was."""
    with open(f"/proc/{worker.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(name))


def test_a_second_sigterm_ends_at_once_and_loses_nothing(kafka, topics, scripted, run_worker):
    worker = run_worker(with_latency(scripted, 60_000))
    produce(kafka.bootstrap, topics.requests, records(20))
    wait_until(lambda: worker.metric("millrace_records_inside") == 20, 30, "intake")
    worker.signal(signal.SIGTERM)
    wait_until(lambda: "event=draining" in worker.log_text(), 10, "the drain")
    worker.signal(signal.SIGTERM)
    assert worker.process.wait(10) == 1  # of 20 s for a drain, 60 s for an answer
    second = run_worker(scripted)
    wait_for_drain(kafka, topics, 60)
    wait_until(lambda: second.metric("millrace_records_total") == 20, 30, "the last commit")
    assert second.metric("millrace_first_result_seconds_count") > 0
    assert second.stop() == 0, second.log_tail()
    assert answered(kafka, topics) == sorted(f"r-{i}" for i in range(20))


def test_slow_answers_do_not_cost_the_membership(kafka, topics, scripted, run_worker):
    scripted["kafka"]["max.poll.interval.ms"] = 6000  # librdkafka's least is session.timeout.ms
    worker = run_worker(with_latency(scripted, 18_000))
    produce(kafka.bootstrap, topics.requests, records(20))
    wait_for_drain(kafka, topics, 60)
    assert worker.metric("millrace_rebalances_total") == 1
    assert worker.stop() == 0, worker.log_tail()
    assert answered(kafka, topics) == sorted(f"r-{i}" for i in range(20))
    assert "partition_lost" not in worker.log_text()


def test_a_partition_that_was_paused_goes_on_when_it_comes_back(
    kafka, topics, scripted, run_worker
):
    narrow = with_latency(scripted, 1000) | {"intake.records.max": 8}
    keeper = run_worker(narrow)
    keyed = [(str(i), record, None) for i, record in enumerate(records(300))]
    produce(kafka.bootstrap, topics.requests, keyed)

    def is_all_paused():
        return keeper.metric("millrace_partitions", state="paused") == 3

    for _ in range(2):
        wait_until(is_all_paused, 30, "the pause of all partitions")
        guest = run_worker(narrow)
        wait_until(lambda: "partition_assigned" in guest.log_text(), 30, "the guest's part")
        assert guest.stop() == 0, guest.log_tail()
    wait_for_drain(kafka, topics, 60)
    assert keeper.stop() == 0, keeper.log_tail()
    assert answered(kafka, topics) == sorted(f"r-{i}" for i in range(300))


@pytest.mark.load
def test_memory_stays_within_its_limit(kafka, binary, run_worker):
    topics = make_topics(kafka, config={"max.message.bytes": str(16 * MIB)})
    config = worker_config(kafka, topics) | {
        "generator": "scripted",
        "scripted.latency.ms": 50,
        "intake.bytes.max": "64MiB",
        "record.bytes.max": "16MiB",
    }
    prefetch_mib = 32
    config["kafka"]["queued.max.messages.kbytes"] = prefetch_mib * 1024
    worker = run_worker(config)
    idle_mib = memory_mib(worker, "VmRSS")
    large = records(24, "x" * 10_000_000, "large")
    small = records(50_000, prefix="small")
    for i, record in enumerate(large):
        produce(kafka.bootstrap, topics.requests, [*small[i::24], record])
    wait_for_drain(kafka, topics, 300)
    used_mib = memory_mib(worker, "VmHWM") - idle_mib
    print(f"{used_mib:.0f} MiB beyond the {idle_mib:.0f} MiB of an idle worker")
    assert worker.stop() == 0, worker.log_tail()
    assert len(answered(kafka, topics)) == len(set(answered(kafka, topics))) == 50_024
    # librdkafka asks for 50 MiB at once where its prefetch has room for a byte.
    assert used_mib < 64 + prefetch_mib + 50 + 32, used_mib


@pytest.mark.load
def test_a_broker_that_is_away_for_minutes_costs_nothing(kafka, topics, scripted, run_worker):
    worker = run_worker(with_latency(scripted, 50))
    produce(kafka.bootstrap, topics.requests, records(20_000))
    wait_until(lambda: worker.metric("millrace_records_inside") > 0, 30, "intake")
    kafka.kill()
    wait_until(lambda: worker.get("/readyz")[0] == 503, 30, "the loss of the broker")
    before_mib = memory_mib(worker, "VmRSS")
    time.sleep(120)
    assert worker.process.poll() is None, worker.log_tail()
    assert memory_mib(worker, "VmRSS") < before_mib * 1.2 + 16
    kafka.start()
    wait_for_drain(kafka, topics, 120)
    assert worker.stop() == 0, worker.log_tail()
    assert answered(kafka, topics) == sorted(f"r-{i}" for i in range(20_000))
