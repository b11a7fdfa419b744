"""The page about writing a rule, played from its first line to its last; and other rules of a city's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alerts.rules import parse_rules
from alerts.ruletest_reader import all_rules, parse_rule_tests
from alerts.ruletest_verdict import Verdict, judge
from devices.kinds import Catalog
from devices.yamlfile import parse_yaml
from lamplighter.__main__ import app
from simulators.card import plan
from simulators.card.plan import Share
from simulators.course import Size
from tests.told_page import BLOCK, PAGE, played, steady

OWN = """
rules:
  - id: pump_current_high
    kind: deviation
    device: pump
    role: pump
    value: current_a
    when: running
    high: 0.25
    off: 0.1
    for: 10m
    keep: 10m
    severity: major
    message: {en: "{name}: {value} A, {threshold} A", zh: "{name}"}
  - id: truck_open_in_town
    kind: fence
    device: truck
    kinds: [built_up]
    while: not cover_closed and load_t > 4 and 7 <= local_hour < 9
    severity: major
    message: {en: "{name}: {depth_m} m inside", zh: "{name}"}
"""
PUMP = """
tests:
  - rule: pump_current_high
    clock: {start: "2026-07-01T12:00:00+08:00", step: %s}
    entities: {pump-1: {}}
    name: a quarter over its own usual is told after ten minutes
    series: {pump-1.current_a: %s, pump-1.running: 1x308}
    transitions: [3d15m active pump-1 since 3d]
"""
TRUCK = """
tests:
  - rule: truck_open_in_town
    clock: {start: "2026-07-01T08:30:00+08:00", step: 15s}
    entities: {truck-1: {}}
    fences:
      town: {ring: [[121.4, 31.23], [121.403, 31.23], [121.403, 31.233], [121.4, 31.233]], kind: built_up}
      yard: {ring: [[121.5, 31.23], [121.503, 31.23], [121.503, 31.233], [121.5, 31.233]], kind: site}
    series: {truck-1.lon_deg: "121.4015x16", truck-1.lat_deg: "31.2315x16", truck-1.hdop: "1x16"}
    cases:
      - name: loaded and open is told with the third fix, and ends when the lid is shut
        series: {truck-1.load_t: "15x16", truck-1.cover_closed: 0x8 1x8}
        transitions:
          - 30s active truck-1 since 0s
          - 2m cleared truck-1 since 0s recovered
      - name: a lid of which nothing is known neither fires nor clears
        series: {truck-1.load_t: "15x16", truck-1.cover_closed: 0x4 _x12}
        transitions: [30s active truck-1 since 0s]
      - name: an empty truck may be open
        series: {truck-1.load_t: "1x16", truck-1.cover_closed: "0x16"}
        transitions: []
      - name: in a fence of another kind it may
        series: {truck-1.load_t: "15x16", truck-1.cover_closed: "0x16", truck-1.lon_deg: "121.5015x16"}
        transitions: []
      - name: after nine it may
        clock: {start: "2026-07-01T09:00:00+08:00", step: 15s}
        series: {truck-1.load_t: "15x16", truck-1.cover_closed: "0x16"}
        transitions: []
"""


def verdicts(text: str, catalog: Catalog, rules: str = OWN) -> list[Verdict]:
    return [judge(one) for one in parse_rule_tests(parse_yaml(text), all_rules(parse_yaml(rules), catalog), catalog)]


def test_every_command_of_the_page_does_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plan.SMALL, "lighting", Share(Size(120, 1, 1), 1, 600, 300))  # the same, in seconds
    text = PAGE.read_text("utf-8")
    assert steady(played(text, tmp_path)) == steady(text), "run: python -m tests.told_page"


def test_the_page_has_a_command_of_every_tool_of_a_rule_author() -> None:
    commands = [
        line for block in BLOCK.finditer(PAGE.read_text("utf-8")) for line in block[2].splitlines() if line[:1] == "$"
    ]
    for tool in ("check", "test", "backtest", "score"):
        assert any(re.match(rf"\$ lamplighter rules {tool}\b", line) for line in commands), tool


def test_a_pump_is_held_against_its_own_current(catalog: Catalog) -> None:
    patient = OWN.replace("high: 0.25", "high: 0.25\n    hold: 1h")
    (verdict,) = verdicts(PUMP % ("15m", "20x288 27x20"), catalog, patient)
    assert [one.lines for one in verdict.failures] == []


def test_a_test_whose_readings_lie_too_far_apart_is_told_so(catalog: Catalog) -> None:
    (verdict,) = verdicts(PUMP % ("15m", "20x288 27x20"), catalog)
    assert verdict.hints == [
        (
            "readings come every 15m, and pump_current_high waits anew after 3m without one (hold): "
            "let them come as the device reports"
        )
    ]


def test_a_fence_holds_only_while_its_condition_does(catalog: Catalog) -> None:
    found = verdicts(TRUCK, catalog)
    assert [(one.test.name, failure.about, failure.lines) for one in found for failure in one.failures] == []
    assert sum(bool(one.fired) for one in found) == 2


def test_a_fence_that_can_never_hold_is_a_mistake(catalog: Catalog) -> None:
    from alerts.ruledoubts import examine

    text = OWN.replace("7 <= local_hour < 9", "7 <= local_hour < 6")
    _, doubts = examine(parse_yaml(text, "r.yaml"), catalog)
    assert [one.text for one in doubts if one.error] == [
        (
            "r.yaml:19: rules[1].while: can never hold, so no alert ever comes: '7 <= local_hour' and 'local_hour < 6' "
            "exclude each other"
        )
    ]


def test_an_end_that_holds_whenever_the_rule_does_is_seen_in_shares_too(catalog: Catalog) -> None:
    from alerts.ruledoubts import examine

    text = """
rules:
  - id: lamp_overpower
    device: streetlight
    role: lamp
    on: power_w > 1.2 * rated_power_w
    off: power_w %s * rated_power_w
    severity: minor
    message: {en: "{name}", zh: "{name}"}
"""
    for off, wrong in (("> 1.1", True), ("< 1.1", False), ("< 1.3", False), (">= 1.2", True)):
        assert len(parse_rules(parse_yaml(text % off), catalog)) == 1
        told = [one.text for one in examine(parse_yaml(text % off, "r.yaml"), catalog)[1]]
        assert bool(told) is wrong, off


def test_rules_are_listed_with_whom_they_watch_and_how_long_they_wait(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN.replace("kind: fence", "kind: fence\n    enabled: false"), "utf-8")
    done = CliRunner().invoke(app, ["rules", "list", str(path)])
    lines = [line.split() for line in done.output.splitlines()]
    assert lines[0] == ["pump_current_high", "deviation", "pump/pump", "major", "10m", "Pump", "current", "high"]
    assert lines[1][-2:] == ["(switched", "off)"]
