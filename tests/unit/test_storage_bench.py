"""The storage bench runs, so that it cannot rot; how quick it is here says nothing."""

from __future__ import annotations

from bench.storage import run


def test_the_storage_bench_gives_its_figures() -> None:
    figures = run(1000)
    assert len(figures) == 6
    assert all(figure > 0 for figure in figures.values())
    assert figures["line protocol"] < figures["the same as influxdb-client Points"]
