"""Slow twin of route deviation, one fix at a time with plain ifs, and the plain rule that measurements compare with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from alerts.reckoning import BLIND_MS
from alerts.route_settings import RouteParams
from alerts.routewatch import SHOCK_MS
from devices.geometry import EARTH_M_PER_DEG
from devices.registry import Permit

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Event:
    """An alert of one entity beginning or ending, in the rule's own time (milliseconds)."""

    active: bool
    at_ms: int
    onset_ms: int
    reason: str = ""


def from_line(point: Point, line: Sequence[Point]) -> float:
    """Return metres from a point to a polyline, all in local metres."""
    best = math.inf
    for (ax, ay), (bx, by) in pairwise(line):
        dx, dy = bx - ax, by - ay
        square = dx * dx + dy * dy
        share = 0.0 if square == 0 else ((point[0] - ax) * dx + (point[1] - ay) * dy) / square
        share = min(max(share, 0.0), 1.0)
        best = min(best, math.hypot(point[0] - ax - share * dx, point[1] - ay - share * dy))
    return best


def inside_ring(point: Point, ring: Sequence[Point]) -> bool:
    """Return whether a closed ring holds a point, by counting the edges to its right."""
    odd = False
    for (ax, ay), (bx, by) in pairwise(ring):
        if (ay > point[1]) != (by > point[1]) and point[0] < ax + (point[1] - ay) * (bx - ax) / (by - ay):
            odd = not odd
    return odd


@dataclass
class PlainRoute:
    """The plain rule: beyond 80 m until within 50 m, for 120 s and 300 m of raw track; every fix believed."""

    on_m: float = 80.0
    off_m: float = 50.0
    for_ms: int = 120_000
    travelled_m: float = 300.0
    phase: str = "inside"
    onset_ms: int = 0
    path_m: float = 0.0
    last: Point = (0.0, 0.0)

    def fix(self, time_ms: int, at: Point, distance_m: float) -> Event | None:
        """Take in one fix; distance is to the permitted route."""
        step = math.dist(at, self.last)
        self.last = at
        if self.phase == "inside":
            if distance_m > self.on_m:
                self.phase, self.onset_ms, self.path_m = "outside", time_ms, 0.0
            return None
        self.path_m += step
        if distance_m < self.off_m:
            ended, self.phase = self.phase == "alert", "inside"
            return Event(active=False, at_ms=time_ms, onset_ms=self.onset_ms, reason="recovered") if ended else None
        if self.phase == "outside" and time_ms - self.onset_ms >= self.for_ms and self.path_m >= self.travelled_m:
            self.phase = "alert"
            return Event(active=True, at_ms=time_ms, onset_ms=self.onset_ms)
        return None


@dataclass
class _Reference:
    at: Point
    time_ms: int
    speed: Point | None
    rejecting_since: int | None = None


