"""The whole report: the cards of the rules and of what they are compared with, and what was played; as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alerts.rules import RuleSet
from devices.kinds import Catalog
from simulators.card.card import Card, make_card
from simulators.card.floors import Floors
from simulators.card.plan import OURS, Dealt
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


@dataclass(frozen=True, slots=True)
class Report:
    """What is written to ``docs/report-card.json``.

    Attributes:
        made: how.
        floors: what must be reached.
        card: the shipped rules, over all courses.
        compared: the shipped rules again, over the courses in which the baselines were played.
        baselines: naive and random, over the same courses.
    """

    made: Made
    floors: dict[str, float]
    card: Card
    compared: Card
    baselines: dict[str, Card]

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
) -> Report:
    """Add up the courses and work out the cards."""
    small = plan == "small"
    order = sorted(dealt, key=lambda one: (one.job.family, one.job.seed))
    both = [one for one in order if one.job.baselines]
    whole, compared = _sum(order, OURS), _sum(both, OURS)
    names = sorted({name for one in both for name in one.tallies if name != OURS})
    made = Made(
        seeds, plan, len(rules), rules_hash(rules), machine, round(wall_s, 1), processes, _played(order),
        {family: sum(one.job.family == family for one in both) for family in {one.job.family: 0 for one in both}},
        sorted({rule for one in both for rule in one.naive_kept}),
    )  # fmt: skip
    figures = {name: getattr(floors, name) for name in ("recall", "precision", "false_alarms", "fragmentation")}
    return Report(
        made, figures, make_card(whole, rules, catalog, floors, small=small),
        make_card(compared, rules, catalog, floors, small=small),
        {name: make_card(_sum(both, name), rules, catalog, floors, small=small) for name in names},
    )  # fmt: skip


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
