"""Rules whose matter is over quickly by nature (`event: true`): told with begin and end, once, also after a crash."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from alerts.engine import Engine
from alerts.incident_notices import Timing
from alerts.incidents import Incidents
from alerts.inhibition import parse_inhibition
from alerts.rules import RuleSet, parse_rules
from devices.batch import Batch, make_batch
from devices.incident import Decided
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.transition import ACTIVE, Transition
from devices.yamlfile import ConfigError, parse_yaml
from lamplighter.settings import Receiver
from simulators.card.play import Listener
from storage.operations import Operations
from tests.unit import test_incidents as storms
from tests.unit.policy_city import Paper

CATALOG = load_catalog()
T0 = 1_781_553_600_000
STEP, MINUTE = 15_000, 60_000
CREW = Receiver(name="crew", url="log", min_severity="info")
RULE = """
rules:
  - {id: speeding, device: truck, on: speed_kmh > 65, for: 15s, off: speed_kmh < 60, keep: 30s, severity: minor,
     event: true,
     title: {en: Overspeed, zh: 超速}, message: {en: "{name}: {value} km/h", zh: "{name}：{value} km/h"}}
  - {id: lifted, device: truck, on: bed_angle_deg > 20, for: 15s, off: bed_angle_deg < 10, keep: 30s, severity: minor,
     title: {en: Bed up, zh: 举升}, message: {en: "{name}: bed up", zh: "{name}：举升"}}
  - {id: lying, device: truck, on: satellites < 4, severity: major,
     title: {en: Receiver lies, zh: 定位异常}, message: {en: "{name}: no fix", zh: "{name}：无定位"}}
