"""Pump cycles against a slow twin, cut up anyhow; and the alerts that follow from events."""

from __future__ import annotations

import numpy as np
import pytest

from alerts.pump_cycles import FIGURES, Cycles
from alerts.station_runs import FIELDS, Runs
from alerts.verdicts import Verdicts
from simulators.oracle_cycles import CycleTwin, Reading, VerdictTwin

FACTS = (20.0, 1.5, 0.9, 50.0)
MIN = 60_000
START = 1_780_000_000_000


def life(rng: np.random.Generator, readings: int) -> list[Reading]:
    """A well with two pumps, now and then silent, noisy, in the rain, or with a pump that moves less."""
    out, level, on, lead, time = [], 1.2, 0, 0, START
    for k in range(readings):
        time += int(rng.choice([30_000, MIN, MIN, MIN, 2 * MIN])) if rng.random() < 0.99 else 20 * MIN
        inflow = 10.0 + 4.0 * np.sin(k / 400.0)
        moved = 50.0 * (0.5 if k // 900 % 3 == 2 else 1.0)
        level += (inflow - on * moved) * 60.0 / 20_000.0
        if level <= 0.9 and on:
            on, lead = 0, 1 - lead
        elif level >= 1.5:
            on = 2 if level > 1.7 else max(on, 1)
        seen = level + rng.normal(0, 0.003) if rng.random() > 0.02 else float("nan")
        mask = 0 if on == 0 else (3 if on == 2 else 1 << lead)
        rain = 0.3 if rng.random() < 0.01 else 0.0
        power = 16.0 * on * float(rng.normal(1, 0.01))
        out.append(Reading(time, float(on), float(mask), float(seen), power, 25.0 * on, 50.0 * (on > 0), 177.0, rain))
    return out


def columns(readings: list[Reading]) -> tuple[np.ndarray, np.ndarray]:
    times = np.array([one.time_ms for one in readings])
    return times, np.array([[getattr(one, name) for one in readings] for name in FIELDS])


def figures_of(cut: int, lives: list[list[Reading]]) -> list[list[tuple[int, int, int, dict[str, float]]]]:
    """What the columns say of each station, its readings cut into batches of ``cut`` moments."""
    count = len(lives)
    runs, cycles = Runs(count), Cycles(*(np.full(count, fact) for fact in FACTS))
    found: list[list[tuple[int, int, int, dict[str, float]]]] = [[] for _ in lives]
    for first in range(0, len(lives[0]), cut):
        parts = [columns(one[first : first + cut]) for one in lives]
        station = np.repeat(np.arange(count), [len(times) for times, _ in parts])
        time, values = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts], axis=1)
        order = np.argsort(time, kind="stable")  # stations among each other, as batches have them
        ended = runs.take(station[order], time[order], values[:, order])
        left = np.arange(len(ended["station"]))
        while len(left):
            _, head = np.unique(ended["station"][left], return_index=True)
            part = {name: column[left[head]] for name, column in ended.items()}
            at, pump, begin, end, figures = cycles.take(part)
            for k, one in enumerate(at.tolist()):
                told = {name: float(figures[name][k]) for name in FIGURES}
                found[one].append((int(pump[k]), int(begin[k]), int(end[k]), told))
            left = np.delete(left, head)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_cycles_are_what_a_slow_twin_works_out(seed: int) -> None:
    lives = [life(np.random.default_rng([seed, k]), 2500) for k in range(3)]
    found = figures_of(7, lives)
    for readings, mine in zip(lives, found, strict=True):
        twin = CycleTwin(*FACTS)
        slow = [cycle for one in readings for cycle in [twin.take(one)] if cycle is not None]
        assert len(mine) == len(slow) > 30
        for (pump, begin, end, told), other in zip(mine, slow, strict=True):
            assert (pump, begin, end) == (other.pump, other.begin_ms, other.end_ms)
            for name in FIGURES:
                assert told[name] == pytest.approx(other.figures[name], rel=1e-9, abs=1e-9, nan_ok=True), name
    ratios = [told["rate_ratio"] for mine in found for *_, told in mine]
    assert np.nanmin(ratios) < 0.6
    assert np.nanmax(ratios) > 0.95


def test_cycles_do_not_depend_on_how_readings_are_cut() -> None:
    lives = [life(np.random.default_rng([9, k]), 900) for k in range(2)]
    whole = figures_of(900, lives)
    for cut in (1, 64):
        assert repr(figures_of(cut, lives)) == repr(whole)


@pytest.mark.parametrize(("hits", "of", "off"), [(1, 1, 1), (3, 3, 2), (5, 8, 3)])
def test_verdicts_are_those_of_a_slow_twin(hits: int, of: int, off: int) -> None:
    rng = np.random.default_rng([hits, of])
    many, twins = (
        Verdicts(6, hits, of, off, 5 * MIN, 3 * MIN),
        [VerdictTwin(hits, of, off, 5 * MIN, 3 * MIN) for _ in range(6)],
    )
    told, slow = [], []
    for step in range(600):
        at = np.flatnonzero(rng.random(6) < 0.7)
        mood = (step // 40 + np.arange(6)) % 2
        truth = rng.choice([1, 0, -1], len(at), p=[0.45, 0.45, 0.1])
        truth = np.where((rng.random(len(at)) < 0.8) & (truth >= 0), mood[at], truth)
        time = np.full(len(at), START + step * MIN)
        yes, no = truth == 1, truth == 0
        changes = many.take(at, time, time, yes, no, no, yes)
        told += [(step, one.place, one.active, one.onset_ms) for one in changes]
        for k, place in enumerate(at.tolist()):
            change = twins[place].take(int(time[k]), int(time[k]), {1: True, 0: False, -1: None}[int(truth[k])])
            if change is not None:
                slow.append((step, place, *change))
    assert sorted(told) == sorted(slow)
    assert len(told) > 20
