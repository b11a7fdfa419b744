"""The ledger: every reading received is stored, in quarantine, a duplicate, or still pending, and the sums prove it.

``pending`` is counted on its own, from what the journal kept and what the shipper has passed, so that a reading lost
anywhere in between shows as imbalance.

A message that could not be read counts as one reading, received and quarantined. When it is read after all, it moves:
its readings are received and stored (or duplicates), and the one that stood for it is taken off both sides at once, in
the transaction in which it leaves quarantine. Between the two it counts on both sides, so the sum holds there as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.records import Counts

if TYPE_CHECKING:
    from storage.journal import Journal
    from storage.operations import Operations


@dataclass(frozen=True, slots=True)
class Line:
    """Readings of one kind, or of all.

    Attributes:
        received: everything heard, messages that could not be read among them as one each.
        stored: taken by the time-series store.
        quarantined: kept apart and not read since; still there, purged by a person, or let go for want of room.
        duplicate: recognised as already kept.
        pending: in the journal, not yet shipped.
        replayed: messages read after all; taken off ``received`` and ``quarantined`` already, so that with them these
            two only grow.
    """

    received: int = 0
    stored: int = 0
    quarantined: int = 0
    duplicate: int = 0
    pending: int = 0
    replayed: int = 0

    @property
    def difference(self) -> int:
        """Return how many readings are missing; negative where some were counted twice; 0 when all is well."""
        return self.received - self.stored - self.quarantined - self.duplicate - self.pending

    @property
    def balanced(self) -> bool:
        """Return whether nothing is missing and nothing counted twice."""
        return self.difference == 0


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger at one moment.

    Attributes:
        lines: by kind name and ``unknown``.
    """

    lines: dict[str, Line]

    @property
    def total(self) -> Line:
        """Return the sum over all kinds."""
        names = Line.__slots__
        sums = {name: sum(getattr(line, name) for line in self.lines.values()) for name in names}
        return Line(**sums)

    def balance(self) -> bool:
        """Return whether every kind balances."""
        return all(line.balanced for line in self.lines.values())


def read_ledger(journal: Journal, operations: Operations) -> Ledger:
    """Return the ledger as it stands; safe while the loop appends and the shipper ships.

    Both sides are read whole, and each balances by itself: the journal's counts change a record at a time, the
    shipper's a transaction at a time.
    """
    shipped = operations.shipped()
    totals = journal.totals
    lines = {}
    for name in dict.fromkeys([*totals, *shipped.stored, *shipped.quarantined]):
        heard, replayed = totals.get(name, Counts()), shipped.replayed.get(name, 0)
        lines[name] = Line(
            received=heard.received - replayed,
            stored=shipped.stored.get(name, 0),
            quarantined=shipped.quarantined.get(name, 0) - replayed,
            duplicate=heard.duplicates,
            pending=heard.kept - shipped.kept.get(name, 0),
            replayed=replayed,
        )
    return Ledger(lines)
