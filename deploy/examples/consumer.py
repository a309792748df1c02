#!/usr/bin/env python3
"""Prints the answers of a run as they arrive, one line each: id, status, text.

pip install confluent-kafka
consumer.py --brokers localhost:9092 --topic llm.responses.v1 --run-id nightly-1 --count 200
"""

import argparse
import json
import sys
import time

from confluent_kafka import Consumer, TopicPartition


def answer_of(result):
    """-> the status and the text of a result line."""
    if result.get("error"):
        return result["error"]["code"], result["error"]["message"]
    response = result["response"]
    body = response["body"]
    if "error" in body:
        return response["status_code"], body["error"]["message"]
    choice = body["choices"][0]
    return response["status_code"], choice.get("text") or choice["message"]["content"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--brokers", default="localhost:9092")
    parser.add_argument("--topic", default="llm.responses.v1")
    parser.add_argument("--run-id", help="only this run's results")
    parser.add_argument("--count", type=int, required=True, help="results to wait for")
    parser.add_argument("--timeout", type=float, default=300, help="seconds without a result")
    options = parser.parse_args()

    consumer = Consumer(
        {
            "bootstrap.servers": options.brokers,
            "group.id": f"example-{options.run_id}",
            "enable.auto.commit": False,
            # Results are written in transactions: read only what was committed.
            "isolation.level": "read_committed",
        }
    )
    partitions = consumer.list_topics(options.topic, timeout=10).topics[options.topic].partitions
    consumer.assign([TopicPartition(options.topic, p, 0) for p in partitions])
    seen, deadline = set(), time.monotonic() + options.timeout
    while len(seen) < options.count and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            print(message.error(), file=sys.stderr)
            return 1
        headers = dict(message.headers() or [])
        if options.run_id and headers.get("millrace-run-id") != options.run_id.encode():
            continue
        result = json.loads(message.value())
        status, text = answer_of(result)
        print(f"{result['custom_id']}\t{status}\t{text}")
        seen.add(result["custom_id"])
        deadline = time.monotonic() + options.timeout
    consumer.close()
    return 0 if len(seen) == options.count else 1


if __name__ == "__main__":
    sys.exit(main())
