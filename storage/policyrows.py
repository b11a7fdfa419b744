"""What the policy reads and writes in the operations database, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from devices.transition import Transition
from storage.outbox import DUE, FAILED, SENT

HELD, GATHERED, ROUTED, DROPPED, SUMMED = "held", "gathered", "routed", "dropped", "summed"
LOOKED_AT = 2000  # notices in one round; the rest waits for the next, half a second later
COUNTED = (DUE, SENT, FAILED, GATHERED, SUMMED)  # what a receiver was told, or is told in a summary


@dataclass(frozen=True, slots=True)
class QuietRow:
    """A silence or a maintenance window; see alerts.policy_match.Quiet."""

    id: int
    sort: str
    matchers: Mapping[str, str]
    from_ms: int
    until_ms: int
    who: str
    why: str
    created_ms: int
    ended_by: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Who did what, when, to what."""

    id: int
    at_ms: int
    who: str
    what: str
    subject: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice in the outbox, whatever has become of it."""

    id: int
    key: str
    transition: Transition
    receiver: str
    created_ms: int
    status: str
    why: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How what a notice is about stands now.

    Attributes:
        is_open: it is not over, or waits for its reset.
        severity: how grave, of an incident at most.
        acknowledged: somebody has taken it on.
    """

    is_open: bool
    severity: str
    acknowledged: bool


@dataclass(frozen=True, slots=True)
class Flap:
    """A pair of rule and entity that comes and goes too often."""

    rule: str
    entity: str
    since_ms: int
    percent: float


@dataclass(frozen=True, slots=True)
class Chain:
    """What is next for an alert that is open: due by now."""

    alert_id: str
    label: str
    due_ms: int
    told_ms: int


@dataclass(slots=True)
class Verdict:
    """What a round writes down, all at once.

    Attributes:
        changed: (number, status, why) of notices.
        owed: (transition, receiver, status, why) of new ones.
        summed: (numbers, key) of gathered notices that a summary among ``owed`` stands for.
        chains: (alert, label, due) of what is next; a due of None ends it.
        told: alerts that somebody was told of for the first time.
        unshelved: alerts whose shelf has ended, and that has been seen to.
        marks: the marks of alerts, where they have changed.
        flaps, steady: pairs that have begun to flap, and that flap no more.
        state: words to remember by name.
    """

    changed: list[tuple[int, str, str]] = field(default_factory=list)
    owed: list[tuple[Transition, str, str, str]] = field(default_factory=list)
    summed: list[tuple[Sequence[int], str]] = field(default_factory=list)
    chains: list[tuple[str, str, int | None]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    unshelved: list[str] = field(default_factory=list)
    marks: dict[str, Sequence[str]] = field(default_factory=dict)
    flaps: list[Flap] = field(default_factory=list)
    steady: list[tuple[str, str]] = field(default_factory=list)
    state: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in Verdict.__slots__)
