"""A worker at full rate for a long time: whether its memory and its files stay as they are, and
whether each request has one outcome.

Requests are written as fast as results are read, with a bounded backlog in between, so that the
worker never waits for work. The topics keep a bounded part of what goes through them. Each request
has its number as its key, and so has its result, so counting needs a byte for each request.
"""

import dataclasses
import json
import os
import random
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from conftest import make_topics
from support.jobs import chat, encode
from support.millrace import Worker
from support.records import is_drained
from support.usage import Usage, cpu_times, other_load

PARTITIONS = 3
BACKLOG = 40_000  # requests that are written and whose results are not read yet
BURST = 500
VALUES = 500  # different ones
VALUE_BYTES = 2000
SYLLABLES = [c + v + e for c in "bdfgklmnprstvz" for v in "aeiou" for e in ("", "n", "r", "s")]
# What the topics keep is far more than the backlog, and far less than an hour of traffic.
TOPICS = {"retention.bytes": str(256 << 20), "segment.bytes": str(64 << 20)}
GROWTH = 1.1  # memory: the most that a quarter may have of what an earlier one had,
GROWTH_MB = 32  # or so much more
SETTLING_S = 120  # before it the C library still spreads over its pools: 160 to 260 MB were seen
SETTLING_MB = 150
DRAIN_TIMEOUT_S = 120


@dataclasses.dataclass
class Sample:
    """Of one interval."""

    answered_per_s: int
    rss_mb: int
    files: int
    backlog_least: int
    others_share: float


def make_values(seed):
    rng = random.Random(seed)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 4))) for _ in range(4000)]
    texts = (" ".join(rng.choices(words, k=VALUE_BYTES // 4)) for _ in range(VALUES))
    return [encode(chat("endurance", text[: VALUE_BYTES - 250])) for text in texts]


class Stream:
    """Requests in and results out, as a client outside the program sees them."""

    def __init__(self, bootstrap, topics, seed):
        self.topics = topics
        self.values = make_values(seed)
        self.written = self.answered = 0
        self.outcomes = bytearray()  # by the request's number: how many, up to 255
        self.strange = 0  # results that are not for a request
        self.producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "message.timeout.ms": 0,
                "linger.ms": 20,
                "compression.type": "zstd",
                "log_level": 0,
            }
        )
        self.reader = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "counter",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",  # a result that is gone before it is read
                "log_level": 0,
            }
        )
        self.reader.assign(
            [
                TopicPartition(topic, partition, 0)
                for topic in (topics.responses, topics.dead_letters)
                for partition in range(PARTITIONS)
            ]
        )

    @property
    def backlog(self):
        return self.written - self.answered

    def write(self):
        """A burst, if the backlog has room."""
        if self.backlog + BURST > BACKLOG:
            self.producer.poll(0)
            return
        for number in range(self.written, self.written + BURST):
            value = self.values[number % VALUES]
            self.producer.produce(self.topics.requests, value, str(number), number % PARTITIONS)
        self.producer.poll(0)
        self.outcomes.extend(bytes(BURST))
        self.written += BURST

    def read(self, timeout_s):
        for message in self.reader.consume(BURST, timeout_s):
            assert message.error() is None, message.error()
            number = int(message.key())
            if number >= self.written or message.topic() != self.topics.responses:
                self.strange += 1
                continue
            self.answered += self.outcomes[number] == 0
            self.outcomes[number] = min(255, self.outcomes[number] + 1)

    def close(self):
        self.reader.close()


