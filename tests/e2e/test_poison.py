"""A record that ends the process is put aside after attempts.max, and costs no other record."""

import collections
import json
import signal

import pytest
from confluent_kafka import KafkaException, Producer

from support import millrace
from support.jobs import chat, encode
from support.ports import wait_until
from support.records import consume_quiet, headers_of, lag

GOOD = 200
ATTEMPTS_MAX = 3
# Its first end is not counted: nobody knew yet that the record might end its owner.
ENDS_MAX = ATTEMPTS_MAX + 1
MESSAGE = "__connect.errors.exception.message"


@pytest.fixture
def scripted(config):
    """A worker that a supervisor starts again under the same name, so that it is back at once."""
    config["generator"] = "scripted"
    config["scripted.latency.ms"] = 20
    config["attempts.max"] = ATTEMPTS_MAX
    config["worker.id"] = "replica-0"
    config["kafka"]["group.instance.id"] = "replica-0"
    return config


class Supervisor:
    """Starts a worker again whenever it ends."""

    def __init__(self, folder, config):
        self.worker = millrace.Worker(folder, config)
        self.ends = []

    def start(self):
        self.worker.launch()

    def watch(self):
        code = self.worker.process.poll()
        if code is not None:
            self.ends.append(code)
            self.start()

    def drain(self):
        """SIGTERM once it is ready; the poison may still end it meanwhile."""
        self.run_until(self.worker.is_up)
        self.worker.stop()

    def run_until(self, condition, timeout_s=120):
        """Until condition() is true; the worker may be ended or running then."""

        def is_reached():
            self.watch()
            return condition()

        wait_until(is_reached, timeout_s, "the end of the backlog")


@pytest.fixture
def supervise(binary, tmp_path):
    supervisors = []

    def start(config):
        supervisors.append(Supervisor(tmp_path, config))
        supervisors[-1].start()
        return supervisors[-1]

    yield start
    for supervisor in supervisors:
        supervisor.worker.kill()


def produce(kafka, topics, poisons):
    """Good records in all partitions, and among them poisons: {partition: after how many}."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for i in range(GOOD):
        partition, place = i % 3, i // 3
        producer.produce(topics.requests, encode(chat(f"r-{i}")), f"r-{i}", partition=partition)
        if poisons.get(partition) == place:
            name = f"poison-{partition}"
            value = encode(chat(name, stop=["scripted:abort"]))
            producer.produce(topics.requests, value, name, partition=partition)
    assert producer.flush(30) == 0


def is_drained(kafka, topics):
    def check():
        try:
            return lag(kafka.bootstrap, topics.requests, topics.requests) == 0
        except KafkaException:  # the broker makes the group only when the worker asks for it
            return False

    return check


def assert_outcomes(kafka, topics, poisons, is_exact=True):
    """Each good record is answered, and exactly the poisons are dead letters that say why."""
    results = consume_quiet(kafka.bootstrap, topics.responses)
    counts = collections.Counter(json.loads(message.value())["custom_id"] for message in results)
    assert counts.keys() == {f"r-{i}" for i in range(GOOD)}
    letters = consume_quiet(kafka.bootstrap, topics.dead_letters)
    for letter in letters:
        headers = headers_of(letter)
        assert headers["__connect.errors.exception.class.name"] == "worker_ended"
        assert f"ended {ATTEMPTS_MAX} times while it answered this record" in headers[MESSAGE]
    keys = collections.Counter(letter.key().decode() for letter in letters)
    assert keys.keys() == {f"poison-{partition}" for partition in poisons}
    if is_exact:
        assert max(counts.values()) == 1 and max(keys.values()) == 1


@pytest.mark.smoke
def test_a_record_that_ends_the_worker_becomes_a_dead_letter(kafka, topics, scripted, supervise):
    poisons = {1: 30}
    produce(kafka, topics, poisons)
    supervisor = supervise(scripted)
    supervisor.run_until(is_drained(kafka, topics))
    assert set(supervisor.ends) == {-signal.SIGABRT}
    assert ATTEMPTS_MAX <= len(supervisor.ends) <= ENDS_MAX
    assert supervisor.worker.stop(30) == 0, supervisor.worker.log_tail()
    assert_outcomes(kafka, topics, poisons)


def test_two_poisons_in_different_partitions(kafka, topics, scripted, supervise):
    poisons = {0: 5, 2: 60}
    produce(kafka, topics, poisons)
    supervisor = supervise(scripted)
    supervisor.run_until(is_drained(kafka, topics))
    assert len(supervisor.ends) <= 2 * ENDS_MAX
    assert supervisor.worker.stop(30) == 0, supervisor.worker.log_tail()
    assert_outcomes(kafka, topics, poisons)


def test_drains_in_between_forget_no_attempt(kafka, topics, scripted, supervise):
    scripted["intake.records.max"] = 20
    scripted["scripted.latency.ms"] = 100
    poisons = {1: 60}
    produce(kafka, topics, poisons)
    supervisor = supervise(scripted)
    for ends in (1, 2):
        supervisor.run_until(lambda: supervisor.ends.count(-signal.SIGABRT) >= ends)
        supervisor.drain()
    supervisor.run_until(is_drained(kafka, topics))
    assert ATTEMPTS_MAX <= supervisor.ends.count(-signal.SIGABRT) <= ENDS_MAX
    assert supervisor.worker.stop(30) == 0, supervisor.worker.log_tail()
    assert_outcomes(kafka, topics, poisons)


def test_at_least_once_a_poison_is_put_aside_and_nothing_is_lost(
    kafka, topics, scripted, supervise
):
    scripted["delivery.guarantee"] = "at_least_once"
    poisons = {0: 20, 1: 40}
    produce(kafka, topics, poisons)
    supervisor = supervise(scripted)
    supervisor.run_until(is_drained(kafka, topics))
    assert len(supervisor.ends) <= 2 * ENDS_MAX
    assert supervisor.worker.stop(30) == 0, supervisor.worker.log_tail()
    assert_outcomes(kafka, topics, poisons, is_exact=False)
