"""What the loop did lately, as health and metrics show it."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

LATENCIES_KEPT = 4096


@dataclass(slots=True)
class Pulse:
    """What the loop did lately, for health and metrics.

    Attributes:
        groups, readings: since the start.
        journal_trouble, operations_trouble: why nothing is acknowledged just now, empty when all is well.
        snapshot_trouble: why the latest snapshot could not be written, empty when it could.
        lag_ms: host milliseconds from taking a group up to acknowledging it, newest last.
        transitions: alerts begun or ended, by rule and state.
    """

    groups: int = 0
    readings: int = 0
    journal_trouble: str = ""
    operations_trouble: str = ""
    snapshot_trouble: str = ""
    lag_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
