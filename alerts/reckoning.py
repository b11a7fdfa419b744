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

    def take(self, chosen: Mask) -> Fixes:
        """Return the chosen fixes; these themselves where all are chosen."""
        if np.count_nonzero(chosen) == len(chosen):
            return self
        return self.at(chosen.nonzero()[0])

    def at(self, rows: npt.NDArray[np.intp]) -> Fixes:
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

    def judge(self, fixes: Fixes, near: Mask) -> tuple[Mask, Floats, Floats]:
        """Return which fixes are believed, metres driven since each vehicle's last fix, and metres not yet counted.

        Args:
            fixes: one a vehicle, later than its last.
            near: fixes on their permitted way: believed in any case, for a truck is likelier there than elsewhere.

        Without reported speed movement is counted in steps of ``anchor_m``; the way since the last step is the third
        value: it may be looked at, but not added up, or standing still would add up its drift.
        """
        p, s = self.params, self.state
        truck = fixes.truck
        ref_ms = s["ref_ms"][truck]
        dt = (fixes.time_ms - ref_ms) / 1000.0
        fresh = (ref_ms == 0) | (fixes.time_ms - ref_ms > p.gap_ms)
        dt = np.where(fresh, 0.0, dt)
        old_e, old_n = s["vel_e"][truck], s["vel_n"][truck]
        heeded = fixes.time_ms >= s["blind_ms"][truck]
        speed = np.where(heeded, fixes.speed, np.nan)
        moving = np.where(speed * KMH < p.standing_kmh, 0.0, speed)
        new_e = np.where(moving == 0.0, 0.0, moving * np.sin(fixes.heading))
        new_n = np.where(moving == 0.0, 0.0, moving * np.cos(fixes.heading))
        reported = ~np.isnan(new_e)
        old_e = np.where(np.isnan(old_e), new_e, old_e)
        old_n = np.where(np.isnan(old_n), new_n, old_n)
        mean_e, mean_n = np.where(reported, (old_e + new_e) / 2, 0.0), np.where(reported, (old_n + new_n) / 2, 0.0)
        turned = np.where(reported, np.sqrt((new_e - old_e) ** 2 + (new_n - old_n) ** 2), 0.0)
        pace = np.sqrt(mean_e**2 + mean_n**2)
        # One change of velocity at an unknown moment of the interval displaces by at most |dv| dt / 2.
        slack = turned * dt / 2 + np.maximum(dt - _ONE_TURN_S, 0.0) * pace / 2
        reach = np.where(np.isnan(moving), p.max_kmh / KMH, moving)
        slack = np.where(reported, slack, reach * dt)
        at_e = np.where(fresh, fixes.east, s["ref_e"][truck] + mean_e * dt)
        at_n = np.where(fresh, fixes.north, s["ref_n"][truck] + mean_n * dt)
        off_e, off_n = fixes.east - at_e, fixes.north - at_n
        residual = np.sqrt(off_e * off_e + off_n * off_n)
        believed = (residual <= p.gate_m + slack) | near
        shocked = reported & (residual > p.shock_m + slack / 2)
        s["shock_ms"][truck[shocked]] = fixes.time_ms[shocked]
        since = np.where(believed, 0, np.where(s["reject_ms"][truck] == 0, fixes.time_ms, s["reject_ms"][truck]))
        expired = ~believed & (fixes.time_ms - since >= p.resync_ms)
        if np.count_nonzero(expired):
            self.resyncs += int(np.count_nonzero(expired))
            s["blind_ms"][truck[expired]] = fixes.time_ms[expired] + BLIND_MS
            s["shock_ms"][truck[expired]] = 0  # no burst lasts so long
            believed = believed | expired
        # What remains of the difference stays within half the gate, or one wide turn would lock the vehicle out.
        keep = np.minimum(np.where(near, 1.0 - p.blend, 1.0 - p.blend_away), p.gate_m / 2 / np.maximum(residual, 1e-9))
        keep = np.where(~believed, 1.0, np.where(reported & ~expired & ~(near & (residual > p.gate_m)), keep, 0.0))
        wait = ~believed & ~reported  # without a velocity the reference and its time stay: the reach grows
        s["ref_e"][truck] = np.where(believed, fixes.east - keep * off_e, at_e)
        s["ref_n"][truck] = np.where(believed, fixes.north - keep * off_n, at_n)
        s["ref_ms"][truck] = np.where(wait, ref_ms, fixes.time_ms)
        s["vel_e"][truck], s["vel_n"][truck] = np.where(wait, np.nan, new_e), np.where(wait, np.nan, new_n)
        s["reject_ms"][truck] = np.where(expired, 0, since)
        speed_before = np.sqrt(old_e**2 + old_n**2)
        stepped, loose = self._stepped(fixes, believed)
        driven = np.where(reported, (speed_before + moving) / 2 * dt, stepped)
        return believed, driven, np.where(reported, 0.0, loose)

    def _stepped(self, fixes: Fixes, believed: Mask) -> tuple[Floats, Floats]:
        """Return metres from the anchor for vehicles that have left it behind, for the others what they are from it."""
        p, s, truck = self.params, self.state, fixes.truck
        step = np.sqrt((fixes.east - s["anchor_e"][truck]) ** 2 + (fixes.north - s["anchor_n"][truck]) ** 2)
        slowest_m = (fixes.time_ms - s["anchor_ms"][truck]) / 1000.0 * p.standing_kmh / KMH
        left = step >= p.anchor_m
        moves = believed & (left | (slowest_m >= p.anchor_m) | np.isnan(step))
        self.drop_anchor(fixes.take(moves))
        step = np.where(np.isnan(step), 0.0, step)
        counted = moves & left & (step >= slowest_m)
        return np.where(counted, step, 0.0), np.where(moves, 0.0, step)

    def drop_anchor(self, fixes: Fixes) -> None:
        """Count movement of these vehicles from here."""
        self.state["anchor_e"][fixes.truck] = fixes.east
        self.state["anchor_n"][fixes.truck] = fixes.north
        self.state["anchor_ms"][fixes.truck] = fixes.time_ms
