"""The boards are whole: nothing overlaps, nothing has a form that Grafana would not read, every query is portable."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.rules import RuleSet, load_rules, parse_rules
from dashboards.build import build_all, house_board, kind_board
from dashboards.influxql import lint
from dashboards.native import DATASOURCE, PANEL_TYPES
from dashboards.words import LANGUAGES, WORDS, Words
from devices.kinds import Catalog, parse_kind
from devices.yamlfile import parse_yaml

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]

DEAD_KEYS = {"span", "minSpan", "editable", "error", "height", "cacheTimeout", "yaxis", "op", "fieldOptions", "styles"}
OPTIONS = {  # the options that each panel kind must have to show what it is for
    "stat": {"reduceOptions", "colorMode", "graphMode", "textMode"},
    "gauge": {"reduceOptions", "showThresholdMarkers"},
    "table": {"showHeader", "sortBy"},
    "timeseries": {"legend", "tooltip"},
    "state-timeline": {"mergeValues", "legend", "tooltip"},
    "alertlist": {"viewMode", "stateFilter"},
    "geomap": {"view", "basemap", "layers", "controls"},
    "row": set(),
}


@pytest.fixture(scope="module", params=LANGUAGES)
def boards(request: pytest.FixtureRequest, catalog: Catalog) -> dict[str, Json]:
    words = Words(request.param)
    return {**{kind.name: kind_board(kind, words) for kind in catalog}, "house": house_board(words)}


def panels_of(board: Json) -> Iterator[Json]:
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


def everything_in(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from everything_in(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from everything_in(inner, f"{path}[{place}]")


def test_panel_ids_and_board_uids_are_unique(boards: dict[str, Json]) -> None:
    for board in boards.values():
        ids = [panel["id"] for panel in panels_of(board)]
        assert len(ids) == len(set(ids))
    uids = [board["uid"] for board in boards.values()]
    assert len(uids) == len(set(uids))
    assert all(len(uid) <= 40 for uid in uids), "Grafana refuses a longer uid"


def test_panels_lie_inside_the_grid_and_do_not_overlap(boards: dict[str, Json]) -> None:
    for board in boards.values():
        apart(board["panels"])
        for row in board["panels"]:
            if row.get("panels"):
                assert row["collapsed"] is True
                assert min(panel["gridPos"]["y"] for panel in row["panels"]) == row["gridPos"]["y"] + 1
                apart(row["panels"])


def apart(panels: list[Json]) -> None:
    """Assert that no two panels share a cell of the grid."""
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= 24
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]


def test_what_costs_by_the_size_of_the_fleet_lies_in_folded_rows(boards: dict[str, Json], catalog: Catalog) -> None:
    def of_the_fleet(kind: str, panels: Iterable[Json]) -> list[Json]:
        queries = [(panel, target["query"]) for panel in panels for target in panel.get("targets", [])]
        return [panel["title"] for panel, text in queries if f'FROM "{kind}"' in text and "${device}" not in text]

    for kind in catalog:
        assert of_the_fleet(kind.name, boards[kind.name]["panels"]) == []
        assert of_the_fleet(kind.name, panels_of(boards[kind.name])), "they are there, in folded rows"


def test_no_key_is_dead_and_no_text_says_null(boards: dict[str, Json]) -> None:
    for name, board in boards.items():
        assert board["schemaVersion"] >= 39
        for panel in panels_of(board):
            assert not DEAD_KEYS & set(panel), f"{name}: {panel['title']}"
        for path, value in everything_in(board):
            assert value != "null", f"{name}{path}"
            if value is None:
                assert path.endswith(".steps[0].value"), f"{name}{path}: only a base threshold is null"


def test_every_panel_is_of_a_kind_that_grafana_has_with_its_own_options(boards: dict[str, Json]) -> None:
    for board in boards.values():
        for panel in panels_of(board):
            assert panel["type"] in PANEL_TYPES
            assert OPTIONS[panel["type"]] <= set(panel.get("options", {})), panel["title"]
            assert panel["title"]
            if panel["type"] not in ("row", "alertlist"):
                assert panel["maxDataPoints"] >= 200, "grafanalib's 100 blurs six hours to steps of 216 s"


def test_thresholds_begin_with_an_open_base_and_rise(boards: dict[str, Json]) -> None:
    for board in boards.values():
        for path, value in everything_in(board):
            if path.endswith(".steps"):
                assert isinstance(value, list)
                if value:
                    assert all(set(step) == {"value", "color"} for step in value), path
                    assert value[0]["value"] is None, path
                    bounds = [step["value"] for step in value[1:]]
                    assert bounds == sorted(bounds), path


def test_every_query_goes_to_the_provisioned_source_and_passes_the_lint(boards: dict[str, Json]) -> None:
    seen = 0
    for name, board in boards.items():
        for panel in panels_of(board):
            refs = [target["refId"] for target in panel.get("targets", [])]
            assert len(refs) == len(set(refs))
            assert bool(refs) == (panel["type"] not in ("row", "alertlist")), panel["title"]
            for target in panel.get("targets", []):
                assert target["datasource"] == DATASOURCE
                assert target["rawQuery"] is True
                assert not lint(target["query"]), f"{name}: {panel['title']}: {target['query']}"
                seen += 1
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                assert variable["datasource"] == DATASOURCE
                assert not lint(variable["query"]), f"{name}: {variable['name']}"
            if variable["includeAll"]:
                assert variable["allValue"] == ".*", "else All spells out every value in every query"
    assert seen > 60


def test_no_fleet_wide_query_splits_by_device(boards: dict[str, Json]) -> None:
    for board in boards.values():
        for panel in panels_of(board):
            for target in panel.get("targets", []):
                _, _, groups = target["query"].rpartition("GROUP BY")
                assert '"device"' not in groups, panel["title"]


def test_every_field_of_every_kind_is_on_its_board(boards: dict[str, Json], catalog: Catalog) -> None:
    for kind in catalog:
        queries = " ".join(t["query"] for panel in panels_of(boards[kind.name]) for t in panel.get("targets", []))
        for declared in kind.fields:
            drawn = not declared.sequence  # a counter that only counts is nothing to look at
            assert (f'("{declared.name}")' in queries) is drawn, f"{kind.name}.{declared.name}"


def test_map_tiles_are_never_fetched_from_the_internet_unasked(catalog: Catalog) -> None:
    board = kind_board(catalog["manhole"], Words("en"))
    maps = [panel for panel in panels_of(board) if panel["type"] == "geomap"]
    assert maps
    for panel in maps:
        assert panel["options"]["basemap"]["config"]["url"].startswith("data:image/png;base64,")
    tiled = kind_board(catalog["manhole"], Words("en"), tiles="http://tiles.city/{z}/{x}/{y}.png")
    assert "http://tiles.city/{z}/{x}/{y}.png" in json.dumps(tiled)


GAUGE = """
kind: water_level
en: Water-level gauge
zh: 水位计
roles: {gauge: 300}
fields:
  level_m: {unit: m, range: [-5, 40], en: Level, zh: 水位}
  frozen: {type: bool, en: Frozen, zh: 结冰}
