"""What faults do to wells, pumps and their meters: effects that hold at a time, as factors for the physics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from simulators.faults import EFFECTS, NEVER_MS, Fault, FaultBook
from simulators.machine import Floats, Ints, Mask, Rows
from simulators.weather import DAY_MS
from simulators.wells import PUMPS, Condition

RAMP_MS = {
    "clog_suction": DAY_MS, "clog_rag": DAY_MS, "seepage_slow": 20 * DAY_MS, "seepage_creep": 120 * DAY_MS,
    "well_silt": 10 * DAY_MS, "wear": NEVER_MS,
}  # fmt: skip
FASTER, SLOWER = 1.15, 0.7  # velocity in a well into which water seeps, and in one that silts up
WEEK_MS = 7 * DAY_MS
SUCTION_LOAD, RAG_LOAD, CLOGGED = 0.80, 1.25, 0.35  # power of a pump whose flow has fallen to CLOGGED
DRY_FLOW, ONE_PHASE_FLOW = 0.04, 0.92
WHILE_RUNNING = ("clog_suction", "clog_rag", "dry_run", "wear", "single_phase", "slow_speed")
ON_PUMPS = ("pump_fault", "manual", "fail_start", *WHILE_RUNNING)
ON_STATIONS = (
    "mains_lost", "seepage", "seepage_slow", "burst", "roof_drains", "band_halved", "check_valve", "rising_head",
    "silting", "seepage_creep", "well_seep", "well_silt", "level_stuck", "level_bias", "level_foam", "level_dropout",
    "waves",
)  # fmt: skip


@dataclass(slots=True)
class Ailing:
    """What is wrong at a time.

    Attributes:
        condition: of wells and pumps.
        ground, storm: (n,) factors on groundwater and on rain.
        more_lps: (n,) inflow that is there besides.
        mains: (n,) whether there is any.
        tripped, manual, one_phase: (n, p).
        meter: by effect on the level meter, (n,) magnitude, 0 where it does not hold.
        inlet_m, inlet_speed: (n,) how much higher the inlet well stands, and the factor on its velocity.
    """

    condition: Condition
    ground: Floats
    storm: Floats
    more_lps: Floats
    mains: Mask
    tripped: Mask
    manual: Mask
    one_phase: Mask
    meter: dict[str, Floats] = field(default_factory=dict)
    inlet_m: Floats = field(default_factory=lambda: np.zeros(0))
    inlet_speed: Floats = field(default_factory=lambda: np.zeros(0))


class Ailments:
    """The faults of all stations and their pumps, in the order of time.

    Args:
        book: all faults of the run.
        stations: device ids, (n,).
        pumps: device ids of each station's pumps.
        rate_lps: (n,) rated flow of one pump.
        wells: device ids of the inlet wells, empty where there is none.
    """

    def __init__(
        self,
        book: FaultBook,
        stations: Sequence[str],
        pumps: Sequence[Sequence[str]],
        rate_lps: Floats,
        wells: Sequence[str] = (),
    ) -> None:
        self._book, self._rate, self._count = book, rate_lps, len(stations)
        places = {device: (n, None) for n, device in enumerate(stations)}
        held: dict[str, tuple[int, int | None]] = dict(places)
        held.update({device: (n, None) for n, device in enumerate(wells) if device})
        held.update({device: (n, p) for n, each in enumerate(pumps) for p, device in enumerate(each)})
        self._items: list[tuple[Fault, str, list[tuple[int, int | None]]]] = []
        for fault in book.faults.values():
            effect, touched = EFFECTS[fault.kind], [held[target] for target in fault.targets if target in held]
            if touched and effect in (*ON_PUMPS, *ON_STATIONS):
                self._items.append((fault, effect, touched))
        self._edges = np.unique([t for fault, *_ in self._items for t in (fault.on_ms, fault.off_ms)])
        self._active: list[tuple[Fault, str, list[tuple[int, int | None]]]] = []
        self._unseen: list[tuple[Fault, str, list[tuple[int, int | None]]]] = []
        self._valid = (NEVER_MS, NEVER_MS)
        self._now: Ailing | None = None

    def cuts(self, from_ms: int, until_ms: int) -> list[int]:
        """Return the times at which what is wrong changes, with both ends."""
        inside = self._edges[(self._edges > from_ms) & (self._edges < until_ms)]
        return [from_ms, *inside.tolist(), until_ms]

    def at(self, time_ms: int) -> Ailing:
        """Return what is wrong at ``time_ms``."""
        if self._now is None or not self._valid[0] <= time_ms < self._valid[1]:
            at = int(np.searchsorted(self._edges, time_ms, side="right"))
            self._valid = (
                int(self._edges[at - 1]) if at else -NEVER_MS,
                int(self._edges[at]) if at < len(self._edges) else NEVER_MS,
            )
            self._active = [item for item in self._items if item[0].on_ms <= time_ms < item[0].off_ms]
            self._unseen = [item for item in self._active if self._book.faults[item[0].id].seen_ms == 0]
            self._now = None
        if self._now is None or any(effect in RAMP_MS for _, effect, _ in self._active):
            self._now = self._work_out(time_ms)
        return self._now

    def see(self, station: Rows, time_ms: Ints, running: Mask, waits: Mask) -> None:
        """Note what reports show for the first time.

        Args:
            station: (r,) of each report.
            time_ms: (r,).
            running: (r, p) which pumps run.
            waits: (r, p) which were called and do not run.
        """
        left = []
        for item in self._unseen:
            fault, effect, touched = item
            shown = np.zeros(len(station), dtype=np.bool_)
            for n, p in touched:
                mine = station == n
                if p is not None and effect in WHILE_RUNNING:
                    mine &= running[:, p]
                elif p is not None and effect == "fail_start":
                    mine &= waits[:, p]
                shown |= mine
            if shown.any():
                self._book.see(fault, int(time_ms[shown].min()))
            else:
                left.append(item)
        self._unseen = left

    def _work_out(self, time_ms: int) -> Ailing:
        n = self._count
        tripped, manual, lame = (np.zeros((n, PUMPS), dtype=np.bool_) for _ in range(3))
        mains = np.ones(n, dtype=np.bool_)
        now = Ailing(Condition.fine(n), np.ones(n), np.ones(n), np.zeros(n), mains, tripped, manual, lame)
        now.inlet_m, now.inlet_speed = np.zeros(n), np.ones(n)
        for fault, effect, touched in self._active:
            ramp = RAMP_MS.get(effect, 0)
            part = min((time_ms - fault.on_ms) / ramp, 1.0) if 0 < ramp < NEVER_MS else 1.0
            weeks = (time_ms - fault.on_ms) / WEEK_MS
            for station, pump in touched:
                if pump is None:
                    self._station(now, effect, station, fault.magnitude, part)
                else:
                    _pump(now, effect, (station, pump), fault.magnitude, part, weeks)
        now.condition.available = ~now.tripped & ~now.manual & now.mains[:, np.newaxis]
        return now

    def _station(self, now: Ailing, effect: str, at: int, size: float, part: float) -> None:
        if effect == "mains_lost":
            now.mains[at] = False
        elif effect in ("seepage", "seepage_slow", "seepage_creep"):
            now.ground[at] = 1 + (size - 1) * part
        elif effect == "burst":
            now.more_lps[at] += size * self._rate[at]
        elif effect == "roof_drains":
            now.storm[at] *= size
        elif effect == "band_halved":
            now.condition.band[at] = size
        elif effect == "check_valve":
            now.condition.back[at] = size
        elif effect == "rising_head":
            now.condition.head[at] = size
        elif effect in ("well_seep", "well_silt"):
            now.inlet_m[at] = size * part
            now.inlet_speed[at] = 1 + ((FASTER if effect == "well_seep" else SLOWER) - 1) * part
        elif effect == "silting":
            now.condition.area[at] = size
        else:
            now.meter.setdefault(effect, np.zeros(self._count))[at] = size


def _pump(now: Ailing, effect: str, at: tuple[int, int], size: float, part: float, weeks: float) -> None:
    condition = now.condition
    if effect == "pump_fault":
        now.tripped[at] = True
    elif effect == "manual":
        now.manual[at] = True
    elif effect == "fail_start":
        condition.starts[at] = False
    elif effect in ("clog_suction", "clog_rag"):
        flow = 1 + (size - 1) * part
        load = SUCTION_LOAD if effect == "clog_suction" else RAG_LOAD
        condition.flow[at] *= flow
        condition.load[at] *= 1 + (load - 1) * min((1 - flow) / (1 - CLOGGED), 1.2)
    elif effect == "dry_run":
        condition.flow[at], condition.load[at] = DRY_FLOW, size
    elif effect == "wear":
        condition.flow[at] *= max(1 - size / 100 * weeks, 0.3)
    elif effect == "single_phase":
        now.one_phase[at] = True
        condition.flow[at] *= ONE_PHASE_FLOW
    elif effect == "slow_speed":
        condition.speed[at] = size
