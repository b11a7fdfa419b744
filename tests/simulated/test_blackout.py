"""Storms: a thousand lamps dark in one second, a broker cut, a cabinet, a gateway. Few notices, the cause named.

The city is simulated, the rules and the matrix are the shipped ones, engine and incidents the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from alerts.engine import Engine
from alerts.incidents import Incidents
from alerts.inhibition import load_inhibition
from alerts.rules import load_rules
from devices.incident import IncidentChange
from devices.kinds import load_catalog
from devices.transition import ACTIVE, CLEARED, Transition
from simulators.city import City, build_city
from simulators.faults import Fault
from simulators.world import World

CONFIG = Path(__file__).parents[2] / "config"
CATALOG = load_catalog()
RULES = load_rules(CONFIG / "rules.yaml", CATALOG)
INHIBITION = load_inhibition(CONFIG / "inhibition.yaml", CATALOG)
MINUTE = 60_000
NIGHT_MS = 1_781_532_000_000  # 2026-06-15 22:00 in Shanghai
ON_MS = NIGHT_MS + 40 * MINUTE


@dataclass
class Told:
    """What engine and incidents have said."""

    begun: list[Transition] = field(default_factory=list)
    open: dict[str, Transition] = field(default_factory=dict)
    notices: list[tuple[int, Transition]] = field(default_factory=list)
    incidents: dict[str, IncidentChange] = field(default_factory=dict)
    parent: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        return [f"{(at - ON_MS) / MINUTE:6.1f} {one.state} {one.message['en']}" for at, one in self.notices]


def play(city: City, faults: Sequence[Fault], minutes: int, *, tick_s: int = 30, restart: bool = False) -> Told:
    world = World(city, CATALOG, "Asia/Shanghai", 7, NIGHT_MS, faults)
    sky = world.sky
    engine = Engine(RULES, world.registry, sky)
    stage = Incidents(RULES, world.registry, INHIBITION, sky=sky)
    out = Told()
    for step, (now, batches) in enumerate(world.steps(NIGHT_MS + minutes * MINUTE, tick_s * 1000)):
        decided = stage.step(engine.step(batches, now), engine.fleet, now)
        for one in decided.transitions:
            out.parent[one.alert_id] = one.suppressed_by
            if one.state == ACTIVE:
                out.begun.append(one)
                out.open[one.alert_id] = one
            else:
                out.open.pop(one.alert_id, None)
        out.parent |= {mark.alert_id: mark.suppressed_by for mark in decided.marks}
        for change in decided.incidents:
            out.incidents[change.id] = change
            if change.notice is not None:
                out.notices.append((now, change.notice))
        if restart and step % 40 == 39:
            saved = {**engine.save(), **stage.save()}
            engine, stage = (
                Engine(RULES, world.registry, sky),
                Incidents(RULES, world.registry, INHIBITION, sky=sky),
            )
            engine.load(saved)
            stage.load(saved)
    return out


def fault(kind: str, targets: Sequence[str], minutes: float, rule: str = "x") -> Fault:
    until = ON_MS + round(minutes * MINUTE)
    return Fault(f"{kind}-{targets[0]}", kind, rule, f"device:{targets[0]}", ON_MS, until, until, 1.0, tuple(targets))


def district(lamps: int, beside: int) -> tuple[City, str, Callable[[str], list[str]]]:
    """Return a city of one whole district and some lamps of others, the district, and its devices by role."""
    city = build_city(1, lamps=4 * lamps + 800, covers=0, stations=0, trucks=0)
    of_box = {one.id: one.district for one in city.assets if one.role == "cabinet"}
    whole = [replace(one, district=of_box[one.cabinet or one.id]) for one in city.assets]  # no cabinet feeds two
    name = whole[0].district
    inside = [one for one in whole if one.district == name]
    others = [one for one in whole if one.district != name]
    some = set(sorted({one.cabinet for one in others if one.role == "lamp"})[: beside // 30])
    beside_it = [one for one in others if (one.cabinet or one.id) in some]
    kept = {one.cabinet for one in inside if one.role == "lamp"}
    count, boxes = 0, set[str]()
    for cabinet in sorted(kept):
        if count < lamps:
            boxes.add(cabinet)
            count += sum(one.cabinet == cabinet for one in inside)
    inside = [one for one in inside if (one.cabinet or one.id) in boxes]

    def of(role: str) -> list[str]:
        return [one.id for one in inside if one.role == role]

    return replace(city, assets=(*inside, *beside_it)), name, of


@pytest.mark.parametrize("silent", [False, True], ids=["all report", "a third silent"])
def test_a_thousand_lamps_dark_in_one_second_are_three_notices_at_most(silent: bool) -> None:  # noqa: FBT001
    city, name, of = district(1000, 400)
    lamps, boxes = of("lamp"), of("cabinet")
    assert len(lamps) >= 1000
    faults = [fault("breaker_trip", boxes, 40)]
    if silent:
        faults.append(fault("silent", lamps[::3], 40))
    told = play(city, faults, 150, tick_s=15)
    lines = "\n".join(told.lines())
    assert 2 <= len(told.notices) <= 3, lines
    first, last = told.notices[0][1], told.notices[-1][1]
    assert (first.rule, first.entity, first.severity) == ("common_cause", f"district:{name}", "critical")
    assert "supply lost" in first.message["en"]
    assert "供电中断" in first.message["zh"]
    assert told.notices[0][0] - ON_MS <= 3 * MINUTE
    assert first.values["devices"] >= 1000
    assert last.state == CLEARED
    assert 0 < told.notices[-1][0] - ON_MS - 40 * MINUTE <= 6 * MINUTE
    assert len(told.begun) > 100, "the alerts are kept"
    assert all(told.parent[one.alert_id] == first.alert_id for one in told.begun if one.alert_id != first.alert_id)
    assert not told.open, sorted((one.rule, one.entity) for one in told.open.values())
    assert all(not one.is_open for one in told.incidents.values())


def small() -> City:
    """Return a city with every kind, whose lamps speak through a gateway at their cabinet; two cabinets are large."""
    city = build_city(3, lamps=800, covers=40, stations=2, trucks=2)
    boxes = [one.id for one in city.assets if one.role == "cabinet"]
    number = {name: n for n, name in enumerate(boxes, 1)}
    into = {boxes[1]: boxes[0], boxes[3]: boxes[2]}
    assets = []
    for one in city.assets:
        if one.role == "lamp":
            cabinet = into.get(one.cabinet, one.cabinet)
            circuit = one.circuit if cabinet == one.cabinet else f"{one.circuit}b"
            facts = {**one.facts, "gateway": float(number[cabinet])}
            assets.append(replace(one, cabinet=cabinet, circuit=circuit, facts=facts))
        elif one.id not in into:
            assets.append(one)
    return replace(city, assets=tuple(assets))


def test_a_broker_cut_of_five_minutes_is_one_alert_and_one_incident() -> None:
    city = small()
    told = play(city, [fault("broker_cut", [one.id for one in city.assets], 5)], 130)
    lines = "\n".join(told.lines())
    assert [(one.rule, one.entity, one.state) for _, one in told.notices] == [
        ("source_silent", "city:*", ACTIVE),
        ("source_silent", "city:*", CLEARED),
    ], lines
    assert [one.rule for one in told.begun if not told.parent[one.alert_id]] == ["source_silent"]
    assert not told.open


def test_a_cabinet_that_trips_with_its_lamps_is_one_incident_and_a_dead_gateway_one_more() -> None:
    city = small()
    size: dict[str, list[str]] = {}
    for one in city.assets:
        if one.role == "lamp":
            size.setdefault(one.cabinet, []).append(one.id)
    tripped, other = sorted(size, key=lambda name: len(size[name]))[-2:]
    assert len(size[tripped]) >= 40
    assert len(size[other]) >= 40
    faults = [fault("breaker_trip", [tripped], 80), fault("gateway_dead", size[other], 80)]
    told = play(city, faults, 185, restart=True)
    lines = "\n".join(told.lines())
    begun = [one for _, one in told.notices if one.state == ACTIVE]
    assert len(begun) == len(told.notices) - len(begun) == 2, lines
    trip = next(one for one in begun if one.entity == f"device:{tripped}")
    gateway = next(one for one in begun if one is not trip)
    assert trip.rule in ("breaker_tripped", "cabinet_dark")
    assert (gateway.rule, gateway.entity.partition(":")[0]) == ("source_silent", "gateway")
    lamps = [one for one in told.begun if one.rule == "lamp_offline"]
    behind = {told.incidents[trip.alert_id].id, told.incidents[gateway.alert_id].id}
    assert len(lamps) >= 10, "kept, though nobody is told"
    assert {told.parent[one.alert_id] for one in lamps} <= behind
    assert not told.open


def test_a_restart_in_the_middle_of_a_storm_changes_nothing() -> None:
    city, _, of = district(300, 60)
    faults = [fault("breaker_trip", of("cabinet"), 30), fault("silent", of("lamp")[::3], 45)]
    plain, other = play(city, faults, 110), play(city, faults, 110, restart=True)
    assert other.lines() == plain.lines()
    assert other.parent == plain.parent
    assert len(plain.notices) >= 2
