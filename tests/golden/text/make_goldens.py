#!/usr/bin/env python3
"""Makes the small tokenizers and golden encodings of this folder, with Hugging Face tokenizers.

    pip install tokenizers==0.23.3 && ./make_goldens.py

Writes byte-level.json, metaspace.json and wordpiece.json (all trained on the sentences below) and
goldens.jsonl, what Hugging Face tokenizers makes of TEXTS with each.
tests/unit/text/test_tokenizer.c must agree exactly.
"""

import json
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent

SENTENCES = [
    "The mill turns while the river runs, and the river runs all night.",
    "Summarize the document in one sentence. Extract the date, the amount and the name.",
    "It isn't that they're late; we've waited, I'll wait, he'd wait, she's waiting.",
    "In 2024 the order of 1,250 units cost 48.75 dollars; in 2025 it was 52.10.",
    "def answer(record):\n    if record is None:\n        return None\n    return record.body\n",
    "for (size_t i = 0; i < count; i++) {\n\tsum += values[i];\n}\n",
    "Die Mühle mahlt Tag für Tag, und das Wasser fließt über das Rad.",
    "Le moulin tourne et la rivière coule; l'été, le café est déjà fermé.",
    "Мельница мелет зерно, а река течёт всю ночь.",
    "水车在河边转动，日夜不停。川の水車は回り続ける。",
] * 4

TEXTS = [
    "",
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n",
    " \n \n  ",
    "\t\t x",
    "a",
    " a",
    "  a",
    "a ",
    "a  ",
    "a  b",
    "Hello, world!",
    "The mill turns.",
    "the river's mill isn't theirs, they'LL SAY'S no'ſt",
    "def f(x):\n    return x  # why?\n\n\n",
    "x=1;y=22;z=333;w=4444;v=55555",
    "١٢٣ ½ ² Ⅷ 七",
    "café cafe\u0301 \u212b \u1e9b\u0323 \ufb01 \uac00 \u1100\u1161\u11a8",
    "q\u0307\u0323 a\u0315\u0300\u05ae\u0062",
    "Mühle über Straße",
    "Мельница",
    "水车转动。",
    "🙂 👩‍👩‍👧‍👦 🏳️‍🌈 e\u200d\u200c",
    "\u00a0nbsp\u2003em\u3000wide\u180emvs",
    "a\u0085b\u2028c\r\nd\re\x0bf\x0cg",
    "<|im_start|>user\nHi<|im_end|>\n",
    "<|im_start|",
    "<|im_start|><|im_start|>x<|im_end|>",
    "a  <lstrip>  b  <rstrip>  c <word> d x<word> <word>y <word>",
    "<norm>alized <NORM>",
    "<s>a</s> b<s>",
    "<unk> <0x41> ▁ ▁▁a ▁a",
    "\ufeffbom",
    "nul-free \x01\x7f\x80",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "...!!!???   ---\r\n\r\n  ***",
    "'s 't 're 've 'm 'll 'd 'S 'RE '",
    "''''s",
    " 's",
    "don''t",
]


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, show_progress=False, special_tokens=[]
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_special_tokens(["<|begin|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens(
        [
            AddedToken("<lstrip>", lstrip=True, normalized=False),
            AddedToken("<rstrip>", rstrip=True, normalized=False),
            AddedToken("<word>", single_word=True, normalized=False),
            AddedToken("<norm>", normalized=True),
        ]
    )
    begin = tokenizer.token_to_id("<|begin|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", begin)]
    )
    return tokenizer


def metaspace():
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=500, show_progress=False, special_tokens=["<unk>"])
    trained.train_from_iterator(SENTENCES, trainer)
    model = json.loads(trained.to_str())["model"]
    names = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    names += [name for name in sorted(model["vocab"], key=model["vocab"].get) if name != "<unk>"]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={name: i for i, name in enumerate(names)},
            merges=merges,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = trained.normalizer
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return tokenizer


def wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, show_progress=False, special_tokens=special)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def main():
    with open(HERE / "goldens.jsonl", "w", encoding="utf-8") as goldens:
        for name, tokenizer in (
            ("byte-level", byte_level()),
            ("metaspace", metaspace()),
            ("wordpiece", wordpiece()),
        ):
            path = HERE / f"{name}.json"
            path.write_text(tokenizer.to_str(), encoding="utf-8")
            tokenizer = Tokenizer.from_file(str(path))
            for text in TEXTS:
                for add in (False, True):
                    ids = tokenizer.encode(text, add_special_tokens=add).ids
                    case = {
                        "tokenizer": name,
                        "text": text,
                        "add_special_tokens": add,
                        "ids": ids,
                        "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                        "decoded_plain": tokenizer.decode(ids, skip_special_tokens=True),
                    }
                    goldens.write(json.dumps(case) + "\n")


if __name__ == "__main__":
    main()
