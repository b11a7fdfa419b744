"""Slow twins of the rules about single trucks: one truck, one reading at a time, plain ifs.

Each looks at a reading and says whether its condition holds, is over, or neither; :class:`Life` makes alerts of that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from alerts.fence import FenceParams
from alerts.gps import GpsParams
from alerts.offsite import OffSiteParams
from simulators.oracle_drift import DriftTwin
from simulators.oracle_route import Event, Point, from_line, inside_ring

MINUTE_MS = 60_000
Ring = list[Point]


@dataclass(frozen=True, slots=True)
class Seen:
    """One reading of a truck; what it does not hold is NaN."""

    time_ms: int
    at: Point | None
    speed_kmh: float = math.nan
    hdop: float = 1.0
    load_t: float = math.nan
    bed_deg: float = math.nan
    heading_deg: float = math.nan


@dataclass
class Life:
    """One alert's waiting, beginning and end."""

    for_ms: int
    keep_ms: int
    samples: int = 0
    phase: str = "rest"
    onset_ms: int = 0
    shown: int = 0
    back_ms: int | None = None
    last_ms: int = 0

    def reading(
        self, time_ms: int, *, holds: bool, over: bool, may: bool = True, begun_ms: int | None = None
    ) -> Event | None:
        """Take in what one reading says."""
        gap, self.last_ms = time_ms - self.last_ms > 3 * MINUTE_MS, time_ms
        if holds and (self.phase == "rest" or (self.phase == "waiting" and gap)):
            self.phase, self.shown = "waiting", 0
            self.onset_ms = time_ms if begun_ms is None else begun_ms
        elif over and self.phase == "waiting":
            self.phase = "rest"
        if self.phase == "waiting" and holds:
            self.shown += 1
            long = time_ms - self.onset_ms >= self.for_ms and (self.for_ms > 0 or not self.samples)
            long = long or (self.samples > 0 and self.shown >= self.samples)
            if long and may:
                self.phase, self.back_ms = "alert", None
                return Event(active=True, at_ms=time_ms, onset_ms=self.onset_ms)
            return None
        if self.phase == "alert" and over:
            if self.back_ms is None or gap:
                self.back_ms = time_ms
            if time_ms - self.back_ms >= self.keep_ms:
                self.phase = "rest"
                return Event(active=False, at_ms=time_ms, onset_ms=self.onset_ms, reason="recovered")
        elif holds:
            self.back_ms = None
        return None


def in_fence(seen: Seen, rings: list[Ring], p: FenceParams) -> tuple[bool, bool]:
    """Say whether a truck is deep inside a fence, and whether it is clear of all."""
    if seen.at is None:
        return False, False
    depth = -math.inf
    for ring in rings:
        away = from_line(seen.at, ring)
        depth = max(depth, away if inside_ring(seen.at, ring) else -away)
    return depth > max(p.deep_m, p.sigmas * p.uere_m * seen.hdop), depth < -p.out_m


@dataclass
class OffSiteTwin:
    """Dumping and loading of one truck, away from its sites."""

    sites: list[Ring]
    payload_t: float
    p: OffSiteParams
    high: tuple[float, int] | None = None
    low: tuple[float, int] | None = None
    lift_ms: int | None = None
    last_ms: int = 0
    home: bool = False
    stood: bool = False

    def away(self, seen: Seen) -> bool:
        """Say whether the truck is surely outside all its sites."""
        if seen.at is None:
            return False
        return not any(inside_ring(seen.at, r) or from_line(seen.at, r) <= self.p.site_margin_m for r in self.sites)

    def dump(self, seen: Seen) -> tuple[bool, bool]:
        """Say whether it dumps, and whether it drives on."""
        p, now, load = self.p, seen.time_ms, seen.load_t
        if not math.isnan(load) and (
            self.high is None or load >= 0.93 * self.high[0] or now - self.high[1] > 5 * MINUTE_MS
        ):
            self.high = load, now
        high = self.high[0] if self.high else math.nan
        standing = seen.speed_kmh < p.standing_kmh
        if seen.bed_deg > p.bed_deg and standing:
            self.lift_ms = now if self.lift_ms is None else self.lift_ms
        elif self.lift_ms is not None and now - self.lift_ms >= 5 * MINUTE_MS:
            self.lift_ms = None
        if not (standing or math.isnan(seen.speed_kmh)):
            self.lift_ms = None
        score = 0.2 * standing
        if self.lift_ms is not None and high > p.loaded_t:
            score += 0.4
        if high - load > p.share * max(high, p.loaded_t):
            score += 0.4
        drives, likely = seen.speed_kmh > p.driving_kmh, standing and score > 0.79
        comes = standing and not self.stood and load > p.loaded_t
        asked = likely or comes or (standing and seen.bed_deg > p.bed_deg)
        if drives:
            self.home = False
        if asked and seen.at is not None and not self.away(seen):
            self.home = True
        if not math.isnan(seen.speed_kmh):
            self.stood = standing
        return likely and self.away(seen) and not self.home, drives and seen.bed_deg < p.bed_deg

    def load(self, seen: Seen) -> tuple[bool, bool]:
        """Say whether it has taken up a load, and whether it has not."""
        now, load = seen.time_ms, seen.load_t
        gap, self.last_ms = now - self.last_ms > 3 * MINUTE_MS, now
        if math.isnan(load):
            return False, False
        if self.low is None or gap or now - self.low[1] > 20 * MINUTE_MS:
            self.low = load, now
            return False, True
        if load <= self.low[0] + 1.0:
            self.low = min(load, self.low[0]), now
            return False, True
        if seen.at is None:
            return False, False
        if not self.away(seen):
            self.low = load, now
            return False, True
        holds = load - self.low[0] > self.p.share * self.payload_t
        return holds, not holds


