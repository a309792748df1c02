#!/usr/bin/env python3
"""Writes quantized.json and quantized.safetensors: packed matrices as publishers ship them, and
what the libraries that made such files unpack them to ("CASE.expected", [outputs, inputs] f32).

    pip install torch==2.15.0 numpy compressed-tensors==0.20.0 transformers==5.24.0 safetensors
    pip download --no-deps auto-gptq==0.7.1 autoawq==0.2.7.post3    # and unzip both into FOLDER
    quantized.py FOLDER

fp8 is compressed-tensors' and torch's, AWQ is AutoAWQ's, GPTQ AutoGPTQ's; the last two are read as
single files, because their packages no longer load beside a current transformers.
"""

import importlib.util
import json
import pathlib
import sys

import numpy
import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import dequantize
from safetensors.torch import save_file

wheels = pathlib.Path(sys.argv[1])
here = pathlib.Path(__file__).parent
random = numpy.random.default_rng(20)
tensors = {}
cases = []


def load(path):
    spec = importlib.util.spec_from_file_location(pathlib.Path(path).stem, wheels / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


awq = load("awq/utils/packing_utils.py")
gptq_ordered = load("auto_gptq/nn_modules/qlinear/qlinear_cuda_old.py")
gptq_listed = load("auto_gptq/nn_modules/qlinear/qlinear_cuda.py")


def words(*shape):
    return torch.from_numpy(random.integers(-(2**31), 2**31, shape, dtype=numpy.int32))


def scales(*shape, dtype=torch.float16):
    return torch.from_numpy(random.uniform(0.001, 0.02, shape).astype(numpy.float32)).to(dtype)


def add(name, config, rows, columns, expected, **members):
    assert expected.shape == (rows, columns) and torch.isfinite(expected).all()
    cases.append({"name": name, "rows": rows, "columns": columns, "quantization_config": config})
    for member, tensor in members.items():
        tensors[f"{name}.{member}"] = tensor.contiguous()
    tensors[f"{name}.expected"] = expected.float().contiguous()


def add_fp8(name, config, rows, columns, scale, member, dtype=torch.float8_e4m3fn, args=None):
    bytes_ = torch.from_numpy(random.integers(0, 256, (rows, columns), dtype=numpy.uint8))
    weight = bytes_.view(dtype)
    bytes_[~torch.isfinite(weight.float())] = 0x81
    if args is not None:
        shaped = scale.float().reshape(-1, 1) if args["strategy"] == "channel" else scale.float()
        expected = dequantize(
            weight,
            shaped,
            args=QuantizationArgs(num_bits=8, type="float", **args),
            dtype=torch.float32,
        )
    else:
        expected = weight.float() * scale.float()
    add(name, config, rows, columns, expected, weight=weight, **{member: scale})


def compressed(**args):
    weights = {"num_bits": 8, "type": "float", "symmetric": True, **args}
    return {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
    }


F32 = torch.float32
add_fp8(
    "fp8-tensor",
    {"quant_method": "fp8", "activation_scheme": "static"},
    12,
    20,
    scales(dtype=F32),
    "weight_scale",
)
add_fp8(
    "fp8-tensor-1",
    compressed(strategy="tensor"),
    9,
    20,
    scales(1, dtype=F32),
    "weight_scale",
    args={"strategy": "tensor"},
)
add_fp8(
    "fp8-channel",
    compressed(strategy="channel"),
    13,
    20,
    scales(13, 1, dtype=torch.bfloat16),
    "weight_scale",
    args={"strategy": "channel"},
)
add_fp8(
    "fp8-channel-flat",
    {"quant_method": "fbgemm_fp8"},
    13,
    20,
    scales(13, 1, dtype=F32),
    "weight_scale",
    args={"strategy": "channel"},
)
add_fp8(
    "fp8-e5m2",
    {"quant_method": "fp8", "fmt": "e5m2"},
    12,
    20,
    scales(dtype=F32),
    "weight_scale",
    dtype=torch.float8_e5m2,
)
for name, rows, columns, block in [
    ("fp8-blocks", 132, 130, [128, 128]),
    ("fp8-blocks-odd", 40, 50, [16, 24]),
]:
    scale = scales(-(-rows // block[0]), -(-columns // block[1]), dtype=F32)
    raw = torch.from_numpy(random.integers(0, 0x7F, (rows, columns), dtype=numpy.uint8))
    weight = raw.view(torch.float8_e4m3fn)
    expected = weight.float()
    for i in range(rows):
        for j in range(columns):
            expected[i, j] *= scale[i // block[0], j // block[1]]
    add(
        name,
        {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": block},
        rows,
        columns,
        expected,
        weight=weight,
        weight_scale_inv=scale,
    )

for group in [32, 64, 128, -1]:
    columns, rows = 128, 32
    groups = 1 if group == -1 else columns // group
    qweight, qzeros, scale = (
        words(columns, rows // 8),
        words(groups, rows // 8),
        scales(groups, rows),
    )
    expected = awq.dequantize_gemm(qweight, qzeros, scale.float(), 4, columns // groups).t()
    add(
        f"awq-{group}",
        {
            "quant_method": "awq",
            "bits": 4,
            "group_size": group,
            "version": "gemm",
            "zero_point": True,
        },
        rows,
        columns,
        expected,
        qweight=qweight,
        qzeros=qzeros,
        scales=scale,
    )

for group, bits, order, form in [
    (32, 4, False, None),
    (64, 4, False, "gptq"),
    (128, 4, False, "gptq_v2"),
    (-1, 4, False, None),
    (32, 4, True, "gptq"),
    (128, 8, False, None),
    (32, 8, True, "gptq_v2"),
]:
    columns, rows, count = 128, 32, 32 // bits
    groups = 1 if group == -1 else columns // group
    module = (gptq_listed if order else gptq_ordered).QuantLinear(
        bits, group, columns, rows, False
    )
    stored = words(groups, rows // count)
    if (
        order
    ):  # the one file wraps the largest zero point to 0, the other does not; nobody stores it
        lowest = 0x01010101 if bits == 8 else 0x11111111
        stored = stored | lowest if form == "gptq_v2" else stored & ~lowest
    module.qweight, module.qzeros = words(columns // count, rows), stored
    scale = scales(groups, rows)
    module.scales = scale.float()
    if order:
        module.g_idx = torch.from_numpy(random.permutation(columns).astype(numpy.int32) // group)
    if form == "gptq_v2":  # the library reads the first form: each zero point less one
        shifts = torch.arange(0, 32, bits)
        zeros = (stored[:, :, None] >> shifts) & (2**bits - 1)
        packed = (((zeros - 1) & (2**bits - 1)).to(torch.int64) << shifts).sum(dim=-1)
        module.qzeros = torch.from_numpy(packed.numpy().astype(numpy.uint32).view(numpy.int32))
    config = {
        "quant_method": "gptq",
        "bits": bits,
        "group_size": group,
        "desc_act": order,
        "sym": False,
    }
    if form is not None:
        config["checkpoint_format"] = form
    members = {"qweight": module.qweight, "qzeros": stored, "scales": scale}
    if order or group == 64:
        members["g_idx"] = module.g_idx.to(torch.int32)
    expected = module(torch.eye(columns)).t()
    add(
        f"gptq{bits}-{group}{'-reordered' if order else ''}",
        config,
        rows,
        columns,
        expected,
        **members,
    )

save_file(tensors, here / "quantized.safetensors")
(here / "quantized.json").write_text(
    "[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n"
)
