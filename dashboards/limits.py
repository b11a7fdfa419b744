"""Limits that the rules hold against a field, read from the rules, so that a board draws what an alert is raised by.

Only what raises an alert by itself is drawn: one comparison of one field with plain numbers, or several of them joined
by "or". ``speed_kmh > 5`` beside "and" a raised bed is no speed limit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from devices.kinds import Kind

COLORS = {"critical": "red", "major": "orange", "minor": "yellow", "info": "blue"}  # worst first
FINE = "green"
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_BELOW_ABOVE = re.compile(rf"([a-z][a-z0-9_]*)\s*(<=?|>=?)\s*{_NUMBER}")
_BETWEEN = re.compile(rf"{_NUMBER}\s*<=?\s*([a-z][a-z0-9_]*)\s*<=?\s*{_NUMBER}")

Steps = list[tuple[float | None, str]]


class RuleLike(Protocol):
    """What is read of a rule; alerts.rules.Rule has it."""

    @property
    def id(self) -> str:
        """Return the rule's id."""

    @property
    def kind(self) -> str:
        """Return the kind of rule."""

    @property
    def device(self) -> str:
        """Return the catalog kind that it judges."""

    @property
    def role(self) -> str | None:
        """Return the role that it judges, None for all."""

    @property
    def severity(self) -> str:
        """Return the severity of its alerts."""

    @property
    def params(self) -> Any:  # noqa: ANN401 - each kind of rule has its own
        """Return the keys of the rule's own kind."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Values of one field between ``low`` and ``high`` raise an alert of ``severity`` by ``rule``.

    Attributes:
        low, high: bounds; minus and plus infinity where open.
        role: role that the rule judges, None for all.
    """

    rule: str
    severity: str
    low: float
    high: float
    role: str | None

    def __str__(self) -> str:
        if math.isinf(self.low):
            return f"{self.rule}: < {self.high:g}"
        return f"{self.rule}: > {self.low:g}" if math.isinf(self.high) else f"{self.rule}: {self.low:g} … {self.high:g}"


def limits_of(rules: Iterable[RuleLike], kind: Kind) -> dict[str, list[Limit]]:
    """Return the limits of a kind's measured fields by field name, in the order of the rules.

    States (bool and code) have no axis to draw a limit on.
    """
    scales = {f.name for f in kind.fields if f.type not in ("bool", "code")}
    found: dict[str, list[Limit]] = {}
    for rule in rules:
        if rule.kind != "expression" or rule.device != kind.name:
            continue
        text = str(getattr(getattr(rule.params, "on", None), "text", ""))
        terms = [_term(part.strip()) for part in text.split(" or ")]
        for term in terms:
            if term is not None and term[0] in scales:
                name, low, high = term
                found.setdefault(name, []).append(Limit(rule.id, rule.severity, low, high, rule.role))
    return found


def _term(text: str) -> tuple[str, float, float] | None:
    """Return field, low and high of one comparison, None where the text is anything else."""
    if found := _BELOW_ABOVE.fullmatch(text):
        bound = float(found[3])
        return (found[1], bound, math.inf) if found[2].startswith(">") else (found[1], -math.inf, bound)
    if found := _BETWEEN.fullmatch(text):
        return found[2], float(found[1]), float(found[3])
    return None


def steps_of(limits: Iterable[Limit]) -> Steps:
    """Return threshold steps, rising: between two bounds the colour of the worst severity that holds there."""
    held = list(limits)
    bounds = sorted({edge for limit in held for edge in (limit.low, limit.high) if math.isfinite(edge)})
    steps: Steps = []
    for low, high in zip([-math.inf, *bounds], [*bounds, math.inf], strict=True):
        here = {limit.severity for limit in held if limit.low <= low and high <= limit.high}
        color = next((color for severity, color in COLORS.items() if severity in here), FINE)
        if not steps or steps[-1][1] != color:
            steps.append((low if math.isfinite(low) else None, color))
    return steps
