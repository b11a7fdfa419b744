"""Slow twins of the filling and the hourly inflow figures: one reading, one hour at a time, plain ifs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median

NAN = math.nan
SLOT_MS, GAP_MS, DAY_MS, HOUR_MS = 300_000, 900_000, 86_400_000, 3_600_000


@dataclass
class FillingTwin:
    """How one well fills, reading by reading."""

    overflow_m: float
    marks: list[tuple[int, float]] = field(default_factory=list)  # first reading of each five minutes, since a gap
    last_ms: int = 0
    run_ms: int = 0
    rain_ms: int = 0

    def take(self, time_ms: int, level_m: float, pumps: float, rain_mm: float) -> dict[str, float] | None:
        """Take in a reading and return its figures, None where level or pumps are not known."""
        if rain_mm >= 0.01:
            self.rain_ms = time_ms
        if math.isnan(level_m) or math.isnan(pumps):
            return None
        if time_ms - self.last_ms > GAP_MS:
            self.marks, self.run_ms = [], 0
        if not self.marks or time_ms // SLOT_MS != self.last_ms // SLOT_MS:
            self.marks.append((time_ms, level_m))
        self.last_ms = time_ms
        if pumps == 0:
            self.run_ms = 0
        elif self.run_ms == 0:
            self.run_ms = time_ms
        rise = overflow = NAN
        if len(self.marks) >= 2 and time_ms - self.marks[-2][0] >= SLOT_MS:
            rise = (level_m - self.marks[-2][1]) / (time_ms - self.marks[-2][0]) * 3.6e6
            overflow = max((self.overflow_m - level_m) / rise * 60.0, 0.0) if rise > 0 else 1e6
        return {
            "level_m": level_m, "pumps_on": pumps, "rise_m_h": rise, "overflow_min": overflow,
            "run_h": (time_ms - self.run_ms) / 3.6e6 if self.run_ms else 0.0,
            "dry": float(time_ms - self.rain_ms >= DAY_MS),
        }  # fmt: skip


@dataclass
class HoursTwin:
    """One station's hours against like hours before; a figure an hour."""

    coverage: float
    dry_ms: int
    past: dict[int, list[float]] = field(default_factory=dict)

    def hour(
        self, hour: int, like: int, known: tuple[float, float], seen: tuple[float, float], rain_ms: int
    ) -> dict[str, float]:
        """Take in an hour, litres and seconds known and of these seen, and return its figures."""
        litres, seconds = seen if seen[1] >= 600 else known
        lps = litres / seconds if known[1] >= self.coverage * 3600 else NAN
        held = self.past.get(like, [])[-14:]
        usual = sigma = NAN
        if len(held) >= 5:
            usual = median(held)
            sigma = max(1.4826 * median(abs(one - usual) for one in held), 0.05 * usual)
        everything = [one for each in self.past.values() for one in each[-14:]]
        day = sum(everything) / len(everything) if len(everything) >= 120 else NAN
        dry = (hour + 1) * HOUR_MS - rain_ms >= self.dry_ms
        if dry and not math.isnan(lps):
            self.past.setdefault(like, []).append(lps)
        return {
            "inflow_lps": lps, "usual_lps": usual, "residual_lps": lps - usual, "sigma_lps": sigma, "day_lps": day,
            "dry": float(dry),
        }  # fmt: skip
