"""What one set of rules gains over another on the very same courses, fault by fault and rule by rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from alerts.rules import RuleSet
from simulators.card.card import Card, KindFigures, Rate, RuleFigures, Share
from simulators.card.match import NOTHING, Match, Said
from simulators.card.tally import due_ms
from simulators.faults import Fault

NEW, GONE, CHANGED, SAME = "new", "gone", "changed", "as before"


@dataclass(slots=True)
class Gains:
    """How two sets of rules differ on the faults that had to be said; sums up over courses.

    Attributes:
        found: faults that only this set told, by ``rule kind``: the rule that told them first.
        lost: faults that only the other set told, by ``rule kind`` of the other set.
        sooner_ms: for each fault that both told, not at the same time, how much sooner this set did (later where
            negative), by the rule of this set that told it first.
    """

    found: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    sooner_ms: dict[str, list[int]] = field(default_factory=dict)

    def add(self, other: Gains) -> None:
        """Add the figures of another course."""
        self.found += other.found
        self.lost += other.lost
        for rule, spans in other.sooner_ms.items():
            self.sooner_ms.setdefault(rule, []).extend(spans)


@dataclass(frozen=True, slots=True)
class RuleGain:
    """One rule in both sets.

    Attributes:
        rule: its id.
        state: ``new``, ``gone``, ``changed`` (it means something else) or ``as before``.
        precision, before: notified alerts that a fault explains, now and in the other set.
        false_alarms, false_before: the same of false alarms.
        found: by kind of fault how many only this set told, this rule first.
        lost: by kind of fault how many only the other set told, this rule first.
        sooner_s: the middle of how much sooner a fault that both told is told by this rule now; None without any.
        sooner_of: how many such faults there are.
    """

    rule: str
    state: str
    precision: Share
    before: Share
    false_alarms: Rate
    false_before: Rate
    found: dict[str, int]
    lost: dict[str, int]
    sooner_s: float | None
    sooner_of: int


@dataclass(frozen=True, slots=True)
class Against:
    """The rules beside another set of them, over the same courses.

    Attributes:
        name: of the other set, as people call it.
        rules: how many it has.
        rules_hash: a digest of what they mean.
        card: its figures.
        gains: a rule each, those that differ in meaning or in what they said.
        kinds: kinds of faults whose recall, delay or incidents differ: (before, now).
    """

    name: str
    rules: int
    rules_hash: str
    card: Card
    gains: list[RuleGain]
    kinds: list[tuple[KindFigures, KindFigures]]


def gains(
    faults: Sequence[Fault], ours: tuple[Sequence[Said], Match], other: tuple[Sequence[Said], Match], end_ms: int
) -> Gains:
    """Compare what two sets of rules said of the same faults.

    Args:
        faults: the truth; confounders and what need not have been said are passed over, as in the recall.
        ours, other: alerts of each set, and how they were matched.
        end_ms: when the course ended.
    """
    out = Gains()
    (said, mine), (said_before, theirs) = ours, other
    for number, fault in enumerate(faults):
        if fault.confounder or not fault.seen_ms or due_ms(fault, end_ms) > end_ms:
            continue
        now, before = bool(mine.found[number]), bool(theirs.found[number])
        first, first_before = int(mine.first[number]), int(theirs.first[number])
        if now and not before:
            out.found[f"{_by(said, first)} {fault.kind}"] += 1
        elif before and not now:
            out.lost[f"{_by(said_before, first_before)} {fault.kind}"] += 1
        elif NOTHING not in (first, first_before) and said[first].told_ms != said_before[first_before].told_ms:
            sooner = said_before[first_before].told_ms - said[first].told_ms
            out.sooner_ms.setdefault(said[first].rule, []).append(sooner)
    return out


def _by(said: Sequence[Said], first: int) -> str:
    """Return the rule that told a fault first; where only the fault that it is part of was told, none."""
    return said[first].rule if first != NOTHING else "-"


def rule_gains(ours: Card, other: Card, rules: tuple[RuleSet, RuleSet], found: Gains) -> list[RuleGain]:
    """Return the rules that differ, the new and the changed ones first; of those that are gone only what had spoken.

    Args:
        ours, other: the cards of both sets.
        rules: both sets.
        found: how they differ on single faults.
    """
    now, before = ({one.rule: one for one in card.rules} for card in (ours, other))
    meaning, meant = ({rule.id: rule.fingerprint for rule in one} for one in rules)
    out = []
    for name in sorted({*now, *before, *meaning, *meant}):
        state = _state(meaning.get(name), meant.get(name))
        spans = found.sooner_ms.get(name, [])
        one = RuleGain(
            name, state, *_both(now.get(name), before.get(name)), _of(found.found, name), _of(found.lost, name),
            median(spans) / 1000 if spans else None, len(spans),
        )  # fmt: skip
        otherwise = one.found or one.lost or spans or _figures(one.precision) != _figures(one.before)
        if state in (NEW, CHANGED) or otherwise:
            out.append(one)
    order = [NEW, CHANGED, GONE, SAME]
    return sorted(out, key=lambda one: order.index(one.state))


def _state(now: str | None, before: str | None) -> str:
    if now is None and before is None:
        return SAME  # what the root-cause stage says by itself
    if before is None or now is None:
        return NEW if before is None else GONE
    return SAME if now == before else CHANGED


def _both(now: RuleFigures | None, before: RuleFigures | None) -> tuple[Share, Share, Rate, Rate]:
    share, rate = Share(0, 0, None, 0.0, 1.0), Rate(0, 0.0, None, 0.0, None)
    return (
        now.precision if now else share, before.precision if before else share,
        now.false_alarms if now else rate, before.false_alarms if before else rate,
    )  # fmt: skip


def _of(counts: Counter[str], rule: str) -> dict[str, int]:
    found = {pair.partition(" ")[2]: number for pair, number in counts.items() if pair.partition(" ")[0] == rule}
    return dict(sorted(found.items()))


def _figures(one: Share) -> tuple[int, int]:
    return one.hits, one.of


def kind_gains(ours: Card, other: Card) -> list[tuple[KindFigures, KindFigures]]:
    """Return the kinds of faults whose figures differ, as (before, now)."""
    before = {one.kind: one for one in other.kinds}
    return [
        (before[one.kind], one) for one in ours.kinds if one.kind in before and _told(before[one.kind]) != _told(one)
    ]


def _told(one: KindFigures) -> tuple[object, ...]:
    return one.recall.hits, one.recall.of, one.delay.p95_s, one.fragmentation
