"""The whole report: the cards of the rules and of what they are compared with, and what was played; as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alerts.inhibition import COMMON_CAUSE
from alerts.rules import RuleSet
from devices.kinds import Catalog
from simulators.card.card import Card, make_card
from simulators.card.floors import Floors
from simulators.card.gains import Against, Gains, kind_gains, rule_gains
from simulators.card.plan import AGAINST, OURS, Dealt, said_by
from simulators.card.tally import Tally


@dataclass(frozen=True, slots=True)
class PlayedFamily:
    """What was played of one family."""

    courses: int
    seeds: list[int]
    devices: int
    days: float
    each: int
    readings: int
    generating_cpu_s: float
    judging_cpu_s: float


@dataclass(frozen=True, slots=True)
class Made:
    """How a card was made.

    Attributes:
        seeds: ``A`` or ``B``.
        plan: ``full`` or ``small``.
        rules, rules_hash: how many rules, and a digest of what they mean.
        machine: processor, cores, kernel, Python.
        wall_s, processes: how long it took, and in how many processes.
        families: what was played.
        baselined: by family the courses that the baselines were played in.
        naive_kept: rules that could not be made naive.
        mute: kinds of faults that were played and that none of the rules may say.
    """

    seeds: str
    plan: str
    rules: int
    rules_hash: str
    machine: str
    wall_s: float
    processes: int
    families: dict[str, PlayedFamily]
    baselined: dict[str, int]
    naive_kept: list[str]
    mute: list[str]


@dataclass(frozen=True, slots=True)
class Report:
    """What is written to ``docs/report-card.json``.

    Attributes:
        made: how.
        floors: what must be reached.
        card: the shipped rules, over all courses.
        compared: the shipped rules again, over the courses in which the baselines were played.
        baselines: naive and random, over the same courses.
        against: other rules over the same courses, and what these gain over them; None where none were given.
    """

    made: Made
    floors: dict[str, float]
    card: Card
    compared: Card
    baselines: dict[str, Card]
    against: Against | None = None

    def as_json(self) -> str:
        """Return it as JSON text, keys as the attributes."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, allow_nan=False) + "\n"

    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def rules_hash(rules: RuleSet) -> str:
    """Return a digest of what the rules mean, whatever they are called in words."""
    told = "\n".join(sorted(f"{rule.id} {rule.fingerprint}" for rule in rules))
    return hashlib.blake2s(told.encode(), digest_size=8).hexdigest()


def make_report(
    dealt: Sequence[Dealt],
    rules: RuleSet,
    catalog: Catalog,
    floors: Floors,
    *,
    seeds: str,
    plan: str,
    machine: str,
    wall_s: float,
    processes: int,
    against: tuple[str, RuleSet] | None = None,
) -> Report:
    """Add up the courses and work out the cards; ``against`` are the name and the rules that were played beside."""
    small = plan == "small"
    order = sorted(dealt, key=lambda one: (one.job.family, one.job.seed))
    both = [one for one in order if one.job.baselines]
    whole, compared = _sum(order, OURS), _sum(both, OURS)
    names = sorted({name for one in both for name in one.tallies if name not in (OURS, AGAINST)})
    made = Made(
        seeds, plan, len(rules), rules_hash(rules), machine, round(wall_s, 1), processes, _played(order),
        {family: sum(one.job.family == family for one in both) for family in {one.job.family: 0 for one in both}},
        sorted({rule for one in both for rule in one.naive_kept}),
        mute_kinds(whole, rules),
    )  # fmt: skip
    figures = {name: getattr(floors, name) for name in ("recall", "precision", "false_alarms", "fragmentation")}
    card = make_card(whole, rules, catalog, floors, small=small)
    return Report(
        made, figures, card,
        make_card(compared, rules, catalog, floors, small=small),
        {name: make_card(_sum(both, name), rules, catalog, floors, small=small) for name in names},
        None if against is None else _against(order, card, rules, against, catalog, floors),
    )  # fmt: skip


def mute_kinds(tally: Tally, rules: RuleSet) -> list[str]:
    """Return the kinds of faults that were played and that no rule of a set may say."""
    says, known = said_by([rules]), {COMMON_CAUSE, *(rule.id for rule in rules)}
    return sorted(kind for kind, one in tally.kinds.items() if not known & {*says.get(kind, ()), *one.rules})


def _against(
    dealt: Sequence[Dealt], card: Card, rules: RuleSet, other: tuple[str, RuleSet], catalog: Catalog, floors: Floors
) -> Against:
    """Return what the rules gain over others that were played beside them."""
    name, before = other
    theirs, won = make_card(_sum(dealt, AGAINST), before, catalog, floors), Gains()
    for one in dealt:
        won.add(one.gains)
    found = rule_gains(card, theirs, (rules, before), won)
    return Against(name, len(before), rules_hash(before), theirs, found, kind_gains(card, theirs))


def _sum(dealt: Sequence[Dealt], name: str) -> Tally:
    total = Tally()
    for one in dealt:
        total.add(_copy(one.tallies[name]))
    return total


def _copy(one: Tally) -> Tally:
    """Return a tally of its own: sums are added up in place."""
    fresh = Tally()
    fresh.kinds = {name: type(each)(**_parts(each)) for name, each in one.kinds.items()}
    fresh.rules = {name: type(each)(**_parts(each)) for name, each in one.rules.items()}
    fresh.families = {name: type(each)(**_parts(each)) for name, each in one.families.items()}
    return fresh


def _parts(one: object) -> Mapping[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}  # type: ignore[attr-defined]


def _played(dealt: Sequence[Dealt]) -> dict[str, PlayedFamily]:
    out: dict[str, PlayedFamily] = {}
    for family in {one.job.family: 0 for one in dealt}:
        mine = [one for one in dealt if one.job.family == family]
        out[family] = PlayedFamily(
            len(mine), [one.job.seed for one in mine], sum(one.devices for one in mine),
            round(max(one.days for one in mine), 3), mine[0].job.size.each, sum(one.readings for one in mine),
            round(sum(one.generating_s for one in mine), 2), round(sum(one.judging_s[OURS] for one in mine), 2),
        )  # fmt: skip
    return out
