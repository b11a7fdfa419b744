"""Stops, strange hours and trips of trucks against their slow twins, on wild drives, however readings are cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alerts.engine import Engine
from alerts.rules import Rule, RuleSet, load_rules
from devices.batch import Batch, make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Permit, Registry
from devices.sky import Sky
from devices.transition import ACTIVE
from simulators.oracle_route import Event
from simulators.oracle_yards import HoursTwin, Report, StopTwin, TripTwin

CATALOG = load_catalog()
RULES = load_rules(Path(__file__).parents[2] / "config" / "rules" / "trucks.yaml", CATALOG)
START_MS = 1_760_104_800_000  # 2025-10-10 22:00 in Shanghai
ZONE, LON, LAT = "Asia/Shanghai", 114.3, 30.6
MIN_MS = 60_000
YARDS = [
    [(x - 200.0, -200.0), (x + 200.0, -200.0), (x + 200.0, 200.0), (x - 200.0, 200.0), (x - 200.0, -200.0)]
    for x in (0.0, 2000.0)
]
WAY = [(-500.0, 0.0), (2500.0, 0.0)]
TRUCKS, PERMITS = 5, 4  # the last has no permit: it is not judged, and stands about
HOURS = [(20 * 60, 6 * 60), (0, 1440), (23 * 60, 60), (12 * 60, 14 * 60)]
Row = tuple[int, int, float, float, dict[str, float]]


def registry() -> Registry:
    names = [f"truck-{k}" for k in range(TRUCKS)]
    assets = [Asset(name, "truck", "truck", facts={"max_load_t": 18.0}) for name in names]
    plain = Registry(CATALOG, assets, centre=(LON, LAT))
    degrees = lambda points: tuple(  # noqa: E731
        (float(x), float(y)) for x, y in zip(*plain.projection.to_degrees(*np.array(points).T), strict=True)
    )
    sites = tuple(degrees(ring) for ring in YARDS)
    permits = [Permit(f"p-{k}", names[k], degrees(WAY), sites, HOURS[k]) for k in range(PERMITS)]
    return Registry(CATALOG, assets, permits=permits, centre=(LON, LAT))


def drive(rng: np.random.Generator, truck: int, steps: int) -> list[Row]:
    """Readings of a truck that shuttles between two sites, stops, leaves, loads and loses its fixes as it likes."""
    out: list[Row] = []
    time, at, goal = START_MS + int(rng.integers(0, 15)) * 1000, rng.uniform(-9, 9, 2), np.array([2004.0, 3.0])
    speed, load, ignition, still = 10.0, 12.0, 1.0, 0
    for _ in range(steps):
        dt = float(rng.choice([5, 15, 30, 240, 1200], p=[0.05, 0.82, 0.1, 0.025, 0.005]))
        time += round(1000 * dt)
        if still > 0:
            still, speed = still - 1, 0.0
        elif rng.random() < 0.02:
            still = int(rng.integers(5, 120))
        elif rng.random() < 0.1:
            speed = float(rng.choice([0.5, 2.0, 4.0, 12.0, 18.0]))
        if rng.random() < 0.03:
            load = float(rng.choice([0.5, 3.0, 12.0, 15.0]))
        if rng.random() < 0.02:
            goal = np.array([rng.choice([0.0, 2000.0, 1000.0, 1000.0]), rng.choice([0.0, 0.0, 900.0])])
            goal += rng.uniform(-9, 9, 2)
        if rng.random() < 0.05:
            ignition = 1.0 - ignition
        way = goal - at
        far = float(np.hypot(*way))
        if far <= speed * dt and 0 < goal[0] < 2000:
            still = max(still, int(rng.integers(0, 60)))  # several trucks wait at the same place
        at = goal.copy() if far <= speed * dt else at + way / max(far, 1e-9) * speed * dt
        fields = {"hdop": float(rng.choice([1.0, 1.0, 1.0, 9.0])), "speed_kmh": 3.6 * speed}
        fields |= {"load_t": load, "ignition": ignition}
        out.append((time, truck, float(at[0]), float(at[1]), {k: v for k, v in fields.items() if rng.random() > 0.04}))
    return out


def groups(rng: np.random.Generator, rows: list[Row]) -> list[tuple[int, list[Row]]]:
    """Return what arrives at each step: mostly at once, now and then what a truck held back for long."""
    found: dict[int, list[Row]] = {}
    held = dict.fromkeys(range(TRUCKS), (0, 0))
    for row in rows:
        if row[0] > held[row[1]][1] and rng.random() < 0.008:
            held[row[1]] = row[0], row[0] + int(rng.integers(2, 20)) * MIN_MS
        begin, end = held[row[1]]
        came = end if begin <= row[0] < end else row[0]
        found.setdefault((came // 300_000 + 1) * 300_000, []).append(row)
    return sorted(found.items())


def batch_of(known: Registry, rows: list[Row], now_ms: int) -> Batch:
    kind = CATALOG["truck"]
    values = np.full((len(kind.fields), len(rows)), np.nan)
    for at, (_, _, east, north, fields) in enumerate(rows):
        lon, lat = known.projection.to_degrees(east, north)
        for name, value in (fields | {"lon_deg": float(lon), "lat_deg": float(lat)}).items():
            values[kind.column(name), at] = value
    return make_batch(kind, now_ms, [row[0] for row in rows], [row[1] for row in rows], values)


def engine_says(rng: np.random.Generator, rule: Rule, arriving: list[tuple[int, list[Row]]]) -> list[tuple[str, Event]]:
    """Return what the engine says, with each step's readings cut and put in any order, and saved now and then."""
    known = registry()
    engine = Engine(RuleSet((rule,), RULES.lighting), known, Sky(known, ZONE, RULES.lighting), 10**9)
    told = []
    for now, rows in arriving:
        mixed = sorted(rows, key=lambda row: (row[0], rng.random()))
        parts = np.array_split(np.arange(len(mixed)), int(rng.integers(1, 7)))
        told += engine.step([batch_of(known, [mixed[k] for k in part], now) for part in parts if len(part)], now)
        if rng.random() < 0.1:
            saved = engine.save()
            engine = Engine(engine.rules, known, engine.sky, 10**9)
            engine.load(saved)
    return [(t.entity, Event(t.state == ACTIVE, t.at_ms, t.onset_ms, t.reason)) for t in told]


