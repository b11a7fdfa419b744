"""How long an alert waits for what may explain it, how long it is given to clear, and how much lies behind it."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.explaining import Explaining
from alerts.incident_notices import GRAVE, Timing
from alerts.incident_state import Member
from alerts.inhibition import FOUND, Inhibition
from alerts.rules import Rule
from alerts.topology import Topology
from devices.transition import Transition

REPORTS = 3  # a device is given so many reports to recover by itself once what explained it is over


class Patience:
    """The times and sizes that follow from an alert's rule.

    Attributes:
        explaining: who explains whom.
    """

    def __init__(
        self,
        rules: Mapping[str, Rule],
        inhibition: Inhibition,
        timing: Timing,
        explaining: Explaining,
        topology: Topology,
    ) -> None:
        self._rules, self._inhibition, self._timing, self._topology = rules, inhibition, timing, topology
        self.explaining = explaining

    def wait_ms(self, begun: Transition) -> int:
        """Return how long an alert waits for what may explain it and for others like it."""
        rule = self._rules.get(begun.rule)
        if begun.severity == "critical":
            return self._timing.critical_wait_ms
        if rule is None or rule.id in FOUND or self._inhibition.spares(rule):
            return 0
        waits = rule.kind == "offline" or begun.severity not in GRAVE or self._inhibition.explainable(rule)
        return self._timing.wait_ms if waits else 0

    def settle_ms(self, member: Member) -> int:
        """Return how long an alert may take to clear by itself once what explained it is over: no second storm."""
        rule = self._rules.get(member.begun.rule)
        own = 0 if rule is None else rule.for_ms + rule.keep_ms
        return own + REPORTS * self.explaining.report_ms(member.begun) + self._timing.wait_ms

    def behind(self, begun: Transition) -> int:
        """Return how many devices lie behind an alert that explains what is below it."""
        if "devices" in begun.values:
            return int(begun.values["devices"])
        rule = self._rules.get(begun.rule)
        if rule is None or not self.explaining.explains_below(rule):
            return 0
        return len(self._topology.below(self._topology.node_of(begun.entity)))
