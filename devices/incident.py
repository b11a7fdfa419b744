"""What incidents say has changed: alerts under one cause, gathered for one crew, in a form that storage can keep."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from devices.transition import Transition


@dataclass(frozen=True, slots=True)
class IncidentChange:
    """One incident as it stands after a step, and what people are to be told of it, if anything.

    Attributes:
        id: the id of the alert that leads it, so that a repeat after a crash is the same incident.
        cause: id of the leading alert's rule, or the cause that was found (``breaker``, ``communications``, …).
        node: the leading alert's entity.
        kind, district, keeper, lon, lat: where it is and whose work; degrees, NaN where unknown.
        severity: the gravest so far.
        is_open: False once it is over.
        onset_ms: when the leading alert's condition first held.
        opened_ms: host time at which it was opened.
        at_ms: host time of this change.
        told: whether anybody was to be told by now.
        alerts, suppressed: how many alerts it has gathered so far, and how many of them others explain.
        devices: how many devices it concerns.
        message: by language.
        reason: why it is over: ``recovered``, ``merged`` into another, ``brief`` where it ended before anybody was
            told, ``data_lost``; empty while open.
        notice: what is to be told now, None for nothing.
        again: the notice only repeats that it lasts; not owed once somebody has taken the incident on.
    """

    id: str
    cause: str
    node: str
    kind: str
    district: str
    keeper: str
    severity: str
    is_open: bool
    onset_ms: int
    opened_ms: int
    at_ms: int
    told: bool
    alerts: int
    suppressed: int
    devices: int
    message: dict[str, str] = field(default_factory=dict)
    lon: float = float("nan")
    lat: float = float("nan")
    reason: str = ""
    notice: Transition | None = None
    again: bool = False


class Mark(NamedTuple):
    """An alert known before now belongs to another incident, or something else explains it.

    Attributes:
        alert_id: of the alert.
        incident: id of its incident.
        suppressed_by: id of the alert that explains it; empty where it stands for itself.
    """

    alert_id: str
    incident: str
    suppressed_by: str


class Decided(NamedTuple):
    """What one step decided, to be committed together.

    Attributes:
        transitions: alerts begun and ended, each with its incident.
        marks: alerts known before that belong elsewhere now.
        incidents: incidents opened, changed and closed, in order, with their notices.
    """

    transitions: list[Transition]
    marks: list[Mark]
    incidents: list[IncidentChange]

    def __bool__(self) -> bool:
        """Return whether anything was decided."""
        return bool(self.transitions or self.marks or self.incidents)
