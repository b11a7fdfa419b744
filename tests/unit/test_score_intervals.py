"""Exact intervals: against published tables, against plain sums, and at the ends where nothing was counted."""

from __future__ import annotations

import math

import pytest

from simulators.card.intervals import poisson_interval, rate_interval, share_interval


@pytest.mark.parametrize(
    ("events", "low", "high"),
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (2, 0.2422, 7.225), (10, 4.795, 18.390), (50, 37.11, 65.92)],
)
def test_a_count_of_rare_events_has_garwoods_interval(events: int, low: float, high: float) -> None:
    found = poisson_interval(events)
    assert found.low == pytest.approx(low, abs=0.006)
    assert found.high == pytest.approx(high, abs=0.006)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 10, 0.0, 0.3085), (8, 10, 0.4439, 0.9748), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1.0), (1, 1, 0.025, 1)],
)
def test_a_share_has_clopper_and_pearsons_interval(hits: int, trials: int, low: float, high: float) -> None:
    found = share_interval(hits, trials)
    assert found.low == pytest.approx(low, abs=6e-5)
    assert found.high == pytest.approx(high, abs=6e-5)


@pytest.mark.parametrize("events", [3, 40, 700])
def test_what_was_counted_lies_in_each_tail_just_so_often(events: int) -> None:
    def below(mean: float) -> float:  # P(X <= events), summed term by term
        return math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(events + 1))

    found = poisson_interval(events, 0.9)
    assert below(found.high) == pytest.approx(0.05, rel=1e-6)
    last = math.exp(events * math.log(found.low) - found.low - math.lgamma(events + 1))
    assert 1 - below(found.low) + last == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize(("hits", "trials"), [(3, 40), (190, 200), (999, 1000)])
def test_a_share_as_it_was_counted_lies_in_each_tail_just_so_often(hits: int, trials: int) -> None:
    def up_to(most: int, share: float) -> float:
        return math.fsum(math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(most + 1))

    found = share_interval(hits, trials)
    assert up_to(hits, found.high) == pytest.approx(0.025, rel=1e-6)
    assert 1 - up_to(hits - 1, found.low) == pytest.approx(0.025, rel=1e-6)


def test_the_rule_of_three_asks_for_thirty_thousand_quiet_device_days() -> None:
    assert rate_interval(0, 30_000, 10_000, 0.90).high < 1.0 < rate_interval(0, 29_000, 10_000, 0.90).high * 1.01
    assert rate_interval(0, 0.0, 10_000) == (0.0, math.inf)
    assert share_interval(0, 0) == (0.0, 1.0)


def test_a_hundred_thousand_events_are_no_trouble() -> None:
    found = poisson_interval(100_000)
    assert found.low == pytest.approx(100_000 - 1.96 * math.sqrt(100_000), abs=3)
    assert found.high == pytest.approx(100_000 + 1.96 * math.sqrt(100_000), abs=4)
