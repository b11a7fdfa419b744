"""Several trucks at one place are told once, of the place, by the shipped matrix, whatever the order and restarts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from alerts.causes_place_settings import SAME_PLACE
from alerts.engine import Engine
from alerts.incidents import Incidents
from alerts.inhibition import load_inhibition, parse_inhibition
from alerts.rules import load_rules
from devices.incident import Decided, IncidentChange
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition, alert_id
from devices.yamlfile import ConfigError, parse_yaml

CONFIG = Path(__file__).parents[2] / "config"
CATALOG = load_catalog()
RULES = load_rules(CONFIG / "rules.yaml", CATALOG)
MATRIX = load_inhibition(CONFIG / "inhibition.yaml", CATALOG)
T0 = 1_781_553_600_000
MINUTE = 60_000
LON, LAT = 121.47, 31.23
REGISTRY = Registry(CATALOG, [Asset(f"truck-{n}", "truck", "truck", f"沪A{n}") for n in range(8)], centre=(LON, LAT))
SKY = Sky(REGISTRY, "Asia/Shanghai", RULES.lighting)
FLEET = Engine(RULES, REGISTRY, SKY).fleet


def begun(rule: str, truck: int, minute: float, east_m: float = 0.0, **values: float) -> Transition:
    at_ms, entity = T0 + round(minute * MINUTE), f"device:truck-{truck}"
    lon, lat = (float(one) for one in REGISTRY.projection.to_degrees(east_m, 0.0))
    words = {one: {"name": f"truck {truck}", "rule": rule} for one in ("en", "zh")}
    return Transition(
        alert_id(rule, entity, at_ms), rule, entity, ACTIVE, at_ms, at_ms, RULES[rule].severity,
        {"en": f"{rule} {truck}", "zh": f"{rule} {truck}"}, values, kind="truck", lon=lon, lat=lat, words=words,
    )  # fmt: skip


def ended(one: Transition, minute: float) -> Transition:
    return replace(one, state=CLEARED, at_ms=T0 + round(minute * MINUTE), reason="recovered")


@dataclass
class Desk:
    """A stage with the shipped matrix, and everything that it has said; restarted after each step where asked."""

    restarts: bool = False
    notices: list[Transition] = field(default_factory=list)
    incidents: dict[str, IncidentChange] = field(default_factory=dict)
    by: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stage = self.fresh()

    def fresh(self) -> Incidents:
        return Incidents(RULES, REGISTRY, MATRIX, sky=SKY)

    def step(self, minute: float, told: Sequence[Transition] = ()) -> Decided:
        out = self.stage.step(told, FLEET, T0 + round(minute * MINUTE))
        self.incidents |= {one.id: one for one in out.incidents}
        self.notices += [one.notice for one in out.incidents if one.notice is not None]
        self.by |= {one.alert_id: one.suppressed_by for one in out.transitions}
        self.by |= {one.alert_id: one.suppressed_by for one in out.marks}
        if self.restarts:
            saved = self.stage.save()
            self.stage = self.fresh()
            self.stage.load(saved)
        return out

    def play(self, told: Sequence[Transition], until: int, every: int = 1) -> None:
        for minute in range(0, until + 1, every):
            now, before = T0 + minute * MINUTE, T0 + (minute - every) * MINUTE
            self.step(minute, [one for one in told if before < one.at_ms <= now])

    def of_place(self) -> list[tuple[float, str]]:
        return [((one.at_ms - T0) / MINUTE, one.state) for one in self.notices if one.rule == SAME_PLACE]


def leaving(*minutes: float, rule: str = "route_deviation", apart_m: float = 90.0, **values: float) -> list[Transition]:
    return [begun(rule, n, minute, n * apart_m, **values) for n, minute in enumerate(minutes)]


def test_three_trucks_that_leave_their_ways_at_one_place_within_the_hour_are_one_matter_of_the_place() -> None:
    desk, out = Desk(), leaving(1, 20, 50, 70, apart_m=90.0)
    desk.play(out, 80)
    assert desk.of_place() == [(50.0, ACTIVE)]
    (place,) = [one for one in desk.notices if one.rule == SAME_PLACE]
    assert place.message["en"].startswith("Road closed? 3 trucks have left their ways here since ")
    assert "truck 0, truck 1, truck 2" in place.message["en"]
    assert "请向调度核实" in place.message["zh"]
    assert place.entity == "grid:E000N000"
    assert [desk.by[one.alert_id] for one in out] == [place.incident] * 4
    alone = [one.incident for one in desk.notices if one.rule != SAME_PLACE and one.state == ACTIVE]
    assert alone == [out[0].alert_id, out[1].alert_id]  # the third knows of the others, the fourth of the place


def test_two_trucks_or_three_far_apart_or_within_three_hours_are_each_by_itself() -> None:
    for out in (
        leaving(1, 20),
        leaving(1, 20, 40, apart_m=600.0),
        leaving(1, 70, 140),
    ):  # a third departure makes a place
        desk = Desk()
        desk.play(out, 150)
        assert desk.of_place() == []
        assert not any(desk.by[one.alert_id] for one in out)


def test_it_is_the_place_where_trucks_left_their_ways_that_counts_not_how_far_they_have_come() -> None:
    lon, lat = (float(one) for one in REGISTRY.projection.to_degrees(0.0, 0.0))
    here = {"left_lon": lon, "left_lat": lat}
    desk = Desk()
    desk.play([begun("route_deviation", n, 5 + n, 900.0 * n, **here) for n in range(3)], 20)
    assert desk.of_place() == [(7.0, ACTIVE)]
    lon = float(REGISTRY.projection.to_degrees(900.0, 0.0)[0])
    desk = Desk()
    desk.play([begun("route_deviation", n, 5 + n, left_lon=lon * n, left_lat=lat) for n in range(3)], 20)
    assert desk.of_place() == []


def test_one_truck_that_leaves_its_way_thrice_is_no_closed_road() -> None:
    desk = Desk()
    out = [begun("route_deviation", 0, minute) for minute in (1, 15, 30)]
    desk.play([*out, *(ended(one, (one.at_ms - T0) / MINUTE + 5) for one in out)], 40)
    assert desk.of_place() == []


def test_a_place_is_over_an_hour_after_the_last_of_it() -> None:
    desk, out = Desk(), leaving(1, 2, 3)
    desk.play([*out, *(ended(one, 10 + n) for n, one in enumerate(out))], 90)
    assert desk.of_place() == [(3.0, ACTIVE), (72.0, CLEARED)]
    assert [one.rule for one in desk.notices] == [SAME_PLACE, SAME_PLACE]


def test_who_is_off_its_way_for_four_hours_and_nobody_follows_stands_for_itself() -> None:
    desk, out = Desk(), leaving(1, 2, 3)
    desk.play([*out, ended(out[0], 10), ended(out[1], 10)], 270)
    assert desk.of_place() == [(3.0, ACTIVE), (243.0, CLEARED)]
    last = [one for one in desk.notices if one.rule == "route_deviation" and one.state == ACTIVE]
    assert [(one.alert_id, one.entity) for one in last] == [(out[2].alert_id, "device:truck-2")]
    assert desk.by[out[2].alert_id] == ""


def test_positions_that_leap_at_one_place_are_a_jammer_and_those_that_stand_still_are_not() -> None:
    desk = Desk()
    desk.play(leaving(1, 30, rule="gps_trouble", apart_m=900.0, step_m=900.0), 55)
    assert desk.of_place() == [(30.0, ACTIVE)]
    assert desk.notices[-1].message["en"].startswith("Receivers are disturbed here: positions of 2 trucks leap")
    for out in (
        leaving(1, 30, rule="gps_trouble", step_m=0.0),
        leaving(1, 30, rule="gps_trouble", apart_m=2e3, step_m=9e2),
    ):
        desk = Desk()
        desk.play(out, 60)
        assert desk.of_place() == []


def test_a_receiver_that_lies_explains_what_its_truck_seems_to_do_and_makes_no_closed_road() -> None:
    lies = [begun("gps_trouble", n, 10, n * 100.0, step_m=0.0) for n in range(3)]
    early = begun("unpermitted_load", 0, 0)
    away = [begun("route_deviation", n, 12, n * 100.0) for n in range(3)]
    before = begun("route_deviation", 3, -10)
    desk = Desk()
    desk.step(-10, [before])
    desk.play([early, *lies, *away, begun("gps_trouble", 3, 10, 5e3, step_m=0.0)], 30)
    assert desk.of_place() == []
    assert [desk.by[one.alert_id] for one in away] == [one.alert_id for one in lies]
    assert desk.by[early.alert_id] == lies[0].alert_id  # it began while the position was being led away
    assert desk.by[before.alert_id] == ""  # twenty minutes before: a matter of its own


def test_dumping_is_told_at_once_though_the_receiver_lies_and_both_are_one_incident() -> None:
    lies, dumps = begun("gps_trouble", 0, 1, step_m=0.0), begun("illegal_dump", 0, 10)
    other = begun("illegal_dump", 1, 10)
    desk = Desk()
    desk.play([lies, dumps, other], 20)
    assert [desk.by[one.alert_id] for one in (lies, dumps, other)] == ["", "", ""]
    told = [(one.incident, one.message["en"]) for one in desk.notices if one.state == ACTIVE]
    assert (lies.alert_id, "illegal_dump 0") in [(name, text.rpartition(": ")[2]) for name, text in told]
    assert [name for name, _ in told].count(other.alert_id) == 1
    assert {one.incident for one in desk.notices} == {lies.alert_id, other.alert_id}


@pytest.mark.parametrize("seed", range(2))
def test_what_is_said_hangs_on_no_order_within_a_step_and_on_no_restart(seed: int) -> None:
    rng = random.Random(seed)
    told: list[Transition] = []
    for number in range(40):
        rule = rng.choice(["route_deviation", "gps_trouble"])
        minute = 7 * number
        one = begun(rule, rng.randrange(8), minute, rng.choice([0.0, 150.0, 4e3]), step_m=rng.choice([0.0, 900.0]))
        told += [one, ended(one, minute + rng.randrange(3, 40))]
    plain, other = Desk(), Desk(restarts=True)
    plain.play(told, 420, every=12)
    rng.shuffle(told)
    other.play(told, 420, every=12)
    assert plain.of_place()
    assert plain.by == other.by
    assert plain.incidents == other.incidents
    assert plain.of_place() == other.of_place()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("devices: 1", "devices"),
        ("within_m: 0", "within_m"),
        ("severity: grave", "severity"),
        ("rules: []", "rules"),
        ("colour: red", "colour"),
        ("message: {en: '{speed}', zh: x}", "only {count}, {names} and {since} are filled in"),
    ],
)
def test_what_is_wrong_with_a_place_is_told_with_its_line(change: str, problem: str) -> None:
    keys = {
        "cause": "closed", "rules": "[route_deviation]", "within_m": "500", "window": "60m", "severity": "major",
        "title": "{en: a, zh: b}", "message": "{en: a, zh: b}",
    }  # fmt: skip
    name, _, value = change.partition(": ")
    text = "places:\n  - " + "\n    ".join(f"{key}: {one}" for key, one in (keys | {name: value}).items()) + "\n"
    with pytest.raises(ConfigError) as trouble:
        parse_inhibition(parse_yaml(text), CATALOG)
    assert problem in str(trouble.value)
