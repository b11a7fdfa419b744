"""Tests of rules as rule authors write them: devices, what they report, and what must come of it.

The format is described in docs/rules.md. It follows the unit tests of Prometheus' promtool: a virtual clock, series in
a short notation, and alerts that must or must not be there at given times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from alerts.rules import RuleSet
from devices.registry import Registry


class Reading(NamedTuple):
    """One message: which entity, when it was measured and when it arrives (epoch milliseconds), its values by field."""

    entity: str
    time_ms: int
    arrives_ms: int
    values: dict[str, float]


class Told(NamedTuple):
    """One alert beginning or ending; times are epoch milliseconds."""

    at_ms: int
    rule: str
    state: str
    entity: str
    onset_ms: int
    reason: str


class Alert(NamedTuple):
    """An alert, or a waiting, that must be there: whose, since when, and the figures that it told."""

    rule: str
    entity: str
    since_ms: int | None
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must be at one moment; None where the test does not say.

    Attributes:
        at_ms: the moment, host time.
        alerts, pending: everything that must be active, and waiting.
        place: file and line.
    """

    at_ms: int
    alerts: tuple[Alert, ...] | None
    pending: tuple[Alert, ...] | None
    place: str


@dataclass(frozen=True, slots=True)
class RuleTest:
    """One test, read and checked.

    Attributes:
        name: what it shows.
        place: file and line at which it stands.
        rules: the rules that it plays.
        registry: its entities.
        zone: IANA time zone.
        start_ms, end_ms: epoch milliseconds; the end is the last step.
        step_ms, tick_ms: between two values of a series, and between two looks at the clock.
        readings: in order of measurement.
        expect: what must be at given moments.
        transitions: everything that must be told, in order, with the place; None where the test does not say.
    """

    name: str
    place: str
    rules: RuleSet
    registry: Registry
    zone: str
    start_ms: int
    end_ms: int
    step_ms: int
    tick_ms: int
    readings: tuple[Reading, ...]
    expect: tuple[Expectation, ...]
    transitions: tuple[Told, ...] | None
    transitions_place: str = ""
