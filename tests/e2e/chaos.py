#!/usr/bin/env python3
"""Long forms of test_chaos.py: faults against workers while requests flow, and the count of what
an independent read_committed client saw. Ends with 1 when a request was lost or doubled.

`tests/run chaos OPTIONS` builds the program and the environment first.
"""

import argparse
import pathlib
import random
import sys
import tempfile

from conftest import make_topics
from support import chaos, endurance
from support.kafka import Kafka
from support.server import ROOT

sys.path.append(str(ROOT / "bench"))

import figures  # noqa: E402


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, prog="tests/run chaos")
    parser.add_argument("--scenario", choices=[*chaos.SCENARIOS, "hour"], default="kills")
    parser.add_argument("--faults", "--kills", type=int, default=200)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=300, help="requests in a second")
    parser.add_argument("--minutes", type=float, default=60, help="of the hour, without faults")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--kafka", default="3.9.2", metavar="VERSION")
    parser.add_argument(
        "--guarantee", choices=["exactly_once", "at_least_once"], default="exactly_once"
    )
    parser.add_argument(
        "--static", action="store_true", help="workers have a kafka.group.instance.id"
    )
    parser.add_argument(
        "--keep", action="store_true", help="append the report to bench/results/, as one line"
    )
    return parser.parse_args()


def command_of(arguments):
    """With the seed that was drawn."""
    is_hour = arguments.scenario == "hour"
    unused = {"keep", *(["faults", "requests", "rate", "guarantee"] if is_hour else ["minutes"])}
    options = [f"--{name} {value}" for name, value in vars(arguments).items() if name not in unused]
    options = [option.removesuffix(" True") for option in options if not option.endswith(" False")]
    return " ".join(["tests/run chaos", *options])


def run(arguments, broker, folder):
    if arguments.scenario == "hour":
        return endurance.run(broker, folder, arguments.minutes * 60, arguments.seed)
    plan = chaos.Plan(
        arguments.scenario,
        arguments.requests,
        arguments.faults,
        arguments.seed,
        arguments.guarantee,
        arguments.rate,
        is_static=arguments.static,
    )
    return chaos.run(plan, broker, make_topics(broker, 6), folder)


def main():
    arguments = parse_arguments()
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"chaos-{arguments.scenario}-"))
    print(f"logs are in {folder}", flush=True)
    broker = Kafka(arguments.kafka, folder)
    broker.start()
    try:
        report = run(arguments, broker, folder / "workers")
    except AssertionError as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        broker.kill()
    figures.finish("chaos", report, arguments.keep, command_of(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
