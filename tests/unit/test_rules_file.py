"""A rules file loads whole or not at all, and says what is wrong by file, line and key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alerts.columns import DERIVED
from alerts.rules import KEYS, Rule, load_rules, parse_rules
from alerts.templates import COMMON, number, render
from devices.kinds import Catalog, load_catalog
from devices.sky import Override
from devices.yamlfile import ConfigError, parse_yaml

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "config" / "rules.yaml"
GOOD = """\
rules:
  - id: cover_open
    device: manhole
    on: tilt_deg > 10
    for: 10s
    severity: critical
    message: {en: "{name} open, {value}", zh: "{name} 打开"}
"""


def problems(text: str, catalog: Catalog) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_rules(parse_yaml(text, "rules.yaml"), catalog)
    return caught.value.problems


def rule(text: str = GOOD) -> Rule:
    return parse_rules(parse_yaml(text), load_catalog()).rules[0]


def test_the_shipped_rules_load_and_say_where_their_figures_come_from(catalog: Catalog) -> None:
    rules = load_rules(SHIPPED, catalog)
    assert len(rules) >= 30
    assert {kind.name for kind in catalog} == {one.device for one in rules}
    for one in rules:
        assert len(one.source) > 20, one.id
        assert set(one.title) == set(one.message) == {"en", "zh"}, one.id
        assert re.search(r"[\u4e00-\u9fff]", one.message["zh"]), one.id
        assert not re.search(r"[\u4e00-\u9fff]", one.message["en"]), one.id
    assert rules.source.startswith(SHIPPED.read_text(encoding="utf-8"))


def test_the_examples_of_the_page_on_rules_load(catalog: Catalog) -> None:
    page = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(examples) >= 3
    for example in examples:
        parse_rules(parse_yaml(example, "docs/rules.md"), catalog)


def test_the_page_on_rules_names_every_key_and_derived_name() -> None:
    page = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    for key in (*KEYS, *DERIVED, *COMMON, "on", "off", "samples", "hold", "lost_after", "carry", "after", "while"):
        assert f"`{key}`" in page or f"`{{{key}}}`" in page, key


def test_a_good_rule_is_read_as_written(catalog: Catalog) -> None:
    found = parse_rules(parse_yaml(GOOD), catalog)["cover_open"]
    assert (found.kind, found.device, found.role, found.severity) == ("expression", "manhole", None, "critical")
    assert (found.for_ms, found.keep_ms, found.line) == (10_000, 0, 2)
    assert found.title == {"en": "Cover open", "zh": "Cover open"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("id: cover_open", "id: Cover-Open", "2: rules[0].id: a rule's id is 2 to 48 of a-z, 0-9 and _"),
        (
            "device: manhole",
            "device: manholes",
            "3: rules[0].device: expected one of streetlight, manhole, pump, truck",
        ),
        ("device: manhole", "role: cover", "2: rules[0]: the key 'device' is missing"),
        ("device: manhole", "device: manhole\n    role: lid", "4: rules[0].role: expected one of cover; found 'lid'"),
        ("tilt_deg > 10", "tilt > 10", "4: rules[0].on: no name 'tilt'; did you mean 'tilt_deg'?"),
        ("on: tilt_deg", "when: tilt_deg", "4: rules[0].when: unknown key; known here: id, kind, device"),
        ("tilt_deg > 10", "local_hour > 10", "4: rules[0].on: follows from no reading"),
        (
            "for: 10s",
            "for: 10",
            "5: rules[0].for: expected a length of time such as 90s, 15m, 2h or 3d; found a number",
        ),
        ("for: 10s", "for: ten seconds", "5: rules[0].for: expected a length of time"),
        ("for: 10s", "for: 400d", "5: rules[0].for: 400d is longer than 366 days"),
        ("for: 10s", "samples: 1.5", "5: rules[0].samples: expected a whole number of readings"),
        ("for: 10s", "samples: 0", "5: rules[0].samples: expected a number from 1 to 1000"),
        ("for: 10s", "hold: 3", "5: rules[0].hold: expected a length of time such as 90s, 15m or 2h, or a number of"),
        ("for: 10s", "hold: 0s", "5: rules[0].hold: expected a length of time"),
        ("for: 10s", "hold: 0.5x", "5: rules[0].hold: expected 1x to 1000x report intervals"),
        ("for: 10s", "carry: yes", "5: rules[0].carry: expected true or false"),
        ("for: 10s", "enabled: no", "5: rules[0].enabled: expected true or false"),
        ("critical", "urgent", "6: rules[0].severity: expected one of critical, major, minor, info; found 'urgent'"),
        ("{value}", "{tilt}", "7: rules[0].message.en: nothing is called {tilt} here; known: name, id, place"),
        ("{value}", "{value", "7: rules[0].message.en: not a template"),
        ("{value}", "{value!r}", "7: rules[0].message.en: not a template: '!r' has no meaning here"),
        ("{value}", "{value:q}", "7: rules[0].message.en: '{value:q}' cannot be filled"),
        ("{value}", "{0}", "7: rules[0].message.en: expected a plain name in braces"),
        (', zh: "{name} 打开"', "", "7: rules[0].message: the key 'zh' is missing"),
        ("rules:", "rule:", "1: rule: unknown key; known here: lighting, rules"),
        ("for: 10s", "kind: rate", "5: rules[0].kind: expected one of expression, offline, lighting_rate"),
    ],
)
def test_a_wrong_key_is_named_with_line_and_accepted_form(catalog: Catalog, old: str, new: str, said: str) -> None:
    assert old in GOOD
    found = problems(GOOD.replace(old, new, 1), catalog)
    assert any(one.startswith(f"rules.yaml:{said}") for one in found), found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "rules.yaml:1: document: expected a mapping"),
        ("rules:\n", "rules.yaml:1: rules: expected a list, found nothing"),
        ("rules: {a: 1}\n", "rules.yaml:1: rules: expected a list, found a mapping"),
        ("rules:\n  - text\n", "rules.yaml:2: rules[0]: expected a mapping of keys to values, found 'text'"),
        ("rules:\n  - id: a\n   device: b\n", "rules.yaml:3: not YAML"),
        (GOOD + GOOD.removeprefix("rules:\n"), "rules.yaml:8: rules[1].id: 'cover_open' is already the id of the rule"),
        ("rules: [" + ", ".join(["{}"] * 1001) + "]\n", "rules.yaml:1: rules: 1001 rules; at most 1000 are read"),
    ],
)
def test_a_file_that_is_no_list_of_rules_is_refused(catalog: Catalog, text: str, said: str) -> None:
    assert problems(text, catalog)[0].startswith(said)


def test_every_problem_of_a_file_is_told_at_once(catalog: Catalog) -> None:
    bad = GOOD.replace("critical", "loud").replace("10s", "soon").replace("tilt_deg", "tilt")
    second = GOOD.removeprefix("rules:\n").replace("cover_open", "other").replace("manhole", "lid")
    found = problems("lighting: {on: 5}\n" + bad + second, catalog)
    places = [re.match(r"rules\.yaml:\d+: ([\w.\[\]]+)", one) for one in found]
    assert [one[1] for one in places if one] == [
        "lighting.on", "rules[0].severity", "rules[0].for", "rules[0].on", "rules[1].device",
    ]  # fmt: skip


def test_a_file_that_is_not_there_is_named(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read"):
        load_rules(tmp_path / "absent.yaml", catalog)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("after: 3x\n    for: 5m", "for: an offline rule waits as long as 'after' says"),
        ("after: 3x\n    keep: 5m", "keep: an offline rule clears after so many 'reports'"),
        ("after: 3", "after: expected a length of time"),
        ("reports: 2", "the key 'after' is missing"),
        ("after: 3x\n    reports: 0", "reports: expected a number from 1 to 100"),
        ("after: 3x\n    while: speed_kmh", "while: 'speed_kmh': is a number, not a yes or no"),
        ("after: 3x\n    on: speed_kmh > 1", "on: unknown key; known here"),
    ],
)
def test_an_offline_rule_is_checked_by_its_own_keys(catalog: Catalog, keys: str, said: str) -> None:
    text = f"rules:\n  - id: gone\n    kind: offline\n    device: truck\n    severity: minor\n    {keys}\n"
    text += '    message: {en: "{name} since {since}", zh: "{name}"}\n'
    assert any(said in one for one in problems(text, catalog))


def test_a_rule_can_be_switched_off_and_is_still_checked(catalog: Catalog) -> None:
    off = GOOD.replace("for: 10s", "enabled: false")
    found = parse_rules(parse_yaml(off), catalog)
    assert (found.rules, found.disabled) == ((), ("cover_open",))
    assert problems(off.replace("tilt_deg", "tilt"), catalog)


def test_the_lighting_schedule_is_read_with_its_overrides(catalog: Catalog) -> None:
    text = """
