"""Simulated muck trucks: they load, drive their permitted way, dump, come back, and sleep in the depot by day.

A night of the whole fleet is laid down at once (simulators/shift.py, simulators/errands.py) and handed out as time
passes, so that what is sent never depends on the steps in which time is handed in.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from devices.registry import Registry
from devices.sky import Sky
from simulators.driving import Tracks
from simulators.errands import LAST_LOAD_MIN, Errands
from simulators.faults import EFFECTS, Fault, FaultBook
from simulators.haulage import LOAD_T, Haul
from simulators.machine import Form, Ints, Reports
from simulators.network import Network
from simulators.receiver import CALM, Air
from simulators.shift import Shift
from simulators.strays import Compound
from simulators.terminals import Night, Terminals

__all__ = ["LAST_LOAD_MIN", "Trucks"]

STEP_S = 5
SLEEP = 4  # a parked truck's terminal reports this many times more seldom (JT/T 808 parameter 0x0027)
_DAY_MS = 86_400_000
_FORM = Form(
    "truck",
    lon_deg="%.6f",
    lat_deg="%.6f",
    altitude_m="%.0f",
    speed_kmh="%.1f",
    heading_deg="%.0f",
    hdop="%.1f",
    satellites="%d",
    odometer_km="%.1f",
    ignition="%d",
    cover_closed="%d",
    bed_angle_deg="%.0f",
    load_t="%.1f",
    load_state="%d",
    alarm_bits="%d",
    fuel_percent="%.1f",
)


class Trucks:
    """All muck trucks of a city.

    Args:
        registry, sky: whose projection and whose clocks.
        network, hauls: streets and each truck's work.
        book: faults.
        rng: their own random numbers.
        start_ms: city time at which they begin to report; within the permit's hours they are found at work.
        truck_s: seconds between reports, a multiple of 5.
        air: what receivers suffer, and where.
        compounds: closed areas beside lines, by the line's ``id``.
        sleep: how many times more seldom parked trucks report.
    """

    def __init__(
        self,
        registry: Registry,
        sky: Sky,
        network: Network,
        hauls: tuple[Haul, ...],
        book: FaultBook,
        rng: np.random.Generator,
        *,
        start_ms: int,
        truck_s: float,
        air: Air = CALM,
        compounds: dict[int, Compound] | None = None,
        sleep: int = SLEEP,
    ) -> None:
        if truck_s < STEP_S or truck_s % STEP_S:
            raise ValueError(f"trucks report every {STEP_S}, {2 * STEP_S}, {3 * STEP_S} … seconds, not {truck_s}")
        n = len(hauls)
        self._sky, self._book, self._rng = sky, book, rng
        self._rows = np.array([registry.row[haul.truck] for haul in hauls], dtype=np.intp)
        self._tracks = Tracks(air.setting)
        self._errands = Errands(network, hauls, self._tracks, compounds or {})
        self._pace = rng.uniform(0.85, 1.1, n)
        self._full = rng.uniform(0.80, 0.98, n) * LOAD_T
        self._terminals = Terminals(registry.projection, self._tracks, hauls, rng, air, (truck_s, sleep), self._full)
        place = {haul.truck: k for k, haul in enumerate(hauls)}
        self._faults: list[list[Fault]] = [[] for _ in hauls]
        for fault in sorted(book.faults.values(), key=lambda one: (one.on_ms, one.id)):
            for target in fault.targets:
                if target in place and EFFECTS[fault.kind] != "silent":
                    self._faults[place[target]].append(fault)
        self._start_ms = start_ms
        minute = int(sky.local_minute(start_ms))
        self._noon_ms = start_ms - start_ms % 60_000 - (minute - 720) % 1440 * 60_000
        self._night: Night | None = None
        self._at = 0
        self._shown: list[tuple[int, Fault]] = []

    def tick(self, from_ms: int, until_ms: int) -> list[Reports]:
        """Live through (from, until]."""
        out: list[Reports] = []
        at = from_ms
        while at < until_ms and len(self._rows):
            if self._night is None or at >= self._night.until_ms:
                self._next()
                continue
            end = min(until_ms, self._night.until_ms)
            out += self._handed_out(self._night, at, end)
            at = end
        return out

    def _next(self) -> None:
        """Lay down the next night."""
        noon, until = self._noon_ms, self._noon_ms + _DAY_MS
        seeds = self._rng.integers(0, 2**63, len(self._rows) + 1)
        shifts: list[Shift] = []
        for k, faults in enumerate(self._faults):
            mine = [fault for fault in faults if fault.on_ms < until and fault.off_ms > noon]
            rng = np.random.default_rng(int(seeds[k]))
            shifts.append(
                self._errands.night(k, noon, rng, mine, float(self._full[k]), float(self._pace[k])),
            )
        rng = np.random.default_rng(int(seeds[-1]))
        touching = [(k, f) for k, mine in enumerate(self._faults) for f in mine if f.on_ms < until and f.off_ms > noon]
        self._night = self._terminals.night(noon, shifts, touching, rng)
        self._shown = sorted(self._night.shown, key=lambda pair: (pair[0], pair[1].id))
        self._noon_ms = until

    def _handed_out(self, night: Night, from_ms: int, until_ms: int) -> list[Reports]:
        first = int(np.searchsorted(night.time_ms, max(from_ms, self._start_ms - 1), side="right"))
        last = int(np.searchsorted(night.time_ms, until_ms, side="right"))
        cut = bisect_left(self._shown, until_ms + 1, key=lambda pair: pair[0])
        for time_ms, fault in self._shown[:cut]:
            if time_ms > self._start_ms:
                self._book.see(fault, time_ms)
        self._shown = self._shown[cut:]
        if first >= last:
            return []
        rows: Ints = self._rows[night.truck[first:last]]
        return [_FORM.reports(rows, night.time_ms[first:last], *(column[first:last] for column in night.columns))]
