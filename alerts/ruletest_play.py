"""Plays a rule test through the real engine on a virtual clock, in every way that must make no difference.

What is promised, and held against each test:

* **Batches.** The readings that arrive at one moment may be cut into batches of one, of 64, or stand in a single one.
* **Order.** Messages that arrive at one moment may come in any order: of different devices because each device has a
  memory of its own, of one device because the house puts the readings of a group in order of their time before they are
  judged. A reading that arrives after a newer one of its device in an earlier group is late: heard, not judged.
* **Groups.** Where the clock ticks more rarely than messages arrive, all messages between two ticks may come as one
  group at the later tick: the same alerts in device time. What is told in host time (a silent device that is heard
  again) may be told as much as one tick later, so both are compared at whole ticks.
* **Restarts.** The engine may be saved and loaded into a fresh one after every single step.

Rules of single devices are played with a crowd as well: many copies of each device side by side, in which every copy
must tell what the original tells alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from alerts.engine import AWAY_MS, Engine
from alerts.ruletest import Reading, RuleTest, Told
from devices.asset import Asset
from devices.batch import MARK_LATE, Batch, make_batch
from devices.registry import Registry
from devices.sky import Sky

Marked = tuple[Reading, bool]

SINGLE = ("expression", "offline")  # kinds of rules that judge each device by itself
COPY = "-copy-"
CROWD_MOST = 200_000  # readings a crowd may have; longer tests are played with fewer copies


@dataclass(frozen=True, slots=True)
class Way:
    """One way to play a test.

    Attributes:
        name: as people are told when it makes a difference.
        size: readings a batch at most.
        copies: of each device beside the original.
        backwards: messages of one moment come in reverse order.
        restart: save and load after every step.
        gathered: all messages between two ticks come together at the later one.
    """

    name: str
    size: int = 1 << 30
    copies: int = 0
    backwards: bool = False
    restart: bool = False
    gathered: bool = False


ALONE = Way("as written")
WAYS = (
    Way("one reading a batch", size=1, copies=2),
    Way("in batches of 64, among copies", size=64, copies=65),
    Way("in one batch, in reverse order", copies=65, backwards=True),
    Way("messages between two ticks in one group", gathered=True),
    Way("saved and loaded after every step", restart=True),
)


@dataclass(slots=True)
class Played:
    """What came of it.

    Attributes:
        told: alerts that began or ended, in order.
        figures: the numbers that each of them told, in the same order.
        alerts, pending: at each moment that the test asks about, host time: (rule, entity) with the time since when.
        steps: how often the engine was asked.
    """

    told: list[Told] = field(default_factory=list)
    figures: list[Mapping[str, float]] = field(default_factory=list)
    alerts: dict[int, dict[tuple[str, str], int]] = field(default_factory=dict)
    pending: dict[int, dict[tuple[str, str], int]] = field(default_factory=dict)
    steps: int = 0


def play(test: RuleTest, way: Way = ALONE) -> Played:
    """Play a test from its start to its end."""
    registry = _crowd(test.registry, way.copies)
    sky = Sky(registry, test.zone, test.rules.lighting)
    away = max(AWAY_MS, 2 * test.tick_ms)
    engine, out = Engine(test.rules, registry, sky, away), Played()
    asked = {one.at_ms for one in test.expect}
    newest: dict[str, int] = {}
    for now, readings in _steps(test, way, asked):
        batches = [part for kind in _by_kind(registry, readings, newest) for part in _batches(registry, kind, now, way)]
        for one in engine.step(batches, now):
            out.told.append(Told(one.at_ms, one.rule, one.state, one.entity, one.onset_ms, one.reason))
            out.figures.append(one.values)
        out.steps += 1
        if way is ALONE and now in asked:
            found = engine.open_alerts()
            out.alerts[now] = {(rule, who): at for rule, each in found.items() for who, at in each.items()}
            out.pending[now] = {(one.rule, one.entity): one.since_ms for one in engine.pending()}
        if way.restart:
            saved = engine.save()
            engine = Engine(test.rules, registry, sky, away)
            engine.load(saved)
    return out


def ways(test: RuleTest) -> Iterator[Way]:
    """Yield the ways that a test can be played in and that must make no difference."""
    single = all(rule.kind in SINGLE for rule in test.rules)
    arrivals = [one.arrives_ms for one in test.readings]
    for way in WAYS:
        if way.gathered and all((at - test.start_ms) % test.tick_ms == 0 for at in arrivals):
            continue  # every message arrives at a tick: the groups are the same
        room = max(CROWD_MOST // max(len(test.readings), 1) - 1, 0)
        yield replace(way, copies=min(way.copies, room) if single else 0)


def differences(test: RuleTest, way: Way, plain: Sequence[Told], told: Sequence[Told]) -> dict[str, list[Told]]:
    """Return what a way tells that is not what the test tells as written, by copy; empty where all is the same."""
    own = sorted(_on_grid(test, one) if way.gathered else one for one in plain)
    groups: dict[str, list[Told]] = {"": []}
    groups.update((str(number), []) for number in range(way.copies))
    for one in told:
        entity, _, copy = one.entity.partition(COPY)
        said = one._replace(entity=entity)
        groups[copy].append(_on_grid(test, said) if way.gathered else said)
    return {copy: sorted(each) for copy, each in groups.items() if sorted(each) != own}


def _on_grid(test: RuleTest, one: Told) -> Told:
    """Return the same with its times moved on to the next tick."""
    at, onset = (test.start_ms - (test.start_ms - t) // test.tick_ms * test.tick_ms for t in (one.at_ms, one.onset_ms))
    return one._replace(at_ms=at, onset_ms=onset)


def _steps(test: RuleTest, way: Way, asked: set[int]) -> Iterator[tuple[int, list[Reading]]]:
    """Yield the host times of all steps, ticks and arrivals, with what arrives then."""
    arriving: dict[int, list[Reading]] = {}
    for one in test.readings:
        at = one.arrives_ms
        if way.gathered:
            at = test.start_ms - (test.start_ms - at) // test.tick_ms * test.tick_ms
        arriving.setdefault(at, []).append(one)
    ticks = range(test.start_ms, test.end_ms + 1, test.tick_ms)
    for now in sorted({*ticks, *arriving, *asked}):
        found = arriving.get(now, [])
        copies = [one._replace(entity=f"{one.entity}{COPY}{number}") for number in range(way.copies) for one in found]
        everything = [*found, *copies]
        yield now, everything[::-1] if way.backwards else everything


def _by_kind(registry: Registry, readings: list[Reading], newest: dict[str, int]) -> Iterator[list[Marked]]:
    """Yield the readings of each kind as the house sifts them: each device's in order, and whether late."""
    if not readings:
        return
    before = {one.entity: newest.get(one.entity, one.time_ms) for one in readings}
    marked: dict[str, list[Marked]] = {}
    in_order = sorted(readings, key=lambda one: one.time_ms)
    for one in in_order:
        kind = registry.assets[registry.row[one.entity]].kind
        marked.setdefault(kind, []).append((one, one.time_ms < before[one.entity]))
        newest[one.entity] = max(one.time_ms, newest.get(one.entity, one.time_ms))
    yield from (marked[kind.name] for kind in registry.catalog if kind.name in marked)


def _batches(registry: Registry, readings: list[Marked], now_ms: int, way: Way) -> Iterator[Batch]:
    kind = registry.catalog[registry.assets[registry.row[readings[0][0].entity]].kind]
    columns = {name: number for number, name in enumerate(kind.field_names())}
    for begin in range(0, len(readings), way.size):
        part = readings[begin : begin + way.size]
        values = np.full((len(kind.fields), len(part)), np.nan)
        for place, (reading, _) in enumerate(part):
            for name, value in reading.values.items():
                values[columns[name], place] = value
        rows = [registry.row[reading.entity] for reading, _ in part]
        batch = make_batch(kind, now_ms, [reading.time_ms for reading, _ in part], rows, values)
        batch.marks = np.array([MARK_LATE if late else 0 for _, late in part], dtype=np.uint8)
        yield batch


def _crowd(registry: Registry, copies: int) -> Registry:
    if not copies:
        return registry
    assets: list[Asset] = list(registry.assets)
    more = [replace(asset, id=f"{asset.id}{COPY}{number}") for number in range(copies) for asset in assets]
    return Registry(registry.catalog, [*assets, *more], registry.roads, registry.permits)
