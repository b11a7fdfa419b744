"""The simulated world without faults: it speaks well, keeps physics, and depends on its seed alone."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import defaultdict
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from devices.geometry import LocalProjection
from devices.kinds import load_catalog
from devices.payloads import PAYLOAD_BYTES_MAX, READINGS_MAX, Decoder
from simulators.catchment import CELL_MS, Catchments
from simulators.city import CENTRE, build_city
from simulators.haulage import HOURS
from simulators.machine import Message
from simulators.network import distance_to
from simulators.weather import DAY_MS, HOUR_MS, Rain, seeded_rain
from simulators.wells import Condition, Wells
from simulators.world import DEMO, Intervals, World

ZONE = "Asia/Shanghai"
MIDNIGHT = int(datetime(2026, 6, 16, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
CITY = build_city(11, lamps=60, covers=12, stations=2, trucks=4)


def world(start_ms: int = MIDNIGHT, seed: int = 11, **more: Any) -> World:  # noqa: ANN401 - whatever World takes
    return World(CITY, load_catalog(), ZONE, seed, start_ms, intervals=DEMO, **more)


@lru_cache
def day() -> tuple[World, list[Message]]:
    """Return a day without faults: from six in the evening to eight in the morning, dusk, permits and dawn in it."""
    w = world(MIDNIGHT - 6 * HOUR_MS)
    return w, w.advance(MIDNIGHT + 8 * HOUR_MS)


@lru_cache
def readings() -> dict[str, list[dict[str, float]]]:
    """Return that day's readings by device."""
    out: dict[str, list[dict[str, float]]] = defaultdict(list)
    for message in day()[1]:
        out[message.topic.split("/")[4]].append(json.loads(message.payload))
    return out


def digest(messages: list[Message]) -> str:
    return hashlib.sha256(repr(messages).encode()).hexdigest()


def test_messages_depend_on_the_seed_and_not_on_how_time_is_handed_in() -> None:
    at_once, in_steps, other = world(), world(), world(seed=12)
    whole = at_once.advance(MIDNIGHT + HOUR_MS)
    rng, now, pieces = np.random.default_rng(1), MIDNIGHT, []
    while now < MIDNIGHT + HOUR_MS:
        now = min(now + int(rng.integers(1, 90_000)), MIDNIGHT + HOUR_MS)
        pieces += in_steps.advance(now)
    assert len(whole) > 1000
    assert digest(pieces) == digest(whole)
    assert digest(other.advance(MIDNIGHT + HOUR_MS)) != digest(whole)


def test_messages_come_in_the_order_of_time_and_never_early() -> None:
    w = world()
    last = MIDNIGHT
    for minute in range(1, 40):
        until = MIDNIGHT + minute * 60_000
        for message in w.advance(until):
            assert last <= message.time_ms <= until
            last = message.time_ms


def test_every_message_of_a_day_decodes_without_reject_and_without_suspect() -> None:
    w, messages = day()
    decoded = Decoder(w.registry, CITY.name).decode(messages, MIDNIGHT + 8 * HOUR_MS)
    assert decoded.rejects == []
    assert sum(decoded.received.values()) == len(messages) == sum(m.readings for m in messages)
    assert {batch.kind.name for batch in decoded.batches} == {"streetlight", "manhole", "pump", "truck"}
    assert sum(int(batch.suspect.sum()) for batch in decoded.batches) == 0


def test_every_device_reports_at_its_interval() -> None:
    for asset in CITY.assets:
        times = np.array([r["ts"] for r in readings()[asset.id]])
        seconds = {"lamp": 300, "cabinet": 60, "cover": 600, "truck": 15}.get(asset.role, 60)
        if asset.role == "truck":  # corners bring more reports, sleep in the depot fewer
            assert np.diff(times).max() <= 4 * seconds * 1000
            assert float(np.median(np.diff(times))) <= 4 * seconds * 1000
        else:
            assert set(np.diff(times)) == {seconds * 1000}
            assert abs(len(times) - 14 * 3600 / seconds) <= 1


