"""The bench of backtests runs, and every way of running it tells of the faults that are in its city."""

from __future__ import annotations

from pathlib import Path

from bench.backtest import measure


def test_the_bench_reads_and_judges_every_reading_it_wrote(tmp_path: Path) -> None:
    read, *ways = measure(0.05, 1.0, tmp_path)
    assert len(ways) == 3
    assert {way.readings for way in ways} == {read.readings} == {10_200}
    assert all(way.alerts and way.cpu_s > 0 for way in ways)