class Endurance:
    def __init__(self, broker, folder, seconds, seed):
        self.broker, self.seconds, self.seed = broker, seconds, seed
        self.interval_s = min(60, seconds / 10)
        self.topics = make_topics(broker, PARTITIONS, TOPICS)
        config = {
            "kafka": {"bootstrap.servers": broker.bootstrap, "group.id": self.topics.requests},
            "topics": vars(self.topics),
            "delivery.guarantee": "exactly_once",
            "generator": "scripted",
            "models": [{"name": "scribe", "path": "."}],
        }
        self.worker = Worker(folder, config)
        self.stream = Stream(broker.bootstrap, self.topics, seed)
        self.samples = []

    def run(self):
        """-> the report; its `problems` are empty when everything went as it must."""
        self.worker.start()
        self.usage = Usage(self.worker.process.pid)
        self.usages = [self.usage, Usage(self.broker.process.pid), Usage(os.getpid())]
        try:
            self.begun, self.times = time.monotonic(), cpu_times(*self.usages)
            while time.monotonic() < self.begun + self.seconds:
                self.samples.append(self.interval())
                print(json.dumps(dataclasses.asdict(self.samples[-1])), flush=True)
            problems = self.finish()
        finally:
            self.worker.kill()
            self.stream.close()
        return self.report(problems)

    def interval(self):
        stream, start, answered = self.stream, time.monotonic(), self.stream.answered
        times, least = cpu_times(*self.usages), BACKLOG
        while time.monotonic() < start + self.interval_s:
            stream.write()
            stream.read(0.002)
            least = min(least, stream.backlog)
        return Sample(
            round((stream.answered - answered) / (time.monotonic() - start)),
            round(self.usage.memory_mb("VmRSS")),
            self.usage.files(),
            least,
            round(other_load(times, cpu_times(*self.usages)), 2),
        )

    def finish(self):
        """Lets the rest be answered, and stops the worker. -> problems"""
        stream, problems = self.stream, self.growth()
        self.wall_s = time.monotonic() - self.begun
        self.rate = stream.answered / self.wall_s
        self.others_share = other_load(self.times, cpu_times(*self.usages))
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        while (stream.backlog > 0 or not self.is_lag_zero()) and time.monotonic() < deadline:
            stream.producer.poll(0)
            stream.read(0.05)
        if not self.is_lag_zero():
            problems.append("the group's lag has not become zero")
        self.peak_mb = round(self.usage.memory_mb("VmHWM"))
        self.available_s = self.worker.metric("millrace_available_seconds_total")
        self.uptime_s = self.worker.metric("millrace_uptime_seconds_total")
        if self.worker.stop(60) != 0:
            problems.append(f"the worker failed:\n{self.worker.log_tail()}")
        stream.read(2)  # what nobody waits for
        wrong = {"lost": self.lost(), "duplicated": self.duplicated(), "strange": stream.strange}
        return problems + [f"{count} {word}" for word, count in wrong.items() if count > 0]

    def is_lag_zero(self):
        return is_drained(self.broker.bootstrap, self.topics.requests, self.topics.requests)

    def growth(self):
        """Compares the last quarter with the second: the first one fills caches."""
        quarter = len(self.samples) // 4
        early, late = self.samples[quarter : 2 * quarter], self.samples[-quarter:]
        problems = []
        more_mb = GROWTH_MB if self.seconds > SETTLING_S else SETTLING_MB
        for name, factor, more in (("rss_mb", GROWTH, more_mb), ("files", 1, 0)):
            before, after = (max(getattr(s, name) for s in part) for part in (early, late))
            if after > max(before * factor, before + more):
                problems.append(f"{name} grew from {before} to {after}")
        return problems

    def lost(self):
        return self.stream.outcomes.count(0)

    def duplicated(self):
        return len(self.stream.outcomes) - self.lost() - self.stream.outcomes.count(1)

    def report(self, problems):
        columns = {
            f"{field.name}_each": [getattr(sample, field.name) for sample in self.samples]
            for field in dataclasses.fields(Sample)
        }
        return {
            "plan": {"scenario": "hour", "seconds": self.seconds, "seed": self.seed},
            "kafka": self.broker.version,
            "wall_s": round(self.wall_s, 1),
            "requests": self.stream.written,
            "lost": self.lost(),
            "duplicated": self.duplicated(),
            "answered_per_s": round(self.rate),
            "others_share": round(self.others_share, 2),
            "rss_peak_mb": self.peak_mb,
            "availability": round(self.available_s / self.uptime_s, 4),
            "interval_s": self.interval_s,
            **columns,
            "problems": problems,
        }


def run(broker, folder, seconds, seed):
    """Asserts that nothing was lost or doubled, and that nothing grew. -> report"""
    folder.mkdir(parents=True, exist_ok=True)
    report = Endurance(broker, folder, seconds, seed).run()
    if report["problems"]:
        print(json.dumps(report))
        raise AssertionError("\n".join(report["problems"]))
    return report
