"""The shipped scenarios play as they say, and what is wrong in a scenario file is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from alerts.incidents import Incidents
from alerts.inhibition import load_inhibition
from alerts.rules import RuleSet, load_rules
from devices.kinds import Catalog
from devices.registry import Registry
from devices.sky import Sky
from devices.yamlfile import ConfigError
from lamplighter.scenario_command import app
from simulators.scenario import load_scenario
from simulators.scenario_play import city_of, play, world_of

CONFIG = Path(__file__).parents[2] / "config"
FILES = sorted((CONFIG / "scenarios").glob("*.yaml"))
ZONE = "Asia/Shanghai"
QUIET = """
title: {en: Quiet, zh: 平静}
city: {seed: 3, lamps: 0, covers: 30, stations: 0, trucks: 0}
start: "2026-06-16T01:00"
lasts: 2h
"""


@pytest.fixture(scope="module")
def rules(catalog: Catalog) -> RuleSet:
    return load_rules(CONFIG / "rules.yaml", catalog)


def staged(rules: RuleSet, registry: Registry, sky: Sky) -> Incidents:
    return Incidents(rules, registry, load_inhibition(CONFIG / "inhibition.yaml", registry.catalog), sky=sky)


def written(folder: Path, text: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_scenario_tells_what_it_expects_and_nothing_else(
    path: Path, catalog: Catalog, rules: RuleSet
) -> None:
    done = play(load_scenario(path, [rule.id for rule in rules]), catalog, rules, ZONE, staged)
    assert [f"{one.place} {one.text}" for one in done.differences] == []
    assert done.told


def test_the_scenarios_that_testers_asked_for_are_shipped() -> None:
    assert {path.stem for path in FILES} >= {
        "storm", "cable_theft", "cabinet_trip", "cover_stolen", "pump_clogs_in_the_rain", "dry_weather_seepage",
        "truck_dumps_at_night", "gateway_reboot",
    }  # fmt: skip


def test_what_is_told_and_not_expected_is_a_difference_and_so_is_what_is_not_told(
    tmp_path: Path, catalog: Catalog, rules: RuleSet
) -> None:
    text = (
        QUIET
        + """
faults:
  - {kind: cover_open, of: cover-007, at: 10m, lasts: 30m, magnitude: 60}
  - {kind: gas_rise, of: cover 9, at: 20m, magnitude: 30}
expect:
  - {rule: cover_open, entity: cover-008, by: 1h}
  - {rule: gas_h2s, entity: cover-009, by: 21m}
"""
    )
    done = play(load_scenario(written(tmp_path, text)), catalog, rules, ZONE, staged)
    found = [one.text for one in done.differences]
    assert found[0] == "cover_open of device:cover-008 was not told from 0m to 1h00m"
    assert found[1].startswith("gas_h2s of device:cover-009 was not told from 0m to 21m; it was at 2")
    assert "cover_open of device:cover-007 was told at 10m04s" in found[2]
    assert [one.place for one in done.differences[:2]] == [f"{tmp_path}/own.yaml:11", f"{tmp_path}/own.yaml:12"]


def test_alerts_that_must_end_and_their_number_are_compared(tmp_path: Path, catalog: Catalog, rules: RuleSet) -> None:
    text = (
        QUIET
        + """
