"""Alerts matched with faults: each case of the scoring rules by itself, and thousands against a plain twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from devices.kinds import Catalog
from devices.registry import Asset, Registry
from simulators.card.match import NOTHING, Match, Said, match
from simulators.card.tally import tally
from simulators.card.topology import Topology
from simulators.faults import KINDS, NEVER_MS, Fault
from simulators.injectors.form import Injector

MINUTE = 60_000
SAYS = {
    "lamp_out": ("lamp_out", "lighting_rate"),
    "cabinet_out": ("cabinet_dark", "lighting_rate", "lamp_out"),
    "mains_lost": ("mains_lost",),
}
GRACE = {"lamp_out": 10 * MINUTE, "cabinet_out": 5 * MINUTE}
LAMPS, CABINETS = 60, 4


@pytest.fixture
def shadow(monkeypatch: pytest.MonkeyPatch) -> str:
    """A kind of confounder of this test's own."""
    monkeypatch.setitem(KINDS, "shadow", Injector("shadow", "shadow", "A cloud passes.", confounder=True))
    return "shadow"


@pytest.fixture(scope="module")
def city(catalog: Catalog) -> Topology:
    lamps = [
        Asset(
            f"lamp-{n:03d}", "streetlight", "lamp", lon=121.4 + n * 0.002, lat=31.2, road=f"road {n % 3}",
            district="east" if n < 40 else "west", cabinet=f"box-{n % CABINETS}", circuit=str(1 + n // CABINETS % 2),
        )
        for n in range(LAMPS)
    ]  # fmt: skip
    boxes = [Asset(f"box-{n}", "streetlight", "cabinet", lon=121.4, lat=31.2) for n in range(CABINETS)]
    station = Asset("station-1", "pump", "station", lon=121.4, lat=31.2, district="east")
    pump = Asset("pump-1", "pump", "pump", cabinet="station-1", lon=121.4, lat=31.2)
    return Topology(Registry(catalog, [*lamps, *boxes, station, pump]))


def fault(number: int, kind: str, entity: str, on: int, off: int, targets: tuple[str, ...] = ()) -> Fault:
    rule = "" if KINDS[kind].confounder else SAYS[kind][0]
    return Fault(f"f{number}", kind, rule, entity, on * MINUTE, off * MINUTE, off * MINUTE, 1.0, targets, on * MINUTE)


def said(rule: str, entity: str, told: int, *, suppressed: bool = False) -> Said:
    return Said(rule, entity, "minor", told * MINUTE, told * MINUTE, NEVER_MS, suppressed)


def test_an_alert_below_or_above_its_fault_counts_and_one_beside_it_does_not(city: Topology) -> None:
    box = fault(1, "cabinet_out", "device:box-1", 10, 60, ("box-1",))
    alerts = [
        said("cabinet_dark", "device:box-1", 12),
        said("lamp_out", "device:lamp-001", 30),  # fed by the cabinet
        said("lighting_rate", "road:road 1", 30),  # some of its lamps are
        said("lighting_rate", "district:east", 30),
        said("cabinet_dark", "circuit:box-1/2", 30),
        said("lamp_out", "device:lamp-002", 30),  # fed by another
        said("cabinet_dark", "device:box-2", 30),
        said("mains_lost", "device:station-1", 30),
    ]
    found = match(alerts, [box], city, SAYS, GRACE)
    assert found.true.tolist() == [True] * 5 + [False] * 3
    assert found.alerts.tolist() == [5]
    assert found.first_ms.tolist() == [12 * MINUTE]


def test_a_fault_on_a_road_touches_the_lamps_that_it_names_and_no_others(city: Topology) -> None:
    some = replace(fault(1, "lamp_out", "road:road 0", 10, 60, ("lamp-000", "lamp-003")), rule="lighting_rate")
    alerts = [
        said("lamp_out", "device:lamp-003", 30),
        said("lamp_out", "device:lamp-006", 30),  # on the same road, and whole
        said("lighting_rate", "road:road 0", 30),
    ]
    assert match(alerts, [some], city, SAYS, GRACE).true.tolist() == [True, False, True]


def test_an_alert_must_be_told_while_its_fault_holds_or_within_the_grace_after(city: Topology) -> None:
    dark = fault(1, "lamp_out", "device:lamp-001", 10, 60)
    alerts = [said("lamp_out", "device:lamp-001", told) for told in (9, 10, 60, 70, 71)]
    assert match(alerts, [dark], city, SAYS, GRACE).true.tolist() == [False, True, True, True, False]


def test_one_alert_may_explain_several_faults_and_repeats_are_fragments(city: Topology) -> None:
    road = [fault(n, "lamp_out", f"device:lamp-{3 * n:03d}", 10, 60) for n in range(3)]
    one = match([said("lighting_rate", "road:road 0", 20)], road, city, SAYS, GRACE)
    assert one.found.all()
    assert one.alerts.sum() == 1
    thrice = match([said("lamp_out", "device:lamp-000", told) for told in (20, 30, 40)], road, city, SAYS, GRACE)
    assert thrice.found.tolist() == [True, False, False]
    assert thrice.alerts.tolist() == thrice.told.tolist() == [3, 0, 0]
    gathered = [said("lamp_out", "device:lamp-000", told)._replace(incident="one") for told in (20, 30)]
    gathered += [said("lamp_out", "device:lamp-000", 50)._replace(incident="two")]
    found = match(gathered, road, city, SAYS, GRACE)
    assert (found.alerts.tolist(), found.told.tolist()) == ([3, 0, 0], [2, 0, 0])


def test_a_part_of_a_fault_is_found_with_the_whole(city: Topology) -> None:
    box = fault(1, "cabinet_out", "device:box-1", 10, 60)
    lamp = replace(fault(2, "lamp_out", "device:lamp-005", 10, 60), parent="f1")
    alone = replace(lamp, id="f3", parent="")
    found = match([said("cabinet_dark", "device:box-1", 12)], [box, lamp, alone], city, SAYS, GRACE)
    assert found.found.tolist() == [True, True, False]


def test_an_explained_alert_counts_neither_way_but_shows_the_cascade(city: Topology) -> None:
    box = fault(1, "cabinet_out", "device:box-1", 10, 60)
    alerts = [said("lamp_out", "device:lamp-001", 20, suppressed=True), said("lamp_out", "device:lamp-002", 20)]
    found = match(alerts, [box], city, SAYS, GRACE)
    assert found.found.tolist() == [False]
    assert found.cascade.tolist() == [1]
    counted = tally("lighting", alerts, [box], found, {"": 30.0, "lamp_out": 20.0}, 100 * MINUTE)
    lamp = counted.rules["lamp_out"]
    assert (lamp.true, lamp.false, lamp.suppressed, lamp.device_days) == (0, 1, 1, 20.0)
    assert (counted.kinds["cabinet_out"].due, counted.kinds["cabinet_out"].found) == (1, 0)


def test_what_a_confounder_explains_is_a_false_alarm_under_its_name(city: Topology, shadow: str) -> None:
    cloud = fault(1, shadow, "device:lamp-001", 10, 60)
    dark = fault(2, "lamp_out", "device:lamp-005", 10, 60)
    alerts = [
        said("lamp_out", "device:lamp-001", 20),
        said("lamp_out", "device:lamp-007", 20),
        said("mains_lost", "device:lamp-005", 20),
        said("lamp_out", "device:lamp-005", 20),
    ]
    found = match(alerts, [cloud, dark], city, SAYS, GRACE)
    assert found.true.tolist() == [False, False, False, True]
    counted = tally("lighting", alerts, [cloud, dark], found, {"": 1.0}, 100 * MINUTE)
    assert dict(counted.rules["lamp_out"].beside) == {"confounder shadow": 1, "nothing": 1}
    assert dict(counted.rules["mains_lost"].beside) == {"fault lamp_out": 1}
    assert list(counted.kinds) == ["lamp_out"]


def test_delays_count_from_what_could_be_seen_and_unseen_faults_from_nothing(city: Topology) -> None:
    dark = replace(fault(1, "lamp_out", "device:lamp-001", 10, 60), seen_ms=14 * MINUTE)
    never = replace(fault(2, "lamp_out", "device:lamp-002", 10, 60), seen_ms=0)
    late = replace(fault(3, "lamp_out", "device:lamp-003", 90, 120), due_ms=115 * MINUTE)
    alerts = [said("lamp_out", "device:lamp-001", 35)]
    found = match(alerts, [dark, never, late], city, SAYS, GRACE)
    kind = tally("lighting", alerts, [dark, never, late], found, {"": 1.0}, 100 * MINUTE).kinds["lamp_out"]
    assert (kind.faults, kind.due, kind.found, kind.unseen, kind.early) == (3, 1, 1, 1, 1)
    assert kind.delay_ms == [21 * MINUTE]
    assert kind.since_on_ms == [25 * MINUTE]
    assert kind.overlap == [pytest.approx((60 - 35) / (100 - 14))]  # the alert never ended


def plainly(alerts: list[Said], faults: list[Fault], city: Topology) -> tuple[list[bool], list[bool], list[int]]:
    """Match by plain loops: whether each alert is true, whether each fault is found, and what each false one met."""
    touched = [set(city.touched(f.entity, f.targets).tolist()) for f in faults]
    true, found, beside = [], [False] * len(faults), []
    for one in alerts:
        about = set(city.rows(one.entity).tolist())
        met = [
            n
            for n, f in enumerate(faults)
            if about & touched[n] and f.on_ms <= one.told_ms <= f.off_ms + GRACE.get(f.kind, 0)
        ]
        explains = [n for n in met if not faults[n].confounder and one.rule in SAYS[faults[n].kind]]
        true.append(bool(explains))
        for n in explains:
            found[n] = found[n] or not one.suppressed
        clouds = [n for n in met if faults[n].confounder]
        other = max(clouds or met, key=lambda n: faults[n].on_ms, default=NOTHING)
        beside.append(NOTHING if explains else other)
    return true, found, beside


def test_thousands_of_alerts_are_matched_as_plain_loops_would(city: Topology, shadow: str) -> None:
    rng = np.random.default_rng(6)
    places = [f"device:lamp-{n:03d}" for n in range(LAMPS)] + [f"device:box-{n}" for n in range(CABINETS)]
    wide = [f"road:road {n}" for n in range(3)] + ["district:east", "city:*", "circuit:box-2/1", "cabinet:box-3"]
    faults = []
    for number in range(300):
        kind = ("lamp_out", "cabinet_out", shadow)[int(rng.integers(3))]
        entity = f"device:box-{rng.integers(CABINETS)}" if kind == "cabinet_out" else places[int(rng.integers(LAMPS))]
        on = int(rng.integers(0, 3000))
        faults.append(fault(number, kind, entity, on, on + int(rng.integers(5, 90))))
    rules = ("lamp_out", "lighting_rate", "cabinet_dark", "mains_lost")
    everywhere = [*places, *wide, "device:nobody"]
    alerts = [
        said(
            rules[int(rng.integers(4))], everywhere[int(rng.integers(len(everywhere)))], int(rng.integers(0, 3200)),
            suppressed=bool(rng.random() < 0.2),
        )
        for _ in range(2000)
    ]  # fmt: skip
    found: Match = match(alerts, faults, city, SAYS, GRACE)
    true, seen, beside = plainly(alerts, faults, city)
    assert found.true.tolist() == true
    assert found.found.tolist() == seen
    starts = [faults[n].on_ms if n != NOTHING else -1 for n in beside]
    assert [faults[n].on_ms if n != NOTHING else -1 for n in found.beside.tolist()] == starts
    assert 0.1 < np.mean(true) < 0.9
    assert found.alerts.sum() + found.cascade.sum() == sum(true)


def test_nothing_said_and_nothing_wrong_is_no_trouble(city: Topology) -> None:
    assert not len(match([], [], city, SAYS, GRACE).true)
    assert not match([], [fault(1, "lamp_out", "device:lamp-001", 1, 2)], city, SAYS, GRACE).found.any()
    assert not match([said("lamp_out", "device:lamp-001", 1)], [], city, SAYS, GRACE).true.any()
