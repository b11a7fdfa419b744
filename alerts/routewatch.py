"""The core of the route deviation rule: fixes in, trucks that left or came back out, in plain columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from alerts.corridor import Corridors, Sites, ragged
from alerts.reckoning import Fixes, Reckoning, Run
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
        left: (lon, lat) of the first fix outside, degrees.
    """

    truck: int
    active: bool
    at_ms: int
    onset_ms: int
    distance_m: float
    outside_ms: int
    outside_m: float
    reason: str = ""
    left: tuple[float, float] = (float("nan"), float("nan"))


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
        self._most = int(per_truck.max(initial=0))
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
        self._share = params.off_m / params.on_m
        clear = (params.sharp_m + params.per_hdop_m * params.open_hdop) / params.on_m
        self._clear = clear if clear < 1.0 else 0.0
        trucks = len(permits)
        self.reckoning = Reckoning(trucks, params.gate)
        self.hint = np.full(len(flat), -1, dtype=np.int64)
        self.state: dict[str, npt.NDArray[Any]] = {
            "phase": np.zeros(trucks, np.int8),
            "unsure": np.zeros(trucks, np.int8),
            **{name: np.zeros(trucks, np.int64) for name in ("last_ms", "onset_ms", "outside_ms", "back_ms")},
            **{name: np.zeros(trucks) for name in ("outside_m", "loose_m", "last_e", "last_n", "distance_m")},
            "left_e": np.full(trucks, np.nan),
            "left_n": np.full(trucks, np.nan),
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
        return self.turns(fixes, (0, len(fixes.truck)), poor)

    def turns(self, fixes: Fixes, cuts: Sequence[int], poor: int = 0) -> list[Verdict]:
        """Judge usable fixes laid out turn by turn as in alerts/sight.py; ``cuts`` is where turns begin."""
        self.counts["poor"] += poor
        if not len(fixes.truck):
            return []
        valid = self._permitted(fixes)
        without = len(valid) - int(np.count_nonzero(valid))
        if not without:
            return self._judge(fixes, cuts)
        self.counts["no_permit"] += without
        some, lacking = np.zeros((2, len(self._first)), dtype=np.bool_)
        some[fixes.truck[valid]], lacking[fixes.truck[~valid]] = True, True
        never = (~some[fixes.truck[: cuts[1]]]).nonzero()[0]
        verdicts = self._permit_ended(fixes.at(never))
        rows = (some & ~lacking)[fixes.truck].nonzero()[0]
        if len(rows):
            verdicts += self._judge(fixes.at(rows), np.unique(np.searchsorted(rows, cuts)).tolist())
        for row in (some & lacking)[fixes.truck].nonzero()[0].tolist():  # a permit has begun or ended meanwhile
            one = fixes.at(slice(row, row + 1))
            verdicts += self._judge(one, (0, 1)) if valid[row] else self._permit_ended(one)
        return verdicts

    def _judge(self, fixes: Fixes, cuts: Sequence[int]) -> list[Verdict]:
        """Judge fixes of trucks that have a permit at the time."""
        run = self.reckoning.run(fixes, cuts[1])
        told = [verdict for first, end in pairwise(cuts) for verdict in self._turn(fixes, run, first, end)]
        run.close()
        return told

    def _turn(self, whole: Fixes, run: Run, first: int, end: int) -> list[Verdict]:
        s, fixes = self.state, whole.at(slice(first, end))
        distance, ratio = self._off_route(fixes)
        near = ratio <= self._share
        believed = run.believe(first, end, near)
        moved = run.driven(first, end, believed)
        judged = int(np.count_nonzero(believed))
        self.counts["disbelieved"] += len(believed) - judged
        self.counts["judged"] += judged
        out: list[Verdict] = []
        lane = (believed & (~near | (s["phase"][fixes.truck] != INSIDE))).nonzero()[0]
        if len(lane):  # the others are on their way and were before
            held, distance, ratio = fixes.at(lane), distance[lane], ratio[lane]
            self._reckon(held, distance, ratio, run, lane)
            out = self._advance(held, distance, ratio, (moved[0][lane], moved[1][lane]), run, lane)
        if judged < len(believed):
            fixes = fixes.at(believed.nonzero()[0])
        truck = fixes.truck
        s["last_ms"][truck], s["last_e"][truck], s["last_n"][truck] = fixes.time_ms, fixes.east, fixes.north
        return out

    def _reckon(
        self, fixes: Fixes, distance: Floats, ratio: Floats, run: Run, lane: npt.NDArray[np.intp]
    ) -> None:  # fmt: skip
        """Where dead reckoning puts a truck nearer to its route than the fix does, take its word, in place.

        A burst within the gate draws the reference after it only bit by bit; a truck that drives away takes it along.
        """
        doubtful = ((ratio > self._share) & ~np.isnan(fixes.speed)).nonzero()[0]
        if not len(doubtful):
            return
        held = fixes.at(doubtful)
        held.east, held.north = run.state["ref_e"][lane[doubtful]], run.state["ref_n"][lane[doubtful]]
        found, relative = self._off_route(held, remember=False)
        nearer = relative < ratio[doubtful]
        distance[doubtful[nearer]] = found[nearer]
        ratio[doubtful[nearer]] = relative[nearer]

    def _off_route(self, fixes: Fixes, *, remember: bool = True) -> tuple[Floats, Floats]:
        """Return metres from the nearest valid permitted route, and the same over its half width."""
        if self._most == 1:
            distance = self._from_permit(fixes, self._first[fixes.truck], remember=remember)
            ratio = distance / self._on[self._first[fixes.truck]]
        else:
            distance, ratio = self._from_any(fixes, remember=remember)
        if fixes.narrow is not None:
            ratio /= fixes.narrow
        return distance, ratio

    def _from_any(self, fixes: Fixes, *, remember: bool) -> tuple[Floats, Floats]:
        """Look at one permit of each truck after the other."""
        distance, ratio = np.full(len(fixes.truck), np.inf), np.full(len(fixes.truck), np.inf)
        minute = fixes.time_ms if self._any_hour else self.local_minute(fixes.time_ms)
        first, last = self._first[fixes.truck], self._last[fixes.truck]
        for number in range(int((last - first).max(initial=-1)) + 1):
            here = (first + number <= last).nonzero()[0]
            permit = first[here] + number
            ok = self._valid(permit, fixes.time_ms[here], minute[here])
            here, permit = here[ok], permit[ok]
            found = self._from_permit(fixes.at(here), permit, remember=remember)
            relative = found / self._on[permit]
            better = relative < ratio[here]
            distance[here[better]] = found[better]
            ratio[here[better]] = relative[better]
        return distance, ratio

    def _from_permit(self, fixes: Fixes, permit: Ints, *, remember: bool) -> Floats:
        """Return metres from the routes of permits, 0 inside their sites."""
        near = self._on[permit] * self._share
        found, segment = self.corridors.nearest(permit, fixes.east, fixes.north, self.hint[permit], near)
        if remember:
            self.hint[permit] = segment
        away = (found > near).nonzero()[0]
        if len(away):
            margin_m = self.params.site_margin_m
            at_site = self.sites.holds(permit[away], fixes.east[away], fixes.north[away], margin_m)
            found[away[at_site]] = 0.0
        return found

    def _permitted(self, fixes: Fixes) -> Mask:
        """Return which trucks have a permit at the time of their fix."""
        minute = fixes.time_ms if self._any_hour else self.local_minute(fixes.time_ms)
        first, last = self._first[fixes.truck], self._last[fixes.truck]
        found = self._valid(first, fixes.time_ms, minute)
        for number in range(1, self._most):
            here = (~found & (first + number <= last)).nonzero()[0]
            found[here] = self._valid(first[here] + number, fixes.time_ms[here], minute[here])
        return found

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
        self, fixes: Fixes, distance: Floats, ratio: Floats, moved: tuple[Floats, Floats], run: Run,
        lane: npt.NDArray[np.intp],
    ) -> list[Verdict]:  # fmt: skip
        """Let trucks be outside, long and far enough to be told of, and back; each stands at its lane of the run."""
        (driven, loose), out, back = moved, ratio > 1.0, ratio <= self._share
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
            s["left_e"][begun], s["left_n"][begun] = fixes.east[start], fixes.north[start]
            loose[start] = 0.0
            shock = run.state["shock_ms"][lane[start]]
            s["unsure"][begun] = (shock > 0) & (now[start] - shock <= SHOCK_MS)
            run.drop_anchor(lane[start], fixes.at(start))
        held = s["outside_ms"][truck]
        if fixes.narrow is not None:  # well received: no burst between houses
            s["unsure"][truck[out & (fixes.narrow <= self._clear)]] = 0
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
        for step in range(int((self._last - self._first).max(initial=-1)) + 1):
            here = (self._first[truck[fix]] + step <= self._last[truck[fix]]).nonzero()[0]
            permit = self._first[truck[fix[here]]] + step
            near = self._on[permit] * self._share
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
        lon = self._centre[truck, 0] + s["left_e"] / self._scale[truck]
        lat = self._centre[truck, 1] + s["left_n"] / EARTH_M_PER_DEG
        return Verdict(truck, not reason, at_ms, int(s["onset_ms"]), *numbers, reason, (float(lon), float(lat)))
