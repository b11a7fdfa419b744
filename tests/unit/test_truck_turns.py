"""Readings of trucks are laid out in turns, and rules over trucks say the same however many of a truck come at once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from alerts.engine import Engine
from alerts.rules import RuleSet, load_rules
from alerts.sight import Seen
from alerts.turns import in_turns
from devices.batch import Batch, make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Fence, Permit, Registry
from devices.sky import Sky

CATALOG = load_catalog()
RULES = load_rules(Path(__file__).parents[2] / "config" / "rules" / "trucks.yaml", CATALOG)
# Those that look at nothing but readings: the others speak as the clock passes too, or look at what else stands there.
KINDS = {"route_deviation", "fence", "off_site", "gps_trouble"}
BY_READINGS = RuleSet(
    tuple(rule for rule in RULES if rule.kind in KINDS and rule.id != "truck_stopped"), RULES.lighting
)
START_MS = 1_760_104_800_000
LON, LAT = 114.3, 30.6
TRUCKS = 6


def around(registry: Registry, points: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    degrees = registry.projection.to_degrees(*np.array(points).T)
    return tuple((float(lon), float(lat)) for lon, lat in zip(*degrees, strict=True))


def city() -> Registry:
    plain = Registry(CATALOG, [], centre=(LON, LAT))
    trucks = [Asset(f"truck-{k}", "truck", "truck", facts={"max_load_t": 18.0}) for k in range(TRUCKS)]
    yard = around(plain, [(-300.0, -300.0), (300.0, -300.0), (300.0, 300.0), (-300.0, 300.0)])
    school = around(plain, [(900.0, -300.0), (1500.0, -300.0), (1500.0, 300.0), (900.0, 300.0)])
    road = around(plain, [(float(x), 0.0) for x in range(-3000, 3001, 100)])
    other = around(plain, [(0.0, float(y)) for y in range(-3000, 3001, 100)])
    # Truck 0 has no permit, truck 1 two, truck 2 one that ends while it drives.
    permits = [Permit(f"p{k}", f"truck-{k}", road, (yard,)) for k in (1, 3, 4, 5)]
    permits += [
        Permit("q", "truck-1", other, (yard,)),
        Permit("r", "truck-2", road, (), (0, 1440), 0, START_MS + 4_000_000),
    ]
    return Registry(CATALOG, trucks, permits=permits, centre=(LON, LAT), fences=[Fence("s", school)])


def readings(registry: Registry, seed: int, count: int) -> Batch:
    """Trucks that drive, leap, stand, load and dump as they like; some speak much more often than others."""
    rng, kind = np.random.default_rng([seed, 8]), CATALOG["truck"]
    truck = rng.choice(TRUCKS, count, p=[0.1, 0.45, 0.1, 0.2, 0.1, 0.05])
    values = np.full((len(kind.fields), count), np.nan)
    time_ms = START_MS + np.arange(count) * 4_000
    last = np.full(TRUCKS, START_MS)
    at, speed, load, bed = rng.uniform(-200, 200, (TRUCKS, 2)), np.zeros(TRUCKS), np.zeros(TRUCKS), np.zeros(TRUCKS)
    heading = rng.uniform(0, 360, TRUCKS)
    drawn = (
        (speed, [0.0, 6.0, 12.0, 25.0], 0.1), (load, [0.2, 6.0, 16.0, 20.0], 0.06), (bed, [0.0, 40.0], 0.06),
        (heading, range(0, 360, 45), 0.1),
    )  # fmt: skip
    for k, one in enumerate(truck.tolist()):
        dt, last[one] = (time_ms[k] - last[one]) / 1000.0, time_ms[k]
        for column, choices, chance in drawn:
            if rng.random() < chance:
                column[one] = rng.choice(choices)
        turn = np.radians(heading[one])
        if rng.random() > 0.05:
            at[one] = np.clip(at[one] + speed[one] * dt * np.array([np.sin(turn), np.cos(turn)]), -2500, 2500)
        if rng.random() < 0.02:
            at[one] = rng.uniform(-2000, 2000, 2)
        lon, lat = registry.projection.to_degrees(*(at[one] + rng.normal(0, 5, 2) * (rng.random() > 0.1)))
        told = {"lon_deg": lon, "lat_deg": lat, "speed_kmh": 3.6 * speed[one], "heading_deg": heading[one]}
        told |= {
            "load_t": load[one],
            "bed_angle_deg": bed[one],
            "hdop": rng.choice([1.0, 2.0, 9.0], p=[0.8, 0.15, 0.05]),
        }
        told |= {"cover_closed": rng.random() > 0.2, "ignition": 1.0, "load_state": 3.0, "alarm_bits": 0.0}
        for name, value in told.items():
            if rng.random() > 0.03:
                values[kind.column(name), k] = value
    return make_batch(kind, int(time_ms[-1]), time_ms, truck, values)


def says(registry: Registry, whole: Batch, size: int) -> list[tuple[str, ...]]:
    engine = Engine(BY_READINGS, registry, Sky(registry, "Asia/Shanghai", RULES.lighting))
    told = []
    for first in range(0, len(whole), size):
        part = whole.take(np.arange(first, min(first + size, len(whole))))
        told += engine.step([part], int(part.time_ms[-1]))
    return sorted(repr((one.rule, one.entity, one.at_ms, one.state, one.onset_ms, one.lon, one.lat)) for one in told)


@pytest.mark.parametrize("seed", [0])
def test_rules_over_trucks_say_the_same_however_many_readings_of_a_truck_come_at_once(seed: int) -> None:
    registry = city()
    whole = readings(registry, seed, 1000)
    one_by_one = says(registry, whole, 1)
    assert {"route_deviation", "truck_in_fence", "gps_trouble", "unpermitted_load"} <= {
        rule.id for rule in RULES if any(f"'{rule.id}'" in line for line in one_by_one)
    }
    assert says(registry, whole, 40) == one_by_one
    assert says(registry, whole, 1000) == one_by_one


def test_turns_hold_each_truck_once_in_the_order_of_time_and_at_one_place() -> None:
    rng = np.random.default_rng(3)
    for size in (0, 1, 2, 50, 400):
        truck = rng.choice(30, size, p=np.arange(1, 31) / 465.0)
        order, cuts = in_turns(truck)
        order = np.arange(size) if order is None else order
        assert sorted(order.tolist()) == list(range(size))
        assert cuts[0] == 0
        assert cuts[-1] == size
        lanes = truck[order[: cuts[1]]]
        assert len(set(lanes.tolist())) == len(lanes)
        for first, end in pairwise(cuts):
            assert (truck[order[first:end]] == lanes[: end - first]).all()
        for one in range(30):
            mine = order[truck[order] == one]
            assert (np.diff(mine) > 0).all()


def test_readings_of_some_trucks_keep_their_turns_and_know_what_came_before() -> None:
    registry = city()
    whole = readings(registry, 9, 300)
    index = np.array([-1, 0, 1, 2, -1, 3])
    sight = Seen(whole, registry.projection).of(index, ("speed_kmh", "east"))
    assert len(sight) == int((index[whole.device] >= 0).sum())
    before = sight.before(sight.time_ms, np.array([1, 2, 3, 4]))
    seen: dict[int, int] = {0: 1, 1: 2, 2: 3, 3: 4}
    for turn in sight.turns():
        assert len(set(turn.truck.tolist())) == len(turn)
    for truck, time_ms, was in zip(sight.truck.tolist(), sight.time_ms.tolist(), before.tolist(), strict=True):
        assert was == seen[truck]
        seen[truck] = time_ms
