"""Dead reckoning: is a position believable, given the speed and heading that the vehicle itself measured?

A receiver between tall houses may shift its position by a hundred metres within a second and keep it there for a
minute, while its speed and heading, taken from the Doppler shift, stay true. A reference carried forward by speed and
heading tells such fixes from driving (docs/sources.md: five to eight times fewer false alerts at no delay).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

KMH = 3.6  # km/h a m/s
BLIND_MS = 3_600_000  # speed and heading that contradicted the positions for so long as to be overruled are not heeded
_REFERENCE = ("ref_e", "ref_n", "ref_ms", "vel_e", "vel_n")
_ONE_TURN_S = 15.0  # an interval up to the usual report holds one turn; a longer one may hold several


@dataclass(frozen=True, slots=True)
class GateParams:
    """Settings of the gate.

    Attributes:
        gate_m: a fix this near the reference is believed.
        blend: share by which the reference moves towards a believed fix on the permitted way,
        blend_away: and towards one beside it: a burst of bias is over before it has drawn the reference along.
        shock_m: a fix this far from the reference (more where speed or heading changed) is a shock, believed or not:
            what follows it may be a burst.
        resync_ms: after rejecting for so long the position is taken as it is.
        gap_ms: after so long without a fix the position is taken as it is.
        max_kmh: highest believable speed, the only test for vehicles that report no speed.
        standing_kmh: a speed below this is standing.
        anchor_m: without reported speed, movement is counted in steps of at least this, each faster than standing:
            a receiver drifts less far and more slowly.
    """

    gate_m: float = 60.0
    blend: float = 0.3
    blend_away: float = 0.1
    shock_m: float = 45.0
    resync_ms: int = 480_000
    gap_ms: int = 90_000
    max_kmh: float = 160.0
    standing_kmh: float = 3.0
    anchor_m: float = 30.0


@dataclass(slots=True)
class Fixes:
    """Usable fixes, one a vehicle: (n,) each.

    Attributes:
        truck: vehicle's row in the state.
        time_ms: device time.
        east, north: local metres.
        speed: m/s, NaN where not reported.
        heading: radians clockwise from north, NaN where not reported.
        narrow: share of the corridor's width that this fix deserves, for a receiver that errs little; None: all of it.
    """

    truck: npt.NDArray[np.intp]
    time_ms: Ints
    east: Floats
    north: Floats
    speed: Floats
    heading: Floats
    narrow: Floats | None = None

    def at(self, rows: npt.NDArray[np.intp] | slice) -> Fixes:
        """Return the fixes of some rows."""
        where = self.east[rows], self.north[rows]
        narrow = None if self.narrow is None else self.narrow[rows]
        return Fixes(self.truck[rows], self.time_ms[rows], *where, self.speed[rows], self.heading[rows], narrow)


class Reckoning:
    """The reference position of every vehicle, and the gate about it.

    Attributes:
        state: arrays (m,) by name: ``ref_e ref_n`` m, ``vel_e vel_n`` m/s (NaN unknown), ``ref_ms``,
            ``reject_ms`` start of the present run of rejects, ``blind_ms`` until when reported speed is not heeded,
            ``anchor_e anchor_n`` m with ``anchor_ms``, ``shock_ms`` of the last shock.
        resyncs: times that a position was taken over after ``resync_ms`` of rejects.
    """

    def __init__(self, trucks: int, params: GateParams) -> None:
        self.params = params
        self.resyncs = 0
        nothing = np.full(trucks, np.nan)
        self.state: dict[str, npt.NDArray[Any]] = {
            name: nothing.copy() for name in ("ref_e", "ref_n", "vel_e", "vel_n", "anchor_e", "anchor_n")
        }
        self.state["ref_ms"] = np.zeros(trucks, np.int64)
        self.state["reject_ms"] = np.zeros(trucks, np.int64)
        self.state["anchor_ms"] = np.zeros(trucks, np.int64)
        self.state["blind_ms"] = np.zeros(trucks, np.int64)
        self.state["shock_ms"] = np.zeros(trucks, np.int64)

    def run(self, fixes: Fixes, lanes: int) -> Run:
        """Return dead reckoning of some fixes that stand turn by turn, as alerts/sight.py lays them out.

        Args:
            fixes: each later than its vehicle's last.
            lanes: how many vehicles there are, those of the first turn.
        """
        return Run(self, fixes, fixes.truck[:lanes])

    def judge(self, fixes: Fixes, near: Mask) -> tuple[Mask, Floats, Floats]:
        """Return which fixes of one turn are believed, and what :meth:`Run.driven` says of them."""
        run = self.run(fixes, len(fixes.truck))
        believed = run.believe(0, len(fixes.truck), near)
        driven, loose = run.driven(0, len(fixes.truck), believed)
        run.close()
        return believed, driven, loose


class Run:
    """Dead reckoning of a few turns of fixes; what is remembered stands in the order of the vehicles meanwhile.

    Attributes:
        state: arrays (vehicles,) as :class:`Reckoning` has them, of the vehicles of the first turn.
    """

    def __init__(self, of: Reckoning, fixes: Fixes, truck: npt.NDArray[np.intp]) -> None:
        self._of, self._fixes, self._truck = of, fixes, truck
        self.state = {name: column[truck] for name, column in of.state.items()}
        self._turn: tuple[Floats, Floats, Floats, Mask | None, Floats, Floats]
        self._velocities()

    def _velocities(self) -> None:
        """Work out what each fix says of its vehicle's velocity, m/s; NaN where that is unknown or not heeded."""
        f, p = self._fixes, self._of.params
        heeded = f.time_ms >= self._of.state["blind_ms"][f.truck]
        speed = f.speed if np.count_nonzero(heeded) == len(heeded) else np.where(heeded, f.speed, np.nan)
        moving = np.where(speed * KMH < p.standing_kmh, 0.0, speed)
        stands = moving == 0.0
        self._moving = moving
        self._east = np.where(stands, 0.0, moving * np.sin(f.heading))
        self._north = np.where(stands, 0.0, moving * np.cos(f.heading))
        self._reported = ~np.isnan(self._east)
        self._every = np.count_nonzero(self._reported) == len(self._reported)

    def close(self) -> None:
        """Write down what is to be remembered."""
        for name, column in self._of.state.items():
            column[self._truck] = self.state[name]

    def believe(self, first: int, end: int, near: Mask | None) -> Mask:
        """Return which fixes of the next turn are believed.

        Args:
            first, end: the turn.
            near: fixes on their permitted way: believed in any case, for a truck is likelier there than elsewhere;
                None for none.
        """
        p, s, size = self._of.params, self.state, end - first
        east, north, now = self._fixes.east[first:end], self._fixes.north[first:end], self._fixes.time_ms[first:end]
        at_e, at_n, slack = self._expect(first, end)
        reported = self._turn[3]
        off_e, off_n = east - at_e, north - at_n
        residual = np.sqrt(off_e * off_e + off_n * off_n)
        believed: Mask = residual <= p.gate_m + slack
        shocked = residual > p.shock_m + slack / 2
        if reported is not None:
            shocked &= reported
        if np.count_nonzero(shocked):
            s["shock_ms"][:size][shocked] = now[shocked]
        # What remains of the difference stays within half the gate, or one wide turn would lock the vehicle out.
        keep = p.gate_m / 2 / np.maximum(residual, 1e-9)
        if near is None:
            keep = np.minimum(1.0 - p.blend_away, keep)
        else:
            believed |= near
            keep = np.minimum(np.where(near, 1.0 - p.blend, 1.0 - p.blend_away), keep)
            keep[near & (residual > p.gate_m)] = 0.0
        if reported is not None:
            keep[~reported] = 0.0
        if np.count_nonzero(believed) == size:
            s["reject_ms"][:size] = 0
            self._refer(first, end, east - keep * off_e, north - keep * off_n)
            return believed
        expired = self._reject(believed, now, s["reject_ms"][:size])
        believed |= expired
        keep[expired] = 0.0
        at_e, at_n = np.where(believed, east - keep * off_e, at_e), np.where(believed, north - keep * off_n, at_n)
        self._refer(first, end, at_e, at_n, None if reported is None else ~believed & ~reported)
        return believed

    def _expect(self, first: int, end: int) -> tuple[Floats, Floats, Floats]:
        """Return where each vehicle of a turn is by dead reckoning, metres, and how far off that may be."""
        p, s, size = self._of.params, self.state, end - first
        now, moving = self._fixes.time_ms[first:end], self._moving[first:end]
        new_e, new_n = self._east[first:end], self._north[first:end]
        reported = None if self._every else self._reported[first:end]
        ref_e, ref_n, ref_ms, vel_e, vel_n = (s[name][:size] for name in _REFERENCE)
        passed = now - ref_ms
        fresh = (ref_ms == 0) | (passed > p.gap_ms)
        dt = np.where(fresh, 0.0, passed / 1000.0)
        unknown = np.isnan(vel_e)
        old_e, old_n = np.where(unknown, new_e, vel_e), np.where(unknown, new_n, vel_n)
        mean_e, mean_n = (old_e + new_e) / 2, (old_n + new_n) / 2
        turned = np.sqrt((new_e - old_e) ** 2 + (new_n - old_n) ** 2)
        if reported is not None:
            mean_e, mean_n = np.where(reported, mean_e, 0.0), np.where(reported, mean_n, 0.0)
        pace = np.sqrt(mean_e**2 + mean_n**2)
        # One change of velocity at an unknown moment of the interval displaces by at most |dv| dt / 2.
        slack = turned * dt / 2 + np.maximum(dt - _ONE_TURN_S, 0.0) * pace / 2
        if reported is not None:
            slack = np.where(reported, slack, np.where(np.isnan(moving), p.max_kmh / KMH, moving) * dt)
        self._turn = np.sqrt(old_e**2 + old_n**2), moving, dt, reported, new_e, new_n
        east, north = self._fixes.east[first:end], self._fixes.north[first:end]
        return np.where(fresh, east, ref_e + mean_e * dt), np.where(fresh, north, ref_n + mean_n * dt), slack

    def _refer(self, first: int, end: int, east: Floats, north: Floats, wait: Mask | None = None) -> None:
        """Take over the turn's references; where ``wait``, without a velocity, their time stays: the reach grows."""
        now, (*_, new_e, new_n) = self._fixes.time_ms[first:end], self._turn
        ref_e, ref_n, ref_ms, vel_e, vel_n = (self.state[name][: end - first] for name in _REFERENCE)
        ref_e[:], ref_n[:] = east, north
        if wait is None:
            vel_e[:], vel_n[:], ref_ms[:] = new_e, new_n, now
        else:
            vel_e[:], vel_n[:] = np.where(wait, np.nan, new_e), np.where(wait, np.nan, new_n)
            ref_ms[:] = np.where(wait, ref_ms, now)

    def _reject(self, believed: Mask, now: Ints, reject_ms: Ints) -> Mask:
        """Count how long fixes have been rejected; return where that is so long that they are taken as they are."""
        since = np.where(believed, 0, np.where(reject_ms == 0, now, reject_ms))
        expired: Mask = ~believed & (now - since >= self._of.params.resync_ms)
        reject_ms[:] = np.where(expired, 0, since)
        if np.count_nonzero(expired):
            lane = expired.nonzero()[0]
            self._of.resyncs += len(lane)
            self.state["blind_ms"][lane] = self._of.state["blind_ms"][self._truck[lane]] = now[lane] + BLIND_MS
            self.state["shock_ms"][lane] = 0  # no burst lasts so long
            self._velocities()
        return expired

    def driven(self, first: int, end: int, believed: Mask) -> tuple[Floats, Floats]:
        """Return metres driven since each vehicle's last fix, and metres not yet counted, of the turn just believed.

        Without reported speed movement is counted in steps of ``anchor_m``; the way since the last step is the second
        value: it may be looked at, but not added up, or standing still would add up its drift.
        """
        before, moving, dt, reported, *_ = self._turn
        driven = (before + moving) / 2 * dt
        stepped, loose = self._stepped(first, end, believed)
        if reported is None:
            return driven, np.zeros(end - first)
        return np.where(reported, driven, stepped), np.where(reported, 0.0, loose)

    def _stepped(self, first: int, end: int, believed: Mask) -> tuple[Floats, Floats]:
        """Return metres from the anchor for vehicles that have left it behind, for the others what they are from it."""
        p, s, size = self._of.params, self.state, end - first
        east, north, now = self._fixes.east[first:end], self._fixes.north[first:end], self._fixes.time_ms[first:end]
        anchor_e, anchor_n, anchor_ms = (s[name][:size] for name in ("anchor_e", "anchor_n", "anchor_ms"))
        step = np.sqrt((east - anchor_e) ** 2 + (north - anchor_n) ** 2)
        slowest_m = (now - anchor_ms) / 1000.0 * p.standing_kmh / KMH
        left, none = step >= p.anchor_m, np.isnan(step)
        moves = believed & (left | (slowest_m >= p.anchor_m) | none)
        np.copyto(anchor_e, east, where=moves)
        np.copyto(anchor_n, north, where=moves)
        np.copyto(anchor_ms, now, where=moves)
        step[none] = 0.0
        counted = moves & left & (step >= slowest_m)
        return np.where(counted, step, 0.0), np.where(moves, 0.0, step)

    def drop_anchor(self, lane: npt.NDArray[np.intp], fixes: Fixes) -> None:
        """Count movement of the vehicles of some lanes from these fixes."""
        for name, column in (("anchor_e", fixes.east), ("anchor_n", fixes.north), ("anchor_ms", fixes.time_ms)):
            self.state[name][lane] = column
