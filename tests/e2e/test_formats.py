"""The three forms of a value, each written and read by clients that share no code with us."""

import json

import pytest
import zstandard
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from support import avro
from support.jobs import chat, encode
from support.records import consume, consume_quiet, produce


@pytest.mark.smoke
def test_single_object_avro_in_and_out(kafka, topics, config, run_worker):
    run_worker({**config, "output.format": "avro"})
    record = avro.request(chat("a", millrace=dict(run_id="r", labels=dict(kind="memo"))))
    produce(kafka.bootstrap, topics.requests, [avro.encode("InferenceRequest", record)])
    (message,) = consume(kafka.bootstrap, topics.responses, 1)
    response = avro.decode("InferenceResponse", message.value())
    assert response["custom_id"] == "a"
    assert response["run_id"] == "r"
    assert response["status_code"] == 200
    assert response["source"]["topic"] == topics.requests
    assert json.loads(response["body"])["object"] == "chat.completion"
    assert response["usage"]["completion_tokens"] > 0


def test_a_compressed_body_is_read(kafka, topics, config, run_worker):
    run_worker(config)
    record = avro.request(chat("compressed"))
    record["body"] = zstandard.ZstdCompressor().compress(record["body"])
    record["body_encoding"] = "zstd"
    produce(kafka.bootstrap, topics.requests, [avro.encode("InferenceRequest", record)])
    (message,) = consume(kafka.bootstrap, topics.responses, 1)
    assert json.loads(message.value())["response"]["status_code"] == 200


def test_a_compression_bomb_is_a_dead_letter(kafka, topics, config, run_worker):
    run_worker(config)
    record = avro.request(chat("bomb"))
    record["body"] = zstandard.ZstdCompressor().compress(b" " * (1 << 30))
    record["body_encoding"] = "zstd"
    value = avro.encode("InferenceRequest", record)
    produce(kafka.bootstrap, topics.requests, [value, encode(chat("good"))])
    (letter,) = consume(kafka.bootstrap, topics.dead_letters, 1)
    assert letter.value() == value
    assert len(consume(kafka.bootstrap, topics.responses, 1)) == 1


def test_a_registry_serves_both_directions(kafka, registry, topics, config, run_worker):
    run_worker({**config, "output.format": "confluent", "registry.url": registry.url})
    client = SchemaRegistryClient({"url": registry.url})
    serializer = AvroSerializer(client, avro.schema_text("InferenceRequest"))
    context = SerializationContext(topics.requests, MessageField.VALUE)
    values = [serializer(avro.request(chat(name)), context) for name in ("a", "b", "c")]
    produce(kafka.bootstrap, topics.requests, values)
    messages = consume(kafka.bootstrap, topics.responses, 3)
    context = SerializationContext(topics.responses, MessageField.VALUE)
    responses = [AvroDeserializer(client)(m.value(), context) for m in messages]
    assert {r["custom_id"] for r in responses} == {"a", "b", "c"}
    assert {r["status_code"] for r in responses} == {200}
    assert f"{topics.responses}-value" in client.get_subjects()


def test_an_unknown_schema_id_is_a_dead_letter(kafka, registry, topics, config, run_worker):
    run_worker({**config, "registry.url": registry.url})
    value = b"\x00" + (987654).to_bytes(4, "big") + b"data"
    produce(kafka.bootstrap, topics.requests, [value, encode(chat("good"))])
    (letter,) = consume(kafka.bootstrap, topics.dead_letters, 1)
    assert letter.value() == value
    assert len(consume(kafka.bootstrap, topics.responses, 1)) == 1


def test_all_three_forms_share_a_topic(kafka, registry, topics, config, run_worker):
    run_worker({**config, "registry.url": registry.url})
    client = SchemaRegistryClient({"url": registry.url})
    serializer = AvroSerializer(client, avro.schema_text("InferenceRequest"))
    context = SerializationContext(topics.requests, MessageField.VALUE)
    values = [
        encode(chat("json")),
        avro.encode("InferenceRequest", avro.request(chat("avro"))),
        serializer(avro.request(chat("confluent")), context),
    ]
    produce(kafka.bootstrap, topics.requests, values)
    messages = consume(kafka.bootstrap, topics.responses, 3)
    assert {json.loads(m.value())["custom_id"] for m in messages} == {"json", "avro", "confluent"}
    assert consume_quiet(kafka.bootstrap, topics.dead_letters) == []
