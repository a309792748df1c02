"""Fixtures of the end-to-end tests: real servers for the session, topics for each test."""

import itertools
import os
import pathlib
import types

import pytest

from support import millrace
from support.kafka import Kafka
from support.registry import Registry
from support.server import ROOT

DATA = pathlib.Path(os.environ.get("E2E_DATA", ROOT.parent / "shared/data"))
KAFKA_VERSION = os.environ.get("E2E_KAFKA", "3.9.2")

numbers = itertools.count(1)


def running(server):
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def session_kafka(tmp_path_factory):
    yield from running(Kafka(KAFKA_VERSION, tmp_path_factory.mktemp("kafka")))


@pytest.fixture
def kafka(session_kafka):
    """The session's broker, up again where the test before left it killed."""
    if session_kafka.process.poll() is not None:
        session_kafka.start()
    return session_kafka


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    yield from running(Registry(tmp_path_factory.mktemp("registry")))


@pytest.fixture(scope="session")
def binary():
    if not millrace.BINARY.exists():
        pytest.fail(f"no program at {millrace.BINARY}: build it or set E2E_BINARY")
    return millrace.BINARY


@pytest.fixture
def data():
    if not DATA.is_dir():
        pytest.skip(f"no test data at {DATA}")
    return DATA


def make_topics(broker, partitions=3, config=None):
    prefix = f"t{os.getpid()}-{next(numbers)}"
    names = ["requests", "responses", "comparisons", "replay", "dead_letters", "control", "runs"]
    topics = types.SimpleNamespace(**{name: f"{prefix}.{name}" for name in names})
    broker.create_topics(list(vars(topics).values()), partitions, config)
    return topics


@pytest.fixture
def topics(kafka):
    """Topics of this test alone, named by what they hold."""
    return make_topics(kafka)


@pytest.fixture
def config(kafka, topics):
    """The configuration of a worker that answers this test's topics with the demo model."""
    return worker_config(kafka, topics)


def worker_config(broker, topics):
    return {
        "kafka": {
            "bootstrap.servers": broker.bootstrap,
            "group.id": topics.requests,
            "session.timeout.ms": 6000,
        },
        "topics": vars(topics),
        "models": [
            {"name": "scribe", "path": str(millrace.DEMO / "scribe"), "aliases": ["gpt-4o-mini"]}
        ],
    }


@pytest.fixture
def run_worker(binary, tmp_path):
    """Starts workers: run_worker(config, name=...). Those still running at the end are killed."""
    workers = []

    def start(config, name=None, options=()):
        worker = millrace.Worker(tmp_path, config, name or f"worker-{len(workers) + 1}", options)
        workers.append(worker)
        return worker.start()

    yield start
    for worker in workers:
        worker.kill()
