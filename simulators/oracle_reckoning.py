"""Slow twin of dead reckoning: is a fix believable, one at a time, in plain ifs (alerts/reckoning.py)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from alerts.reckoning import BLIND_MS, GateParams

Point = tuple[float, float]


@dataclass
class Reference:
    """Where the vehicle should be, how fast it goes, and since when no fix was believed."""

    at: Point
    time_ms: int
    speed: Point | None
    rejecting_since: int | None = None


class ReckoningTwin:
    """The reference position of one vehicle, and the gate about it.

    Attributes:
        reference: None before the first fix.
        anchor: time and place from which movement is counted where speed is not reported.
        loose: metres from the anchor that are not counted yet.
        shock_ms: when a fix last lay far from where it should.
    """

    def __init__(self, params: GateParams) -> None:
        self.params = params
        self.reference: Reference | None = None
        self.anchor: tuple[int, Point] | None = None
        self.loose, self.blind_ms = 0.0, 0
        self.shock_ms: int | None = None

    def believe(
        self, time_ms: int, at: Point, speed_kmh: float, heading_deg: float, *, near: bool = False
    ) -> float | None:
        """Return metres driven since the last fix, None where the fix is not believed; speed and heading may be NaN."""
        g = self.params
        speed, moving = self._speed(time_ms, speed_kmh, heading_deg)
        reference = self.reference
        if reference is None or time_ms - reference.time_ms > g.gap_ms:
            reference = Reference(at, time_ms, reference.speed if reference else None)
        seconds = (time_ms - reference.time_ms) / 1000.0
        before = reference.speed or speed or (0.0, 0.0)
        if speed is None:
            mean, slack = (0.0, 0.0), (g.max_kmh / 3.6 if math.isnan(moving) else moving) * seconds
        else:
            mean = (before[0] + speed[0]) / 2, (before[1] + speed[1]) / 2
            slack = math.dist(before, speed) * seconds / 2 + max(seconds - 15.0, 0.0) * math.hypot(*mean) / 2
        expected = reference.at[0] + mean[0] * seconds, reference.at[1] + mean[1] * seconds
        residual = math.dist(at, expected)
        believed, expired = residual <= g.gate_m + slack or near, False
        if speed is not None and residual > g.shock_m + slack / 2:
            self.shock_ms = time_ms
        since = reference.rejecting_since if reference.rejecting_since is not None else time_ms
        if not believed and time_ms - since >= g.resync_ms:
            believed = expired = True
            self.blind_ms = time_ms + BLIND_MS
            self.shock_ms = None
        if not believed:
            # Without a velocity the time stays too, and the reach grows until a fix is believed again.
            self.reference = Reference(expected, reference.time_ms if speed is None else time_ms, speed, since)
            return None
        keep = min(1.0 - (g.blend if near else g.blend_away), g.gate_m / 2 / max(residual, 1e-9))
        if speed is None or expired or (near and residual > g.gate_m):
            keep = 0.0
        held = at[0] - keep * (at[0] - expected[0]), at[1] - keep * (at[1] - expected[1])
        self.reference = Reference(held, time_ms, speed)
        stepped, self.loose = self._step(time_ms, at)
        if speed is None:
            return stepped
        self.loose = 0.0
        return (math.hypot(*before) + moving) / 2 * seconds

    def _speed(self, time_ms: int, speed_kmh: float, heading_deg: float) -> tuple[Point | None, float]:
        """Return the reported velocity, None where it is not known or not heeded, and how fast that is, m/s."""
        if time_ms < self.blind_ms:
            speed_kmh = math.nan
        moving = 0.0 if speed_kmh < self.params.standing_kmh else speed_kmh / 3.6
        if moving == 0.0:
            return (0.0, 0.0), moving
        heading = math.radians(heading_deg)
        if math.isnan(moving) or math.isnan(heading):
            return None, moving
        return (moving * math.sin(heading), moving * math.cos(heading)), moving

    def _step(self, time_ms: int, at: Point) -> tuple[float, float]:
        """Return metres moved, in whole steps, and what is left over."""
        g = self.params
        if self.anchor is None:
            self.anchor = time_ms, at
            return 0.0, 0.0
        step = math.dist(at, self.anchor[1])
        drift = (time_ms - self.anchor[0]) / 1000.0 * g.standing_kmh / 3.6
        if step < g.anchor_m and drift < g.anchor_m:
            return 0.0, step
        self.anchor = time_ms, at
        return (step if step >= g.anchor_m and step >= drift else 0.0), 0.0
