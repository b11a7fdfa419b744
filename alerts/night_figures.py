"""What a dry night tells beside its least inflow: against the station's own nights, last year's, and its days.

For rules with a condition over dry nights (alerts/dry_nights.py). The nights themselves, and which of them are dry, are
those of the seepage rule (alerts/nights.py); only sums and one figure a night are kept.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from alerts.expressions import Condition
from alerts.nights import DAYS, IDLE, Night, NightParams, Nights, Places
from devices.batch import Floats, Ints

YEAR, YEAR_DAYS, YEAR_NIGHTS = 400, (344, 386), 5  # nights kept; which are those of a year ago; how few will do
MONTH, MONTH_LEAST = 30, 10  # days of the monthly figures, and how few will do
DAY_SHARE = 0.4  # of a day for which the inflow must be known
DAY_PERCENTILE = 20.0  # of daily flows: dry weather flow, robust against storms (UKWIR 05/WW/21/6)
SPREAD, SPREAD_LEAST = 1.4826, 0.05  # of a median deviation to a standard one; least spread of the log of a night
Z_MOST = 3.0  # a night counts for no more in the running sum
MGD_LPS = 43.8126  # a million US gallons a day, L/s
FIGURES: dict[str, str] = {
    "night": "the night's figure: least inflow, L/s, or level, m",
    "usual": "median of the station's own dry nights before",
    "ratio": "the one over the other",
    "excess": "the one less the other",
    "sigma": "spread of those nights",
    "cusum": "running sum of what nights are beyond the usual, in spreads",
    "year_ratio": "the night over the median of the same season a year ago",
    "velocity_ratio": "mean velocity over that of the usual nights",
    "day_lps": "dry weather flow: a low day of the last month, L/s",
    "ground_share": "groundwater's share of it, after Stevens and Schutzbach",
    "night_share": "the last month's least night inflow over it",
}


class Days:
    """Each station's inflow by day.

    Attributes:
        state: arrays (m, DAYS): which day each cell holds, litres and seconds.
    """

    def __init__(self, stations: int) -> None:
        self.state: dict[str, npt.NDArray[Any]] = {
            "day": np.full((stations, DAYS), -1, np.int64),
            "litres": np.zeros((stations, DAYS)),
            "seconds": np.zeros((stations, DAYS)),
        }

    def take(self, row: Places, day: Ints, litres: Floats, seconds: Floats) -> None:
        """Take in inflow; what is of an earlier day than a cell holds is let go."""
        s, cell = self.state, day % DAYS
        newer = day > s["day"][row, cell]
        for name in ("litres", "seconds"):
            s[name][row[newer], cell[newer]] = 0.0
        np.maximum.at(s["day"], (row, cell), day)
        mine = s["day"][row, cell] == day
        np.add.at(s["litres"], (row[mine], cell[mine]), litres[mine])
        np.add.at(s["seconds"], (row[mine], cell[mine]), seconds[mine])

    def low(self, station: int, day: int) -> float:
        """Return the dry weather flow of the month before ``day``, L/s; NaN where too few days are known."""
        s = self.state
        back = day - s["day"][station]
        known = (back >= 1) & (back <= MONTH) & (s["seconds"][station] >= DAY_SHARE * 86_400)
        if known.sum() < MONTH_LEAST:
            return float("nan")
        means = s["litres"][station][known] / s["seconds"][station][known]
        return float(np.percentile(means, DAY_PERCENTILE))


class NightFigures(Nights):
    """Nights that are judged by a condition over their figures.

    Args:
        stations: how many.
        params: of the nights.
        on, off: over the figures; ``off`` is None for the contrary of ``on``.
        allowance: of the running sum, in spreads.

    Attributes:
        days: inflow by day.
        figures: of the night that was judged last.
    """

    needs_base = False

    def __init__(
        self, stations: int, params: NightParams, on: Condition, off: Condition | None, allowance: float
    ) -> None:
        super().__init__(stations, params)
        self._on, self._off, self._allowance = on, off, allowance
        self.days = Days(stations)
        self.figures: dict[str, float] = {}
        self.state |= {
            **{name: np.zeros(stations) for name in ("fast", "fast_n", "cusum")},
            **{name: np.full(stations, np.nan) for name in ("spread", "log_spread", "base_velocity")},
            "velocity": np.full((stations, DAYS), np.nan),
            "dry": np.zeros((stations, DAYS), np.bool_),
            "year_day": np.full((stations, YEAR), -1, np.int32),
            "year_night": np.full((stations, YEAR), np.nan, np.float32),
        }

    def _also(self, row: Places, *more: Floats) -> None:
        known = ~np.isnan(more[0])
        np.add.at(self.state["fast"], row[known], more[0][known])
        np.add.at(self.state["fast_n"], row[known], 1.0)

    def _finished(self, station: int, cell: int) -> None:
        s = self.state
        count = s["fast_n"][station]
        s["velocity"][station, cell] = s["fast"][station] / count if count else np.nan
        s["fast"][station], s["fast_n"][station] = 0.0, 0.0
        s["dry"][station, cell] = False

    def _based(self, station: int, held: npt.NDArray[np.bool_]) -> None:
        s = self.state
        nights, base = s["q"][station][held], s["base"][station]
        s["spread"][station] = SPREAD * np.median(np.abs(nights - base))
        away = np.abs(np.log(np.maximum(nights, 1e-6) / max(base, 1e-6)))
        s["log_spread"][station] = max(SPREAD * float(np.median(away)), SPREAD_LEAST)
        swift = s["velocity"][station][held]
        s["base_velocity"][station] = np.median(swift[~np.isnan(swift)]) if (~np.isnan(swift)).any() else np.nan

    def _says(self, station: int, cell: int, q: float, base: float) -> tuple[bool | None, bool | None]:
        s, day = self.state, int(self.state["day"][station, cell])
        s["dry"][station, cell] = True
        self.figures = found = self._figures(station, cell, day, q, base)
        if s["phase"][station] == IDLE:
            place = day % YEAR
            s["year_day"][station, place], s["year_night"][station, place] = day, q
        yes, no = (bool(part[0]) for part in self._on(lambda name: np.array([found[name]])))
        over, lasts = no, yes
        if self._off is not None:
            over, lasts = (bool(part[0]) for part in self._off(lambda name: np.array([found[name]])))
        return (yes if yes or no else None), (over if over or lasts else None)

    def _figures(self, station: int, cell: int, day: int, q: float, base: float) -> dict[str, float]:
        s = self.state
        ratio = q / base if base > 0 else float("nan")
        if ratio > 0:
            z = min(float(np.log(ratio)) / s["log_spread"][station], Z_MOST)
            s["cusum"][station] = max(0.0, s["cusum"][station] + z - self._allowance)
        swift, usual = s["velocity"][station, cell], s["base_velocity"][station]
        low, night = self.days.low(station, day), self._month(station, day)
        return {
            "night": q, "usual": base, "ratio": ratio, "excess": q - base, "sigma": float(s["spread"][station]),
            "cusum": float(s["cusum"][station]) if ratio > 0 else float("nan"),
            "year_ratio": q / self._year_ago(station, day), "day_lps": low, "night_share": night / low,
            "velocity_ratio": float(swift / usual), "ground_share": ground_lps(night, low) / low,
        }  # fmt: skip

    def _month(self, station: int, day: int) -> float:
        """Return the median of the month's dry nights, NaN where they are too few."""
        s = self.state
        back = day - s["day"][station]
        held = s["dry"][station] & (back >= 0) & (back <= MONTH)
        return float(np.median(s["q"][station][held])) if held.sum() >= MONTH_LEAST else float("nan")

    def _year_ago(self, station: int, day: int) -> float:
        """Return the median of the dry nights of the same season a year ago, NaN where they are too few or nothing."""
        s = self.state
        back = day - s["year_day"][station]
        held = (s["year_day"][station] >= 0) & (back >= YEAR_DAYS[0]) & (back <= YEAR_DAYS[1])
        found = float(np.median(s["year_night"][station][held])) if held.sum() >= YEAR_NIGHTS else float("nan")
        return found if found > 0 else float("nan")

    def _night(self, station: int, end_ms: int, q: float, *, active: bool, reason: str = "") -> Night:
        if not active:
            self.state["cusum"][station] = 0.0
        return super()._night(station, end_ms, q, active=active, reason=reason)


def ground_lps(night_lps: float, day_lps: float) -> float:
    """Return the groundwater in a sewer's flow, L/s, after Stevens and Schutzbach; NaN where either is not known.

    BI = 0.4 MDF / (1 - 0.6 (MDF / ADF) ^ (ADF ^ 0.7)), least and mean daily flow in million gallons a day. Quoted from
    memory; better than a share of the night's least flow where groundwater is little (ASCE 40854(211)20).
    """
    if not (night_lps > 0 and day_lps > 0):
        return float("nan")
    mdf, adf = night_lps / MGD_LPS, day_lps / MGD_LPS
    return MGD_LPS * 0.4 * mdf / (1 - 0.6 * math.pow(min(mdf / adf, 1.0), math.pow(adf, 0.7)))
