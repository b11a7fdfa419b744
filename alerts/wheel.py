"""A wheel of due times: who is to be looked at when, without looking at all of them every time."""

from __future__ import annotations

import heapq
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from alerts.fleet import NEVER_AGAIN

SHIFT = 10  # a spoke is 2**10 milliseconds wide: about a second
Slots = npt.NDArray[np.intp]


class Wheel:
    """Numbers filed under the second in which they are due. An entry is not taken out early: it is found to be stale.

    Attributes:
        next_ms: nothing is due before this host time.
    """

    def __init__(self) -> None:
        self.next_ms: int = NEVER_AGAIN
        self._spokes: dict[int, list[npt.NDArray[np.int32]]] = {}
        self._order: list[int] = []

    def put(self, slots: Slots, due_ms: npt.NDArray[np.int64]) -> None:
        """File ``slots`` under the times at which they are due, both (n,)."""
        spokes = due_ms >> SHIFT
        self.next_ms = min(self.next_ms, int(due_ms.min()))
        first = int(spokes[0])
        if len(spokes) == 1 or not np.count_nonzero(spokes != first):
            self._file(first, slots)
            return
        order = np.argsort(spokes, kind="stable")
        spokes, slots = spokes[order], slots[order]
        cuts = [0, *((spokes[1:] != spokes[:-1]).nonzero()[0] + 1).tolist(), len(spokes)]
        for begin, end in pairwise(cuts):
            self._file(int(spokes[begin]), slots[begin:end])

    def _file(self, spoke: int, slots: Slots) -> None:
        held = self._spokes.get(spoke)
        if held is None:
            held = self._spokes[spoke] = []
            heapq.heappush(self._order, spoke)
        held.append(slots.astype(np.int32))
        if len(held) > 64:  # many small arrays weigh more than what they hold
            held[:] = [np.concatenate(held)]

    def take(self, now_ms: int) -> Slots:
        """Return what was filed up to the present second, some of it stale or twice or not quite due; it is gone."""
        out: list[npt.NDArray[np.int32]] = []
        while self._order and self._order[0] <= now_ms >> SHIFT:
            out += self._spokes.pop(heapq.heappop(self._order))
        self.next_ms = self._order[0] << SHIFT if self._order else NEVER_AGAIN
        return np.concatenate(out).astype(np.intp) if out else np.zeros(0, dtype=np.intp)

    def clear(self) -> None:
        """Forget everything."""
        self._spokes.clear()
        self._order.clear()
        self.next_ms = NEVER_AGAIN

    @property
    def nbytes(self) -> int:
        """Return the bytes of what is filed, entries that went stale among it."""
        return sum(part.nbytes for held in self._spokes.values() for part in held)
