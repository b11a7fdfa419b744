"""Clocks that are put forward and back: schedules keep to the wall, each hour counts once, what is stored is UTC.

Both changes of 2026 in Berlin, New York and on Lord Howe Island (half an hour), none in Shanghai, and Santiago, which
skips midnight itself.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from alerts.nights import DRY, NightParams, Nights
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import LightingSchedule, Override, Sky
from devices.yamlfile import parse_yaml
from lamplighter.clock import held_clock
from lamplighter.settings import City, Settings
from lamplighter.wiring import House
from simulators.mapping_time import parse_time
from storage.operations import Operations
from tests.small_house import NIGHT_MS, RULES, SmallHouse

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
CHANGES = [
    ("Europe/Berlin", date(2026, 3, 29), 60),
    ("Europe/Berlin", date(2026, 10, 25), -60),
    ("America/New_York", date(2026, 3, 8), 60),
    ("America/New_York", date(2026, 11, 1), -60),
    ("Australia/Lord_Howe", date(2026, 4, 5), -30),
    ("Australia/Lord_Howe", date(2026, 10, 4), 30),
    ("Asia/Shanghai", date(2026, 3, 29), 0),
    ("America/Santiago", date(2026, 9, 6), 60),
]
# Switch-on and switch-off in minutes of the day: across, inside, into and out of what is skipped or comes twice.
HOURS = [
    (1320, 360),
    (90, 240),
    (130, 170),
    (150, 190),
    (110, 140),
    (105, 120),
    (0, 120),
    (1410, 0),
    (125, 95),
    (15, 45),
]


def sky_of(zone: str, *hours: tuple[int, int]) -> Sky:
    cabinets = [f"cabinet-{n}" for n in range(len(hours))]
    assets = [Asset(name, "streetlight", "cabinet", lon=10.0, lat=50.0, cabinet=name) for name in cabinets]
    overrides = tuple(Override(name, on, off) for name, (on, off) in zip(cabinets, hours, strict=True))
    return Sky(Registry(load_catalog(), assets), zone, LightingSchedule(overrides=overrides))


def midnight_ms(day: date, zone: str) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(("zone", "day", "forward"), CHANGES)
def test_the_wall_is_the_calendars_in_every_minute_about_a_change(zone: str, day: date, forward: int) -> None:
    around = midnight_ms(day, zone) + np.arange(-30 * 60, 30 * 60) * MINUTE
    sky = sky_of(zone, (0, 1))
    tz = ZoneInfo(zone)
    walls = [datetime.fromtimestamp(t / 1000, tz) for t in around.tolist()]
    assert sky.local_minute(around).tolist() == [wall.hour * 60 + wall.minute for wall in walls]
    assert sky.local_day(around).tolist() == [(wall.date() - date(1970, 1, 1)).days for wall in walls]
    steps = np.diff(sky.local_minute(around) + 1440 * sky.local_day(around))
    assert sorted(set(steps.tolist())) == sorted({1, 1 + forward}), "the change lies inside what is looked at"


@pytest.mark.parametrize(("zone", "day", "forward"), CHANGES)
def test_fixed_hours_come_once_a_night_when_the_wall_first_shows_them(zone: str, day: date, forward: int) -> None:
    sky = sky_of(zone, *HOURS)
    start = midnight_ms(day - timedelta(days=2), zone)
    minutes = start + np.arange(5 * 24 * 60) * MINUTE
    tz = ZoneInfo(zone)
    for row, (on, off) in enumerate(HOURS):
        burning = sky.expected_on(np.full(len(minutes), row), minutes)
        switched = {
            want: [int(t) for t in minutes[1:][np.diff(burning.astype(np.int8)) == (1 if want == on else -1)]]
            for want in (on, off)
        }
        for want, times in switched.items():
            days = [datetime.fromtimestamp(t / 1000, tz).date() for t in times]
            # A window inside the skipped stretch has no length on that day: neither is switched.
            missing = set(_days(days)) - set(days)
            assert len(days) == len(set(days)), f"{zone}: {want} came twice"
            assert missing <= ({day} if forward > 0 else set()), f"{zone}: {want} did not come"
            for moment in times:
                shown = datetime.fromtimestamp(moment / 1000, tz)
                if shown.date() == day and forward > 0 and shown.hour * 60 + shown.minute != want:
                    before = datetime.fromtimestamp(moment / 1000 - 60, tz)
                    assert _minute(before) < want < _minute(shown) or want == 0, "skipped: at the change itself"
                else:
                    assert shown.hour * 60 + shown.minute == want
                    assert shown.fold == 0, "of two the first"
        assert abs(len(switched[on]) - len(switched[off])) <= 1


def _minute(wall: datetime) -> int:
    return wall.hour * 60 + wall.minute


def _days(found: list[date]) -> list[date]:
    return [found[0] + timedelta(days=n) for n in range((found[-1] - found[0]).days + 1)] if found else []


@pytest.mark.parametrize(("zone", "day", "forward"), CHANGES)
def test_a_lamp_that_follows_the_sun_burns_once_a_night_across_a_change(zone: str, day: date, forward: int) -> None:
    del forward
    sky = sky_of(zone)
    registry = Registry(load_catalog(), [Asset("lamp-1", "streetlight", "lamp", lon=10.0, lat=50.0)])
    sky = Sky(registry, zone)
    minutes = midnight_ms(day - timedelta(days=2), zone) + np.arange(5 * 24 * 60) * MINUTE
    edges = np.diff(sky.expected_on(np.zeros(len(minutes), int), minutes).astype(np.int8))
    for edge in (1, -1):
        times = minutes[1:][edges == edge]
        assert len(times) == 5
        assert all(abs(b - a - DAY) < 10 * MINUTE for a, b in itertools.pairwise(times.tolist())), "the sun's pace"


@pytest.mark.parametrize(("zone", "day", "forward"), CHANGES)
@pytest.mark.parametrize("every_min", [1, 20])
def test_the_nights_least_inflow_is_found_once_a_night_and_ends_when_the_window_does(
    zone: str, day: date, forward: int, every_min: int
) -> None:
    del forward
    nights = Nights(1, NightParams())
    sky = sky_of(zone)
    station = np.zeros(1, np.intp)
    finished: list[tuple[int, int]] = []
    start = midnight_ms(day - timedelta(days=1), zone)
    for moment in range(start, start + 3 * DAY, every_min * MINUTE):
        at = np.array([moment])
        litres, seconds = np.array([2.0 * every_min * 60]), np.array([every_min * 60.0])
        nights.gather(station, at, sky.local_day(at), sky.local_minute(at), litres, seconds)
        end_ms = int(nights.state["end_ms"][0])
        if nights.state["night"][0] >= 0:  # as the rule does for a station that has not reported for a while
            assert end_ms > moment
        for local_day in nights.unjudged(0):
            cell = local_day % nights.state["day"].shape[1]
            finished.append((local_day, int(nights.state["ended_ms"][0, cell])))
            nights.judge(0, local_day, wet=False)
            assert nights.state["use"][0, cell] == DRY, "enough of the window is known, also where it was shorter"
            assert nights.state["q"][0, cell] == pytest.approx(2.0)
    wanted = [(day + timedelta(days=n) - date(1970, 1, 1)).days for n in (-1, 0, 1)]
    assert [local_day for local_day, _ in finished] == wanted, "each night once"
    for local_day, ended_ms in finished:
        wall = datetime.fromtimestamp(ended_ms / 1000, ZoneInfo(zone))
        assert (wall.hour, wall.minute, (wall.date() - date(1970, 1, 1)).days) == (5, 0, local_day)


@pytest.fixture
def process_zone() -> Iterator[Any]:
    before = os.environ.get("TZ")

    def change(zone: str) -> None:
        os.environ["TZ"] = zone
        time.tzset()

    yield change
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


def test_the_zone_of_the_process_changes_nothing(tmp_path: Path, process_zone: Any) -> None:  # noqa: ANN401
    outcomes = []
    for zone in ("UTC", "America/New_York", "Australia/Lord_Howe"):
        process_zone(zone)
        folder = tmp_path / zone.replace("/", "-")
        folder.mkdir()
        house = SmallHouse(folder)
        house.hear("cover-0001", at_ms=NIGHT_MS, cover_open=True)
        for minute in range(1, 8):
            house.hear("station-01", at_ms=NIGHT_MS + minute * MINUTE, level_m=4.0)
        house.ship()
        alerts = [(row.id, row.onset_ms, row.active_ms, row.message) for row in house.operations.alerts()]
        stored = house.timeseries.history("manhole", "cover-0001", ["cover_open"], 0, 1 << 50, 10).time_ms
        outcomes.append((alerts, list(stored), house.engine.sky.expected_on([0], NIGHT_MS).tolist()))
        house.close()
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert outcomes[0][1] == [NIGHT_MS], "epoch milliseconds, which are UTC"
    assert len(outcomes[0][0]) == 2


def test_a_time_zone_that_is_edited_between_two_runs_moves_no_reading_and_no_alert(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    (tmp_path / "data").mkdir()
    operations = Operations(f"sqlite:///{tmp_path / 'data' / 'operations.db'}")
    operations.import_assets([Asset("cover-1", "manhole", "cover", lon=10.0, lat=50.0)])
    operations.close()
    found = []
    for number, zone in enumerate(["Asia/Shanghai", "America/New_York", "Asia/Shanghai"]):
        settings = Settings(
            city=City(id="linjiang", timezone=zone), data=tmp_path / "data", rules=tmp_path / "rules.yaml"
        )
        house = House(settings, held_clock(NIGHT_MS + number * HOUR, 2.0))
        house.recover()
        _hear(house, NIGHT_MS + number * HOUR)
        found.append(
            (
                [(row.id, row.state, row.onset_ms) for row in house.operations.alerts()],
                house.engine.open_alerts()["cover_open"],
                list(house.timeseries.history("manhole", "cover-1", ["tilt_deg"], 0, 1 << 50, 10).time_ms)[:1],
            )
        )
        house.close()
    assert found[0] == found[1] == found[2]
    assert found[0][1] == {"device:cover-1": NIGHT_MS}
    assert found[0][2] == [NIGHT_MS]


def _hear(house: House, now_ms: int) -> None:
    import asyncio
    import json

    from devices.topics import up
    from ingest.inbox import Delivery

    reading = json.dumps({"ts": now_ms, "cover_open": True, "tilt_deg": 60.0}).encode()
    session: Any = house.session
    session.acknowledge = lambda _: None

    async def once() -> None:
        await house.watch.group([Delivery(up("linjiang", "manhole", "cover-1"), reading, 1, 0)])
        await house.watch.save()

    asyncio.run(once())
    house.journal.sync()
    house.shipper.drain()


def test_a_leap_second_is_the_second_after_it_and_loses_nothing(tmp_path: Path) -> None:
    # Epoch time shows the second before midnight twice: clocks are set back by one second, or smeared.
    midnight = round(datetime(2017, 1, 1, tzinfo=UTC).timestamp() * 1000)
    house = SmallHouse(tmp_path, now_ms=midnight)
    sent = [midnight - 1000, midnight - 500, midnight - 1000 + 1, midnight - 500 + 1, midnight, midnight + 500]
    for at_ms in sent:
        house.hear("cover-0001", at_ms=at_ms, tilt_deg=float(at_ms % 7))
    assert [row.rule for row in house.hear("cover-0001", at_ms=midnight + 600, cover_open=True)] == ["cover_open"]
    house.ship()
    stored = house.timeseries.history("manhole", "cover-0001", ["tilt_deg"], 0, 1 << 50, 20).time_ms
    assert sorted(set(sent)) == [int(t) for t in stored if int(t) in set(sent)]
    house.close()
    for text, form in (("2016-12-31T23:59:60Z", "iso"), ("31.12.2016 23:59:60", "'%d.%m.%Y %H:%M:%S'")):
        clock = parse_time(parse_yaml(f"column: t\nformat: {form}\n"))
        assert clock({"t": text}) == midnight