lighting:
  on_after_sunset_min: 10
  off_before_sunrise_min: -5
  overrides:
    - {cabinet: cab-1, from: "18:30", until: "06:05"}
    - {cabinet: cab-2, from: 18:30, until: 23:00}
rules: []
"""
    lighting = parse_rules(parse_yaml(text), catalog).lighting
    assert (lighting.on_after_sunset_min, lighting.off_before_sunrise_min) == (10, -5)
    assert lighting.overrides == (Override("cab-1", 1110, 365), Override("cab-2", 1110, 1380))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("18:30", "25:00", 'from: expected a time of day such as "18:30"'),
        ("18:30", "06:00", "a night needs a length"),
        ("cabinet: c", "box: c", "unknown key; known here: cabinet, from, until"),
    ],
)
def test_wrong_hours_are_refused(catalog: Catalog, old: str, new: str, said: str) -> None:
    text = 'lighting: {overrides: [{cabinet: c, from: "18:30", until: "06:00"}]}\nrules: []\n'
    assert said in problems(text.replace(old, new), catalog)[0]


def test_the_fingerprint_follows_the_meaning_and_not_the_wording() -> None:
    same = [
        GOOD.replace("critical", "info"),
        GOOD.replace("{name} open", "open: {name}"),
        GOOD.replace("for: 10s", "for: 10000ms"),
        "# a comment\n" + GOOD,
    ]
    other = [GOOD.replace("> 10", "> 11"), GOOD.replace("10s", "11s"), GOOD.replace("for: 10s", "keep: 10s")]
    assert {rule(text).fingerprint for text in same} == {rule().fingerprint}
    assert len({rule(text).fingerprint for text in [GOOD, *other]}) == 4


def test_numbers_in_messages_are_short_and_unknown_ones_a_dash() -> None:
    shown = [number(x) for x in (0.0, -0.0001, 0.0042, 1.0, 3.14159, 12.34, 99.96, 118.4, 123456.7, float("nan"))]
    assert shown == ["0", "0", "0.004", "1", "3.14", "12.3", "100", "118", "123457", "–"]
    assert render("{{{name}}}: {x:.1f} {y}", {"name": "七号"}, {"x": 1.25}) == "{七号}: 1.2 –"
