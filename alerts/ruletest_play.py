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
    for now, parts in steps(test, asked, gathered=way.gathered):
        batches = [batch for part in parts for batch in _batches(part, now, way, len(test.registry))]
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
    alone = len(set(arrivals)) == len(arrivals)
    for way in WAYS:
        if alone and not single and not (way.gathered or way.restart):
            continue  # one reading at a time can neither be cut nor come in another order
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


def steps(test: RuleTest, asked: set[int], *, gathered: bool) -> Iterator[tuple[int, list[Batch]]]:
    """Yield the host times of all steps, ticks and arrivals, with what arrives then."""
    arriving: dict[int, list[Reading]] = {}
    for one in test.readings:
        at = one.arrives_ms
        if gathered:
            at = test.start_ms - (test.start_ms - at) // test.tick_ms * test.tick_ms
        arriving.setdefault(at, []).append(one)
    ticks = range(test.start_ms, test.end_ms + 1, test.tick_ms)
    newest: dict[str, int] = {}
    for now in sorted({*ticks, *arriving, *asked}):
        yield now, list(_sifted(test.registry, now, arriving.get(now, []), newest))


def _sifted(registry: Registry, now_ms: int, readings: list[Reading], newest: dict[str, int]) -> Iterator[Batch]:
    """Yield a batch a kind, as the house sifts them: each device's readings in order of time, late ones marked."""
    rows: dict[int, list[tuple[int, Reading]]] = {}
    for one in readings:
        row = registry.row[one.entity]
        rows.setdefault(int(registry.kind[row]), []).append((row, one))
    for kind in registry.catalog:
        mine = sorted(rows.get(kind.index, ()), key=lambda pair: pair[1].time_ms)
        if not mine:
            continue
        columns = {name: number for number, name in enumerate(kind.field_names())}
        values = np.full((len(kind.fields), len(mine)), np.nan)
        for place, (_, reading) in enumerate(mine):
            for name, value in reading.values.items():
                values[columns[name], place] = value
        batch = make_batch(kind, now_ms, [one.time_ms for _, one in mine], [row for row, _ in mine], values)
        late = [one.time_ms < newest.get(one.entity, one.time_ms) for _, one in mine]
        batch.marks = np.array(late, dtype=np.uint8) * np.uint8(MARK_LATE)
        for _, one in mine:
            newest[one.entity] = max(one.time_ms, newest.get(one.entity, one.time_ms))
        yield batch


def _batches(batch: Batch, now_ms: int, way: Way, devices: int) -> Iterator[Batch]:
    """Yield what arrives at one moment for the originals and all copies, cut and ordered as the way says."""
    if way.copies:
        count = way.copies + 1
        rows = (batch.device + np.arange(count, dtype=np.int32)[:, np.newaxis] * devices).ravel()
        times, marks = np.tile(batch.time_ms, count), np.tile(batch.marks, count)
        batch = make_batch(batch.kind, now_ms, times, rows, np.tile(batch.values, count))
        batch.marks = marks
    if way.backwards:
        batch = batch.take(np.lexsort((batch.time_ms, -batch.device)))
    if len(batch) <= way.size:
        yield batch
        return
    for begin in range(0, len(batch), way.size):
        yield batch.take(np.arange(begin, min(begin + way.size, len(batch))))


def _crowd(registry: Registry, copies: int) -> Registry:
    if not copies:
        return registry
    assets: list[Asset] = list(registry.assets)
    more = [replace(asset, id=f"{asset.id}{COPY}{number}") for number in range(copies) for asset in assets]
    return Registry(registry.catalog, [*assets, *more], registry.roads, registry.permits)
