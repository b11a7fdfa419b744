"""Lighting rate, seepage and route deviation against their slow twins, over random cities; and cut up anyhow."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.binomial import Critical
from alerts.engine import Engine
from alerts.rules import RuleSet, load_rules
from devices.batch import Batch, make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Permit, Registry
from devices.sky import Sky
from devices.transition import ACTIVE, Transition
from simulators.oracle_route import Event, RouteTwin
from simulators.oracle_special import RateTwin, SeepTwin, lamps_out_that_alert

CATALOG = load_catalog()
RULES = load_rules(Path(__file__).parents[2] / "config" / "rules.yaml", CATALOG)
START_MS = 1_760_104_800_000  # 2025-10-10 22:00 in Shanghai
ZONE = "Asia/Shanghai"
LON, LAT = 114.3, 30.6
M = 111_195.0


def engine_of(rule: str, assets: list[Asset], permits: tuple[Permit, ...] = ()) -> Engine:
    registry = Registry(CATALOG, assets, permits=permits, centre=(LON, LAT))
    return Engine(RuleSet((RULES[rule],), RULES.lighting), registry, Sky(registry, ZONE, RULES.lighting))


def batch_of(kind: str, rows: list[tuple[int, int, dict[str, float]]], arrival_ms: int) -> Batch:
    declared = CATALOG[kind]
    values = np.full((len(declared.fields), len(rows)), np.nan)
    for at, (_, _, fields) in enumerate(rows):
        for name, value in fields.items():
            values[declared.column(name), at] = value
    return make_batch(declared, arrival_ms, [row[1] for row in rows], [row[0] for row in rows], values)


def told(found: list[Transition]) -> list[tuple[str, Event]]:
    return [(t.entity, Event(t.state == ACTIVE, t.at_ms, t.onset_ms, t.reason)) for t in found]


def place(east: float, north: float) -> tuple[float, float]:
    return LON + east / (M * np.cos(np.radians(LAT))), LAT + north / M


def trip(rng: np.random.Generator, fixes: int) -> list[tuple[int, dict[str, float]]]:
    """A wandering drive around a 4 km road: detours, stops, jumps of the receiver, gaps, missing speeds."""
    out, time, east, north, heading, speed = [], START_MS, -2000.0, 0.0, 90.0, 10.0
    biased = np.zeros(2)
    silent_speed = rng.random() < 0.4
    for _ in range(fixes):
        dt = float(rng.choice([1, 5, 15, 30, 200], p=[0.1, 0.2, 0.55, 0.12, 0.03]))
        if rng.random() < 0.12:
            heading = float(rng.choice([0, 90, 180, 270]))
        if rng.random() < 0.1:
            speed = float(rng.choice([0, 5, 10, 20]))
        if rng.random() < 0.06:
            biased = rng.normal(0, 80, 2) if rng.random() < 0.6 else np.zeros(2)
        if np.hypot(east, north) > 3000:
            heading = float(np.degrees(np.arctan2(-east, -north)) % 360)
        time += int(dt * 1000)
        east += speed * dt * np.sin(np.radians(heading))
        north += speed * dt * np.cos(np.radians(heading))
        lon, lat = place(east + biased[0] + rng.normal(0, 5), north + biased[1] + rng.normal(0, 5))
        fields = {"lon_deg": lon, "lat_deg": lat}
        if rng.random() < 0.8:
            fields["hdop"] = float(rng.choice([0.9, 2.4, 4.0]))
        if not silent_speed and rng.random() < 0.95:
            fields |= {"speed_kmh": speed * 3.6, "heading_deg": heading}
        out.append((time, fields))
    return out


def permits_for(rng: np.random.Generator, truck: str) -> tuple[Permit, ...]:
    road = tuple(place(x, 60 * np.sin(x / 300)) for x in np.linspace(-2500, 2500, 60))
    yard = tuple(place(x, y) for x, y in ((-300, 300), (300, 300), (300, 700), (-300, 700)))
    cross = tuple(place(0, y) for y in np.linspace(-1500, 1500, 30))
    first = Permit("a", truck, road, (yard,), (20 * 60, 6 * 60))
    second = Permit("b", truck, cross, (), (0, 1440), 0, START_MS + 1_800_000, 120.0)
    return (first, second) if rng.random() < 0.5 else (first,)


@pytest.mark.parametrize("seed", range(6))
def test_route_deviation_says_what_its_slow_twin_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"truck-{n}" for n in range(6)]
    permits = {name: permits_for(rng, name) for name in names}
    flat = tuple(p for group in permits.values() for p in group)
    engine = engine_of("route_deviation", [Asset(name, "truck", "truck") for name in names], flat)
    drives = [trip(rng, 400) for _ in names]
    judge = engine.judges[0]
    minute = lambda time_ms: int(engine.sky.local_minute(time_ms))  # noqa: E731
    twins = [RouteTwin(permits[name], minute, judge.watch.params) for name in names]
    expected = []
    for name, drive, twin in zip(names, drives, twins, strict=True):
        for time, f in drive:
            speed, heading = f.get("speed_kmh", np.nan), f.get("heading_deg", np.nan)
            event = twin.fix(time, f["lon_deg"], f["lat_deg"], speed, heading, f.get("hdop", np.nan))
            if event is not None:
                expected.append((f"device:{name}", event))
    rows = sorted((time, truck, f) for truck, drive in enumerate(drives) for time, f in drive)
    found = []
    for at in range(0, len(rows), 57):
        part = [(truck, time, f) for time, truck, f in rows[at : at + 57]]
        found += told(engine.step([batch_of("truck", part, part[-1][1])], part[-1][1]))
    key = lambda pair: (pair[0], pair[1].at_ms)  # noqa: E731
    assert sorted(found, key=key) == sorted(expected, key=key)
    assert found, "a drive like this leaves its route"


@given(st.integers(1, 260), st.sampled_from([(2, 100), (4, 100), (1, 100)]), st.sampled_from([1000, 20]))
@settings(max_examples=60, deadline=None)
def test_the_number_of_lamps_out_that_alert_is_exact(known: int, normal: tuple[int, int], one_in: int) -> None:
    p, alpha = Fraction(*normal), Fraction(1, one_in)
    assert int(Critical(float(p), float(alpha))(np.array([known]))[0]) == lamps_out_that_alert(known, p, alpha)


@pytest.mark.parametrize("seed", range(4))
def test_lighting_rate_says_what_its_slow_twin_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lamps = [
        Asset(f"lamp-{n:03d}", "streetlight", "lamp", lon=LON, lat=LAT, road=f"road-{n // 30}", cabinet="c",
              grid="E000N000", facts={"rated_power_w": 100.0})
        for n in range(120)
    ]  # fmt: skip
    params = RULES["lighting_rate"]
    each = replace(params, params=replace(params.params, once=False))  # every road, cabinet and cell by itself
    registry = Registry(CATALOG, lamps, centre=(LON, LAT))
    engine = Engine(RuleSet((each,), RULES.lighting), registry, Sky(registry, ZONE, RULES.lighting))
    exact = (Fraction(1, 1000), Fraction(1, 20), 0.8, params.for_ms, params.keep_ms)
    twins = {f"road:road-{n}": RateTwin(Fraction(2, 100), *exact) for n in range(4)}
    twins["cabinet:c"] = twins["grid:E000N000"] = RateTwin(Fraction(2, 100), *exact)
    road = np.arange(120) // 30
    broken = np.zeros(120, dtype=bool)
    quiet = np.zeros(120, dtype=bool)
    heard = np.full(120, 0)
    lit = np.zeros(120, dtype=bool)
    found, expected = [], []
    now = START_MS
    judge = engine.judges[0]
    for step in range(9 * 12):
        now += 300_000
        if rng.random() < 0.15:
            broken[rng.integers(0, 120, 6)] ^= True
            quiet[rng.integers(0, 120, 10)] ^= True
        rows = [(n, now, {"power_w": 2.0 if broken[n] else 95.0}) for n in range(120) if not quiet[n]]
        heard[~quiet], lit[~quiet] = now, ~broken[~quiet]
        found += told(engine.step([batch_of("streetlight", rows, now)], now))
        on = engine.sky.switched_on_for_ms(np.arange(120), now)
        due = on >= 1_800_000
        known = due & (now - heard < 3 * 900_000) & (heard > 0)
        for entity in ("road:road-0", "road:road-1", "road:road-2", "road:road-3", "cabinet:c"):
            mine = np.ones(120, bool) if entity == "cabinet:c" else road == int(entity[-1])
            counts = (int((due & mine).sum()), int((known & mine).sum()), int((known & lit & mine).sum()))
            event = twins[entity].tick(now, *counts)
            if event is not None:
                expected.append((entity, event))
                if entity == "cabinet:c":  # the one grid cell holds the same lamps
                    expected.append(("grid:E000N000", event))
        assert step < 3 or list(judge.figures(engine.fleet, now)) or not due.any()
    assert sorted(found, key=lambda pair: (pair[1].at_ms, pair[0])) == sorted(
        expected, key=lambda pair: (pair[1].at_ms, pair[0])
    )
    assert expected


@pytest.mark.parametrize("seed", range(6))
def test_seepage_says_what_its_slow_twin_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    engine = engine_of("seepage", [Asset("station-01", "pump", "station", district="东区")])
    twin = SeepTwin()
    found, expected = [], []
    midnight = START_MS + 2 * 3_600_000
    rain, factor, day0 = [0.0, 0.0, 0.0], 1.0, int(engine.sky.local_day(midnight + 1))
    for night in range(100):
        if rng.random() < 0.06:
            factor = float(rng.choice([1.0, 1.5, 2.0]))
        rain.append(float(rng.choice([0.0, 4.0], p=[0.8, 0.2])))
        q = 6.0 * factor * float(np.exp(rng.normal(0, 0.05)))
        wet_tonight = rain[-1] if rng.random() < 0.5 else 0.0  # before five o'clock, or later that day
        for minute in range(0, 1440, 30):
            time = midnight + night * 86_400_000 + minute * 60_000
            drops = wet_tonight if minute == 60 else rain[-1] - wet_tonight if minute == 900 else 0.0
            fields = {"inflow_lps": q if 120 <= minute < 300 else 3 * q, "rain_mm": drops}
            found += told(engine.step([batch_of("pump", [(0, time, fields)], time)], time))
        if night >= 3:
            dry = max(wet_tonight, *rain[-4:-1]) <= 0.5
            event = twin.night(night, q, dry=dry)
            if event is not None:
                expected.append(event)
    end = lambda night: midnight + night * 86_400_000 + 300 * 60_000  # noqa: E731
    wanted = [Event(e.active, end(e.at_ms), end(e.onset_ms), e.reason) for e in expected]
    assert [event for _, event in found] == wanted
    assert day0 == int(engine.sky.local_day(end(0)))


def a_day_of_everything(
    rng: np.random.Generator,
) -> tuple[list[Asset], tuple[Permit, ...], list[tuple[str, int, int, dict[str, float]]]]:
    """Stations with clocks of their own, trucks off route and lamps that fail, over thirty dry days."""
    stations = [
        Asset(f"station-{n}", "pump", "station", district="东区", facts={"well_area_m2": 20.0, "pump_rate_lps": 60.0})
        for n in range(3)
    ]
    trucks = [Asset(f"truck-{n}", "truck", "truck") for n in range(3)]
    permits = tuple(p for truck in trucks for p in permits_for(rng, truck.id))
    rows: list[tuple[str, int, int, dict[str, float]]] = []
    for station in range(3):
        for half in range(48 * 28):
            night = half // 48
            q = 5.0 * (1.8 if night > 21 and station == 1 else 1.0)
            rain = 5.0 if night == 6 and station == 0 and half % 48 == 15 else 0.0
            time = START_MS + half * 1_800_000 + station * 7_000
            rows.append(
                ("pump", station, time, {"inflow_lps": q * (1 + 0.02 * rng.standard_normal()), "rain_mm": rain})
            )
    for truck in range(3):
        rows += [("truck", 3 + truck, time, fields) for time, fields in trip(rng, 300)]
    rows.sort(key=lambda row: row[2])
    return [*stations, *trucks], permits, rows


def play(rows: list[tuple[str, int, int, dict[str, float]]], engine: Engine, cuts: list[int]) -> list[Transition]:
    out = []
    for first, last in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        part = rows[first:last]
        batches = [
            batch_of(kind, [(row, time, fields) for name, row, time, fields in part if name == kind], part[-1][2])
            for kind in ("pump", "truck")
            if any(name == kind for name, *_ in part)
        ]
        out += engine.step(batches, part[-1][2]) if part else []
    return out


def summary(found: list[Transition]) -> list[tuple[object, ...]]:
    """What was said of readings; ``data_lost`` is said of the host's clock, which other cuts see at other moments."""
    found = [t for t in found if t.reason != "data_lost"]
    return sorted((t.rule, t.entity, t.state, t.at_ms, t.onset_ms, t.reason, tuple(t.values.items())) for t in found)


