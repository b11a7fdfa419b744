"""What only lamps at night can show is given its time by night."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from alerts.by_night import settled_ms, shows_by_night
from alerts.inhibition import common_cause_rule, load_inhibition
from alerts.rules import load_rules
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import LightingSchedule, Override, Sky

CONFIG = Path(__file__).parents[2] / "config"
CATALOG = load_catalog()
RULES = load_rules(CONFIG / "rules.yaml", CATALOG)
INHIBITION = load_inhibition(CONFIG / "inhibition.yaml", CATALOG)
ZONE = ZoneInfo("Asia/Shanghai")
MIN = 60_000


def at(day: int, clock: str) -> int:
    hour, minute = (int(part) for part in clock.split(":"))
    return int(datetime(2026, 3, day, hour, minute, tzinfo=ZONE).timestamp() * 1000)


@pytest.mark.parametrize(
    ("since", "minutes", "until"),
    [
        (at(2, "22:00"), 90, at(2, "23:30")),  # by night it simply passes
        (at(2, "05:30"), 90, at(2, "19:00")),  # half an hour before the switch-off at six, an hour from six on
        (at(2, "12:00"), 90, at(2, "19:30")),  # by day it stands still
        (at(2, "17:59"), 90, at(2, "19:30")),
        (at(2, "06:00"), 90, at(2, "19:30")),
        (at(2, "18:00"), 90, at(2, "19:30")),
    ],
)
def test_time_passes_from_six_in_the_evening_to_six_in_the_morning(since: int, minutes: int, until: int) -> None:
    lamp = Asset("lamp-1", "streetlight", "lamp", lon=114.3, lat=30.6, cabinet="box-1")
    registry = Registry(CATALOG, [lamp], centre=(114.3, 30.6))
    schedule = LightingSchedule(overrides=(Override("box-1", 18 * 60, 6 * 60),))
    sky = Sky(registry, "Asia/Shanghai", schedule)
    assert settled_ms(sky, registry.rows_of("streetlight", "lamp"), since, minutes * MIN) == until


def test_rules_about_lamps_show_by_night_but_for_those_about_burning_by_day() -> None:
    assert INHIBITION.causes is not None
    lamp = INHIBITION.causes.lamp
    found = {rule.id: shows_by_night(rule, "cabinet:box-1", lamp) for rule in (*RULES, common_cause_rule())}
    for name in (
        "lamp_out",
        "lamp_voltage",
        "lamp_offline",
        "section_out",
        "loop_current",
        "common_cause",
        "source_silent",
    ):
        assert found[name], name
    for name in ("day_burn", "cabinet_offline", "cabinet_voltage", "station_offline", "cover_offline"):
        assert not found[name], name
