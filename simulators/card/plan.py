"""Which courses a report card plays, how large, from which seeds; and the playing of one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alerts.expression_keys import Params
from alerts.lightgroups import by_grid
from alerts.offline import Params as OfflineParams
from alerts.rules import Rule, RuleSet, load_rules, parse_rules, read_rules
from alerts.spans import report_s
from devices.kinds import Catalog
from devices.registry import Registry
from devices.sky import Sky
from simulators.card.baselines import NAIVE, RANDOM, load_naivety, naive_rules, random_alerts
from simulators.card.floors import Floors, load_floors
from simulators.card.gains import Gains, gains
from simulators.card.match import Match, Said, match
from simulators.card.play import Listener, Played, Stage, play
from simulators.card.tally import Tally, days_by_rule, tally
from simulators.card.topology import Rows, Topology
from simulators.course import Course, Size
from simulators.faults import FAMILIES, KINDS
from simulators.own_faults import Overlaid, declare, load_own_faults

OURS, AGAINST = "ours", "against"  # the rules that are scored, and those that they are held against
SEEDS = {"A": 1_000, "B": 2_000}  # rules are tuned on A, the card is reported on B; the courses count up from here
SEEDS_MOST = 1_000  # courses of one family, so that A and B never meet
INTERVALS_OF_GRACE = 2
LEAST_GRACE_MS = 5 * 60_000

Stages = Callable[[RuleSet, Registry, Sky], Stage]


class Share(NamedTuple):
    """One family's part in a card.

    Attributes:
        size: of each course.
        courses: how many, each from a seed of its own.
        stride_s: the engine is called so often at most, see play.gathered.
        tick_s: how often the course looks at faults and weather; 0 for as often as it likes itself.
    """

    size: Size
    courses: int
    stride_s: float
    tick_s: float = 0.0


# The catalogue asks for 20,000 lamps for 14 nights, 60 stations for 2 years from several seeds (all stations of a seed
# share its rain), 400 trucks for 90 duty days, 30,000 device-days of the others, and 200 faults of a kind. Courses of
# half an hour at most: what is broken off goes on with the next one. About four hours of CPU. Slow seepage, a fault of
# which takes a station for most of a year, has the 72 that prove a recall of 0.95 where none is missed.
FULL = {
    "lighting": Share(Size(10_000, 14, 50), 5, 300, 120),
    "drainage": Share(Size(100, 56, 30), 8, 300),
    "seepage": Share(Size(36, 240, 3), 24, 3_600),
    "manholes": Share(Size(2_500, 14, 100), 2, 300),
    "trucks": Share(Size(400, 9, 22), 10, 60),
    "system": Share(Size(800, 6, 30), 8, 60, 60),
}
# Minutes: twenty faults of most kinds, which shows what misses often and proves little.
MEDIUM = {
    "lighting": Share(Size(3_000, 7, 11), 2, 300, 120),
    "drainage": Share(Size(110, 18, 20), 1, 600),
    "seepage": Share(Size(14, 200, 1), 1, 3_600),
    "manholes": Share(Size(600, 5, 22), 1, 300),
    "trucks": Share(Size(160, 4, 20), 1, 60),
    "system": Share(Size(500, 5, 20), 1, 60, 60),
}
SMALL = {
    "lighting": Share(Size(240, 1.5, 3), 1, 600, 300),
    "drainage": Share(Size(6, 3, 3), 1, 600),
    "manholes": Share(Size(60, 2, 3), 1, 300),
    "trucks": Share(Size(10, 0.75, 3), 1, 120),
    "system": Share(Size(120, 1, 2), 1, 120, 120),
}
# 20,000 devices for 30 days, as many of each kind as cities have: to see how quickly that is played.
SPEED = {
    "lighting": Share(Size(7_300, 30, 20), 1, 300, 120),
    "drainage": Share(Size(80, 30, 20), 1, 300),
    "manholes": Share(Size(12_000, 30, 20), 1, 300),
    "trucks": Share(Size(240, 30, 20), 1, 300, 300),
}
# What a device-day costs beside a lamp's, by the CPU that medium courses took: a truck speaks every 15 seconds and is
# looked at by a dozen rules; a station has meters and pumps that speak every minute.
COSTS = {"trucks": 30.0, "drainage": 8.0, "seepage": 0.5, "system": 8.0}
PLANS = {"full": FULL, "medium": MEDIUM, "small": SMALL, "speed": SPEED}


@dataclass(frozen=True, slots=True)
class Job:
    """One course to be played."""

    family: str
    seed: int
    share: Share
    baselines: bool

    @property
    def size(self) -> Size:
        """Return how large the course is."""
        return self.share.size

    @property
    def cost(self) -> float:
        """Return about how much work it is, in days of one lamp; a course has its own cost beside its devices'."""
        each = COSTS.get(self.family, 1.0)
        return (self.size.devices + 200) * self.size.days * each * (2.0 if self.baselines else 1.0)


