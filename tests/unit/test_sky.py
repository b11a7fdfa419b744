"""Sun, lighting hours and local clocks, held to astral and to the calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from astral import Observer
from astral.sun import elevation, sunrise, sunset
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import LightingSchedule, Override, Sky

CATALOG = load_catalog()
MINUTE = 60_000
YEAR_2000, YEAR_2050 = 946_684_800_000, 2_524_608_000_000
NEW_YORK = ZoneInfo("America/New_York")


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def city(lon: float, lat: float, *cabinets: str) -> Registry:
    names = cabinets or ("cabinet-1",)
    lamps = [Asset(f"lamp-{n}", "streetlight", "lamp", lon=lon, lat=lat, cabinet=name) for n, name in enumerate(names)]
    boxes = [Asset(name, "streetlight", "cabinet", lon=lon, lat=lat) for name in names]
    return Registry(CATALOG, [*lamps, *boxes], centre=(lon, lat))


def sky_of(zone: str, lon: float, lat: float, schedule: LightingSchedule | None = None) -> Sky:
    return Sky(city(lon, lat), zone, schedule or LightingSchedule())


@pytest.mark.parametrize(
    ("zone", "lon", "lat"),
    [("Asia/Shanghai", 121.5, 31.2), ("Asia/Urumqi", 87.6, 43.8), ("America/New_York", -74.0, 40.7),
     ("Pacific/Auckland", 174.8, -36.8), ("Europe/London", -0.1, 51.5)],
)  # fmt: skip
def test_lamps_burn_from_a_quarter_past_sunset_to_a_quarter_before_sunrise(zone: str, lon: float, lat: float) -> None:
    sky, tz = sky_of(zone, lon, lat), ZoneInfo(zone)
    for month in (1, 3, 6, 9, 12):
        noon = datetime(2026, month, 20, 12, tzinfo=tz)
        observer = Observer(lat, lon)
        on = sunset(observer, noon.date(), tzinfo=tz) + timedelta(minutes=15)
        off = sunrise(observer, noon.date() + timedelta(days=1), tzinfo=tz) - timedelta(minutes=15)
        around = [ms(on) - MINUTE, ms(on) + MINUTE, ms(off) - MINUTE, ms(off) + MINUTE]
        assert sky.expected_on(np.zeros(4, int), around).tolist() == [False, True, True, False]
        assert abs(int(sky.switched_on_for_ms([0], ms(on) + 30 * MINUTE)[0]) - 30 * MINUTE) < 1000
        assert abs(int(sky.switched_off_for_ms([0], ms(off) + 30 * MINUTE)[0]) - 30 * MINUTE) < 1000


def test_since_when_is_minus_one_in_the_other_half_of_the_day() -> None:
    sky = sky_of("Asia/Shanghai", 121.5, 31.2)
    noon = ms(datetime(2026, 3, 1, 12, tzinfo=sky.tz))
    midnight = noon + 12 * 60 * MINUTE
    assert sky.switched_on_for_ms([0], noon).tolist() == [-1]
    assert sky.switched_off_for_ms([0], midnight).tolist() == [-1]


@settings(max_examples=60, deadline=None)
@given(st.integers(YEAR_2000, YEAR_2050), st.floats(-65, 65), st.floats(-180, 180))
def test_the_sun_stands_where_astral_says(time_ms: int, lat: float, lon: float) -> None:
    sky = sky_of("UTC", lon, lat)
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    expected = elevation(Observer(lat, lon), moment, with_refraction=False)
    assert float(sky.sun_altitude_deg(time_ms)) == pytest.approx(expected, abs=0.05)


def test_the_sun_is_the_same_alone_and_in_a_crowd() -> None:
    sky = sky_of("Asia/Shanghai", 121.5, 31.2)
    times = ms(datetime(2026, 3, 1, tzinfo=UTC)) + np.arange(0, 7_200_000, 7_001)
    together = sky.sun_altitude_deg(times)
    assert together.tolist() == [float(sky.sun_altitude_deg(t)) for t in times]


def test_an_override_keeps_its_hours_for_its_cabinet_and_lamps_alone() -> None:
    registry = city(121.5, 31.2, "cabinet-1", "cabinet-2")
    schedule = LightingSchedule(overrides=(Override("cabinet-2", 20 * 60, 4 * 60 + 30), Override("nowhere", 1, 2)))
    sky = Sky(registry, "Asia/Shanghai", schedule)
    rows = [registry.row[name] for name in ("lamp-0", "cabinet-1", "lamp-1", "cabinet-2")]

    def burning(hour: int, minute: int = 0) -> list[bool]:
        return sky.expected_on(rows, ms(datetime(2026, 3, 1, hour, minute, tzinfo=sky.tz))).tolist()

    assert burning(19) == [True, True, False, False]
    assert burning(20) == [True] * 4
    assert burning(4, 29) == [True] * 4
    assert burning(4, 30) == [True, True, False, False]
    assert sky.strangers == ("nowhere",)


@pytest.mark.parametrize("day", [(2026, 3, 8), (2026, 11, 1)])  # when New York's clocks change
def test_fixed_hours_keep_to_the_clock_on_the_wall_when_the_clocks_change(day: tuple[int, int, int]) -> None:
    registry = city(-74.0, 40.7)
    sky = Sky(registry, "America/New_York", LightingSchedule(overrides=(Override("cabinet-1", 1320, 360),)))
    for shift in (-1, 0, 1):
        local = datetime(*day, tzinfo=NEW_YORK) + timedelta(days=shift)
        for hour, minute, burns in ((5, 59, True), (6, 0, False), (21, 59, False), (22, 0, True)):
            moment = ms(local.replace(hour=hour, minute=minute))
            assert bool(sky.expected_on([0], moment)[0]) is burns, (shift, hour, minute)


def test_where_the_sun_never_sets_lamps_stay_dark_and_where_it_never_rises_they_burn() -> None:
    sky = sky_of("Europe/Oslo", 25.7, 71.0)
    hours = np.arange(0, 48) * 60 * MINUTE
    rows = np.zeros(48, int)
    assert not sky.expected_on(rows, ms(datetime(2026, 6, 20, tzinfo=UTC)) + hours).any()
    assert sky.expected_on(rows, ms(datetime(2026, 12, 20, tzinfo=UTC)) + hours).all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(YEAR_2000, YEAR_2050), min_size=1),
    st.sampled_from(("Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")),
)
def test_local_minute_and_day_are_the_calendars(times: list[int], zone: str) -> None:
    sky = sky_of(zone, 100.0, 20.0)
    local = [datetime.fromtimestamp(t / 1000, ZoneInfo(zone)) for t in times]
    epoch = date(1970, 1, 1)
    assert sky.local_minute(times).tolist() == [one.hour * 60 + one.minute for one in local]
    assert sky.local_day(times).tolist() == [(one.date() - epoch).days for one in local]


def test_answers_are_shaped_as_the_question_and_nothing_gives_nothing() -> None:
    sky = sky_of("Asia/Shanghai", 121.5, 31.2)
    now = ms(datetime(2026, 3, 1, tzinfo=UTC))
    assert sky.expected_on(np.zeros(3, int), now).shape == (3,)
    assert sky.expected_on(0, np.array([now, now + 1])).shape == (2,)
    assert sky.expected_on(np.zeros(0, int), now).shape == (0,)
    assert sky.local_minute(np.zeros(0, int)).shape == (0,)
    assert sky.sun_altitude_deg(np.zeros(0, int)).shape == (0,)


def test_times_far_apart_in_one_question_each_find_their_own_night() -> None:
    sky = sky_of("Asia/Shanghai", 121.5, 31.2)
    midnights = [ms(datetime(year, 1, 1, tzinfo=sky.tz)) for year in (2001, 2026, 2090)]
    noons = [one + 12 * 60 * MINUTE for one in midnights]
    assert sky.expected_on(np.zeros(6, int), [*midnights, *noons]).tolist() == [True] * 3 + [False] * 3