"""


def test_a_fifth_kind_has_a_board_without_a_line_of_code() -> None:
    kind = parse_kind(parse_yaml(GAUGE))
    board = kind_board(kind, Words("zh"))
    assert board["uid"] == "lamplighter-water-level"
    assert "水位计" in board["title"]
    queries = " ".join(t["query"] for panel in panels_of(board) for t in panel.get("targets", []))
    assert '"level_m"' in queries
    assert '"frozen"' in queries


LIMITS = """
rules:
  - {id: tilted, device: manhole, on: tilt_deg > 30 or cover_open, severity: critical, MESSAGE}
  - {id: leaning, device: manhole, on: 10 < tilt_deg <= 30, severity: minor, MESSAGE}
  - {id: flat, device: manhole, on: battery_percent < 20, severity: minor, MESSAGE}
  - {id: air, device: manhole, on: o2_percent < 19.5 or o2_percent > 23.5, severity: major, MESSAGE}
  - {id: full, device: manhole, on: water_level_m > depth_m - 0.5, severity: major, MESSAGE}
  - {id: both, device: manhole, on: vibration_g > 2 and tilt_deg > 1, severity: major, MESSAGE}
  - {id: pole, device: streetlight, role: lamp, on: leakage_ma >= 30, severity: critical, MESSAGE}
  - {id: feeder, device: streetlight, role: cabinet, on: leakage_ma >= 300, severity: major, MESSAGE}
