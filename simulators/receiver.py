"""What a truck's receiver makes of where it is: errors of open sky, street and canyon, with bursts of bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulators.machine import Floats, Ints, Rows
from simulators.network import Points

OPEN, STREET, CANYON = range(3)
# Errors an axis (m), memory from one 15 s report to the next, bursts an hour: open sky, street, canyon. After the
# noise model of docs/sources.md (routes): bursts last a minute on average and shift by 60 m, standard deviation.
SIGMA_M = np.array([5.0, 12.0, 20.0])
MEMORY = np.array([0.90, 0.95, 0.95])
BURSTS_H = np.array([0.0, 0.5, 2.0])
BURST_S = 60.0
BURST_M = 60.0
_USUAL_S = 15.0
_LIMIT = 3.5  # standard deviations


@dataclass(frozen=True, slots=True)
class Air:
    """Where tall houses stand: how far from the city's centre canyons and streets reach, metres.

    Attributes:
        canyon_m, street_m: radius within which receivers see a canyon's sky, and a street's.
        bursts: whether biases come and go; a demo's quarter of an hour does without.
        scale: of all errors.
    """

    canyon_m: float = 0.0
    street_m: float = 1_500.0
    bursts: bool = False
    scale: float = 0.55

    def setting(self, places: Points) -> Rows:
        """Return OPEN, STREET or CANYON for places (n, 2) in metres from the centre."""
        away = np.hypot(places[:, 0], places[:, 1])
        return np.where(away < self.canyon_m, CANYON, np.where(away < self.street_m, STREET, OPEN)).astype(np.intp)


CALM = Air()
CITY_AIR = Air(canyon_m=900.0, street_m=2_200.0, bursts=True, scale=1.0)


def errors(rng: np.random.Generator, first: Rows, count: Rows, seconds: Floats, setting: Rows, air: Air) -> Points:
    """Return receivers' errors, (n, 2) metres, for reports that stand truck by truck in the order of time.

    Args:
        first, count: (trucks,) where each truck's reports begin, and how many there are.
        seconds: (n,) time of each report.
        setting: (n,) OPEN, STREET or CANYON.
    """
    longest = int(count.max(initial=0))
    noise = np.zeros((len(seconds), 2))
    state = rng.normal(0.0, 1.0, (len(first), 2))
    before = seconds[np.minimum(first, max(len(seconds) - 1, 0))] if len(seconds) else np.zeros(len(first))
    for step in range(longest):
        alive = np.flatnonzero(step < count)
        row = first[alive] + step
        keep = (MEMORY[setting[row]] ** ((seconds[row] - before[alive]) / _USUAL_S))[:, None]
        drawn = rng.normal(0.0, 1.0, (len(alive), 2))
        state[alive] = np.clip(keep * state[alive] + np.sqrt(1.0 - keep**2) * drawn, -_LIMIT, _LIMIT)
        before[alive] = seconds[row]
        noise[row] = state[alive]
    noise *= (air.scale * SIGMA_M[setting])[:, None]
    if air.bursts and len(seconds):
        _add_bursts(rng, noise, first, count, seconds, setting)
    return noise


def _add_bursts(
    rng: np.random.Generator, noise: Points, first: Rows, count: Rows, seconds: Floats, setting: Rows
) -> None:
    """Shift reports during bursts, in place; a burst begins where the setting at its time lets it."""
    for start, number in zip(first.tolist(), count.tolist(), strict=True):
        if number < 2:
            continue
        times = seconds[start : start + number]
        drawn = rng.poisson(BURSTS_H.max() * (times[-1] - times[0]) / 3600.0)
        begins = rng.uniform(times[0], times[-1], drawn)
        lasts = rng.exponential(BURST_S, drawn)
        bias = rng.normal(0.0, BURST_M, (drawn, 2))
        kept = rng.random(drawn)
        at = np.searchsorted(times, begins)
        until = np.searchsorted(times, begins + lasts)
        for k in range(drawn):
            here = setting[start + min(int(at[k]), number - 1)]
            if kept[k] < BURSTS_H[here] / BURSTS_H.max():
                noise[start + at[k] : start + until[k]] += bias[k]


def spread(time_ms: Ints, first: Rows, count: Rows) -> None:
    """Make times of each truck rise strictly, in place: two reports of one millisecond would be one."""
    for start, number in zip(first.tolist(), count.tolist(), strict=True):
        part = time_ms[start : start + number]
        if len(part) > 1 and (np.diff(part) <= 0).any():
            part[:] = np.maximum.accumulate(part - np.arange(number)) + np.arange(number)
