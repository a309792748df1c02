"""Model folders that are broken: exit code 2 and one line, whatever is in them."""

import json
import os
import shutil
import struct
import subprocess

import pytest

from support import millrace
from support.jobs import chat, write_lines

NORM = "model.norm.weight"
MANY = 1 << 62


@pytest.fixture
def model(tmp_path):
    """A copy of the demo model that a test may break."""
    return shutil.copytree(millrace.DEMO / "scribe", tmp_path / "model")


def weights(folder):
    return folder / "model.safetensors"


def read_header(folder):
    """-> the header as an object, and the data behind it."""
    raw = weights(folder).read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def write_header(folder, text, data, size=None):
    text += b" " * (-len(text) % 8)
    size = len(text) if size is None else size
    weights(folder).write_bytes(struct.pack("<Q", size) + text + data)


def header(change):
    """Breaks the header of the weights, and leaves their data as they are."""

    def break_it(folder):
        tensors, data = read_header(folder)
        change(tensors)
        write_header(folder, json.dumps(tensors).encode(), data)

    return break_it


def tensor(name=NORM, **fields):
    return header(lambda tensors: tensors[name].update(fields))


def cut(size):
    """The weights up to `size` bytes; negative: without their last bytes."""

    def break_it(folder):
        raw = weights(folder).read_bytes()
        weights(folder).write_bytes(raw[:size])

    return break_it


def header_size(size):
    def break_it(folder):
        weights(folder).write_bytes(struct.pack("<Q", size) + weights(folder).read_bytes()[8:])

    return break_it


def raw_header(text):
    return lambda folder: write_header(folder, text, read_header(folder)[1])


def overlap(tensors):
    norms = sorted(name for name in tensors if name.endswith("input_layernorm.weight"))
    tensors[norms[1]]["data_offsets"] = tensors[norms[0]]["data_offsets"]


def surplus_layer(tensors):
    """A tensor of a layer that the configuration does not have."""
    for name in [name for name in tensors if ".layers.3." in name]:
        tensors[name.replace(".layers.3.", ".layers.9.")] = tensors.pop(name)


def file(name, content):
    raw = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(raw)


def edit(name, change):
    """Changes a JSON file."""

    def break_it(folder):
        value = json.loads((folder / name).read_text())
        change(value)
        (folder / name).write_text(json.dumps(value))

    return break_it


def config(**fields):
    return edit("config.json", lambda value: value.update(fields))


def without(name):
    return edit("config.json", lambda value: value.pop(name))


def tokenizer(change):
    return edit("tokenizer.json", change)


def template(text):
    return edit("tokenizer_config.json", lambda value: value.update(chat_template=text))


def far_id(value):
    value["added_tokens"][0]["id"] = 1 << 40


def ids_beyond(value):
    value["added_tokens"].append(value["added_tokens"][0] | dict(id=1536, content="<new>"))


def vocabulary(**words):
    return tokenizer(lambda value: value["model"]["vocab"].update(words))


def merges(*pairs):
    return tokenizer(lambda value: value["model"].update(merges=list(pairs)))


def nested(kind, depth):
    opened, closed = dict(list="[]", object=['{"a":', "}"])[kind]
    return opened * depth + closed * depth


def remove(name):
    return lambda folder: (folder / name).unlink()


def loop(name):
    def break_it(folder):
        (folder / name).unlink()
        (folder / name).symlink_to(folder / name)

    return break_it


