"""Readings a second of the three rules that a city names first: route deviation, seepage, lighting rate.

Run as ``python -m bench.special [trucks] [rounds]``; one core, one process.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from alerts.fleet import Fleet
from alerts.lighting_rate import LightingRateJudge
from alerts.route_deviation import RouteDeviationJudge
from alerts.rules import load_rules
from alerts.seepage import SeepageJudge
from devices.batch import Batch, make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Permit, Registry
from devices.sky import Sky

RULES = Path(__file__).parents[1] / "config" / "rules.yaml"
START_MS = 1_760_000_000_000
STEP_MS = 15_000


def _world(trucks: int, stations: int, lamps: int, rng: np.random.Generator) -> Registry:
    catalog = load_catalog()
    assets, permits = [], []
    for number in range(trucks):
        turn = np.cumsum(rng.normal(0, 0.3, 200))
        step = np.column_stack([np.cos(turn), np.sin(turn)]) * 60 / 111_195
        line = np.array([114.0, 30.5]) + np.cumsum(step, axis=0)
        name = f"truck-{number:05d}"
        assets.append(Asset(name, "truck", "truck", lon=114.0, lat=30.5))
        permits.append(Permit(f"p{number}", name, tuple(map(tuple, line.tolist()))))
    for number in range(stations):
        facts = {"well_area_m2": 20.0, "pump_rate_lps": 60.0}
        assets.append(Asset(f"station-{number:05d}", "pump", "station", district=f"d{number % 50}", facts=facts))
    for number in range(lamps):
        place = {"road": f"r{number // 50}", "cabinet": f"c{number // 120}", "lon": 114 + 1e-4 * (number % 1000)}
        facts = {"rated_power_w": 120.0}
        assets.append(Asset(f"lamp-{number:06d}", "streetlight", "lamp", lat=30.5, facts=facts, **place))
    return Registry(catalog, assets, permits=permits, centre=(114.0, 30.5))


def _truck_rounds(registry: Registry, rounds: int, rng: np.random.Generator) -> list[Batch]:
    kind = registry.catalog["truck"]
    lines = [np.array(p.route) for p in registry.permits]
    rows = registry.rows_of("truck")
    away = rng.random(len(lines)) < 0.01  # one truck in a hundred is off its route
    made = []
    for turn in range(rounds):
        at = np.array([line[min(1 + turn * 2, len(line) - 1)] for line in lines])
        at += rng.normal(0, 8 / 111_195, at.shape) + away[:, None] * 200 / 111_195
        values = np.full((len(kind.fields), len(rows)), np.nan)
        values[kind.column("lon_deg")], values[kind.column("lat_deg")] = at.T
        time_ms = np.full(len(rows), START_MS + turn * STEP_MS)
        made.append(make_batch(kind, int(time_ms[0]), time_ms, rows, values))
    return made


def _station_rounds(registry: Registry, rounds: int) -> list[Batch]:
    kind, rows = registry.catalog["pump"], registry.rows_of("pump")
    made = []
    for turn in range(rounds):
        values = np.full((len(kind.fields), len(rows)), np.nan)
        values[kind.column("level_m")] = 1.0 + 0.01 * (turn % 60)
        values[kind.column("pumps_on")] = 0
        values[kind.column("rain_mm")] = 0
        time_ms = np.full(len(rows), START_MS + turn * 60_000)
        made.append(make_batch(kind, int(time_ms[0]), time_ms, rows, values))
    return made


def run(trucks: int = 4000, rounds: int = 60, stations: int = 5000, lamps: int = 100_000) -> dict[str, float]:
    """Return readings a second of the two that judge readings, and milliseconds of one lighting tick."""
    rng = np.random.default_rng(11)
    rules = load_rules(RULES, load_catalog())
    registry = _world(trucks, stations, lamps, rng)
    sky = Sky(registry, "Asia/Shanghai", rules.lighting)
    fleet = Fleet(registry, sky)
    figures: dict[str, float] = {}
    for name, judge, batches in (
        ("route_deviation", RouteDeviationJudge(rules["route_deviation"], registry, sky),
         _truck_rounds(registry, rounds, rng)),
        ("seepage", SeepageJudge(rules["seepage"], registry, sky), _station_rounds(registry, rounds)),
    ):  # fmt: skip
        began = time.perf_counter()
        for batch in batches:
            judge.readings(fleet, batch, batch.arrival_ms)
        figures[name] = sum(map(len, batches)) / (time.perf_counter() - began)
    lighting = LightingRateJudge(rules["lighting_rate"], registry, sky)
    live = fleet.live["streetlight"]
    live.seen_ms[:] = live.time_ms[:] = START_MS + 12 * 3_600_000
    live.column("power_w")[:] = np.where(rng.random(len(live.rows)) < 0.01, 0.0, 118.0)
    night = START_MS + 12 * 3_600_000 + 60_000
    lighting.tick(fleet, night - 120_000)
    began = time.perf_counter()
    lighting.tick(fleet, night)
    figures["lighting_tick_ms"] = 1000 * (time.perf_counter() - began)
    return figures


def main() -> None:
    given = [int(word) for word in sys.argv[1:3]]
    figures = run(*given)
    print(f"route deviation: {figures['route_deviation'] / 1e6:.2f} M fixes/s a core")
    print(f"seepage:         {figures['seepage'] / 1e6:.2f} M readings/s a core")
    print(f"lighting rate:   {figures['lighting_tick_ms']:.1f} ms a tick of 100,000 lamps by road, cabinet and cell")


if __name__ == "__main__":
    main()
