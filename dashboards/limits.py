"""Limits that the rules hold against a field, read from the rules, so that a board draws what an alert is raised by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from devices.kinds import Kind

_COMPARISON = re.compile(r"\b([a-z][a-z0-9_]*)\s*(>=|<=|>|<)\s*(-?\d+(?:\.\d+)?)(?![\w.]|\s*[*/+-])")
COLORS = {"critical": "red", "major": "orange", "minor": "yellow", "info": "blue"}


class RuleLike(Protocol):
    """What is read of a rule; alerts.rules.Rule has it."""

    @property
    def id(self) -> str:
        """Return the rule id."""

    @property
    def kind(self) -> str:
        """Return the kind of rule."""

    @property
    def device(self) -> str:
        """Return the catalog kind that it judges."""

    @property
    def severity(self) -> str:
        """Return the severity of its alerts."""

    @property
    def params(self) -> Mapping[str, object]:
        """Return the keys of the rule's own kind."""


Steps = list[tuple[float | None, str]]


class Limit:
    """One constant that a field is compared with: alerts of ``severity`` lie ``above`` (or below) ``value``."""

    __slots__ = ("above", "rule", "severity", "value")

    def __init__(self, rule: str, severity: str, value: float, *, above: bool) -> None:
        self.rule = rule
        self.severity = severity
        self.value = value
        self.above = above


def limits_of(rules: Iterable[RuleLike], kind: Kind) -> dict[str, list[Limit]]:
    """Return the constant limits of a kind's measured fields, by field name, in the order of the rules.

    Only expression rules count, and only comparisons of a field with a plain number; states (bool and code) have
    no axis to draw a limit on.
    """
    scales = {f.name for f in kind.fields if f.type not in ("bool", "code")}
    found: dict[str, list[Limit]] = {}
    for rule in rules:
        if rule.kind != "expression" or rule.device != kind.name:
            continue
        for name, sign, number in _COMPARISON.findall(str(rule.params.get("on", ""))):
            if name in scales:
                limit = Limit(rule.id, rule.severity, float(number), above=sign.startswith(">"))
                found.setdefault(name, []).append(limit)
    return found


def steps_of(limits: Iterable[Limit]) -> Steps:
    """Return threshold steps, rising, with the colour of the severity beyond each limit and green between."""
    ordered = sorted(limits, key=lambda limit: limit.value)
    below = [limit for limit in ordered if not limit.above]
    steps: Steps = [(None, COLORS[below[0].severity] if below else "green")]
    for place, limit in enumerate(below):
        higher = below[place + 1 : place + 2]
        steps.append((limit.value, COLORS[higher[0].severity] if higher else "green"))
    steps += [(limit.value, COLORS[limit.severity]) for limit in ordered if limit.above]
    return steps
