"""Numbered requests, and their outcomes as a read_committed client outside the program sees them.

Each request must come to exactly one outcome: a response, or, where it is undecodable, a dead
letter.
"""

import collections
import ctypes
import json
import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from support.jobs import chat, encode
from support.records import headers_of

UNDECODABLE_EVERY = 100
INVALID_EVERY = 50
SILENCE_S = 30  # a reader that hears nothing for so long, with results to come, is replaced

Outcome = collections.namedtuple(
    "Outcome", "number kind topic partition offset created_s seen_s source headers"
)


def value_of(number):
    if number % UNDECODABLE_EVERY == 17:
        return b"{undecodable %d" % number
    if number % INVALID_EVERY == 33:
        return encode(chat(str(number), temperature=9))
    return encode(chat(str(number)))


def kind_expected(number):
    if number % UNDECODABLE_EVERY == 17:
        return "dead letter"
    return "refusal" if number % INVALID_EVERY == 33 else "answer"


class Reader:
    """Reads outcomes from the start of the result topics, or from `places`, with their end in
    sight."""

    def __init__(self, bootstrap, topics, places=None):
        self.dead_letters = topics.dead_letters
        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "counter",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        self.places = places or [
            TopicPartition(topic, partition, 0)
            for topic in (topics.responses, topics.dead_letters)
            for partition in self.consumer.list_topics(topic, 10).topics[topic].partitions
        ]
        self.next = {(place.topic, place.partition): place.offset for place in self.places}
        self.at_end = set()
        self.errors = set()
        self.consumer.assign(self.places)

    def poll(self, timeout_s):
        """-> outcomes that have become visible."""
        outcomes = []
        for message in self.consumer.consume(1000, timeout_s):
            place = (message.topic(), message.partition())
            if message.error() is None:
                self.at_end.discard(place)
                self.next[place] = message.offset() + 1
                outcomes.append(self.outcome_of(message))
            elif message.error().code() == KafkaError._PARTITION_EOF:
                self.at_end.add(place)
            else:
                self.errors.add(str(message.error()))
        return outcomes

    def read_all(self, timeout_s=60):
        """-> every outcome up to the end of all partitions."""
        outcomes, deadline = [], time.monotonic() + timeout_s
        while len(self.at_end) < len(self.places):
            assert time.monotonic() < deadline, "the result topics could not be read to their end"
            outcomes += self.poll(0.2)
        return outcomes

    def close(self):
        self.consumer.close()

    def abandon(self):
        """Never closes it, which would not return where it has locked itself up."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.consumer))
        return [TopicPartition(*place, offset) for place, offset in self.next.items()]

    def outcome_of(self, message):
        headers = headers_of(message)
        if message.topic() == self.dead_letters:
            kind, number = "dead letter", int(message.value().split()[1])
            names = ("topic", "partition", "offset")
            source = tuple(headers.get(f"__connect.errors.{name}") for name in names)
        else:
            line = json.loads(message.value())
            kind = "answer" if line["response"]["status_code"] == 200 else "refusal"
            number, source = int(line["custom_id"]), line["millrace"]["source"]
        return Outcome(
            number,
            kind,
            message.topic(),
            message.partition(),
            message.offset(),
            message.timestamp()[1] / 1000,
            time.time(),
            source,
            headers,
        )


class Traffic:
    def __init__(self, bootstrap, topics, count, rate):
        self.bootstrap, self.topics = bootstrap, topics
        self.count, self.rate = count, rate
        self.produced, self.begun = 0, None
        self.acknowledged = {}  # number -> (partition, offset, time)
        self.outcomes = collections.defaultdict(list)  # number -> what was seen, as it came
        self.producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "message.timeout.ms": 0,
                "partitioner": "murmur2",
                "linger.ms": 5,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        self.reader = Reader(bootstrap, topics)
        self.heard = time.monotonic()
        self.replaced = 0  # readers

    def produce_due(self):
        self.begun = self.begun or time.monotonic()
        due = min(self.count, int((time.monotonic() - self.begun) * self.rate) + 1)
        for number in range(self.produced, due):
            self.producer.produce(
                self.topics.requests,
                value_of(number),
                str(number),
                on_delivery=lambda error, message, number=number: self.on_delivery(
                    number, error, message
                ),
            )
        self.produced = due

    def on_delivery(self, number, error, message):
        assert error is None, f"request {number} could not be written: {error}"
        self.acknowledged[number] = (message.partition(), message.offset(), time.time())

    def turn(self, timeout_s):
        self.produce_due()
        self.producer.poll(0)
        outcomes = self.reader.poll(timeout_s)
        for outcome in outcomes:
            self.outcomes[outcome.number].append(outcome)
        if outcomes or self.answered == self.produced:
            self.heard = time.monotonic()
        elif time.monotonic() - self.heard > SILENCE_S:
            self.replace_reader()

    def replace_reader(self):
        """librdkafka from 2.1 on can lock itself up for good when a broker goes (its issue 5476),
        so silence may be the reader's own."""
        places = self.reader.abandon()
        self.reader = Reader(self.bootstrap, self.topics, places)
        self.heard = time.monotonic()
        self.replaced += 1

    @property
    def answered(self):
        """How many requests have an outcome."""
        return len(self.outcomes)

    def recount(self):
        """Reads everything again from the start, with a new client. -> {number: outcomes}"""
        counted = collections.defaultdict(list)
        reader = Reader(self.bootstrap, self.topics)
        for outcome in reader.read_all():
            counted[outcome.number].append(outcome)
        reader.close()
        return counted

    def lost(self, counted):
        return [number for number in range(self.count) if number not in counted]

    def duplicated(self, counted):
        return [number for number, outcomes in counted.items() if len(outcomes) > 1]

    def changed(self, counted):
        """Numbers whose outcomes are not those that were seen when they became visible, or are of
        another kind than the request asks for."""

        def places(outcomes):
            return sorted((o.topic, o.partition, o.offset) for o in outcomes)

        return [
            number
            for number, outcomes in counted.items()
            if places(outcomes) != places(self.outcomes.get(number, []))
            or any(o.kind != kind_expected(number) for o in outcomes)
        ]

    def describe(self, number, counted):
        partition, offset, _ = self.acknowledged.get(number, (None, None, None))
        lines = [f"request {number} at {self.topics.requests}/{partition}/{offset}"]
        for o in counted.get(number, []):
            lines.append(
                f"  {o.kind} at {o.topic}/{o.partition}/{o.offset}, written {stamp(o.created_s)},"
                f" seen {stamp(o.seen_s)}, source {o.source}, headers {o.headers}"
            )
        return "\n".join(lines)


def stamp(seconds):
    """As in the workers' logs."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
