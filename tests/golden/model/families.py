#!/usr/bin/env python3
"""Writes families.json: small random models of every family in awkward shapes, and what
transformers computes with them in f32.

    pip install torch==2.15.0 transformers==5.24.0 numpy safetensors
    families.py [NAME...]

A case is config.json, the names and shapes of the tensors, a prompt of ids, some rows of its
logits, and the greedy ids that follow; `margin` is the smallest distance between the best and the
second logit on the way. Weights are not kept: weight_of makes them of a tensor's name, and so does
tests/unit/model/test_families.c.
"""

import json
import math
import pathlib
import sys
import tempfile

import numpy
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent
PROMPT, GREEDY = 75, 12
ROWS = [17, 40, PROMPT - 2, PROMPT - 1]
SIZES = dict(
    vocab_size=53,
    hidden_size=48,
    intermediate_size=44,
    num_hidden_layers=3,
    max_position_embeddings=128,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=500.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)
YARN = dict(rope_type="yarn", rope_theta=1e4, factor=4.0, original_max_position_embeddings=32)
LATENT = dict(
    kv_lora_rank=20,
    qk_nope_head_dim=10,
    qk_rope_head_dim=6,
    v_head_dim=14,
    moe_intermediate_size=20,
    norm_topk_prob=True,
    head_dim=6,
)


def case(model_type, heads, kv_heads, **more):
    return dict(
        SIZES,
        model_type=model_type,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        **more,
    )


CASES = {
    "llama-group-1-biases": case(
        "llama", 3, 3, head_dim=10, attention_bias=True, mlp_bias=True, rope_parameters=LLAMA3
    ),
    "llama-group-8-tied": case(
        "llama",
        8,
        1,
        head_dim=6,
        tie_word_embeddings=True,
        rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=3.0),
    ),
    "llama-group-3-yarn": case(
        "llama", 12, 4, rope_parameters=dict(YARN, truncate=False, attention_factor=1.3)
    ),
    "mistral-window": case("mistral", 6, 2, head_dim=14, sliding_window=24),
    "mixtral-window": case(
        "mixtral", 3, 1, num_local_experts=5, num_experts_per_tok=2, sliding_window=19
    ),
    "qwen2-late-window-yarn": case(
        "qwen2",
        6,
        2,
        use_sliding_window=True,
        sliding_window=21,
        max_window_layers=1,
        tie_word_embeddings=True,
        rope_parameters=YARN,
    ),
    "qwen3-biases": case("qwen3", 3, 1, head_dim=18, attention_bias=True),
    "qwen3-moe": case(
        "qwen3_moe",
        3,
        3,
        head_dim=14,
        num_experts=7,
        num_local_experts=7,
        num_experts_per_tok=3,
        moe_intermediate_size=18,
        norm_topk_prob=False,
    ),
    "deepseek-v2-groups-yarn": case(
        "deepseek_v2",
        3,
        3,
        **LATENT,
        q_lora_rank=22,
        n_routed_experts=6,
        num_experts_per_tok=3,
        n_shared_experts=1,
        first_k_dense_replace=2,
        topk_method="group_limited_greedy",
        n_group=3,
        topk_group=2,
        routed_scaling_factor=1.5,
        rope_parameters=dict(YARN, mscale=0.707, mscale_all_dim=0.707),
    ),
    "deepseek-v3-three-dense": case(
        "deepseek_v3",
        3,
        3,
        **LATENT,
        q_lora_rank=22,
        n_routed_experts=8,
        num_experts_per_tok=3,
        n_shared_experts=2,
        first_k_dense_replace=3,
        n_group=4,
        topk_group=2,
        routed_scaling_factor=2.5,
        rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=0.8),
        rope_interleave=False,
    ),
    "deepseek-v3-one-dense": case(
        "deepseek_v3",
        6,
        6,
        **LATENT,
        q_lora_rank=None,
        n_routed_experts=6,
        num_experts_per_tok=2,
        n_shared_experts=1,
        first_k_dense_replace=1,
        n_group=2,
        topk_group=1,
        routed_scaling_factor=1.0,
    ),
    "olmo2": case("olmo2", 6, 2, rope_parameters=dict(rope_type="default", rope_theta=5e5)),
    "olmo2-tied": case("olmo2", 3, 3, tie_word_embeddings=True, attention_bias=True),
}
CASES["deepseek-v3-three-dense"]["num_hidden_layers"] = 4


def uniform(name, count):
    """Numbers from -0.5 to 0.5 of a name: splitmix64."""
    state = numpy.uint64(0)
    with numpy.errstate(over="ignore"):
        for byte in name.encode():
            state = state * numpy.uint64(31) + numpy.uint64(byte)
        steps = numpy.arange(1, count + 1, dtype=numpy.uint64)
        x = state + steps * numpy.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        x = x ^ (x >> numpy.uint64(31))
    return (x >> numpy.uint64(11)).astype(numpy.float64) * 2.0**-53 - 0.5


def weight_of(name, shape):
    values = uniform(name, math.prod(shape))
    if len(shape) == 2:
        values = values * (4 / math.sqrt(shape[1]))
    elif name.endswith(".weight"):  # a norm's scale
        values = 1 + 0.5 * values
    return torch.from_numpy(values.astype(numpy.float32).reshape(shape))


def run(name, options):
    torch.manual_seed(0)
    options = dict(options)
    config = transformers.AutoConfig.for_model(options.pop("model_type"), **options)
    config.dtype = "float32"
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        file = pathlib.Path(folder) / "model.safetensors"
        with safe_open(file, "pt") as tensors:
            shapes = {key: tensors.get_slice(key).get_shape() for key in tensors.keys()}
        save_file({key: weight_of(key, shape) for key, shape in shapes.items()}, file)
        model, info = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            attn_implementation="eager",
            experts_implementation="eager",
            dtype=torch.float32,
            output_loading_info=True,
        )
        assert not any(info.values()), info
        saved = json.loads((pathlib.Path(folder) / "config.json").read_text())
    ids = (3 + (uniform(name, PROMPT) + 0.5) * 50).astype(int).tolist()
    model.eval()
    greedy, margin = [], math.inf
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0]
        rows = [[float(f"{x:.6g}") for x in logits[row].tolist()] for row in ROWS]
        for _ in range(GREEDY):  # without a cache: the plainest form of the computation
            last = model(torch.tensor([ids + greedy]), use_cache=False).logits[0, -1]
            best = torch.topk(last, 2)
            margin = min(margin, float(best.values[0] - best.values[1]))
            greedy.append(int(best.indices[0]))
    return dict(
        name=name,
        config=saved,
        tensors=[[key, *shape] for key, shape in sorted(shapes.items())],
        ids=ids,
        rows=ROWS,
        logits=rows,
        greedy=greedy,
        margin=round(margin, 5),
    )


wanted = sys.argv[1:] or list(CASES)
cases = [run(name, CASES[name]) for name in wanted]
text = "[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n"
(here / "families.json").write_text(text)
for c in cases:
    print(c["name"], "margin", c["margin"])
