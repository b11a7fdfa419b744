"""What the trucks' terminals report of a night: positions with their errors, speed, load, lid, bed, alarm bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from devices.geometry import LocalProjection
from simulators.driving import Tracks
from simulators.faults import EFFECTS, Fault
from simulators.haulage import Haul
from simulators.machine import Floats, Ints, Mask, Rows
from simulators.network import Points, distance_to
from simulators.receiver import SIGMA_M, Air, errors, spread
from simulators.shift import (
    DAY_S,
    DUMPING,
    LOADED,
    LOADING,
    PARKED,
    STRANGE_LOAD,
    STRANGE_TIP,
    Shift,
)  # fmt: skip
from simulators.trickery import POSITION, apply_position, silenced

LANE_M = 3.0
_FAR_S = 200_000.0  # between two trucks on the common scale of time
UERE_M = 5.0  # metres of error to one of hdop
HEIGHT_M = 12.0


@dataclass(frozen=True, slots=True)
class Night:
    """All reports from one noon to the next, in the order of time.

    Attributes:
        until_ms: the next noon.
        time_ms, truck: (n,) when, and which truck.
        columns: (n,) each, as the terminal's form has them.
        shown: (time, fault) of the first report that shows each fault.
    """

    until_ms: int
    time_ms: Ints
    truck: Rows
    columns: tuple[Floats, ...]
    shown: list[tuple[int, Fault]]


@dataclass(slots=True)
class Told:
    """Reports of a night truck by truck, while what they say is being worked out; all (n,) or (n, 2).

    Attributes:
        noon_ms: when the night begins.
        first, count: (trucks,) where each truck's reports stand.
        t: seconds from noon, and truck, phase.
        place: where it is; seen: where its receiver says.
        heading, speed: unit vector and m/s as the vehicle measures them.
        sent: which are sent at all.
    """

    noon_ms: int
    first: Rows
    count: Rows
    t: Floats
    truck: Rows
    phase: Rows
    place: Points
    seen: Points
    heading: Points
    speed: Floats
    sigma: Floats
    sent: Mask

    def rows(self, k: int, from_s: float, until_s: float) -> slice:
        """Return truck ``k``'s reports from one time up to another."""
        begin, number = int(self.first[k]), int(self.count[k])
        times = self.t[begin : begin + number]
        return slice(begin + int(np.searchsorted(times, from_s)), begin + int(np.searchsorted(times, until_s)))


