"""Conditions over figures that a judge works out itself, such as a pump's cycle, instead of reported fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from alerts.columns import DERIVED
from alerts.expressions import Condition, condition
from devices.kinds import Field, Kind
from devices.yamlfile import Node

WIDE = 1e9  # figures have no physical range of their own


def figures_kind(kind: Kind, figures: Mapping[str, str], yes_or_no: Collection[str]) -> Kind:
    """Return a kind whose fields are the figures, with the facts of ``kind``.

    Args:
        kind: of the devices that are judged.
        figures: name to what it says.
        yes_or_no: names of those that hold or do not.
    """
    fields = tuple(
        Field(name, "", "bool" if name in yes_or_no else "float", -WIDE, WIDE, text, text)
        for name, text in figures.items()
    )
    return Kind(kind.name, kind.en, kind.zh, kind.roles, fields, kind.facts, kind.report_s, kind.index)


def figures_condition(node: Node, kind: Kind, role: str | None) -> Condition:
    """Read a condition over a kind's figures and facts. Raises ConfigError for anything else, and for derived names."""
    found = condition(node, kind, role)
    strange = [name for name in found.names if name in DERIVED]
    if strange:
        known = ", ".join(field.name for field in kind.fields)
        raise node.error(f"'{strange[0]}' is not known here; known: {known} and facts")
    return found