def test_lamps_burn_by_night_and_rest_by_day() -> None:
    w, _ = day()
    for row in w.registry.rows_of("streetlight", "lamp"):
        lamp = w.registry.assets[row]
        mine = readings()[lamp.id]
        times = np.array([r["ts"] for r in mine])
        power = np.array([r["power_w"] for r in mine])
        on_for, off_for = w.sky.switched_on_for_ms(row, times), w.sky.switched_off_for_ms(row, times)
        rated = lamp.facts["rated_power_w"]
        assert power[on_for > 120_000].min() > 0.6 * rated
        assert power.max() < 1.15 * rated
        assert power[off_for > 120_000].max() <= 1.0
        assert all(198.0 < r["voltage_v"] < 235.4 for r in mine)
        assert all(b["energy_kwh"] >= a["energy_kwh"] for a, b in itertools.pairwise(mine))


def test_a_cabinet_meters_what_its_lamps_draw() -> None:
    cabinet = next(a for a in CITY.assets if a.role == "cabinet")
    lamps = [a.id for a in CITY.assets if a.cabinet == cabinet.id]
    late = [r for r in readings()[cabinet.id] if MIDNIGHT + HOUR_MS < r["ts"] < MIDNIGHT + 2 * HOUR_MS]
    drawn = sum(
        float(
            np.mean([r["power_w"] for r in readings()[lamp] if MIDNIGHT + HOUR_MS < r["ts"] < MIDNIGHT + 2 * HOUR_MS])
        )
        for lamp in lamps
    )
    assert float(np.mean([r["feeder_power_w"] for r in late])) == pytest.approx(drawn, rel=0.02)
    amps = sum(late[0][f"phase_{p}_a"] * late[0][f"phase_{p}_v"] * 0.95 for p in "abc")
    assert amps == pytest.approx(late[0]["feeder_power_w"], rel=0.03)


def test_covers_stay_closed_and_calm() -> None:
    for cover in (a for a in CITY.assets if a.role == "cover"):
        for reading in readings()[cover.id]:
            assert reading["tilt_deg"] < 10
            assert reading["cover_open"] == 0
            assert reading["h2s_ppm"] < 10
            assert reading["water_level_m"] < cover.facts["depth_m"] - 0.5
            assert 19.5 < reading["o2_percent"] < 23.5


def test_trucks_keep_to_their_way_and_to_their_hours() -> None:
    projection = LocalProjection(*CENTRE)
    for haul in CITY.hauls:
        mine = readings()[haul.truck]
        places = np.column_stack(projection.to_metres([r["lon_deg"] for r in mine], [r["lat_deg"] for r in mine]))
        assert distance_to(haul.line, places).max() < 50.0
        speed = np.array([r["speed_kmh"] for r in mine])
        minute = (np.array([r["ts"] for r in mine]) - MIDNIGHT) // 60_000 % 1440
        outside = (minute < HOURS[0]) & (minute >= HOURS[1])
        assert speed[outside].max() == 0
        assert speed[~outside].max() > 35
        assert speed.max() < 60
        assert mine[0]["ignition"] == 0


def test_trucks_load_drive_covered_and_tip_at_their_sites() -> None:
    haul = CITY.hauls[0]
    mine = readings()[haul.truck]
    moving = [r for r in mine if r["speed_kmh"] > 5]
    assert all(r["cover_closed"] == 1 and r["bed_angle_deg"] == 0 for r in moving)
    loads = np.array([r["load_t"] for r in mine])
    trips = int(((loads[:-1] > 1) & (loads[1:] <= 1)).sum())
    assert trips >= 3
    assert any(r["bed_angle_deg"] > 30 and r["speed_kmh"] == 0 for r in mine)
    assert mine[-1]["odometer_km"] - mine[0]["odometer_km"] > 20


