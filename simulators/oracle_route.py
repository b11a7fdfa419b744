"""Slow twin of route deviation, one fix at a time with plain ifs, and the plain rule that measurements compare with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from alerts.route_settings import RouteParams
from alerts.routewatch import SHOCK_MS
from devices.geometry import EARTH_M_PER_DEG
from devices.registry import Permit
from simulators.oracle_reckoning import ReckoningTwin

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
        self.gate = ReckoningTwin(params.gate)
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
        clear = width < 1.0 and hdop <= self.params.open_hdop
        judged = self._narrowed(at, time_ms, width)
        if judged is None:
            ended = self.phase == "alert"
            self.phase, self.last = "inside", None
            return Event(active=False, at_ms=time_ms, onset_ms=self.onset_ms, reason="permit_ended") if ended else None
        distance, ratio = judged
        share = self.params.off_m / self.params.on_m
        driven = self.gate.believe(time_ms, at, speed_kmh, heading_deg, near=ratio <= share)
        if driven is None or self.gate.reference is None:
            return None
        if ratio > share and not math.isnan(speed_kmh):  # where dead reckoning puts it nearer, that counts
            held = self._narrowed(self.gate.reference.at, time_ms, width)
            distance, ratio = min((distance, ratio), held or (math.inf, math.inf), key=lambda pair: pair[1])
        return self._advance(time_ms, at, distance, driven, out=ratio > 1.0, back=ratio <= share, clear=clear)

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

    def _advance(
        self, time_ms: int, at: Point, distance: float, driven: float, *, out: bool, back: bool, clear: bool
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
            self.back_ms, self.gate.anchor, self.gate.loose = None, (time_ms, at), 0.0
            shock_ms = self.gate.shock_ms
            self.unsure = shock_ms is not None and time_ms - shock_ms <= SHOCK_MS
        self.last = time_ms, at
        self.unsure = self.unsure and not (out and clear)
        near_ms, far_ms = (p.unsure_ms, p.for_ms) if self.unsure else (p.for_ms, p.far_for_ms)
        long = self.outside_ms >= near_ms or (self.outside_ms >= far_ms and distance >= p.far_m)
        if self.phase == "outside":
            if out and long and self.outside_m + self.gate.loose >= p.travelled_m:
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
