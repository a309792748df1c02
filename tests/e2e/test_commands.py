"""The commands by hand: exit codes, files, and what is said about broken input."""

import json

import pytest

from conftest import worker_config
from support import millrace
from support.jobs import chat, demo_jobs, read_lines, text_of, write_lines
from support.server import ROOT

COMMANDS = "work produce collect replay batch broker model score settings".split()


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_fits_a_screen_and_tells_the_exit_codes(binary, command):
    result = millrace.run(*command, "--help")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert 3 <= len(lines) <= 23  # and the prompt, on 24 lines of 80 columns
    assert max(map(len, lines)) <= 80
    assert result.stdout.lower().count("exit code") == (1 if command else 0)


@pytest.mark.parametrize("arguments", [["unknown"], ["work", "--unknown"], ["collect"], ["batch"]])
def test_wrong_usage_ends_with_2_and_says_why(binary, arguments):
    result = millrace.run(*arguments)
    assert result.returncode == 2
    assert result.stderr.strip()
    assert result.stdout == ""


def test_batch_answers_a_file_in_plain_openai_lines(binary, tmp_path):
    jobs = demo_jobs(20)
    requests = [request for request, _ in jobs.values()]
    requests += [chat("other name", model="gpt-9"), chat("refused", temperature=9)]
    source = write_lines(tmp_path / "in.jsonl", requests)
    target = tmp_path / "out.jsonl"
    result = millrace.run("batch", "--model", millrace.DEMO / "scribe", source, target)
    assert result.returncode == 1, result.stderr  # one line was refused
    by_id = {line["custom_id"]: line for line in read_lines(target)}
    assert by_id.keys() == jobs.keys() | {"other name", "refused"}
    assert by_id["other name"]["response"]["status_code"] == 200  # --model answers every line
    assert by_id["refused"]["response"]["status_code"] == 400
    right = 0
    for name, (_, reference) in jobs.items():
        assert set(by_id[name]) == {"id", "custom_id", "response", "error"}
        right += text_of(by_id[name]["response"]["body"]) == reference
    assert right >= 19


def test_batch_with_metadata_says_who_answered(binary, tmp_path):
    source = write_lines(tmp_path / "in.jsonl", [chat("a")])
    target = tmp_path / "out.jsonl"
    model = millrace.DEMO / "scribe"
    result = millrace.run("batch", "--model", model, "--metadata", source, target)
    assert result.returncode == 0, result.stderr
    (answer,) = read_lines(target)
    assert answer["millrace"]["served_by"]["model"] == "scribe"
    assert answer["millrace"]["timing"]["total_ms"] > 0


@pytest.fixture
def demo_broker(binary, tmp_path):
    broker = millrace.DemoBroker(tmp_path)
    broker.start()
    yield broker
    assert broker.stop() == 0


def test_a_run_through_the_demo_broker(demo_broker, run_worker, tmp_path):
    jobs = demo_jobs(30)
    requests = [request for request, _ in jobs.values()] + [chat("refused", temperature=9)]
    source = write_lines(tmp_path / "jobs.jsonl", requests)
    manifest, output = tmp_path / "manifest.json", tmp_path / "results.jsonl"
    brokers = ["--set", f"kafka.bootstrap.servers={demo_broker.bootstrap}"]
    run = ["--run-id", "nightly"]
    sent = millrace.run("produce", *brokers, *run, "--input", source, "--manifest", manifest)
    assert sent.returncode == 0, sent.stderr
    model = dict(name="scribe", path=str(millrace.DEMO / "scribe"))
    kafka = {"bootstrap.servers": demo_broker.bootstrap, "group.id": "demo"}
    run_worker(dict(kafka=kafka, models=[model]))
    collect = [*brokers, *run, "--manifest", manifest, "--output", output, "--timeout", 60]
    collected = millrace.run("collect", *collect)
    assert collected.returncode == 1, collected.stderr  # one request was refused
    lines = read_lines(output)
    assert sorted(line["custom_id"] for line in lines) == sorted([*jobs, "refused"])
    again = tmp_path / "again.jsonl"
    collect[collect.index(output)] = again
    assert millrace.run("collect", *collect).returncode == 1
    assert again.read_bytes() == output.read_bytes()


def test_documents_and_a_prompt_become_jobs(demo_broker, run_worker, tmp_path):
    brokers = ["--set", f"kafka.bootstrap.servers={demo_broker.bootstrap}"]
    folder, prompt = millrace.DEMO / "documents", millrace.DEMO / "prompts/classify.json"
    manifest, output = tmp_path / "manifest.json", tmp_path / "results.jsonl"
    produce = ["produce", *brokers, "--run-id", "docs", "--documents", folder, "--prompt", prompt]
    sent = millrace.run(*produce, "--manifest", manifest)
    assert sent.returncode == 0, sent.stderr
    model = dict(name="scribe", path=str(millrace.DEMO / "scribe"))
    kafka = {"bootstrap.servers": demo_broker.bootstrap, "group.id": "demo"}
    run_worker(dict(kafka=kafka, models=[model]))
    collect = ["collect", *brokers, "--run-id", "docs", "--manifest", manifest]
    collected = millrace.run(*collect, "--output", output, "--timeout", 60)
    assert collected.returncode == 0, collected.stderr
    lines = read_lines(output)
    assert len(lines) == len(list(folder.iterdir()))
    kinds = {text_of(line["response"]["body"]) for line in lines}
    assert kinds <= {"incident", "delivery", "inspection", "complaint", "meeting"}


