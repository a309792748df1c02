"""The servers and readers that the other tests rely on, checked without the program itself."""

import json

import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from support.records import consume, consume_quiet, headers_of, lag, produce
from support.recovery import Recovery, summary
from support.traffic import Outcome


def transactional_producer(kafka, name):
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": name})
    producer.init_transactions(30)
    return producer


def test_only_committed_transactions_are_visible(kafka, topics):
    producer = transactional_producer(kafka, topics.responses)
    for value, end in [
        ("committed", producer.commit_transaction),
        ("aborted", producer.abort_transaction),
    ]:
        producer.begin_transaction()
        producer.produce(topics.responses, value, partition=0)
        producer.flush(30)
        end(30)
    seen = [m.value() for m in consume_quiet(kafka.bootstrap, topics.responses)]
    assert seen == [b"committed"]
    dirty = consume_quiet(kafka.bootstrap, topics.responses, isolation="read_uncommitted")
    assert [m.value() for m in dirty] == [b"committed", b"aborted"]


def test_records_survive_a_killed_broker(kafka, topics):
    sent = [(f"key {i}", f"value {i}", [("number", str(i))]) for i in range(300)]
    produce(kafka.bootstrap, topics.requests, sent)
    kafka.kill()
    kafka.start()
    got = consume(kafka.bootstrap, topics.requests, len(sent))
    seen = {(m.key().decode(), m.value().decode(), headers_of(m)["number"]) for m in got}
    assert seen == {(key, value, headers[0][1]) for key, value, headers in sent}
    assert lag(kafka.bootstrap, topics.requests, "a group without offsets") == len(sent)


def test_a_registered_schema_round_trips(registry):
    schema = {
        "type": "record",
        "name": "Note",
        "namespace": "millrace.test",
        "fields": [{"name": "text", "type": "string"}],
    }
    client = SchemaRegistryClient({"url": registry.url})
    context = SerializationContext("notes", MessageField.VALUE)
    framed = AvroSerializer(client, json.dumps(schema))({"text": "hello"}, context)
    assert framed[:1] == b"\x00"
    schema_id = int.from_bytes(framed[1:5], "big")
    assert json.loads(client.get_schema(schema_id).schema_str)["name"] == "Note"
    assert AvroDeserializer(client)(framed, context) == {"text": "hello"}


def test_a_server_that_ends_at_start_says_why(tmp_path):
    from support.server import Server

    class Failing(Server):
        def is_up(self):
            return False

    server = Failing(["sh", "-c", "echo the reason; exit 3"], tmp_path / "log")
    with pytest.raises(RuntimeError, match="the reason"):
        server.start()


def test_recovery_is_counted_from_a_fault_to_the_next_result_of_each_partition():
    def outcome(created_s, seen_s):
        return Outcome(0, "answer", "responses", 0, 0, created_s, seen_s, None, {})

    # number -> (partition, offset, time), and when results were made and seen
    acknowledged = {0: (0, 0, 10.0), 1: (1, 0, 10.0), 2: (0, 1, 11.0), 3: (1, 1, 11.0)}
    times = {0: (10.1, 10.2), 1: (10.1, 10.3), 2: (11.9, 12.5), 3: (14.0, 14.5)}
    recovery = Recovery(acknowledged, {n: [outcome(*both)] for n, both in times.items()})
    assert recovery.after(10.25) == [2.25, 4.25]  # what was made before, and seen later, is none
    assert recovery.after(13) == [1.5]
    assert recovery.share_prompt() == 0.5
    assert recovery.availability() == pytest.approx((2 / 3 + 2 / 5) / 2)
    expected = {"count": 2, "median_s": 3.25, "p95_s": 4.25, "max_s": 4.25}
    assert summary(recovery.after(10.25)) == expected
