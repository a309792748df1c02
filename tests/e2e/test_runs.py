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


def test_what_has_an_outcome_is_not_missing_once_its_request_is_gone(
    kafka, topics, scripted, tmp_path, run_worker
):
    config, options = scripted
    first, both = jobs(tmp_path, 30, "first.jsonl"), jobs(tmp_path, 50, "both.jsonl")
    assert millrace.run("produce", *options, "--run-id", "r", first).returncode == 0
    worker = run_worker(config)
    wait_for_records(kafka, topics.responses, 30)
    assert worker.stop(30) == 0
    kafka.delete_records(topics.requests)
    assert ids_on(kafka, topics.requests) == []
    missing = ["--run-id", "r", "--missing", "--json", both]
    sent = summary_of(millrace.run("produce", *options, *missing))
    assert (sent["records"], sent["present"]) == (20, 30)
    assert manifest_of(kafka, topics, "r")[0]["records"] == 50


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


def replay(options, *more):
    return millrace.run("replay", "--dead-letters", *options, "--json", *more)


def wait_for_records(kafka, topic, count):
    wait_until(lambda: len(consume_quiet(kafka.bootstrap, topic, 0.5)) >= count, DEADLINE_S, topic)


@pytest.fixture
def failed_run(kafka, topics, scripted, tmp_path, run_worker):
    """Run "r" of ten records, of which three are too large for the worker."""
    config, options = scripted
    requests = [chat(f"job-{i}", "x" * (3000 if i in (2, 5, 7) else 10)) for i in range(10)]
    source = write_lines(tmp_path / "jobs.jsonl", requests)
    sent = millrace.run("produce", *options, "--run-id", "r", source)
    assert sent.returncode == 0, sent.stderr
    worker = run_worker(config | {"record.bytes.max": 1024}, "small")
    wait_for_records(kafka, topics.dead_letters, 3)
    return config, options, worker


def test_produce_collect_dead_letters_replay_collect(
    failed_run, kafka, topics, tmp_path, run_worker
):
    config, options, worker = failed_run
    output = tmp_path / "out.jsonl"
    summary = summary_of(collect(options, "r", output), 1)
    assert (summary["ok"], summary["dead_lettered"]) == (7, 3)
    before = [line["custom_id"] for line in read_lines(output)]
    assert worker.stop(30) == 0
    run_worker(config, "large")
    dry = summary_of(replay(options, "--dry-run"))
    assert (dry["matched"], dry["sent"], dry["dry_run"]) == (3, 3, True)
    first = summary_of(replay(options))
    assert (first["sent"], first["sent_before"]) == (3, 0)
    second = summary_of(replay(options))
    assert (second["matched"], second["sent"], second["sent_before"]) == (3, 0, 3)
    summary = summary_of(collect(options, "r", output))
    assert (summary["ok"], summary["dead_lettered"], summary["replayed"]) == (10, 0, 3)
    assert [line["custom_id"] for line in read_lines(output)] == before
    again = tmp_path / "again.jsonl"
    summary_of(collect(options, "r", again))
    assert again.read_bytes() == output.read_bytes()
    # The run is whole: there is nothing for produce to send.
    missing = ["--run-id", "r", "--missing", "--json", tmp_path / "jobs.jsonl"]
    sent = summary_of(millrace.run("produce", *options, *missing))
    assert (sent["records"], sent["present"]) == (0, 10)
    summary_of(collect(options, "r", again))


def test_a_letter_goes_back_byte_for_byte_with_key_and_headers(failed_run, kafka, topics):
    _, options, worker = failed_run
    assert worker.stop(30) == 0
    value = b"\x00\x01 not a request \xff"
    headers = [("traceparent", b"00-1"), ("own", b"\xfe\x00")]
    produce(kafka.bootstrap, topics.requests, [(b"k\x00", value, headers)])
    written = consume_quiet(kafka.bootstrap, topics.requests)
    (request,) = [message for message in written if message.value() == value]
    errors = {"topic": topics.requests, "partition": request.partition(),
              "offset": request.offset(), "exception.class.name": "internal"}
    letter = headers + [(f"__connect.errors.{k}", str(v).encode()) for k, v in errors.items()]
    produce(kafka.bootstrap, topics.dead_letters, [(b"k\x00", value, letter)])
    assert summary_of(replay(options, "--reason", "internal"))["sent"] == 1
    written = consume_quiet(kafka.bootstrap, topics.requests)
    found = [message for message in written if message.value() == value]
    (back,) = [message for message in found if message.offset() > request.offset()]
    assert (back.key(), back.partition()) == (b"k\x00", request.partition())
    origin = f"{topics.requests}/{request.partition()}/{request.offset()}".encode()
    marks = [("millrace-replays", b"1"), ("millrace-replay-of", origin)]
    assert back.headers() == marks + headers