def report(row: Row) -> Report:
    time, _, east, north, fields = row
    fix = (east, north) if fields.get("hdop", 1.0) <= 6.0 else None
    speed, load = fields.get("speed_kmh", np.nan), fields.get("load_t", np.nan)
    return Report(time, (east, north), fix, speed, load, fields.get("ignition", np.nan))


def same(found: list[tuple[str, Event]], expected: list[tuple[str, Event]]) -> None:
    key = lambda pair: (pair[1].at_ms, pair[0], not pair[1].active)  # noqa: E731
    assert sorted(found, key=key) == sorted(expected, key=key)
    assert {event.active for _, event in expected} == {True, False}


def course(seed: int, steps: int) -> tuple[np.random.Generator, list[tuple[int, list[Row]]]]:
    rng = np.random.default_rng([seed, 77])
    rows = sorted((row for truck in range(TRUCKS) for row in drive(rng, truck, steps)), key=lambda row: row[:2])
    return rng, groups(rng, rows)


@pytest.mark.parametrize("seed", range(3))
def test_a_loaded_stop_is_what_the_slow_twin_says_in_whatever_order_its_neighbours_speak(seed: int) -> None:
    rng, arriving = course(seed, 800)
    plain = RULES["truck_stopped"]
    rule = replace(plain, for_ms=4 * MIN_MS, params=replace(plain.params, peers_m=400.0))
    sites = {f"truck-{k}": YARDS for k in range(PERMITS)}
    twin = StopTwin(rule.params, rule.for_ms, rule.keep_ms, sites, [f"truck-{PERMITS}"])
    expected = []
    for _, rows in arriving:
        for row in sorted(rows, key=lambda one: one[0]):
            twin.reading(f"truck-{row[1]}", report(row))
        expected += [(f"device:{name}", event) for name, event in twin.end_of_step()]
    same(engine_says(rng, rule, arriving), expected)


@pytest.mark.parametrize("seed", [5, 6])
def test_driving_at_strange_hours_is_what_the_slow_twin_says(seed: int) -> None:
    rng, arriving = course(seed, 800)
    rule = RULES["truck_off_hours"]
    sky = Sky(registry(), ZONE, RULES.lighting)
    minute = lambda time_ms: int(sky.local_minute(time_ms))  # noqa: E731
    twins = [HoursTwin(rule.params, rule.keep_ms, YARDS, [HOURS[k]], minute) for k in range(PERMITS)]
    expected = []
    for _, rows in arriving:
        for row in sorted(rows, key=lambda one: one[0]):
            event = twins[row[1]].reading(report(row)) if row[1] < PERMITS else None
            expected += [(f"device:truck-{row[1]}", event)] if event is not None else []
    same(engine_says(rng, rule, arriving), expected)


@pytest.mark.parametrize(("seed", "keep_ms"), [(0, 0), (1, 5 * MIN_MS)])
def test_a_trip_that_does_not_end_is_what_the_slow_twin_says(seed: int, keep_ms: int) -> None:
    rng, arriving = course(seed, 800)
    plain = RULES["trip_incomplete"]
    rule = replace(plain, keep_ms=keep_ms, params=replace(plain.params, least_ms=6 * MIN_MS, times=1.23))
    twins = [TripTwin(rule.params, rule.keep_ms, YARDS, 3000.0) for _ in range(PERMITS)]
    expected = []
    last = arriving[-1][0]
    arriving = [*arriving, *((last + hour * 60 * MIN_MS, []) for hour in range(1, 30))]  # and nobody is heard any more
    for now, rows in arriving:
        mine = [row for row in sorted(rows, key=lambda one: one[0]) if row[1] < PERMITS]
        found = [(row[1], twins[row[1]].reading(report(row), now)) for row in mine]
        found += [(k, twin.tick(now)) for k, twin in enumerate(twins)]
        expected += [(f"device:truck-{k}", event) for k, event in found if event is not None]
    same(engine_says(rng, rule, arriving), expected)


def test_whether_others_stand_there_too_is_asked_when_all_readings_of_a_step_are_in() -> None:
    rule = replace(RULES["truck_stopped"], for_ms=4 * MIN_MS)
    loaded = {"hdop": 1.0, "speed_kmh": 0.0, "load_t": 12.0, "ignition": 1.0}
    rows = [(START_MS + n * 30_000, 0, 1000.0, 0.0, loaded) for n in range(10)]
    rows += [(START_MS + n * 30_000, 4, 1100.0, 0.0, loaded | {"speed_kmh": 40.0 * (n == 9)}) for n in range(10)]
    rows.sort()
    known = registry()
    said = []
    for size in (1, 3, len(rows)):
        engine = Engine(RuleSet((rule,), RULES.lighting), known, Sky(known, ZONE, RULES.lighting), 10**9)
        now = rows[-1][0] + 1000
        parts = [batch_of(known, rows[at : at + size], now) for at in range(0, len(rows), size)]
        said.append([(t.entity, t.state, t.at_ms, t.onset_ms) for t in engine.step(parts, now)])
    assert said == [[("device:truck-0", ACTIVE, START_MS + 4 * MIN_MS, START_MS)]] * 3, "the other drives away at last"
