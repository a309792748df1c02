"""Writes this folder's values with fastavro, an implementation that shares no code with ours.

    python3 -m venv venv && venv/bin/pip install fastavro==1.13.1 zstandard
    venv/bin/python tests/golden/avro/make.py

The records are those of tests/unit/records/samples.c. `<name>.single` is Avro single-object
encoding, `<name>.confluent` has schema id 70000, `foreign.confluent` was written with foreign.avsc,
a schema that differs from ours in every way that Avro's resolution allows.
"""

import io
import json
import pathlib
import struct

import fastavro
import zstandard

HERE = pathlib.Path(__file__).parent
SCHEMAS = HERE.parents[2] / "schemas"
SCHEMA_ID = 70000

INCUMBENT = {
    "status_code": 200,
    "body": b'{"id":"chatcmpl-1","choices":[]}',
    "model": "gpt-4o-mini",
    "latency_ms": 812.25,
    "first_token_ms": 210.5,
    "cost_usd": 0.000123,
    "prompt_tokens": 412,
    "completion_tokens": 87,
}
LABELS = {"prompt": "summary-v3", "team": "kbé"}
REQUEST = {
    "custom_id": "doc-000001",
    "run_id": "nightly-2026-01-31",
    "url": "/v1/chat/completions",
    "body": '{"model":"scribe","messages":[{"role":"user","content":"café"}]}'.encode(),
    "body_encoding": "identity",
    "deadline_ms": 1769904000000,
    "priority": -5,
    "labels": LABELS,
    "reference": 'the right "answer"\n',
    "incumbent": INCUMBENT,
}
SERVED_BY = {
    "kind": "local",
    "endpoint": None,
    "model": "scribe",
    "weights_hash": "xxh64:0123456789abcdef",
    "weights_format": "bf16",
    "template_hash": "xxh64:fedcba9876543210",
    "backend": "cpu",
    "device": "avx512-amx",
    "rollout_phase": "canary",
    "version": "0.1.0",
}
CHANGED = ["temperature"]
DROPPED = ["stream", "stream_options"]
RECORDS = {
    "request": ("inference_request", REQUEST),
    "request_bare": (
        "inference_request",
        {"custom_id": "x", "url": "/v1/completions", "body": b"{}"},
    ),
    "response": (
        "inference_response",
        {
            "custom_id": "doc-000001",
            "run_id": "nightly-2026-01-31",
            "source": {"topic": "llm.requests.v1", "partition": 7, "offset": 123456789012},
            "status_code": 200,
            "body": b'{"id":"chatcmpl-2","choices":[]}',
            "served_by": SERVED_BY,
            "prompt_template": "summary",
            "prompt_variant": "b",
            "changed": CHANGED,
            "dropped": DROPPED,
            "usage": {"prompt_tokens": 412, "cached_tokens": 384, "completion_tokens": 87},
            "timing": {
                "queued_ms": 1.5,
                "prefill_ms": 20.125,
                "decode_ms": 300.0,
                "total_ms": 321.625,
                "first_token_ms": 21.75,
            },
            "attempt": 1,
        },
    ),
    "response_failed": (
        "inference_response",
        {
            "custom_id": "x",
            "source": {"topic": "llm.requests.v1", "partition": 0, "offset": 0},
            "error": {"code": "deadline_exceeded", "message": "the deadline has passed"},
            "attempt": 3,
        },
    ),
    "comparison": (
        "comparison",
        {
            "custom_id": "doc-000001",
            "run_id": "nightly-2026-01-31",
            "source": {"topic": "llm.replay.v1", "partition": 2, "offset": 99},
            "labels": LABELS,
            "reference": "the right answer",
            "prompt_template": "summary",
            "prompt_variant": "b",
            "incumbent": INCUMBENT,
            "candidate": {"status_code": 200, "body": b'{"id":"chatcmpl-2","choices":[]}'},
            "served_by": SERVED_BY,
            "changed": CHANGED,
            "dropped": DROPPED,
            "scores": [
                {"name": "rougeL", "value": 0.625, "version": "1", "against": "reference"},
                {"name": "exact", "value": 0.0},
            ],
            "verdicts": [
                {"name": "json", "passed": True},
                {"name": "schema", "passed": False, "reason": "/total is missing"},
            ],
            "noise": [{"name": "rougeL", "value": 0.875, "version": "1", "against": "incumbent"}],
        },
    ),
    "control": (
        "control",
        {
            "route": "gpt-4o-mini",
            "phase": "canary",
            "percent": 7.5,
            "salt": "2026-01",
            "thresholds": {"rougeL": 0.4, "error_rate": 0.01},
            "decided_by": "operator",
            "reason": "gate passed",
            "decided_at_ms": 1769904000000,
            "version": 4,
        },
    ),
}
# The same request as REQUEST, in the words of FOREIGN.
FOREIGN_REQUEST = {
    "trace": {
        "id": b"0123456789abcdef",
        "parent": {"id": b"fedcba9876543210", "parent": None, "tags": {}},
        "tags": {"a": [1, -1], "b": []},
    },
    "body": REQUEST["body"].decode(),
    "custom_id": b"doc-000001",
    "url": "/v1/chat/completions",
    "body_encoding": "identity",
    "ratio": 0.5,
    "flag": True,
    "nothing": [None, None, None],
    "deadline_ms": 1234567890,
    "labels": LABELS,
    "run_id": "nightly-2026-01-31",
    "incumbent": {"body": b'{"id":"chatcmpl-1","choices":[]}', "latency_ms": 812.25, "cost_usd": 3,
                  "first_token_ms": 210, "status_code": 200, "model": "gpt-4o-mini"},
}


