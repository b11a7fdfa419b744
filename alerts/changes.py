"""What changed in one step for the expression rules of a kind, as columns, before it is put into words."""

from __future__ import annotations

from dataclasses import dataclass

from alerts.slots import Places
from devices.batch import Ints, Mask


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
