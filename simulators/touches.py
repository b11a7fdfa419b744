"""Which reports a fault touches, to the millisecond of each report, for many faults over many devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from simulators.faults import Fault, FaultBook
from simulators.machine import Floats, Ints, Mask, Rows


class Touch(NamedTuple):
    """A fault on some of the reports of one round.

    Attributes:
        fault: what befalls them.
        at: (k,) which reports, as places in the round.
        since_ms: (k,) how long it has befallen each, milliseconds.
    """

    fault: Fault
    at: Rows
    since_ms: Ints


class Touches:
    """All faults of one effect.

    Args:
        book: all faults, and what was seen of each.
        effect: what the machine is told.
        ids: the machine's devices, in the order of its columns.
        lag_ms: (devices,) how much later than its beginning a fault reaches each device; left out: at once.
    """

    def __init__(self, book: FaultBook, effect: str, ids: list[str], lag_ms: Ints | None = None) -> None:
        self._book, self._count = book, len(ids)
        self._items = book.spells(effect, ids).items
        lag = np.zeros(len(ids), dtype=np.int64) if lag_ms is None else lag_ms
        self._lag = [lag[touched] - lag[touched].min() for _, touched in self._items]
        self._on = np.array([fault.on_ms for fault, _ in self._items], dtype=np.int64)
        late = [int(each.max()) for each in self._lag]
        ends = [min(fault.off_ms, 2**62) + more for (fault, _), more in zip(self._items, late, strict=True)]
        self._off = np.array(ends, dtype=np.int64)
        self._turn = np.zeros(len(ids), dtype=np.intp)

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self._items)

    def near(self, from_ms: int, until_ms: int) -> Iterator[tuple[Fault, Rows, Ints]]:
        """Yield faults that hold at some time in [from, until), their devices and how much later each is reached."""
        for number in np.flatnonzero((self._on < until_ms) & (self._off > from_ms)).tolist():
            fault, touched = self._items[number]
            yield fault, touched, self._lag[number]

    def wakes(self, from_ms: int, until_ms: int, after_ms: int) -> Iterator[tuple[Rows, Ints]]:
        """Yield devices and the times in [from, until) at which they wake, ``after_ms`` after it reached them."""
        for fault, touched, lag in self.near(from_ms - after_ms, until_ms):
            at = fault.on_ms + lag + after_ms
            now = (at >= from_ms) & (at < until_ms)
            if now.any():
                yield touched[now], at[now]

    def of(self, rows: Rows, times: Ints) -> Iterator[Touch]:
        """Yield each fault that touches some of the reports of ``rows`` at ``times``."""
        if not self._items or not len(rows):
            return
        for fault, touched, lag in self.near(int(times.min()), int(times.max()) + 1):
            self._turn[:] = -1
            self._turn[touched] = np.arange(len(touched))
            turn = self._turn[rows]
            at = np.flatnonzero(turn >= 0)
            since = times[at] - fault.on_ms - lag[turn[at]]
            held = (since >= 0) & (times[at] - lag[turn[at]] < fault.off_ms)
            if held.any():
                yield Touch(fault, at[held], since[held])

    def see(self, touch: Touch, times: Ints, shown: Mask | None = None) -> None:
        """Note that the reports of ``touch`` show its fault, those where ``shown``."""
        known = self._book.faults[touch.fault.id].seen_ms
        if known and known <= int(times.min()):
            return
        found = times[touch.at][shown] if isinstance(shown, np.ndarray) else times[touch.at]
        if len(found):
            self._book.see(touch.fault, int(found.min()))

    def active(self, now_ms: int) -> Mask:
        """Return which devices are touched at a time, (devices,)."""
        out = np.zeros(self._count, dtype=np.bool_)
        for fault, touched, lag in self.near(now_ms, now_ms + 1):
            at = now_ms - lag
            out[touched[(at >= fault.on_ms) & (at < fault.off_ms)]] = True
        return out


def ramp(since_ms: Ints, rise_ms: float) -> Floats:
    """Return a rise that is quick at first and has come to 99 % after ``rise_ms``, from 0 to 1."""
    return np.asarray(1.0 - np.exp(-4.6 * np.clip(since_ms / rise_ms, 0.0, 60.0)))
