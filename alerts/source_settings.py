"""The keys of a source silent rule."""

from __future__ import annotations

from dataclasses import dataclass

from alerts.expressions import Condition, condition
from alerts.spans import Span, duration_ms, span
from devices.kinds import Catalog, Kind
from devices.registry import PLACES
from devices.yamlfile import ConfigError, Node

SCOPES = ("city", "gateway", *PLACES)
ALL, OWN = "all", "own"


@dataclass(frozen=True, slots=True)
class Params:
    """A source silent rule's own keys.

    Attributes:
        scopes: what is judged, the large before the small.
        all_kinds: whether devices of every kind count, or only those of the rule's own.
        children: a source of fewer is not judged.
        share, off_share: above the one it is silent, at or below the other it has come back.
        late: after how long a device is silent.
        horizon_ms: sources are first judged by the devices whose silence shows within this.
        every_ms: how often sources are looked at.
        conditions: by role, when its devices are meant to report; roles without one always are.
    """

    scopes: tuple[str, ...]
    all_kinds: bool
    children: int
    share: float
    off_share: float
    late: Span
    horizon_ms: int
    every_ms: int
    conditions: tuple[tuple[str, Condition], ...]


def parse(own: Node, kind: Kind, role: str | None, catalog: Catalog) -> Params:
    """Check a source silent rule's own keys. Raises ConfigError naming file, line and key."""
    own.only("scope", "devices", "children", "share", "off_share", "late", "horizon", "every", "while")
    whose = own.get("devices")
    all_kinds = whose is None or whose.text(one_of=(ALL, OWN)) == ALL
    late, children = own.get("late"), own.get("children")
    share, off_share = _share(own.get("share"), 0.5), _share(own.get("off_share"), 0.2)
    if off_share >= share:
        raise (own.get("off_share") or own.need("share")).error("'off_share' must lie below 'share'")
    return Params(
        _scopes(own.get("scope")),
        all_kinds,
        20 if children is None else _whole(children),
        share,
        off_share,
        Span(intervals=2.0) if late is None else span(late),
        _length(own.get("horizon"), 120_000),
        _length(own.get("every"), 10_000),
        _conditions(own.get("while"), list(catalog) if all_kinds else [kind], role),
    )


def _scopes(node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ("city", "gateway", "cabinet")
    found = tuple(one.text(one_of=SCOPES) for one in node.elements())
    if not found or len(set(found)) < len(found):
        raise node.error(f"expected each at most once, and at least one, of {', '.join(SCOPES)}")
    return found


def _conditions(node: Node | None, kinds: list[Kind], role: str | None) -> tuple[tuple[str, Condition], ...]:
    found = []
    for name, text in node.items() if node is not None else ():
        of = [kind for kind in kinds if name in kind.roles and role in (None, name)]
        if not of:
            known = ", ".join(one for kind in kinds for one in kind.roles)
            raise ConfigError([text.problem(f"no role '{name}' here; known: {known}")])
        found.append((name, condition(text, of[0], name)))
    return tuple(found)


def _share(node: Node | None, otherwise: float) -> float:
    return otherwise if node is None else node.number(low=0.0, high=0.99)


def _whole(node: Node) -> int:
    count = node.number(low=2, high=1_000_000)
    if count != int(count):
        raise node.error(f"expected a whole number, found {node.value}")
    return int(count)


def _length(node: Node | None, otherwise: int) -> int:
    found = otherwise if node is None else duration_ms(node)
    if found <= 0 and node is not None:
        raise node.error("expected a length of time above zero")
    return found