def canonical(schema):
    return fastavro.schema.to_parsing_canonical_form(schema)


def fingerprint(schema):
    """CRC-64-AVRO as the specification's algorithm has it, little-endian."""
    empty = 0xC15D213AA4D7A795
    value = empty
    for byte in canonical(schema).encode():
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (empty if value & 1 else 0)
    little = value.to_bytes(8, "little")
    assert little.hex() == fastavro.schema.fingerprint(canonical(schema), "CRC-64-AVRO")
    return little


def encode(schema, record):
    out = io.BytesIO()
    parsed = fastavro.parse_schema(schema)
    fastavro.schemaless_writer(out, parsed, record, strict_allow_default=True)
    return out.getvalue()


def main():
    forms = {}
    for name, (schema_name, record) in RECORDS.items():
        schema = json.loads((SCHEMAS / f"{schema_name}.avsc").read_text())
        data = encode(schema, record)
        (HERE / f"{name}.single").write_bytes(b"\xc3\x01" + fingerprint(schema) + data)
        (HERE / f"{name}.confluent").write_bytes(b"\x00" + struct.pack(">I", SCHEMA_ID) + data)
        forms[schema_name] = canonical(schema)
    for schema_name, form in forms.items():
        (HERE / f"{schema_name}.canonical").write_text(form)

    schema = json.loads((SCHEMAS / "inference_request.avsc").read_text())
    zstd = dict(REQUEST, body=zstandard.compress(REQUEST["body"]), body_encoding="zstd")
    data = encode(schema, zstd)
    (HERE / "request_zstd.single").write_bytes(b"\xc3\x01" + fingerprint(schema) + data)

    foreign = json.loads((HERE / "foreign.avsc").read_text())
    (HERE / "foreign.canonical").write_text(canonical(foreign))
    data = encode(foreign, FOREIGN_REQUEST)
    (HERE / "foreign.confluent").write_bytes(b"\x00" + struct.pack(">I", SCHEMA_ID) + data)
    # What Avro's own resolution makes of it; test_avro_golden.c expects the same.
    writer, reader = fastavro.parse_schema(foreign), fastavro.parse_schema(schema)
    print(fastavro.schemaless_reader(io.BytesIO(data), writer, reader))


main()
