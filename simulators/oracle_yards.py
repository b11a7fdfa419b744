"""Slow twins of what trucks do away from their sites: standing loaded, driving at strange hours, trips that do not end.

One reading, one look around at a time, in plain ifs; dumping and loading stand in ``simulators/oracle_trucks.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alerts.offsite import OffSiteParams
from alerts.trip import TripParams
from alerts.yards import HOME_M
from simulators.oracle_route import Event, Point, from_line, inside_ring

MINUTE_MS = 60_000
GAP_MS = 3 * MINUTE_MS
DAY_MS = 1440 * MINUTE_MS
Ring = list[Point]


@dataclass(frozen=True, slots=True)
class Report:
    """One reading of a truck; what it does not hold is NaN, a place that is no fix is None.

    Attributes:
        near: the place that was reported, fix or not.
        at: the same where the fix is good.
    """

    time_ms: int
    near: Point
    at: Point | None
    speed_kmh: float = math.nan
    load_t: float = math.nan
    ignition: float = math.nan


def away(at: Point | None, sites: Sequence[Ring], margin_m: float) -> bool:
    """Say whether a truck is surely outside all its sites."""
    return at is not None and not any(inside_ring(at, ring) or from_line(at, ring) <= margin_m for ring in sites)


@dataclass
class _Stopper:
    sites: list[Ring]
    phase: str = "rest"
    onset_ms: int = 0
    back_ms: int | None = None
    last_ms: int = 0
    near: Point | None = None
    speed_kmh: float = math.nan
    ignition: float = math.nan


class StopTwin:
    """Loaded trucks that stand away from their sites; whether others stand there too is looked at when a step ends.

    Args:
        sites: of every truck that is judged.
        others: trucks that are not judged and may stand near.
    """

    def __init__(
        self, p: OffSiteParams, for_ms: int, keep_ms: int, sites: dict[str, list[Ring]], others: Sequence[str] = ()
    ) -> None:
        self.p, self.for_ms, self.keep_ms = p, for_ms, keep_ms
        self.judged = set(sites)
        self.trucks = {name: _Stopper(rings) for name, rings in sites.items()} | {n: _Stopper([]) for n in others}
        self.said: list[tuple[str, Event, Point | None]] = []  # in this step, unless others explain it

    def reading(self, name: str, seen: Report) -> None:
        """Take in one reading."""
        me, p, now = self.trucks[name], self.p, seen.time_ms
        gap, me.last_ms = now - me.last_ms > GAP_MS, now
        me.near = seen.near
        me.speed_kmh = me.speed_kmh if math.isnan(seen.speed_kmh) else seen.speed_kmh
        me.ignition = me.ignition if math.isnan(seen.ignition) else seen.ignition
        if name not in self.judged:
            return
        stands = seen.load_t > p.loaded_t and seen.speed_kmh < p.stop_kmh and away(seen.at, me.sites, p.site_margin_m)
        drives = seen.speed_kmh >= p.stop_kmh or seen.load_t <= p.loaded_t
        if stands:
            me.back_ms = None
            if me.phase == "rest" or (me.phase == "waiting" and gap):
                me.phase, me.onset_ms = "waiting", now
            if me.phase == "waiting" and now - me.onset_ms >= self.for_ms:
                me.phase = "alert"
                self.said.append((name, Event(active=True, at_ms=now, onset_ms=me.onset_ms), seen.at))
        elif drives and me.phase == "waiting":
            me.phase = "rest"
        elif drives and me.phase == "alert":
            if me.back_ms is None or gap:
                me.back_ms = now
            if now - me.back_ms >= self.keep_ms:
                me.phase = "rest"
                ended = Event(active=False, at_ms=now, onset_ms=me.onset_ms, reason="recovered")
                self.said.append((name, ended, None))

    def end_of_step(self) -> list[tuple[str, Event]]:
        """Tell of what has changed, but for the stops that somebody nearby explains: those go on waiting."""
        out, explained = [], set[str]()
        for name, event, place in self.said:
            if event.active and place is not None and self._company(name, event.at_ms, place):
                explained.add(name)
            elif event.active or name not in explained:
                explained.discard(name)
                out.append((name, event))
        for me in (self.trucks[name] for name in explained):
            if me.phase == "alert":
                me.phase = "waiting" if me.back_ms is None else "rest"
        self.said = []
        return out

    def _company(self, name: str, at_ms: int, place: Point) -> bool:
        """Say whether another truck stands near with its engine running, not at a site of its own, by its last word."""
        return any(
            other != name
            and one.near is not None
            and math.dist(one.near, place) < self.p.peers_m
            and one.speed_kmh < self.p.standing_kmh
            and one.ignition > 0
            and abs(one.last_ms - at_ms) < 2 * MINUTE_MS
            and away(one.near, one.sites, HOME_M)
            for other, one in self.trucks.items()
        )


@dataclass
class HoursTwin:
    """Driving outside the hours of one truck's permits.

    Attributes:
        hours: (from, until) of each permit, minutes of the local day.
        minute: of the local day at a moment.
    """

    p: OffSiteParams
    keep_ms: int
    sites: list[Ring]
    hours: Sequence[tuple[int, int]]
    minute: Callable[[int], int]
    phase: str = "rest"
    onset_ms: int = 0
    back_ms: int | None = None
    last_ms: int = 0
    driven_m: float = 0.0

    def strange(self, time_ms: int) -> bool:
        """Say whether it is neither within the hours of a permit nor within the grace about them."""
        minute = self.minute(time_ms)
        for begin, end in self.hours:
            length = end - begin if end > begin else end - begin + 1440
            if length >= 1440 or (minute - begin + self.p.grace_min) % 1440 < length + 2 * self.p.grace_min:
                return False
        return True

    def reading(self, seen: Report) -> Event | None:
        """Take in one reading."""
        p, now = self.p, seen.time_ms
        passed_ms, self.last_ms = now - self.last_ms, now
        gap, strange = passed_ms > GAP_MS, self.strange(now)
        drives = strange and seen.speed_kmh > p.driving_kmh and away(seen.at, self.sites, p.site_margin_m)
        over = seen.speed_kmh < p.stop_kmh or (self.phase != "rest" and not strange)
        if drives:
            if self.phase == "rest" or (self.phase == "waiting" and gap):
                self.phase, self.onset_ms, self.driven_m = "waiting", now, 0.0
            self.driven_m += min(passed_ms / 1000.0, 60.0) * seen.speed_kmh / 3.6
            self.back_ms = None
            if self.phase == "waiting" and self.driven_m >= p.driven_m:
                self.phase = "alert"
                return Event(active=True, at_ms=now, onset_ms=self.onset_ms)
        elif over and self.phase == "waiting":
            self.phase = "rest"
        elif over and self.phase == "alert":
            if self.back_ms is None or gap:
                self.back_ms = now
            if now - self.back_ms >= self.keep_ms:
                self.phase = "rest"
                return Event(active=False, at_ms=now, onset_ms=self.onset_ms, reason="recovered")
        return None


@dataclass
class TripTwin:
    """The loaded trips of one truck.

    Attributes:
        way_m: length of its permitted ways.
        seen_ms: host time at which it was last heard, or since which anybody listens.
    """

    p: TripParams
    keep_ms: int
    sites: list[Ring]
    way_m: float
    left_ms: int | None = None
    longest_s: float = 0.0
    trips: int = 0
    alert: bool = False
    onset_ms: int = 0
    back_ms: int | None = None
    last_ms: int = 0
    seen_ms: int = 0

    def too_long_s(self) -> float:
        """Return after how many seconds a trip is missed."""
        usual = self.longest_s if self.trips >= 4 else self.way_m / (self.p.pace_kmh / 3.6)
        return max(self.p.times * usual, self.p.least_ms / 1000.0)

    def reading(self, seen: Report, now_ms: int) -> Event | None:
        """Take in one reading that arrives at ``now_ms``."""
        p, now = self.p, seen.time_ms
        gap, self.last_ms, self.seen_ms = now - self.last_ms > GAP_MS, now, now_ms
        outside = away(seen.at, self.sites, p.site_margin_m)
        if self.left_ms is None:
            if outside and seen.load_t > p.loaded_t:
                self.left_ms = now
        elif (seen.at is not None and not outside) or seen.load_t < p.loaded_t / 2:
            if not seen.load_t < p.loaded_t / 2 and not self.alert:  # it has brought its load to a site
                self.longest_s = max((now - self.left_ms) / 1000.0, 0.98 * self.longest_s)
                self.trips += 1
            self.left_ms = None
        if not self.alert or self.left_ms == self.onset_ms:
            return None
        if self.back_ms is None or gap:
            self.back_ms = now
        if now - self.back_ms < self.keep_ms:
            return None
        self.alert, self.back_ms = False, None
        return Event(active=False, at_ms=now, onset_ms=self.onset_ms, reason="recovered")

    def tick(self, now_ms: int) -> Event | None:
        """Let time pass."""
        if self.alert and now_ms - self.seen_ms >= DAY_MS:
            self.alert, self.left_ms = False, None  # nobody knows what became of the trip
            return Event(active=False, at_ms=now_ms, onset_ms=self.onset_ms, reason="data_lost")
        if self.left_ms is None or self.alert or (now_ms - self.left_ms) / 1000.0 <= self.too_long_s():
            return None
        self.alert, self.onset_ms, self.back_ms = True, self.left_ms, None
        return Event(active=True, at_ms=now_ms, onset_ms=self.onset_ms)
