"""`millrace batch`: files in, files out, without Kafka."""

import base64
import json
import struct
import subprocess

import jsonschema
import pytest

from support import millrace
from support.jobs import chat, encode, line, read_lines, text_of, write_lines

SCRIBE = millrace.DEMO / "scribe"
LONG = "word " * 3000  # more tokens than the demo model's context


def batch(source, target, *options, model=SCRIBE, **kwargs):
    return millrace.run("batch", "--model", model, *options, source, target, **kwargs)


def by_id(path):
    lines = read_lines(path)
    answers = {answer["custom_id"]: answer for answer in lines}
    assert len(answers) == len(lines)
    return answers


def test_the_demo_jobs_are_answered_with_their_references(binary, tmp_path):
    source, target = millrace.DEMO / "jobs.jsonl", tmp_path / "out.jsonl"
    result = batch(source, target, "--json")
    assert result.returncode == 0, result.stderr
    answers = by_id(target)
    jobs = read_lines(source)
    assert answers.keys() == {job["custom_id"] for job in jobs}
    right = 0
    for job in jobs:
        answer = answers[job["custom_id"]]
        assert answer["error"] is None and answer["response"]["status_code"] == 200
        assert answer["response"]["body"]["model"] == job["body"]["model"]
        right += text_of(answer["response"]["body"]) == job["millrace"]["reference"]
    assert right >= 198
    totals = json.loads(result.stdout)
    bodies = [answer["response"]["body"] for answer in answers.values()]
    assert totals["records"] == totals["ok"] == len(jobs) == 200
    for name in ["prompt_tokens", "completion_tokens"]:
        assert totals[name] == sum(body["usage"][name] for body in bodies)


def test_answers_do_not_depend_on_the_order_or_the_company(binary, tmp_path):
    jobs = read_lines(millrace.DEMO / "jobs.jsonl")[:24]
    for i, job in enumerate(jobs):
        job["body"] |= {"temperature": i % 3, "seed": i, "logprobs": i % 2 == 0}
    together, few = tmp_path / "together.jsonl", tmp_path / "few.jsonl"
    few_in = write_lines(tmp_path / "few-in.jsonl", jobs[::-5])
    assert batch(write_lines(tmp_path / "in.jsonl", jobs), together).returncode == 0
    assert batch(few_in, few, "--set", "engine.max_num_seqs=1").returncode == 0
    expected = by_id(together)
    for name, answer in by_id(few).items():
        choices = answer["response"]["body"]["choices"]
        assert choices == expected[name]["response"]["body"]["choices"]


def test_an_encoder_answers_embeddings_as_openai_describes_them(binary, tmp_path, data):
    openapi = json.loads((data / "openai/openapi/openapi.json").read_text())
    folder = millrace.ROOT / "tests/golden/encoders/minilm"
    golden = json.loads((folder / "golden.json").read_text())
    texts = [text["text"] for text in golden]
    requests = [
        line("floats", dict(model="minilm", input=texts), "/v1/embeddings"),
        line(
            "base64",
            dict(model="minilm", input=texts[0], encoding_format="base64"),
            "/v1/embeddings",
        ),
        line("chat", dict(model="minilm", messages=[dict(role="user", content="Hi")])),
        line("long", dict(model="minilm", input="mill " * 100), "/v1/embeddings"),
    ]
    source, target = write_lines(tmp_path / "in.jsonl", requests), tmp_path / "out.jsonl"
    assert batch(source, target, "--set", "engine.weights=f32", model=folder).returncode == 1
    responses = {name: answer["response"] for name, answer in by_id(target).items()}
    reference = {
        "$ref": "#/components/schemas/CreateEmbeddingResponse",
        "components": openapi["components"],
    }
    body = responses["floats"]["body"]
    jsonschema.Draft202012Validator(reference).validate(body)
    assert body["usage"]["prompt_tokens"] == sum(len(text["ids"]) for text in golden)
    for item, text in zip(body["data"], golden, strict=True):
        assert item["embedding"] == pytest.approx(text["vector"], abs=1e-4)
    vector = struct.unpack(
        "<24f", base64.b64decode(responses["base64"]["body"]["data"][0]["embedding"])
    )
    assert list(vector) == pytest.approx(body["data"][0]["embedding"], rel=1e-6)
    assert (
        responses["chat"]["status_code"] == 400
        and "encoder" in responses["chat"]["body"]["error"]["message"]
    )
    assert responses["long"]["body"]["error"]["code"] == "context_length_exceeded"
    report = json.loads(millrace.run("model", "check", folder, "--json").stdout)
    assert report["architecture"] == "BertModel" and report["context"] == 64
    assert report["unsupported"] == [
        "/v1/chat/completions, /v1/completions: the model is an encoder"
    ]


