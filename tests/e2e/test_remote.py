"""A worker without a model of its own, in front of an OpenAI-compatible endpoint."""

import collections
import json
import sys

import pytest

from support.jobs import chat, encode
from support.ports import free_ports, wait_until
from support.records import consume_quiet, produce, wait_for_drain
from support.server import ROOT, Server

KEY = "sk-e2e-secret"


class Upstream(Server):
    """The fake endpoint as a process, with a log of what it was asked."""

    def __init__(self, folder, delay_ms=0):
        (self.port,) = free_ports(1)
        self.asked_path = folder / "asked.jsonl"
        program = ROOT / "tests/e2e/support/upstream.py"
        command = [sys.executable, program, self.port, self.asked_path, delay_ms]
        super().__init__(command, folder / "upstream.log")
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def is_up(self):
        return self.asked_path.exists()

    def asked(self):
        return [json.loads(line) for line in self.asked_path.read_text().splitlines()]


@pytest.fixture
def upstream(tmp_path):
    server = Upstream(tmp_path, delay_ms=20).start()
    yield server
    server.kill()


@pytest.fixture
def remote(config, upstream, tmp_path):
    """A worker's configuration whose only model is the endpoint."""
    key = tmp_path / "key"
    key.write_text(KEY + "\n")
    model = {"name": "scribe", "endpoint": upstream.url, "model": "big"}
    config["models"] = [model | {"api_key_file": str(key), "stream": True}]
    config["kafka"]["transaction.timeout.ms"] = 3000
    return config


def test_killed_workers_lose_and_repeat_nothing_in_front_of_an_endpoint(
    kafka, topics, remote, upstream, run_worker
):
    faults = ["500", "429", "broken", "close", "reset", "slow", "503"]
    bodies = {f"r{i}": f"text {i}" for i in range(400)}
    bodies |= {f"f{i}": f"fault {name} {i}" for i, name in enumerate(faults)}
    records = [(name, encode(chat(name, text)), None) for name, text in bodies.items()]
    produce(kafka.bootstrap, topics.requests, records)
    first = run_worker(remote)
    wait_until(lambda: len(upstream.asked()) > 60, 30, "requests at the endpoint")
    first.kill()
    second = run_worker(remote)
    wait_for_drain(kafka, topics)
    results = [json.loads(m.value()) for m in consume_quiet(kafka.bootstrap, topics.responses)]
    counts = collections.Counter(result["custom_id"] for result in results)
    assert counts == dict.fromkeys(bodies, 1)
    for result in results:
        body, extra = result["response"]["body"], result["millrace"]
        assert body["choices"][0]["message"]["content"] == bodies[result["custom_id"]][::-1]
        assert body["usage"]["prompt_tokens"] == extra["usage"]["prompt_tokens"] == 12
        assert extra["served_by"]["kind"] == "remote"
        assert extra["served_by"]["model"] == "big-2024"
        assert 0 < extra["timing"]["first_token_ms"] <= extra["timing"]["total_ms"]
    assert len(upstream.asked()) >= len(bodies)  # at least once
    assert {request["key"] for request in upstream.asked()} == {f"Bearer {KEY}"}
    assert second.metric("millrace_remote_requests_total", model="scribe") > 0
    assert second.stop(30) == 0, second.log_tail()
    assert KEY not in first.log_text() + second.log_text()
