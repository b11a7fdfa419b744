"""Kinds of rules: how each reads its own keys, and who judges by them. One more kind of rule is one more entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from alerts.judge import Judge
from alerts.rules import Rule
from devices.kinds import Catalog, Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.yamlfile import Node


@dataclass(frozen=True, slots=True)
class RuleKind:
    """A kind of rule.

    Attributes:
        module: where its ``parse`` and its judge stand; imported when first wanted.
        judge_name: the class that judges.
        knows_kind: whether ``parse`` also takes the catalog kind and the role, to check names against them.
        knows_catalog: whether it takes the catalog as well, for rules that watch several kinds.
        without: common keys that have no meaning for it, each with the reason that a person is told.
    """

    module: str
    judge_name: str
    knows_kind: bool = False
    knows_catalog: bool = False
    without: tuple[tuple[str, str], ...] = ()

    def parse(self, own: Node, kind: Kind, role: str | None, catalog: Catalog) -> Any:  # noqa: ANN401 - each kind has its own parameters
        """Check the kind's own keys. Raises ConfigError."""
        read: Callable[..., Any] = import_module(self.module).parse
        if self.knows_catalog:
            return read(own, kind, role, catalog)
        return read(own, kind, role) if self.knows_kind else read(own)

    def judge(self, rule: Rule, registry: Registry, sky: Sky) -> Judge:
        """Return who judges by ``rule``."""
        make: Callable[[Rule, Registry, Sky], Judge] = getattr(import_module(self.module), self.judge_name)
        return make(rule, registry, sky)

    def names(self, kind: Kind, role: str | None) -> frozenset[str] | None:
        """Return the names that messages may use beyond the common ones; None where the kind does not say."""
        module = import_module(self.module)
        if hasattr(module, "message_names"):
            found: frozenset[str] = module.message_names(kind, role)
            return found
        values = getattr(module, "VALUES", None)
        return None if values is None else frozenset(values)

    def refused(self, node: Node) -> list[str]:
        """Return a problem for each common key that has no meaning for this kind of rule."""
        found = ((node.get(key), why) for key, why in self.without)
        return [child.problem(why) for child, why in found if child is not None]


RULE_KINDS: dict[str, RuleKind] = {
    "expression": RuleKind("alerts.expression", "ExpressionJudge", knows_kind=True),
    "offline": RuleKind(
        "alerts.offline",
        "OfflineJudge",
        knows_kind=True,
        without=(
            ("for", "an offline rule waits as long as 'after' says; leave 'for' out"),
            ("keep", "an offline rule clears after so many 'reports'; leave 'keep' out"),
        ),
    ),
    "lighting_rate": RuleKind("alerts.lighting_rate", "LightingRateJudge", knows_kind=True),
    "cycle": RuleKind(
        "alerts.cycling",
        "CycleJudge",
        knows_kind=True,
        without=(("keep", "a cycle rule clears after so long without a change, see 'quiet'; leave 'keep' out"),),
    ),
    "section": RuleKind("alerts.section", "SectionJudge", knows_kind=True),
    "schedule": RuleKind("alerts.schedule", "ScheduleJudge", knows_kind=True),
    "loop": RuleKind("alerts.loop", "LoopJudge", knows_kind=True),
    "deviation": RuleKind("alerts.deviation", "DeviationJudge", knows_kind=True),
    "seepage": RuleKind(
        "alerts.seepage",
        "SeepageJudge",
        knows_kind=True,
        without=(
            ("for", "a seepage rule counts dry nights, see 'nights'; leave 'for' out"),
            ("keep", "a seepage rule clears after so many 'off_nights'; leave 'keep' out"),
        ),
    ),
    "dry_nights": RuleKind(
        "alerts.dry_nights",
        "DryNightsJudge",
        knows_kind=True,
        without=(
            ("for", "a dry night rule counts dry nights, see 'nights'; leave 'for' out"),
            ("keep", "a dry night rule clears after so many 'off_nights'; leave 'keep' out"),
        ),
    ),
    "storms": RuleKind("alerts.storms", "StormsJudge", knows_kind=True),
    "pump_cycle": RuleKind("alerts.pump_cycle", "PumpCycleJudge", knows_kind=True),
    "filling": RuleKind("alerts.filling", "FillingJudge", knows_kind=True),
    "inflow_hours": RuleKind("alerts.inflow_hours", "InflowHoursJudge", knows_kind=True),
    "route_deviation": RuleKind("alerts.route_deviation", "RouteDeviationJudge", knows_kind=True),
    "fence": RuleKind("alerts.fence", "FenceJudge", knows_kind=True),
    "off_site": RuleKind("alerts.offsite", "OffSiteJudge", knows_kind=True),
    "gps_trouble": RuleKind("alerts.gps", "GpsJudge", knows_kind=True),
    "trip": RuleKind("alerts.trip", "TripJudge", knows_kind=True),
    "clock_skew": RuleKind(
        "alerts.clock_skew",
        "ClockSkewJudge",
        knows_kind=True,
        without=(
            ("for", "a clock rule counts messages, see 'wrong'; leave 'for' out"),
            ("keep", "a clock rule counts messages, see 'wrong'; leave 'keep' out"),
        ),
    ),
    "rise": RuleKind("alerts.rise", "RiseJudge", knows_kind=True),
    "sequence": RuleKind(
        "alerts.sequence",
        "SequenceJudge",
        knows_kind=True,
        without=(("for", "a sequence rule speaks as soon as the other follows; leave 'for' out"),),
    ),
    "source_silent": RuleKind("alerts.source_silent", "SourceSilentJudge", knows_catalog=True),
}
