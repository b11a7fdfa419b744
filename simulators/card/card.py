"""The report card: what the tallies come to, with intervals, held against the floors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from alerts.expression_keys import Params
from alerts.rules import Rule, RuleSet
from alerts.spans import report_s
from devices.kinds import Catalog
from simulators.card.floors import Exempt, Floors
from simulators.card.intervals import rate_interval, share_interval
from simulators.card.tally import KindTally, RuleTally, Tally

PER = 10_000  # device-days
FEW = 2  # false alarms on the few device-days of a small card say nothing of a rate
REPORTS = 2  # report intervals that an immediate alert may take beyond its waiting time


@dataclass(frozen=True, slots=True)
class Share:
    """A counted share with its exact 95 % interval; None where nothing was counted."""

    hits: int
    of: int
    share: float | None
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rate:
    """Events in 10,000 device-days with their exact 95 % interval; None where nothing was observed."""

    events: int
    device_days: float
    rate: float | None
    low: float
    high: float | None


@dataclass(frozen=True, slots=True)
class Delay:
    """How long alerts took, seconds; None where there were none."""

    p50_s: float | None
    p95_s: float | None
    max_s: float | None


@dataclass(frozen=True, slots=True)
class KindFigures:
    """One kind of fault; its precision is that of the rule which must say it.

    ``fragmentation`` is how many incidents a crew was told of for one fault, ``alerts_each`` how many alerts they held.
    """

    kind: str
    family: str
    rule: str
    faults: int
    unseen: int
    early: int
    recall: Share
    own_recall: Share
    precision: Share
    alerts: int
    fragmentation: float | None
    alerts_each: float | None
    cascade: int
    delay: Delay
    since_on: Delay
    delay_limit_s: float | None
    overlap: float | None
    missed: list[tuple[str, str, int]]


@dataclass(frozen=True, slots=True)
class RuleFigures:
    """One rule."""

    rule: str
    precision: Share
    false_alarms: Rate
    suppressed: int
    beside: dict[str, int]
    examples: list[tuple[str, str, str, int]]


@dataclass(frozen=True, slots=True)
class TotalFigures:
    """All rules over the courses of one family, or of all."""

    name: str
    faults: int
    recall: Share
    precision: Share
    false_alarms: Rate
    fragmentation: float | None
    alerts_each: float | None
    suppressed: int
    notices: int


@dataclass(frozen=True, slots=True)
class Miss:
    """A floor that was not reached.

    Attributes:
        about: ``kind …``, ``rule …`` or ``all rules``.
        figure: which floor.
        found, floor: the figure and the floor; delays in seconds.
        reason: of the exception, empty where there is none.
        allowed: an exception allows it.
    """

    about: str
    figure: str
    found: float
    floor: float
    reason: str = ""
    allowed: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """All figures of one set of rules."""

    total: TotalFigures
    families: list[TotalFigures]
    kinds: list[KindFigures]
    rules: list[RuleFigures]
    misses: list[Miss] = field(default_factory=list)


def make_card(tally: Tally, rules: RuleSet, catalog: Catalog, floors: Floors, *, small: bool = False) -> Card:
    """Work out the figures and hold them against the floors.

    Args:
        tally: what was counted.
        rules: that were played.
        catalog: how often devices report.
        floors: what must be reached.
        small: few faults were played: a floor counts as missed only where the whole interval lies beyond it.
    """
    known = {rule.id: rule for rule in rules}
    kinds = [_kind(name, one, tally.rules, known, catalog) for name, one in tally.kinds.items()]
    kinds.sort(key=lambda one: (one.family, one.kind))
    found = [_rule(name, one) for name, one in sorted(tally.rules.items())]
    names = sorted(tally.families)
    families = [_total(name, tally, [name]) for name in names]
    total = _total("all", tally, names)
    misses = [
        *_total_misses(total, floors, small=small),
        *(miss for one in kinds for miss in _kind_misses(one, floors, small=small)),
        *(miss for one in found for miss in _rule_misses(one, floors, small=small)),
    ]
    return Card(total, families, kinds, found, misses)


def _share(hits: int, of: int) -> Share:
    low, high = share_interval(hits, of)
    return Share(hits, of, hits / of if of else None, low, high)


def _rate(events: int, device_days: float) -> Rate:
    low, high = rate_interval(events, device_days, PER)
    if device_days <= 0:
        return Rate(events, 0.0, None, 0.0, None)
    return Rate(events, device_days, events / device_days * PER, low, high)


def _delay(spans_ms: Sequence[int]) -> Delay:
    if not spans_ms:
        return Delay(None, None, None)
    p50, p95 = np.percentile(np.asarray(spans_ms, dtype=np.float64), (50, 95)) / 1000.0
    return Delay(float(p50), float(p95), max(spans_ms) / 1000.0)


def delay_limit_s(rule: Rule | None, catalog: Catalog) -> float | None:
    """Return what an immediate rule may take: ``for`` and two report intervals; None for those that gather first."""
    if rule is None or not isinstance(rule.params, Params):
        return None
    kind = catalog[rule.device]
    roles = [rule.role] if rule.role is not None else list(rule.params.roles)
    longest = max((report_s(kind, role) for role in roles), default=0.0)
    return rule.for_ms / 1000.0 + REPORTS * longest


def _kind(
    name: str, one: KindTally, rules: Mapping[str, RuleTally], known: Mapping[str, Rule], catalog: Catalog
) -> KindFigures:
    must = [rule for rule, _ in one.rules.most_common()]
    true, false = (sum(getattr(rules[rule], part) for rule in must if rule in rules) for part in ("true", "false"))
    limits = [delay_limit_s(known.get(rule), catalog) for rule in must]
    limit = max((each for each in limits if each is not None), default=None) if None not in limits else None
    return KindFigures(
        kind=name, family=one.family, rule=" ".join(must), faults=one.faults, unseen=one.unseen, early=one.early,
        recall=_share(one.found, one.due), own_recall=_share(one.own, one.due), precision=_share(true, true + false),
        alerts=one.alerts, fragmentation=one.calls / one.said if one.said else None,
        alerts_each=one.alerts / one.said if one.said else None, cascade=one.cascade,
        delay=_delay(one.delay_ms), since_on=_delay(one.since_on_ms), delay_limit_s=limit,
        overlap=float(np.median(one.overlap)) if one.overlap else None, missed=one.missed,
    )  # fmt: skip


def _rule(name: str, one: RuleTally) -> RuleFigures:
    return RuleFigures(
        name, _share(one.true, one.true + one.false), _rate(one.false, one.device_days), one.suppressed,
        dict(one.beside.most_common()), one.examples,
    )  # fmt: skip


def _total(name: str, tally: Tally, families: Sequence[str]) -> TotalFigures:
    mine = [tally.families[family] for family in families]
    kinds = [one for one in tally.kinds.values() if one.family in families]
    said, calls, alerts = (sum(getattr(one, part) for one in kinds) for part in ("said", "calls", "alerts"))
    true, false = sum(one.true for one in mine), sum(one.false for one in mine)
    return TotalFigures(
        name=name, faults=sum(one.faults for one in mine),
        recall=_share(sum(one.found for one in mine), sum(one.due for one in mine)),
        precision=_share(true, true + false), false_alarms=_rate(false, sum(one.device_days for one in mine)),
        fragmentation=calls / said if said else None, alerts_each=alerts / said if said else None,
        suppressed=sum(one.suppressed for one in mine),
        notices=sum(one.notices for one in mine),
    )  # fmt: skip


def _total_misses(total: TotalFigures, floors: Floors, *, small: bool) -> list[Miss]:
    rate = total.false_alarms
    seen = rate.low if small else rate.rate
    if seen is None or seen <= floors.false_alarms or (small and rate.events <= FEW):
        return []
    return [Miss("all rules", "false alarms in 10,000 device-days", rate.rate or 0.0, floors.false_alarms)]


def _kind_misses(one: KindFigures, floors: Floors, *, small: bool) -> list[Miss]:
    own, about = floors.kinds.get(one.kind), f"kind {one.kind}"
    out = _share_miss(about, "recall", one.recall, floors.recall, own, small=small)
    pieces = one.fragmentation
    few = small and (pieces or 0.0) * one.recall.of - floors.fragmentation * one.recall.of < 2  # chance, or two more
    if pieces is not None and not few:
        out += _above(about, "fragmentation", pieces, floors.fragmentation, own, 1.0)
    if one.delay_limit_s is not None and one.delay.p95_s is not None and not small:
        out += _above(about, "delay", one.delay.p95_s, one.delay_limit_s, own, 1000.0)
    return out


def _rule_misses(one: RuleFigures, floors: Floors, *, small: bool) -> list[Miss]:
    own = floors.rules.get(one.rule)
    return _share_miss(f"rule {one.rule}", "precision", one.precision, floors.precision, own, small=small)


def _share_miss(about: str, figure: str, found: Share, floor: float, own: Exempt | None, *, small: bool) -> list[Miss]:
    if found.share is None:
        return []
    seen = found.high if small else found.share
    if seen >= floor:
        return []
    least = own.floors.get(figure) if own is not None else None
    reason = own.reason if own is not None and least is not None else ""
    return [Miss(about, figure, found.share, floor, reason, allowed=least is not None and seen >= least)]


def _above(about: str, figure: str, found: float, floor: float, own: Exempt | None, scale: float) -> list[Miss]:
    if found <= floor:
        return []
    most = own.floors.get(figure) if own is not None else None
    reason = own.reason if own is not None and most is not None else ""
    return [Miss(about, figure, found, floor, reason, allowed=most is not None and found <= most / scale)]
