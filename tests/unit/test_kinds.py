"""Kinds are declared tables; whatever is wrong in one is named by file, line and key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from devices.batch import make_batch
from devices.kinds import Catalog, load_catalog, parse_kind
from devices.yamlfile import ConfigError, parse_yaml

GAUGE = """\
kind: water_gauge
en: Water-level gauge
zh: 水位计
roles: {gauge: 300}
fields:
  level_m: {unit: m, range: [-2, 30], en: Level, zh: 水位}
  battery_percent: {unit: "%", range: [0, 100], en: Battery, zh: 电量}
facts:
  warning_level_m: {unit: m, range: [-2, 30], en: Warning level, zh: 警戒水位}
"""


def test_the_four_shipped_kinds_load_in_order(catalog: Catalog) -> None:
    assert list(catalog.kinds) == ["streetlight", "manhole", "pump", "truck"]
    assert [kind.index for kind in catalog] == [0, 1, 2, 3]


def test_every_field_has_both_names_and_a_range(catalog: Catalog) -> None:
    for kind in catalog:
        for field in (*kind.fields, *kind.facts):
            assert all((field.en, field.zh, field.low < field.high)), f"{kind.name}.{field.name}"


def test_a_fifth_kind_is_one_more_file(tmp_path: Path) -> None:
    path = tmp_path / "water_gauge.yaml"
    path.write_text(GAUGE, encoding="utf-8")
    kind = load_catalog(path)["water_gauge"]
    assert kind.index == 4
    batch = make_batch(kind, 0, [1], [0], np.array([[31.0], [50.0]]))
    assert batch.suspect.tolist() == [[True], [False]]


@pytest.mark.parametrize(
    ("wrong", "right", "place"),
    [
        ("range: [-2, 30], en: Level", "range: [30, -2], en: Level", "t.yaml:6: fields.level_m.range: "),
        ("unit: m, range: [-2, 30], en: Level", "unt: m, range: [-2, 30], en: Level", "t.yaml:6: fields.level_m.unt: "),
        ("  level_m:", "  levelM:", "t.yaml:6: fields.levelM: "),
        ("zh: 水位计\n", "", "t.yaml:1: document: the key 'zh' is missing"),
        ("roles: {gauge: 300}", "roles: {gauge: often}", "t.yaml:4: roles.gauge: expected a number"),
        ("  battery_percent:", "  level_m:", "t.yaml:7: fields.level_m: the key stands twice"),
        ("zh: 水位}", "zh: 水位, roles: [pump]}", "t.yaml:6: fields.level_m.roles[0]: expected one of gauge"),
        ("  level_m: {", "  road: {", "t.yaml:6: fields.road: a field name is snake_case"),
    ],
)
def test_a_wrong_declaration_names_its_place(wrong: str, right: str, place: str) -> None:
    assert wrong in GAUGE
    with pytest.raises(ConfigError) as trouble:
        parse_kind(parse_yaml(GAUGE.replace(wrong, right), "t.yaml"))
    assert place in str(trouble.value)


def test_all_problems_of_a_file_are_told_at_once() -> None:
    text = GAUGE.replace("[-2, 30], en: Level", "[9, 1], en: Level").replace("[0, 100]", "[0]")
    with pytest.raises(ConfigError) as trouble:
        parse_kind(parse_yaml(text, "t.yaml"))
    assert len(trouble.value.problems) == 2


def test_words_that_yaml_once_took_for_booleans_stay_words() -> None:
    assert parse_yaml("on: off\nyes: no\n").plain() == {"on": "off", "yes": "no"}


def test_text_that_is_not_yaml_names_the_line() -> None:
    with pytest.raises(ConfigError, match=r"t\.yaml:[23]: not YAML"):
        parse_yaml("a: 1\nb: [1,\n", "t.yaml")
