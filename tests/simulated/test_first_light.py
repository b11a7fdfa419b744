"""The first light script, played through decoder and engine: every fault is said in time, and nothing else is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from alerts.engine import Engine
from alerts.rules import RuleSet, load_rules
from devices.kinds import Catalog
from devices.payloads import Decoder
from devices.transition import ACTIVE, CLEARED, Transition
from simulators.city import build_city
from simulators.faults import Fault, due_before
from simulators.link import Mishaps
from simulators.scripts import MAY_MS, first_light, first_light_mishaps
from simulators.world import DEMO, World

ZONE = "Asia/Shanghai"
START = int(datetime(2026, 6, 16, 0, 50, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
STEP_MS = 15_000
MINUTE_MS = 60_000
DEMO_MS = 300 * MINUTE_MS  # one minute of the wall at 300 times its speed
SEED = 1
RULES = Path(__file__).resolve().parents[2] / "config" / "rules.yaml"


@dataclass
class Played:
    """What a run has told, and what was true."""

    world: World
    rejects: Counter[str] = field(default_factory=Counter)
    told: list[Transition] = field(default_factory=list)

    def said(self, fault: Fault) -> int | None:
        """Return when the fault's rule named its entity first."""
        return min((t.at_ms for t in self.told if t.state == ACTIVE and _same(t, fault)), default=None)


def _same(told: Transition, fault: Fault) -> bool:
    return (told.rule, told.entity) == (fault.rule, fault.entity)


def play(catalog: Catalog, rules: RuleSet, faults: list[Fault], mishaps: Mishaps, length_ms: int) -> Played:
    city = build_city(SEED)
    world = World(city, catalog, ZONE, SEED, START, faults, intervals=DEMO, schedule=rules.lighting, mishaps=mishaps)
    decoder, engine = Decoder(world.registry, city.name), Engine(rules, world.registry, world.sky)
    out = Played(world)
    messages, now = list(world.history()), START
    while now <= START + length_ms:
        decoded = decoder.decode(messages, now)
        out.rejects.update(reject.reason for reject in decoded.rejects)
        out.told += engine.step(decoded.batches, now)
        now += STEP_MS
        messages = world.advance(now)
    return out


@pytest.fixture(scope="module")
def rules(catalog: Catalog) -> RuleSet:
    return load_rules(RULES, catalog)


@pytest.fixture(scope="module")
def script(catalog: Catalog, rules: RuleSet) -> list[Fault]:
    return first_light(build_city(SEED), catalog, rules, ZONE, START)


@pytest.fixture(scope="module")
def played(catalog: Catalog, rules: RuleSet, script: list[Fault]) -> Played:
    return play(catalog, rules, script, first_light_mishaps(START), DEMO_MS + 20 * MINUTE_MS)


def test_every_fault_is_said_by_the_time_it_is_due(played: Played) -> None:
    late = {}
    for fault in due_before(played.world.truth(), START + DEMO_MS + 20 * MINUTE_MS):
        said = played.said(fault)
        if said is None or said > fault.due_ms:
            late[fault.id] = said
    assert late == {}


def test_no_alert_is_said_that_no_fault_explains(played: Played, script: list[Fault]) -> None:
    explained = {(fault.rule, fault.entity) for fault in script}
    strange = {(t.rule, t.entity): t.message["en"] for t in played.told if (t.rule, t.entity) not in explained}
    assert strange == {}


def test_nothing_is_said_before_its_fault_begins(played: Played) -> None:
    for fault in played.world.truth():
        said = played.said(fault)
        assert said is None or said >= fault.on_ms
        if said is not None and fault.kind != "seepage":  # its first nights lie in the history
            assert fault.on_ms <= fault.seen_ms <= said


def test_the_demos_minute_shows_every_kind_and_the_three_named_rules(
    script: list[Fault], rules: RuleSet, catalog: Catalog
) -> None:
    must = due_before(script, START + DEMO_MS)
    assert {rules[fault.rule].device for fault in must} == {kind.name for kind in catalog}
    assert {"lighting_rate", "seepage", "route_deviation"} <= {rules[fault.rule].kind for fault in must}
    assert {fault.entity.partition(":")[0] for fault in must} == {"device", "road"}
    assert len(must) >= 30


def test_what_is_repaired_is_cleared(played: Played, script: list[Fault]) -> None:
    repaired = [f for f in script if f.due_ms < MAY_MS and f.off_ms < START + 160 * MINUTE_MS]
    cleared = {(t.rule, t.entity) for t in played.told if t.state == CLEARED}
    assert len(repaired) > 15
    assert {(f.rule, f.entity) for f in repaired} <= cleared


def test_bad_messages_are_set_apart_and_named(played: Played) -> None:
    assert played.rejects == {"unreadable": 1, "unknown_device": 1}
    counts = played.world.link.counts
    assert counts.repeated > 50
    assert counts.late > 10


def test_a_city_without_faults_is_silent(catalog: Catalog, rules: RuleSet) -> None:
    quiet = play(catalog, rules, [], Mishaps(), 8 * 60 * MINUTE_MS)  # dawn and switch-off are in it
    assert [(t.rule, t.entity, t.message["en"]) for t in quiet.told] == []
    assert quiet.rejects == {}


def test_faults_of_rules_that_are_not_there_are_left_out(catalog: Catalog, rules: RuleSet) -> None:
    few = RuleSet(tuple(rule for rule in rules if rule.id in ("lamp_out", "seepage")), rules.lighting)
    script = first_light(build_city(SEED), catalog, few, ZONE, START)
    assert {fault.rule for fault in script} == {"lamp_out", "seepage"}


@pytest.mark.parametrize("hour", [6, 12, 18, 21])
def test_a_run_that_starts_by_day_waits_for_the_dark_and_for_the_permits_hours(
    catalog: Catalog, rules: RuleSet, hour: int
) -> None:
    city, start = build_city(SEED), START - 50 * MINUTE_MS + hour * 60 * MINUTE_MS
    world = World(city, catalog, ZONE, SEED, start, schedule=rules.lighting)
    for fault in first_light(city, catalog, rules, ZONE, start):
        assert fault.on_ms >= start or fault.kind == "seepage"
        if fault.kind in ("lamp_out", "lamps_out", "cabinet_out") and fault.due_ms < MAY_MS:
            row = world.registry.rows_of("streetlight", "lamp")[0]
            assert world.sky.expected_on(row, fault.on_ms)
            assert world.sky.expected_on(row, fault.due_ms)
        if fault.kind in ("detour", "uncovered"):
            minute = int(world.sky.local_minute(fault.on_ms))
            assert minute >= 22 * 60 or minute < 5 * 60
