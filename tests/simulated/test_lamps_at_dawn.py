"""Faults of a night that last over the dawn: told once, and ended when lamps have shown how they are."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from alerts.engine import Engine
from alerts.incidents import Incidents
from alerts.inhibition import load_inhibition
from alerts.rules import load_rules
from devices.kinds import load_catalog
from devices.transition import ACTIVE, CLEARED, Transition
from simulators.city import build_city
from simulators.faults import Fault
from simulators.world import World

CONFIG = Path(__file__).parents[2] / "config"
CATALOG = load_catalog()
RULES = load_rules(CONFIG / "rules.yaml", CATALOG)
INHIBITION = load_inhibition(CONFIG / "inhibition.yaml", CATALOG)
ZONE = ZoneInfo("Asia/Shanghai")
MIN = 60_000
ON = int(datetime(2026, 3, 2, 3, 10, tzinfo=ZONE).timestamp() * 1000)
DAWN = int(datetime(2026, 3, 2, 6, 25, tzinfo=ZONE).timestamp() * 1000)
DUSK = int(datetime(2026, 3, 2, 18, 5, tzinfo=ZONE).timestamp() * 1000)
Notices = list[tuple[int, Transition]]


@pytest.fixture(scope="module")
def notices() -> Notices:
    """Play from three in the night to eight in the evening; return what people are told, with when."""
    city = build_city(4, lamps=400, covers=0, stations=0, trucks=0)
    lamps = [one for one in city.assets if one.role == "lamp"]
    boxes = [one.id for one in city.assets if one.role == "cabinet"]
    cut, tripped, struck, dead = boxes[:4]
    circuit = {box: next(one.circuit for one in lamps if one.cabinet == box) for box in boxes}
    poles = {box: tuple(one.id for one in lamps if one.cabinet == box and one.circuit == circuit[box]) for box in boxes}
    faults = [
        Fault("cut", "cable_cut", "x", f"circuit:{cut}/{circuit[cut]}", ON, ON + 420 * MIN, 0, 1.0, poles[cut][4:]),
        Fault("trip", "breaker_trip", "x", f"device:{tripped}", ON, ON + 280 * MIN, 0, 1.0, (tripped,)),
        Fault(
            "struck",
            "lamps_out",
            "x",
            f"circuit:{struck}/{circuit[struck]}",
            ON,
            ON + 20 * MIN,
            0,
            1.0,
            poles[struck][::2],
        ),
        Fault("dead", "lamps_out", "x", f"circuit:{dead}/{circuit[dead]}", ON, ON + 90 * MIN, 0, 1.0, poles[dead][::2]),
    ]
    world = World(city, CATALOG, "Asia/Shanghai", 4, ON - 60 * MIN, faults)
    engine = Engine(RULES, world.registry, world.sky)
    stage = Incidents(RULES, world.registry, INHIBITION, sky=world.sky)
    out: Notices = []
    for now_ms, batches in world.steps(DUSK + 120 * MIN, MIN):
        decided = stage.step(engine.step(batches, now_ms), engine.fleet, now_ms)
        out += [(now_ms, one.notice) for one in decided.incidents if one.notice is not None]
    assert not stage.memory.members, "all is well again"
    return out


def test_each_that_lasts_is_told_once_and_once_that_it_is_over(notices: Notices) -> None:
    told = Counter((one.rule, one.state) for _, one in notices if one.turn < 2)
    assert told == {
        ("common_cause", ACTIVE): 2,
        ("common_cause", CLEARED): 2,
        ("breaker_tripped", ACTIVE): 1,
        ("breaker_tripped", CLEARED): 1,
    }, [(when - ON, one.message["en"]) for when, one in notices]


def test_a_cut_cable_rests_by_day_and_a_breaker_does_not(notices: Notices) -> None:
    over = {one.rule: when for when, one in notices if one.state == CLEARED}
    assert DUSK + 15 * MIN < over["common_cause"] < DUSK + 60 * MIN
    assert DAWN < over["breaker_tripped"] < ON + 285 * MIN


def test_lamps_that_are_dark_with_supply_are_given_time_to_strike_again(notices: Notices) -> None:
    first, second = [when - ON for when, one in notices if one.rule == "common_cause" and one.turn == 0][:2]
    assert first < 20 * MIN < 22 * MIN <= second < 40 * MIN


def test_between_dawn_and_dusk_nothing_new_is_told(notices: Notices) -> None:
    assert [one.message["en"] for when, one in notices if DAWN < when < DUSK + 60 * MIN and one.turn == 0
            and one.state == ACTIVE] == []  # fmt: skip
