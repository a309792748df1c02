#!/usr/bin/env python3
"""Compares this project's tokenizers with Hugging Face's on many texts.

    cmake --build --preset release --target tokenize
    pip install tokenizers==0.23.3 && ./differential.py [--seed N] [--strings N] [--large]

Tokenizers: every folder of ../shared/data/tokenizers, the small ones of this folder, and variants
of the small ones that use each component that the reader supports. Texts: real ones of
../shared/data, many languages, code, emoji, white space, every character of Unicode, random
strings, broken UTF-8; with --large also texts of 1 MB. Ids must be equal, and the text that comes
back from them.

Hugging Face tokenizers takes str, which cannot be broken UTF-8 (and refuses lone surrogates). So a
broken text is given to it as what Python's decode(errors="replace") makes of the bytes.
"""

import argparse
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
DATA = ROOT.parent / "shared" / "data"
PROGRAM = ROOT / "build" / "release" / "tests" / "unit" / "text" / "tokenize"

WORDS = (
    "the mill Mill's don't I'LL réseau naïve Straße ΣΊΣΥΦΟΣ ὈΔΥΣΣΕΎΣ мельница Ёж "
    "שָׁלוֹם العَرَبِيَّة हिन्दी ภาษาไทย "
    "水車 転がる 한국어 가 İstanbul ŁÓDŹ Ǆ ﬁn ½ Ⅷ ٣٤ 12345 3.14 0x1F "
    "<s> </s> [CLS] [MASK] <|im_end|> 🙂 👩‍👩‍👧‍👦 🏳️‍🌈 é e\u0301 "
    "\u200d \ufeff \u00a0 \u3000 \u2028 \t \n \r\n '' \" -- ... #!/bin/sh {} [] () ## a_b "
    "x=1; //c \\n \x00 \x01 \x7f \x85 \ufffd ▁ ▁▁ Ġ <0x0A> \U000e0001 "
    "\U0001f9d1\u200d\U0001f4bb"
).split(" ")


def real_texts():
    yield from (
        (DATA / "golden-tokenization" / name).read_text(encoding="utf-8")
        for name in ("gpt-2.inp", "llama-bpe.inp", "llama-spm.inp", "qwen2.inp")
    )
    for path in sorted((DATA / "corpora").rglob("*")):
        if path.is_file() and path.stat().st_size < 4 << 20:
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[:40]:
                yield line[:20000]
    for folder in ("kernels", "pipeline", "tests/golden"):
        for path in sorted((ROOT / folder).rglob("*.[chp]*"))[:60]:
            if path.is_file():
                yield path.read_text(encoding="utf-8", errors="replace")[:20000]


def every_character():
    characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for start in range(0, len(characters), 64):
        yield "".join("a" + c for c in characters[start : start + 64])
        yield "Z ".join(characters[start : start + 64])


def random_texts(rng, count):
    pools = [
        lambda: chr(rng.randrange(0x20, 0x7F)),
        lambda: rng.choice(" \n\t\r\u00a0  "),
        lambda: chr(rng.randrange(0x80, 0x2500)),
        lambda: chr(rng.choice([rng.randrange(0x300, 0x370), rng.randrange(0x1100, 0x1200)])),
        lambda: chr(rng.randrange(0x3000, 0xA000)),
        lambda: chr(rng.randrange(0x1F300, 0x1FB00)),
        lambda: rng.choice(WORDS),
        lambda: rng.choice(WORDS) + " ",
        lambda: rng.choice("aeiou' .,0"),
        lambda: chr(
            rng.choice([c for c in (rng.randrange(0x110000),) if not 0xD800 <= c < 0xE000] or [65])
        ),
    ]
    for _ in range(count):
        chosen = rng.sample(pools, rng.randrange(1, 4))
        yield "".join(
            rng.choice(chosen)() for _ in range(rng.randrange(1, rng.choice((8, 40, 300))))
        )


def broken_texts(rng, count):
    for text in random_texts(rng, count):
        data = bytearray(text.encode())
        for _ in range(rng.randrange(1, 5)):
            if data and rng.random() < 0.5:
                del data[rng.randrange(len(data))]
            else:
                data.insert(rng.randrange(len(data) + 1), rng.randrange(0x80, 0x100))
        yield bytes(data)


