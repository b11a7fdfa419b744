"""The load generator's bench runs, small, so that it cannot rot; how quick it is here says nothing."""

from __future__ import annotations

import argparse

import pytest

from bench.load import CASES, report, table


@pytest.mark.mosquitto
def test_the_load_bench_gives_a_row_for_every_case() -> None:
    found = table(argparse.Namespace(seconds=0.3, rounds=1, scale=0.002))
    rows = report(found)
    assert len(rows) == len(CASES)
    assert all(row["min"] <= row["median"] <= row["max"] for row in rows)
    assert all(runs[0]["messages"] > 50 for runs in found.values())
    assert rows[0]["ratio"] < 0.2, "two million messages a core beside twenty thousand"
