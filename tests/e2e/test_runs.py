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


def collect(options, run_id, output, *more):
    arguments = ["collect", *options, "--run-id", run_id, "--output", output, "--json"]
    return millrace.run(*arguments, *more)


def summary_of(result, returncode=0):
    assert result.returncode == returncode, result.stdout + result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def answered(kafka, topics, scripted, tmp_path, run_worker):
    """A finished run of 20,000 records, "big"."""
    config, options = scripted
    sent = millrace.run("produce", *options, "--run-id", "big", jobs(tmp_path, 20_000))
    assert sent.returncode == 0, sent.stderr
    worker = run_worker(config)
    reader = watch(kafka, topics.responses)
    wait_until(lambda: reader() >= 20_000, DEADLINE_S, "the answers")
    assert worker.stop(30) == 0
    return options


def test_a_run_is_collected_by_its_id_alone_and_twice_the_same(answered, tmp_path):
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    summary = summary_of(collect(answered, "big", first))
    assert (summary["ok"], summary["missing"], summary["duplicates"]) == (20_000, 0, 0)
    assert not summary["has_other_ids"]
    summary_of(collect(answered, "big", second))
    assert first.read_bytes() == second.read_bytes()
    lines = read_lines(first)
    assert {line["custom_id"] for line in lines} == {f"job-{i:06d}" for i in range(20_000)}
    places = [(line["millrace"]["source"]["partition"], line["millrace"]["source"]["offset"])
              for line in lines]
    assert places == sorted(places)
    assert sorted(path.name for path in tmp_path.glob("*.jsonl*")) == [
        "first.jsonl", "jobs.jsonl", "second.jsonl",
    ]


def test_a_killed_collect_goes_on_and_writes_the_same(answered, tmp_path):
    whole, output = tmp_path / "whole.jsonl", tmp_path / "output.jsonl"
    summary_of(collect(answered, "big", whole))
    partial = tmp_path / "output.jsonl.partial"
    arguments = ["--run-id", "big", "--output", output, "--count", 20_001]  # one too many: it waits
    process = start("collect", *answered, *arguments)
    wait_until(lambda: partial.exists() and partial.stat().st_size > 1_000_000, 30, "some lines")
    second = millrace.run("collect", *answered, *arguments)
    assert second.returncode == 2
    assert "another process" in second.stderr
    process.kill()
    process.communicate()
    assert not output.exists()
    with partial.open("ab") as file:
        file.write(b"torn")
    summary = summary_of(collect(answered, "big", output, "--count", 20_000))
    assert summary["recovered"] > 1000
    assert (summary["ok"], summary["duplicates"]) == (20_000, 0)
    assert output.read_bytes() == whole.read_bytes()
    assert not partial.exists()


def test_what_another_run_left_is_not_gone_on_with(answered, kafka, topics, tmp_path):
    output = tmp_path / "output.jsonl"
    late = collect(answered, "other", output, "--count", 5, "--timeout", 2)
    assert summary_of(late, 1)["missing"] == 5
    assert (tmp_path / "output.jsonl.partial").exists()
    summary = summary_of(collect(answered, "big", output))
    assert (summary["recovered"], summary["ok"]) == (0, 20_000)


def test_missing_ids_are_named(kafka, topics, scripted, tmp_path):
    _, options = scripted
    sent = millrace.run("produce", *options, "--run-id", "r", jobs(tmp_path, 5))
    assert sent.returncode == 0, sent.stderr
    (request, *_) = consume_quiet(kafka.bootstrap, topics.requests)
    answer = dict(custom_id=request.key().decode(), error=None)
    answer["response"] = dict(status_code=200, request_id="q", body={})
    source = dict(topic=topics.requests, partition=request.partition(), offset=request.offset())
    answer["millrace"] = dict(run_id="r", source=source, attempt=1)
    run = [("millrace-run-id", b"r")]
    produce(kafka.bootstrap, topics.responses, [(request.key(), json.dumps(answer), run)])
    result = collect(options, "r", tmp_path / "out.jsonl", "--timeout", 2)
    summary = summary_of(result, 1)
    assert (summary["ok"], summary["missing"], summary["unsent"]) == (1, 4, 0)
    named = {entry["custom_id"] for entry in summary["missing_named"]}
    assert named == {f"job-{i:06d}" for i in range(5)} - {request.key().decode()}
    text = millrace.run("collect", *options, "--run-id", "r", "--timeout", 1).stdout
    assert all(f"missing: {name} (partition" in text for name in named)
    again = millrace.run(
        "collect", *options, "--run-id", "r", "--count", 7, "--timeout", 1
    ).stdout
    assert "2 of them are not on the request topic" in again


def test_wrong_use_of_runs_ends_with_2(scripted, tmp_path):
    _, options = scripted
    unknown = collect(options, "nobody", tmp_path / "out.jsonl")
    assert unknown.returncode == 2
    assert "no manifest of run nobody" in unknown.stderr
    broken = tmp_path / "broken.json"
    broken.write_text('{"run_id": 1}')
    refused = millrace.run("collect", *options, "--manifest", broken)
    assert refused.returncode == 2
    assert "broken.json" in refused.stderr
    no_run = millrace.run("produce", *options, "--missing", jobs(tmp_path, 1))
    assert no_run.returncode == 2
    assert "--run-id" in no_run.stderr
