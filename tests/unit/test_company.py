"""Alerts that are one incident and yet told each: a station without mains, and its well that is full."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from alerts.engine import Engine
from alerts.incidents import Incidents
from alerts.inhibition import load_inhibition, parse_inhibition
from alerts.rules import load_rules
from devices.incident import Decided
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition, alert_id
from devices.yamlfile import ConfigError, parse_yaml

CONFIG = Path(__file__).parents[2] / "config"
CATALOG = load_catalog()
RULES = load_rules(CONFIG / "rules.yaml", CATALOG)
MATRIX = load_inhibition(CONFIG / "inhibition.yaml", CATALOG)
T0, MINUTE = 1_781_553_600_000, 60_000
ASSETS = [
    asset
    for n in (1, 2)
    for asset in (
        Asset(f"station-{n}", "pump", "station", f"泵站 {n}", district="西区", cabinet=f"station-{n}", keeper="班"),
        Asset(f"station-{n}-pump-1", "pump", "pump", f"泵 {n}-1", district="西区", cabinet=f"station-{n}", keeper="班"),
        Asset(f"station-{n}-pump-2", "pump", "pump", f"泵 {n}-2", district="西区", cabinet=f"station-{n}", keeper="班"),
    )
]
REGISTRY = Registry(CATALOG, ASSETS)
FLEET = Engine(RULES, REGISTRY, Sky(REGISTRY, "Asia/Shanghai")).fleet


def begun(rule: str, name: str, at_ms: int = T0) -> Transition:
    entity = f"device:{name}"
    text = {"en": f"{rule} at {name}", "zh": f"{name} {rule}"}
    return Transition(
        alert_id(rule, entity, at_ms), rule, entity, ACTIVE, at_ms, at_ms, RULES[rule].severity, text, kind="pump",
        district="西区", words={"zh": {"name": name, "rule": rule}, "en": {"name": name, "rule": rule}},
    )  # fmt: skip


def ended(one: Transition, at_ms: int) -> Transition:
    text = {"en": f"{one.rule} is well", "zh": "好"}
    return replace(one, state=CLEARED, at_ms=at_ms, message=text, reason="recovered")


class Desk:
    def __init__(self) -> None:
        self.stage = Incidents(RULES, REGISTRY, MATRIX)
        self.notices: list[Transition] = []
        self.incident: dict[str, str] = {}

    def step(self, at_ms: int, *told: Transition) -> Decided:
        out = self.stage.step(told, FLEET, at_ms)
        self.notices += [one.notice for one in out.incidents if one.notice is not None]
        self.incident |= {one.alert_id: one.incident for one in out.transitions}
        self.incident |= {one.alert_id: one.incident for one in out.marks}
        return out

    def said(self) -> list[str]:
        return [one.message["en"] for one in self.notices]


def test_a_full_well_belongs_to_the_lost_mains_and_is_told_at_once() -> None:
    desk, mains = Desk(), begun("mains_lost", "station-1")
    well = begun("well_high", "station-1", T0 + 20 * MINUTE)
    desk.step(T0, mains)
    desk.step(T0 + 20 * MINUTE, well)
    first, also = desk.said()
    assert first == "mains_lost at station-1 (3 devices behind it)"
    assert also.startswith("Also: well_high at station-1")
    assert len({one.alert_id for one in desk.notices}) == 1
    assert set(desk.incident.values()) == {mains.alert_id}
    desk.step(T0 + 30 * MINUTE, ended(mains, T0 + 30 * MINUTE))
    assert len(desk.notices) == 2, "the well is still full"
    desk.step(T0 + 50 * MINUTE, ended(well, T0 + 50 * MINUTE))
    assert desk.said()[2] == "All of it is over. well_high is well"
    assert len({one.key("crew") for one in desk.notices}) == 3


def test_what_grows_worse_at_the_station_is_told_as_worse() -> None:
    desk = Desk()
    desk.step(T0, begun("well_high", "station-1"))
    desk.step(T0 + 5 * MINUTE, begun("well_overflow_soon", "station-1", T0 + 5 * MINUTE))
    assert desk.said()[1].startswith("Worse, now critical: well_overflow_soon at station-1")
    assert desk.notices[1].severity == "critical"


def test_what_may_wait_is_told_five_minutes_after_the_notice_before_and_not_if_it_is_over_by_then() -> None:
    desk, limit = Desk(), begun("station_capacity", "station-1", T0 + MINUTE)
    desk.step(T0, begun("well_high", "station-1"))
    desk.step(T0 + MINUTE, limit)
    desk.step(T0 + 4 * MINUTE)
    assert len(desk.notices) == 1
    desk.step(T0 + 5 * MINUTE)
    assert desk.said()[1] == "Also: station_capacity at station-1"
    other, brief = Desk(), begun("station_capacity", "station-1", T0 + MINUTE)
    other.step(T0, begun("well_high", "station-1"))
    other.step(T0 + MINUTE, brief)
    other.step(T0 + 2 * MINUTE, ended(brief, T0 + 2 * MINUTE))
    for minute in range(3, 60):
        other.step(T0 + minute * MINUTE)
    assert other.said() == ["well_high at station-1"]
    other.step(T0 + 241 * MINUTE)
    assert other.said()[1].startswith("Still open: ")


def test_another_station_and_a_rule_that_is_no_company_are_incidents_of_their_own() -> None:
    desk = Desk()
    desk.step(T0, begun("mains_lost", "station-1"))
    desk.step(T0 + MINUTE, begun("well_high", "station-2", T0 + MINUTE), begun("level_stuck", "station-1", T0 + MINUTE))
    for minute in range(2, 8):
        desk.step(T0 + minute * MINUTE)
    assert len(set(desk.incident.values())) == 3
    assert len(desk.notices) == 3


@pytest.mark.parametrize("seed", range(2))
def test_company_does_not_depend_on_order_within_a_step_nor_on_restarts(seed: int) -> None:
    rng, plain, cut = random.Random(seed), Desk(), Desk()
    rules = ["mains_lost", "well_high", "well_overflow_soon", "station_capacity", "pump_fault", "pump_underload"]
    open_now: list[Transition] = []
    for minute in range(70):
        at = T0 + minute * MINUTE
        told = [ended(one, at) for one in open_now if rng.random() < 0.15]
        gone = {one.alert_id for one in told}
        open_now = [one for one in open_now if one.alert_id not in gone]
        for rule in rules:
            where = f"station-{rng.randint(1, 2)}" + (f"-pump-{rng.randint(1, 2)}" if "pump" in rule else "")
            new = begun(rule, where, at)
            if rng.random() < 0.12 and (rule, new.entity) not in {(one.rule, one.entity) for one in open_now}:
                open_now.append(new)
                told.append(new)
        plain.step(at, *told)
        if minute % 7 == 6:
            kept = cut.stage.save()
            cut.stage = Incidents(RULES, REGISTRY, MATRIX)
            cut.stage.load(kept)
        cut.step(at, *rng.sample(told, len(told)))
    assert cut.said() == plain.said()
    assert cut.incident == plain.incident
    assert any(text.startswith("Also: ") for text in plain.said())
    keys = [(one.key("crew"), one.state) for one in plain.notices]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("together:\n  - {rules: [a], where: below}", "text:2: together[0].where: expected one of same, beside"),
        ("together:\n  - {rules: [], where: same}", "text:2: together[0].rules: an empty list"),
        ("together:\n  - {rules: [a], where: same, by: b}", "unknown key"),
    ],
)
def test_a_mistake_in_company_is_named_by_line_and_key(text: str, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_inhibition(parse_yaml(text, "text"), CATALOG)
    assert where in str(caught.value)
