"""What flows towards every pump station: sewage by hour, weekday and season, groundwater, and rain by three ways."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulators.machine import Floats
from simulators.weather import DAY_MS, Rain

CELL_MS = 600_000  # inflow is steady for so long
# Share of a day's mean sewage by the hour of the day: least at four in the morning, most at eight and at twenty.
DAY_SHAPE = np.array([
    0.55, 0.42, 0.34, 0.29, 0.28, 0.42, 0.88, 1.42, 1.58, 1.40, 1.20, 1.12,
    1.18, 1.12, 1.02, 0.98, 1.02, 1.14, 1.34, 1.50, 1.54, 1.38, 1.08, 0.80,
])  # fmt: skip
LATER_MIN = 75.0  # people rise so much later on Saturdays and Sundays
FAST_S, SLOW_S, DEEP_S = 2_700.0, 36_000.0, 6 * 86_400.0  # rain that runs in, that seeps in, that lifts the groundwater
DEEP_MM = 0.0025  # share by which a millimetre of rain lifts the groundwater's inflow, for days
SEASON = 0.12  # share by which groundwater inflow swings over the year, highest in early spring
WAVE_S, WAVE = 1_800.0, 0.05  # how long a chance wave of use lasts, and its share
SHIFT_EVERY, SHIFT = 7, 0.03  # every so many-th station has a factory on night shift; its share of the pump's rate
YEAR_MS, EQUINOX_MS = 365.2425 * DAY_MS, 75 * DAY_MS


class Cell(NamedTuple):
    """Inflow during one cell of time, litres a second by station, (n,) each."""

    sewage: Floats
    ground: Floats
    storm: Floats


class Catchments:
    """The catchments of all stations, cell after cell.

    Args:
        rate_lps: (n,) rated flow of one pump of each station.
        rain: over the city.
        rng: their own random numbers.
        from_ms: nothing is asked of an earlier time; reservoirs are empty then.
    """

    def __init__(self, rate_lps: Floats, rain: Rain, rng: np.random.Generator, from_ms: int) -> None:
        count = len(rate_lps)
        self._rain, self._rng = rain, rng
        self.sewage_lps = 0.20 * rate_lps * rng.uniform(0.9, 1.1, count)
        self.ground_lps = 0.10 * rate_lps
        storm = rng.uniform(0.8, 1.2, count) * rate_lps / 60.0
        self._fast_l_mm, self._slow_l_mm = 4_000.0 * storm, 8_000.0 * storm
        self._shift = np.where(np.arange(count) % SHIFT_EVERY == SHIFT_EVERY - 1, SHIFT * rate_lps, 0.0)
        self._fast, self._slow = np.zeros(count), np.zeros(count)
        self._deep_mm = 0.0
        self._wave = np.zeros(count)
        self._next = from_ms // CELL_MS
        self._cell = Cell(*(np.zeros(count) for _ in Cell._fields))

    def cell(self, number: int, minute: float, weekday: int) -> Cell:
        """Return the inflow of cell ``number`` (from ``number * CELL_MS`` on); asked for in order, each once or again.

        Args:
            number: which.
            minute: of the local day at its middle.
            weekday: 0 for Monday.
        """
        while self._next <= number:
            self._cell = self._make(self._next, minute, weekday)
            self._next += 1
        return self._cell

    def _make(self, number: int, minute: float, weekday: int) -> Cell:
        seconds, begin = CELL_MS / 1000.0, number * CELL_MS
        rain_mm = self._rain.depth_mm(begin, begin + CELL_MS)
        keep = np.exp(-seconds / WAVE_S)
        self._wave = keep * self._wave + np.sqrt(1 - keep * keep) * self._rng.normal(0.0, WAVE, len(self._wave))
        self._fast += rain_mm * self._fast_l_mm
        self._slow += rain_mm * self._slow_l_mm
        fast, slow = self._fast * -np.expm1(-seconds / FAST_S), self._slow * -np.expm1(-seconds / SLOW_S)
        self._fast, self._slow = self._fast - fast, self._slow - slow
        self._deep_mm = (self._deep_mm + rain_mm) * float(np.exp(-seconds / DEEP_S))
        season = 1 + SEASON * float(np.cos(2 * np.pi * (begin - EQUINOX_MS) / YEAR_MS))
        free = weekday >= 5
        hour = ((minute - LATER_MIN * free) / 60.0 - 0.5) % 24
        shape = float(np.interp(hour, np.arange(25), np.r_[DAY_SHAPE, DAY_SHAPE[0]]))
        night_shift = self._shift * (not free and (minute >= 1320 or minute < 360))
        sewage = (self.sewage_lps * shape + night_shift) * np.exp(self._wave)
        return Cell(sewage, self.ground_lps * (season + DEEP_MM * self._deep_mm), (fast + slow) / seconds)
