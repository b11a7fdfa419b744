"""The engine's bench runs, so that it cannot rot, and says the same twice; how quick it is here says nothing."""

from __future__ import annotations

import pytest

from bench.engine import drive, run
from bench.engine_series import lamps


@pytest.mark.parametrize("rows", [256, 3_000])
def test_the_engine_says_the_same_of_the_same_noisy_series_and_nothing_of_the_quiet_one(rows: int) -> None:
    registry = lamps(1_000)  # three thousand readings a batch: each lamp three times
    first, second = (drive(registry, rows, noisy=True, rounds=1, readings=40_000) for _ in range(2))
    assert first.digest == second.digest
    assert first.transitions == second.transitions > 0
    assert 0.08 < first.changed < 0.12
    quiet = drive(registry, rows, noisy=False, rounds=1, readings=10_000)
    assert (quiet.transitions, quiet.changed) == (0, 0.0)


def test_the_engine_bench_gives_all_its_figures() -> None:
    rows = run(small=True)
    assert all(row.min <= row.median <= row.max and row.median > 0 for row in rows)
    names = "; ".join(row.name for row in rows)
    for part in (
        "20 rules, quiet",
        "20 rules, noisy",
        "numpy's floor",
        "rule state",
        "shipped rules, 20 trucks",
        "nothing",
    ):
        assert part in names
