"""The engine's bench runs, so that it cannot rot, and says the same twice; how quick it is here says nothing."""

from __future__ import annotations

from bench.engine import run


def test_the_engine_bench_gives_its_figures_and_the_same_answer_twice() -> None:
    first, second = run(small=True), run(small=True)
    assert [result.signal for result in first] == ["quiet", "noisy"]
    assert all(result.rate > 0 and result.readings > 30_000 for result in first)
    assert first[0].transitions == 0
    assert first[1].transitions > 0
    assert [result.digest for result in first] == [result.digest for result in second]
