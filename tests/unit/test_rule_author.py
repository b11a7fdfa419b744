"""The page for rule authors, followed to the letter: the rule, its tests and the commands are taken from the page."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from alerts.rules import read_rules
from alerts.ruletest_reader import all_rules, parse_rule_tests
from alerts.ruletest_verdict import judge
from devices.batch import make_batch
from devices.kinds import Catalog
from devices.registry import Asset, Registry
from devices.yamlfile import ConfigError, parse_yaml
from lamplighter.__main__ import app
from storage.sqlite import SqliteStore

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rules.md").read_text("utf-8").partition("## Write a rule, test it")[2]
RULE, TESTS = (re.search(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)[1] for kind in ("yaml", "text"))  # type: ignore[index]
ASSETS = "id,kind,role,name,lon,lat,rated_power_w\nlamp-0001,streetlight,lamp,Lamp 1,121.47,31.23,120\n"


def run(house: Path, *words: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, [*words, "-c", str(house / "lamplighter.yaml")], terminal_width=140)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return str(done.output)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    (tmp_path / "assets.csv").write_text(ASSETS, "utf-8")
    made = CliRunner().invoke(app, ["init", str(tmp_path / "house"), "--registry", str(tmp_path / "assets.csv")])
    assert made.exit_code == 0, made.output
    return tmp_path / "house"


def test_a_rule_is_written_tested_and_tried_as_the_page_says(house: Path, catalog: Catalog) -> None:
    with (house / "rules.yaml").open("a", encoding="utf-8") as rules:
        rules.write("\n" + RULE)
    assert "rules, all in order" in run(house, "rules", "check")
    with pytest.raises(ConfigError, match="rule_tests: no tests there yet; make the folder"):
        run(house, "rules", "test")
    (house / "rule_tests").mkdir()
    (house / "rule_tests" / "mine.yaml").write_text(TESTS, "utf-8")
    said = run(house, "rules", "test")
    assert said.count("ok   lamp_hot: ") == 2
    assert "2 of 2 tests ok" in said
    start = round(datetime.fromisoformat("2026-07-01T21:00:00+08:00").timestamp() * 1000)
    (house / "data").mkdir(exist_ok=True)
    store, kind = SqliteStore(house / "data" / "readings.db", catalog), catalog["streetlight"]
    for step in range(8):
        values = np.full((len(kind.fields), 1), np.nan)
        values[kind.column("driver_temp_c")] = 90 if step < 4 else 60
        registry = Registry(catalog, [Asset("lamp-0001", "streetlight", "lamp")])
        store.write([make_batch(kind, 0, [start + step * 900_000], [0], values)], registry)
    store.close()
    words = ("rules", "backtest", "--since", "2026-07-01T20:00", "--until", "2026-07-02", "--only", "lamp_hot")
    assert "lamp_hot │ lamp-0001" in run(house, *words)


def test_a_test_that_fails_shows_what_came_and_the_readings_about_it(house: Path) -> None:
    (house / "rules.yaml").write_text(RULE.replace("for: 30m", "for: 15m"), "utf-8")
    (house / "rule_tests").mkdir()
    (house / "rule_tests" / "mine.yaml").write_text(TESTS, "utf-8")
    said = run(house, "rules", "test", status=1)
    assert "FAIL lamp_hot: half an hour above 85 degrees" in said
    assert re.search(r"mine\.yaml:\d+: transitions, expected - and got \+", said)
    assert "- 1h active lamp-1 since 30m\n" in said
    assert "+ 45m active lamp-1 since 30m\n" in said
    assert "1h  driver_temp_c 90" in said
    assert "alerts at 45m, expected - and got +\n       - (nothing)\n       + lamp-1 since 30m\n" in said
    assert "pending at 45m" in said
    assert "1 of 2 tests ok" in said


def test_a_rule_that_cannot_work_ends_the_check_with_its_line(house: Path) -> None:
    (house / "rules.yaml").write_text(RULE.replace("> 85", "> 850"), "utf-8")
    with pytest.raises(ConfigError, match=r"rules\.yaml:5: rules\[0\]\.on: can never hold"):
        run(house, "rules", "check")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rule: lamp_hot", "rule: lamp_hott", r"t.yaml:2: tests\[0\]\.rule: no rule 'lamp_hott'; known: "),
        (
            "60x2 90x3",
            "60y2 90x3",
            r"t.yaml:9: .*series\.lamp-1\.driver_temp_c: '60y2' is no part of a series; a series",
        ),
        ("lamp-1.driver_temp_c: 60", "lamp-2.driver_temp_c: 60", r"with one of the entities lamp-1; found 'lamp-2"),
        (
            "lamp-1.driver_temp_c: 60",
            "lamp-1.level_m: 60",
            r"a lamp of streetlight has no field 'level_m'; it has",
        ),
        ("step: 15m", "step: 15", r"t.yaml:3: tests\[0\]\.clock\.step: expected a length of time such as 90s"),
        ("2026-07-01T21", "2026-07-41T21", r"expected a moment such as"),
        ("- 1h active lamp-1 since 30m", "- 1h lamp-1", r"t.yaml:14: .*transitions\[0\]: expected such as '30m active"),
        ("since 30m recovered", "since 30m", r"a cleared alert has a reason"),
        ("{at: 45m, alerts: [], ", "{at: 45m, alarms: [], ", r"alarms: unknown key; known here: at, alerts, pending"),
        ('"85x8"', "0x20", r"put a series in quotes: YAML takes 0x20"),
        ("60x2 90x3 80 70x4", "(60x2", r"a bracket is not closed"),
        ("60x2 90x3 80 70x4", "60x999999", r"a series has at most 200000 values"),
        ("{lamp-1: {}}", "x", ""),
    ],
)
def test_mistakes_in_tests_are_named_by_file_line_and_key(old: str, new: str, said: str, catalog: Catalog) -> None:
    rules = all_rules(parse_yaml(RULE, "r.yaml"), catalog)
    text = TESTS.replace(old, new, 1)
    if not said:
        assert len(parse_rule_tests(parse_yaml(text, "t.yaml"), rules, catalog)) == 2
        return
    with pytest.raises(ConfigError, match=said):
        parse_rule_tests(parse_yaml(text, "t.yaml"), rules, catalog)


def test_a_missing_alert_a_wrong_one_and_a_wrong_figure_are_told_apart(catalog: Catalog) -> None:
    rules = all_rules(parse_yaml(RULE, "r.yaml"), catalog)
    text = TESTS.replace("value: 90", "value: 91").replace("alerts: [], pending", "alerts: [{entity: lamp-1}], pending")
    first = judge(parse_rule_tests(parse_yaml(text, "t.yaml"), rules, catalog)[0])
    told = {failure.about: failure.lines for failure in first.failures}
    assert told["alerts at 45m"] == ("- lamp-1", "+ (nothing)")
    assert told["alerts at 1h"][1] == "+ lamp-1 since 30m threshold=85 value=90"


def test_the_shipped_tests_read_the_shipped_rules(catalog: Catalog) -> None:
    shipped = all_rules(read_rules(ROOT / "config" / "rules.yaml")[0], catalog)
    assert shipped["feeder_low"].id == "feeder_low", "switched off, and tested all the same"
