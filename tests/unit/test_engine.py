"""The engine's alerts: how they begin, hold and end, and that missing data moves none of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from alerts.engine import Engine
from alerts.rules import parse_rules
from devices.batch import MARK_LATE, Batch, make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.transition import Transition, alert_id
from devices.yamlfile import parse_yaml

CATALOG = load_catalog()
COVER = CATALOG["manhole"]
T0 = 1_772_370_000_000  # 2026-03-01 21:00 in Shanghai
COVERS = [
    Asset(
        f"cover-{n}", "manhole", "cover", f"{n} 号井", 120.0 + n / 1000, 30.0, "东城区", "和平街道", "中山路",
        facts={"depth_m": 3.0},
    )
    for n in (1, 2, 3)
]  # fmt: skip
RULE = """
rules:
  - id: open
    device: manhole
    on: tilt_deg > 10
    severity: major
    title: {{en: Cover open, zh: 井盖打开}}
    message: {{en: "{{name}}: {{value}}° over {{threshold}}° since {{since}}", zh: "{{place}} {{name}} {{value}}°"}}
    {}
"""


def engine_of(keys: str = "", assets: Sequence[Asset] = COVERS, text: str = "", away_ms: int = 60_000) -> Engine:
    rules = parse_rules(parse_yaml(text or RULE.format(keys.replace("; ", "\n    "))), CATALOG)
    registry = Registry(CATALOG, assets)
    return Engine(rules, registry, Sky(registry, "Asia/Shanghai", rules.lighting), away_ms)


def reading(after_s: float, tilt: float | None, row: int = 0, *, late: bool = False, **more: float) -> Batch:
    table = np.full((len(COVER.fields), 1), np.nan)
    for name, value in ({} if tilt is None else {"tilt_deg": tilt} | more).items():
        table[COVER.column(name), 0] = value
    batch = make_batch(COVER, 0, [T0 + round(after_s * 1000)], [row], table)
    batch.marks[:] = MARK_LATE if late else 0
    return batch


def drive(engine: Engine, *points: tuple[float, float | None]) -> list[tuple[float, str, float]]:
    """Step through (second, tilt) of one cover, None for a step without a message; return what was told, in seconds."""
    out = []
    for after_s, tilt in points:
        batches = [] if tilt is None else [reading(after_s, tilt)]
        out += seconds(engine.step(batches, T0 + round(after_s * 1000)))
    return out


def seconds(changes: Sequence[Transition]) -> list[tuple[float, str, float]]:
    return [((c.at_ms - T0) / 1000, c.reason or c.state, (c.onset_ms - T0) / 1000) for c in changes]


def test_without_waiting_times_an_alert_begins_and_ends_with_the_reading() -> None:
    told = drive(engine_of(), (0, 2.0), (10, 30.0), (20, 31.0), (30, 2.0), (40, 2.0))
    assert told == [(10, "active", 10), (30, "recovered", 10)]


def test_for_waits_in_device_time_from_the_first_true_reading() -> None:
    told = drive(engine_of("for: 60s"), (0, 30.0), (30, 30.0), (59, 30.0), (60, 30.0), (90, 30.0))
    assert told == [(60, "active", 0)]


def test_a_contrary_reading_starts_the_waiting_again() -> None:
    told = drive(engine_of("for: 60s"), (0, 30.0), (30, 2.0), (40, 30.0), (70, 30.0), (100, 30.0))
    assert told == [(100, "active", 40)]


def test_keep_waits_for_the_end_to_last() -> None:
    points = [(0, 30.0), (10, 2.0), (30, 30.0), (40, 2.0), (80, 2.0), (99, 2.0), (100, 2.0)]
    assert drive(engine_of("keep: 60s"), *points) == [(0, "active", 0), (100, "recovered", 0)]


def test_off_leaves_a_band_in_which_nothing_changes() -> None:
    points = [(0, 30.0), (10, 8.0), (20, 12.0), (30, 8.0), (40, 4.0), (50, 8.0)]
    assert drive(engine_of("off: tilt_deg < 5"), *points) == [(0, "active", 0), (40, "recovered", 0)]


def test_samples_ask_for_more_than_one_reading_however_long_it_lasts() -> None:
    told = drive(engine_of("for: 10s; samples: 3"), (0, 30.0), (60, 30.0), (90, None), (120, 30.0))
    assert told == [(120, "active", 0)]


def test_a_device_that_reports_only_changes_is_judged_by_the_clock() -> None:
    engine = engine_of("for: 60s; keep: 60s")
    told = drive(engine, (0, 30.0), (30, None), (59, None), (61, None), (90, None))
    assert told == [(60, "active", 0)]
    assert drive(engine, (100, 2.0), (159, None), (165, None)) == [(160, "recovered", 0)]


def test_the_clock_runs_on_for_no_longer_than_hold() -> None:
    engine = engine_of("for: 60s; hold: 40s")
    quiet = [(second, None) for second in range(10, 200, 10)]
    assert drive(engine, (0, 30.0), *quiet) == []
    assert [p.since_ms for p in engine.pending()] == [T0]


def test_after_a_gap_longer_than_hold_the_waiting_starts_again() -> None:
    told = drive(engine_of("for: 60s; hold: 40s"), (0, 30.0), (41, None), (90, 30.0), (120, 30.0), (150, 30.0))
    assert told == [(150, "active", 90)]


def test_absent_and_suspect_values_neither_fire_nor_clear() -> None:
    engine = engine_of("for: 60s; hold: 1h")
    engine.step([reading(0, 30.0)], T0)
    suspect = reading(30, 500.0)  # no tilt is more than 180 degrees
    assert bool(suspect.suspect.any())
    for batch in (suspect, reading(40, None, water_level_m=1.0)):
        assert engine.step([batch], int(batch.time_ms[0])) == []
    assert [p.since_ms for p in engine.pending()] == [T0]
    assert seconds(engine.step([reading(60, 30.0)], T0 + 60_000)) == [(60, "active", 0)]
    assert engine.step([reading(70, 500.0), reading(80, None)], T0 + 80_000) == []
    assert list(engine.open_alerts()["open"]) == ["device:cover-1"]


def test_an_alert_of_which_nothing_more_is_heard_ends_as_data_lost() -> None:
    engine = engine_of("lost_after: 2h", away_ms=10**9)
    told = drive(engine, (0, 30.0), (3600, None), (7200, None), (7201, None))
    assert told == [(0, "active", 0), (7201, "data_lost", 0)]


def test_late_readings_are_heard_but_not_judged() -> None:
    engine = engine_of()
    engine.step([reading(100, 2.0)], T0 + 100_000)
    late = reading(50, 60.0, late=True)
    assert engine.step([late], T0 + 130_000) == []
    assert engine.fleet.live["manhole"].seen_ms[0] == T0 + 130_000
    assert engine.fleet.live["manhole"].time_ms[0] == T0 + 100_000


def test_several_readings_of_one_device_in_one_batch_are_judged_one_after_the_other() -> None:
    times = [0, 10, 5, 20, 30]  # the third is older than the second and left out
    tilts = [30.0, 2.0, 60.0, 31.0, 3.0]
    table = np.full((len(COVER.fields), 5), np.nan)
    table[COVER.column("tilt_deg")] = tilts
    batch = make_batch(COVER, 0, [T0 + s * 1000 for s in times], [0] * 5, table)
    told = seconds(engine_of().step([batch], T0 + 30_000))
    assert told == [(0, "active", 0), (10, "recovered", 0), (20, "active", 20), (30, "recovered", 20)]


def test_a_transition_carries_place_reason_value_threshold_and_since_when() -> None:
    (told,) = engine_of().step([reading(0, 32.5, row=1)], T0)
    assert told.alert_id == alert_id("open", "device:cover-2", T0)
    assert (told.entity, told.kind, told.severity, told.district) == ("device:cover-2", "manhole", "major", "东城区")
    assert (told.lon, told.lat) == (120.002, 30.0)
    assert (told.values["value"], told.values["threshold"], told.values["tilt_deg"]) == (32.5, 10.0, 32.5)
    assert told.message["en"] == "2 号井: 32.5° over 10° since 2026-03-01 21:00"
    assert told.message["zh"] == "东城区 和平街道 中山路 2 号井 32.5°"


def test_a_cleared_transition_says_that_it_is_over_and_how_long_it_lasted() -> None:
    engine = engine_of()
    engine.step([reading(0, 60.0)], T0)
    (told,) = engine.step([reading(1500, 1.0)], T0 + 1_500_000)
    assert told.message["en"] == "Cleared: Cover open, 1 号井, 中山路, 和平街道, 东城区; recovered, lasted 25 min"
    assert told.message["zh"] == "【解除】井盖打开：1 号井，东城区 和平街道 中山路；已恢复，历时25分钟"
    assert told.values["value"] == 1.0


def test_a_rule_without_a_role_watches_the_roles_that_report_its_fields() -> None:
    lamp = Asset("lamp-1", "streetlight", "lamp", facts={"rated_power_w": 100.0})
    box = Asset("box-1", "streetlight", "cabinet")
    text = RULE.format("").replace("manhole", "streetlight").replace("tilt_deg > 10", "power_w < 30")
    kind = CATALOG["streetlight"]
    table = np.full((len(kind.fields), 2), np.nan)
    table[kind.column("power_w")] = 1.0
    changes = engine_of(text=text, assets=[lamp, box]).step([make_batch(kind, T0, [T0, T0], [0, 1], table)], T0)
    assert [c.entity for c in changes] == ["device:lamp-1"]


def test_a_truck_is_told_where_it_is_and_not_where_its_depot_is() -> None:
    truck, kind = Asset("truck-1", "truck", "truck", lon=120.0, lat=30.0), CATALOG["truck"]
    text = RULE.format("").replace("manhole", "truck").replace("tilt_deg > 10", "speed_kmh > 65")
    table = np.full((len(kind.fields), 1), np.nan)
    for name, value in (("speed_kmh", 80.0), ("lon_deg", 120.5), ("lat_deg", 30.25)):
        table[kind.column(name)] = value
    (told,) = engine_of(text=text, assets=[truck]).step([make_batch(kind, T0, [T0], [0], table)], T0)
    assert (told.lon, told.lat) == (120.5, 30.25)


def test_the_map_has_a_colour_for_every_device() -> None:
    text = RULE.format("") + """
  - {id: wet, device: manhole, on: water_level_m > 2, severity: info, message: {en: "x", zh: "x"}}
  - {id: gone, kind: offline, device: manhole, after: 1h, severity: minor, message: {en: "x", zh: "x"}}
