"""What the rules must reach, and the exceptions with their reasons: read from ``config/floors.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from alerts.spans import duration_ms
from devices.yamlfile import ConfigError, Node, read_yaml

SHARES = ("recall", "precision")
FIGURES = (*SHARES, "false_alarms", "fragmentation")
OF_KIND = ("recall", "fragmentation", "delay")
OF_RULE = ("precision",)


@dataclass(frozen=True, slots=True)
class Exempt:
    """One exception: another floor for some figures, and why.

    Attributes:
        floors: by figure; ``delay`` in milliseconds.
        reason: why it cannot be reached, with the measurement.
    """

    floors: dict[str, float]
    reason: str


@dataclass(frozen=True, slots=True)
class Floors:
    """The floors of a report card.

    Attributes:
        recall, precision: least shares.
        false_alarms: most in 10,000 device-days.
        fragmentation: most incidents that people are told of for one fault.
        grace_ms: by kind of fault how long after its end an alert may still begin.
        kinds, rules: exceptions.
    """

    recall: float = 0.95
    precision: float = 0.90
    false_alarms: float = 1.5
    fragmentation: float = 1.1
    grace_ms: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, Exempt] = field(default_factory=dict)
    rules: dict[str, Exempt] = field(default_factory=dict)


def load_floors(path: Path) -> Floors:
    """Read and check a floors file. Raises ConfigError with every problem, each naming file, line and key."""
    return parse_floors(read_yaml(path))


def parse_floors(root: Node) -> Floors:
    """Check floors read from YAML. Raises ConfigError with every problem."""
    root.only("floors", "grace", "kinds", "rules")
    plain = Floors()
    found = {name: getattr(plain, name) for name in FIGURES}
    problems: list[str] = []
    node = root.get("floors")
    if node is not None:
        try:
            node.only(*FIGURES)
            found |= {name: _figure(name, child) for name, child in node.items()}
        except ConfigError as trouble:
            problems += trouble.problems
    grace: dict[str, int] = {}
    for name, child in _items(root.get("grace")):
        try:
            grace[name] = duration_ms(child)
        except ConfigError as trouble:
            problems += trouble.problems
    kinds = _exempt(root.get("kinds"), OF_KIND, problems)
    rules = _exempt(root.get("rules"), OF_RULE, problems)
    if problems:
        raise ConfigError(problems)
    return Floors(**found, grace_ms=grace, kinds=kinds, rules=rules)


def _items(node: Node | None) -> list[tuple[str, Node]]:
    return list(node.items()) if node is not None else []


def _exempt(node: Node | None, figures: tuple[str, ...], problems: list[str]) -> dict[str, Exempt]:
    out: dict[str, Exempt] = {}
    for name, one in _items(node):
        try:
            one.only(*figures, "reason")
            floors = {key: _figure(key, child) for key, child in one.items() if key != "reason"}
            out[name] = Exempt(floors, one.need("reason").text())
        except ConfigError as trouble:
            problems += trouble.problems
    return out


def _figure(name: str, node: Node) -> float:
    if name == "delay":
        return float(duration_ms(node))
    if name in SHARES:
        return node.number(low=0.0, high=1.0)
    return node.number(low=0.0)