def test_a_truck_reports_its_heading_and_speed_as_it_moves() -> None:
    projection = LocalProjection(*CENTRE)
    mine = readings()[CITY.hauls[1].truck]
    errors = []
    for a, b in itertools.pairwise(mine):
        gap = (b["ts"] - a["ts"]) / 1000
        steady = abs(a["speed_kmh"] - b["speed_kmh"]) < 5 and abs(a["heading_deg"] - b["heading_deg"]) < 10
        if gap <= 15 and steady and b["speed_kmh"] > 30:
            (x0, x1), (y0, y1) = projection.to_metres([a["lon_deg"], b["lon_deg"]], [a["lat_deg"], b["lat_deg"]])
            heading = np.radians((a["heading_deg"] + b["heading_deg"]) / 2)
            reach = (a["speed_kmh"] + b["speed_kmh"]) / 7.2 * gap
            errors.append(np.hypot(x1 - x0 - reach * np.sin(heading), y1 - y0 - reach * np.cos(heading)))
    assert len(errors) > 100
    assert float(np.median(errors)) < 15.0


def test_the_water_of_a_station_is_balanced_and_its_pumps_take_turns() -> None:
    w, _ = day()
    wells = w._stations.wells
    assert wells.inflow_l.min() > 300_000
    assert wells.spilt_l.max() == 0
    station = w._stations.assets[0]
    pumps = [readings()[f"station-01-pump-{k}"] for k in (1, 2)]
    starts = [p[-1]["starts"] - p[0]["starts"] for p in pumps]
    assert min(starts) > 5
    assert abs(starts[0] - starts[1]) <= 0.2 * max(starts)
    assert max(starts) < 24 * 6
    levels = [r["level_m"] for r in readings()["station-01"]]
    assert min(levels) > station.facts["stop_level_m"] - 0.05
    assert max(levels) < station.facts["alarm_level_m"]


def test_what_flows_into_a_well_is_pumped_or_still_there() -> None:
    rng = np.random.default_rng(5)
    count = 7
    wells = Wells(*(np.full(count, x) for x in (20.0, 1.6, 0.9, 50.0, 1.0)))
    level = wells.level_m.copy()
    for step in range(1200):
        condition = Condition.fine(count)
        condition.available = rng.random((count, 2)) < 0.95
        condition.back = np.where(rng.random(count) < 0.3, 0.2, 0.0)
        knots = np.cumsum(np.r_[0.0, rng.uniform(0.5, 90, 3)])
        wells.live(knots, rng.uniform(0, 300 if step % 300 < 60 else 30, (3, count)), condition)
        assert 0.89 < wells.level_m.min() <= wells.level_m.max() <= 4.0
        held = (wells.level_m - level) * wells.area_m2 * 1000
        came = wells.inflow_l + wells.returned_l
        assert came == pytest.approx(wells.pumped_l + wells.spilt_l + held, rel=1e-9, abs=1e-3)
    assert wells.spilt_l.max() > 0
    assert wells.starts.min() > 50


def test_the_second_pump_helps_when_one_is_not_enough() -> None:
    wells = Wells(*(np.array([x]) for x in (20.0, 1.6, 0.9, 50.0, 1.5)))
    wells.live(np.array([0.0, 3600.0]), np.array([[60.0]]), Condition.fine(1))
    assert wells.starts.tolist() == [[1, 1]] or wells.starts.sum() > 2
    assert wells.level_m[0] < 1.6 + 0.31


def test_pumps_follow_their_curve() -> None:
    """Two pumps on one rising main give less than twice one; a higher head and a slower drive give less."""
    wells = Wells(*(np.full(4, x) for x in (1e6, 1.6, 0.9, 50.0, 1.25)))
    wells.called[:, 0] = wells.running[:, 0] = True
    wells.called[1, 1] = wells.running[1, 1] = True
    condition = Condition.fine(4)
    condition.head[2], condition.speed[3] = 0.2, 0.85
    out = wells.live(np.array([0.0, 1.0]), np.zeros((1, 4)), condition).flow[0].sum(axis=1)
    assert out[0] == pytest.approx(50.0, rel=0.03)
    assert 1.3 * out[0] < out[1] < 1.6 * out[0]
    assert 0.5 * out[0] < out[3] < 0.9 * out[0]
    assert 0.8 * out[0] < out[2] < 0.95 * out[0]


