"""What a crew is told: names and places of devices, roads, cabinets and grid cells, beginning and end."""

from __future__ import annotations

import json
import math

import pytest

from alerts.delivery import Receiver
from alerts.messages import compose, subject, transition
from alerts.rules import Rule, parse_rules
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED
from devices.yamlfile import parse_yaml
from storage.outbox import owed, transition_of

CATALOG = load_catalog()
T0 = 1_772_370_000_000  # 2026-03-01 21:00 in Shanghai
LAMP = {"kind": "streetlight", "role": "lamp", "district": "东城区", "road": "中山路", "cabinet": "box-1"}
REGISTRY = Registry(
    CATALOG,
    [
        Asset("lamp-1", name="中山路 1 号灯", lon=120.000, lat=30.0, **LAMP),
        Asset("lamp-2", name="2 号灯", lon=120.002, lat=30.0, street="和平街道", **LAMP),
        Asset("box-1", "streetlight", "cabinet", "一号箱", 120.001, 30.0, "东城区", road="中山路"),
        Asset("cover-1", "manhole", "cover", road="中山路", lon=121.0, lat=31.0),
        Asset("truck-1", "truck", "truck", "沪A·001"),
    ],
    centre=(120.0, 30.0),
)
SKY = Sky(REGISTRY, "Asia/Shanghai")


def rule(
    device: str = "streetlight", message: str = "{name} | {place} | {road} | {value} | {nonsense} | {since}"
) -> Rule:
    made = parse_rules(
        parse_yaml(
            f"rules: [{{id: gone, kind: offline, device: {device}, after: 3x, severity: minor, "
            'title: {en: Gone, zh: 失联}, message: {en: "x", zh: "x"}}]'
        ),
        CATALOG,
    ).rules[0]
    made.message.update(en=message, zh=message)
    return made


def test_a_device_is_told_with_its_place_from_small_to_large_and_the_other_way_round_in_chinese() -> None:
    told = compose(rule(), REGISTRY, "device:lamp-2", {"value": 3.0}, T0, SKY)
    assert told["en"] == "2 号灯 | 中山路, 和平街道, 东城区 | 中山路 | 3 | – | 2026-03-01 21:00"
    assert told["zh"] == "2 号灯 | 东城区 和平街道 中山路 | 中山路 | 3 | – | 2026-03-01 21:00"


def test_a_road_that_stands_in_the_name_is_not_said_again() -> None:
    assert compose(rule(), REGISTRY, "device:lamp-1", {}, T0, SKY)["en"].startswith("中山路 1 号灯 | 东城区 | ")


@pytest.mark.parametrize(
    ("entity", "name", "place"),
    [
        ("road:中山路", "中山路", "和平街道, 东城区"),
        ("cabinet:box-1", "一号箱", "中山路, 东城区"),
        ("grid:E000N000", "E000N000", "中山路, 东城区"),
    ],
)
def test_roads_cabinets_and_cells_are_told_by_their_members_of_the_kind(entity: str, name: str, place: str) -> None:
    about = subject(REGISTRY, entity, "streetlight")
    assert (about.name, about.place["en"], about.district) == (name, place, "东城区")
    assert about.lat == pytest.approx(30.0)
    assert 120.0 <= about.lon <= 120.002  # the cover on the same road, a hundred kilometres off, has no say


@pytest.mark.parametrize("entity", ["device:nobody", "road:nowhere", "planet:x", "device:"])
def test_what_nobody_knows_is_told_all_the_same(entity: str) -> None:
    told = transition(rule(), REGISTRY, SKY, entity, ACTIVE, T0, T0, {})
    assert "place unknown" in told.message["en"]
    assert math.isnan(told.lon)


def test_an_end_says_why_and_how_long_and_leaves_out_a_place_that_is_unknown() -> None:
    def ended(entity: str, kind: str, minutes: int, reason: str = "") -> dict[str, str]:
        when = T0 + minutes * 60_000
        return transition(rule(kind), REGISTRY, SKY, entity, CLEARED, when, T0, {}, reason).message

    assert ended("device:lamp-2", "streetlight", 25)["en"] == (
        "Cleared: Gone, 2 号灯, 中山路, 和平街道, 东城区; recovered, lasted 25 min"
    )
    assert ended("device:truck-1", "truck", 300)["zh"] == "【解除】失联：沪A·001；已恢复，历时5.0小时"
    assert ended("device:truck-1", "truck", 6000, "data_lost")["en"] == (
        "Cleared: Gone, 沪A·001; no more data, lasted 4.2 d"
    )
    assert ended("device:truck-1", "truck", 1, "rule_changed")["zh"].endswith("规则已变更，历时1分钟")


def test_a_better_position_takes_the_place_of_the_registrys() -> None:
    near = transition(rule(), REGISTRY, SKY, "device:lamp-1", ACTIVE, T0, T0, {}, "", (120.5, 30.5))
    unknown = transition(rule(), REGISTRY, SKY, "device:lamp-1", ACTIVE, T0, T0, {}, "", (math.nan, 30.5))
    assert (near.lon, near.lat) == (120.5, 30.5)
    assert (unknown.lon, unknown.lat) == (120.0, 30.0)


def test_what_notices_name_one_by_one_comes_whole_through_the_outbox() -> None:
    what = transition(rule(), REGISTRY, SKY, "device:lamp-2", ACTIVE, T0 + 60_000, T0, {"value": 3.0})
    assert what.words["zh"] == {
        "rule": "失联",
        "name": "2 号灯",
        "place": "东城区 和平街道 中山路",
        "since": "2026-03-01 21:00",
    }
    assert (what.words["en"]["rule"], what.words["en"]["place"]) == ("Gone", "中山路, 和平街道, 东城区")
    (row,) = owed(what, [Receiver("crew", "log")], T0)
    assert transition_of(json.loads(json.dumps(row["notice"]))) == what
    before = {name: value for name, value in row["notice"].items() if name != "words"}
    assert transition_of(before).words == {}, "a notice that an older version left"