@dataclass(frozen=True, slots=True)
class Files:
    """What a card is made from: rules, floors, how rules are made naive, rules to compare with, faults of one's own."""

    rules: Path
    floors: Path
    naive: Path
    against: Path | None = None
    faults: Path | None = None


@dataclass(slots=True)
class Dealt:
    """What a course came to.

    Attributes:
        job: which.
        tallies: by name of the rule set.
        readings, devices, days: what was played.
        generating_s, judging_s: CPU seconds, judging by name of the rule set.
        naive_kept: rules that could not be made naive.
        gains: what the rules gain over those that they are held against.
    """

    job: Job
    tallies: dict[str, Tally]
    readings: int
    devices: int
    days: float
    generating_s: float
    judging_s: dict[str, float]
    naive_kept: list[str]
    gains: Gains = field(default_factory=Gains)


def jobs(plan: Mapping[str, Share], seeds: str, families: Iterable[str], *, every_baseline: bool) -> list[Job]:
    """Return the courses of a card, the largest first so that the last process is not left alone with one.

    Args:
        plan: how large, by family.
        seeds: ``A`` or ``B``.
        families: which of them; those without a course yet are left out.
        every_baseline: play the baselines in every course; else in each family's first.
    """
    out = [
        Job(family, SEEDS[seeds] + number, plan[family], every_baseline or number == 0)
        for family in families
        if family in plan and has_course(family)
        for number in range(min(plan[family].courses, SEEDS_MOST))
    ]
    return sorted(out, key=lambda job: -job.cost)


def has_course(family: str) -> bool:
    """Return whether a family has a course."""
    try:
        return hasattr(import_module(f"simulators.courses.{family}"), "build")
    except ModuleNotFoundError:
        return False


def deal(
    job: Job,
    files: Files,
    catalog: Catalog,
    cpu_s: Callable[[], float],
    stages: Stages | None = None,
    progress: Callable[[float], None] | None = None,
) -> Dealt:
    """Build a course, play it, and count what it came to.

    Args:
        job: which course.
        files: rules and floors.
        catalog: the kinds.
        cpu_s: CPU seconds of this process so far.
        stages: makes the root-cause stage for a registry; None for none.
        progress: told which share has been played.
    """
    root, source = read_rules(files.rules)
    rules, floors = parse_rules(root, catalog, source), load_floors(files.floors)
    begun = cpu_s()
    course: Course = import_module(f"simulators.courses.{job.family}").build(job.seed, job.size, catalog, rules)
    if job.share.tick_s and hasattr(course, "tick_ms"):
        course.tick_ms = round(job.share.tick_s * 1000)
    course = overlaid(course, job, files, catalog)
    building = cpu_s() - begun
    stage = stages(rules, course.registry, course.sky) if stages is not None else None
    listeners = {OURS: Listener(rules, course.registry, course.sky, stage)}
    sets, kept = {OURS: rules}, list[str]()
    if files.against is not None:
        sets[AGAINST] = load_rules(files.against, catalog)
        their_stage = stages(sets[AGAINST], course.registry, course.sky) if stages is not None else None
        listeners[AGAINST] = Listener(sets[AGAINST], course.registry, course.sky, their_stage)
    if job.baselines:
        sets[NAIVE], kept = naive_rules(root, rules, load_naivety(files.naive), catalog)
        listeners[NAIVE] = Listener(sets[NAIVE], course.registry, course.sky)
    played = play(course, listeners, cpu_s, progress, round(job.share.stride_s * 1000))
    if job.baselines:
        sets[RANDOM] = rules
        rng = np.random.default_rng([job.seed, 77])
        span = (course.start_ms, course.end_ms)
        played.said[RANDOM] = random_alerts(played.said[OURS], rules, course.registry, span, rng)
    tallies, won = count(played, sets, floors, catalog)
    days = (course.end_ms - course.start_ms) / 86_400_000
    return Dealt(
        job, tallies, played.readings, len(course.registry), days,
        building + played.generating_s, played.judging_s, kept, won,
    )  # fmt: skip


