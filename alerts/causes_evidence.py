"""What lamps and cabinets show: dark, silent, down, and between which moments it must have begun.

A lamp that reports every quarter of an hour shows a blackout up to a quarter of an hour late. So each has an interval:
after its last good reading, and not after the first bad one, or the report that it missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alerts.causes_settings import Watched
from alerts.columns import LiveColumns
from alerts.fleet import NEVER, Fleet
from alerts.places import ids_of, places_of
from devices.registry import Registry

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]
MISSED = (
    2.5  # report intervals without a word before a lamp counts as silent: two missed, before it is offline by itself
)
_KEPT = ("read", "good", "bad")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What devices show at one moment; all (n,).

    Attributes:
        judged: those that ought to be judged now.
        dark: their latest reading says so.
        silent: they have missed a report.
        low, high: since when at the earliest and at the latest, epoch milliseconds.
        sign: number of the sign that holds, -1 for none.
        well: when their latest reading that was well was made, epoch milliseconds.
        fed: dark although they have supply.
    """

    judged: Mask
    dark: Mask
    silent: Mask
    low: Ints
    high: Ints
    sign: npt.NDArray[np.int8]
    well: Ints
    fed: Mask

    @property
    def out(self) -> Mask:
        """Return those that are dark or silent."""
        return self.dark | self.silent


class Witnesses:
    """Devices of one role that are looked at, with what they showed before.

    Args:
        watched: what is looked for.
        registry: of the city.
        rows: (n,) registry rows, in ascending order.

    Attributes:
        patience_ms: whoever says nothing for longer is silent, milliseconds.
    """

    def __init__(self, watched: Watched, registry: Registry, rows: Rows) -> None:
        self._watched, self._registry, self.rows = watched, registry, rows
        kind = registry.catalog[watched.device]
        self._interval = round(kind.report_s[kind.roles.index(watched.role)] * 1000)
        self.patience_ms = round(MISSED * self._interval)
        self.read, self.good, self.bad = (np.full(len(rows), NEVER, dtype=np.int64) for _ in _KEPT)

    def look(self, fleet: Fleet, now_ms: int, since_ms: Ints | None = None) -> Evidence | None:
        """Return what they show now; None while none of them is to be judged.

        Args:
            fleet: the live columns.
            now_ms: host time.
            since_ms: (n,) what was said or not said before says nothing: their supply was away.
        """
        live = fleet.live[self._watched.device]
        at = live.local[self.rows].astype(np.intp)
        columns = LiveColumns(fleet, live, at, now_ms)
        with np.errstate(all="ignore"):
            judged = np.broadcast_to(self._watched.while_(columns)[0], len(at))
            if not judged.any():
                self.read = live.time_ms[at]
                self.bad[:] = NEVER
                return None
            yes, no, sign = self._says(columns)
            fed = self._watched.fed(columns)[0] if self._watched.fed is not None else np.False_
        time, seen = live.time_ms[at], live.seen_ms[at]
        since = now_ms - np.maximum(fleet.sky.switched_on_for_ms(self.rows, now_ms), 0)
        if since_ms is not None:
            since = np.maximum(since, since_ms)
        fresh = judged & (time > since)  # what was said before the lamps were switched on says nothing
        self._remember(fresh & yes, fresh & no, time)
        heard = np.maximum(np.maximum(seen, fleet.resumed_ms), since)
        silent = judged & (seen != NEVER) & (now_ms - heard > self.patience_ms)
        dark = fresh & yes
        shown = dark & (self.bad != NEVER)
        low = np.where(shown, np.maximum(self.good, since), np.maximum(time, since))
        high = np.where(shown, self.bad, heard + self._interval)
        return Evidence(judged, dark, silent & ~dark, np.minimum(low, high), high, sign, self.good, dark & fed)

    def _says(self, columns: LiveColumns) -> tuple[Mask, Mask, npt.NDArray[np.int8]]:
        """Return where the latest readings say yes and where they say no, and by which sign."""
        count = len(columns)
        sign = np.full(count, -1, dtype=np.int8)
        if self._watched.out is not None:
            yes, no = (np.broadcast_to(one, count) for one in self._watched.out(columns))
            return yes, no, sign
        no = np.zeros(count, dtype=bool)
        for number, one in reversed(list(enumerate(self._watched.signs))):
            holds, fails = one.when(columns)
            sign[np.broadcast_to(holds, count)] = number
            no |= np.broadcast_to(fails, count)
        return sign >= 0, no & (sign < 0), sign

    def _remember(self, dark: Mask, lit: Mask, time: Ints) -> None:
        newer = time > self.read
        well = newer & lit
        self.good[well], self.bad[well] = time[well], NEVER
        first = newer & dark & (self.bad == NEVER)
        self.bad[first] = time[first]
        self.read = time.copy()

    def save(self, prefix: str) -> dict[str, npt.NDArray[np.generic]]:
        """Return what they showed before, by device id."""
        columns = {f"{prefix}{name}": getattr(self, name).copy() for name in _KEPT}
        return {f"{prefix}ids": ids_of(self._registry, self.rows), **columns}

    def load(self, state: Mapping[str, npt.NDArray[np.generic]], prefix: str) -> None:
        """Take over what was saved; devices that are no longer there are let go."""
        if f"{prefix}ids" not in state:
            return
        found = places_of(self._registry, self.rows, state[f"{prefix}ids"])
        here = found >= 0
        for name in _KEPT:
            getattr(self, name)[found[here]] = state[f"{prefix}{name}"][here]


def together(low: Ints, high: Ints, window_ms: int) -> tuple[Mask, int]:
    """Return the largest group of intervals that can have begun within one window, and when that was.

    Args:
        low, high: (n,) epoch milliseconds; each began after ``low`` and not after ``high``.
        window_ms: within this span is together.

    Returns:
        (n,) who is of the group, and when the first of them showed it.
    """
    half = window_ms // 2
    edges = np.concatenate([low - half, high + half + 1])
    change = np.concatenate([np.ones(len(low), dtype=np.int64), np.full(len(high), -1, dtype=np.int64)])
    order = np.lexsort((change, edges))
    best = int(np.argmax(np.cumsum(change[order])))
    moment = int(edges[order][best])
    member = (low - half <= moment) & (moment <= high + half)
    return member, int(high[member].min())
