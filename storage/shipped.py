"""How far the journal has been shipped, as the operations database holds it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Shipped:
    """How far the journal has been shipped, and what became of it.

    Attributes:
        position: everything before it is in the time-series store or in quarantine.
        stored, quarantined: readings by kind name.
        replayed: messages of ``quarantined`` that were read after all, by kind name.
        kept: readings that the journal had kept at ``position`` by its own count, by kind name.
        confirmed: the store had everything before it for good when it was last asked (storage/hold.py).
        store_started_ms: since when the store ran then; 0 where it did not tell.
    """

    position: int
    stored: dict[str, int]
    quarantined: dict[str, int]
    kept: dict[str, int]
    replayed: dict[str, int] = field(default_factory=dict)
    confirmed: int = 0
    store_started_ms: int = 0