def overlaid(course: Course, job: Job, files: Files, catalog: Catalog) -> Course:
    """Return the course with the faults of one's own that befall its family, where there are any."""
    own = load_own_faults(files.faults, catalog) if files.faults is not None else ()
    declare(own)
    mine = [one for one in own if one.family == job.family]
    return Overlaid(course, mine, job.seed, job.size.each) if mine else course


def count(
    played: Played, sets: Mapping[str, RuleSet], floors: Floors, catalog: Catalog
) -> tuple[dict[str, Tally], Gains]:
    """Match what each set of rules has said with the truth, count, and compare the two sets where there are two."""
    course, out = played.course, dict[str, Tally]()
    says = said_by(sets.values())
    grace = graces(sets[OURS], floors, catalog, says)
    matched: dict[str, tuple[list[Said], Match]] = {}
    for name, rules in sets.items():
        places = trucks_of(course.registry, played.gathered.get(name, {}))
        topology = Topology(course.registry, merged_cells(course.registry, rules) | places)
        # What was said of the time before the course begins is not scored: nothing was watched then.
        said: list[Said] = [one for one in played.said[name] if one.told_ms >= course.start_ms]
        found = match(said, played.faults, topology, says, grace)
        matched[name] = said, found
        days = days_by_rule(rules, course.registry, played.device_days)
        notices = played.notices.get(name, sum(not one.suppressed for one in said))
        out[name] = tally(course.name, said, played.faults, found, days, course.end_ms, notices)
    if AGAINST not in sets:
        return out, Gains()
    return out, gains(played.faults, matched[OURS], matched[AGAINST], course.end_ms)


def said_by(sets: Iterable[RuleSet]) -> dict[str, tuple[str, ...]]:
    """Return by kind of fault the rules that may say it: those of its injector, and those that say so themselves."""
    own = [(rule.id, kind) for rules in sets for rule in rules for kind in rule.finds]
    return {
        kind: tuple(dict.fromkeys([*injector.rules, *(rule for rule, told in own if told == kind)]))
        for kind, injector in KINDS.items()
    }


def graces(
    rules: RuleSet, floors: Floors, catalog: Catalog, says: Mapping[str, Sequence[str]] | None = None
) -> dict[str, int]:
    """Return by kind of fault how long after its end an alert may begin: as written, or after its rules' patience."""
    known = {rule.id: rule for rule in rules}
    out: dict[str, int] = {}
    for kind, names in (said_by([rules]) if says is None else says).items():
        own = [patience_ms(known[rule], catalog) for rule in names if rule in known]
        out[kind] = floors.grace_ms.get(kind, max(own, default=LEAST_GRACE_MS))
    return out


def patience_ms(rule: Rule, catalog: Catalog) -> int:
    """Return how long a rule may take to speak of what a reading has shown."""
    kind = catalog[rule.device]
    roles = [rule.role] if rule.role is not None else list(kind.roles)
    if isinstance(rule.params, Params) and rule.role is None:
        roles = list(rule.params.roles)
    report = max(report_s(kind, role) for role in roles)
    wait_ms = rule.for_ms
    if isinstance(rule.params, OfflineParams):
        wait_ms = rule.params.after.of(report)
    return max(LEAST_GRACE_MS, wait_ms + round(INTERVALS_OF_GRACE * report * 1000))


def trucks_of(registry: Registry, gathered: Mapping[str, Iterable[str]]) -> dict[str, Rows]:
    """Return the rows of the devices that places have explained, by the place's entity."""
    return {
        place: np.array(sorted(registry.row[one.partition(":")[2]] for one in devices), dtype=np.intp)
        for place, devices in gathered.items()
    }


def merged_cells(registry: Registry, rules: RuleSet) -> dict[str, Rows]:
    """Return the lamps of the grid cells that a lighting rate rule has put together, by the entity that it names."""
    out: dict[str, Rows] = {}
    for rule in rules:
        least = getattr(rule.params, "grid_least", None)
        if least is not None:
            lamps = registry.rows_of(rule.device, rule.role)
            grid = by_grid(registry, lamps, least)
            out |= {f"grid:{name}": lamps[grid.member == k] for k, name in enumerate(grid.names)}
    return out


ALL_FAMILIES = tuple(FAMILIES)
