"""Rules of kinds that remember a device say the same however many of its readings come at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alerts.engine import Engine
from alerts.rules import RuleSet, load_rules
from alerts.turns import rows_of_any, turns
from devices.batch import Batch, make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky

CATALOG = load_catalog()
RULES = load_rules(Path(__file__).parents[2] / "config" / "rules.yaml", CATALOG)
KINDS = {"cycle", "deviation", "rise", "sequence"}
REMEMBER = RuleSet(tuple(rule for rule in RULES if rule.kind in KINDS), RULES.lighting)
START_MS = 1_760_104_800_000
DEVICES = 6
BY_HOST = ("last_ms", "heard_ms")  # host times, which depend on when a group was judged
BY_STEP = ("since", "phase")  # of cycle rules, which decide at the end of a step


def city() -> Registry:
    lamps = [Asset(f"lamp-{k}", "streetlight", "lamp", facts={"rated_power_w": 100.0}) for k in range(DEVICES)]
    covers = [Asset(f"cover-{k}", "manhole", "cover", facts={"depth_m": 3.0}) for k in range(DEVICES)]
    return Registry(CATALOG, [*lamps, *covers], centre=(114.3, 30.6))


def drawn(rng: np.random.Generator, kind: str, first: int, step_ms: int, count: int) -> Batch:
    """Devices that speak at random, some much more often than others, and now and then leave a field out."""
    declared = CATALOG[kind]
    device = (first + rng.choice(DEVICES, count, p=[0.1, 0.45, 0.1, 0.2, 0.1, 0.05])).astype(np.int32)
    values = np.full((len(declared.fields), count), np.nan)
    fields = {
        "streetlight": {
            "power_w": np.where(np.arange(count) % 2000 > 1400, 60.0, rng.choice([5.0, 100.0], count, p=[0.05, 0.95])),
            "voltage_v": rng.choice([120.0, 220.0, 221.0], count, p=[0.02, 0.49, 0.49]),
            "switch_count": np.cumsum(rng.random(count) < 0.3) * 1.0,
        },
        "manhole": {
            "water_level_m": np.clip(np.cumsum(rng.normal(0, 0.3, count)), 0, 2.9),
            "ch4_lel_percent": rng.choice([0.0, 1.0, 12.0], count),
            "h2s_ppm": np.where(np.arange(count) % 500 > 300, 60.0, 0.0),
            "vibration_g": rng.choice([0.1, 0.2, 2.0], count),
            "tilt_deg": rng.choice([0.0, 2.0, 40.0], count),
        },
    }[kind]
    for name, column in fields.items():
        values[declared.column(name)] = np.where(rng.random(count) < 0.1, np.nan, column)
    time_ms = START_MS + step_ms * (1 + np.arange(count))
    return make_batch(declared, int(time_ms[-1]), time_ms, device, values)


def said(registry: Registry, whole: Batch, size: int) -> tuple[list[str], dict[str, np.ndarray]]:
    engine = Engine(REMEMBER, registry, Sky(registry, "Asia/Shanghai", RULES.lighting))
    told = []
    for first in range(0, len(whole), size):
        part = whole.take(np.arange(first, min(first + size, len(whole))))
        told += engine.step([part], int(part.time_ms[-1]))
    lines = sorted(
        repr((one.rule, one.entity, one.at_ms, one.state, one.onset_ms, sorted(one.values.items())))
        for one in told
        if RULES[one.rule].kind != "cycle"
    )
    remembered = {
        name: array
        for name, array in engine.save().items()
        if ".state." in name
        and not name.endswith(BY_HOST)
        and not (RULES[name.split(".")[1]].kind == "cycle" and name.endswith(BY_STEP))
    }
    return lines, remembered


def test_rules_that_remember_say_the_same_however_many_readings_of_a_device_come_at_once() -> None:
    registry, rng = city(), np.random.default_rng(5)
    told: set[str] = set()
    for whole in (drawn(rng, "streetlight", 0, 300_000, 3000), drawn(rng, "manhole", DEVICES, 4_000, 1500)):
        lines, remembered = said(registry, whole, 1)
        told |= {line.split("'")[1] for line in lines}
        for size in (7, 40, 700):
            again, kept = said(registry, whole, size)
            assert again == lines
            for name, array in remembered.items():
                assert np.array_equal(array, kept[name], equal_nan=array.dtype.kind == "f"), f"{name}, {size} at once"
    assert {"lamp_power", "manhole_rising", "gas_h2s_rising", "cover_moved"} <= told


def test_a_city_that_has_none_of_the_devices_that_a_rule_is_about_is_judged_by_the_others() -> None:
    registry = Registry(CATALOG, [Asset("box-1", "streetlight", "cabinet")], centre=(114.3, 30.6))
    engine = Engine(RULES, registry, Sky(registry, "Asia/Shanghai", RULES.lighting))
    kind = CATALOG["streetlight"]
    values = np.full((len(kind.fields), 3), np.nan)
    values[kind.column("phase_a_v")] = (230.0, 300.0, 231.0)
    step_ms = START_MS + 600_000 * np.arange(1, 4)
    engine.step([make_batch(kind, int(step_ms[-1]), step_ms, [0, 0, 0], values)], int(step_ms[-1]))
    assert engine.fleet.live["streetlight"].column("phase_a_v").tolist() == [231.0]


def test_a_turn_holds_each_device_once_and_all_rows_of_a_chosen_one_are_found() -> None:
    rng = np.random.default_rng(3)
    device = rng.choice(9, 60)
    met: list[int] = []
    for rows in turns(device):
        found = np.arange(60)[rows]
        assert len(set(device[found].tolist())) == len(found)
        met += found.tolist()
    assert sorted(met) == list(range(60))
    (alone,) = turns(np.array([4, 1, 7]))
    assert np.arange(3)[alone].tolist() == [0, 1, 2]
    chosen = np.zeros(60, dtype=np.bool_)
    assert rows_of_any(device, chosen).tolist() == []
    chosen[[5, 8]] = True
    assert rows_of_any(device, chosen).tolist() == np.flatnonzero(np.isin(device, device[[5, 8]])).tolist()
    assert rows_of_any(device, ~np.zeros(60, dtype=np.bool_)).tolist() == list(range(60))