""".replace("MESSAGE", "title: {en: a, zh: a}, message: {en: a, zh: a}, source: test")


def drawn(board: Json, heading: str = "") -> dict[str, list[tuple[float | None, str]]]:
    """Return the limits drawn on curves, by title, of all rows or of the one whose heading holds ``heading``."""
    found, here = {}, not heading
    for panel in panels_of(board):
        if panel["type"] == "row":
            here = heading in panel["title"]
        if here and panel["type"] == "timeseries":
            defaults = panel["fieldConfig"]["defaults"]
            if defaults["custom"]["thresholdsStyle"]["mode"] == "dashed":
                found[panel["title"]] = [(step.get("value"), step["color"]) for step in defaults["thresholds"]["steps"]]
    return found


@pytest.fixture(scope="module")
def rules(catalog: Catalog) -> RuleSet:
    return parse_rules(parse_yaml(LIMITS), catalog)


def test_what_raises_an_alert_by_itself_is_drawn_on_its_field(catalog: Catalog, rules: RuleSet) -> None:
    assert drawn(kind_board(catalog["manhole"], Words("en"), rules)) == {
        "Tilt against the installed position": [(None, "green"), (10.0, "yellow"), (30.0, "red")],
        "Battery": [(None, "yellow"), (20.0, "green")],
        "Oxygen": [(None, "orange"), (19.5, "green"), (23.5, "orange")],
    }


def test_a_role_sees_the_limits_of_its_own_rules(catalog: Catalog, rules: RuleSet) -> None:
    board = kind_board(catalog["streetlight"], Words("en"), rules)
    assert drawn(board, "lamp") == {"Residual current": [(None, "green"), (30.0, "red")]}
    assert drawn(board, "cabinet") == {"Residual current": [(None, "green"), (300.0, "orange")]}
    assert drawn(board, "One device") == {}, "whether the device is a lamp or a cabinet is not known beforehand"


def test_a_limited_field_shows_the_extreme_that_a_mean_would_hide(catalog: Catalog, rules: RuleSet) -> None:
    board = kind_board(catalog["manhole"], Words("en"), rules)
    fleet = [t["query"] for p in panels_of(board) for t in p.get("targets", []) if '"district" fill' in t["query"]]
    assert any('max("tilt_deg")' in query and 'min("tilt_deg")' not in query for query in fleet)
    assert any('min("battery_percent")' in query and "max(" not in query for query in fleet)
    assert any('max("o2_percent")' in query and 'min("o2_percent")' in query for query in fleet)


def test_the_shipped_rules_draw_their_limits(catalog: Catalog) -> None:
    shipped = load_rules(ROOT / "config" / "rules.yaml", catalog)
    found = {kind.name: drawn(kind_board(kind, Words("en"), shipped)) for kind in catalog}
    assert "Hydrogen sulphide" in found["manhole"]
    assert "Speed" in found["truck"]


def test_build_writes_boards_and_provisioning_that_read_back(catalog: Catalog, tmp_path: Path) -> None:
    written = build_all(catalog, tmp_path, "en")
    assert {path.name for path in tmp_path.glob("boards/*.json")} == {
        *(f"{kind.name}.json" for kind in catalog),
        "house.json",
    }
    for path in written:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        assert data
    source = yaml.safe_load((tmp_path / "provisioning/datasources/lamplighter.yaml").read_text())["datasources"][0]
    assert (source["uid"], source["type"]) == (DATASOURCE["uid"], DATASOURCE["type"])
    assert "version" not in source["jsonData"], "without a version Grafana speaks InfluxQL"
    assert "database" not in source, "deprecated in favour of jsonData.dbName"


def test_building_twice_gives_the_same_bytes(catalog: Catalog, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in build_all(catalog, tmp_path / "a", "zh")}
    second = {path.name: path.read_bytes() for path in build_all(catalog, tmp_path / "b", "zh")}
    assert first == second


def test_grafanas_alarms_are_flat_rules_with_conditions_that_exist(catalog: Catalog, tmp_path: Path) -> None:
    build_all(catalog, tmp_path, "zh")
    groups = yaml.safe_load((tmp_path / "provisioning/alerting/lamplighter.yaml").read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["uid"] for rule in rules} == {"lamplighter-silent", "lamplighter-unbalanced", "lamplighter-late"}
    for rule in rules:
        assert {"title", "condition", "data", "noDataState", "execErrState", "for"} <= set(rule)
        assert rule["condition"] in [step["refId"] for step in rule["data"]]
        first, *rest = rule["data"]
        assert first["datasourceUid"] == DATASOURCE["uid"]
        assert not lint(first["model"]["query"])
        assert all(step["datasourceUid"] == "__expr__" for step in rest)
    assert next(r for r in rules if r["uid"] == "lamplighter-silent")["noDataState"] == "Alerting"


def test_every_word_stands_in_both_languages_and_is_used(catalog: Catalog) -> None:
    for key, pair in WORDS.items():
        assert len(pair) == len(LANGUAGES), key
        assert all(pair), key
    with pytest.raises(ValueError, match="en, zh"):
        Words("fr")
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "dashboards").glob("*.py"))
    for key in WORDS:
        uses = re.findall(rf"""["']{key}["']""", sources.replace(f'    "{key}": (', ""))
        assert uses, f"nobody uses the word '{key}'"
