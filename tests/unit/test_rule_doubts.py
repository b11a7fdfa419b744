"""`rules check` tells of rules that can be read and cannot do their work, by file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.ruledoubts import examine
from alerts.rules import read_rules
from devices.kinds import Catalog
from devices.yamlfile import parse_yaml

RULES = Path(__file__).parents[2] / "config" / "rules.yaml"
HEAD = """rules:
  - id: one
    severity: minor
    message: {en: a, zh: b}
"""


def doubts(catalog: Catalog, **keys: str) -> list[str]:
    given = {"device": "streetlight", "role": "lamp"} | {key.rstrip("_"): text for key, text in keys.items()}
    text = HEAD + "".join(f"    {key}: {value}\n" for key, value in given.items())
    return [one.text for one in examine(parse_yaml(text, "r.yaml"), catalog)[1]]


def test_the_shipped_rules_raise_no_doubt(catalog: Catalog) -> None:
    assert examine(read_rules(RULES)[0], catalog)[1] == []


@pytest.mark.parametrize(
    ("on", "why"),
    [
        ("power_w > 5000", "'power_w > 5000' can never hold: power_w lies between 0 and 2000 W"),
        ("voltage_v > 100 and 2 * power_w > 5000", "'2 * power_w > 5000' can never hold: power_w lies between 0 and"),
        ("voltage_v < 100 and voltage_v > 200", "'voltage_v < 100' and 'voltage_v > 200' exclude each other"),
        ("not (voltage_v >= 100 or voltage_v <= 200)", "exclude each other"),
        ("200 < voltage_v < 100", "exclude each other"),
        ("power_w - rated_power_w > 1 and power_w < rated_power_w", "exclude each other"),
        ("max(power_w, voltage_v) > 2001", "can never hold: max(power_w, voltage_v) lies between 0 and 2000"),
        ("lamp_failure and not lamp_failure", "exclude each other"),
        ("expected_on and off_for_min > 30 and power_w > 3", "exclude each other"),
        ("local_hour > 24.5 and power_w > 1", "'local_hour > 24.5' can never hold: local_hour lies between 0 and 24"),
        ("switch_count > 3 and switch_count < 4", "exclude each other"),
    ],
)
def test_a_condition_that_can_never_hold_is_an_error_at_its_line(catalog: Catalog, on: str, why: str) -> None:
    found = doubts(catalog, on=on)
    assert len(found) == 1
    assert found[0].startswith("r.yaml:7: rules[0].on: can never hold, so no alert ever comes: ")
    assert why in found[0]


@pytest.mark.parametrize(
    "on",
    [
        "power_w > 5 and voltage_v > 5",
        "power_w > rated_power_w",
        "50 < voltage_v < 198 or voltage_v > 235.4",
        "abs(power_factor) < 0.5",
        "abs(power_factor) > 0.5",
        "default(dim_percent, 100) > 50",
        "power_w / rated_power_w > 1.2",
        "power_w * current_a > 3000000",
        "not expected_on and off_for_min > 30 and power_w > 3",
        "switch_count > 3 and switch_count < 5",
        "(power_w > 5 or voltage_v > 5) and not power_w > 5",
    ],
)
def test_a_condition_that_may_hold_raises_no_doubt(catalog: Catalog, on: str) -> None:
    assert doubts(catalog, on=on) == []


def test_a_part_that_can_never_hold_is_a_warning(catalog: Catalog) -> None:
    assert doubts(catalog, on="voltage_v > 900 or voltage_v < 198") == [
        (
            "r.yaml:7: rules[0].on: warning: 'voltage_v > 900' can never hold: voltage_v lies between 0 and 500 V; "
            "the rest of the condition is judged"
        )
    ]


def test_a_condition_that_always_holds_is_an_error(catalog: Catalog) -> None:
    assert doubts(catalog, on="power_w >= 0") == [
        "r.yaml:7: rules[0].on: holds for every reading; a condition that says nothing makes an alert of every device"
    ]


def test_a_label_of_a_code_is_understood(catalog: Catalog) -> None:
    keys = {"device": "truck", "role": "truck"}
    assert doubts(catalog, on="load_state == 'full' and load_state != 'full'", **keys)[0].endswith("exclude each other")
    assert doubts(catalog, on="load_state == 'full' and load_state != 'empty'", **keys) == []


def test_an_end_that_never_comes_or_always_is_an_error(catalog: Catalog) -> None:
    assert doubts(catalog, on="power_w > 100", off="power_w < 0") == [
        (
            "r.yaml:8: rules[0].off: can never hold, so no alert ever ends: "
            "'power_w < 0' can never hold: power_w lies between 0 and 2000 W"
        )
    ]
    assert doubts(catalog, on="power_w > 100", off="power_w > 50") == [
        "r.yaml:8: rules[0].off: holds whenever 'on' does, so that an alert ends as it begins"
    ]
    assert doubts(catalog, on="power_w > 100", off="power_w < 120") == [], "both hold between: odd, and not impossible"


def test_waiting_that_a_lamps_reports_cannot_fill_is_an_error(catalog: Catalog) -> None:
    found = doubts(catalog, on="power_w > 100", for_="10m", keep="20m", hold="5m")
    assert [one.split(": ")[1] for one in found] == ["rules[0].for", "rules[0].keep"]
    assert "10m is longer than 'hold' (5m), and a lamp reports every 15m: the waiting begins anew" in found[0]
    assert doubts(catalog, on="power_w > 100", for_="4m", keep="4m", hold="5m") == []
    assert "2 readings in a row are never counted" in doubts(catalog, on="power_w > 100", samples="2", hold="5m")[0]


def test_giving_up_a_device_too_soon_is_told(catalog: Catalog) -> None:
    assert "closed as data_lost between two reports" in doubts(catalog, on="power_w > 100", lost_after="10m")[0]
    assert "warning: 30m is shorter than 'hold' (45m)" in doubts(catalog, on="power_w > 100", lost_after="30m")[0]
    assert "2d is longer than 'lost_after' (1d)" in doubts(catalog, on="power_w > 100", for_="2d")[0]


def test_offline_rules_are_held_against_the_report_interval(catalog: Catalog) -> None:
    found = doubts(catalog, kind="offline", after="10m", while_="expected_on and not expected_on")
    assert "15m: it would be offline between any two reports" in found[0]
    assert "can never hold, so no alert ever comes" in found[1]
    assert doubts(catalog, kind="offline", after="20m", while_="expected_on") == []


def test_a_rule_that_cannot_be_read_does_not_hide_the_doubts_about_the_next(catalog: Catalog) -> None:
    second = HEAD.partition("\n")[2].replace("one", "two") + "    device: streetlight\n    on: power_w > 2001\n"
    text = f"{HEAD}    device: streetlight\n    on: pwer_w > 3\n{second}"
    found = [one.text for one in examine(parse_yaml(text, "r.yaml"), catalog)[1]]
    assert found[0].startswith("r.yaml:6: rules[0].on: no name 'pwer_w'; did you mean 'power_w'?")
    assert found[1].startswith("r.yaml:11: rules[1].on: can never hold")