class Terminals:
    """The terminals of a fleet.

    Args:
        projection: of the city.
        every: seconds between reports, and how many times more seldom parked trucks report.
        full_t: (trucks,) usual load.
    """

    def __init__(
        self, projection: LocalProjection, tracks: Tracks, hauls: Sequence[Haul], rng: np.random.Generator, air: Air,
        every: tuple[float, int], full_t: Floats,
    ) -> None:  # fmt: skip
        n = len(hauls)
        self._projection, self._tracks, self._hauls, self._air = projection, tracks, hauls, air
        self._every, self._sleep = every
        self._full = full_t
        self._phase_s = rng.uniform(0.0, self._every, n)
        self._turn = rng.integers(0, self._sleep, n)
        self._odometer = rng.uniform(10_000.0, 300_000.0, n)
        self._drift = rng.normal(0.0, 0.15, n)  # zero of the load cell, tonnes
        self._place = {haul.truck: k for k, haul in enumerate(hauls)}

    def night(
        self, noon_ms: int, shifts: Sequence[Shift], faults: Sequence[tuple[int, Fault]], rng: np.random.Generator
    ) -> Night:
        """Return everything that is reported from this noon to the next."""
        told, driven = self._where(noon_ms, shifts, rng)
        kmh = np.maximum(told.speed * 3.6 + 0.4 * rng.normal(0.0, 1.0, len(told.t)), 0.0) * (told.speed > 0)
        columns = self._loads(told, shifts, rng)
        columns["speed"] = kmh
        columns["odometer"] = self._odometer[told.truck] + driven
        columns["hdop"] = np.maximum(told.sigma / UERE_M, 0.7) * (1.0 + 0.08 * rng.normal(0.0, 1.0, len(told.t)))
        columns["satellites"] = np.round(16.0 - 2.0 * told.sigma / UERE_M + rng.normal(0.0, 1.0, len(told.t)))
        turned = np.degrees(np.arctan2(told.heading[:, 0], told.heading[:, 1])) + 2.0 * rng.normal(
            0.0, 1.0, len(told.t)
        )
        columns["heading"] = turned % 360.0
        shown = self._befall(told, columns, shifts, faults, rng)
        last = told.first + told.count - 1
        self._odometer += driven[last]
        return self._ordered(told, columns, shown)

    def _where(self, noon_ms: int, shifts: Sequence[Shift], rng: np.random.Generator) -> tuple[Told, Floats]:
        times: list[Floats] = []
        for k, shift in enumerate(shifts):
            grid = np.arange(self._phase_s[k], DAY_S, self._every)
            begins = np.array([at for at, _ in shift.phases])
            codes = np.array([code for _, code in shift.phases])
            asleep = codes[np.searchsorted(begins, grid, side="right") - 1] == PARKED
            kept = grid[~asleep | ((np.arange(len(grid)) + self._turn[k]) % self._sleep == 0)]
            off = begins[1:][codes[1:] == PARKED] + 1.0  # a terminal tells at once that the engine was switched off
            times.append(np.unique(np.concatenate([kept, np.array(shift.corners), off])))
        count = np.array([len(one) for one in times], dtype=np.intp)
        first = np.cumsum(count) - count
        truck = np.repeat(np.arange(len(shifts)), count)
        t = np.concatenate(times)
        t = np.minimum(t, DAY_S - 0.002)
        at = t + truck * _FAR_S
        legs = [len(part) for shift in shifts for part in shift.t]
        sizes = [sum(map(len, shift.t)) for shift in shifts]
        offset = np.repeat(np.arange(len(shifts)) * _FAR_S, sizes)
        bt = np.concatenate([part for shift in shifts for part in shift.t]) + offset
        bs = np.concatenate([part for shift in shifts for part in shift.s])
        line = np.repeat(np.array([one for shift in shifts for one in shift.track], dtype=np.intp), legs)
        way = np.repeat(np.array([one for shift in shifts for one in shift.way]), legs)
        here = np.clip(np.searchsorted(bt, at, side="right") - 1, 0, len(bt) - 2)
        span = np.maximum(bt[here + 1] - bt[here], 1e-9)
        same = (line[here + 1] == line[here]) & (bt[here + 1] - bt[here] < DAY_S)
        step = np.where(same, bs[here + 1] - bs[here], 0.0)
        s = bs[here] + step * (at - bt[here]) / span
        speed = np.abs(step) / span
        speed[speed < 0.2] = 0.0
        steps = np.abs(np.diff(bs)) * (np.diff(line) == 0) * (np.diff(bt) < DAY_S)
        total = np.concatenate([[0.0], np.cumsum(steps)])
        starts = np.cumsum(sizes) - sizes
        driven = (total[here] - total[np.asarray(starts)[truck]] + np.abs(step) * (at - bt[here]) / span) / 1000.0
        begins = np.concatenate([np.array([at for at, _ in one.phases]) + k * _FAR_S for k, one in enumerate(shifts)])
        codes = np.concatenate([np.array([code for _, code in shift.phases]) for shift in shifts])
        phase = codes[np.searchsorted(begins, at, side="right") - 1]
        place, unit = self._tracks.at(line[here], s)
        heading = unit * way[here][:, None]
        place = place + np.column_stack([heading[:, 1], -heading[:, 0]]) * LANE_M * (speed > 0)[:, None]
        setting = self._tracks.settings(line[here], s)
        noise = errors(rng, first, count, t, setting, self._air)
        sigma = self._air.scale * SIGMA_M[setting]
        sent = np.ones(len(t), dtype=np.bool_)
        return Told(noon_ms, first, count, t, truck, phase, place, place + noise, heading, speed, sigma, sent), driven

    def _loads(self, told: Told, shifts: Sequence[Shift], rng: np.random.Generator) -> dict[str, Floats]:
        """Return what the load cell, the lid and the bed say."""
        at = told.t + told.truck * _FAR_S
        times = np.concatenate([np.array([t for t, _ in shift.loads]) + k * _FAR_S for k, shift in enumerate(shifts)])
        tonnes = np.concatenate([np.array([load for _, load in shift.loads]) for shift in shifts])
        load = np.interp(at, times, tonnes)
        full = self._full[told.truck]
        moving = told.speed > 0
        noise = rng.normal(0.0, 1.0, len(load)) * (0.05 + 0.015 * load * moving)
        measured = np.maximum(load + self._drift[told.truck] + noise, 0.0)
        bed = np.where(told.phase == DUMPING, 45.0 * np.clip(3.0 * load / full, 0.2, 1.0), 0.0)
        strange = (told.phase == STRANGE_TIP) | (told.phase == STRANGE_LOAD)
        return {
            "load": measured,
            "true_load": load,
            "state": np.where(measured > 0.75 * full, 3.0, np.where(measured > 2.0, 1.0, 0.0)),
            "bed": bed,
            "shut": (~((told.phase == DUMPING) | (told.phase == LOADING) | strange)).astype(np.float64),
            "ignition": (told.phase != PARKED).astype(np.float64),
            "bits": np.zeros(len(load)),
        }

    def _befall(
        self, told: Told, columns: dict[str, Floats], shifts: Sequence[Shift], faults: Sequence[tuple[int, Fault]],
        rng: np.random.Generator,
    ) -> list[tuple[int, Fault]]:  # fmt: skip
        """Let faults change what is reported, in place; return when each first shows."""
        shown: list[tuple[int, Fault]] = []
        known = {fault.id: fault for _, fault in faults}
        for k, shift in enumerate(shifts):
            for name, from_s, until_s, value in shift.spans:
                what, _, fault_id = name.partition(":")
                cut = told.rows(k, from_s, until_s)
                if cut.stop <= cut.start:
                    continue
                if not fault_id:
                    _set(what, told, columns, cut, value)
                    continue
                seen = self._first(what, told, columns, k, cut, value)
                if seen is not None:
                    shown.append((told.noon_ms + round(told.t[seen] * 1000), known[fault_id]))
        moved = {name: column.copy() for name, column in columns.items()} | {"seen": told.seen.copy()}
        for k, fault in faults:
            effect = EFFECTS[fault.kind]
            begin, end = ((at - told.noon_ms) / 1000.0 for at in (fault.on_ms, fault.off_ms))
            cut = told.rows(k, begin, end)
            if cut.stop <= cut.start:
                continue
            if effect in POSITION:
                at = apply_position(effect, fault, told, columns, moved, (k, cut), (self._tracks, self._hauls, rng))
            else:
                at = silenced(effect, told, columns, cut, rng)
            if at is not None:
                shown.append((told.noon_ms + round(told.t[at] * 1000), fault))
        return shown

    def _first(self, what: str, told: Told, columns: dict[str, Floats], k: int, cut: slice, value: float) -> int | None:
        """Return the first report of ``cut`` that shows a fault of a shift, None where none does."""
        if what == "away":
            shows = distance_to(self._hauls[k].line, told.place[cut]) > value
        elif what == "heavy":
            shows = (told.speed[cut] * 3.6 > 20.0) & (told.phase[cut] == LOADED)
        elif what == "strange":
            shows = columns["true_load"][cut] > 0.4 * self._full[k]
        elif what == "driving":
            shows = told.speed[cut] * 3.6 > 10.0
        else:
            shows = np.ones(cut.stop - cut.start, dtype=np.bool_)
        hit = np.flatnonzero(shows)
        return cut.start + int(hit[0]) if len(hit) else None

    def _ordered(self, told: Told, columns: dict[str, Floats], shown: list[tuple[int, Fault]]) -> Night:
        time_ms = told.noon_ms + np.round(told.t * 1000.0).astype(np.int64)
        spread(time_ms, told.first, told.count)
        order = np.argsort(time_ms, kind="stable")
        order = order[told.sent[order]]
        lon, lat = self._projection.to_degrees(told.seen[order, 0], told.seen[order, 1])
        fuel = 95.0 - 8.0 * (told.t[order] / 3600.0 - 10.0).clip(0.0, 9.0)
        before = (
            "speed",
            "heading",
            "hdop",
            "satellites",
            "odometer",
            "ignition",
            "shut",
            "bed",
            "load",
            "state",
            "bits",
        )
        rest = [columns[name][order] for name in before]
        cols = (lon, lat, np.full(len(order), HEIGHT_M), *rest, fuel)
        return Night(told.noon_ms + round(DAY_S * 1000), time_ms[order], told.truck[order], cols, shown)


def _set(what: str, told: Told, columns: dict[str, Floats], cut: slice, value: float) -> None:
    """Let the bed be up, the engine off, or the truck out of reach."""
    if what == "bed":
        columns["bed"][cut] = np.maximum(columns["bed"][cut], value)
    elif what == "off":
        columns["ignition"][cut] = 0.0
    else:
        told.sent[cut] = False
