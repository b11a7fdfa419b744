"""What an expression rule may say: its own keys, checked and compiled."""

from __future__ import annotations

from dataclasses import dataclass

from alerts.columns import known_names
from alerts.expressions import Condition, Quantity, condition, quantity
from alerts.spans import Span, span
from devices.kinds import Kind
from devices.yamlfile import Node

HOLD = Span(intervals=3)  # three missed reports and nobody knows any more (docs/sources.md)
LOST_AFTER = Span(ms=24 * 3_600_000)  # a held alert is closed as data_lost after a day (docs/sources.md)


@dataclass(frozen=True, slots=True)
class Params:
    """An expression rule's own keys.

    Attributes:
        on: what must hold.
        off: what ends it; None for the contrary of ``on``.
        samples: readings that must show the condition before an alert.
        hold: how long a reading is taken to still stand when nothing more is heard.
        lost_after: silence after which an open alert is closed as ``data_lost``.
        carry: judge the latest trusted value of each field, not only the values of one reading.
        value, threshold: the numbers to tell; None for those of the comparison that holds.
        roles: roles that report every field the rule needs.
    """

    on: Condition
    off: Condition | None
    samples: int
    hold: Span
    lost_after: Span
    carry: bool
    value: Quantity | None
    threshold: Quantity | None
    roles: tuple[str, ...]


def parse(own: Node, kind: Kind, role: str | None) -> Params:
    """Check an expression rule's own keys. Raises ConfigError naming file, line, key and the known names."""
    own.only("on", "off", "samples", "hold", "lost_after", "carry", "value", "threshold")
    on = condition(own.need("on"), kind, role)
    off_node, hold, lost = own.get("off"), own.get("hold"), own.get("lost_after")
    value, threshold = own.get("value"), own.get("threshold")
    off = condition(off_node, kind, role) if off_node is not None else None
    for node, made in ((own.need("on"), on), (off_node, off)):
        if node is not None and made is not None and not set(made.names) & set(kind.field_names()):
            raise node.error("follows from no reading; it needs at least one of the device's fields")
    needed = [f for f in kind.fields if f.name in {*on.names, *(off.names if off else ())}]
    able = tuple(r for r in kind.roles if role in (None, r) and all(not f.roles or r in f.roles for f in needed))
    if not able:
        who = "; ".join(f"{f.name} by {', '.join(f.roles) or 'every role'}" for f in needed)
        raise own.need("on").error(f"no role of {kind.name} reports all that it needs: {who}")
    return Params(
        on,
        off,
        _samples(own.get("samples")),
        span(hold) if hold is not None else HOLD,
        span(lost) if lost is not None else LOST_AFTER,
        _carry(own.get("carry")),
        quantity(value, kind, role) if value is not None else None,
        quantity(threshold, kind, role) if threshold is not None else None,
        able,
    )


def message_names(kind: Kind, role: str | None) -> frozenset[str]:
    """Return the names that a message may use beyond the common ones."""
    return frozenset(known_names(kind, role))


def _samples(node: Node | None) -> int:
    if node is None:
        return 1
    count = node.number(low=1, high=1000)
    if count != int(count):
        raise node.error(f"expected a whole number of readings, found {node.value}")
    return int(count)


def _carry(node: Node | None) -> bool:
    if node is None:
        return False
    if not isinstance(node.value, bool):
        raise node.error("expected true or false")
    return node.value
