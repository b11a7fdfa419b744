"""Rules over the past: what reading a stored reading back costs, and what judging it costs once it is read.

    python -m bench.backtest            # a table; cities of 26,000, 104,000 and 260,000 devices
    python -m bench.backtest --small    # seconds, for the suite

CPU seconds of this process. The city reports as the catalog says (lamps every 15 minutes, cabinets, stations and pumps
every minute, covers every half hour, trucks every 15 s), to a SQLite file; one device in a thousand goes wrong, and one
of each kind at least. Trucks drive to and fro between two sites on the road of their permit, full one way and empty the
other. The rules are the shipped ones. What is looked at every minute, whatever is reported (lighting
rates, silent devices), costs the same however little a city reports, so expression rules are measured alone too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alerts.backtest import TICK_MS, Backtest, fields_of
from alerts.rules import RuleSet, load_rules
from bench.machine import machine
from devices.asset import Asset
from devices.batch import Batch, make_batch
from devices.kinds import Catalog, Kind, load_catalog
from devices.registry import Permit, Registry
from storage.past import SqlitePast, replay
from storage.sqlite import SqliteStore

RULES = Path(__file__).parents[1] / "config" / "rules.yaml"
START = 1_772_366_400_000 // TICK_MS * TICK_MS  # 2026-03-01 20:00 in Shanghai
CITY = {
    ("streetlight", "lamp"): 20_000, ("streetlight", "cabinet"): 400, ("manhole", "cover"): 5_000,
    ("pump", "station"): 100, ("pump", "pump"): 200, ("truck", "truck"): 300,
}  # fmt: skip
FACTS = {
    "rated_power_w": 120.0,
    "depth_m": 3.0,
    "alarm_level_m": 3.0,
    "stop_level_m": 1.0,
    "rated_current_a": 20.0,
    "max_load_t": 18.0,
}
USUAL = {
    "power_w": 118.0, "voltage_v": 220.0, "current_a": 0.5, "phase_a_v": 225.0, "phase_b_v": 225.0, "phase_c_v": 225.0,
    "feeder_power_w": 110.0, "contactor_on": 1.0, "tilt_deg": 1.0, "water_level_m": 0.3, "battery_percent": 80.0,
    "h2s_ppm": 0.0, "o2_percent": 20.9, "level_m": 2.0, "pumps_on": 1.0, "mains_ok": 1.0, "running": 1.0,
    "power_kw": 9.0, "speed_kmh": 36.0, "ignition": 1.0, "cover_closed": 1.0, "hdop": 1.0, "satellites": 12.0,
}  # fmt: skip
WRONG = {"power_w": 1.0, "tilt_deg": 80.0, "level_m": 3.5, "speed_kmh": 80.0, "contactor_on": 0.0}
ROAD_DEG = 0.1  # of longitude, 9.5 km: there and back in 32 minutes
ROAD_POINTS = 41
SITE_DEG = 0.002
DEG_M = 95_300.0  # metres a degree of longitude here


@dataclass
class Cost:
    """What a backtest cost.

    Attributes:
        name: of the way it was run.
        readings, alerts: how many.
        cpu_s: CPU seconds.
    """

    name: str
    readings: int = 0
    alerts: int = 0
    cpu_s: float = 0.0

    @property
    def rate(self) -> float:
        """Readings a CPU second."""
        return self.readings / self.cpu_s


def city(catalog: Catalog, scale: float) -> Registry:
    """Return the city's registry, ``scale`` times as large."""
    assets, permits = [], []
    for (kind, role), count in CITY.items():
        known = {fact.name for fact in catalog[kind].facts if not fact.roles or role in fact.roles}
        facts = {name: value for name, value in FACTS.items() if name in known}
        for n in range(max(1, round(count * scale))):
            street, place = divmod(n, 50)  # a lamp every 32 m, a street every 111 m
            where = {"lon": 121.3 + place / 3000, "lat": 31.0 + street / 1000, "road": f"Road {street}"}
            assets.append(Asset(f"{role}-{n:05d}", kind, role, facts=facts, **where))
            if kind == "truck":
                permits.append(permit(assets[-1].id, where["lon"], where["lat"]))
    return Registry(catalog, assets, (), permits)


def permit(truck: str, lon: float, lat: float) -> Permit:
    """Return leave to drive at any hour from one site on a straight road to the other."""
    road = tuple((lon + ROAD_DEG * k / (ROAD_POINTS - 1), lat) for k in range(ROAD_POINTS))
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))
    sites = [tuple((x + a * SITE_DEG, lat + b * SITE_DEG) for a, b in corners) for x in (lon, lon + ROAD_DEG)]
    return Permit(f"permit-{truck}", truck, road, tuple(sites))


