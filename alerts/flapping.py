"""Says whether an alert comes and goes too often to be told each time, as Nagios does it.

Nagios looks at a check's last 21 states, weighs the 20 changes between them from 0.75 (oldest) to 1.25 (newest), and
takes the weighed share of changes (nagioscore, base/flapping.c). Here a state stands at the end of each of 20 equal
slots of time, and a slot counts as changed when the alert began or ended in it. Everything follows from the alerts that
are written down, so a restart changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from alerts.policy import Flapping

SLOTS = 20
OLDEST, NEWEST = 0.75, 1.25


def percent(changes_ms: Iterable[int], now_ms: int, slot_ms: int) -> float:
    """Return the weighed share of changed slots, per cent.

    Args:
        changes_ms: times at which the alert began or ended; what lies outside the window counts for nothing.
        now_ms: end of the newest slot.
        slot_ms: length of a slot.
    """
    changed = {SLOTS - 1 - (now_ms - at) // slot_ms for at in changes_ms if 0 <= now_ms - at < SLOTS * slot_ms}
    step = (NEWEST - OLDEST) / (SLOTS - 1)
    return 100 * sum(OLDEST + step * slot for slot in changed) / SLOTS


def judge(share: float, limits: Flapping, *, flaps: bool) -> bool:
    """Return whether an alert flaps, by its share of changes and whether it did before; in between nothing changes."""
    if not limits.on:
        return False
    return share > limits.high if not flaps else share >= limits.low
