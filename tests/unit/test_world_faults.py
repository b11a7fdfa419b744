"""Faults of the simulated city show in what its devices send, from when to when they should, and the truth says so."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from devices.geometry import LocalProjection
from devices.kinds import load_catalog
from devices.payloads import Decoder
from simulators.city import CENTRE, build_city
from simulators.faults import EFFECTS, NEVER_MS, Fault, FaultBook, Spells, due_before, read_truth, write_truth
from simulators.haulage import MIN_AWAY_M
from simulators.link import Link, Mishaps
from simulators.machine import Message
from simulators.network import distance_to
from simulators.weather import DAY_MS
from simulators.world import DEMO, TICK_MS, World

ZONE = "Asia/Shanghai"
START = int(datetime(2026, 6, 16, 1, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
MIN = 60_000
ON, OFF, END = START + 20 * MIN, START + 50 * MIN, START + 70 * MIN
CITY = build_city(2, lamps=130, covers=6, stations=2, trucks=4)
PLAZA = "cabinet-001"
Reading = dict[str, float]


def fault(kind: str, *targets: str, magnitude: float = 1.0, on_ms: int = ON, off_ms: int = OFF) -> Fault:
    return Fault(f"{kind}-1", kind, "rule", f"device:{targets[0]}", on_ms, off_ms, off_ms, magnitude, targets)


def played(*faults: Fault, end_ms: int = END, start_ms: int = START) -> tuple[World, list[Message]]:
    world = World(CITY, load_catalog(), ZONE, 2, start_ms, faults, intervals=DEMO)
    return world, world.advance(end_ms)


@lru_cache
def calm() -> tuple[World, list[Message]]:
    return played()


def of(messages: list[Message], device: str) -> list[Reading]:
    return [json.loads(m.payload) for m in messages if m.topic.split("/")[4] == device]


def lamp(r: Reading) -> bool:
    return r["power_w"] < 1.0 and r["voltage_v"] > 200 and r["command_percent"] > 0


SHOWN: list[tuple[str, str, float, Callable[[Reading], bool]]] = [
    ("lamp_out", "lamp-0040", 1.0, lamp),
    ("lamps_out", "lamp-0041", 1.0, lamp),
    ("cabinet_out", PLAZA, 1.0, lambda r: r["contactor_on"] == 0 and r["feeder_power_w"] < 10 and r["phase_a_v"] > 200),
    ("breaker_trip", PLAZA, 1.0, lambda r: r["breaker_tripped"] == 1 and r["phase_a_v"] == 0),
    ("door_open", PLAZA, 1.0, lambda r: r["door_open"] == 1),
    ("cover_open", "cover-002", 70.0, lambda r: r["tilt_deg"] == 70.0 and r["cover_open"] == 1 and r["locked"] == 0),
    ("cover_open", "cover-003", 18.0, lambda r: r["tilt_deg"] == 18.0 and r["cover_open"] == 0),
    ("low_battery", "cover-001", 1.0, lambda r: r["battery_percent"] < 20),
    ("pump_fault", "station-01-pump-2", 1.0, lambda r: r["fault"] == 1 and r["running"] == 0),
    ("mains_lost", "station-02", 1.0, lambda r: r["mains_ok"] == 0 and r["pumps_on"] == 0),
]


@pytest.mark.parametrize(("kind", "device", "magnitude", "shown"), SHOWN)
def test_a_fault_shows_while_it_lasts_and_only_then(
    kind: str, device: str, magnitude: float, shown: Callable[[Reading], bool]
) -> None:
    world, messages = played(fault(kind, device, magnitude=magnitude))
    mine = of(messages, device)
    assert [r for r in mine if shown(r)], f"{kind} never shows"
    ticks = [START + (r["ts"] - START - 1) // TICK_MS * TICK_MS for r in mine]  # faults stand as at a tick's beginning
    assert [shown(r) for r in mine] == [ON <= tick < OFF for tick in ticks]
    seen = world.truth()[0].seen_ms
    assert seen == next(r["ts"] for r in mine if shown(r))
    assert all(not shown(r) for r in of(calm()[1], device))


def test_lamps_of_a_dead_cabinet_have_no_supply_but_are_still_commanded() -> None:
    _, messages = played(fault("cabinet_out", PLAZA))
    dark = [r for r in of(messages, "lamp-0003") if ON + 15_000 <= r["ts"] < OFF]
    assert dark
    assert all(r["voltage_v"] == 0 and r["power_w"] <= 0.5 and r["command_percent"] > 0 for r in dark)


def test_a_lamp_with_a_welded_relay_and_a_stuck_contactor_burn_by_day() -> None:
    noon = START + 11 * 60 * MIN
    day = {"on_ms": noon + 5 * MIN, "off_ms": noon + 20 * MIN}
    stuck = replace(fault("contactor_stuck", "cabinet-002", **day), id="s")
    _, messages = played(fault("day_burn", "lamp-0001", **day), stuck, start_ms=noon, end_ms=noon + 30 * MIN)
    burning = [r for r in of(messages, "lamp-0001") if r["power_w"] > 20]
    assert burning
    assert all(r["command_percent"] == 0 and r["dim_percent"] == 100 for r in burning)
    assert any(r["contactor_on"] and r["feeder_power_w"] > 1000 for r in of(messages, "cabinet-002"))
    assert all(r["power_w"] < 1 for r in of(messages, "lamp-0002"))


def test_water_and_gas_creep_and_wake_their_sensor() -> None:
    water, gas = (
        fault("water_rise", "cover-004", magnitude=2.0),
        replace(fault("gas_rise", "cover-005"), magnitude=40.0),
    )
    world, messages = played(water, gas)
    rising = [r for r in of(messages, "cover-004") if ON <= r["ts"] < OFF]
    assert rising[0]["ts"] - ON < 30_000
    assert max(b["ts"] - a["ts"] for a, b in itertools.pairwise(rising)) <= 60_000
    steps = np.diff([r["water_level_m"] for r in rising])
    assert steps.min() > -0.1
    assert rising[-1]["water_level_m"] > 2.0 > rising[3]["water_level_m"]
    assert 39 < max(r["h2s_ppm"] for r in of(messages, "cover-005")) < 43
    assert all(f.seen_ms - f.on_ms <= 64_000 for f in world.truth())  # awake after 4 s, visible a report later


def test_a_well_without_pumps_fills_and_is_pumped_down_after_the_repair() -> None:
    both = fault("well_high", "station-01-pump-1", "station-01-pump-2", off_ms=START + 150 * MIN)
    _, messages = played(both, end_ms=START + 200 * MIN)
    station = next(a for a in CITY.assets if a.id == "station-01")
    levels = [(r["ts"], r["level_m"]) for r in of(messages, "station-01")]
    assert max(level for _, level in levels) > station.facts["alarm_level_m"]
    assert levels[-1][1] < station.facts["alarm_level_m"] - 0.3
    assert all(r["pumps_on"] == 0 for r in of(messages, "station-01") if ON + 15_000 <= r["ts"] < both.off_ms)


def test_seepage_lifts_the_nights_inflow_by_its_share() -> None:
    from_ms = START - 2 * DAY_MS
    world = World(CITY, load_catalog(), ZONE, 2, START, [fault("seepage", "station-01", magnitude=2.0, on_ms=from_ms)])
    nights: dict[int, list[float]] = {}
    for message in world.history(20):
        for reading in json.loads(message.payload):
            minute = (reading["ts"] // MIN + 480) % 1440
            if "inflow_lps" in reading and 120 <= minute < 300:
                nights.setdefault((reading["ts"] + 8 * 60 * MIN) // DAY_MS, []).append(reading["inflow_lps"])
    means = [float(np.mean(nights[night])) for night in sorted(nights)]
    assert np.median(means[-2:]) > 1.4 * np.median(means[-5:-2])


def test_a_detour_leaves_the_way_by_a_kilometre_and_comes_back() -> None:
    truck = "truck-002"
    world, messages = played(fault("detour", truck, off_ms=START + 200 * MIN), end_ms=START + 180 * MIN)
    haul = next(h for h in CITY.hauls if h.truck == truck)
    mine = of(messages, truck)
    east, north = LocalProjection(*CENTRE).to_metres([r["lon_deg"] for r in mine], [r["lat_deg"] for r in mine])
    away = distance_to(haul.line, np.column_stack([east, north]))
    assert MIN_AWAY_M - 50 < away.max() < 3000
    assert away[-1] < 50
    outside = [r["ts"] for r, gap in zip(mine, away, strict=True) if gap > 80]
    assert abs(world.truth()[0].seen_ms - outside[0]) <= 30_000
    assert 4 * MIN < outside[-1] - outside[0] < 25 * MIN
    jumps = np.hypot(np.diff(east), np.diff(north)) / np.diff([r["ts"] / 1000 for r in mine])
    assert jumps.max() < 25.0


def test_an_uncovered_truck_shows_it_only_on_loaded_trips() -> None:
    _, messages = played(fault("uncovered", "truck-001", off_ms=START + 100 * MIN), end_ms=START + 100 * MIN)
    bare = [r for r in of(messages, "truck-001") if r["cover_closed"] == 0 and r["speed_kmh"] > 20]
    assert len(bare) > 10
    assert all(r["load_t"] > 10 for r in bare)


def test_a_silent_device_sends_nothing_and_is_seen_where_it_should_have_spoken() -> None:
    world, messages = played(fault("silent", "station-02", "station-02-well"))
    times = [r["ts"] for r in of(messages, "station-02")]
    assert not [t for t in times if ON <= t < OFF]
    assert [t for t in times if t < ON]
    assert [t for t in times if t >= OFF]
    assert ON <= world.truth()[0].seen_ms < ON + MIN
    assert of(messages, "station-02-pump-1")[30]["ts"]


def test_faulty_messages_still_decode_within_their_physical_range() -> None:
    every = [
        replace(fault(kind, device, magnitude=magnitude), id=f"{kind}-{device}") for kind, device, magnitude, _ in SHOWN
    ]
    world, messages = played(*every)
    decoded = Decoder(world.registry, CITY.name).decode(messages, END)
    assert decoded.rejects == []
    assert sum(int(batch.suspect.sum()) for batch in decoded.batches) == 0


def test_truth_survives_its_file(tmp_path: Path) -> None:
    faults = [fault("lamp_out", "lamp-0001"), fault("seepage", "station-01", magnitude=2.2, off_ms=NEVER_MS)]
    write_truth(tmp_path / "truth.jsonl", faults)
    assert read_truth(tmp_path / "truth.jsonl") == faults
    lines = (tmp_path / "truth.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["entity"] == "device:lamp-0001"
    (tmp_path / "bad.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(msgspec.ValidationError):
        read_truth(tmp_path / "bad.jsonl")


def test_only_faults_due_in_time_count() -> None:
    faults = [fault("lamp_out", "a"), fault("lamp_out", "b", off_ms=OFF + 1)]
    assert due_before(faults, OFF) == faults[:1]


def test_a_book_refuses_what_it_cannot_play() -> None:
    with pytest.raises(ValueError, match="same id"):
        FaultBook([fault("lamp_out", "a"), fault("lamp_out", "b")])
    with pytest.raises(ValueError, match="no kind 'earthquake'"):
        FaultBook([fault("earthquake", "a")])
    with pytest.raises(ValueError, match="ends before"):
        FaultBook([fault("lamp_out", "a", off_ms=ON)])


def test_spells_hold_from_their_beginning_until_their_end() -> None:
    long, short = fault("lamp_out", "a", "c"), fault("lamp_out", "b", magnitude=3.0, on_ms=ON + 5, off_ms=ON + 9)
    spells = Spells(["a", "b", "c"], [long, replace(short, id="x")])
    assert spells.active(ON - 1).tolist() == [False, False, False]
    assert spells.active(ON).tolist() == [True, False, True]
    assert spells.magnitude(ON + 5).tolist() == [1.0, 3.0, 1.0]
    assert spells.active(ON + 9).tolist() == [True, False, True]
    assert spells.active(OFF).tolist() == [False, False, False]
    assert spells.active(ON + 8).tolist() == [True, True, True]


def test_every_effect_of_a_fault_is_asked_for_by_a_machine() -> None:
    machines = [path for path in (Path(__file__).parents[2] / "simulators").glob("*.py") if path.name != "faults.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in machines)
    assert [effect for effect in set(EFFECTS.values()) if f'"{effect}"' not in text] == []


MISHAPS = Mishaps(0.01, 0.02, 0.01, (ON,), (ON + MIN,), (ON + 2 * MIN,))


def test_the_way_to_the_broker_loses_repeats_and_delays_by_the_seed_alone() -> None:
    sent = calm()[1]
    whole = Link(4, CITY.name, MISHAPS)
    arrived = whole.carry(sent)
    parts = Link(4, CITY.name, MISHAPS)
    rng, pieces, at = np.random.default_rng(0), [], 0
    while at < len(sent):
        step = int(rng.integers(0, 50))
        pieces += parts.carry(sent[at : at + step])
        at += step
    assert pieces == arrived
    assert whole.counts == parts.counts
    counts = whole.counts
    assert counts.lost > 10
    assert counts.repeated > 20
    assert counts.late > 3
    assert (counts.garbled, counts.strangers, counts.wild) == (1, 1, 1)
    held = sum(len(zone.stored) for zone in whole._zones.values())
    assert sum(m.readings for m in arrived) == len(sent) - counts.lost + counts.repeated + counts.strangers - held


def test_each_mishap_is_what_it_says() -> None:
    world, sent = calm()
    arrived = Link(4, CITY.name, MISHAPS).carry(sent)
    decoded = Decoder(world.registry, CITY.name).decode(arrived, END)
    assert sorted(reject.reason for reject in decoded.rejects) == ["unknown_device", "unreadable"]
    assert sum(int(batch.suspect.sum()) for batch in decoded.batches) == 1
    late = [m for m in arrived if m.readings > 1]
    assert late
    for message in late:
        times = [reading["ts"] for reading in json.loads(message.payload)]
        assert times == sorted(times)
        assert max(times) < message.time_ms
        live = arrived[arrived.index(message) - 1]
        assert live.topic == message.topic
        assert live.time_ms == message.time_ms


def test_a_perfect_way_changes_nothing() -> None:
    sent = played(end_ms=START + 5 * MIN)[1]
    assert Link(4, CITY.name, Mishaps()).carry(sent) == sent


def test_the_page_on_the_simulators_names_every_kind_of_fault_and_every_mapping() -> None:
    root = Path(__file__).resolve().parents[2]
    page = (root / "docs" / "simulators.md").read_text(encoding="utf-8")
    assert [kind for kind in EFFECTS if f"`{kind}`" not in page] == []
    assert [
        p.name for p in (root / "config" / "mappings").glob("*.yaml") if f"config/mappings/{p.name}" not in page
    ] == []
    assert str(NEVER_MS) in page


def test_two_clocks_that_are_wrong_at_once_are_each_wrong_by_their_own_hours() -> None:
    hours = {"cabinet-001": 8, "cabinet-002": -8}
    faults = [replace(fault("clock_wrong", name, magnitude=float(h)), id=name) for name, h in hours.items()]
    world = World(CITY, load_catalog(), ZONE, 2, START, faults)
    seen = dict.fromkeys(hours, 0)
    for now_ms, batches in world.steps(END, MIN):  # both speak in each step
        for batch in batches:
            off_ms = {name: batch.sent_ms[batch.device == world.registry.row[name]] - now_ms for name in hours}
            for name, h in hours.items():
                wrong = np.abs(off_ms[name] - h * 60 * MIN) <= MIN
                assert wrong.all() or not (ON + MIN < now_ms <= OFF)
                seen[name] += int(wrong.sum())
    assert all(29 <= number <= 31 for number in seen.values()), seen
