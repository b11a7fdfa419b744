"""What the engine keeps over a restart, a changed rule, a changed registry and a clock that jumps; and silence."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alerts.engine import Engine
from alerts.rules import parse_rules
from devices.batch import Batch, make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.transition import Transition
from devices.yamlfile import parse_yaml

CATALOG = load_catalog()
STATION = CATALOG["pump"]
T0 = 1_772_370_000_000  # 2026-03-01 21:00 in Shanghai
STATIONS = [Asset(f"station-{n}", "pump", "station", lon=120.0, lat=30.0) for n in (1, 2, 3)]
HIGH = """
rules:
  - id: high
    device: pump
    role: station
    on: level_m > 3
    for: 5m
    keep: 5m
    hold: 10m
    severity: major
    title: {en: Level high, zh: 高水位}
    message: {en: "{name} {value}", zh: "{name} {value}"}
"""
SILENT = """
rules:
  - id: silent
    kind: offline
    device: pump
    role: station
    after: 5m
    severity: major
    message: {en: "{name}: {silent_min} of {after_min} min since {since}", zh: "{name}"}
"""


class Written(NamedTuple):
    """An alert as the operations database has it."""

    rule: str
    entity: str
    onset_ms: int
    kind: str = "expression"
    severity: str = "major"


def engine_of(text: str, assets: Sequence[Asset] = STATIONS) -> Engine:
    rules = parse_rules(parse_yaml(text), CATALOG)
    registry = Registry(CATALOG, assets)
    return Engine(rules, registry, Sky(registry, "Asia/Shanghai"))


def levels(after_s: float, *level: float, rows: Sequence[int] | None = None) -> Batch:
    table = np.full((len(STATION.fields), len(level)), np.nan)
    table[STATION.column("level_m")] = level
    return make_batch(STATION, 0, [T0 + round(after_s * 1000)] * len(level), rows or range(len(level)), table)


def told(changes: Sequence[Transition]) -> list[tuple[str, str, float]]:
    return [(c.entity, c.reason or c.state, (c.at_ms - T0) / 1000) for c in changes]


def at(engine: Engine, after_s: float, *batches: Batch) -> list[tuple[str, str, float]]:
    return told(engine.step(batches, T0 + round(after_s * 1000)))


def reborn(engine: Engine, text: str, assets: Sequence[Asset] = STATIONS) -> Engine:
    """Return an engine that has read from disk what ``engine`` remembers."""
    disk = io.BytesIO()
    np.savez(disk, **engine.save())  # type: ignore[arg-type]
    disk.seek(0)
    new = engine_of(text, assets)
    with np.load(disk, allow_pickle=False) as saved:
        new.load(dict(saved))
    return new


def test_a_restart_keeps_the_time_that_an_alert_has_waited() -> None:
    engine = engine_of(HIGH)
    for second in range(0, 300, 60):
        assert at(engine, second, levels(second, 4.0)) == []
    engine = reborn(engine, HIGH)  # killed at four of five minutes, away for ten
    assert [p.since_ms for p in engine.pending()] == [T0]
    assert at(engine, 840) == []  # nothing fires merely because we were away
    assert at(engine, 850, levels(270, 4.0)) == []  # the broker kept what was reported meanwhile
    assert at(engine, 850, levels(300, 4.0)) == [("device:station-1", "active", 300)]


def test_an_open_alert_is_neither_told_again_nor_forgotten_after_a_restart() -> None:
    engine = engine_of(HIGH)
    at(engine, 0, levels(0, 4.0))
    assert at(engine, 300, levels(300, 4.0)) == [("device:station-1", "active", 300)]
    engine = reborn(engine, HIGH)
    assert engine.open_alerts() == {"high": {"device:station-1": T0}}
    assert at(engine, 360, levels(360, 4.0)) == []
    assert at(engine, 420, levels(420, 2.0)) == []
    engine = reborn(engine, HIGH)
    assert at(engine, 720, levels(720, 2.0)) == [("device:station-1", "recovered", 720)]


def test_alerts_of_a_changed_rule_are_closed_and_begin_anew_under_the_new_one() -> None:
    engine = engine_of(HIGH)
    at(engine, 0, levels(0, 4.0))
    at(engine, 300, levels(300, 4.0))
    changed = reborn(engine, HIGH.replace("> 3", "> 3.5"))
    (closed,) = changed.step([], T0 + 310_000)
    assert (closed.rule, closed.state, closed.reason) == ("high", "cleared", "rule_changed")
    assert (closed.at_ms, closed.onset_ms, closed.severity) == (T0 + 310_000, T0, "major")
    assert closed.message["en"].startswith("Cleared: Level high, station-1")
    assert changed.step([], T0 + 311_000) == []
    at(changed, 360, levels(360, 4.0))
    assert at(changed, 660, levels(660, 4.0)) == [("device:station-1", "active", 660)]


def test_new_words_or_severity_leave_an_open_alert_alone() -> None:
    engine = engine_of(HIGH)
    at(engine, 0, levels(0, 4.0))
    at(engine, 300, levels(300, 4.0))
    reworded = reborn(engine, HIGH.replace("major", "critical").replace("{name} {value}", "{name}!"))
    assert reworded.step([], T0 + 310_000) == []
    assert list(reworded.open_alerts()["high"]) == ["device:station-1"]


def test_alerts_of_a_rule_or_a_device_that_is_gone_are_closed() -> None:
    engine = engine_of(HIGH)
    at(engine, 0, levels(0, 4.0, 4.0))
    at(engine, 300, levels(300, 4.0, 4.0))
    without_rule = reborn(engine, SILENT)
    assert sorted(at(without_rule, 310)) == [
        ("device:station-1", "rule_changed", 310), ("device:station-2", "rule_changed", 310),
    ]  # fmt: skip
    without_device = reborn(engine, HIGH, [STATIONS[2], STATIONS[1]])
    assert at(without_device, 310) == [("device:station-1", "data_lost", 310)]
    assert list(without_device.open_alerts()["high"]) == ["device:station-2"]


def test_memory_follows_the_device_and_not_its_row() -> None:
    engine = engine_of(HIGH)
    at(engine, 0, levels(0, 4.0, 1.0, 2.0))
    moved = reborn(engine, HIGH, [STATIONS[2], STATIONS[0], STATIONS[1]])
    assert moved.fleet.live["pump"].column("level_m").tolist() == [2.0, 4.0, 1.0]
    assert [p.entity for p in moved.pending()] == ["device:station-1"]
    assert at(moved, 300, levels(300, 4.0, rows=[1])) == [("device:station-1", "active", 300)]


def test_a_silent_device_is_offline_after_the_time_given_and_back_with_a_report() -> None:
    engine = engine_of(SILENT)
    at(engine, 0, levels(0, 1.0, 1.0))
    for second in range(30, 300, 30):
        assert at(engine, second, levels(second, 1.0, rows=[1])) == []
    changes = engine.step([levels(300, 1.0, rows=[1])], T0 + 300_500)
    assert told(changes) == [("device:station-1", "active", 300)]
    assert changes[0].message["en"] == "station-1: 5.01 of 5 min since 2026-03-01 21:00"
    assert at(engine, 330, levels(330, 1.0, rows=[1])) == []
    assert at(engine, 345, levels(345, 1.0, 1.0)) == [("device:station-1", "recovered", 345)]


def test_a_device_that_was_never_heard_is_not_offline_unless_the_rule_says_when() -> None:
    engine = engine_of(SILENT)
    for second in range(0, 3600, 60):
        assert at(engine, second) == []
    told_of = []
    engine = engine_of(SILENT.replace("after: 5m", "after: 5m\n    never_heard_after: 30m"))
    for second in range(0, 3600, 60):
        told_of += at(engine, second, levels(second, 1.0))
    assert told_of == [("device:station-2", "active", 1800), ("device:station-3", "active", 1800)]


def test_after_a_restart_nothing_is_offline_until_it_was_listened_for_long_enough() -> None:
    engine = engine_of(SILENT)
    at(engine, 0, levels(0, 1.0, 1.0))
    engine = reborn(engine, SILENT)
    told_of = at(engine, 7200)  # the house was away for two hours
    for second in range(7230, 7600, 30):
        told_of += at(engine, second, levels(second, 1.0))
    assert told_of == [("device:station-2", "active", 7500)]


def test_a_short_limit_still_leaves_two_report_intervals_after_a_restart() -> None:
    text = SILENT.replace("after: 5m", "after: 30s")
    engine = engine_of(text)
    at(engine, 0, levels(0, 1.0))
    engine = reborn(engine, text)
    told_of = []
    for second in range(7200, 7400, 10):
        told_of += at(engine, second)
    assert told_of == [("device:station-1", "active", 7320)]


def test_a_host_clock_that_jumps_calls_nobody_offline() -> None:
    engine = engine_of(SILENT)
    for second in (0, 30, 3630, 3660, 90, 120):  # an hour forward, and back again
        assert at(engine, second, levels(second, 1.0)) == []
    assert at(engine, 180) == []
    assert [one for second in range(210, 500, 30) for one in at(engine, second)] == [
        ("device:station-1", "active", 420)
    ]


def test_silence_counts_only_while_the_rule_says_so() -> None:
    text = SILENT.replace("after: 5m", "after: 5m\n    while: pumps_on > 0")
    engine = engine_of(text)
    batch = levels(0, 1.0, 1.0)
    batch.values[STATION.column("pumps_on")] = [0, 1]
    at(engine, 0, batch)
    assert [one for s in range(30, 900, 30) for one in at(engine, s)] == [("device:station-2", "active", 300)]


def test_clearing_can_ask_for_several_reports_in_a_row() -> None:
    engine = engine_of(SILENT.replace("after: 5m", "after: 5m\n    reports: 3"))
    at(engine, 0, levels(0, 1.0))
    told_of = [one for second in range(30, 400, 30) for one in at(engine, second)]
    assert told_of == [("device:station-1", "active", 300)]
    assert at(engine, 420, levels(420, 1.0)) == []
    assert at(engine, 450, levels(450, 1.0)) == []
    assert [one for second in range(480, 800, 30) for one in at(engine, second)] == []  # silent once more
    assert at(engine, 810, levels(810, 1.0)) == []
    assert at(engine, 840, levels(840, 1.0)) == []
    assert at(engine, 870, levels(870, 1.0)) == [("device:station-1", "recovered", 870)]


def test_the_memory_holds_no_objects_and_survives_a_new_field_in_the_catalog() -> None:
    engine = engine_of(HIGH)
    both = levels(0, 4.0)
    both.values[both.kind.column("pumps_on")] = 2.0
    at(engine, 0, both)
    saved = engine.save()
    assert all(array.dtype.kind in "biufSU" for array in saved.values())
    same = engine_of(HIGH)
    same.load(saved)
    assert same.fleet.live["pump"].column("level_m")[0] == 4.0
    for was, becomes in (("level_m", "of_old"), ("pumps_on", "level_m")):  # gone, and in another place
        for name in [name for name in saved if name.endswith(".fields")]:
            saved[name] = np.where(saved[name] == was, becomes, saved[name])
    new = engine_of(HIGH)
    new.load(saved)
    assert new.fleet.live["pump"].column("level_m")[0] == 2.0
    assert np.isnan(new.fleet.live["pump"].column("pumps_on")).all()
    assert new.fleet.live["pump"].time_ms[0] == T0


def test_a_device_at_rest_weighs_little_and_one_that_is_not_a_slot() -> None:
    rules = "rules:" + "".join(
        HIGH.split("rules:")[1].replace("id: high", f"id: high_{n}").replace("> 3", f"> {n}") for n in range(3, 23)
    )
    stations = [Asset(f"station-{n}", "pump", "station") for n in range(2000)]
    engine = engine_of(rules, stations)
    life = engine.desks["pump"].bank.life  # type: ignore[union-attr]
    at(engine, 0, levels(0, *[1.0] * 2000))
    assert life.nbytes <= 100 * 2000  # twenty rules: four bytes and a bit each
    at(engine, 60, levels(60, *[4.0] * 2000))
    assert len(engine.pending()) == 2000
    assert life.nbytes <= 200 * 2000
    before = life.nbytes
    for second in range(120, 1200, 60):  # rooms are used again
        at(engine, second, levels(second, *[1.0 if second % 120 else 4.0] * 2000))
    assert life.slots.nbytes <= before + 10 * 2000


def test_a_count_of_readings_from_an_earlier_program_is_taken_over_however_large() -> None:
    engine = engine_of(HIGH.replace("for: 5m", "for: 5m\n    samples: 1000"))
    at(engine, 0, levels(0, 4.0))
    saved = engine.save()
    saved["rule.high.state.seen"] = np.array([100_000], dtype=np.int32)
    new = engine_of(HIGH.replace("for: 5m", "for: 5m\n    samples: 1000"))
    new.load(saved)
    assert at(new, 300, levels(300, 4.0)) == [("device:station-1", "active", 300)]


def test_a_thousand_open_alerts_are_compared_without_asking_the_rule_a_thousand_times() -> None:
    stations = [Asset(f"station-{n:04}", "pump", "station", lon=120.0, lat=30.0) for n in range(1000)]
    engine = engine_of(HIGH, stations)
    rows = range(1000)
    for after_s in (0.0, 300.0):
        at(engine, after_s, levels(after_s, *[4.0] * 1000, rows=rows))
    judge = engine.judges[0]
    opened = judge.open()
    assert len(opened) == 1000
    asked = []
    judge.open = lambda: asked.append(1) or opened  # type: ignore[method-assign, func-returns-value]  # counts who asks
    written = [Written("high", entity, onset) for entity, onset in opened.items()]
    assert engine.compare(written) == 0
    assert engine.compare([*written, Written("high", "device:station-9999", T0)]) == 1
    assert len(asked) == 2
