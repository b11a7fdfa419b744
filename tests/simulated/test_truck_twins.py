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
        fields |= {"load_t": load, "bed_angle_deg": bed}
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
    rule: str, drives: list[tuple[int, float, float, Fields]], look: Callable[[Seen], tuple[bool, bool]]
) -> list[Event]:
    one = RULES[rule]
    life = Life(one.for_ms, one.keep_ms, getattr(one.params, "samples", 0))
    out = []
    for time, east, north, f in drives:
        place = (east, north) if f["hdop"] <= 6.0 else None
        load, bed = f.get("load_t", np.nan), f.get("bed_angle_deg", np.nan)
        holds, over = look(Seen(time, place, f.get("speed_kmh", np.nan), f["hdop"], load, bed))
        event = life.reading(time, holds=holds, over=over)
        if event is not None:
            out.append(event)
    return out


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rule", ["truck_in_fence", "illegal_dump", "unpermitted_load", "gps_trouble"])
def test_a_rule_about_single_trucks_says_what_its_slow_twin_says(rule: str, seed: int) -> None:
    made = drive(np.random.default_rng([seed, 5]), 900)
    p = RULES[rule].params
    off_site = OffSiteTwin([YARD], 18.0, p)
    gps = GpsTwin(p)
    look = {
        "truck_in_fence": lambda seen: in_fence(seen, [SCHOOL], p),
        "illegal_dump": off_site.dump,
        "unpermitted_load": off_site.load,
        "gps_trouble": gps.look,
    }[rule]
    more = {"misled_m": 1e9} if rule == "gps_trouble" else {}
    expected = twin_says(rule, made, look)
    assert engine_says(rule, made, 37, **more) == expected
    assert any(event.active for event in expected)