def test_what_is_skipped_is_told_and_ends_with_1(demo_broker, tmp_path):
    brokers = ["--set", f"kafka.bootstrap.servers={demo_broker.bootstrap}"]
    documents, prompt = tmp_path / "documents", millrace.DEMO / "prompts/classify.json"
    (documents / "folder").mkdir(parents=True)
    (documents / "broken.txt").write_bytes(b"\xff")
    (documents / "good.txt").write_text("The pump failed.")
    produce = ["produce", *brokers, "--documents", documents, "--prompt", prompt, "--json"]
    nothing = millrace.run(*produce)
    assert nothing.returncode == 1
    assert nothing.stdout == ""
    assert "--skip-invalid" in nothing.stderr
    others = millrace.run(*produce, "--skip-invalid")
    assert others.returncode == 1
    totals = json.loads(others.stdout)
    assert (totals["records"], totals["invalid"]) == (1, 2)
    assert "broken.txt" in others.stderr and "folder" in others.stderr


def test_collect_that_misses_results_says_so(kafka, topics, tmp_path, binary):
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(worker_config(kafka, topics)))
    arguments = ["--config", config, "--run-id", "none", "--count", 3, "--timeout", 2]
    result = millrace.run("collect", *arguments, "--output", tmp_path / "out.jsonl")
    assert result.returncode not in (0, 2)
    assert "3" in result.stdout + result.stderr


def test_the_commented_configuration_works(kafka, topics, run_worker):
    options = ["--config", ROOT / "deploy/worker.yaml"]
    settings = {"kafka.bootstrap.servers": kafka.bootstrap, "kafka.group.id": topics.requests}
    settings |= {f"topics.{name}": topic for name, topic in vars(topics).items()}
    for key, value in settings.items():
        options += ["--set", f"{key}={value}"]
    worker = run_worker({}, options=options)
    assert worker.stop() == 0, worker.log_tail()


@pytest.mark.parametrize("option, page", [([], "SETTINGS.md"), (["--metrics"], "METRICS.md")])
def test_the_reference_pages_are_what_the_program_prints(binary, option, page):
    printed = millrace.run("settings", *option)
    assert printed.returncode == 0, printed.stderr
    assert (ROOT / "deploy" / page).read_text() == printed.stdout


BROKEN_CONFIGS = {
    "not yaml": "a: [",
    "unknown key": "topcs: {requests: a}",
    "wrong type": "http.port: many",
    "out of bounds": "http.port: 70000",
    "owned by millrace": "kafka: {enable.auto.commit: true}",
    "missing model": "models: [{name: a, path: /nonexistent}]",
}


@pytest.mark.parametrize("name", BROKEN_CONFIGS)
def test_a_broken_configuration_ends_with_2_and_one_line(binary, tmp_path, name):
    path = tmp_path / "broken.yaml"
    path.write_text(BROKEN_CONFIGS[name])
    result = millrace.run("work", "--config", path, timeout_s=30)
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_the_inside_of_a_model_as_json_lines(binary):
    folder = millrace.DEMO / "scribe"
    check = millrace.run("model", "check", folder, "--json")
    assert check.returncode == 0, check.stderr
    report = json.loads(check.stdout)
    assert report["architecture"] == "LlamaForCausalLM" and report["quantization"] == "none"
    assert report["memory_bytes"]["cpu_int8"] < report["memory_bytes"]["cuda_bf16"]
    assert report["unsupported"] == [] and "adapter" not in report
    text = "Note 549"
    question = json.dumps(dict(text=text)) + "\nnot json\n" + json.dumps(dict(text="a")) + "\n"
    result = millrace.run("model", "tokenize", folder, input=question)
    first, second, third = map(json.loads, result.stdout.splitlines())
    assert first["decoded"] == text
    assert "error" in second
    assert third["decoded"] == "a"
    messages = dict(messages=[dict(role="user", content="x")], add_generation_prompt=True)
    rendered = millrace.run("model", "render", folder, input=json.dumps(messages) + "\n")
    expected = "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n"
    assert json.loads(rendered.stdout) == dict(text=expected)
    ids = json.dumps(dict(ids=first["ids"], max_tokens=4, temperature=0))
    generated = millrace.run("model", "generate", folder, input=ids + "\n")
    assert 1 <= len(json.loads(generated.stdout)["ids"]) <= 4
    logits = millrace.run("model", "logits", folder, "--last", input=ids + "\n")
    (row,) = json.loads(logits.stdout)["logits"]
    assert len(row) == 1536