class RouteTwin:
    """Route deviation of one truck, as :mod:`alerts.routewatch` judges it."""

    def __init__(self, permits: Sequence[Permit], minute: Callable[[int], int], params: RouteParams) -> None:
        points = [point for permit in permits for point in permit.route]
        lons, lats = [p[0] for p in points], [p[1] for p in points]
        self.lon0, self.lat0 = (min(lons) + max(lons)) / 2, (min(lats) + max(lats)) / 2
        self.scale = EARTH_M_PER_DEG * math.cos(math.radians(self.lat0))
        self.permits = [
            (p, [self.metres(point) for point in p.route], [self._ring(r) for r in p.sites]) for p in permits
        ]
        self.minute, self.params = minute, params
        self.reference: _Reference | None = None
        self.anchor: tuple[int, Point] | None = None
        self.loose, self.blind_ms = 0.0, 0
        self.shock_ms: int | None = None
        self.unsure = False
        self.phase, self.onset_ms, self.outside_ms, self.outside_m = "inside", 0, 0, 0.0
        self.back_ms: int | None = None
        self.last: tuple[int, Point] | None = None

    def metres(self, point: Point) -> Point:
        """Return local metres of (lon, lat) degrees."""
        across = (point[0] - self.lon0 + 180.0) % 360.0 - 180.0
        return across * self.scale, (point[1] - self.lat0) * EARTH_M_PER_DEG

    def _ring(self, points: Sequence[Point]) -> list[Point]:
        ring = [self.metres(point) for point in points]
        return ring if ring[0] == ring[-1] else [*ring, ring[0]]

    def fix(
        self, time_ms: int, lon: float, lat: float, speed_kmh: float, heading_deg: float, hdop: float = math.nan
    ) -> Event | None:
        """Take in one usable fix; speed, heading and hdop may be NaN."""
        at = self.metres((lon, lat))
        width = 1.0
        if self.params.per_hdop_m > 0 and not math.isnan(hdop):
            width = min(max((self.params.sharp_m + self.params.per_hdop_m * hdop) / self.params.on_m, 0.1), 1.0)
        judged = self._narrowed(at, time_ms, width)
        if judged is None:
            ended = self.phase == "alert"
            self.phase, self.last = "inside", None
            return Event(active=False, at_ms=time_ms, onset_ms=self.onset_ms, reason="permit_ended") if ended else None
        distance, ratio = judged
        share = self.params.off_m / self.params.on_m
        driven = self._believe(time_ms, at, speed_kmh, heading_deg, near=ratio <= share)
        if driven is None or self.reference is None:
            return None
        if ratio > share and not math.isnan(speed_kmh):  # where dead reckoning puts it nearer, that counts
            held = self._narrowed(self.reference.at, time_ms, width)
            distance, ratio = min((distance, ratio), held or (math.inf, math.inf), key=lambda pair: pair[1])
        return self._advance(time_ms, at, distance, driven, out=ratio > 1.0, back=ratio <= share)

    def _narrowed(self, at: Point, time_ms: int, width: float) -> tuple[float, float] | None:
        found = self._distance(at, time_ms)
        return None if found is None else (found[0], found[1] / width)

    def _distance(self, at: Point, time_ms: int, *, sites: bool = True) -> tuple[float, float] | None:
        best: tuple[float, float] | None = None
        for permit, line, rings in self.permits:
            if sites and not self._valid(permit, time_ms):
                continue
            on = permit.corridor_m or self.params.on_m
            found = from_line(at, line)
            margin = self.params.site_margin_m
            if sites and any(inside_ring(at, ring) or from_line(at, ring) <= margin for ring in rings):
                found = 0.0
            if best is None or found / on < best[1]:
                best = found, found / on
        return best

    def _valid(self, permit: Permit, time_ms: int) -> bool:
        start, end = permit.hours
        minute = self.minute(time_ms)
        within = start <= minute < end if start <= end else minute >= start or minute < end
        open_end = permit.valid_until_ms or 1 << 62
        return (within or end - start >= 1440) and permit.valid_from_ms <= time_ms < open_end

    def _believe(  # noqa: PLR0912 - plain ifs are the point
        self, time_ms: int, at: Point, speed_kmh: float, heading_deg: float, *, near: bool
    ) -> float | None:
        """Return metres driven since the last fix, None where the fix is not believed."""
        g = self.params.gate
        if time_ms < self.blind_ms:
            speed_kmh = math.nan
        moving = 0.0 if speed_kmh < g.standing_kmh else speed_kmh / 3.6
        heading = math.radians(heading_deg)
        speed: Point | None = (moving * math.sin(heading), moving * math.cos(heading))
        if moving == 0.0:
            speed = (0.0, 0.0)
        elif math.isnan(moving) or math.isnan(heading):
            speed = None
        reference = self.reference
        if reference is None or time_ms - reference.time_ms > g.gap_ms:
            reference = _Reference(at, time_ms, reference.speed if reference else None)
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
            if speed is None:  # the reach grows until a fix is believed again
                self.reference = _Reference(expected, reference.time_ms, None, since)
            else:
                self.reference = _Reference(expected, time_ms, speed, since)
            return None
        keep = min(1.0 - (g.blend if near else g.blend_away), g.gate_m / 2 / max(residual, 1e-9))
        if speed is None or expired or (near and residual > g.gate_m):
            keep = 0.0
        held = at[0] - keep * (at[0] - expected[0]), at[1] - keep * (at[1] - expected[1])
        self.reference = _Reference(held, time_ms, speed)
        stepped, self.loose = self._step(time_ms, at)
        if speed is None:
            return stepped
        self.loose = 0.0
        return (math.hypot(*before) + moving) / 2 * seconds

    def _step(self, time_ms: int, at: Point) -> tuple[float, float]:
        """Return metres moved, in whole steps, and what is left over."""
        g = self.params.gate
        if self.anchor is None:
            self.anchor = time_ms, at
            return 0.0, 0.0
        step = math.dist(at, self.anchor[1])
        drift = (time_ms - self.anchor[0]) / 1000.0 * g.standing_kmh / 3.6
        if step < g.anchor_m and drift < g.anchor_m:
            return 0.0, step
        self.anchor = time_ms, at
        return (step if step >= g.anchor_m and step >= drift else 0.0), 0.0

    def _advance(
        self, time_ms: int, at: Point, distance: float, driven: float, *, out: bool, back: bool
    ) -> Event | None:
        p = self.params
        since = time_ms - self.last[0] if self.last else 0
        gap = since > p.gate.gap_ms
        if self.phase != "inside" and not back:
            chord = self._chord(at) if gap else 0.0
            if chord is None:
                if self.phase == "outside":
                    self.phase = "inside"
            else:
                self.outside_ms += min(since, p.gate.gap_ms)
                self.outside_m += driven + chord
        if self.phase == "outside" and back:
            self.phase = "inside"
        if self.phase == "inside" and out:
            self.phase, self.onset_ms, self.outside_ms, self.outside_m = "outside", time_ms, 0, 0.0
            self.back_ms, self.anchor, self.loose = None, (time_ms, at), 0.0
            self.unsure = self.shock_ms is not None and time_ms - self.shock_ms <= SHOCK_MS
        self.last = time_ms, at
        near_ms, far_ms = (p.unsure_ms, p.for_ms) if self.unsure else (p.for_ms, p.far_for_ms)
        long = self.outside_ms >= near_ms or (self.outside_ms >= far_ms and distance >= p.far_m)
        if self.phase == "outside":
            if out and long and self.outside_m + self.loose >= p.travelled_m:
                self.phase, self.back_ms = "alert", None
                return Event(active=True, at_ms=time_ms, onset_ms=self.onset_ms)
            return None
        return self._clear(time_ms, back=back, gap=gap) if self.phase == "alert" else None

    def _clear(self, time_ms: int, *, back: bool, gap: bool) -> Event | None:
        if not back:
            self.back_ms = None
            return None
        if self.back_ms is None or gap:
            self.back_ms = time_ms
        if time_ms - self.back_ms < self.params.keep_ms:
            return None
        self.phase = "inside"
        return Event(active=False, at_ms=time_ms, onset_ms=self.onset_ms, reason="recovered")

    def _chord(self, at: Point) -> float | None:
        """Return the straight way from the last fix, None where it meets the corridor."""
        start = self.last[1] if self.last else at
        length = math.dist(start, at)
        points = int(min(max(length / 40.0, 1), 256))
        share = self.params.off_m / self.params.on_m
        for number in range(1, points + 1):
            part = number / (points + 1)
            point = start[0] + part * (at[0] - start[0]), start[1] + part * (at[1] - start[1])
            found = self._distance(point, 0, sites=False)
            if found is not None and found[1] <= share:
                return None
        return length
