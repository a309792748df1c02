"""Runs from end to end: a produce and a collect that die, what is missing, and dead letters that
are sent back. Counted by an independent client."""

import collections
import json
import os
import signal
import subprocess
import time

import pytest

from conftest import make_topics, worker_config
from support import millrace
from support.jobs import chat, read_lines, write_lines
from support.ports import wait_until
from support.records import consume_quiet, end_offsets, headers_of, open_reader, produce

DEADLINE_S = 60


@pytest.fixture
def scripted(kafka, topics, tmp_path):
    """Settings of a worker without a model; also in a file, as options for the commands."""
    config = worker_config(kafka, topics) | {"generator": "scripted"}
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(config))
    return config, ["--config", path]


def jobs(tmp_path, count, name="jobs.jsonl", prefix="job"):
    return write_lines(tmp_path / name, [chat(f"{prefix}-{i:06d}") for i in range(count)])


def start(*arguments):
    """A command that runs beside the test."""
    command = [str(millrace.BINARY), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ids_on(kafka, topic):
    return [message.key().decode() for message in consume_quiet(kafka.bootstrap, topic)]


def manifest_of(kafka, topics, run_id):
    """The newest manifest of a run on topics.runs, and how many there are."""
    key = f"manifest/{run_id}".encode()
    found = [m for m in consume_quiet(kafka.bootstrap, topics.runs) if m.key() == key]
    return json.loads(found[-1].value()) if found else None, len(found)


def test_a_run_is_sent_once_and_its_manifest_is_on_the_topic(kafka, topics, scripted, tmp_path):
    _, options = scripted
    source = jobs(tmp_path, 50)
    arguments = ["produce", *options, "--run-id", "nightly", source]
    sent = millrace.run(*arguments, "--manifest", tmp_path / "manifest.json")
    assert sent.returncode == 0, sent.stderr
    manifest, count = manifest_of(kafka, topics, "nightly")
    assert count == 2  # before the first request, and with the last
    assert (manifest["records"], manifest["complete"]) == (50, True)
    assert manifest == json.loads((tmp_path / "manifest.json").read_text())
    again = millrace.run(*arguments)
    assert again.returncode == 2
    assert "--missing" in again.stderr
    missing = millrace.run(*arguments, "--missing", "--json")
    assert missing.returncode == 0, missing.stderr
    summary = json.loads(missing.stdout)
    assert (summary["records"], summary["present"]) == (0, 50)
    assert len(ids_on(kafka, topics.requests)) == 50


def test_a_topic_for_runs_is_created_compacted(kafka, topics, scripted, tmp_path):
    _, options = scripted
    name = f"{topics.runs}.created"
    arguments = ["--set", f"topics.runs={name}", "--run-id", "one", jobs(tmp_path, 3)]
    sent = millrace.run("produce", *options, *arguments)
    assert sent.returncode == 0, sent.stderr
    assert kafka.topic_config(name)["cleanup.policy"] == "compact"


def test_more_jobs_come_into_a_run_with_missing(kafka, topics, scripted, tmp_path):
    _, options = scripted
    first, both = jobs(tmp_path, 30, "first.jsonl"), jobs(tmp_path, 70, "both.jsonl")
    assert millrace.run("produce", *options, "--run-id", "r", first).returncode == 0
    more = millrace.run("produce", *options, "--run-id", "r", "--missing", both)
    assert more.returncode == 0, more.stderr
    assert sorted(ids_on(kafka, topics.requests)) == [f"job-{i:06d}" for i in range(70)]
    whole = tmp_path / "whole.json"
    assert millrace.run(
        "produce", *options, "--run-id", "s", "--manifest", whole, both
    ).returncode == 0
    manifest, _ = manifest_of(kafka, topics, "r")
    assert manifest["records"] == 70
    assert manifest["ids_digest"] == json.loads(whole.read_text())["ids_digest"]


@pytest.mark.parametrize("kill_after", [0.05, 0.3])
def test_a_killed_produce_goes_on_and_sends_each_id_once(
    kafka, topics, scripted, tmp_path, kill_after
):
    _, options = scripted
    count = 300_000
    source = jobs(tmp_path, count)
    arguments = ["produce", *options, "--run-id", "big", source]
    process = start(*arguments)
    reader = watch(kafka, topics.requests)
    wait_until(lambda: reader() >= count * kill_after, DEADLINE_S, "some requests")
    process.kill()
    process.communicate()
    manifest, _ = manifest_of(kafka, topics, "big")
    assert (manifest["records"], manifest["complete"]) == (count, False)
    missing = millrace.run(*arguments, "--missing", "--json")
    assert missing.returncode == 0, missing.stderr
    summary = json.loads(missing.stdout)
    assert summary["present"] + summary["records"] == count
    assert summary["records"] > 0
    counts = collections.Counter(ids_on(kafka, topics.requests))
    assert len(counts) == count and set(counts.values()) == {1}
    manifest, _ = manifest_of(kafka, topics, "big")
    assert (manifest["records"], manifest["complete"]) == (count, True)


def watch(kafka, topic):
    """-> a function that says how many records a topic has, committed or not."""

    reader = open_reader(kafka.bootstrap, topic)

    def count():
        return sum(end_offsets(reader, topic).values())

    return count
