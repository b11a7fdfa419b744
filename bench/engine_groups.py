"""The fixed price of a small group: one step with all shipped rules over a few readings of one or several kinds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from alerts.engine import Engine
from alerts.rules import RuleSet, load_rules
from bench.engine_series import CATALOG, SAYS, START_MS
from devices.batch import Batch, make_batch
from devices.registry import Asset, Permit, Registry
from devices.sky import Sky

RULES = Path(__file__).parents[1] / "config" / "rules.yaml"
STEP_MS = 100  # ten groups a second; what comes by the clock is in the figures
GOALS = {0: 100.0, 20: 250.0, 200: 250.0, 1_000: 800.0}  # µs a step by readings
REPORTS: dict[str, tuple[str, str, Mapping[str, float]]] = {  # kind, role, what a healthy one says
    "lamps": ("streetlight", "lamp", {name: fine for name, (fine, _, _) in SAYS.items()}),
    "covers": (
        "manhole", "cover",
        {"tilt_deg": 1.0, "cover_open": 0.0, "water_level_m": 0.3, "h2s_ppm": 0.0, "co_ppm": 1.0,
         "ch4_lel_percent": 0.0, "o2_percent": 20.9, "battery_percent": 90.0},
    ),
    "stations": (
        "pump", "station", {"level_m": 1.2, "pumps_on": 1.0, "inflow_lps": 20.0, "rain_mm": 0.0, "mains_ok": 1.0},
    ),
    "trucks": (
        "truck", "truck",
        {"speed_kmh": 36.0, "heading_deg": 90.0, "cover_closed": 1.0, "load_state": 1.0, "bed_angle_deg": 0.0,
         "ignition": 1.0, "hdop": 1.0, "satellites": 9.0},
    ),
}  # fmt: skip
MIXES: dict[str, dict[str, float]] = {
    "lamps": {"lamps": 1.0},
    "covers": {"covers": 1.0},
    "stations": {"stations": 1.0},
    "trucks": {"trucks": 1.0},
    "all four kinds": {"lamps": 0.7, "covers": 0.2, "stations": 0.05, "trucks": 0.05},
}


def city(lamps: int, covers: int, stations: int, trucks: int) -> Registry:
    """Return a city of four kinds; its trucks drive along routes that they have permits for."""
    at = {"lon": 120.0, "lat": 30.0}
    assets = [
        Asset(f"lamp-{n:05d}", "streetlight", "lamp", road=f"r{n // 50}", facts={"rated_power_w": 100.0}, **at)
        for n in range(lamps)
    ]
    assets += [Asset(f"cover-{n:05d}", "manhole", "cover", facts={"depth_m": 3.0}, **at) for n in range(covers)]
    well = {"well_area_m2": 20.0, "pump_rate_lps": 60.0, "alarm_level_m": 3.0, "stop_level_m": 1.0}
    assets += [
        Asset(f"station-{n:04d}", "pump", "station", district=f"d{n // 10}", facts=well, **at) for n in range(stations)
    ]
    assets += [Asset(f"truck-{n:04d}", "truck", "truck", **at) for n in range(trucks)]
    road = tuple((120.0 + step * 0.001, 30.0) for step in range(200))
    permits = [Permit(f"p{n}", f"truck-{n:04d}", road) for n in range(trucks)]
    return Registry(CATALOG, assets, permits=permits, centre=(120.0, 30.0))


def _batch(registry: Registry, sort: str, first: int, count: int, now_ms: int) -> Batch:
    kind_name, role, says = REPORTS[sort]
    kind, rows = CATALOG[kind_name], registry.rows_of(kind_name, role)
    device = rows[(np.arange(count) + first) % len(rows)]
    table = np.full((len(kind.fields), count), np.nan)
    for name, value in says.items():
        table[kind.column(name)] = value
    if sort == "trucks":
        driven_m = 10.0 * (now_ms - START_MS) / 1000 % 15_000
        table[kind.column("lon_deg")], table[kind.column("lat_deg")] = 120.0 + driven_m / 96_300, 30.0
    return make_batch(kind, now_ms, np.full(count, now_ms), device, table)


def _steps(registry: Registry, mix: Mapping[str, float], readings: int) -> Iterator[tuple[list[Batch], int]]:
    first, now_ms = dict.fromkeys(mix, 0), START_MS
    while True:
        now_ms += STEP_MS
        batches = []
        for sort, share in mix.items():
            count = max(1, round(readings * share)) if readings else 0
            if count:
                batches.append(_batch(registry, sort, first[sort], count, now_ms))
                first[sort] += count
        yield batches, now_ms


def groups(*, small: bool) -> Iterator[tuple[str, list[float], float]]:
    """Yield for each mix and size its name, µs a step (one figure a round), and the goal."""
    registry = city(200, 100, 20, 20) if small else city(5_000, 5_000, 500, 500)
    rules = load_rules(RULES, CATALOG)
    steps, rounds = (10, 2) if small else (100, 5)
    for name, mix in MIXES.items():
        for readings in (20,) if small else (20, 200, 1_000):
            if readings * max(mix.values()) <= len(registry):
                yield (
                    f"{len(rules)} shipped rules, {readings:,} {name}",
                    _measure(registry, rules, mix, readings, steps, rounds),
                    GOALS[readings],
                )
    yield (
        f"{len(rules)} shipped rules, nothing",
        _measure(registry, rules, MIXES["all four kinds"], 0, steps, rounds),
        GOALS[0],
    )


def _measure(
    registry: Registry, rules: RuleSet, mix: Mapping[str, float], readings: int, steps: int, rounds: int
) -> list[float]:
    engine = Engine(rules, registry, Sky(registry, "Asia/Shanghai", rules.lighting))
    going = _steps(registry, mix, readings)
    for _ in range(steps):
        batches, now_ms = next(going)
        engine.step(batches, now_ms)
    figures = []
    for _ in range(rounds):
        spent = 0.0
        for _ in range(steps):
            batches, now_ms = next(going)
            began = time.process_time()
            engine.step(batches, now_ms)
            spent += time.process_time() - began
        figures.append(spent / steps * 1e6)
    return figures