def readings(catalog: Catalog, registry: Registry, hours: float) -> Iterator[Batch]:
    """Yield the readings of each kind and role, a batch a report interval."""
    rng = np.random.default_rng(1)
    for kind, role in CITY:
        found, rows = catalog[kind], registry.rows_of(kind, role)
        report_ms = round(found.report_s[found.roles.index(role)] * 1000)
        phase = rng.integers(0, report_ms, len(rows))
        wrong = rng.random(len(rows)) < 0.001
        wrong[0] = True
        for begin in range(0, round(hours * 3_600_000), report_ms):
            values = _values(found, role, wrong, begin, rng)
            if role == "truck":
                _drive(found, values, registry, rows, (begin + phase) / 1000.0, rng)
            yield make_batch(found, 0, START + begin + phase, rows, values)


def _values(kind: Kind, role: str, wrong: np.ndarray, begin: int, rng: np.random.Generator) -> np.ndarray:
    values = np.full((len(kind.fields), len(wrong)), np.nan)
    for number, field in enumerate(kind.fields):
        if field.name in USUAL and (not field.roles or role in field.roles):
            noise = 0.0 if field.type != "float" or field.name.endswith("_deg") else 0.01 * USUAL[field.name]
            values[number] = USUAL[field.name] + noise * rng.standard_normal(len(wrong))
            if field.name in WRONG and begin >= 1_800_000:
                values[number, wrong] = WRONG[field.name]
    return values


def _drive(
    kind: Kind, values: np.ndarray, registry: Registry, rows: np.ndarray, seconds: np.ndarray, rng: np.random.Generator
) -> None:
    """Let trucks be where they are after so many seconds, in place; each has set out from another place of its road."""
    length = ROAD_DEG * DEG_M
    gone = np.mod(USUAL["speed_kmh"] / 3.6 * seconds + np.arange(len(rows)) * 1_234.5, 2 * length)
    back = gone > length
    metres = np.where(back, 2 * length - gone, gone) + 3.0 * rng.standard_normal(len(rows))
    start = np.array([(registry.assets[row].lon, registry.assets[row].lat) for row in rows.tolist()])
    values[kind.column("lon_deg")] = start[:, 0] + metres / DEG_M
    values[kind.column("lat_deg")] = start[:, 1] + 3.0 / 111_200.0 * rng.standard_normal(len(rows))
    values[kind.column("heading_deg")] = np.where(back, 270.0, 90.0)
    values[kind.column("load_t")] = np.where(back, 0.3, 16.0)
    values[kind.column("bed_angle_deg")] = 0.0


def measure(scale: float, hours: float, folder: Path) -> list[Cost]:
    """Write a city's hours to SQLite, read them back and judge them; return what the latter two cost."""
    catalog = load_catalog()
    registry, rules = city(catalog, scale), load_rules(RULES, catalog)
    plain = RuleSet(tuple(rule for rule in rules if rule.kind == "expression"), rules.lighting)
    store = SqliteStore(folder / "readings.db", catalog)
    for batch in readings(catalog, registry, hours):
        store.write([batch], registry)
    store.close()
    past = SqlitePast(folder / "readings.db")
    read, costs = Cost("read back from SQLite"), []
    for name, chosen, tick_ms in (
        (f"all {len(rules)} rules, tick 30 s", rules, TICK_MS),
        (f"all {len(rules)} rules, tick 60 s", rules, 60_000),
        (f"{len(plain)} expression rules, tick 30 s", plain, TICK_MS),
    ):
        costs.append((Cost(name), Backtest(chosen, registry, "Asia/Shanghai", START, tick_ms)))
    begun = time.process_time()
    for part in replay(past, registry, fields_of([rules], catalog), START, START + round(hours * 3_600_000), 60_000):
        done = time.process_time()
        read.cpu_s += done - begun
        for cost, test in costs:
            begun = done
            test.feed(part.batches, part.until_ms)
            done = time.process_time()
            cost.cpu_s += done - begun
        begun = time.process_time()
    past.close()
    for cost, test in costs:
        cost.readings, cost.alerts, read.readings = test.readings, len(test.alerts()), test.readings
    return [read, *(cost for cost, _ in costs)]


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--small", action="store_true", help="seconds, for the suite")
    small = asked.parse_args().small
    print(machine())
    for scale, hours in ((0.05, 1.0),) if small else ((1.0, 2.0), (4.0, 0.5), (10.0, 0.25)):
        with tempfile.TemporaryDirectory() as folder:
            costs = measure(scale, hours, Path(folder))
        print(f"{round(sum(CITY.values()) * scale):,} devices, {hours:g} hours")
        for cost in costs:
            told = f"{cost.readings:,} readings, {cost.alerts} alerts"
            print(f"  {cost.name:30} {cost.cpu_s:6.2f} s CPU  {cost.rate / 1e6:5.2f} M readings/s a core  {told}")


if __name__ == "__main__":
    main()
