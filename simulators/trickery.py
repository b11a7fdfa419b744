"""What befalls a truck's terminal for a while: false positions, bare loads, cut wires, silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from simulators.driving import Tracks
from simulators.faults import Fault
from simulators.haulage import Haul
from simulators.machine import Floats, Mask
from simulators.shift import DUMPING, LOADED, PARKED

if TYPE_CHECKING:
    from simulators.terminals import Told

POSITION = ("gps_copy", "gps_frozen", "gps_offset", "gps_jam", "gps_burst", "tip_astray")
RAMP_S = 300.0  # a position that is led away takes so long to reach its full distance
JAM_M = 600.0  # radius of a jammed place
JUMP_M = 900.0  # how far fixes jump in it, standard deviation
BIT_POWER = 1 << 8  # JT/T 808-2019 alarm word: main power lost


def apply_position(
    effect: str, fault: Fault, told: Told, columns: dict[str, Floats], moved: dict[str, Floats],
    where: tuple[int, slice], tools: tuple[Tracks, Sequence[Haul], np.random.Generator],
) -> int | None:  # fmt: skip
    """Change what a receiver says, in place; return the first report that shows it.

    Args:
        moved: ``seen``, ``speed`` and ``heading`` of all trucks before anything befell them.
        where: the truck, and its reports while the fault holds.
    """
    _, cut = where
    _, hauls, rng = tools
    number = cut.stop - cut.start
    if effect == "gps_copy":
        return _copied(fault, told, columns, moved, where, hauls)
    if effect == "gps_frozen":
        told.seen[cut] = told.seen[cut.start]
        shows = told.speed[cut] > 3.0
    elif effect == "gps_offset":
        away = fault.magnitude * np.minimum((told.t[cut] - told.t[cut.start]) / RAMP_S, 1.0)
        turn = rng.uniform(0.0, 2 * np.pi)
        told.seen[cut] += away[:, None] * np.array([np.cos(turn), np.sin(turn)])
        shows = away > 60.0
    elif effect == "gps_jam":
        haul = hauls[[one.truck for one in hauls].index(fault.targets[0])]
        middle = haul.line[int(0.6 * len(haul.line))]
        shows = np.hypot(*(told.place[cut] - middle).T) < JAM_M
        told.seen[cut] += rng.normal(0.0, JUMP_M, (number, 2)) * shows[:, None]
    elif effect == "gps_burst":
        told.seen[cut] += fault.magnitude / np.sqrt(2.0) * rng.choice([-1.0, 1.0], 2)
        shows = np.ones(number, dtype=np.bool_)
    else:  # tip_astray: the receiver errs while the truck dumps where it may
        shows = told.phase[cut] == DUMPING
        turn = rng.uniform(0.0, 2 * np.pi)
        told.seen[cut] += fault.magnitude * np.array([np.cos(turn), np.sin(turn)]) * shows[:, None]
    return _first(shows, cut)


def _copied(
    fault: Fault, told: Told, columns: dict[str, Floats], moved: dict[str, Floats], where: tuple[int, slice],
    hauls: Sequence[Haul],
) -> int | None:  # fmt: skip
    """Let a terminal play what another truck's says, a few metres apart."""
    _, cut = where
    donor = [haul.truck for haul in hauls].index(fault.targets[1]) if len(fault.targets) > 1 else 0
    begin, number = int(told.first[donor]), int(told.count[donor])
    times = told.t[begin : begin + number]
    rows = slice(begin, begin + number)
    near = begin + np.clip(np.searchsorted(times, told.t[cut]), 0, number - 1)
    for axis in (0, 1):
        told.seen[cut, axis] = np.interp(told.t[cut], times, moved["seen"][rows, axis]) + 2.0
    for name, column in columns.items():
        column[cut] = moved[name][near]
    columns["speed"][cut] = np.interp(told.t[cut], times, moved["speed"][rows])
    return _first(np.hypot(*(told.seen[cut] - told.place[cut]).T) > 100.0, cut)


def silenced(effect: str, told: Told, columns: dict[str, Floats], cut: slice, rng: np.random.Generator) -> int | None:
    """Let wires be cut, lids stand open or reports stay away; return the first report that shows it."""
    number = cut.stop - cut.start
    phase, speed = told.phase[cut], columns["speed"][cut]
    if effect in ("plug_pulled", "tunnel"):
        if phase[0] == PARKED:
            return None
        told.sent[cut] = False
        return int(cut.start)
    if effect in ("power_pulled", "ignition_cut"):
        shows = (phase != PARKED) if effect == "power_pulled" else (phase == PARKED)
        columns["bits"][cut] = np.where(shows, BIT_POWER, columns["bits"][cut])
    elif effect == "uncovered":
        bare = phase == LOADED
        columns["shut"][cut] = np.where(bare, 0.0, columns["shut"][cut])
        shows = bare & (speed > 20.0)
    elif effect == "lid_bounce":
        shows = (phase == LOADED) & (speed > 20.0) & (rng.random(number) < 0.1)
        shows[1:] &= ~shows[:-1]
        columns["shut"][cut] = np.where(shows, 0.0, columns["shut"][cut])
    elif effect == "speed_spike":
        shows = np.zeros(number, dtype=np.bool_)
        fast = np.flatnonzero(speed > 30.0)
        if len(fast):
            shows[fast[0]] = True
        columns["speed"][cut] = speed + 45.0 * shows
    else:
        return None
    return _first(shows, cut)


def _first(shows: Mask, cut: slice) -> int | None:
    hit = np.flatnonzero(shows)
    return int(cut.start) + int(hit[0]) if len(hit) else None
