"""Small random models of the families in tests/golden/model, with the demo model's tokenizer."""

import array
import json
import random
import shutil
import struct

from support.millrace import DEMO
from support.server import ROOT

GOLDEN = ROOT / "tests/golden/model/families.json"
VOCABULARY = 1536  # the demo model's


def _weights(name, shape, rng):
    """Little-endian f32: scales of norms are around 1, matrices keep the size of what they take."""
    is_scale = len(shape) == 1 and name.endswith(".weight")
    count = shape[0] * (shape[1] if len(shape) == 2 else 1)
    factor = 4 / shape[1] ** 0.5 if len(shape) == 2 else 0.5
    values = [is_scale + factor * (rng.random() - 0.5) for _ in range(count)]
    return array.array("f", values).tobytes()


def write_model(folder, name, seed):
    """Writes the golden case `name` with other weights and a larger vocabulary."""
    (case,) = [case for case in json.loads(GOLDEN.read_text()) if case["name"] == name]
    rng, header, data = random.Random(seed), {}, b""
    for tensor, *shape in case["tensors"]:
        if tensor in ("model.embed_tokens.weight", "lm_head.weight"):
            shape[0] = VOCABULARY
        more = _weights(tensor, shape, rng)
        header[tensor] = dict(
            dtype="F32", shape=shape, data_offsets=[len(data), len(data) + len(more)]
        )
        data += more
    folder.mkdir()
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    config = {**case["config"], "vocab_size": VOCABULARY}
    (folder / "config.json").write_text(json.dumps(config))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO / "scribe" / file, folder / file)
    return folder
