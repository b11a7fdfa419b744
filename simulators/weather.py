"""Rain and air over the simulated city, from a seed."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
STORMS_APART_MS = 9 * DAY_MS  # on average
AIR_C, AIR_SWING_C = 18.0, 5.0  # mean of a day, and how far it goes to either side
_SHAPE = np.array([0.10, 0.30, 0.35, 0.17, 0.08])  # a storm's fifths: it peaks before its middle


@dataclass(frozen=True, slots=True)
class Rain:
    """Rain as a running total: piecewise linear, so that any interval's depth is exact.

    Attributes:
        knots_ms, total_mm: times and the depth fallen until then.
    """

    knots_ms: tuple[int, ...]
    total_mm: tuple[float, ...]

    def depth_mm(self, from_ms: int, until_ms: int) -> float:
        """Return millimetres fallen between two times."""
        return self._until(until_ms) - self._until(from_ms)

    def depths_mm(self, from_ms: npt.NDArray[np.int64], until_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return millimetres fallen in each of many intervals, (n,)."""
        knots = np.array(self.knots_ms, dtype=np.float64)
        fallen = [np.interp(times, knots, self.total_mm, left=0.0) for times in (until_ms, from_ms)]
        return np.asarray(fallen[0] - fallen[1])

    def _until(self, time_ms: int) -> float:
        at = bisect.bisect_right(self.knots_ms, time_ms)
        if at == 0:
            return 0.0
        if at == len(self.knots_ms):
            return self.total_mm[-1]
        t0, t1 = self.knots_ms[at - 1], self.knots_ms[at]
        part = (time_ms - t0) / (t1 - t0)
        return self.total_mm[at - 1] + part * (self.total_mm[at] - self.total_mm[at - 1])


def seeded_rain(seed: int, from_ms: int, until_ms: int, *, dry: tuple[int, int] | None = None) -> Rain:
    """Return a seeded rain: storms nine days apart on average, a few hours and 4 to 30 mm each.

    Args:
        seed: what it is drawn from.
        from_ms, until_ms: the period that holds storms.
        dry: an interval that is kept free of rain, epoch milliseconds.
    """
    rng = np.random.default_rng([seed, 2])
    knots: list[int] = [from_ms]
    totals: list[float] = [0.0]
    time = float(from_ms)
    while True:
        time += max(12 * HOUR_MS, rng.exponential(STORMS_APART_MS))
        hours, depth = rng.uniform(1.5, 7.0), min(60.0, 4.0 + rng.gamma(1.3, 8.0))
        begin, end = int(time), int(time + hours * HOUR_MS)
        if end >= until_ms:
            return Rain(tuple(knots), tuple(totals))
        time = end
        if dry and begin < dry[1] and end > dry[0]:
            continue
        base = totals[-1]
        knots.append(begin)
        totals.append(base)
        for fifth, part in enumerate(np.cumsum(_SHAPE)):
            knots.append(begin + (end - begin) * (fifth + 1) // 5)
            totals.append(base + depth * float(part))


def rain_of(storms: Iterable[tuple[int, int, float]]) -> Rain:
    """Return a rain of these storms, each as (from, until, millimetres); they may overlap."""
    falls = [
        (np.array([begin, *(begin + (end - begin) * (fifth + 1) // 5 for fifth in range(len(_SHAPE)))]), depth)
        for begin, end, depth in storms
    ]
    if not falls:
        return Rain((0,), (0.0,))
    knots = np.unique(np.concatenate([times for times, _ in falls]))
    shape = np.concatenate([[0.0], np.cumsum(_SHAPE)])
    total = np.sum([np.interp(knots, times, depth * shape) for times, depth in falls], axis=0)
    return Rain(tuple(knots.tolist()), tuple(total.tolist()))


def air_c(minute_of_day: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the air's temperature in degrees Celsius, coolest at five in the morning and warmest at five at night."""
    phase = 2 * math.pi * (np.asarray(minute_of_day, dtype=np.float64) - 300.0) / 1440.0
    return np.asarray(AIR_C - AIR_SWING_C * np.cos(phase))
