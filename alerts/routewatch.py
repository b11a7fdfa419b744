"""The core of the route deviation rule: fixes in, trucks that left or came back out, in plain columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alerts.corridor import Corridors, Sites, ragged
from alerts.reckoning import Fixes, Reckoning
from alerts.route_settings import RouteParams
from devices.geometry import EARTH_M_PER_DEG
from devices.registry import Permit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
LocalMinute = Callable[[Ints], Ints]

INSIDE, OUTSIDE, ALERTED = 0, 1, 2
SHOCK_MS = 60_000  # a way outside that begins so soon after a shock to dead reckoning began with it
_CHORD_STEP_M = 40.0  # half the width of the corridor: a chord that crosses it has a point inside
_CHORD_POINTS = 256


@dataclass(frozen=True, slots=True)
class Verdict:
    """One truck's alert beginning or ending.

    Attributes:
        truck: row among the watched trucks.
        active: begins (True) or ends.
        at_ms, onset_ms: device time of the verdict, and of the first fix outside.
        distance_m: from the permitted route at the verdict.
        outside_ms, outside_m: time and way outside so far.
        reason: why it ended: ``recovered``, ``permit_ended``, ``data_lost``.
    """

    truck: int
    active: bool
    at_ms: int
    onset_ms: int
    distance_m: float
    outside_ms: int
    outside_m: float
    reason: str = ""


class RouteWatch:
    """Every truck with a permit, held to its permitted routes.

    Args:
        permits: for each watched truck its permits, at least one. Each truck has its own local metres, about the
            middle of its routes, so that distances stay true however wide the city or the province.
        local_minute: minute of the local day of times in epoch milliseconds.

    Attributes:
        counts: fixes ``judged``, ``no_permit`` (none valid at that time), ``poor`` (bad or no position),
            ``disbelieved`` (rejected by the gate).
    """

    def __init__(
        self,
        permits: Sequence[Sequence[Permit]],
        local_minute: LocalMinute,
        params: RouteParams,
    ) -> None:
        self.params = params
        self.local_minute = local_minute
        flat = [permit for group in permits for permit in group]
        per_truck = np.array([len(group) for group in permits], dtype=np.int64)
        self._last = np.cumsum(per_truck) - 1
        self._first = self._last - per_truck + 1
        ways = [np.concatenate([np.array(p.route, dtype=np.float64) for p in group]) for group in permits]
        self._centre = np.array([(way.min(axis=0) + way.max(axis=0)) / 2 for way in ways]).reshape(-1, 2)
        self._scale = EARTH_M_PER_DEG * np.cos(np.radians(self._centre[:, 1]))
        owner = np.repeat(np.arange(len(permits)), per_truck).tolist()
        self.corridors = Corridors([self._line(t, p.route) for t, p in zip(owner, flat, strict=True)])
        rings = [[self._line(t, ring) for ring in p.sites] for t, p in zip(owner, flat, strict=True)]
        self.sites = Sites(rings)
        self._from = np.array([p.valid_from_ms for p in flat], dtype=np.int64)
        until = np.array([p.valid_until_ms for p in flat], dtype=np.int64)
        self._until = np.where(until > 0, until, np.iinfo(np.int64).max)
        self._open = np.array([p.hours[0] for p in flat], dtype=np.int64)
        self._close = np.array([p.hours[1] for p in flat], dtype=np.int64)
        self._always = self._close - self._open >= 1440
        self._any_hour = bool(self._always.all())
        width = np.array([p.corridor_m for p in flat], dtype=np.float64)
        self._on = np.where(width > 0, width, params.on_m)
        trucks = len(permits)
        self.reckoning = Reckoning(trucks, params.gate)
        self.hint = np.full(len(flat), -1, dtype=np.int64)
        self.state: dict[str, npt.NDArray[Any]] = {
            "phase": np.zeros(trucks, np.int8),
            "unsure": np.zeros(trucks, np.int8),
            **{name: np.zeros(trucks, np.int64) for name in ("last_ms", "onset_ms", "outside_ms", "back_ms")},
            **{name: np.zeros(trucks) for name in ("outside_m", "loose_m", "last_e", "last_n", "distance_m")},
        }
        self.counts = dict.fromkeys(("judged", "no_permit", "poor", "disbelieved"), 0)

    def _line(self, truck: int, points: Sequence[tuple[float, float]]) -> tuple[Floats, Floats]:
        table = np.array(points, dtype=np.float64)
        return self.to_metres(np.full(len(table), truck), table[:, 0], table[:, 1])

    def to_metres(self, truck: npt.NDArray[np.intp], lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
        """Return metres east and north of the middle of each truck's routes, for positions in degrees."""
        across = np.remainder(lon - self._centre[truck, 0] + 180.0, 360.0) - 180.0
        return across * self._scale[truck], (lat - self._centre[truck, 1]) * EARTH_M_PER_DEG

    def step(self, fixes: Fixes, poor: int = 0) -> list[Verdict]:
        """Judge usable fixes, at most one a truck; ``poor`` is how many were passed over for their quality."""
        self.counts["poor"] += poor
        distance, ratio, valid = self._off_route(fixes)
        without = len(valid) - int(np.count_nonzero(valid))
        self.counts["no_permit"] += without
        verdicts: list[Verdict] = []
        if without:
            verdicts = self._permit_ended(fixes.take(~valid))
            fixes, distance, ratio = fixes.take(valid), distance[valid], ratio[valid]
        share = self.params.off_m / self.params.on_m
        believed, driven, loose = self.reckoning.judge(fixes, ratio <= share)
        judged = int(np.count_nonzero(believed))
        self.counts["disbelieved"] += len(believed) - judged
        self.counts["judged"] += judged
        if judged < len(believed):
            fixes, distance, ratio = fixes.take(believed), distance[believed], ratio[believed]
            driven, loose = driven[believed], loose[believed]
        self._reckon(fixes, distance, ratio)
        return verdicts + self._advance(fixes, distance, ratio > 1.0, ratio <= share, (driven, loose))

    def _reckon(self, fixes: Fixes, distance: Floats, ratio: Floats) -> None:
        """Where dead reckoning puts a truck nearer to its route than the fix does, take its word, in place.

        A burst within the gate draws the reference after it only bit by bit; a truck that drives away takes it along.
        """
        doubtful = ((ratio > self.params.off_m / self.params.on_m) & ~np.isnan(fixes.speed)).nonzero()[0]
        if not len(doubtful):
            return
        held = fixes.at(doubtful)
        held.east = self.reckoning.state["ref_e"][held.truck]
        held.north = self.reckoning.state["ref_n"][held.truck]
        found, relative, _ = self._off_route(held, remember=False)
        nearer = relative < ratio[doubtful]
        distance[doubtful[nearer]] = found[nearer]
        ratio[doubtful[nearer]] = relative[nearer]

    def _off_route(self, fixes: Fixes, *, remember: bool = True) -> tuple[Floats, Floats, Mask]:
        """Return metres from the nearest valid permitted route, the same over its half width, and if any is valid."""
        count = len(fixes.truck)
        distance, ratio = np.full(count, np.inf), np.full(count, np.inf)
        valid = np.zeros(count, dtype=bool)
        share = self.params.off_m / self.params.on_m
        minute = fixes.time_ms if self._any_hour else self.local_minute(fixes.time_ms)
        first, last = self._first[fixes.truck], self._last[fixes.truck]
        for number in range(int((last - first).max(initial=-1)) + 1):
            here = (first + number <= last).nonzero()[0]
            permit = first[here] + number
            ok = self._valid(permit, fixes.time_ms[here], minute[here])
            here, permit = here[ok], permit[ok]
            valid[here] = True
            near = self._on[permit] * share
            where = (fixes.east[here], fixes.north[here])
            found, segment = self.corridors.nearest(permit, *where, self.hint[permit], near)
            if remember:
                self.hint[permit] = segment
            away = (found > near).nonzero()[0]
            at_site = self.sites.holds(permit[away], where[0][away], where[1][away], self.params.site_margin_m)
            found[away[at_site]] = 0.0
            relative = found / self._on[permit]
            better = relative < ratio[here]
            distance[here[better]] = found[better]
            ratio[here[better]] = relative[better]
        if fixes.narrow is not None:
            ratio /= fixes.narrow
        return distance, ratio, valid

    def _valid(self, permit: Ints, time_ms: Ints, minute: Ints) -> Mask:
        dated = (time_ms >= self._from[permit]) & (time_ms < self._until[permit])
        if self._any_hour:
            return dated
        start, end = self._open[permit], self._close[permit]
        day = (minute >= start) & (minute < end)
        night = (minute >= start) | (minute < end)
        hours = self._always[permit] | np.where(start <= end, day, night)
        return hours & dated

    def _permit_ended(self, fixes: Fixes) -> list[Verdict]:
        s, truck = self.state, fixes.truck
        ended = (s["phase"][truck] == ALERTED).nonzero()[0]
        out = [self._verdict(int(truck[i]), int(fixes.time_ms[i]), "permit_ended") for i in ended]
        s["phase"][truck] = INSIDE
        s["last_ms"][truck] = 0
        return out

    def _advance(
        self, fixes: Fixes, distance: Floats, out: Mask, back: Mask, moved: tuple[Floats, Floats]
    ) -> list[Verdict]:
        driven, loose = moved
        p, s, truck, now = self.params, self.state, fixes.truck, fixes.time_ms
        s["distance_m"][truck] = distance
        phase = s["phase"][truck]
        since = np.where(s["last_ms"][truck] == 0, 0, now - s["last_ms"][truck])
        gap = since > p.gate.gap_ms
        away = ((phase != INSIDE) & ~back).nonzero()[0]
        if len(away):  # time and way outside, for pending and active alike
            chord = np.where(gap[away], self._chord(fixes.at(away)), 0.0)
            lost = away[np.isnan(chord)]  # it may have been back meanwhile: a pending one begins again
            phase[lost[phase[lost] == OUTSIDE]] = INSIDE
            s["outside_ms"][truck[away]] += np.where(np.isnan(chord), 0, np.minimum(since[away], p.gate.gap_ms))
            s["outside_m"][truck[away]] += np.where(np.isnan(chord), 0.0, driven[away] + chord)
        phase[(phase == OUTSIDE) & back] = INSIDE
        start = ((phase == INSIDE) & out).nonzero()[0]
        if len(start):
            phase[start] = OUTSIDE
            begun = truck[start]
            s["onset_ms"][begun] = now[start]
            s["outside_ms"][begun] = 0
            s["outside_m"][begun] = 0.0
            s["back_ms"][begun] = 0
            loose[start] = 0.0
            shock = self.reckoning.state["shock_ms"][begun]
            s["unsure"][begun] = (shock > 0) & (now[start] - shock <= SHOCK_MS)
            self.reckoning.drop_anchor(fixes.at(start))
        held = s["outside_ms"][truck]
        unsure = s["unsure"][truck] > 0
        near_ms, far_ms = np.where(unsure, p.unsure_ms, p.for_ms), np.where(unsure, p.for_ms, p.far_for_ms)
        long = (held >= near_ms) | ((held >= far_ms) & (distance >= p.far_m))
        s["loose_m"][truck] = loose
        far_enough = s["outside_m"][truck] + loose >= p.travelled_m
        fire = (phase == OUTSIDE) & out & long & far_enough
        phase[fire] = ALERTED
        clock = s["back_ms"][truck]
        returned = (phase == ALERTED) & back
        clock = np.where(returned, np.where((clock == 0) | gap, now, clock), 0)
        clear = returned & (now - clock >= p.keep_ms)
        phase[clear] = INSIDE
        s["back_ms"][truck] = clock
        s["phase"][truck] = phase
        s["last_ms"][truck] = now
        s["last_e"][truck], s["last_n"][truck] = fixes.east, fixes.north
        changed = (fire | clear).nonzero()[0]
        return [self._verdict(int(truck[i]), int(now[i]), "" if fire[i] else "recovered") for i in changed]

    def _chord(self, fixes: Fixes) -> Floats:
        """Return metres of the straight line from each truck's last fix, NaN where it meets the corridor."""
        s, truck = self.state, fixes.truck
        from_e, from_n = s["last_e"][truck], s["last_n"][truck]
        length: Floats = np.sqrt((fixes.east - from_e) ** 2 + (fixes.north - from_n) ** 2)
        gap = fixes.time_ms - s["last_ms"][truck] > self.params.gate.gap_ms
        points = np.where(gap, np.clip(length / _CHORD_STEP_M, 1, _CHORD_POINTS).astype(np.int64), 0)
        fix, number = ragged(np.ones(len(points), np.int64), points)
        if not len(fix):
            return length
        share = number / (points[fix] + 1)
        east = from_e[fix] + share * (fixes.east - from_e)[fix]
        north = from_n[fix] + share * (fixes.north - from_n)[fix]
        off = self.params.off_m / self.params.on_m
        for step in range(int((self._last - self._first).max(initial=-1)) + 1):
            here = (self._first[truck[fix]] + step <= self._last[truck[fix]]).nonzero()[0]
            permit = self._first[truck[fix[here]]] + step
            near = self._on[permit] * off
            none = np.full(len(here), -1, dtype=np.int64)
            found, _ = self.corridors.nearest(permit, east[here], north[here], none, near)
            length[fix[here[found <= near]]] = np.nan
        return length

    def lost(self, seen_ms: Ints, now_ms: int) -> list[Verdict]:
        """End the alerts of trucks last heard at ``seen_ms`` (host time) so long ago that nothing is known."""
        gone = ((self.state["phase"] == ALERTED) & (now_ms - seen_ms >= self.params.hold_ms)).nonzero()[0]
        out = [self._verdict(int(i), now_ms, "data_lost") for i in gone]
        self.state["phase"][gone] = INSIDE
        self.state["last_ms"][gone] = 0
        return out

    def _verdict(self, truck: int, at_ms: int, reason: str) -> Verdict:
        s = {name: column[truck] for name, column in self.state.items()}
        numbers = (float(s["distance_m"]), int(s["outside_ms"]), float(s["outside_m"] + s["loose_m"]))
        return Verdict(truck, not reason, at_ms, int(s["onset_ms"]), *numbers, reason)
