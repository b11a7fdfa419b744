"""A station's readings cut into fills and runs: stretches of time in which the same pumps were on.

Of each stretch first and last levels, counts and sums are kept, never samples; slopes are taken between two levels, so
that they are the same however readings were cut into batches. Which levels are used follows from S30 and S31 of
docs/sources.md: not within half a minute of a start or stop, and what flows back through a check valve shows in the
first three minutes after a stop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from devices.batch import Floats, Ints, Mask

Places = npt.NDArray[np.intp]
State = dict[str, npt.NDArray[Any]]

GAP_MS = 600_000  # readings further apart do not belong together: a pump may have run unseen
GUARD_MS = 30_000  # after a start or stop
EARLY_MS, LATE_MS = 180_000, 300_000  # what flows back has come by then; from then on there is only inflow
ROUGH_M = 0.05  # a bend of the level between three readings that no water makes
DENSE_MS = 150_000  # between readings further apart a pump may start and stop unseen
EVEN = 0.2  # share by which three readings may be unevenly spaced for a bend to be taken
FIELDS = ("pumps_on", "running_mask", "level_m", "power_kw", "current_a", "speed_hz", "pressure_kpa", "rain_mm")
_SUMS = ("power", "current", "speed", "pressure")
_TIMES = ("begin_ms", "end_ms", "guard_ms", "last_ms", "early_ms", "first_ms", "late_ms", "bend_ms", "bend_before_ms")
_LEVELS = ("guard_m", "last_m", "early_m", "first_m", "late_m", "bend_m", "bend_before_m")
_COUNTS = ("readings", "levels", "bends", "rough", *(f"{name}_n" for name in _SUMS))
NOTHING = -1.0


class Runs:
    """The open stretch of every station.

    Args:
        stations: how many.

    Attributes:
        state: arrays (m,); times are 0 and levels NaN where there is none yet. ``on`` is NOTHING before the first
            reading; ``whole`` tells whether the stretch's beginning was seen.
    """

    def __init__(self, stations: int) -> None:
        self.state = _fresh(stations)

    def take(self, station: Places, time_ms: Ints, values: Floats) -> State:
        """Take in readings and return the stretches that have ended, in the order of station and time.

        Args:
            station: (r,) whose, each station's in the order of time and newer than before.
            time_ms: (r,).
            values: (fields, r) in the order of FIELDS, NaN where absent or suspect.

        Returns:
            The state's columns for each ended stretch, with ``station``, ``closed_ms`` (the reading after it) and
            ``joined`` (that reading followed without a gap).
        """
        known = ~np.isnan(values[0])
        order = np.flatnonzero(known)[np.argsort(station[known], kind="stable")]
        if not len(order):
            return _fresh(0) | _ends(np.zeros(0, np.intp), np.zeros(0, np.int64), np.zeros(0, np.bool_))
        at, time, seen = station[order], time_ms[order], values[:, order]
        seen[1] = np.where(np.isnan(seen[1]), NOTHING, seen[1])
        s, first = self.state, np.r_[True, at[1:] != at[:-1]]
        before = {
            "on": np.where(first, s["on"][at], np.r_[0.0, seen[0, :-1]]),
            "mask": np.where(first, s["mask"][at], np.r_[0.0, seen[1, :-1]]),
            "time": np.where(first, s["end_ms"][at], np.r_[0, time[:-1]]),
        }
        apart = (before["on"] == NOTHING) | (time - before["time"] > GAP_MS)
        new = apart | (seen[0] != before["on"]) | (seen[1] != before["mask"])
        begins = first | new
        stretch = np.cumsum(begins) - 1
        head = np.flatnonzero(begins)
        table = _fresh(len(head))
        goes_on = np.flatnonzero(~new[head])
        for name, column in table.items():
            column[goes_on] = s[name][at[head[goes_on]]]
        fresh = np.flatnonzero(new[head])
        table["on"][fresh], table["mask"][fresh] = seen[0, head[fresh]], seen[1, head[fresh]]
        table["begin_ms"][fresh], table["whole"][fresh] = time[head[fresh]], ~apart[head[fresh]]
        _fill(table, stretch, time, seen)
        follows = np.flatnonzero(~first[head])  # stretches with another of the same station before them
        old = np.flatnonzero(first[head] & new[head] & (before["on"][head] != NOTHING))
        ended = {name: np.concatenate([s[name][at[head[old]]], column[follows - 1]]) for name, column in table.items()}
        after = np.concatenate([old, follows])
        ended |= _ends(at[head[after]], time[head[after]], ~apart[head[after]])
        last = np.flatnonzero(np.r_[at[head][1:] != at[head][:-1], True])
        for name, column in table.items():
            s[name][at[head[last]]] = column[last]
        rows = np.lexsort((ended["closed_ms"], ended["station"]))
        return {name: column[rows] for name, column in ended.items()}


def _ends(station: Places, closed_ms: Ints, joined: Mask) -> State:
    return {"station": station, "closed_ms": closed_ms, "joined": joined}


def _fresh(count: int) -> State:
    """Return empty stretches."""
    table: State = {name: np.full(count, NOTHING) for name in ("on", "mask")}
    table |= {name: np.zeros(count, np.int64) for name in (*_TIMES, *_COUNTS)}
    table |= {name: np.full(count, np.nan) for name in _LEVELS}
    table |= {name: np.zeros(count) for name in (*_SUMS, "rain_mm")}
    table |= {"low_m": np.full(count, np.inf), "high_m": np.full(count, -np.inf)}
    table["whole"] = np.zeros(count, np.bool_)
    return table


def _fill(table: State, stretch: Places, time: Ints, seen: Floats) -> None:
    """Add readings to their stretches, in order: sums come out the same however they were cut."""
    table["end_ms"][stretch] = time
    np.add.at(table["readings"], stretch, 1)
    for name, column in zip(_SUMS, seen[3:7], strict=True):
        has = ~np.isnan(column)
        np.add.at(table[name], stretch[has], column[has])
        np.add.at(table[f"{name}_n"], stretch[has], 1)
    np.add.at(table["rain_mm"], stretch, np.nan_to_num(seen[7]))
    has = np.flatnonzero(~np.isnan(seen[2]))
    of, when, level = stretch[has], time[has], seen[2][has]
    np.add.at(table["levels"], of, 1)
    np.minimum.at(table["low_m"], of, level)
    np.maximum.at(table["high_m"], of, level)
    passed = when - table["begin_ms"][of]
    _first(table, "first", of, when, level)
    late = passed >= GUARD_MS
    _first(table, "guard", of[late], when[late], level[late])
    late = passed >= LATE_MS
    _first(table, "late", of[late], when[late], level[late])
    early = passed <= EARLY_MS
    table["early_ms"][of[early]], table["early_m"][of[early]] = when[early], level[early]
    _bend(table, of, when, level)
    table["last_ms"][of], table["last_m"][of] = when, level


def _first(table: State, name: str, of: Places, when: Ints, level: Floats) -> None:
    """Note the first of these levels in stretches that have none such yet."""
    found, row = np.unique(of, return_index=True)
    lacking = table[f"{name}_ms"][found] == 0
    found, row = found[lacking], row[lacking]
    table[f"{name}_ms"][found], table[f"{name}_m"][found] = when[row], level[row]


def _bend(table: State, of: Places, when: Ints, level: Floats) -> None:
    """Count bends of the level between three evenly spaced readings, and those that no water makes."""
    if not len(of):
        return
    same = np.r_[False, of[1:] == of[:-1]]
    twice = np.r_[False, same[1:] & same[:-1]]
    one_ms = np.where(same, np.r_[0, when[:-1]], table["bend_ms"][of])
    one = np.where(same, np.r_[0.0, level[:-1]], table["bend_m"][of])
    two_ms = np.where(
        twice, np.r_[0, 0, when[:-2]][: len(of)], np.where(same, table["bend_ms"][of], table["bend_before_ms"][of])
    )
    two = np.where(
        twice, np.r_[0.0, 0.0, level[:-2]][: len(of)], np.where(same, table["bend_m"][of], table["bend_before_m"][of])
    )
    near, far = when - one_ms, one_ms - two_ms
    even = (two_ms > 0) & (near <= DENSE_MS) & (np.abs(near - far) <= EVEN * near)
    with np.errstate(invalid="ignore"):
        rough = even & (np.abs(level - 2 * one + two) > ROUGH_M)
    np.add.at(table["bends"], of[even], 1)
    np.add.at(table["rough"], of[rough], 1)
    table["bend_before_ms"][of], table["bend_before_m"][of] = one_ms, one
    table["bend_ms"][of], table["bend_m"][of] = when, level