@dataclass
class GpsTwin:
    """Positions of one truck that leap, stand still, or are led away.

    Attributes:
        p: the rule's settings.
        ways, sites: the truck's own; none where it has no permit.
        alerted: whether it is in trouble.
        begun_ms: when what holds now began.
        drift: how far the position has come away from what was driven.
        far_ms: since when it has been far away; None for not.
    """

    p: GpsParams
    ways: list[Ring] = field(default_factory=list)
    sites: list[Ring] = field(default_factory=list)
    last: Seen | None = None
    jump_ms: int = field(default=-(1 << 60))
    event_ms: int = 0
    proof_ms: int = 0
    same: int = 0
    same_m: float = 0.0
    alerted: bool = False
    begun_ms: int = 0
    drift: DriftTwin = field(default_factory=DriftTwin)
    far_ms: int | None = None

    def astray(self, at: Point) -> bool:
        """Say whether a place is off all that the truck may be on."""
        if not self.ways and not self.sites:
            return False
        near = [from_line(at, line) for line in (*self.ways, *self.sites)]
        return min(near) > self.p.way_m and not any(inside_ring(at, ring) for ring in self.sites)

    def look(self, seen: Seen) -> tuple[bool, bool]:
        """Say whether the position cannot be true, and whether it has been believable for long."""
        if seen.at is None or math.isnan(seen.speed_kmh):
            return False, False
        before, self.last = self.last, seen
        self.begun_ms = seen.time_ms
        seconds, way, step, driven = None, (math.nan, math.nan), math.inf, 0.0
        if before is not None and before.at is not None:
            seconds = (seen.time_ms - before.time_ms) / 1000.0
            way = (seen.at[0] - before.at[0], seen.at[1] - before.at[1])
            step, driven = math.hypot(*way), (before.speed_kmh + seen.speed_kmh) / 7.2 * seconds
        holds = seconds is not None and (self._stands(seen, step, driven) | self._leaps(seen, step, driven, seconds))
        drift, both = self.drift.add(seen.time_ms, seconds, way, seen.speed_kmh, seen.heading_deg)
        if both <= self.p.misled_m:
            self.far_ms = None
        elif self.far_ms is None:
            self.far_ms = seen.time_ms
        if drift > self.p.drift_m or (self.far_ms is not None and seen.time_ms - self.far_ms >= self.p.misled_ms):
            holds, self.begun_ms = True, min(self.begun_ms, self.drift.calm_ms, self.far_ms or seen.time_ms)
        doubted = self.alerted and seen.time_ms - self.proof_ms < self.p.doubt_ms
        if holds:
            self.event_ms = self.proof_ms = seen.time_ms
        elif doubted and (step == 0.0 or self.astray(seen.at)):
            self.event_ms = seen.time_ms
        over = not holds and seen.time_ms - self.event_ms >= self.p.clean_ms
        self.alerted = holds or (self.alerted and not over)
        return holds, over

    def _stands(self, seen: Seen, step: float, driven: float) -> bool:
        """Say whether the position stands while the truck drives."""
        if step != 0.0:
            self.same, self.same_m = 0, 0.0
            return False
        self.same_m += driven
        self.same += seen.speed_kmh > 10.0
        return seen.speed_kmh > 10.0 and self.same >= self.p.repeats and self.same_m >= self.p.driven_m

    def _leaps(self, seen: Seen, step: float, driven: float, seconds: float) -> bool:
        """Say whether a step after a long time is too far for any truck, or the second too far for what was driven."""
        least = max(seconds, 15.0)
        if step > self.p.jump_m and step - driven > self.p.wild_kmh / 3.6 * least and seconds <= 300.0:
            again = seen.time_ms - self.jump_ms <= self.p.within_ms
            if again:
                self.begun_ms = self.jump_ms
            self.jump_ms = seen.time_ms
            return again
        return step > self.p.far_m and step > self.p.max_kmh / 3.6 * least
