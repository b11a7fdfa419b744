"""A script of faults in the making: each with the time by which its rule must have said it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from alerts.offline import Params as OfflineParams
from alerts.rules import Rule, RuleSet
from alerts.spans import report_s
from devices.kinds import Catalog
from simulators.faults import NEVER_MS, Fault
from simulators.world import Intervals

MIN_MS = 60_000


@dataclass(frozen=True, slots=True)
class How:
    """How a fault shows: seconds between the reports that do, milliseconds until they do at all, and how much."""

    report_s: float
    extra_ms: int = 0
    magnitude: float = 1.0


@dataclass(slots=True)
class Script:
    """Gathers faults whose rules exist.

    Attributes:
        base_ms: city time from which the minutes of :meth:`at` count.
        slack_ms: city time granted for the way from device to alert.
    """

    catalog: Catalog
    rules: RuleSet
    intervals: Intervals
    base_ms: int
    slack_ms: int
    faults: list[Fault] = field(default_factory=list)

    def at(self, minutes: float) -> int:
        """Return the city time so many minutes after the base."""
        return self.base_ms + round(minutes * MIN_MS)

    def add(self, kind: str, rule: str, device: str, span: tuple[int, int], how: How) -> None:
        """Add a fault of one device that is said of the same device."""
        self.add_of((kind, rule, f"device:{device}"), [device], span, how)

    def add_of(self, what: tuple[str, str, str], targets: Sequence[str], span: tuple[int, int], how: How) -> None:
        """Add one fault: its kind, rule and entity, the devices it touches, and city time from and until."""
        kind, rule, entity = what
        if rule not in {known.id for known in self.rules}:
            return
        wait_ms = delay_ms(self.rules[rule], self.catalog) + round(
            4 * how.report_s * 1000
        )  # 3 samples, one of them lost
        due_ms = span[0] + wait_ms + how.extra_ms + self.slack_ms
        name = f"{len(self.faults) + 1:02d}-{kind}-{entity.partition(':')[2]}"
        self.faults.append(Fault(name, kind, rule, entity, *span, due_ms, how.magnitude, tuple(targets)))

    def may(self, faults: Sequence[Fault], rule: str, entity: str = "") -> None:
        """Let another rule say these faults as well, of the same entity or of another; it need not."""
        if rule in {known.id for known in self.rules}:
            for fault in faults:
                name = f"{len(self.faults) + 1:02d}-{fault.id.partition('-')[2]}"
                self.faults.append(replace(fault, id=name, rule=rule, entity=entity or fault.entity, due_ms=NEVER_MS))


def delay_ms(rule: Rule, catalog: Catalog) -> int:
    """Return how long a rule waits before it speaks."""
    if isinstance(rule.params, OfflineParams):
        kind = catalog[rule.device]
        return rule.params.after.of(report_s(kind, rule.role or kind.roles[0]))
    return rule.for_ms
