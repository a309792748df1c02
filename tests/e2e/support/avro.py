"""Records in Avro, written and read by fastavro, which shares no code with the program."""

import io
import json

import fastavro
from fastavro.schema import fingerprint, load_schema, to_parsing_canonical_form

from support.server import ROOT

MAGIC = b"\xc3\x01"
FILES = {
    "InferenceRequest": "inference_request.avsc",
    "InferenceResponse": "inference_response.avsc",
}


def schema_text(name):
    return (ROOT / "schemas" / FILES[name]).read_text()


def schema(name):
    return load_schema(ROOT / "schemas" / FILES[name])


def schema_fingerprint(name):
    """The 8 bytes of CRC-64-AVRO, as single-object encoding writes them."""
    raw = json.loads(schema_text(name))
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(raw), "CRC-64-AVRO"))


def encode(name, record):
    """Single-object encoding: magic, fingerprint, datum."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema(name), record)
    return MAGIC + schema_fingerprint(name) + out.getvalue()


def decode(name, value):
    assert value[:2] == MAGIC, value[:2]
    assert value[2:10] == schema_fingerprint(name)
    return fastavro.schemaless_reader(io.BytesIO(value[10:]), schema(name), None)


def request(line):
    """A batch line as an InferenceRequest."""
    return {
        "custom_id": line["custom_id"],
        "url": line["url"],
        "body": json.dumps(line["body"]).encode(),
        **line.get("millrace", {}),
    }
