#!/usr/bin/env python3
"""Long forms of test_chaos.py: faults against workers while requests flow, and the count of what
an independent read_committed client saw. Ends with 1 when a request was lost or doubled.

`tests/run chaos OPTIONS` builds the program and the environment first.
"""

import argparse
import json
import os
import pathlib
import platform
import random
import subprocess
import sys
import tempfile

from conftest import make_topics
from support import chaos
from support.kafka import Kafka
from support.server import ROOT


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, prog="tests/run chaos")
    parser.add_argument("--scenario", choices=chaos.SCENARIOS, default="kills")
    parser.add_argument("--faults", "--kills", type=int, default=200)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=300, help="requests in a second")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--kafka", default="3.9.2", metavar="VERSION")
    parser.add_argument(
        "--guarantee", choices=["exactly_once", "at_least_once"], default="exactly_once"
    )
    parser.add_argument(
        "--results", type=pathlib.Path, help="JSON file that gets the report, beside those it has"
    )
    return parser.parse_args()


def machine():
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":")[1].strip()
    cores = len(os.sched_getaffinity(0))
    return {"cpu": model, "cores": cores, "system": platform.release()}


def commit():
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip()


def command_of(arguments):
    options = [f"--{name} {value}" for name, value in vars(arguments).items() if name != "results"]
    return " ".join(["tests/run chaos", *options])


def add_to(path, report):
    """A report replaces the one of the same scenario, Kafka and guarantee."""

    def key(run):
        return run["plan"]["scenario"], run["kafka"], run["plan"]["guarantee"]

    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    runs = [run for run in runs if key(run) != key(report)] + [report]
    path.write_text(json.dumps({"runs": runs}, indent=1) + "\n")


def main():
    arguments = parse_arguments()
    plan = chaos.Plan(
        arguments.scenario,
        arguments.requests,
        arguments.faults,
        arguments.seed,
        arguments.guarantee,
        arguments.rate,
    )
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"chaos-{plan.scenario}-"))
    print(f"logs are in {folder}", flush=True)
    broker = Kafka(arguments.kafka, folder)
    broker.start()
    try:
        report = chaos.run(plan, broker, make_topics(broker, 6), folder / "workers")
    except AssertionError as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        broker.kill()
    report |= {"commit": commit(), "machine": machine(), "command": command_of(arguments)}
    if arguments.results:
        add_to(arguments.results, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
