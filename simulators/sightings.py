"""When a fault was first seen: which of the reports of a tick show which faults. Looks only at those not yet seen."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from simulators.faults import NEVER_MS, Fault, FaultBook, Spells
from simulators.machine import Ints, Mask, Rows

Sight = tuple[Fault, Rows]


class Sightings:
    """Faults of one role's devices that hold and were not seen yet.

    Args:
        book: where it is written down.
        spells: by effect, those that this role's reports show.
        count: devices of the role.
    """

    def __init__(self, book: FaultBook, spells: Iterable[tuple[str, Spells]], count: int) -> None:
        self._book = book
        self._items: list[tuple[str, Fault, Rows]] = [
            (effect, fault, touched) for effect, one in spells for fault, touched in one.items
        ]
        self._items.sort(key=lambda item: item[1].on_ms)
        self._next = 0
        self._open: list[tuple[str, Fault, Rows]] = []
        self._at = np.full(count, -1, dtype=np.intp)

    def look(self, at_ms: int, rows: Rows, times: Ints, shows: dict[str, Mask]) -> None:
        """Write down what the reports of ``rows`` at ``times`` show.

        Args:
            at_ms: the moment whose effects they report.
            rows, times: (k,) each.
            shows: by effect, which devices (n,) show it now; an effect that is left out is shown by every report.
        """
        while self._next < len(self._items) and self._items[self._next][1].on_ms <= at_ms:
            self._open.append(self._items[self._next])
            self._next += 1
        if not self._open:
            return
        self._at[rows] = np.arange(len(rows))
        left = []
        for item in self._open:
            effect, fault, touched = item
            if fault.off_ms <= at_ms:
                continue
            seen = touched[shows[effect][touched]] if effect in shows else touched
            place = self._at[seen]
            place = place[place >= 0]
            if len(place):
                self._book.see(fault, int(times[place].min()))
            else:
                left.append(item)
        self._open = left
        self._at[rows] = -1


def next_edge(spells: Iterable[Spells]) -> list[int]:
    """Return all moments at which any of the effects begins or ends, rising."""
    edges = {edge for one in spells for fault, _ in one.items for edge in (fault.on_ms, fault.off_ms)}
    return [*sorted(edges - {NEVER_MS}), NEVER_MS]
