"""Pairs of rule and reading, and what changed for them in one step, as columns, before it is put into words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alerts.slots import Places
from devices.batch import Ints, Mask


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of a rule and a reading, (n,) each, in the order of the rules.

    Attributes:
        rule: number of the rule among the kind's.
        row: of the reading among the batch's.
        yes: whether the rule's condition surely holds there.
    """

    rule: Places
    row: Places
    yes: Mask

    @staticmethod
    def of(found: Sequence[tuple[int, Places, Mask | None]]) -> Pairs:
        """Return the pairs of some rules, each with its rows and where its condition holds (None: nowhere)."""
        if not found:
            return _NO_PAIRS
        counts = [len(rows) for _, rows, _ in found]
        rule = np.repeat(np.array([number for number, _, _ in found], dtype=np.intp), counts)
        yes = np.concatenate([np.zeros(len(rows), dtype=bool) if yes is None else yes for _, rows, yes in found])
        return Pairs(rule, np.concatenate([rows for _, rows, _ in found]), yes)

    def take(self, chosen: Places | Mask) -> Pairs:
        """Return the chosen ones, in the order given."""
        return Pairs(self.rule[chosen], self.row[chosen], self.yes[chosen])


_NO_PAIRS = Pairs(np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp), np.zeros(0, dtype=bool))


@dataclass(frozen=True, slots=True)
class Changes:
    """Alerts that began or ended, (n,) each.

    Attributes:
        rule: number of the rule among the kind's.
        row, place: which row of the columns they follow from, and which device.
        fires: begins (True) or ends.
        at_ms, onset_ms: when it changed, and when its condition first held; device time.
        lost: ended because nothing more was heard.
    """

    rule: Places
    row: Places
    place: Places
    fires: Mask
    at_ms: Ints
    onset_ms: Ints
    lost: Mask

    def take(self, chosen: Places | slice) -> Changes:
        """Return the chosen ones, in the order given."""
        return Changes(*(getattr(self, name)[chosen] for name in Changes.__slots__))
