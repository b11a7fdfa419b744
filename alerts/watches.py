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

    Times are those of the readings; a device that says nothing waits. Columns are written to only where something
    changes: memory of a city in which all is well is never touched.

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
        self.heard_ms[at[alerted]] = now_ms
        fired = self._wait(at, time_ms, on & ~alerted)
        cleared = self._end(at, time_ms, alerted, off)
        self.alerted[at[fired]], self.alerted[at[cleared]] = True, False
        self.heard_ms[at[fired]] = now_ms
        if len(fired):
            self.due_ms = min(self.due_ms, now_ms + self._lost_ms)
        return fired, cleared

    def _wait(self, at: Places, time_ms: Ints, waits: Mask) -> Places:
        """Return which of the readings end a wait with an alert."""
        idle = at[~waits & (self.since_ms[at] != 0)]
        self.since_ms[idle] = self.count[idle] = 0
        rows = np.flatnonzero(waits)
        place, now = at[rows], time_ms[rows]
        since, count = self.since_ms[place], self.count[place] + 1
        since = np.where(since == 0, now, since)
        fire = (now - since >= self._for_ms) & (count >= self._samples)
        self.since_ms[place], self.count[place] = np.where(fire, 0, since), np.where(fire, 0, count)
        self.onset_ms[place[fire]] = since[fire]
        return rows[fire]

    def _end(self, at: Places, time_ms: Ints, alerted: Mask, off: Mask) -> Places:
        """Return which of the readings end an alert."""
        again = at[alerted & ~off]
        self.back_ms[again] = 0
        rows = np.flatnonzero(alerted & off)
        place, now = at[rows], time_ms[rows]
        back = self.back_ms[place]
        back = np.where(back == 0, now, back)
        clear = now - back >= self._keep_ms
        self.back_ms[place] = np.where(clear, 0, back)
        return rows[clear]

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
        """Return what is remembered of some devices: of those that wait or have an alert, most have neither."""
        busy = np.flatnonzero(self.alerted[at] | (self.since_ms[at] != 0)).astype(np.int32)
        return {"busy": busy} | {name: getattr(self, name)[at[busy]] for name in _STORED}

    def load(self, state: State, found: Places, here: Mask) -> None:
        """Take over what :meth:`save` returned, of devices that now stand at ``found``, where ``here``."""
        busy = np.asarray(state.get("busy", np.arange(len(found)))).astype(np.intp)
        here = here[busy]
        for name in _STORED:
            getattr(self, name)[found[busy][here]] = state[name][here]
        left = self.heard_ms[self.alerted]
        self.due_ms = int(left.min()) + self._lost_ms if len(left) else NEVER_AGAIN
