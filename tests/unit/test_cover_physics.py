"""The simulated covers and what befalls reports on the way: lorries, waves, theft, silence, wrong clocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from devices.batch import MARK_FUTURE, Batch
from devices.kinds import Catalog
from simulators.city import build_city
from simulators.faults import NEVER_MS, Fault
from simulators.sewers import WAVE_MPS, along_roads
from simulators.weather import HOUR_MS, rain_of
from simulators.world import World

ZONE = "Asia/Shanghai"
START = 1_780_000_000_000
MIN = 60_000
COVERS = 120


def world(catalog: Catalog, *faults: Fault, rain_mm: float = 0.0) -> World:
    city = build_city(7, lamps=0, covers=COVERS, stations=0, trucks=0)
    rain = rain_of([(START + HOUR_MS, START + 2 * HOUR_MS, rain_mm)] if rain_mm else [])
    return World(city, catalog, ZONE, 7, START, faults, rain=rain)


def fault(kind: str, cover: int | tuple[int, ...], at_min: float, lasts_min: float, size: float = 1.0) -> Fault:
    ids = tuple(f"cover-{k:03d}" for k in ((cover,) if isinstance(cover, int) else cover))
    on = START + round(at_min * MIN)
    off = on + round(lasts_min * MIN)
    return Fault(f"{kind}-{ids[0]}", kind, "", f"device:{ids[0]}", on, off, NEVER_MS, size, ids)


def played(found: World, hours: float, tick_ms: int = MIN) -> Iterator[Batch]:
    for _, batches in found.steps(START + round(hours * HOUR_MS), tick_ms):
        yield from batches


def of(found: World, batches: list[Batch], cover: int, field: str) -> tuple[np.ndarray, np.ndarray]:
    """Return times in minutes after the start, and values, of one cover."""
    row = found.registry.row[f"cover-{cover:03d}"]
    time = np.concatenate([one.time_ms[one.device == row] for one in batches])
    value = np.concatenate([one.column(field)[one.device == row] for one in batches])
    return (time - START) / MIN, value


def test_a_fault_wakes_its_sensor_within_seconds_and_shows_in_its_first_report_however_rarely_one_looks(
    catalog: Catalog,
) -> None:
    for tick in (15_000, MIN, 5 * MIN):
        found = world(catalog, fault("cover_open", 5, 61.7, 20, 75.0))
        time, tilt = of(found, list(played(found, 2, tick)), 5, "tilt_deg")
        during = (time >= 61.7) & (time < 81.7)
        assert time[during][0] == pytest.approx(61.7 + 4 / 60)
        assert (tilt[during] == 75.0).all()
        assert (tilt[~during] < 10).all()
        assert np.diff(time[during]).max() == pytest.approx(1.0)
        assert found.truth()[0].seen_ms == START + round(61.7 * MIN) + 4_000


def test_a_stolen_cover_is_struck_lies_aside_and_is_gone_with_its_lock_shut(catalog: Catalog) -> None:
    found = world(catalog, fault("cover_stolen", 5, 60, 300, 4.0))
    batches = list(played(found, 4))
    time, shake = of(found, batches, 5, "vibration_g")
    _, locked = of(found, batches, 5, "locked")
    after = time >= 60
    assert shake[after][0] == 4.0
    assert time[after][-1] < 63
    assert (locked[after] == 1).all()


def test_a_crew_unlocks_before_it_takes_the_sensor_away(catalog: Catalog) -> None:
    found = world(catalog, fault("battery_swap", 5, 60, 30))
    batches = list(played(found, 3))
    time, locked = of(found, batches, 5, "locked")
    during = (time >= 60) & (time < 90)
    assert locked[during].tolist() == [0.0]
    assert (time >= 90).any()


def test_a_surcharge_travels_along_the_pipe_at_a_metre_a_second(catalog: Catalog) -> None:
    quiet = world(catalog)
    rows = quiet.registry.rows_of("manhole", "cover")
    along = along_roads(quiet.registry, rows)
    road = quiet.registry.group("road").code[rows]
    pipe = np.flatnonzero(road == road[0])
    head, tail = pipe[along[pipe].argmin()], pipe[along[pipe].argmax()]
    found = world(catalog, fault("surcharge", tuple(int(k) + 1 for k in pipe), 30, 90, 3.0))
    batches = list(played(found, 3))

    def begins(place: int) -> float:
        time, level = of(found, batches, int(place) + 1, "water_level_m")
        return float(time[(level > 1.0) & (time > 30)][0])

    expected = (along[tail] - along[head]) / WAVE_MPS / 60
    assert expected > 3
    assert begins(tail) - begins(head) == pytest.approx(expected, abs=1.5)


def test_rain_fills_the_sewers_and_they_drain_again(catalog: Catalog) -> None:
    wet, dry = world(catalog, rain_mm=30.0), world(catalog)
    mean = {}
    for name, one in (("wet", wet), ("dry", dry)):
        batches = list(played(one, 9))
        time = (np.concatenate([b.time_ms for b in batches]) - START) / HOUR_MS
        level = np.concatenate([b.column("water_level_m") for b in batches])
        mean[name] = [float(level[(time > a) & (time < b)].mean()) for a, b in ((0, 1), (2, 3), (8, 9))]
    more = np.array(mean["wet"]) - np.array(mean["dry"])
    assert abs(more[0]) < 0.01
    assert 0.03 < more[1] < 0.15
    assert more[2] < 0.01


def test_lorries_are_more_on_main_roads_and_tip_no_cover_by_ten_degrees(catalog: Catalog) -> None:
    found = world(catalog)
    batches = list(played(found, 48))
    tilt = np.concatenate([one.column("tilt_deg") for one in batches])
    device = np.concatenate([one.device for one in batches])
    rank = {road.name: road.rank for road in found.registry.roads}
    roads = found.registry.group("road")
    main = np.array([rank[roads.names[code]] == "main" for code in roads.code[device]])
    assert (tilt[main] > 3).mean() > 2 * (tilt[~main] > 3).mean() > 0
    assert tilt.max() < 10


def test_a_silent_cover_is_not_heard_and_the_others_are(catalog: Catalog) -> None:
    found = world(catalog, fault("silent", 5, 60, 120))
    batches = list(played(found, 5))
    for cover, heard in ((5, False), (6, True)):
        time, _ = of(found, batches, cover, "tilt_deg")
        assert bool(((time >= 60) & (time < 180)).any()) is heard
    assert START + HOUR_MS <= found.truth()[0].seen_ms < START + 3 * HOUR_MS


@pytest.mark.parametrize("hours", [8.0, -8.0])
def test_a_wrong_clock_dates_readings_and_what_lies_ahead_is_clamped_as_the_house_does(
    catalog: Catalog, hours: float
) -> None:
    found = world(catalog, fault("clock_wrong", 5, 60, 120, hours))
    row = found.registry.row["cover-005"]
    wrong = 0
    for now, batches in found.steps(START + 5 * HOUR_MS, MIN):
        for one in batches:
            for k in np.flatnonzero(one.device == row):
                off = one.sent_ms[k] - now
                if abs(off) > HOUR_MS:
                    wrong += 1
                    assert off == pytest.approx(hours * HOUR_MS, abs=MIN)
                    assert bool(one.marks[k] & MARK_FUTURE) is (hours > 0)
                    assert one.time_ms[k] == (now if hours > 0 else one.sent_ms[k])
    assert wrong == 4


def test_told_to_a_broker_or_in_virtual_time_the_wrong_clock_is_the_same(catalog: Catalog) -> None:
    found = world(catalog, fault("clock_wrong", 5, 60, 120, 8.0))
    messages = [one for one in found.advance(START + 4 * HOUR_MS) if one.topic.endswith("/cover-005/up")]
    offsets = [round((int(one.payload[6:19]) - one.time_ms) / HOUR_MS) for one in messages]
    assert offsets.count(8) == 4
    assert set(offsets) == {0, 8}
