"""Rules about single trucks say what their slow twins say, on wild drives, whatever the batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alerts.engine import Engine
from alerts.rules import RuleSet, load_rules
from devices.batch import make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Fence, Permit, Registry
from devices.sky import Sky
from simulators.oracle_route import Event
from simulators.oracle_trucks import GpsTwin, Life, OffSiteTwin, Seen, in_fence

CATALOG = load_catalog()
RULES = load_rules(Path(__file__).parents[2] / "config" / "rules" / "trucks.yaml", CATALOG)
START_MS = 1_760_104_800_000
LON, LAT = 114.3, 30.6
YARD = [(-200.0, -200.0), (200.0, -200.0), (200.0, 200.0), (-200.0, 200.0), (-200.0, -200.0)]
SCHOOL = [(600.0, -300.0), (1200.0, -300.0), (1200.0, 300.0), (600.0, 300.0), (600.0, -300.0)]
Fields = dict[str, float]


def registry() -> Registry:
    plain = Registry(CATALOG, [Asset("truck-1", "truck", "truck", facts={"max_load_t": 18.0})], centre=(LON, LAT))
    ring = lambda points: tuple(  # noqa: E731
        (float(x), float(y)) for x, y in zip(*plain.projection.to_degrees(*np.array(points).T), strict=True)
    )
    permit = Permit("p", "truck-1", ring([(-3000.0, 0.0), (3000.0, 0.0)]), (ring(YARD),))
    return Registry(CATALOG, list(plain.assets), permits=[permit], centre=(LON, LAT), fences=[Fence("s", ring(SCHOOL))])


def drive(rng: np.random.Generator, readings: int) -> list[tuple[int, float, float, Fields]]:
    """A truck that loads, dumps, leaps, freezes and stands wherever it likes."""
    out, time, speed, load, bed = [], START_MS, 10.0, 0.0, 0.0
    at, frozen = np.zeros(2), False
    for _ in range(readings):
        dt = float(rng.choice([1, 5, 15, 30, 240], p=[0.1, 0.1, 0.7, 0.07, 0.03]))
        time += round(1000 * dt)
        if rng.random() < 0.15:
            speed = float(rng.choice([0.0, 0.0, 5.0, 12.0, 20.0]))
        if rng.random() < 0.12:
            load = float(rng.choice([0.2, 3.0, 9.0, 16.0]))
        if rng.random() < 0.1:
            bed = float(rng.choice([0.0, 0.0, 40.0]))
        if rng.random() < 0.05:
            frozen = not frozen
        turn = rng.uniform(0, 2 * np.pi)
        if not frozen:
            at = np.clip(at + speed * dt * np.array([np.cos(turn), np.sin(turn)]), -1500, 1500)
        if rng.random() < 0.02:
            at = rng.uniform(-1500, 1500, 2)
        fields = {"hdop": float(rng.choice([1.0, 1.0, 2.0, 9.0])), "speed_kmh": 3.6 * speed}
        fields |= {"load_t": load, "bed_angle_deg": bed, "heading_deg": float((90.0 - np.degrees(turn)) % 360.0)}
        kept = {name: value for name, value in fields.items() if name == "hdop" or rng.random() > 0.05}
        out.append((time, float(at[0]), float(at[1]), kept))
    return out


def engine_says(rule: str, drives: list[tuple[int, float, float, Fields]], batch: int, **params: float) -> list[Event]:
    known = registry()
    one = RULES[rule]
    if params:
        one = replace(one, params=replace(one.params, **params))
    engine = Engine(
        RuleSet((replace(one, latch=False),), RULES.lighting), known, Sky(known, "Asia/Shanghai", RULES.lighting)
    )
    kind, told = CATALOG["truck"], []
    for begin in range(0, len(drives), batch):
        part = drives[begin : begin + batch]
        values = np.full((len(kind.fields), len(part)), np.nan)
        for row, (_, east, north, fields) in enumerate(part):
            lon, lat = known.projection.to_degrees(east, north)
            for name, value in (fields | {"lon_deg": float(lon), "lat_deg": float(lat)}).items():
                values[kind.column(name), row] = value
        now = part[-1][0]
        made = make_batch(kind, now, [time for time, *_ in part], [0] * len(part), values)
        told += engine.step([made], now)
        saved = engine.save()
        engine = Engine(engine.rules, known, engine.sky)
        engine.load(saved)
    return [Event(t.state == "active", t.at_ms, t.onset_ms, t.reason) for t in told]


def twin_says(
    rule: str,
    drives: list[tuple[int, float, float, Fields]],
    look: Callable[[Seen], tuple[bool, bool]],
    begun: Callable[[], int | None],
) -> list[Event]:
    one = RULES[rule]
    life = Life(one.for_ms, one.keep_ms, getattr(one.params, "samples", 0))
    out = []
    for time, east, north, f in drives:
        place = (east, north) if f["hdop"] <= 6.0 else None
        load, bed = f.get("load_t", np.nan), f.get("bed_angle_deg", np.nan)
        holds, over = look(
            Seen(time, place, f.get("speed_kmh", np.nan), f["hdop"], load, bed, f.get("heading_deg", np.nan))
        )
        event = life.reading(time, holds=holds, over=over, begun_ms=begun())
        if event is not None:
            out.append(event)
    return out


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rule", ["truck_in_fence", "illegal_dump", "unpermitted_load", "gps_trouble"])
def test_a_rule_about_single_trucks_says_what_its_slow_twin_says(rule: str, seed: int) -> None:
    made = drive(np.random.default_rng([seed, 7]), 900)
    p = RULES[rule].params
    more = {}
    if rule == "gps_trouble":  # a truck without rest is in doubt for hours: shorter times show more ends
        more = {"clean_ms": 180_000, "doubt_ms": (60_000, 120_000, 7_200_000)[seed]}
        p = replace(p, **more)
    off_site = OffSiteTwin([YARD], 18.0, p)
    gps = GpsTwin(p, [[(-3000.0, 0.0), (3000.0, 0.0)]], [YARD])
    look = {
        "truck_in_fence": lambda seen: in_fence(seen, [SCHOOL], p),
        "illegal_dump": off_site.dump,
        "unpermitted_load": off_site.load,
        "gps_trouble": gps.look,
    }[rule]
    expected = twin_says(rule, made, look, lambda: gps.begun_ms if rule == "gps_trouble" else None)
    assert engine_says(rule, made, 37, **more) == expected
    assert any(event.active for event in expected)
    assert rule != "gps_trouble" or seed > 0 or any(not event.active for event in expected)


def test_a_slow_loader_is_seen_though_it_adds_less_between_two_reports_than_a_load_cell_errs_by() -> None:
    made = []
    for number in range(60):
        load = 0.3 + 0.5 * max(number - 10, 0)
        made.append((START_MS + 15_000 * number, 1000.0, 800.0, {"hdop": 1.0, "speed_kmh": 0.0, "load_t": load}))
    twin = OffSiteTwin([YARD], 18.0, RULES["unpermitted_load"].params)
    events = engine_says("unpermitted_load", made, 7)
    assert [event.active for event in events] == [True]
    assert events == twin_says("unpermitted_load", made, twin.load, lambda: None)


@pytest.mark.parametrize("seed", range(3))
def test_a_position_that_is_led_away_bit_by_bit_is_found_as_its_slow_twin_finds_it(seed: int) -> None:
    rng, made = np.random.default_rng([seed, 6]), []
    at, turn, time, led = np.zeros(2), 0.3, START_MS, np.zeros(2)
    for number in range(400):
        dt = float(rng.choice([15, 30, 200], p=[0.9, 0.05, 0.05]))
        time += round(1000 * dt)
        turn += 0.8 * (rng.random() < 0.1)
        speed = 0.0 if number % 60 < 10 else 12.0
        led = led + np.array([1.6, 0.4]) * 15 * (60 <= number % 150 < 85)
        at = at + speed * dt * np.array([np.sin(turn), np.cos(turn)])
        east, north = at + led + rng.normal(0.0, 6.0, 2)
        fields = {"hdop": 1.0, "speed_kmh": 3.6 * speed, "heading_deg": float(np.degrees(turn) % 360.0)}
        made.append((time, float(east), float(north), fields))
    p = replace(RULES["gps_trouble"].params, doubt_ms=300_000)
    gps = GpsTwin(p, [[(-3000.0, 0.0), (3000.0, 0.0)]], [YARD])
    expected = twin_says("gps_trouble", made, gps.look, lambda: gps.begun_ms)
    assert engine_says("gps_trouble", made, 37, doubt_ms=300_000) == expected
    first = next(event for event in expected if event.active)
    begun, told = (next(k for k, one in enumerate(made) if one[0] >= at_ms) for at_ms in (first.onset_ms, first.at_ms))
    assert 55 <= begun < told <= 90  # the onset is when it began to be led away
