#!/usr/bin/env python3
"""Puts a file of OpenAI batch lines on a request topic.

pip install confluent-kafka
producer.py --brokers localhost:9092 --topic llm.requests.v1 --run-id nightly-1 jobs.jsonl
"""

import argparse
import json
import sys

from confluent_kafka import Producer


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--brokers", default="localhost:9092")
    parser.add_argument("--topic", default="llm.requests.v1")
    parser.add_argument("--run-id", help="names the run, so that its results can be collected")
    parser.add_argument("file", help="OpenAI batch lines")
    options = parser.parse_args()

    producer = Producer(
        {
            "bootstrap.servers": options.brokers,
            "enable.idempotence": True,  # a retry never writes a record twice
            "compression.type": "zstd",
            "linger.ms": 5,
            "partitioner": "murmur2",  # the same partitions as Java clients
        }
    )
    failed = []

    def delivered(error, message):
        if error is not None:
            failed.append((message.key(), error))

    count = 0
    with open(options.file, encoding="utf-8") as lines:
        for line in lines:
            request = json.loads(line)
            if options.run_id:
                request.setdefault("millrace", {})["run_id"] = options.run_id
            value = json.dumps(request).encode()
            while True:
                try:
                    producer.produce(
                        options.topic, value, key=request["custom_id"], on_delivery=delivered
                    )
                    break
                except BufferError:  # the queue is full: wait for deliveries
                    producer.poll(0.5)
            producer.poll(0)
            count += 1
    undelivered = producer.flush(60)
    print(f"{count - len(failed) - undelivered} of {count} requests are on {options.topic}")
    for key, error in failed[:5]:
        print(f"{key}: {error}", file=sys.stderr)
    return 1 if failed or undelivered else 0


if __name__ == "__main__":
    sys.exit(main())
