"""How an alert stands: bad for long enough and it is told, good for long enough and it is over; one row an entity.

Rules that are worked out on ticks share it. What is neither bad nor good is not known: nothing changes by it, but that
the waiting for an end begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from alerts.judge import State
from alerts.saved import matching, take_over

Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]
IDLE, ALERTED = 0, 1


class Standing:
    """The alerts of one rule on so many entities.

    Args:
        entities: their names, as alerts carry them.
        for_ms: how long bad before it is told.
        keep_ms: how long good before it is over.

    Attributes:
        phase, since_ms, onset_ms, back_ms, last_ms: (n,) each; times are 0 where nothing is waited for; ``last_ms`` is
            when it was bad last.
        bad: (n,) whether it was bad when it was looked at last.
    """

    def __init__(self, entities: Sequence[str], for_ms: int, keep_ms: int) -> None:
        self.entities = list(entities)
        self._for_ms, self._keep_ms = for_ms, keep_ms
        size = len(self.entities)
        self.phase = np.zeros(size, dtype=np.int8)
        self.bad = np.zeros(size, dtype=np.bool_)
        self.since_ms, self.onset_ms, self.back_ms, self.last_ms = (np.zeros(size, dtype=np.int64) for _ in range(4))

    def judge(self, now_ms: int, bad: Mask, good: Mask) -> tuple[Places, Places]:
        """Take in how things stand at ``now_ms``; return the places that begin to be told, and those that are over.

        Args:
            now_ms: epoch milliseconds, later than at the call before.
            bad, good: (n,) each; where neither holds nothing is known.
        """
        idle = self.phase == IDLE
        # Nothing was known for too long: what began before is no longer sure.
        gap = ~self.bad & (now_ms - self.last_ms > self._for_ms)
        self.since_ms = np.where(bad & idle & ((self.since_ms == 0) | gap), now_ms, self.since_ms)
        self.last_ms[bad] = now_ms
        self.bad = bad.copy()
        self.since_ms[good & idle] = 0
        fires = idle & bad & (self.since_ms > 0) & (now_ms - self.since_ms >= self._for_ms)
        self.onset_ms[fires] = self.since_ms[fires]
        self.back_ms = np.where(good & ~idle & (self.back_ms == 0), now_ms, self.back_ms)
        self.back_ms[bad | idle] = 0
        clears = ~idle & good & (now_ms - self.back_ms >= self._keep_ms)
        self.phase[fires] = ALERTED
        self.phase[clears] = IDLE
        self.since_ms[fires | clears] = 0
        self.back_ms[clears] = 0
        return fires.nonzero()[0], clears.nonzero()[0]

    def open(self) -> Mapping[str, int]:
        """Return the entities with an open alert, with the onset of each."""
        return {self.entities[k]: int(self.onset_ms[k]) for k in np.flatnonzero(self.phase == ALERTED)}

    def pending(self) -> Mapping[str, int]:
        """Return the entities that are bad, not yet for long enough, with the time since when."""
        return {self.entities[k]: int(self.since_ms[k]) for k in np.flatnonzero(self.since_ms > 0)}

    def save(self) -> State:
        """Return the state of the entities that are not at rest."""
        at = np.flatnonzero((self.phase != IDLE) | (self.since_ms > 0))
        names = np.array([self.entities[k] for k in at], dtype=np.str_)
        return {"entity": names} | {f"stands.{name}": column[at] for name, column in self._columns().items()}

    def load(self, state: State) -> None:
        """Take over a saved state; entities that are gone are let go."""
        at, place = matching(self.entities, state["entity"])
        take_over(self._columns(), state, "stands.", at, place)

    def _columns(self) -> dict[str, npt.NDArray[np.generic]]:
        return {
            "phase": self.phase, "since_ms": self.since_ms, "onset_ms": self.onset_ms, "back_ms": self.back_ms,
            "last_ms": self.last_ms, "bad": self.bad,
        }  # fmt: skip
