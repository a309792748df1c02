"""A worker at full rate: a short form of `tests/run chaos --scenario hour`."""

import pytest

from support import endurance


@pytest.mark.load
def test_a_worker_at_full_rate_stays_as_large_as_it_is(kafka, binary, tmp_path):
    endurance.run(kafka, tmp_path, seconds=20, seed=1)
