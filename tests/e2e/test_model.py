"""`millrace model`: what a folder holds, as JSON lines."""

import json

import pytest

from support import millrace

SCRIBE = millrace.DEMO / "scribe"
TURN = "<|im_start|>user\nx<|im_end|>\n"


def model(verb, path, lines=(), *options):
    """Runs a verb; each line is an object or a text; -> what it answers to each of them."""
    texts = [text if isinstance(text, str) else json.dumps(text) for text in lines]
    result = millrace.run("model", verb, path, *options, input="".join(t + "\n" for t in texts))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    answers = [json.loads(text) for text in result.stdout.splitlines()]
    assert len(answers) == len(texts)
    return answers


def test_check_says_what_the_folder_holds(binary):
    result = millrace.run("model", "check", SCRIBE, "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["architecture"] == "LlamaForCausalLM"
    assert report["context"] == 1024
    assert report["vocabulary"] == 1536
    assert {stop["token"] for stop in report["stop_tokens"]} == {"<|im_end|>", "<|endoftext|>"}
    assert report["dtypes"] == {"BF16": report["parameters"]}
    assert report["memory_bytes"]["cpu_f32"] >= 4 * report["parameters"]
    assert report["unsupported"] == []
    plain = millrace.run("model", "check", SCRIBE)
    assert plain.returncode == 0
    assert {text.split()[0] for text in plain.stdout.splitlines()} == set(report)


def test_tokenize_keeps_special_tokens_and_all_characters(binary):
    texts = ["hi", "", "a\0b", TURN, "日本語 🦙 é", "\x7f\n\t"]
    answers = model("tokenize", SCRIBE, [dict(text=text) for text in texts])
    assert [answer["decoded"] for answer in answers] == texts
    assert answers[1]["ids"] == []
    assert 1534 in answers[3]["ids"] and 1535 in answers[3]["ids"]


def test_render_gives_the_text_of_the_template(binary):
    messages = [dict(role="user", content="x")]
    lines = [dict(messages=messages), dict(messages=messages, add_generation_prompt=True)]
    plain, prompted = model("render", SCRIBE, lines)
    assert plain == dict(text=TURN)
    assert prompted == dict(text=TURN + "<|im_start|>assistant\n")


def test_logits_have_a_row_for_each_position(binary):
    (all_rows,) = model("logits", SCRIBE, [dict(ids=[84, 104, 101])])
    (last,) = model("logits", SCRIBE, [dict(ids=[84, 104, 101])], "--last")
    assert [len(row) for row in all_rows["logits"]] == [1536] * 3
    assert last["logits"] == all_rows["logits"][-1:]
    long = [65 + i % 26 for i in range(1024)]
    (whole,) = model("logits", SCRIBE, [dict(ids=long)], "--last")
    assert len(whole["logits"]) == 1


def test_generate_is_greedy_unless_told_otherwise(binary):
    ids = dict(ids=[84, 104, 101], max_tokens=12)
    first, again, sampled = model(
        "generate", SCRIBE, [ids, ids | dict(temperature=0), ids | dict(temperature=2, seed=1)]
    )
    assert first == again != sampled
    assert len(first["ids"]) == 12 and first["finish_reason"] == "length"
    rows = model("logits", SCRIBE, [dict(ids=[84, 104, 101])], "--last")[0]["logits"]
    assert first["ids"][0] == max(range(1536), key=rows[0].__getitem__)
    decoded = model("tokenize", SCRIBE, [dict(text=first["text"])])[0]["decoded"]
    assert decoded == first["text"]


def test_generate_answers_a_chat_as_batch_does(binary):
    job = json.loads((millrace.DEMO / "jobs.jsonl").read_text().splitlines()[0])
    (answer,) = model("generate", SCRIBE, [job["body"]])
    assert answer["text"] == job["millrace"]["reference"]
    assert answer["finish_reason"] == "stop"
    assert 1535 not in answer["ids"]


# verb: a good line and bad ones
LINES = {
    "tokenize": (dict(text="a"), [dict(text=1), dict(), dict(text="a", add_special_tokens="no")]),
    "render": (dict(messages=[]), [dict(messages=[dict(role=[], content="x")])]),
    "logits": (
        dict(ids=[1, 2]),
        [dict(ids=[]), dict(ids=[-1]), dict(ids=[1536]), dict(ids=[1.5]), dict(ids="1"), dict()]
        + [dict(ids=[1] * 1025), dict(ids=[2**40])],
    ),
    "generate": (
        dict(ids=[1, 2], max_tokens=2),
        [dict(ids=[]), dict(ids=[1536]), dict(ids=[1], max_tokens=2000), dict(ids=[1] * 2000)]
        + [dict(messages=[]), dict(ids=[1], temperature=9), dict(), dict(ids=[1], stream=True)]
        + [{"ids": [1], "x" + "é" * 90: 1}],
    ),
}
NOT_LINES = ["", "not json", "[]", "1", '{"a": 1', '{"a": 1, "a": 2}', "[" * 100_000]


@pytest.mark.parametrize("verb", LINES)
def test_a_bad_line_gets_an_error_and_the_next_goes_on(binary, verb):
    good, bad = LINES[verb]
    answers = model(verb, SCRIBE, [good, *bad, *NOT_LINES, good])
    assert answers[0] == answers[-1]
    assert "error" not in answers[0]
    for answer in answers[1:-1]:
        assert set(answer) == {"error"} and answer["error"]


@pytest.mark.parametrize("verb", LINES)
def test_no_lines_give_none(binary, verb):
    assert model(verb, SCRIBE) == []


def test_the_device_is_an_option(binary):
    line = dict(ids=[84, 104, 101])
    assert model("logits", SCRIBE, [line], "--device", "cpu") == model("logits", SCRIBE, [line])
    result = millrace.run("model", "logits", SCRIBE, "--device", "abacus", input="")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1


def close(rows, expected, tolerance):
    for row, right in zip(rows, expected, strict=True):
        assert max(abs(a - b) for a, b in zip(row, right, strict=True)) <= tolerance


def folder(data, name):
    path = data / name
    if not path.is_dir():
        pytest.skip(f"no {path}")
    return path


F32 = ["--set", "engine.weights=f32"]


def test_stories_are_the_reference_s(binary, data):
    path = folder(data, "models/stories260K")
    golden = json.loads((path / "golden_greedy.json").read_text())
    greedy = golden["greedy_ids"]
    rows = golden["logits"]
    (answer,) = model("logits", path, [dict(ids=greedy[: len(rows)])], *F32)
    close(answer["logits"], rows, 2e-3)
    (told,) = model("generate", path, [dict(ids=[1], max_tokens=200)], *F32)
    assert told["ids"] == greedy[1:]
    assert told["text"] == (path / "expected_greedy_200steps.txt").read_text().rstrip("\n")
    text = told["text"]
    (tokens,) = model("tokenize", path, [dict(text=text)])
    assert tokens["ids"][0] == 1
    (bare,) = model("tokenize", path, [dict(text=text, add_special_tokens=False)])
    assert bare["ids"] == tokens["ids"][1:]
    assert bare["decoded"] == text


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_families_without_a_tokenizer_serve_ids(binary, data, family):
    path = folder(data, f"families/{family}")
    cases = json.loads((path / "golden.json").read_text())["cases"]
    answers = model("logits", path, [dict(ids=case["ids"]) for case in cases], *F32)
    for answer, case in zip(answers, cases):
        close(answer["logits"][-len(case["logits"]) :], case["logits"], 2e-3)
    lines = [
        dict(ids=case["ids"], max_tokens=len(case["greedy"]), ignore_eos=True) for case in cases
    ]
    for answer, case in zip(model("generate", path, lines, *F32), cases):
        assert answer["ids"] == case["greedy"]
        assert answer["finish_reason"] == "length"
    (refused,) = model("generate", path, [dict(prompt="text")], *F32)
    assert "tokenizer.json" in refused["error"]
    check = millrace.run("model", "check", path)
    assert check.returncode == 2
    assert "tokenizer.json" in check.stderr


VECTORS = {"gpt-2": "gpt-2", "llama-bpe": "llama-3.1", "llama-spm": "llama-2", "qwen2": "qwen2.5"}


@pytest.mark.parametrize("name", VECTORS)
def test_real_tokenizers_give_their_ids(binary, data, name):
    path = folder(data, f"tokenizers/{VECTORS[name]}")
    vectors = data / "golden-tokenization" / name
    texts = vectors.with_suffix(".inp").read_text().split("\n__ggml_vocab_test__\n")
    ids = vectors.with_suffix(".out").read_text().split("\n")
    lines = [dict(text=text, add_special_tokens=False) for text in texts]
    for text, answer, right in zip(texts, model("tokenize", path, lines), ids):
        assert answer["ids"] == [int(number) for number in right.split()], text
        assert answer["decoded"] == text


def test_a_template_may_be_a_file(binary, data):
    templates = folder(data, "chat-templates")
    cases = json.loads((templates / "golden-renders-cases.json").read_text())
    renders = [json.loads(t) for t in (templates / "golden-renders.jsonl").read_text().splitlines()]
    chatml = [r for r in renders if r["template"] == "chujiezheng/chatml.jinja"]
    assert chatml
    common = dict(bos_token="<s>", eos_token="</s>", tools=None)
    lines = [common | cases["cases"][render["case"]] for render in chatml]
    path = templates / "chujiezheng/chatml.jinja"
    for answer, render in zip(model("render", path, lines), chatml):
        if "expected" in render:
            assert answer == dict(text=render["expected"])
        else:
            assert set(answer) == {"error"}
