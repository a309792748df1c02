"""Every request has one outcome, whatever happens to workers, broker and network.

Short forms; `tests/run chaos` runs longer ones. CHAOS_SEED repeats a run.
"""

import os
import random

import pytest

from conftest import make_topics
from support import chaos


@pytest.fixture
def run_chaos(kafka, tmp_path, binary):
    def run(scenario, requests, faults):
        seed = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(1 << 32)))
        guarantee = os.environ.get("CHAOS_GUARANTEE", "auto")
        plan = chaos.Plan(scenario, requests, faults, seed, guarantee)
        return chaos.run(plan, kafka, make_topics(kafka, 6), tmp_path)

    return run


def test_killed_workers_cost_nothing(run_chaos):
    run_chaos("kills", requests=3000, faults=6)


def test_a_killed_broker_costs_nothing(run_chaos):
    run_chaos("broker", requests=2000, faults=2)


def test_a_group_that_grows_and_shrinks_costs_nothing(run_chaos):
    run_chaos("resize", requests=3000, faults=6)


def test_workers_that_wake_up_as_zombies_cost_nothing(run_chaos):
    run_chaos("zombies", requests=3000, faults=4)


def test_a_bad_network_costs_nothing(run_chaos):
    run_chaos("network", requests=3000, faults=5)


def test_everything_at_once_costs_nothing(run_chaos):
    run_chaos("mixed", requests=3000, faults=6)
