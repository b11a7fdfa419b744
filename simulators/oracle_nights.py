"""Slow twins of dry night and storm figures: one night, one storm at a time, plain ifs over plain lists."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median

NAN = math.nan
HOUR_MS, YEAR_MS = 3_600_000, 366 * 24 * 3_600_000


def percentile(values: list[float], share: float) -> float:
    """Return a percentile, straight between neighbours."""
    ranked = sorted(values)
    place = share / 100 * (len(ranked) - 1)
    low = int(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (place - low) * (ranked[high] - ranked[low])


@dataclass
class NightsTwin:
    """The dry nights of one station, none of which is in an alert."""

    allowance: float
    nights: list[tuple[int, float, float]] = field(default_factory=list)  # day, figure, velocity
    days: dict[int, tuple[float, float]] = field(default_factory=dict)  # litres and seconds of each day
    base: float = NAN
    base_day: int = -1000
    spread: float = NAN
    log_spread: float = NAN
    base_velocity: float = NAN
    cusum: float = 0.0

    def night(self, day: int, figure: float, velocity: float) -> dict[str, float]:
        """Take in a dry night and return its figures."""
        self._renew(day)
        ratio = figure / self.base if self.base > 0 else NAN
        if ratio > 0:
            z = min(math.log(ratio) / self.log_spread, 3.0)
            self.cusum = max(0.0, self.cusum + z - self.allowance)
        a_year_ago = [q for when, q, _ in self.nights if 344 <= day - when <= 386]
        year = median(a_year_ago) if len(a_year_ago) >= 5 else NAN
        self.nights.append((day, figure, velocity))
        month = [q for when, q, _ in self.nights if day - when <= 30]
        least = median(month) if len(month) >= 10 else NAN
        low = self._low(day)
        return {
            "night": figure, "usual": self.base, "ratio": ratio, "excess": figure - self.base, "sigma": self.spread,
            "cusum": self.cusum if ratio > 0 else NAN, "year_ratio": figure / year,
            "velocity_ratio": velocity / self.base_velocity, "day_lps": low, "night_share": least / low,
            "ground_share": self._ground(least, low) / low,
        }  # fmt: skip

    def _renew(self, day: int) -> None:
        held = [(q, v) for when, q, v in self.nights if 8 <= day - when <= 35]
        if len(held) >= 7:
            figures, swift = [q for q, _ in held], [v for _, v in held if not math.isnan(v)]
            self.base, self.base_day = median(figures), day
            self.spread = 1.4826 * median(abs(q - self.base) for q in figures)
            self.log_spread = max(1.4826 * median(abs(math.log(q / self.base)) for q in figures), 0.05)
            self.base_velocity = median(swift) if swift else NAN
        elif day - self.base_day > 60:
            self.base = NAN

    def _low(self, day: int) -> float:
        known = [
            litres / seconds
            for when, (litres, seconds) in self.days.items()
            if 1 <= day - when <= 30 and seconds >= 0.4 * 86_400
        ]
        return percentile(known, 20.0) if len(known) >= 10 else NAN

    @staticmethod
    def _ground(least: float, low: float) -> float:
        if not (least > 0 and low > 0):
            return NAN
        mdf, adf = least / 43.8126, low / 43.8126
        return 43.8126 * 0.4 * mdf / (1 - 0.6 * math.pow(min(mdf / adf, 1.0), math.pow(adf, 0.7)))


@dataclass
class StormTwin:
    """The storms of one station, hour by hour, none of which is in an alert."""

    least_mm: float = 10.0
    after_ms: int = 24 * HOUR_MS
    weight: float = 0.3
    usual_of: int = 4
    past: list[tuple[int, float]] = field(default_factory=list)
    hours: list[tuple[int, float, float]] = field(default_factory=list)  # hour, rain, residual
    trend: float = 1.0
    before: float = 0.0  # residual of dry hours, smoothed

    def hour(self, hour: int, rain_mm: float, residual_lps: float, *, dry: bool) -> dict[str, float] | None:
        """Take in an hour and return the figures of the storm that it ends."""
        if not self.hours and rain_mm < 0.2:
            if dry and not math.isnan(residual_lps):
                self.before += (residual_lps - self.before) / 24.0
            return None
        self.hours.append((hour, rain_mm, residual_lps - self.before))
        rained = max(when for when, mm, _ in self.hours if mm >= 0.2)
        if (hour + 1 - rained) * HOUR_MS <= self.after_ms:
            return None
        ended, self.hours = self.hours, []
        return self._figures(ended)

    def _figures(self, ended: list[tuple[int, float, float]]) -> dict[str, float] | None:
        fallen = sum(mm for _, mm, _ in ended)
        known = [lps for _, _, lps in ended if not math.isnan(lps)]
        end = ended[-1][0] + 1
        if fallen < self.least_mm or len(known) < 0.7 * (end - ended[0][0]):
            return None
        volume = max(sum(known) * 3.6, 0.0)
        share = volume / fallen
        held = [one for when, one in self.past if end * HOUR_MS - when <= YEAR_MS][-48:]
        usual = median(held) if len(held) >= self.usual_of else NAN
        ratio = share / usual if usual > 0 else NAN
        if not math.isnan(ratio):
            self.trend += self.weight * (ratio - self.trend)
        self.past.append((end * HOUR_MS, share))
        return {
            "rain_mm": fallen, "storm_m3": volume, "m3_mm": share, "usual_m3_mm": usual, "storm_ratio": ratio,
            "storm_trend": self.trend if not math.isnan(ratio) else NAN, "storms": float(len(held)),
        }  # fmt: skip
