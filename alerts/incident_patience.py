"""How long an alert waits for what may explain it, how long it is given to clear, and how much lies behind it."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.by_night import settled_ms, shows_by_night
from alerts.explaining import Explaining
from alerts.incident_notices import GRAVE, Timing
from alerts.incident_state import Member
from alerts.inhibition import FOUND, Inhibition
from alerts.rules import Rule
from alerts.topology import Topology
from devices.sky import DAY_MS, Sky
from devices.transition import Transition

REPORTS = 3  # a device is given so many reports to recover by itself once what explained it is over
SPARE = 2  # and so many more than its rule wants, for one or two may be lost
NIGHTS = 4  # of so many nights one at least is dry, for rules that end only by dry nights


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
        sky: Sky | None = None,
    ) -> None:
        self._rules, self._inhibition, self._timing, self._topology = rules, inhibition, timing, topology
        self.explaining = explaining
        self._sky, self._lamp = sky, inhibition.causes.lamp if inhibition.causes is not None else None

    def wait_ms(self, begun: Transition) -> int:
        """Return how long an alert waits for what may explain it and for others like it."""
        rule = self._rules.get(begun.rule)
        if begun.severity == "critical":
            return self._timing.critical_wait_ms
        if rule is None or rule.id in FOUND or self._inhibition.spares(rule):
            return 0
        waits = rule.kind == "offline" or begun.severity not in GRAVE or self._inhibition.explainable(rule)
        return self._timing.wait_ms if waits else 0

    def settled_ms(self, member: Member, ended_ms: int) -> int:
        """Return until when an alert may clear by itself once what explained it is over: no second storm.

        Lamps that are dark may be well or not, and only the next evening shows it: by day the time stands still.
        """
        begun = member.begun
        rule = self._rules.get(begun.rule)
        own = 0 if rule is None else rule.for_ms + rule.keep_ms
        own += NIGHTS * DAY_MS * getattr(rule.params, "off_nights", 0) if rule is not None else 0
        reports = max(REPORTS, getattr(rule.params, "reports", 0) + SPARE) if rule is not None else REPORTS
        settle_ms = own + reports * self.explaining.report_ms(begun) + self._timing.wait_ms
        if (
            rule is None
            or self._sky is None
            or self._lamp is None
            or not shows_by_night(rule, begun.entity, self._lamp)
        ):
            return ended_ms + settle_ms
        rows = self._topology.rows_of(begun.entity)
        return settled_ms(self._sky, rows, ended_ms, settle_ms) if len(rows) else ended_ms + settle_ms

    def behind(self, begun: Transition) -> int:
        """Return how many devices lie behind an alert that explains what is below it."""
        if "devices" in begun.values:
            return int(begun.values["devices"])
        rule = self._rules.get(begun.rule)
        if rule is None or not self.explaining.explains_below(rule):
            return 0
        return len(self._topology.below(self._topology.node_of(begun.entity)))
