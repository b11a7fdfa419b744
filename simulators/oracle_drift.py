"""Slow twin of the drift of a position away from what was driven (alerts/drift.py): one fix at a time, in plain ifs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from alerts.drift import CALM_M, LEAP_M
from simulators.oracle_route import Point


@dataclass
class DriftTwin:
    """What small differences and leaps of one vehicle have come to.

    Attributes:
        drift, leap: metres east and north.
        speed: m/s east and north at the last fix; None where nobody knows.
        calm_ms: when the drift was last within noise.
    """

    drift: Point = (0.0, 0.0)
    leap: Point = (0.0, 0.0)
    speed: Point | None = None
    calm_ms: int = 0

    def add(
        self, time_ms: int, seconds: float | None, step: Point, kmh: float, heading_deg: float
    ) -> tuple[float, float]:
        """Take in one fix; return metres of drift, and of drift and leaps together.

        Args:
            time_ms: when.
            seconds: since the last fix; None for the first.
            step: metres since then.
            kmh, heading_deg: as reported; the heading NaN where it was not.
        """
        before = self.speed
        if kmh < 3.0:
            self.speed = (0.0, 0.0)
        elif math.isnan(heading_deg):
            self.speed = None
        else:
            angle = math.radians(heading_deg)
            self.speed = (kmh / 3.6 * math.sin(angle), kmh / 3.6 * math.cos(angle))
        if seconds is not None:
            share = math.exp(-seconds / 1_200.0)
            self.drift = (self.drift[0] * share, self.drift[1] * share)
            self.leap = (self.leap[0] * share, self.leap[1] * share)
            if before is not None and self.speed is not None and seconds <= 90.0:
                self._difference(before, self.speed, seconds, step)
        drift = math.hypot(*self.drift)
        if drift < CALM_M:
            self.calm_ms = time_ms
        return drift, math.hypot(self.drift[0] + self.leap[0], self.drift[1] + self.leap[1])

    def _difference(self, before: Point, now: Point, seconds: float, step: Point) -> None:
        off = [step[k] - (before[k] + now[k]) / 2 * seconds for k in (0, 1)]
        size = math.hypot(*off)
        pace = (math.hypot(*before) + math.hypot(*now)) / 2
        slack = math.dist(before, now) * seconds / 2 + max(seconds - 15.0, 0.0) * pace / 2 + 0.02 * pace * seconds
        if size > LEAP_M + slack:
            self.leap = (self.leap[0] + off[0], self.leap[1] + off[1])
        elif size > slack:
            share = 1.0 - slack / size
            self.drift = (self.drift[0] + off[0] * share, self.drift[1] + off[1] * share)