# name: the line, the HTTP-like status (None: response is null), the error's code
BAD_LINES = {
    "not JSON": (b"hello", None, None),
    "half a line": (b'{"custom_id": "a", "body": {', None, None),
    "an array": (b"[1, 2]", None, None),
    "not UTF-8": (b'{"custom_id": "\xff", "body": {}}', None, None),
    "no custom_id": (b'{"url": "/v1/completions", "body": {}}', None, None),
    "empty custom_id": (encode(line("", {})), None, None),
    "custom_id is a number": (encode(line(5, {})), None, None),
    "no body": (b'{"custom_id": "no body"}', None, None),
    "body is a text": (encode(line("body is a text", "x")), None, None),
    "10 MB": (encode(chat("10 MB", "x" * 10_000_000)), None, "line_too_long"),
    "unknown url": (encode(line("unknown url", {}, url="/v1/images")), 404, "unknown_url"),
    "no model": (encode(line("no model", {})), 400, "missing_required_parameter"),
    "model is a number": (encode(chat("model is a number", model=1)), 400, "invalid_type"),
    "stream": (encode(chat("stream", stream=True)), 400, "unsupported_value"),
    "hot": (encode(chat("hot", temperature=9)), 400, "invalid_value"),
    "unknown parameter": (encode(chat("unknown parameter", x=1)), 400, "unknown_parameter"),
    "cut name": (encode(chat("cut name", **{"x" + "é" * 90: 1})), 400, "unknown_parameter"),
    "n": (encode(chat("n", n=1000)), 400, "invalid_value"),
    "no messages": (encode(chat("no messages", messages=[])), 400, None),
    "too long": (encode(chat("too long", LONG)), 400, "context_length_exceeded"),
    "too many": (encode(chat("too many", max_tokens=5000)), 400, "context_length_exceeded"),
    "deep": (b'{"custom_id": "deep", "body": ' + b"[" * 100_000 + b"}", None, None),
}


