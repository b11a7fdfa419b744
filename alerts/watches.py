"""What is remembered of devices under one rule of its own kind: waiting, alerted, on its way back. As columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from alerts.fleet import NEVER_AGAIN
from alerts.judge import State

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]
_STORED = ("alerted", "since_ms", "back_ms", "onset_ms", "heard_ms", "count")


class Watches:
    """One rule's devices: a condition that has held for so long and in so many readings, and its end.

    Times are those of the readings; a device that says nothing waits.

    Args:
        count: devices.
        for_ms, keep_ms: how long the condition, and its end, must hold.
        samples: readings that must show the condition.
        lost_ms: host time without a usable reading after which an open alert is closed.

    Attributes:
        alerted: (devices,) whose alert is open.
    """

    def __init__(self, count: int, for_ms: int, keep_ms: int, samples: int, lost_ms: int) -> None:
        self._for_ms, self._keep_ms, self._samples, self._lost_ms = for_ms, keep_ms, samples, lost_ms
        self.alerted = np.zeros(count, dtype=np.bool_)
        self.since_ms, self.back_ms, self.onset_ms, self.heard_ms = (np.zeros(count, np.int64) for _ in range(4))
        self.count = np.zeros(count, dtype=np.int64)
        self.due_ms: int = NEVER_AGAIN

    def judge(self, at: Places, time_ms: Ints, on: Mask, off: Mask, now_ms: int) -> tuple[Places, Places]:
        """Take in a reading of each of some devices; return which of the readings began an alert, and which ended one.

        Args:
            at: (n,) places, no two the same.
            time_ms: (n,) of the readings.
            on, off: (n,) the condition, and its end.
            now_ms: host time.
        """
        alerted = self.alerted[at]
        self.heard_ms[at] = now_ms
        waits = on & ~alerted
        since = np.where(waits, np.where(self.since_ms[at] == 0, time_ms, self.since_ms[at]), 0)
        count = np.where(waits, self.count[at] + 1, 0)
        fire = waits & (time_ms - since >= self._for_ms) & (count >= self._samples)
        self.since_ms[at], self.count[at] = np.where(fire, 0, since), np.where(fire, 0, count)
        ends = off & alerted
        back = np.where(ends, np.where(self.back_ms[at] == 0, time_ms, self.back_ms[at]), 0)
        clear = ends & (time_ms - back >= self._keep_ms)
        self.back_ms[at] = np.where(clear, 0, back)
        self.alerted[at] = (alerted | fire) & ~clear
        self.onset_ms[at[fire]] = since[fire]
        if self.alerted.any():
            self.due_ms = min(self.due_ms, now_ms + self._lost_ms)
        return np.flatnonzero(fire), np.flatnonzero(clear)

    def begin(self, place: int, onset_ms: int, now_ms: int) -> None:
        """Open an alert that does not follow from a reading."""
        self.alerted[place], self.onset_ms[place], self.heard_ms[place] = True, onset_ms, now_ms
        self.since_ms[place] = self.back_ms[place] = self.count[place] = 0
        self.due_ms = min(self.due_ms, now_ms + self._lost_ms)

    def lost(self, now_ms: int) -> list[int]:
        """Close alerts of which nothing was heard for too long; return their places."""
        gone = np.flatnonzero(self.alerted & (now_ms - self.heard_ms >= self._lost_ms))
        self.alerted[gone] = False
        self.back_ms[gone] = 0
        left = self.heard_ms[self.alerted]
        self.due_ms = int(left.min()) + self._lost_ms if len(left) else NEVER_AGAIN
        return [int(place) for place in gone]

    def onset(self, place: int) -> int:
        """Return when the condition of a device's present or last alert first held."""
        return int(self.onset_ms[place])

    def open(self) -> Iterator[tuple[int, int]]:
        """Yield the places of open alerts and their onsets."""
        for place in np.flatnonzero(self.alerted).tolist():
            yield place, int(self.onset_ms[place])

    def pending(self) -> Iterator[tuple[int, int]]:
        """Yield the places of devices that wait, and since when."""
        for place in np.flatnonzero(self.since_ms > 0).tolist():
            yield place, int(self.since_ms[place])

    def save(self, at: Places) -> State:
        """Return what is remembered of some devices."""
        return {name: getattr(self, name)[at] for name in _STORED}

    def load(self, state: State, found: Places, here: Mask) -> None:
        """Take over what :meth:`save` returned, of devices that now stand at ``found``, where ``here``."""
        for name in _STORED:
            getattr(self, name)[found[here]] = state[name][here]
        left = self.heard_ms[self.alerted]
        self.due_ms = int(left.min()) + self._lost_ms if len(left) else NEVER_AGAIN