faults: [{kind: cover_open, of: 2 covers, at: 10m, magnitude: 60}]
expect: [{rule: "cover_*", entity: "*", by: 20m, times: 3, ends: 1h}]
"""
    )
    found = [one.text for one in play(load_scenario(written(tmp_path, text)), catalog, rules, ZONE, staged).differences]
    assert found[0] == "cover_* of device:* was told 2 times, expected 3" or "told 2 times, expected 3" in found[0]
    assert len(found) == 3
    assert all("is not over by 1h00m" in one for one in found[1:])


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("faults: [{kind: cover_gone, of: cover-1, at: 1m}]", "faults[0].kind: no kind of fault 'cover_gone'; known: "),
        ("faults: [{kind: cover_open, of: that one, at: 1m}]", "faults[0].of: expected a device's id, 'cabinet 3'"),
        ("faults: [{kind: cover_open, of: cover-1, at: 3h}]", "faults[0].at: the scenario is over by then"),
        ("faults: [{kind: cover_open, of: cover-1, when: 1m}]", "faults[0].when: unknown key; known here: kind, of"),
        ("expect: [{rule: cover_ajar, entity: x, by: 1h}]", "expect[0].rule: no rule 'cover_ajar'; known: "),
        ("expect: [{rule: cover_open, entity: x}]", "expect[0]: the key 'by' is missing"),
        ("weather: [{at: 1h, lasts: 1h, rain_mm: -3}]", "weather[0].rain_mm: expected a number from 0 to 1000"),
        ("storms: []", "storms: unknown key; known here: title"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_file_line_and_key(
    tmp_path: Path, rules: RuleSet, line: str, what: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_scenario(written(tmp_path, QUIET + line + "\n"), [rule.id for rule in rules])
    assert f"{tmp_path}/own.yaml:6: {what}" in str(caught.value)


def test_devices_are_chosen_in_the_words_of_a_tester(tmp_path: Path, catalog: Catalog, rules: RuleSet) -> None:
    text = """
title: {en: Chosen, zh: 选定}
city: {seed: 3, lamps: 240, covers: 30, stations: 2, trucks: 2}
start: "2026-06-16T01:00"
lasts: 2h
faults:
  - {kind: lamps_out, of: 10% of lamps of cabinet 2, at: 1m}
  - {kind: lamps_out, of: 5 lamps of cabinet cabinet-003, at: 1m}
  - {kind: silent, of: cabinet 4, at: 1m}
  - {kind: silent, of: pumps of station 2, at: 1m}
  - {kind: broker_cut, of: everybody, at: 1m, lasts: 5m}
  - {kind: cover_open, of: 3 covers, at: 10m, each: 5m}
"""
    scenario = load_scenario(written(tmp_path, text))
    city = city_of(scenario)
    faults = world_of(scenario, city, catalog, rules, ZONE).truth()
    of_two = [asset.id for asset in city.assets if asset.role == "lamp" and asset.cabinet == "cabinet-002"]
    assert set(faults[0].targets) < set(of_two)
    assert len(faults[0].targets) == round(0.1 * len(of_two))
    assert [len(fault.targets) for fault in faults[1:5]] == [5, 1, 2, len(city.assets)]
    assert faults[2].targets == ("cabinet-004",)
    assert [fault.on_ms - faults[5].on_ms for fault in faults[5:]] == [0, 300_000, 600_000]


def test_a_fault_that_befalls_nobody_in_the_city_is_told(tmp_path: Path, catalog: Catalog, rules: RuleSet) -> None:
    scenario = load_scenario(written(tmp_path, QUIET + "faults: [{kind: cover_open, of: cover 99, at: 1m}]\n"))
    with pytest.raises(ConfigError, match="nobody in this city is 'cover 99'"):
        world_of(scenario, city_of(scenario), catalog, rules, ZONE)


def test_the_command_ends_with_status_one_where_something_differs(tmp_path: Path) -> None:
    quiet = written(tmp_path, QUIET + "expect: [{rule: cover_open, entity: cover-007, by: 1h}]\n")
    found = CliRunner().invoke(app, ["play", str(quiet)])
    assert found.exit_code == 1
    assert "cover_open of device:cover-007 was not told from 0m to 1h00m" in found.output
    quiet.write_text(QUIET, encoding="utf-8")
    found = CliRunner().invoke(app, ["play", str(quiet)])
    assert found.exit_code == 0, found.output
    assert "as expected: 0 told" in found.output


def test_the_shipped_scenarios_are_listed_by_name_and_title() -> None:
    found = CliRunner().invoke(app, ["list"])
    assert found.exit_code == 0
    assert "cover_stolen" in found.output
    assert "夜间井盖被盗" in found.output
