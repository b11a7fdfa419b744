"""What a course comes to: counts a kind of fault, a rule and a family, which add up over courses and seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from alerts.rules import RuleSet
from devices.registry import Registry
from simulators.card.match import NOTHING, Match, Said
from simulators.faults import NEVER_MS, Fault

EXAMPLES = 8  # false alarms and misses of each sort that are named one by one
OUT_OF_NOTHING = "nothing"


@dataclass(slots=True)
class KindTally:
    """One kind of fault.

    Attributes:
        family: whose courses it is in.
        faults: how many there were.
        unseen: those that no reading showed, which nobody can find; left out of the rest.
        early: those that the course ended upon before they had to be said; left out too.
        due: faults that had to be said.
        found: those of them that were, themselves or with their parent.
        own: those that the one rule said that must.
        said: faults for which alerts were counted, due or not.
        alerts: notified alerts counted for them.
        calls: incidents that these were gathered into.
        cascade: alerts about them that others explained.
        delay_ms: for each that was found itself, from the first reading that shows it to the first alert.
        since_on_ms: the same from its true beginning.
        overlap: for each found itself, length in which fault and first alert both held over that of either.
        rules: how often each rule was the one that must say it.
        missed: the first misses, as entity and true beginning.
    """

    family: str = ""
    faults: int = 0
    unseen: int = 0
    early: int = 0
    due: int = 0
    found: int = 0
    own: int = 0
    said: int = 0
    alerts: int = 0
    calls: int = 0
    cascade: int = 0
    delay_ms: list[int] = field(default_factory=list)
    since_on_ms: list[int] = field(default_factory=list)
    overlap: list[float] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)
    missed: list[tuple[str, str, int]] = field(default_factory=list)


@dataclass(slots=True)
class RuleTally:
    """One rule.

    Attributes:
        device_days: of the devices that it judges.
        true, false: notified alerts that a fault explains, and that none does.
        suppressed: alerts that others explain; they count neither way.
        beside: false alarms by what was there at the time: ``confounder …``, ``fault …`` of other rules, or nothing.
        examples: the first false alarms, as what was there, entity and time.
    """

    device_days: float = 0.0
    true: int = 0
    false: int = 0
    suppressed: int = 0
    beside: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str, str, int]] = field(default_factory=list)


@dataclass(slots=True)
class FamilyTally:
    """The courses of one family, all rules together."""

    device_days: float = 0.0
    true: int = 0
    false: int = 0
    suppressed: int = 0
    faults: int = 0
    due: int = 0
    found: int = 0
    notices: int = 0


_Sums = TypeVar("_Sums", KindTally, RuleTally, FamilyTally)


@dataclass(slots=True)
class Tally:
    """One set of rules over any number of courses."""

    kinds: dict[str, KindTally] = field(default_factory=dict)
    rules: dict[str, RuleTally] = field(default_factory=dict)
    families: dict[str, FamilyTally] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Add the figures of other courses to these."""
        _merge(self.kinds, other.kinds)
        _merge(self.rules, other.rules)
        _merge(self.families, other.families)


def tally(
    family: str,
    said: Sequence[Said],
    faults: Sequence[Fault],
    found: Match,
    device_days: Mapping[str, float],
    end_ms: int,
    notices: int = 0,
) -> Tally:
    """Count what a course came to.

    Args:
        family: name of the course.
        said, faults, found: what was matched, and how.
        device_days: by rule, and under the empty name of all devices together.
        end_ms: when the course ended.
        notices: how many times people were told.
    """
    out = Tally()
    for name, days in device_days.items():
        if name:
            out.rules[name] = RuleTally(device_days=days)
    whole = out.families[family] = FamilyTally(device_days=device_days[""], notices=notices)
    _count_alerts(out, whole, said, faults, found)
    for number, fault in enumerate(faults):
        if not fault.confounder:
            _count_fault(out, whole, family, number, fault, said, found, end_ms)
    return out


def _count_alerts(out: Tally, whole: FamilyTally, said: Sequence[Said], faults: Sequence[Fault], found: Match) -> None:
    for number, one in enumerate(said):
        rule = out.rules.setdefault(one.rule, RuleTally())
        if one.suppressed:
            rule.suppressed += 1
            whole.suppressed += 1
        elif found.true[number]:
            rule.true += 1
            whole.true += 1
        else:
            rule.false += 1
            whole.false += 1
            beside = _beside(faults, int(found.beside[number]))
            rule.beside[beside] += 1
            if rule.beside[beside] <= EXAMPLES:
                rule.examples.append((beside, one.rule, one.entity, one.told_ms))


def _beside(faults: Sequence[Fault], number: int) -> str:
    if number == NOTHING:
        return OUT_OF_NOTHING
    fault = faults[number]
    return f"{'confounder' if fault.confounder else 'fault'} {fault.kind}"


def _count_fault(
    out: Tally, whole: FamilyTally, family: str, number: int, fault: Fault, said: Sequence[Said], found: Match,
    end_ms: int,
) -> None:  # fmt: skip
    kind = out.kinds.setdefault(fault.kind, KindTally(family))
    kind.faults += 1
    whole.faults += 1
    kind.rules[fault.rule] += 1
    kind.alerts += int(found.alerts[number])
    kind.calls += int(found.told[number])
    kind.said += bool(found.alerts[number])
    kind.cascade += int(found.cascade[number])
    if not fault.seen_ms:
        kind.unseen += 1
    elif due_ms(fault, end_ms) > end_ms:
        kind.early += 1  # it may have been said, and need not have been yet
    else:
        kind.due += 1
        whole.due += 1
        kind.own += bool(found.own_ms[number] < NEVER_MS)
        if found.found[number]:
            kind.found += 1
            whole.found += 1
        elif len(kind.missed) < EXAMPLES:
            kind.missed.append((fault.kind, fault.entity, fault.on_ms))
    first = int(found.first[number])
    if first != NOTHING and fault.seen_ms:
        one = said[first]
        kind.delay_ms.append(one.told_ms - fault.seen_ms)
        kind.since_on_ms.append(one.told_ms - fault.on_ms)
        kind.overlap.append(_overlap(one, fault, end_ms))


def due_ms(fault: Fault, end_ms: int) -> int:
    """Return by when a fault must have been said: as it says itself, else before it or its course ends."""
    return next((moment for moment in (fault.due_ms, fault.off_ms) if moment < NEVER_MS), end_ms)


def _overlap(one: Said, fault: Fault, end_ms: int) -> float:
    """Return the time in which alert and fault both held over the time in which either did."""
    alert = (min(one.told_ms, end_ms), min(one.until_ms, end_ms))
    held = (fault.seen_ms, min(fault.off_ms, end_ms))
    both = min(alert[1], held[1]) - max(alert[0], held[0])
    either = max(alert[1], held[1]) - min(alert[0], held[0])
    return max(0.0, both / either) if either > 0 else 1.0


def days_by_rule(rules: RuleSet, registry: Registry, device_days: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return the days observed of the devices that each rule judges, and of all devices under the empty name."""
    out = {"": float(device_days.sum())}
    for rule in rules:
        out[rule.id] = float(device_days[registry.rows_of(rule.device, rule.role)].sum())
    return out


def _merge(mine: dict[str, _Sums], theirs: dict[str, _Sums]) -> None:
    """Add the others' figures to mine: numbers and counters are summed, lists put end to end, texts kept."""
    for name, one in theirs.items():
        if name not in mine:
            mine[name] = one
            continue
        for part in fields(one):
            value = getattr(mine[name], part.name)
            if not isinstance(value, str):
                setattr(mine[name], part.name, value + getattr(one, part.name))