def letter(topics, partition=0, offset=0, run_id="r", reason="internal", replays=None, **more):
    """A dead letter as a worker writes it."""
    errors = {"topic": topics.requests, "partition": partition, "offset": offset,
              "exception.class.name": reason} | more
    headers = [(f"__connect.errors.{name}", str(value).encode()) for name, value in errors.items()]
    headers += [("millrace-run-id", run_id.encode())]
    if replays:
        headers += [("millrace-replays", str(replays).encode())]
        headers += [("millrace-replay-of", f"{topics.requests}/0/0".encode())]
    return f"key-{partition}-{offset}", b"{}", headers


def test_letters_are_chosen_by_filter(kafka, topics, scripted):
    _, options = scripted
    letters = [letter(topics, 0, i) for i in range(10)]
    letters += [letter(topics, 1, i, "s", "undecodable") for i in range(5)]
    elsewhere = f"{topics.requests}.elsewhere"
    kafka.create_topics([elsewhere])
    letters += [letter(topics, 2, 0, topic=elsewhere)]
    produce(kafka.bootstrap, topics.dead_letters, letters)
    cases = {
        (): 15,
        ("--run-id", "s"): 5,
        ("--reason", "internal"): 10,
        ("--partition", 1): 5,
        ("--partition", 0, "--offsets", "3-5"): 3,
        ("--partition", 0, "--offsets", 3): 1,
        ("--run-id", "r", "--reason", "undecodable"): 0,
        ("--since", "2020-01-01"): 15,
        ("--until", "2020-01-01T00:00:00Z"): 0,
    }
    for filters, count in cases.items():
        assert summary_of(replay(options, "--dry-run", *filters))["sent"] == count, filters
    assert ids_on(kafka, topics.requests) == []
    for filters, count in [(("--partition", 0, "--offsets", "3-5"), 3), (("--run-id", "r"), 7),
                           ((), 5), ((), 0)]:
        assert summary_of(replay(options, *filters))["sent"] == count, filters
    expected = {key for key, _, _ in letters[:15]}
    counts = collections.Counter(ids_on(kafka, topics.requests))
    assert counts.keys() == expected and set(counts.values()) == {1}
    # Unless it is asked for, a letter of another topic goes nowhere.
    assert ids_on(kafka, elsewhere) == []
    assert summary_of(replay(options, "--topic", elsewhere))["sent"] == 1
    assert ids_on(kafka, elsewhere) == ["key-2-0"]


def test_the_loop_of_failing_and_sending_back_ends(kafka, topics, scripted, run_worker):
    config, options = scripted
    run_worker(config)
    produce(kafka.bootstrap, topics.requests, [("k", b"no request", [("millrace-run-id", b"r")])])
    for count in range(1, 4):
        wait_for_records(kafka, topics.dead_letters, count)
        assert summary_of(replay(options))["sent"] == 1
    wait_for_records(kafka, topics.dead_letters, 4)
    refused = replay(options)
    summary = summary_of(refused, 1)
    assert (summary["sent"], summary["sent_before"], summary["exhausted"]) == (0, 3, 1)
    more = summary_of(replay(options, "--max-replays", 4))
    assert more["sent"] == 1
    wait_for_records(kafka, topics.dead_letters, 5)
    origins = {headers_of(m).get("millrace-replay-of") for m in
               consume_quiet(kafka.bootstrap, topics.dead_letters)} - {None}
    assert len(origins) == 1  # of the first request, through all rounds
    (run,) = [json.loads(m.value()) for m in consume_quiet(kafka.bootstrap, topics.runs)
              if m.key() == f"replayed/{topics.dead_letters}/r".encode()][-1:]
    assert run["records"] == 4


def test_a_killed_replay_goes_on_and_sends_each_letter_once(kafka, topics, scripted):
    _, options = scripted
    count = 100_000
    produce(kafka.bootstrap, topics.dead_letters,
            (letter(topics, i % 3, i // 3) for i in range(count)))
    process = start("replay", "--dead-letters", *options)
    reader = watch(kafka, topics.requests)
    wait_until(lambda: reader() >= count / 5, DEADLINE_S, "some letters sent back")
    process.kill()
    process.communicate()
    summary = summary_of(replay(options))
    assert 0 < summary["sent_before"] < count
    assert summary["sent"] + summary["sent_before"] == count
    counts = collections.Counter(ids_on(kafka, topics.requests))
    assert len(counts) == count and set(counts.values()) == {1}


def test_a_letter_without_value_is_not_sent_back(kafka, topics, scripted):
    _, options = scripted
    key, _, headers = letter(topics)
    produce(kafka.bootstrap, topics.dead_letters, [(key, None, headers)])
    summary = summary_of(replay(options), 1)
    assert (summary["sent"], summary["without_value"]) == (0, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--dead-letters", "--offsets", "1-2"],
        ["--dead-letters", "--partition", "0", "--offsets", "2-1"],
        ["--dead-letters", "--since", "yesterday"],
        ["--dead-letters", "--until", "2026-02-30"],
        ["--dead-letters", "--max-replays", "0"],
        ["--dead-letters", "--topic", "not-there"],
    ],
)
def test_wrong_use_of_replay_ends_with_2(scripted, arguments):
    _, options = scripted
    result = millrace.run("replay", *options, *arguments)
    assert result.returncode == 2, result.stderr
    assert result.stderr.strip()