"""
MATRIX = parse_inhibition(parse_yaml("inhibit: [{by: [lying], suppress: [speeding], where: same}]"), CATALOG)


def rules(text: str = RULE) -> RuleSet:
    return parse_rules(parse_yaml(text, "rules.yaml"), CATALOG)


REGISTRY = Registry(CATALOG, [Asset(f"truck-{n}", "truck", "truck", f"车{n}", district="东区") for n in range(4)])


def reading(now_ms: int, truck: int, **fields: float) -> Batch:
    kind = CATALOG["truck"]
    values = [[fields.get(name, float("nan"))] for name in kind.field_names()]
    return make_batch(kind, now_ms, [now_ms], [truck], values)


@dataclass
class House:
    """Engine and incidents, with all that they said."""

    rules: RuleSet = field(default_factory=rules)
    now_ms: int = T0
    restarts: bool = False
    decided: list[tuple[int, Decided]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._make()

    def _make(self) -> None:
        self.engine = Engine(self.rules, REGISTRY, Sky(REGISTRY, "Asia/Shanghai"))
        self.stage = Incidents(self.rules, REGISTRY, MATRIX)

    def step(self, *batches: Batch) -> None:
        self.now_ms += STEP
        told = self.engine.step(batches, self.now_ms)
        self.decided.append((self.now_ms, self.stage.step(told, self.engine.fleet, self.now_ms)))
        if self.restarts:
            saved = {**self.engine.save(), **self.stage.save()}
            self._make()
            self.engine.load(saved)
            self.stage.load(saved)

    def drive(self, truck: int, *speeds: float, **fields: float) -> None:
        for speed in speeds:
            self.step(reading(self.now_ms + STEP, truck, speed_kmh=speed, **fields))

    def wait(self, minutes: int) -> None:
        for _ in range(4 * minutes):
            self.step()

    def notices(self) -> list[Transition]:
        return [one.notice for _, out in self.decided for one in out.incidents if one.notice is not None]

    def told(self) -> list[tuple[str, str, str]]:
        return [(one.rule, one.state, one.message["en"]) for one in self.notices()]


FAST = (50, 70, 72, 70, 50, 50, 50, 50)


@pytest.mark.parametrize("restarts", [False, True])
def test_an_event_that_is_over_before_the_wait_ends_is_told_with_begin_and_end(restarts: bool) -> None:  # noqa: FBT001 - a case
    house = House(restarts=restarts)
    house.drive(0, *FAST)
    assert house.told() == [], "it waits for what may explain it"
    house.wait(5)
    assert [(rule, state) for rule, state, _ in house.told()] == [("speeding", "active"), ("speeding", "cleared")]
    begun, ended = house.notices()
    assert begun.message["en"].startswith("车0: 72 km/h")
    assert begun.message["en"].endswith("; over after 75 s"), begun.message["en"]
    assert begun.message["zh"].endswith("；已结束，历时 75 秒")
    assert ended.message["en"].startswith("Cleared: Overspeed")
    assert (begun.onset_ms, ended.onset_ms) == (T0 + 2 * STEP, T0 + 2 * STEP)
    assert ended.at_ms - begun.onset_ms == 75_000
    last = [change for _, out in house.decided for change in out.incidents][-1]
    assert (last.is_open, last.reason, last.told) == (False, "recovered", True)
    house.wait(60)
    assert len(house.notices()) == 2


def test_a_rule_without_the_key_that_is_over_before_the_wait_ends_is_told_to_nobody() -> None:
    house = House()
    for angle in (40, 40, 40, 0, 0, 0, 0):
        house.step(reading(house.now_ms + STEP, 0, bed_angle_deg=angle))
    house.wait(60)
    assert house.told() == []
    assert [change.reason for _, out in house.decided for change in out.incidents][-1] == "brief"


def test_events_of_several_trucks_within_the_wait_are_told_once_whether_they_last_or_not() -> None:
    house = House()
    house.drive(0, *FAST)
    house.drive(1, 70, 70)
    house.wait(1)
    for _ in range(24):
        house.drive(1, 70)
    (notice,) = house.notices()
    assert notice.message["en"].startswith("2 times Overspeed: 车0, 车1"), notice.message["en"]
    house.drive(1, 50, 50, 50)
    assert [(rule, state) for rule, state, _ in house.told()] == [("speeding", "active"), ("speeding", "cleared")]


def test_an_event_that_something_explains_within_the_wait_is_told_under_that() -> None:
    house = House()
    house.drive(0, *FAST)
    house.step(reading(house.now_ms + STEP, 0, satellites=2))
    house.wait(60)
    assert {one.rule for one in house.notices()} == {"lying"}
    marks = [mark for _, out in house.decided for mark in out.marks]
    event = next(one for _, out in house.decided for one in out.transitions if one.rule == "speeding")
    (lie,) = {one.alert_id for one in house.notices()}
    assert [(mark.alert_id, mark.incident, mark.suppressed_by) for mark in marks] == [(event.alert_id, lie, lie)]


def test_what_was_decided_twice_after_a_crash_is_owed_and_told_once(tmp_path: Path) -> None:
    house = House()
    house.drive(0, *FAST)
    house.wait(5)
    paper = Paper(tmp_path, receivers=(CREW,))
    for _ in range(2):  # the journal is judged again, and what it leads to is written down again
        for now_ms, out in house.decided:
            paper.operations.commit(
                out.transitions, (CREW,), now_ms, marks=out.marks, incidents=out.incidents, undecided=True
            )
            paper.now_ms = max(paper.now_ms, now_ms)
        paper.restart()
    paper.now_ms += MINUTE
    assert paper.decide() == [("active", "crew"), ("cleared", "crew")]
    assert paper.decide(60 * MINUTE) == []
    (incident,) = paper.operations.incidents()
    (alert,) = paper.operations.alerts()
    assert (incident.state, incident.reason, incident.notices, alert.state) == ("cleared", "recovered", 1, "cleared")


def test_an_event_that_nobody_remembers_is_told_by_what_is_written_down(tmp_path: Path) -> None:
    house = House()
    house.drive(0, *FAST)  # over, and its notice not yet due
    operations = Operations(f"sqlite:///{tmp_path / 'operations.db'}")
    for now_ms, out in house.decided:
        operations.commit(out.transitions, (CREW,), now_ms, marks=out.marks, incidents=out.incidents, undecided=True)
    fresh = Incidents(rules(), REGISTRY, MATRIX)
    assert fresh.compare(operations.alerts("open"), [row.as_change() for row in operations.incidents("open")]) == 1
    (change,) = fresh.step([], house.engine.fleet, house.now_ms + MINUTE).incidents
    assert (change.is_open, change.reason, change.told) == (False, "data_lost", True)
    assert change.notice is not None
    assert change.notice.message["en"].startswith("车0: 72 km/h")
    operations.close()


def test_a_latched_alert_is_told_even_when_it_is_over_before_the_wait_ends() -> None:
    house = House(rules(RULE.replace("bed_angle_deg < 10,", "bed_angle_deg < 10, latch: true,")))
    for angle in (40, 40, 40, 0, 0, 0, 0):
        house.step(reading(house.now_ms + STEP, 0, bed_angle_deg=angle))
    house.wait(5)
    assert [(rule, state) for rule, state, _ in house.told()] == [("lifted", "active"), ("lifted", "cleared")]


def storm(steps: Sequence[tuple[int, list[Transition]]], *, shuffled: int = 0, restarts: bool = False) -> storms.Desk:
    desk, dice = storms.Desk(Timing(wait_ms=20 * MINUTE)), random.Random(shuffled)
    for at_ms, told in steps:
        desk.step(at_ms, *(dice.sample(told, len(told)) if shuffled else told))
        if restarts:
            saved = desk.stage.save()
            desk.stage = Incidents(storms.RULES, storms.REGISTRY, storms.INHIBITION, desk.timing)
            desk.stage.load(saved)
    return desk


@pytest.mark.parametrize("seed", [1, 2])
def test_no_event_that_stands_for_itself_is_lost_nor_told_twice_whatever_the_order_and_the_restarts(seed: int) -> None:
    quick = ("lamp_out", "lamp_volt", "pump_fault")
    steps = [(at, [replace(one, event=one.rule in quick) for one in told]) for at, told in storms.script(seed)]
    steps += [(steps[-1][0] + n * MINUTE, []) for n in range(1, 120)]
    plain = storm(steps)
    for other in (storm(steps, shuffled=seed + 1), storm(steps, restarts=True)):
        assert (other.notices, other.belongs, other.incidents) == (plain.notices, plain.belongs, plain.incidents)
    keys = [one.key("crew") for one in plain.notices]
    assert len(keys) == len(set(keys))
    told = {one.alert_id for one in plain.notices if one.state == ACTIVE}
    events = {one.alert_id for _, some in steps for one in some if one.event and one.state == ACTIVE}
    lost = {name for name in events if not plain.belongs[name][1] and plain.belongs[name][0] not in told}
    assert events
    assert not lost


def test_the_report_card_counts_an_event_as_told_and_what_was_brief_as_not() -> None:
    listener = Listener(rules(), REGISTRY, Sky(REGISTRY, "Asia/Shanghai"), Incidents(rules(), REGISTRY, MATRIX))
    now = T0
    for speed, angle in zip(FAST, (40, 40, 40, 0, 0, 0, 0, 0), strict=True):
        now += STEP
        listener.step([reading(now, 0, speed_kmh=speed, bed_angle_deg=angle)], now)
    for _ in range(40):
        now += STEP
        listener.step([], now)
    assert {one.rule: one.suppressed for one in listener.said()} == {"speeding": False, "lifted": True}
    assert listener.notices == 1


@pytest.mark.parametrize("value", ["often", "1", "[true]"])
def test_a_wrong_value_is_named_by_file_line_and_key(value: str) -> None:
    text = RULE.replace("event: true", f"event: {value}")
    with pytest.raises(ConfigError, match=r"rules.yaml:4: rules\[0\].event: expected true or false"):
        rules(text)