def replace_by_folder(name):
    def break_it(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return break_it


def pipe(name):
    def break_it(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return break_it


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


def not_a_folder(folder):
    shutil.rmtree(folder)
    folder.write_text("a file")


def gone(folder):
    shutil.rmtree(folder)


def index(text):
    def break_it(folder):
        weights(folder).rename(folder / "model-00001-of-00001.safetensors")
        (folder / "model.safetensors.index.json").write_text(text)

    return break_it


BREAKERS = {
    **{f"weights end after {size}": cut(size) for size in [0, 1, 7, 8, 9, 100, 4000, 100_000, -1]},
    "no weights": remove("model.safetensors"),
    "header of 0 bytes": header_size(0),
    "header of 1 byte": header_size(1),
    "header as large as the file": header_size(6_300_480),
    "header of 2^60 bytes": header_size(1 << 60),
    "header of 2^64-1 bytes": header_size((1 << 64) - 1),
    "header is no JSON": raw_header(b"{]"),
    "header is an array": raw_header(b"[]"),
    "header is empty": raw_header(b"{}"),
    "header is deep": raw_header(nested("list", 100_000).encode()),
    "header has a number for a tensor": header(lambda tensors: tensors.update({NORM: 5})),
    "overlapping tensors": header(overlap),
    "offsets beyond the end": tensor(data_offsets=[0, 1 << 40]),
    "offsets far beyond the end": tensor(data_offsets=[MANY, MANY + 512]),
    "offsets negative": tensor(data_offsets=[-512, 0]),
    "offsets backwards": tensor(data_offsets=[512, 0]),
    "offsets are floats": tensor(data_offsets=[0.5, 512.5]),
    "offsets are one": tensor(data_offsets=[0]),
    "offsets too short for the shape": tensor(data_offsets=[0, 510]),
    "dtype of integers": tensor(dtype="I64"),
    "dtype unknown": tensor(dtype="F13"),
    "dtype is a number": tensor(dtype=16),
    "dtype of another size": tensor(dtype="F32"),
    "shape absurd": tensor(shape=[1 << 40, 1 << 40]),
    "shape negative": tensor(shape=[-256]),
    "shape of another size": tensor(shape=[128]),
    "shape of nothing": tensor(shape=[0], data_offsets=[0, 0]),
    "shape of many dimensions": tensor(shape=[1] * 100 + [256]),
    "shape transposed": tensor("model.layers.0.mlp.down_proj.weight", shape=[640, 256]),
    "tensor missing": header(lambda tensors: tensors.pop(NORM)),
    "tensors of a layer missing": header(surplus_layer),
    "index is no JSON": index("{"),
    "index has no map": index("{}"),
    "index leads outside": index(json.dumps(dict(weight_map={NORM: "../../etc/passwd"}))),
    "index names no file": index(json.dumps(dict(weight_map={NORM: "missing.safetensors"}))),
    "no config": remove("config.json"),
    "config is no JSON": file("config.json", "{"),
    "config is empty": file("config.json", ""),
    "config is an array": file("config.json", "[]"),
    "config is deep": file("config.json", nested("object", 5)[:-1]),
    "config is very deep": file("config.json", nested("list", 1_000_000)),
    "config is not UTF-8": file("config.json", b'{"model_type": "\xff"}'),
    "config of another family": config(architectures=["ParrotForCausalLM"], model_type="parrot"),
    "architecture with a line break": config(architectures=["a\nb"], model_type="a\nb"),
    "hidden_size huge": config(hidden_size=1 << 40),
    "hidden_size beyond 64 bits": file("config.json", '{"hidden_size": 1e400}'),
    "hidden_size negative": config(hidden_size=-256),
    "hidden_size zero": config(hidden_size=0),
    "hidden_size a float": config(hidden_size=256.5),
    "hidden_size a text": config(hidden_size="256"),
    "hidden_size missing": without("hidden_size"),
    "hidden_size other than the weights": config(hidden_size=512),
    "heads zero": config(num_attention_heads=0),
    "heads do not divide": config(num_key_value_heads=3),
    "head_dim odd": config(head_dim=63),
    "head_dim huge": config(head_dim=1 << 30),
    "layers too many": config(num_hidden_layers=1_000_000),
    "layers more than weights": config(num_hidden_layers=5),
    "layers negative": config(num_hidden_layers=-1),
    "context zero": config(max_position_embeddings=0),
    "context huge": config(max_position_embeddings=1 << 60),
    "epsilon a text": config(rms_norm_eps="small"),
    "theta zero": config(rope_theta=0),
    "rope scaling unknown": config(rope_scaling=dict(rope_type="magic", factor=2)),
    "activation unknown": config(hidden_act="sigmoidal"),
    "vocabulary smaller than the tokenizer": config(vocab_size=1000),
    "vocabulary zero": config(vocab_size=0),
    "stop token beyond the vocabulary": edit(
        "generation_config.json", lambda value: value.update(eos_token_id=[1 << 20])
    ),
    "generation_config is no JSON": file("generation_config.json", "{"),
    "no tokenizer": remove("tokenizer.json"),
    "tokenizer is no JSON": file("tokenizer.json", "{"),
    "tokenizer is an array": file("tokenizer.json", "[]"),
    "tokenizer is cut": lambda folder: os.truncate(folder / "tokenizer.json", 20_000),
    "tokenizer has huge ids": tokenizer(far_id),
    "tokenizer has ids beyond the vocabulary": tokenizer(ids_beyond),
    "tokenizer has a negative id": vocabulary(zzz=-1),
    "tokenizer has an id twice": vocabulary(zzz=5),
    "tokenizer has a text for an id": vocabulary(zzz="5"),
    "tokenizer merges what is not there": merges("zz qq"),
    "tokenizer merges one": merges("a"),
    "tokenizer merges numbers": merges(1),
    "tokenizer of another kind": tokenizer(lambda value: value["model"].update(type="Unigram")),
    "tokenizer with a pattern that does not compile": tokenizer(
        lambda value: value["pre_tokenizer"]["pretokenizers"][0].update(pattern=dict(Regex="(a"))
    ),
    "template does not parse": template("{% for x in %}"),
    "template ends early": template("{{ messages"),
    "template is deep": template("{{ " + "(" * 100_000),
    "template is a number": template(5),
    "template with a line break in its mistake": template("{% nothing\n\n %}"),
    "tokenizer_config is no JSON": file("tokenizer_config.json", "{"),
    "weights are a loop": loop("model.safetensors"),
    "config is a loop": loop("config.json"),
    "tokenizer is a loop": loop("tokenizer.json"),
    "weights are a folder": replace_by_folder("model.safetensors"),
    "config is a folder": replace_by_folder("config.json"),
    "tokenizer is a folder": replace_by_folder("tokenizer.json"),
    "weights are a pipe": pipe("model.safetensors"),
    "config is a pipe": pipe("config.json"),
    "tokenizer is a pipe": pipe("tokenizer.json"),
    "tokenizer_config is a pipe": pipe("tokenizer_config.json"),
    "empty folder": empty,
    "a file": not_a_folder,
    "gone": gone,
}


def check(*arguments):
    result = millrace.run(*arguments, timeout_s=60, stdin=subprocess.DEVNULL)
    assert result.returncode == 2, (result.returncode, result.stdout, result.stderr)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr[:-1].isprintable()
    return result.stderr


@pytest.mark.parametrize("name", BREAKERS)
def test_a_broken_folder_ends_with_2_and_one_line(binary, model, tmp_path, name):
    BREAKERS[name](model)
    assert "model" in check("model", "check", model)
    source = write_lines(tmp_path / "in.jsonl", [chat("a")])
    check("batch", "--model", model, source, tmp_path / "out.jsonl")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_said(binary, model):
    weights(model).chmod(0)
    assert "denied" in check("model", "check", model)


# What may be missing or more without harm.
HARMLESS = {
    "no generation_config": remove("generation_config.json"),
    "no template": edit("tokenizer_config.json", lambda value: value.pop("chat_template")),
    "other files": file("README.md", "hello"),
    "links": lambda folder: (
        weights(folder).rename(folder / "blob"),
        weights(folder).symlink_to("blob"),
    ),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_folder_with_less_or_more_than_usual_is_whole(binary, model, name):
    HARMLESS[name](model)
    result = millrace.run("model", "check", model)
    assert result.returncode == 0, result.stderr
