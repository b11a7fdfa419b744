"""Incidents: what explains what, who is told and when, and that nothing of it hangs on how steps were cut."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from alerts.engine import Engine
from alerts.incident_notices import USUAL, Timing
from alerts.incidents import Incidents
from alerts.inhibition import common_cause_rule, load_inhibition, parse_inhibition
from alerts.rules import load_rules, parse_rules
from devices.incident import Decided, IncidentChange
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition, alert_id
from devices.yamlfile import ConfigError, parse_yaml

CONFIG = Path(__file__).parents[2] / "config"
CATALOG = load_catalog()
T0 = 1_781_553_600_000
MINUTE = 60_000
RULES = parse_rules(
    parse_yaml(
        "rules:\n"
        + "".join(
            f"  - {{id: {name}, device: {device}, role: {role}, on: {on}, severity: {severity}, for: {wait},"
            f" title: {{en: {name}, zh: {name}}}, message: {{en: '{{name}}', zh: '{{name}}'}}}}\n"
            for name, device, role, on, severity, wait in (
                ("lamp_out", "streetlight", "lamp", "power_w < 1", "minor", "15m"),
                ("lamp_volt", "streetlight", "lamp", "voltage_v < 1", "major", "0s"),
                ("cabinet_dark", "streetlight", "cabinet", "not contactor_on", "critical", "2m"),
                ("pole_leakage", "streetlight", "lamp", "leakage_ma > 30", "critical", "0s"),
                ("source_silent", "streetlight", "cabinet", "energy_kwh < 0", "critical", "0s"),
                ("mains_lost", "pump", "station", "not mains_ok", "critical", "0s"),
                ("pump_fault", "pump", "pump", "fault", "major", "10s"),
                ("well_high", "pump", "station", "level_m > 3", "major", "1m"),
                ("station_low", "pump", "station", "level_m < 0", "major", "1m"),
            )
        )
        + "  - {id: lamp_offline, kind: offline, device: streetlight, role: lamp, after: 90m, severity: info,"
        " title: {en: offline, zh: offline}, message: {en: '{name}', zh: '{name}'}}\n"
    ),
    CATALOG,
)
MATRIX = """
never: [pole_leakage, well_high]
inhibit:
  - {by: [source_silent], suppress: ["kind:offline", cabinet_dark, "lamp_*"], where: below}
  - {by: [cabinet_dark], suppress: ["lamp_*", pole_leakage], where: below}
  - {by: [lamp_volt], suppress: [lamp_out], where: same}
  - {by: [mains_lost], suppress: ["pump_*", well_high], where: below}
  - {by: [pump_fault], suppress: [station_low], where: beside}
  - {by: [lamp_volt], suppress: [pole_leakage], where: same}