def large_texts(rng):
    size = 1 << 20
    yield "a" * size
    yield " " * size
    yield "\n" * size
    yield "ab" * (size // 2)
    yield "\u0301" * (size // 2)
    yield "水" * (size // 3)
    yield "The mill turns while the river runs. " * (size // 37)
    yield "".join(chr(rng.randrange(0x20, 0x7F)) for _ in range(size))
    yield bytes(rng.randrange(256) for _ in range(size))


def made_tokenizers():
    """Names and JSON of variants of the small tokenizers, one for each component or flag."""
    byte_level = json.loads((HERE / "byte-level.json").read_text())
    metaspace = json.loads((HERE / "metaspace.json").read_text())
    wordpiece = json.loads((HERE / "wordpiece.json").read_text())

    def variant(base, **changes):
        made = json.loads(json.dumps(base))
        made.update(changes)
        return made

    def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
        return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}

    def sequence(*steps, key="pretokenizers"):
        return {"type": "Sequence", key: list(steps)}

    bytes_step = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"):
        yield "normalizer " + form, variant(byte_level, normalizer={"type": form})
    for left, right in ((True, False), (False, True), (True, True)):
        strip = {"type": "Strip", "strip_left": left, "strip_right": right}
        yield f"strip {left} {right}", variant(byte_level, normalizer=strip)
    replace = {"type": "Replace", "pattern": {"Regex": r"\s{2,}|e+"}, "content": "é"}
    literal = {"type": "Replace", "pattern": {"String": "ll"}, "content": "L"}
    yield "replace", variant(
        byte_level, normalizer=sequence(replace, literal, {"type": "NFC"}, key="normalizers")
    )
    for flags in range(16):
        bert = {
            "type": "BertNormalizer",
            "clean_text": bool(flags & 1),
            "handle_chinese_chars": bool(flags & 2),
            "strip_accents": (None, True)[flags >> 2 & 1],
            "lowercase": bool(flags & 8),
        }
        yield f"bert normalizer {flags}", variant(byte_level, normalizer=bert)
        yield f"wordpiece {flags}", variant(wordpiece, normalizer=bert)
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            step = split(r"\p{Lu}?[aeiou]+|\d|\s", behavior, invert)
            yield f"split {behavior} {invert}", variant(
                byte_level, pre_tokenizer=sequence(step, bytes_step)
            )
        punctuation = {"type": "Punctuation", "behavior": behavior}
        yield f"punctuation {behavior}", variant(
            byte_level, pre_tokenizer=sequence(punctuation, bytes_step)
        )
    yield "split string", variant(
        byte_level, pre_tokenizer=sequence(split("e", kind="String"), bytes_step)
    )
    for individual in (False, True):
        digits = {"type": "Digits", "individual_digits": individual}
        yield f"digits {individual}", variant(
            byte_level, pre_tokenizer=sequence(digits, bytes_step)
        )
    for kind in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer"):
        yield kind, variant(byte_level, pre_tokenizer=sequence({"type": kind}, bytes_step))
    for prefix in (False, True):
        step = {
            "type": "ByteLevel",
            "add_prefix_space": prefix,
            "trim_offsets": True,
            "use_regex": True,
        }
        yield f"byte level {prefix}", variant(byte_level, pre_tokenizer=step)
    for scheme in ("always", "first", "never"):
        for splits in (False, True):
            step = {
                "type": "Metaspace",
                "replacement": "▁",
                "prepend_scheme": scheme,
                "split": splits,
            }
            decoder = sequence(step, {"type": "ByteFallback"}, {"type": "Fuse"}, key="decoders")
            yield (
                f"metaspace {scheme} {splits}",
                variant(metaspace, normalizer=None, pre_tokenizer=step, decoder=step),
            )
            yield f"metaspace {scheme} {splits} fallback", variant(
                metaspace, normalizer=None, pre_tokenizer=step, decoder=decoder
            )
    for flag in ("fuse_unk", "byte_fallback"):
        yield "without " + flag, variant(metaspace, model={**metaspace["model"], flag: False})
    yield "ignore_merges", variant(byte_level, model={**byte_level["model"], "ignore_merges": True})
    for prefix in ("##", "@@"):
        yield f"wordpiece decoder {prefix}", variant(
            wordpiece, decoder={"type": "WordPiece", "prefix": prefix, "cleanup": prefix == "@@"}
        )
    for flags in range(16):
        added = json.loads(json.dumps(byte_level["added_tokens"]))
        for content, special in (
            ("mill", False),
            ("Ünd", False),
            (" e", False),
            ("<|mask|>", True),
        ):
            added.append(
                {
                    "id": 1 + max(token["id"] for token in added),
                    "content": content,
                    "single_word": bool(flags & 1),
                    "lstrip": bool(flags & 2),
                    "rstrip": bool(flags & 4),
                    "normalized": bool(flags & 8),
                    "special": special,
                }
            )
        yield f"added tokens {flags}", variant(
            byte_level, added_tokens=added, normalizer={"type": "Lowercase"}
        )


def run_ours(path, texts):
    data = b"".join(struct.pack("<i", len(text)) + text for text in texts)
    run = subprocess.run(
        [PROGRAM, path], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    if run.returncode != 0:
        return run.stderr.decode().strip()
    answers, at = [], 0
    for _ in texts:
        (count,) = struct.unpack_from("<i", run.stdout, at)
        at += 4
        if count < 0:
            answers.append(None)
            continue
        ids = list(struct.unpack_from(f"<{count}i", run.stdout, at))
        at += 4 * count
        (size,) = struct.unpack_from("<i", run.stdout, at)
        answers.append((ids, run.stdout[at + 4 : at + 4 + size].decode()))
        at += 4 + size
    return answers


def compare(name, path, texts, show):
    theirs = Tokenizer.from_file(str(path))
    theirs.no_truncation()
    theirs.no_padding()
    raw = [text if isinstance(text, bytes) else text.encode() for text in texts]
    ours = run_ours(path, raw)
    if isinstance(ours, str):
        print(f"{name}: refused: {ours}")
        return 1, 1
    different = undecoded = 0
    for text, answer in zip(raw, ours):
        string = text.decode(errors="replace")
        ids = theirs.encode(string).ids
        decoded = theirs.decode(ids, skip_special_tokens=False)
        if answer is None or answer[0] != ids:
            different += 1
            if different <= show:
                print(
                    f"{name}: {string[:120]!r}: {answer and answer[0][:40]}, must be {ids[:40]}"
                )
        elif answer[1] != decoded:
            undecoded += 1
            if undecoded <= show:
                print(
                    f"{name}: decoded {string[:90]!r}: {answer[1][:90]!r}, not {decoded[:90]!r}"
                )
    return different, undecoded


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--strings", type=int, default=2000, help="random ones, for each tokenizer")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--show", type=int, default=3)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    folders = sorted(DATA.glob("tokenizers/*/tokenizer.json"))
    real = [(path.parent.name, path) for path in folders]
    real += [(path.stem, path) for path in sorted(HERE.glob("*.json"))]
    totals = [0, 0, 0, 0, 0]
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for i, (name, content) in enumerate(made_tokenizers()):
            path = pathlib.Path(folder) / f"{i}.json"
            path.write_text(json.dumps(content), encoding="utf-8")
            made.append((name, path))
        for name, path in real + made:
            if arguments.only not in name:
                continue
            texts = list(every_character()) + list(random_texts(rng, arguments.strings))
            texts += list(broken_texts(rng, arguments.strings // 2))
            if (name, path) in real:
                texts += list(real_texts()) + (list(large_texts(rng)) if arguments.large else [])
            else:
                texts = texts[:4000:9] + texts[-arguments.strings :]
            different, undecoded = compare(name, path, texts, arguments.show)
            size = sum(len(t if isinstance(t, bytes) else t.encode()) for t in texts)
            print(
                f"{name}: {len(texts)} strings, {size} bytes, {different} encoded otherwise, "
                f"{undecoded} decoded otherwise",
                flush=True,
            )
            for i, number in enumerate((1, len(texts), size, different, undecoded)):
                totals[i] += number
    print(
        "%d tokenizers, %d strings, %d bytes, %d encoded otherwise, %d decoded otherwise"
        % tuple(totals)
    )
    sys.exit(totals[3] + totals[4] > 0)


if __name__ == "__main__":
    main()
