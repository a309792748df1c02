#!/usr/bin/env python3
"""Makes the tiny random encoders of this folder, with what transformers and sentence-transformers
make of some texts.

    pip install torch==2.15.0 transformers==5.24.0 sentence-transformers==6.2.0 tokenizers==0.23.3
    ./make.py

minilm: BERT, mean, length 1. bge: BERT in a model with a head, first token, length 1. e5: BERT
without other files. roberta: RoBERTa, byte-level BPE, mean. golden.json has for each text the token
ids, the vector, and the states of all tokens. tests/unit/pipeline/test_encoder.c must agree.
"""

import json
import pathlib
import shutil

import torch
from sentence_transformers import SentenceTransformer, models
from tokenizers import (
    Tokenizer,
    decoders,
    models as token_models,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

HERE = pathlib.Path(__file__).parent
TEXTS = [
    "The mill turns while the river runs.",
    "a",
    "Café Mühle, 2024: 1,250 units!",
    "Summarize the document in one sentence. Extract the date, the amount and the name. "
    "It isn't that they're late; "
    "we've waited.",
    "水车在河边转动 🙂",
]


def randomize(model, seed):
    """Weights with some size, norms that are not 1, all exact in f16."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            scale = 0.5 if weight.dim() == 1 else 1.5 / weight.shape[-1] ** 0.5
            weight.copy_(
                torch.randn_like(weight) * scale + (1 if name.endswith("LayerNorm.weight") else 0)
            )
            weight.copy_(weight.half().float())
    return model.eval()


def wordpiece():
    tokenizer = Tokenizer.from_file(str(HERE.parent / "text" / "wordpiece.json"))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def byte_level():
    tokenizer = Tokenizer(token_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def save(name, model, tokenizer, pooling=None, normalizes=False, limit=None):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    plain = folder / "plain"
    model.half().save_pretrained(plain)
    model.float()
    tokenizer.save_pretrained(plain)
    if pooling is None:
        for path in plain.iterdir():
            path.rename(folder / path.name)
        pooling, normalizes, source = "mean", True, folder
    else:
        source = plain
    transformer = models.Transformer(str(source), max_seq_length=limit)
    modules = [
        transformer,
        models.Pooling(transformer.get_word_embedding_dimension(), pooling_mode=pooling),
    ]
    sentences = SentenceTransformer(
        modules=modules + ([models.Normalize()] if normalizes else []), device="cpu"
    )
    sentences = sentences.float()
    if source == plain:
        sentences.half().save(str(folder), create_model_card=False)
        sentences.float()
        for name in ("config.json", "model.safetensors"):  # with the head, if there is one
            (plain / name).rename(folder / name)
        shutil.rmtree(plain)
    golden = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        with torch.no_grad():
            bare = getattr(model, "bert", model)
            states = bare(input_ids=torch.tensor([ids])).last_hidden_state[0]
            vector = sentences.encode(text, convert_to_tensor=True)
        golden.append(
            {
                "text": text,
                "ids": ids,
                "vector": [float(f"{x:.7g}") for x in vector.tolist()],
                "states": [[float(f"{x:.7g}") for x in row] for row in states.tolist()[:4]],
            }
        )
    (folder / "golden.json").write_text(json.dumps(golden))
    if limit is not None:  # as older versions wrote both, and as most published folders have them
        old = {
            "word_embedding_dimension": model.config.hidden_size,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_cls_token": False,
            "pooling_mode_max_tokens": False,
        }
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(old, indent=2) + "\n")
        (folder / "sentence_bert_config.json").write_text(
            json.dumps({"max_seq_length": limit, "do_lower_case": False})
        )
    needed = {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "modules.json",
        "golden.json",
    } | ({"sentence_bert_config.json"} if limit else set())
    for path in list(folder.iterdir()):
        if path.is_dir() and not path.name.endswith("_Pooling"):
            shutil.rmtree(path)
        elif path.is_file() and path.name not in needed:
            path.unlink()
        elif path.is_file():
            path.chmod(0o644)


def main():
    bert = {
        "vocab_size": 400,
        "num_hidden_layers": 3,
        "max_position_embeddings": 80,
        "attn_implementation": "eager",
    }
    save(
        "minilm",
        randomize(
            BertModel(
                BertConfig(hidden_size=24, num_attention_heads=3, intermediate_size=40, **bert),
                add_pooling_layer=False,
            ),
            1,
        ),
        wordpiece(),
        "mean",
        True,
        limit=64,
    )
    head = BertForMaskedLM(
        BertConfig(hidden_size=32, num_attention_heads=2, intermediate_size=50, **bert)
    )
    save("bge", randomize(head, 2), wordpiece(), "cls", True)
    save(
        "e5",
        randomize(
            BertModel(
                BertConfig(hidden_size=20, num_attention_heads=1, intermediate_size=33, **bert)
            ),
            3,
        ),
        wordpiece(),
    )
    config = RobertaConfig(
        vocab_size=320,
        hidden_size=24,
        num_attention_heads=2,
        intermediate_size=48,
        num_hidden_layers=2,
        max_position_embeddings=130,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        attn_implementation="eager",
    )
    save("roberta", randomize(RobertaModel(config), 4), byte_level(), "mean")


if __name__ == "__main__":
    main()
