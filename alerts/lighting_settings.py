"""Settings of the lighting rate rule, and how they are read from a rules file."""

from __future__ import annotations

from dataclasses import dataclass, field

from alerts.keys import Keys
from alerts.spans import Span, span
from devices.kinds import Kind
from devices.transition import SEVERITIES
from devices.yamlfile import Node

SCOPES = ("road", "cabinet", "grid")
FRESH = Span(intervals=3.0)


@dataclass(frozen=True, slots=True)
class RateParams:
    """Settings of the rule; config/rules.yaml names their sources.

    Attributes:
        scopes: what is judged, of SCOPES.
        target: rate that a healthy road keeps.
        targets: the same by rank of road, where it differs.
        alpha: chance below which so many lamps out are no chance.
        off_p: the alert may end when the chance is above this again.
        coverage: share of the expected lamps that must be known.
        settle_ms: after the switch-on, before lamps count.
        lit_share: of the power due, above which a lamp burns.
        fresh: a lamp silent for longer is unknown.
        every_ms: how often the rates are worked out.
        least: roads and cabinets of fewer lamps are not judged.
        grid_least: grid cells of fewer lamps are merged with their neighbours.
        main_severity: severity on main roads, where it differs.
        once: a group is not told while half of its lamps out are told of by a group of another scope; each scope of the
            list waits a report interval longer than the one before, so that the first of them speaks first.
    """

    scopes: tuple[str, ...] = SCOPES
    target: float = 0.98
    targets: dict[str, float] = field(default_factory=dict)
    alpha: float = 1e-3
    off_p: float = 0.05
    coverage: float = 0.8
    settle_ms: int = 1_800_000
    lit_share: float = 0.3
    fresh: Span = FRESH
    every_ms: int = 60_000
    least: int = 3
    grid_least: int = 20
    main_severity: str = ""
    once: bool = False


def parse(own: Node, kind: Kind, role: str | None) -> RateParams:  # noqa: ARG001 - every kind of rule is asked alike
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    if not set(kind.field_names()) & {"power_w", "current_a", "lamp_failure"}:
        raise own.error(f"{kind.name} reports neither power_w, current_a nor lamp_failure: nothing says if it burns")
    plain = RateParams()
    keys = Keys(
        own, "scope", "target", "targets", "alpha", "off_p", "coverage", "settle", "lit_share", "fresh", "every",
        "lamps_min", "grid_lamps_min", "main_severity", "once",
    )  # fmt: skip
    params = RateParams(
        scopes=keys.read("scope", plain.scopes, _scopes),
        target=keys.number("target", plain.target, 0.5, 0.9999),
        targets=keys.read("targets", plain.targets, _targets),
        alpha=keys.number("alpha", plain.alpha, 1e-9, 0.5),
        off_p=keys.number("off_p", plain.off_p, 1e-9, 0.9),
        coverage=keys.number("coverage", plain.coverage, 0, 1),
        settle_ms=keys.length("settle", plain.settle_ms),
        lit_share=keys.number("lit_share", plain.lit_share, 0.01, 1),
        fresh=keys.read("fresh", plain.fresh, span),
        every_ms=max(keys.length("every", plain.every_ms), 1000),
        least=keys.whole("lamps_min", plain.least, 1, 10_000),
        grid_least=keys.whole("grid_lamps_min", plain.grid_least, 1, 10_000),
        main_severity=keys.text("main_severity", "", SEVERITIES),
        once=keys.read("once", plain.once, _yes),
    )
    if params.off_p < params.alpha:
        keys.problem("off_p", f"expected at least alpha ({params.alpha:g})")
    keys.done()
    return params


def _scopes(node: Node) -> tuple[str, ...]:
    nodes = node.elements() if isinstance(node.value, list) else [node]
    return tuple(dict.fromkeys(child.text(one_of=SCOPES) for child in nodes))


def _targets(node: Node) -> dict[str, float]:
    return {rank: child.number(low=0.5, high=0.9999) for rank, child in node.items()}


def _yes(node: Node) -> bool:
    if not isinstance(node.value, bool):
        raise node.error("expected true or false")
    return node.value