"""
INHIBITION = parse_inhibition(parse_yaml(MATRIX), CATALOG)


def lamps() -> list[Asset]:
    made = [
        Asset(
            f"lamp-{n:03d}", "streetlight", "lamp", f"灯 {n}", 121.4, 31.0, "东区", cabinet=f"cabinet-{n // 10}",
            circuit="1", pole_index=n % 10, keeper="一队", facts={"gateway": n // 10},
        )
        for n in range(30)
    ]  # fmt: skip
    boxes = [
        Asset(f"cabinet-{n}", "streetlight", "cabinet", f"箱 {n}", district="东区", keeper="一队") for n in range(3)
    ]
    water = [
        Asset("station-1", "pump", "station", district="西区"),
        Asset("station-1-pump", "pump", "pump", district="西区", cabinet="station-1"),
    ]
    return [*made, *boxes, *water]


REGISTRY = Registry(CATALOG, lamps())
ENGINE = Engine(RULES, REGISTRY, Sky(REGISTRY, "Asia/Shanghai"))


def begun(rule: str, name: str, onset_ms: int = T0, severity: str = "") -> Transition:
    found = RULES[rule]
    entity = name if ":" in name else f"device:{name}"
    return Transition(
        alert_id(rule, entity, onset_ms), rule, entity, ACTIVE, onset_ms, onset_ms, severity or found.severity,
        {"en": f"{name} bad", "zh": f"{name} 坏"}, kind=found.device, lon=121.4, lat=31.0, district="东区",
        words={"zh": {"name": name, "rule": rule}, "en": {"name": name, "rule": rule}},
    )  # fmt: skip


def ended(one: Transition, at_ms: int) -> Transition:
    return Transition(
        one.alert_id, one.rule, one.entity, CLEARED, at_ms, one.onset_ms, one.severity, {"en": "well", "zh": "好"},
        reason="recovered", kind=one.kind, lon=121.4, lat=31.0, district=one.district,
    )  # fmt: skip


@dataclass
class Desk:
    """A stage with everything that it has said."""

    timing: Timing = USUAL
    incidents: dict[str, IncidentChange] = field(default_factory=dict)
    notices: list[Transition] = field(default_factory=list)
    belongs: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stage = Incidents(RULES, REGISTRY, INHIBITION, self.timing)

    def step(self, at_ms: int, *told: Transition) -> Decided:
        out = self.stage.step(told, ENGINE.fleet, at_ms)
        for one in out.incidents:
            self.incidents[one.id] = one
            if one.notice is not None:
                self.notices.append(one.notice)
        for one in out.transitions:
            self.belongs[one.alert_id] = (one.incident, one.suppressed_by)
        for mark in out.marks:
            self.belongs[mark.alert_id] = (mark.incident, mark.suppressed_by)
        return out

    def ticks(self, from_ms: int, until_ms: int, every_ms: int = MINUTE) -> None:
        for at_ms in range(from_ms, until_ms + 1, every_ms):
            self.step(at_ms)

    def told(self) -> list[tuple[str, str]]:
        return [(one.rule, one.state) for one in self.notices]


def test_what_is_critical_is_told_at_once_in_its_own_words() -> None:
    desk, leak = Desk(), begun("pole_leakage", "lamp-001")
    desk.step(T0, leak)
    (notice,) = desk.notices
    assert (notice.alert_id, notice.state, notice.message["zh"]) == (leak.alert_id, ACTIVE, "lamp-001 坏")
    desk.step(T0 + MINUTE, ended(leak, T0 + MINUTE))
    assert desk.told() == [("pole_leakage", ACTIVE), ("pole_leakage", CLEARED)]
    assert [one.key("crew") for one in desk.notices] == [
        f"{leak.alert_id}:active:crew",
        f"{leak.alert_id}:cleared:crew",
    ]


def test_what_is_over_while_it_waits_tells_nobody() -> None:
    desk, out = Desk(), begun("lamp_out", "lamp-001")
    desk.step(T0, out)
    desk.step(T0 + 2 * MINUTE, ended(out, T0 + 2 * MINUTE))
    desk.ticks(T0 + 3 * MINUTE, T0 + 60 * MINUTE)
    assert desk.notices == []
    assert desk.incidents[out.alert_id].reason == "brief"


def test_lamps_of_one_crew_that_go_out_within_the_wait_are_told_once() -> None:
    desk = Desk()
    out = [begun("lamp_out", f"lamp-{n:03d}") for n in range(5)]
    for n, one in enumerate(out):
        desk.step(T0 + n * 20_000, one)
    desk.ticks(T0 + 2 * MINUTE, T0 + 5 * MINUTE, 10_000)
    (notice,) = desk.notices
    assert notice.message["en"] == "5 times lamp_out: lamp-000, lamp-001, lamp-002 and 2 more; 东区, 一队"
    late = begun("lamp_out", "lamp-020", T0 + 6 * MINUTE)
    desk.step(T0 + 6 * MINUTE, late)
    desk.ticks(T0 + 7 * MINUTE, T0 + 10 * MINUTE)
    assert len(desk.notices) == 2, "whoever comes later is told of by itself"
    for one in out:
        desk.step(T0 + 20 * MINUTE, ended(one, T0 + 20 * MINUTE))
    assert desk.notices[2].message["en"].startswith("Cleared: 5 times lamp_out")
    assert len(desk.notices) == 3


def test_a_dark_cabinet_explains_its_lamps_whichever_comes_first() -> None:
    desk, early = Desk(), begun("lamp_out", "lamp-001")
    box = begun("cabinet_dark", "cabinet-0")
    late = [begun("lamp_out", f"lamp-{n:03d}") for n in range(2, 9)]
    desk.step(T0, early)
    desk.step(T0 + MINUTE, box)
    desk.step(T0 + 2 * MINUTE, *late)
    desk.ticks(T0 + 3 * MINUTE, T0 + 60 * MINUTE)
    assert desk.told() == [("cabinet_dark", ACTIVE)]
    assert {desk.belongs[one.alert_id] for one in [early, *late]} == {(box.alert_id, box.alert_id)}
    change = desk.incidents[box.alert_id]
    assert (change.alerts, change.suppressed, change.devices, change.keeper) == (9, 8, 10, "一队")
    assert desk.incidents[early.alert_id].reason == "merged"


def test_another_cabinets_lamp_and_an_old_one_stand_for_themselves() -> None:
    desk, box = Desk(), begun("cabinet_dark", "cabinet-0")
    desk.step(T0, box, begun("lamp_out", "lamp-015"), begun("lamp_out", "lamp-003", T0 - 30 * MINUTE))
    desk.ticks(T0 + MINUTE, T0 + 5 * MINUTE)
    assert sorted(desk.told()) == [("cabinet_dark", ACTIVE), ("lamp_out", ACTIVE)]
    assert desk.notices[1].message["en"].startswith("2 times lamp_out")


def test_a_lamp_without_supply_by_day_was_silent_before_and_is_explained_from_when_it_was_to_speak() -> None:
    """Last heard in the morning, to speak from 18:20 on; its breaker trips at 18:26, before it has said a word."""
    desk, box = Desk(), begun("cabinet_dark", "cabinet-0")
    silent = [begun("lamp_offline", f"lamp-00{n}", T0 - 720 * MINUTE) for n in (1, 2)]
    since = (T0 - 6 * MINUTE, T0 - 60 * MINUTE)  # the other one's silence began well before
    told = [
        replace(one, at_ms=ms + 90 * MINUTE, values={"after_min": 90.0}) for one, ms in zip(silent, since, strict=True)
    ]
    desk.step(T0, box)
    for one in sorted(told, key=lambda each: each.at_ms):
        desk.step(one.at_ms, one)
    assert [desk.belongs[one.alert_id][1] for one in told] == [box.alert_id, ""]


@pytest.mark.parametrize("rule", ["pole_leakage", "well_high"])
def test_danger_is_never_explained_away(rule: str) -> None:
    desk = Desk()
    who = {"pole_leakage": "lamp-001", "well_high": "station-1"}[rule]
    desk.step(T0, begun("cabinet_dark", "cabinet-0"), begun("mains_lost", "station-1"), begun(rule, who))
    assert (rule, ACTIVE) in desk.told()
    assert desk.belongs[begun(rule, who).alert_id][1] == ""


def test_what_is_beside_it_is_explained_within_one_station_alone() -> None:
    desk, pump = Desk(), begun("pump_fault", "station-1-pump")
    desk.step(T0, pump, begun("station_low", "station-1"))
    assert desk.belongs[begun("station_low", "station-1").alert_id] == (pump.alert_id, pump.alert_id)


def test_what_is_never_explained_is_not_where_an_entry_for_the_same_entity_names_it_outright() -> None:
    desk, leak = Desk(), begun("pole_leakage", "lamp-001")
    desk.step(T0, begun("lamp_volt", "lamp-001"))
    desk.step(T0 + MINUTE, leak)
    assert desk.told() == [("pole_leakage", ACTIVE)], "at once; the voltage waits for its cause"
    desk.ticks(T0 + 2 * MINUTE, T0 + 5 * MINUTE)
    assert desk.belongs[leak.alert_id] == (leak.alert_id, "")


def test_power_that_is_back_brings_no_second_storm_and_stragglers_are_told() -> None:
    desk, box = Desk(), begun("cabinet_dark", "cabinet-0")
    out = [begun("lamp_out", f"lamp-{n:03d}") for n in range(10)]
    desk.step(T0, box, *out)
    back = T0 + 60 * MINUTE
    desk.step(back, ended(box, back))
    for n, one in enumerate(out[:8]):
        at_ms = back + (5 + 3 * n) * MINUTE
        desk.step(at_ms, ended(one, at_ms))
    desk.ticks(back + 30 * MINUTE, back + 50 * MINUTE)
    assert desk.told() == [("cabinet_dark", ACTIVE), ("cabinet_dark", CLEARED)]
    desk.ticks(back + 51 * MINUTE, back + 90 * MINUTE)
    assert desk.told()[2:] == [("lamp_out", ACTIVE)], "two lamps are out by themselves"
    assert desk.notices[2].message["en"].startswith("2 times lamp_out")
    assert desk.belongs[out[9].alert_id][1] == ""


def test_what_explains_is_itself_explained_and_all_follow_to_the_root() -> None:
    desk, box, silent = Desk(), begun("cabinet_dark", "cabinet-1"), begun("source_silent", "gateway:1")
    lamp = begun("lamp_out", "lamp-011")
    desk.step(T0, lamp)
    desk.step(T0 + MINUTE, box)
    desk.step(T0 + 2 * MINUTE, silent)
    assert desk.belongs[lamp.alert_id] == (box.alert_id, box.alert_id), "a cabinet hangs on no gateway by itself"
    city = begun("source_silent", "city:*")
    desk.step(T0 + 3 * MINUTE, city)
    assert desk.belongs[lamp.alert_id] == desk.belongs[box.alert_id] == (city.alert_id, city.alert_id)
    desk.step(T0 + 4 * MINUTE, ended(city, T0 + 4 * MINUTE))
    assert desk.belongs[box.alert_id][1] == city.alert_id, "it is given time to recover"
    desk.ticks(T0 + 5 * MINUTE, T0 + 90 * MINUTE)
    assert desk.belongs[box.alert_id] == (box.alert_id, "")
    assert desk.belongs[lamp.alert_id] == (box.alert_id, box.alert_id)
    assert [one.key("crew") for one in desk.notices if one.rule == "cabinet_dark"] == [
        f"{box.alert_id}:active:crew",
        f"{box.alert_id}:active2:crew",
    ]


def test_an_incident_that_grows_or_gets_worse_is_told_again_but_not_all_the_time() -> None:
    desk, box = Desk(Timing(repeat_ms=0)), begun("mains_lost", "station-1", severity="major")
    desk.step(T0, box)
    desk.ticks(T0 + MINUTE, T0 + 4 * MINUTE)
    desk.step(T0 + 5 * MINUTE, begun("pump_fault", "station-1-pump", severity="critical"))
    assert [one.severity for one in desk.notices] == ["major", "critical"]
    assert desk.notices[1].message["zh"].startswith("【升级为紧急】")
    desk.ticks(T0 + 6 * MINUTE, T0 + 600 * MINUTE)
    assert len(desk.notices) == 2


def test_what_lasts_is_repeated_after_four_hours() -> None:
    desk = Desk()
    desk.step(T0, begun("cabinet_dark", "cabinet-0"), begun("lamp_out", "lamp-020"))
    out = [desk.stage.step([], ENGINE.fleet, T0 + n * MINUTE) for n in range(1, 9 * 60)]
    again = [one for step in out for one in step.incidents if one.again]
    assert [(one.at_ms - T0) // MINUTE for one in again] == [240, 480]
    assert {one.cause for one in again} == {"cabinet_dark"}, "a lamp that is out is a work order, not an alarm"


def test_a_clock_set_back_keeps_nobody_waiting() -> None:
    desk = Desk()
    desk.step(T0, begun("lamp_out", "lamp-001"))
    desk.ticks(T0 - 600 * MINUTE, T0 - 596 * MINUTE)
    assert desk.told() == [("lamp_out", ACTIVE)]


def script(seed: int) -> list[tuple[int, list[Transition]]]:
    """Return steps with alerts that begin and end at random, some together."""
    dice, opened, steps = random.Random(seed), dict[str, Transition](), []
    names = ["source_silent city:*", *(f"cabinet_dark cabinet-{n}" for n in range(3))]
    names += [f"{rule} lamp-{n:03d}" for n in range(30) for rule in ("lamp_out", "lamp_volt", "pole_leakage")]
    names += ["mains_lost station-1", "pump_fault station-1-pump", "well_high station-1"]
    for n in range(300):
        at_ms, told = T0 + n * MINUTE, []
        for name in dice.sample(names, dice.choice((0, 0, 0, 1, 1, 3, 12))):
            if name in opened:
                told.append(ended(opened.pop(name), at_ms))
            else:
                opened[name] = begun(*name.split(), onset_ms=at_ms - dice.choice((0, 5, 40)) * MINUTE - n)
                told.append(opened[name])
        steps.append((at_ms, told))
    return steps


def play(steps: Iterable[tuple[int, Sequence[Transition]]], *, shuffled: int = 0, restart: bool = False) -> Desk:
    desk, dice = Desk(), random.Random(shuffled)
    for at_ms, told in steps:
        cards = list(told)
        if shuffled:
            dice.shuffle(cards)
        desk.step(at_ms, *cards)
        if restart:
            saved = desk.stage.save()
            desk.stage = Incidents(RULES, REGISTRY, INHIBITION, desk.timing)
            desk.stage.load(saved)
    return desk


@pytest.mark.parametrize("seed", range(3))
def test_order_within_a_step_and_a_restart_after_every_step_make_no_difference(seed: int) -> None:
    steps = script(seed)
    plain = play(steps)
    assert len(plain.notices) > 20
    for other in (play(steps, shuffled=seed + 1), play(steps, restart=True)):
        assert other.notices == plain.notices
        assert other.belongs == plain.belongs
        assert other.incidents == plain.incidents


@pytest.mark.parametrize("seed", range(4))
def test_every_alert_is_told_in_its_incident_or_explained_by_one_and_nothing_is_told_twice(seed: int) -> None:
    steps = script(seed)
    last = steps[-1][0]
    desk = play([*steps, *((last + n * MINUTE, []) for n in range(1, 120))])
    keys = [one.key("crew") for one in desk.notices]
    assert len(keys) == len(set(keys))
    told = {one.alert_id for one in desk.notices if one.state == ACTIVE}
    for name, (incident, _) in desk.belongs.items():
        change = desk.incidents[incident]
        brief = change.reason == "brief" and change.at_ms - change.opened_ms < 3 * MINUTE
        assert incident in told or brief or change.reason == "merged", (name, change)
    over = {one.alert_id for one in desk.notices if one.state == CLEARED}
    for name in told:
        change = desk.incidents[name]
        assert change.is_open or name in over or change.reason == "merged"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (
            "inhibit:\n  - {by: [a], suppress: [b], where: above}",
            "text:2: inhibit[0].where: expected one of same, below, beside",
        ),
        ("inhibit:\n  - {by: [a], suppress: [], where: same}", "text:2: inhibit[0].suppress: an empty list"),
        ("inhibit:\n  - {by: [A], suppress: [b], where: same}", "expected a rule's id, a pattern of ids"),
        ("inhibit:\n  - {by: [a], suppress: [b], where: same, ahead: 3}", "expected a length of time"),
        ("never: [a]\nalways: [b]", "text:2: always: unknown key; known here: never, inhibit, together"),
        ("never: a", "text:1: never: expected a list"),
        ("causes: {share: 2}", "text:1: causes.share: expected a number from 0.01 to 1.0"),
    ],
)
def test_a_mistake_in_the_matrix_is_named_by_file_line_and_key(text: str, where: str) -> None:
    with pytest.raises(ConfigError, match=r"text|expected") as caught:
        parse_inhibition(parse_yaml(text), CATALOG)
    assert where in str(caught.value)


def test_the_shipped_matrix_names_rules_that_are_there_and_spares_what_endangers_people() -> None:
    shipped = load_rules(CONFIG / "rules.yaml", CATALOG)
    matrix = load_inhibition(CONFIG / "inhibition.yaml", CATALOG)
    assert matrix.unknown(shipped) == []
    spared = {rule.id for rule in shipped if matrix.spares(rule)}
    assert {"well_high", "pole_leakage", "cover_open", "gas_h2s", "gas_ch4", "illegal_dump"} <= spared
    for source in [*shipped, common_cause_rule()]:
        for target in (rule for rule in shipped if matrix.spares(rule)):
            assert matrix.between(source, target) == (), (source.id, target.id)


def test_slow_seepage_that_ends_for_one_rule_before_the_other_brings_no_second_incident() -> None:
    registry = Registry(CATALOG, [Asset("station-1", "pump", "station", district="西区")])
    rules = load_rules(CONFIG / "rules.yaml", CATALOG)
    engine = Engine(rules, registry, Sky(registry, "Asia/Shanghai"))
    stage = Incidents(rules, registry, load_inhibition(CONFIG / "inhibition.yaml", CATALOG))
    day, told = 24 * 60 * MINUTE, []
    first, second = (
        replace(
            begun("lamp_out", "station-1", T0), rule=rule, alert_id=rule, severity=rules[rule].severity, kind="pump"
        )
        for rule in ("seepage", "seep_year")
    )
    for after, changes in ((0, [first]), (4, [second]), (30, [ended(first, T0 + 30 * day)]), (38, [ended(second, T0)])):
        for hours in range(0, 24, 6):
            now = T0 + after * day + hours * 60 * MINUTE
            told += stage.step(changes if not hours else [], engine.fleet, now).incidents
    assert {one.id for one in told} == {"seepage"}
