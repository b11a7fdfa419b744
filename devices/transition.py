"""What the rules say has changed: one alert beginning or ending, in a form that storage and people can keep."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

ACTIVE = "active"
CLEARED = "cleared"
SEVERITIES = ("critical", "major", "minor", "info")


@dataclass(frozen=True, slots=True)
class Transition:
    """One alert becoming active or cleared.

    Attributes:
        alert_id: derived from rule, entity and onset, so that a repeat after a crash is the same alert.
        rule: id of the rule.
        entity: what it is about: ``device:lamp-0001``, ``road:…``, ``cabinet:…``, ``grid:…``.
        state: ACTIVE or CLEARED.
        at_ms: event time of the transition, epoch milliseconds.
        onset_ms: event time at which the condition first held.
        severity: one of SEVERITIES.
        message: by language (``en``, ``zh``): place and reason for a crew.
        values: the numbers behind it (value, threshold, coverage …).
        reason: why it cleared (``recovered``, ``data_lost``, ``rule_changed``); empty while active.
        kind: kind of facility.
        lon, lat: where to go, degrees; NaN where unknown.
        district: for the receiver's choice.
        words: by language, what notices name one by one: ``rule``, ``name``, ``place``, ``since`` (local time).
        incident: id of the incident that it belongs to, which tells for it; empty where it tells for itself.
        suppressed_by: id of the alert that explains it: kept and counted, nobody is told; empty for none.
        turn: of a notice that an incident owes again (it grew, it is worse, it lasts): which one, from 2 on; else 0.
        latch: when its condition has ended, the alert stays open until a person resets it.
        event: it is told even when it is over before anybody had to be told.
    """

    alert_id: str
    rule: str
    entity: str
    state: str
    at_ms: int
    onset_ms: int
    severity: str
    message: dict[str, str]
    values: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    kind: str = ""
    lon: float = float("nan")
    lat: float = float("nan")
    district: str = ""
    words: dict[str, dict[str, str]] = field(default_factory=dict)
    incident: str = ""
    suppressed_by: str = ""
    turn: int = 0
    latch: bool = False
    event: bool = False

    def key(self, receiver: str) -> str:
        """Return the idempotency key of telling this to a receiver of that name."""
        state = f"{self.state}{self.turn}" if self.turn else self.state
        return f"{self.alert_id}:{state}:{receiver}"


def alert_id(rule: str, entity: str, onset_ms: int) -> str:
    """Return the id of the alert of ``rule`` on ``entity`` that began at ``onset_ms``."""
    return hashlib.blake2s(f"{rule}|{entity}|{onset_ms}".encode(), digest_size=10).hexdigest()