def test_bad_lines_cost_the_good_ones_nothing(binary, tmp_path):
    good = [encode(chat(f"good-{i}", f"What is {i}?")) for i in range(len(BAD_LINES) + 1)]
    mixed = [good[0]]
    for text, (bad, _, _) in zip(good[1:], BAD_LINES.values()):
        mixed += [bad, b"", text]  # an empty line is nothing
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"\n".join(mixed))  # the last line without its end
    alone = tmp_path / "alone.jsonl"
    (tmp_path / "good.jsonl").write_bytes(b"\n".join(good))
    assert batch(tmp_path / "good.jsonl", alone).returncode == 0
    result = batch(source, tmp_path / "out.jsonl", "--json")
    assert result.returncode == 1, result.stderr
    lines = read_lines(tmp_path / "out.jsonl")
    assert len(lines) == len(good) + len(BAD_LINES)
    expected = by_id(alone)
    answers = {answer["custom_id"]: answer for answer in lines}
    for name, answer in expected.items():
        assert answers[name]["response"]["body"]["choices"] == (
            answer["response"]["body"]["choices"]
        )
    totals = json.loads(result.stdout)
    refused = sum(status is not None for _, status, _ in BAD_LINES.values())
    assert totals["records"] == len(lines)
    assert totals["ok"] == len(good)
    assert totals["failed"] == refused
    assert totals["dead_lettered"] == len(BAD_LINES) - refused


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_gets_a_line_that_says_why(binary, tmp_path, name):
    bad, status, code = BAD_LINES[name]
    source = tmp_path / "in.jsonl"
    source.write_bytes(bad + b"\n")
    result = batch(source, tmp_path / "out.jsonl")
    assert result.returncode == 1, result.stderr
    (ready,) = result.stderr.splitlines()
    for fact in ("event=model_ready model=scribe weights=", " kv=", " load_s="):
        assert fact in ready
    (answer,) = read_lines(tmp_path / "out.jsonl")
    assert set(answer) == {"id", "custom_id", "response", "error"}
    if status is None:
        assert answer["response"] is None
        error = answer["error"]
        assert error["message"].startswith("line 1")
    else:
        assert answer["custom_id"] == name
        assert answer["error"] is None
        assert answer["response"]["status_code"] == status
        error = answer["response"]["body"]["error"]
        assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert code is None or error["code"] == code


def test_an_unknown_model_is_404(binary, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"models": [{"name": "scribe", "path": str(SCRIBE)}]}))
    source = write_lines(tmp_path / "in.jsonl", [chat("a", model="x" + "é" * 120), chat("b")])
    target = tmp_path / "out.jsonl"
    assert millrace.run("batch", "--config", config, source, target).returncode == 1
    answers = by_id(target)
    assert answers["a"]["response"]["status_code"] == 404
    assert answers["a"]["response"]["body"]["error"]["code"] == "model_not_found"
    assert answers["b"]["response"]["status_code"] == 200


def test_a_passed_deadline_is_said(binary, tmp_path):
    requests = [chat("late", millrace=dict(deadline_ms=1)), chat("ok")]
    source, target = write_lines(tmp_path / "in.jsonl", requests), tmp_path / "out.jsonl"
    result = batch(source, target, "--json")
    assert result.returncode == 1
    answers = by_id(target)
    assert answers["late"]["response"] is None
    assert answers["late"]["error"]["code"] == "deadline_exceeded"
    assert json.loads(result.stdout)["expired"] == 1


def test_metadata_names_model_usage_and_source(binary, tmp_path):
    source = write_lines(tmp_path / "in.jsonl", [chat("a", millrace=dict(run_id="r1"))])
    target = tmp_path / "out.jsonl"
    # A slash at the end does not change the model's name.
    result = batch(source, target, "--metadata", model=f"{SCRIBE}/")
    assert result.returncode == 0, result.stderr
    (answer,) = read_lines(target)
    metadata, body = answer["millrace"], answer["response"]["body"]
    assert metadata["run_id"] == "r1"
    assert metadata["source"]["offset"] == 0
    served_by = metadata["served_by"]
    assert served_by["model"] == "scribe"
    assert served_by["kind"] == "local"
    assert len(served_by["weights_hash"]) == len(served_by["template_hash"]) == 16
    assert metadata["usage"]["completion_tokens"] == body["usage"]["completion_tokens"]
    timing = metadata["timing"]
    assert 0 < timing["first_token_ms"] <= timing["total_ms"]
    assert body["id"].startswith("chatcmpl-")


def test_dashes_are_stdin_and_stdout(binary):
    text = b"".join(encode(chat(f"{i}")) + b"\n" for i in range(5)).decode()
    result = batch("-", "-", "--json", input=text)
    assert result.returncode == 0, result.stderr
    answers = [json.loads(answer) for answer in result.stdout.splitlines()]
    assert sorted(answer["custom_id"] for answer in answers) == list("01234")
    assert json.loads(result.stderr)["ok"] == 5
    empty = batch("-", "-", input="")
    assert (empty.returncode, empty.stdout) == (0, "")


