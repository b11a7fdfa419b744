"""Plays a scenario in virtual time through the real engine and its root-cause stage, and compares what was told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

from alerts.rules import RuleSet
from devices.kinds import Catalog
from devices.payloads import Decoder
from devices.registry import Registry
from devices.sky import Sky
from simulators.card.match import Said
from simulators.card.play import Listener, Stage
from simulators.city import City, build_city
from simulators.faults import KINDS, NEVER_MS, Fault
from simulators.scenario import Mischief, Scenario, Storm, Telling
from simulators.weather import HOUR_MS, rain_of
from simulators.world import World

TICK_MS = 60_000
COARSE_MS = 600_000  # for scenarios of days
Stages = Callable[[RuleSet, Registry, Sky], Stage]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that was told and not expected, or the other way round.

    Attributes:
        place: where the expectation stands; empty for what was told.
        text: for people.
    """

    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Performance:
    """What came of a scenario.

    Attributes:
        start_ms: epoch milliseconds.
        told: alerts that people are told, in the order of time.
        explained: alerts that others explain.
        differences: none where all is as expected.
        readings: how many were judged.
    """

    start_ms: int
    told: list[Said]
    explained: list[Said]
    differences: list[Difference]
    readings: int


def city_of(scenario: Scenario, name: str = "linjiang") -> City:
    """Return the scenario's city."""
    size = scenario.sizes
    return build_city(
        scenario.seed,
        lamps=size["lamps"],
        covers=size["covers"],
        stations=size["stations"],
        trucks=size["trucks"],
        name=name,
    )


def world_of(
    scenario: Scenario, city: City, catalog: Catalog, rules: RuleSet, zone: str, start_ms: int | None = None
) -> World:
    """Return the scenario's world, with its weather and its faults.

    Args:
        scenario, city: see :func:`city_of`.
        catalog, rules: for the registry and the lighting hours.
        zone: IANA name of the city's time zone.
        start_ms: when it begins; left out: when the scenario says.

    Raises:
        ConfigError: where a fault befalls nobody in the city.
    """
    registry = Registry(catalog, city.assets, city.roads, city.permits, city.centre)
    begin = start_of(scenario, zone) if start_ms is None else start_ms
    faults = [fault for number, one in enumerate(scenario.faults, 1) for fault in _faults(number, one, registry, begin)]
    rain = rain_of(_storm(storm, begin) for storm in scenario.storms)
    return World(city, catalog, zone, scenario.seed, begin, faults, schedule=rules.lighting, rain=rain)


def start_of(scenario: Scenario, zone: str) -> int:
    """Return when the scenario begins, epoch milliseconds."""
    return int(scenario.local_start.replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def _storm(storm: Storm, begin_ms: int) -> tuple[int, int, float]:
    return begin_ms + storm.at_ms, begin_ms + storm.at_ms + storm.lasts_ms, storm.rain_mm


def _faults(number: int, one: Mischief, registry: Registry, begin_ms: int) -> list[Fault]:
    kind = KINDS[one.kind]
    targets = one.of.of(registry)
    size = one.magnitude if one.magnitude is not None else sum(kind.magnitude) / 2
    rule = kind.rules[0] if kind.rules else ""
    groups: Sequence[tuple[str, ...]] = [(target,) for target in targets] if one.each_ms else [tuple(targets)]
    out = []
    for turn, group in enumerate(groups):
        on_ms = begin_ms + one.at_ms + turn * one.each_ms
        off_ms = on_ms + one.lasts_ms if one.lasts_ms else NEVER_MS
        name = f"{number:02d}-{one.kind}-{group[0]}"
        out.append(Fault(name, one.kind, rule, f"device:{group[0]}", on_ms, off_ms, off_ms, size, group))
    return out


def play(scenario: Scenario, catalog: Catalog, rules: RuleSet, zone: str, stages: Stages | None = None) -> Performance:
    """Play a scenario from its start to its end. Raises ConfigError where a fault befalls nobody in its city."""
    city = city_of(scenario)
    world = world_of(scenario, city, catalog, rules, zone)
    stage = stages(rules, world.registry, world.sky) if stages is not None else None
    listener = Listener(rules, world.registry, world.sky, stage)
    readings = 0
    if scenario.history_days:
        decoder = Decoder(world.registry, city.name)
        decoded = decoder.decode(list(world.history(scenario.history_days)), world.start_ms)
        listener.step(decoded.batches, world.start_ms)
    tick = TICK_MS if scenario.lasts_ms <= 24 * HOUR_MS else COARSE_MS
    for now_ms, batches in world.steps(world.start_ms + scenario.lasts_ms, tick):
        listener.step(batches, now_ms)
        readings += sum(len(batch) for batch in batches)
    said = [one for one in listener.said() if one.told_ms >= world.start_ms]
    told = [one for one in said if not one.suppressed]
    explained = [one for one in said if one.suppressed]
    return Performance(world.start_ms, told, explained, compare(scenario, world.start_ms, told), readings)


def compare(scenario: Scenario, start_ms: int, told: Sequence[Said]) -> list[Difference]:
    """Return where what was told is not what was expected."""
    out: list[Difference] = []
    known: set[int] = set()
    for one in scenario.expect:
        fits = [k for k, said in enumerate(told) if _fits(one, said, start_ms)]
        known.update(fits)
        about = f"{one.rule} of {one.entity}"
        if not fits:
            late = [said for said in told if _is(one, said)]
            when = f"; it was at {clock(min(said.told_ms for said in late) - start_ms)}" if late else ""
            out.append(
                Difference(one.place, f"{about} was not told from {clock(one.from_ms)} to {clock(one.by_ms)}{when}")
            )
            continue
        if one.times is not None and len(fits) != one.times:
            out.append(Difference(one.place, f"{about} was told {len(fits)} times, expected {one.times}"))
        open_ = [told[k] for k in fits if one.ends_ms and told[k].until_ms - start_ms > one.ends_ms]
        out += [
            Difference(one.place, f"{said.rule} of {said.entity} is not over by {clock(one.ends_ms)}") for said in open_
        ]
    for k, said in enumerate(told):
        if k not in known and not any(_fits(one, said, start_ms) for one in scenario.allow):
            out.append(Difference("", f"{said.rule} of {said.entity} was told at {clock(said.told_ms - start_ms)}"))
    return out


def _is(one: Telling, said: Said) -> bool:
    return fnmatchcase(said.rule, one.rule) and fnmatchcase(said.entity, one.entity)


def _fits(one: Telling, said: Said, start_ms: int) -> bool:
    return _is(one, said) and one.from_ms <= said.told_ms - start_ms <= one.by_ms


def clock(since_ms: int) -> str:
    """Return a time after the start as people read it: 1h05m, 40m, 2m30s."""
    seconds = since_ms // 1000
    days, hours, minutes, rest = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60, seconds % 60
    if days:
        return f"{days}d{hours:02d}h{minutes:02d}m"
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if rest else f"{minutes}m"