"""  # fmt: skip
    engine = engine_of(text=text, away_ms=10**9)
    assert engine.severity("manhole").tolist() == [-1, -1, -1]
    engine.step([reading(0, 60.0, water_level_m=2.5), reading(0, 1.0, row=1, water_level_m=2.5)], T0)
    assert engine.severity("manhole").tolist() == [3, 1, -1]
    engine.step([reading(10, 1.0), reading(10, 1.0, row=1, water_level_m=1.0), reading(10, 1.0, row=2)], T0 + 10_000)
    assert engine.severity("manhole").tolist() == [1, 0, 0]
    engine.step([reading(7000, 1.0, row=1, water_level_m=1.0)], T0 + 7_100_000)
    assert engine.severity("manhole").tolist() == [1, 0, -1]
    assert engine.severity("truck").tolist() == []


def test_devices_without_a_needed_fact_are_counted_and_not_judged() -> None:
    bare = [*COVERS, Asset("cover-9", "manhole", "cover")]
    text = RULE.format("").replace("tilt_deg > 10", "water_level_m > depth_m - 0.5")
    engine = engine_of(text=text, assets=bare)
    told = engine.step([reading(0, 1.0, row=3, water_level_m=9.0), reading(0, 1.0, row=0, water_level_m=9.0)], T0)
    assert [c.entity for c in told] == ["device:cover-1"]
    assert engine.unjudged() == {"open": 1}


@pytest.mark.parametrize("count", [1, 5000])
def test_nothing_heard_is_nothing_told(count: int) -> None:
    engine = engine_of(assets=[Asset(f"cover-{n:04d}", "manhole", "cover") for n in range(count)])
    assert [engine.step([], T0 + second * 1000) for second in range(3)] == [[], [], []]
    assert engine.open_alerts() == {"open": {}}