def test_rain_reaches_a_station_fast_and_slowly_and_no_litre_is_lost() -> None:
    rain = Rain((0, CELL_MS), (0.0, 10.0))
    catchments = Catchments(np.array([60.0]), rain, np.random.default_rng(1), 0)
    per_mm = float((catchments._fast_l_mm + catchments._slow_l_mm)[0])
    storm = [float(catchments.cell(k, 0.0, 2).storm[0]) for k in range(4 * 24 * 6)]
    assert sum(storm) * CELL_MS / 1000 == pytest.approx(10.0 * per_mm, rel=1e-3)
    assert storm[0] > storm[4] > storm[40] > storm[400] >= 0


def test_inflow_follows_the_hour_the_weekday_and_the_season() -> None:
    catchments = Catchments(np.full(200, 60.0), Rain((0, 1), (0.0, 0.0)), np.random.default_rng(1), 0)
    night, morning = (float(catchments.cell(k, m, 2).sewage.mean()) for k, m in ((0, 240.0), (1, 480.0)))
    free = float(catchments.cell(2, 480.0, 6).sewage.mean())
    assert night < 0.35 * morning
    assert free < 0.9 * morning
    ground = [float(catchments.cell(3 + day * 144, 0.0, 2).ground[0]) for day in range(0, 365, 5)]
    assert 1.2 < max(ground) / min(ground) < 1.4


def test_rain_is_exact_over_any_interval_and_keeps_its_dry_time() -> None:
    rain = seeded_rain(3, 0, 100 * DAY_MS, dry=(40 * DAY_MS, 50 * DAY_MS))
    parts = sum(rain.depth_mm(k * 700_000, (k + 1) * 700_000) for k in range(100 * DAY_MS // 700_000 + 1))
    assert parts == pytest.approx(rain.total_mm[-1])
    assert rain.total_mm[-1] > 30
    assert rain.depth_mm(40 * DAY_MS, 50 * DAY_MS) == 0
    assert Rain((0, 100), (0.0, 5.0)).depth_mm(-50, 50) == 2.5


def test_history_is_short_and_readable_and_the_station_lives_on_from_it() -> None:
    w = world()
    logs = list(w.history())
    assert sum(m.readings for m in logs) < 20_000
    assert all(len(m.payload) <= PAYLOAD_BYTES_MAX and m.readings <= READINGS_MAX for m in logs)
    decoded = Decoder(w.registry, CITY.name).decode(logs, MIDNIGHT)
    assert decoded.rejects == []
    assert sum(int(batch.suspect.sum()) for batch in decoded.batches) == 0
    by_station: dict[str, list[dict[str, float]]] = defaultdict(list)
    for message in logs:
        by_station[message.topic].extend(json.loads(message.payload))
    assert len(by_station) == 2
    for rows in by_station.values():
        times = np.array([r["ts"] for r in rows])
        assert (np.diff(times) > 0).all()
        assert times[0] < MIDNIGHT - 35.9 * DAY_MS
        assert MIDNIGHT - HOUR_MS <= times[-1] < MIDNIGHT
        rain = np.array([r["rain_mm"] for r in rows])
        assert rain.sum() == pytest.approx(
            w.rain.depth_mm(MIDNIGHT - 36 * DAY_MS, int(times[-1])), abs=0.02 * len(rain)
        )
        assert rain[times > MIDNIGHT - 6 * DAY_MS].sum() == 0
        assert rain.sum() > 10
    assert ["inflow_lps" in rows[0] for rows in by_station.values()] == [True, False]
    levels = w._stations.wells.level_m.tolist()
    first = [json.loads(m.payload) for m in w.advance(MIDNIGHT + 61_000) if m.topic.endswith("station-01/up")]
    assert abs(first[0]["level_m"] - levels[0]) < 0.15 or first[0]["pumps_on"] > 0


def test_history_after_the_start_is_refused() -> None:
    w = world()
    w.advance(MIDNIGHT + 1000)
    with pytest.raises(ValueError, match="before the first advance"):
        w.history()


def test_trucks_refuse_intervals_that_are_no_multiple_of_their_step() -> None:
    with pytest.raises(ValueError, match="5, 10, 15"):
        World(CITY, load_catalog(), ZONE, 1, MIDNIGHT, intervals=Intervals(truck_s=12))