def both_rules(assets: list[Asset], permits: tuple[Permit, ...]) -> Engine:
    registry = Registry(CATALOG, assets, permits=permits, centre=(LON, LAT))
    rules = RuleSet((RULES["seepage"], RULES["route_deviation"]), RULES.lighting)
    return Engine(rules, registry, Sky(registry, ZONE, RULES.lighting))


WORLD = a_day_of_everything(np.random.default_rng(5))


@pytest.fixture(scope="module")
def told_in_one_batch() -> list[tuple[object, ...]]:
    assets, permits, rows = WORLD
    return summary(play(rows, both_rules(assets, permits), []))


@pytest.mark.parametrize("size", [1, 13, 997])
def test_the_same_alerts_whatever_the_size_of_batches(size: int, told_in_one_batch: list[tuple[object, ...]]) -> None:
    assets, permits, rows = WORLD
    assert summary(play(rows, both_rules(assets, permits), list(range(size, len(rows), size)))) == told_in_one_batch
    assert {entry[0] for entry in told_in_one_batch} == {"seepage", "route_deviation"}


@given(st.lists(st.integers(1, len(WORLD[2]) - 1), min_size=1, max_size=4, unique=True))
@settings(max_examples=5, deadline=None)
def test_the_same_alerts_after_a_restart_at_any_moment(
    told_in_one_batch: list[tuple[object, ...]], restarts: list[int]
) -> None:
    assets, permits, rows = WORLD
    engine = both_rules(assets, permits)
    found: list[Transition] = []
    for first, last in zip([0, *sorted(restarts)], [*sorted(restarts), len(rows)], strict=True):
        found += play(rows[first:last], engine, [])
        state = engine.save()
        assert all(array.dtype != object for array in state.values())
        engine = both_rules(assets, permits)
        engine.load(state)
    assert summary(found) == told_in_one_batch
