"""An independent reader and writer of topics: what any other client of the broker sees."""

import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from support.ports import wait_until


def produce(bootstrap, topic, records):
    """Writes (key, value, headers) records, or bare values; all are delivered on return."""
    failures = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 5,
            "partitioner": "murmur2",
            "message.max.bytes": 20_000_000,
        }
    )

    def delivered(error, _message):
        if error is not None:
            failures.append(error)

    for record in records:
        key, value, headers = record if isinstance(record, tuple) else (None, record, None)
        while True:
            try:
                producer.produce(topic, value, key, headers=headers, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(60) == 0
    assert not failures, failures[:3]


def end_offset(consumer, topic, partition, timeout_s=10):
    """A partition that was created just now may not have its leader yet."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return consumer.get_watermark_offsets(TopicPartition(topic, partition), 10)[1]
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def end_offsets(consumer, topic):
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    return {p: end_offset(consumer, topic, p) for p in partitions}


def open_client(bootstrap, isolation):
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "independent-reader",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": isolation,
        }
    )


def open_reader(bootstrap, topic, isolation="read_committed"):
    """A consumer of every partition of a topic from its start, outside any group."""
    consumer = open_client(bootstrap, isolation)
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    return consumer


def consume(bootstrap, topic, count, timeout_s=60, isolation="read_committed"):
    """Messages of a topic from its start until there are `count`; fewer when time runs out."""
    consumer = open_reader(bootstrap, topic, isolation)
    messages, deadline = [], time.monotonic() + timeout_s
    while len(messages) < count and time.monotonic() < deadline:
        for message in consumer.consume(500, timeout=0.2):
            assert message.error() is None, message.error()
            messages.append(message)
    consumer.close()
    return messages


def hanging(bootstrap, topic):
    """-> for each partition in which a transaction is open, where it begins and the end."""
    # Nothing is assigned: an answer would wait behind every fetch that waits for records.
    stable = open_client(bootstrap, "read_committed")
    written = open_client(bootstrap, "read_uncommitted")
    try:
        first, last = end_offsets(stable, topic), end_offsets(written, topic)
    finally:
        stable.close()
        written.close()
    return {p: (first[p], last[p]) for p in first if first[p] < last[p]}


def settle(bootstrap, topic, timeout_s=60):
    """Waits until no transaction is open on a topic. What a dead worker left open hides everything
    after it from readers of committed records, until the broker aborts it."""
    wait_until(
        lambda: not hanging(bootstrap, topic),
        timeout_s,
        f"the end of the transactions on {topic}",
    )


def consume_quiet(bootstrap, topic, quiet_s=1.5, isolation="read_committed"):
    """All messages of a topic, until none has come for a while."""
    if isolation == "read_committed":
        settle(bootstrap, topic)
    consumer = open_reader(bootstrap, topic, isolation)
    messages, last = [], time.monotonic()
    while time.monotonic() - last < quiet_s:
        for message in consumer.consume(500, timeout=0.2):
            assert message.error() is None, message.error()
            messages.append(message)
            last = time.monotonic()
    consumer.close()
    return messages


def lag(bootstrap, topic, group):
    """Records of a topic that a group has not committed."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 0})
    try:
        ends = end_offsets(consumer, topic)
        committed = consumer.committed([TopicPartition(topic, p) for p in ends], timeout=10)
    finally:
        consumer.close()
    return sum(ends[c.partition] - max(c.offset, 0) for c in committed)


def is_drained(bootstrap, topic, group):
    """Whether the group has committed every record of a topic; no where nobody can say."""
    try:
        return lag(bootstrap, topic, group) == 0
    except KafkaException:
        return False  # a transaction with offsets is open, or the broker is not quite back


def wait_for_drain(kafka, topics, timeout_s=60):
    wait_until(
        lambda: is_drained(kafka.bootstrap, topics.requests, topics.requests),
        timeout_s,
        "the end of the backlog",
    )


def headers_of(message):
    return {name: (value or b"").decode() for name, value in message.headers() or []}
