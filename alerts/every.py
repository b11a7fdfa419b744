"""The pace of judges that work things out on ticks: at most once in so long, at round times, whatever the ticks are."""

from __future__ import annotations

import numpy as np

from alerts.judge import State


class Every:
    """When a judge looks again.

    Attributes:
        next_ms: host time of the next look, epoch milliseconds; 0 before the first.
    """

    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self.next_ms = 0

    def due(self, now_ms: int) -> bool:
        """Return whether it is time, and if so set the next; a clock that was set back does not make it wait longer."""
        if now_ms < self.next_ms and self.next_ms - now_ms <= self._every_ms:
            return False
        self.next_ms = (now_ms // self._every_ms + 1) * self._every_ms
        return True

    def save(self) -> State:
        """Return the next look as an array."""
        return {"next_ms": np.array([self.next_ms], dtype=np.int64)}

    def load(self, state: State) -> None:
        """Take over a saved next look."""
        self.next_ms = int(state["next_ms"].astype(np.int64)[0])
