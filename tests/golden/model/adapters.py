#!/usr/bin/env python3
"""Writes adapter-*/: LoRA folders as PEFT saves them, each with expected.safetensors, what PEFT
adds to every matrix it is for ("MODULE", [outputs, inputs] f32).

    pip install torch==2.15.0 transformers==5.24.0 peft==0.21.2 safetensors
    adapters.py
"""

import pathlib

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

here = pathlib.Path(__file__).parent
ADAPTERS = {
    "adapter-plain": dict(
        r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], lora_dropout=0.1
    ),
    "adapter-patterns": dict(
        r=3,
        lora_alpha=5,
        use_rslora=True,
        fan_in_fan_out=False,
        target_modules=["q_proj", "k_proj", "o_proj", "gate_proj", "down_proj"],
        rank_pattern={"k_proj": 1, "layers.1.self_attn.q_proj": 5},
        alpha_pattern={"down_proj": 2, "layers.0.self_attn.q_proj": 9},
    ),
}

for name, options in ADAPTERS.items():
    torch.manual_seed(7)
    base = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=61,
            hidden_size=24,
            intermediate_size=28,
            num_hidden_layers=2,
            num_attention_heads=3,
            num_key_value_heads=1,
            head_dim=8,
        )
    )
    model = get_peft_model(base, LoraConfig(**options))
    expected = {}
    for path, module in model.named_modules():
        if hasattr(module, "lora_B"):
            torch.nn.init.normal_(module.lora_B["default"].weight)
            expected[path.removeprefix("base_model.model.")] = module.get_delta_weight(
                "default"
            ).contiguous()
    model.save_pretrained(here / name)
    (here / name / "README.md").unlink(missing_ok=True)
    save_file(expected, here / name / "expected.safetensors")