def test_two_runs_give_the_same_ids_and_texts(binary, tmp_path):
    requests = [chat(f"{i}", temperature=1.5) for i in range(4)]  # no seed: the source's
    source = write_lines(tmp_path / "in.jsonl", requests)
    runs = []
    for name in ["a", "b"]:
        assert batch(source, tmp_path / name).returncode == 0
        runs.append(by_id(tmp_path / name))
    for name in runs[0]:
        first, second = (run[name]["response"]["body"] for run in runs)
        assert first["id"] == second["id"]
        assert first["choices"] == second["choices"]


BROKEN_RUNS = {
    "no input": lambda folder: ["missing.jsonl", "out.jsonl"],
    "input is a folder": lambda folder: [".", "out.jsonl"],
    "output in no folder": lambda folder: ["in.jsonl", "missing/out.jsonl"],
    "output is a folder": lambda folder: ["in.jsonl", "."],
    "output is the input": lambda folder: ["in.jsonl", "in.jsonl"],
    "output is the input by another name": lambda folder: ["in.jsonl", "./in.jsonl"],
    "no model": lambda folder: ["in.jsonl", "out.jsonl", "--model", "missing"],
}


@pytest.mark.parametrize("name", BROKEN_RUNS)
def test_a_run_that_cannot_start_ends_with_2_and_keeps_what_is_there(binary, tmp_path, name):
    source = write_lines(tmp_path / "in.jsonl", [chat("a")])
    before = source.read_bytes()
    (tmp_path / "out.jsonl").write_text("an earlier result\n")
    arguments = ["--model", SCRIBE, *BROKEN_RUNS[name](tmp_path)]
    result = millrace.run("batch", *arguments, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stdout == ""
    assert source.read_bytes() == before
    assert (tmp_path / "out.jsonl").read_text() == "an earlier result\n"


def test_an_earlier_result_is_replaced_whole(binary, tmp_path):
    source = write_lines(tmp_path / "in.jsonl", [chat("a")])
    target = tmp_path / "out.jsonl"
    target.write_text("an earlier result\n" * 1000)
    assert batch(source, target).returncode == 0
    assert by_id(target).keys() == {"a"}


def test_a_full_disk_ends_the_run(binary, tmp_path):
    source = write_lines(tmp_path / "in.jsonl", [chat(f"{i}") for i in range(3)])
    result = batch(source, "/dev/full")
    assert result.returncode == 1
    assert "/dev/full" in result.stderr or "space" in result.stderr
    ready, _ = result.stderr.splitlines()
    assert "event=model_ready" in ready


def peak_kib(source, target, requests):
    """The most memory that a run without a model took."""
    config = source.with_suffix(".yaml")
    config.write_text(json.dumps({"generator": "scripted", "models": [{"name": "m", "path": "x"}]}))
    with source.open("wb") as file:
        for i in range(requests):
            file.write(encode(chat(f"request-{i:07d}", model="m")) + b"\n")
    command = [millrace.BINARY, "batch", "--config", config, source, target]
    # A small parent, so that the child's figure is its own.
    script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, " \
        "stdout=subprocess.DEVNULL); " \
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    run = subprocess.run(
        ["python3", "-c", script, *map(str, command)], capture_output=True, text=True, check=True
    )
    assert sum(1 for _ in target.open("rb")) == requests
    return int(run.stdout)


@pytest.mark.load  # on the release build: AddressSanitizer keeps what was freed
def test_memory_does_not_grow_with_the_file(binary, tmp_path):
    few = peak_kib(tmp_path / "few.jsonl", tmp_path / "few-out.jsonl", 5_000)
    many = peak_kib(tmp_path / "many.jsonl", tmp_path / "many-out.jsonl", 20_000)
    assert many <= 1.15 * few, (few, many)
