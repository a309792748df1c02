"""The Python examples of deploy/examples do what they say."""

import json
import subprocess
import sys

from support.jobs import chat
from support.server import ROOT

EXAMPLES = ROOT / "deploy/examples"


def run_example(name, *arguments):
    command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_what_the_producer_sends_the_consumer_gets_answered(
    kafka, topics, config, run_worker, tmp_path
):
    jobs = tmp_path / "jobs.jsonl"
    requests = [chat("a"), chat("b"), chat("refused", model="gpt-9")]
    jobs.write_text("".join(json.dumps(request) + "\n" for request in requests))
    broker = ["--brokers", kafka.bootstrap, "--run-id", "example"]
    sent = run_example("producer.py", *broker, "--topic", topics.requests, jobs)
    assert sent.returncode == 0, sent.stderr
    assert sent.stdout == f"3 of 3 requests are on {topics.requests}\n"
    run_worker(config)
    got = run_example("consumer.py", *broker, "--topic", topics.responses, "--count", 3)
    assert got.returncode == 0, got.stdout + got.stderr
    statuses = dict(line.split("\t")[:2] for line in got.stdout.splitlines())
    assert statuses == {"a": "200", "b": "200", "refused": "404"}
