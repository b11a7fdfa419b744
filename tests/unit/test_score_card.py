"""The report card from a tiny course of its own: played by the real engine, counted, held to floors, drawn."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from alerts.rules import RuleSet, parse_rules
from devices.kinds import Catalog
from devices.yamlfile import ConfigError, Node, parse_yaml
from simulators.card import plan
from simulators.card.baselines import load_naivety, naive_rules, random_alerts, unguarded
from simulators.card.card import Card, make_card
from simulators.card.floors import Floors, load_floors, parse_floors
from simulators.card.match import Said
from simulators.card.page import page
from simulators.card.pictures import pictures, told_s
from simulators.card.plan import FULL, MEDIUM, SMALL, SPEED, Files, Job, Share, deal, graces, jobs
from simulators.card.play import Listener, gathered, play
from simulators.card.report import Report, make_report
from simulators.course import Size
from tests.unit.tiny_course import DAY, MINUTE, RULES, START, Tiny

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    rules, floors = tmp_path / "rules.yaml", tmp_path / "floors.yaml"
    rules.write_text(RULES, encoding="utf-8")
    floors.write_text("floors: {recall: 0.95}\n", encoding="utf-8")
    return Files(rules, floors, ROOT / "config" / "naive_rules.yaml")


@pytest.fixture
def tiny(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    course = Tiny(catalog)
    monkeypatch.setattr(plan, "import_module", lambda _: SimpleNamespace(build=lambda *_: course))
    return course


def report_of(files: Files, catalog: Catalog) -> Report:
    dealt = deal(Job("manholes", 1000, Share(Size(4, 1, 1), 1, 0), baselines=True), files, catalog, lambda: 0.0)
    rules = parse_rules(parse_yaml(RULES), catalog)
    floors = load_floors(files.floors)
    return make_report(
        [dealt], rules, catalog, floors, seeds="A", plan="full", machine="a test", wall_s=1.0, processes=1
    )


def test_a_course_becomes_a_card(tiny: Tiny, files: Files, catalog: Catalog) -> None:
    report = report_of(files, catalog)
    total = report.card.total
    assert (total.recall.hits, total.recall.of) == (1, 1)
    assert (total.precision.hits, total.precision.of) == (1, 2)
    assert total.false_alarms.device_days == pytest.approx(4 * 2 / 24)
    (kind,) = report.card.kinds
    assert kind.delay.p50_s == 120.0
    assert kind.since_on.p50_s == 180.0
    assert kind.delay_limit_s == 120 + 2 * catalog["manhole"].report_s[0]
    rules = {one.rule: one for one in report.card.rules}
    assert rules["cover_battery"].beside == {"nothing": 1}
    assert {miss.about for miss in report.card.misses} == {"all rules", "rule cover_battery"}
    assert not any(miss.allowed for miss in report.card.misses)


def test_naive_rules_and_random_alerts_do_worse_on_the_same_course(tiny: Tiny, files: Files, catalog: Catalog) -> None:
    report = report_of(files, catalog)
    naive, random = report.baselines["naive"], report.baselines["random"]
    assert naive.total.false_alarms.events == 3  # both spikes too
    assert naive.total.recall.hits == 1
    assert naive.kinds[0].delay.p50_s == 0.0
    assert random.total.precision.of == report.card.total.precision.of
    assert random.total.precision.hits == 0


def test_the_card_is_written_as_data_page_and_plots(tiny: Tiny, files: Files, catalog: Catalog) -> None:
    report = report_of(files, catalog)
    found = json.loads(report.as_json())
    assert found["card"]["total"]["recall"]["share"] == 1.0
    assert found["made"]["families"]["manholes"]["readings"] == 480
    text = page(report)
    assert "| `gas_rise` | `gas_h2s` | 1 | 1.000" in text
    assert "| rule `cover_battery` | precision | 0.000 | 0.9 | **no reason is written down** |" in text
    assert "摘要" in text
    for name, svg in pictures(report.card, report.baselines, Floors()).items():
        assert f"images/{name}" in text
        assert ET.fromstring(svg).tag.endswith("svg")
        assert "gas_rise" in svg or "false" in name


def card_with(files: Files, catalog: Catalog, floors: str, *, small: bool = False) -> Card:
    dealt = deal(Job("manholes", 1000, Share(Size(4, 1, 1), 1, 0), baselines=False), files, catalog, lambda: 0.0)
    rules = parse_rules(parse_yaml(RULES), catalog)
    return make_card(dealt.tallies["ours"], rules, catalog, parse_floors(parse_yaml(floors)), small=small)


def test_an_exception_allows_what_it_gives_a_reason_for_and_no_more(tiny: Tiny, files: Files, catalog: Catalog) -> None:
    text = "{floors: {false_alarms: 1000000}, rules: {cover_battery: {precision: %s, reason: A battery is flat.}}}"
    (allowed,) = card_with(files, catalog, text % 0.0).misses
    assert (allowed.allowed, allowed.reason) == (True, "A battery is flat.")
    (beyond,) = card_with(files, catalog, text % 0.5).misses
    assert not beyond.allowed


def test_a_small_card_complains_only_of_what_chance_does_not_explain(
    tiny: Tiny, files: Files, catalog: Catalog
) -> None:
    assert card_with(files, catalog, "{}", small=True).misses == []
    assert {miss.about for miss in card_with(files, catalog, "{}").misses} == {"all rules", "rule cover_battery"}


def test_a_rule_that_no_longer_speaks_falls_below_its_floor(tiny: Tiny, files: Files, catalog: Catalog) -> None:
    files.rules.write_text(RULES.replace("h2s_ppm > 10", "h2s_ppm > 100"), encoding="utf-8")
    found = [miss for miss in report_of(files, catalog).card.misses if miss.figure == "recall"]
    assert [(miss.about, miss.found) for miss in found] == [("kind gas_rise", 0.0)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("floors: {recal: 1}", "floors.recal: unknown key; known here: recall, precision"),
        ("floors: {recall: 2}", "floors.recall: expected a number from 0.0 to 1.0"),
        ("kinds: {seepage: {recall: 0.5}}", "kinds.seepage: the key 'reason' is missing"),
        ("rules: {lamp_out: {recall: 0.5, reason: no}}", "rules.lamp_out.recall: unknown key"),
        ("grace: {seepage: 3}", "grace.seepage: expected a length of time"),
    ],
)
def test_a_mistake_in_the_floors_is_named_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=r"floors\.yaml:1") as caught:
        parse_floors(parse_yaml(text, "floors.yaml"))
    assert problem in str(caught.value)


def test_the_shipped_floors_are_those_of_the_reference_and_every_exception_says_why() -> None:
    floors = load_floors(ROOT / "config" / "floors.yaml")
    assert (floors.recall, floors.precision, floors.false_alarms, floors.fragmentation) == (0.95, 0.90, 1.5, 1.1)
    for exempt in (*floors.kinds.values(), *floors.rules.values()):
        assert exempt.floors
        assert len(exempt.reason) > 20


def shipped(catalog: Catalog) -> tuple[Node, RuleSet]:
    from alerts.rules import read_rules

    root, source = read_rules(ROOT / "config" / "rules.yaml")
    return root, parse_rules(root, catalog, source)


def test_every_shipped_rule_can_be_made_naive(catalog: Catalog) -> None:
    root, rules = shipped(catalog)
    how = load_naivety(ROOT / "config" / "naive_rules.yaml")
    naive, kept = naive_rules(root, rules, how, catalog)
    assert [one.id for one in naive] == [one.id for one in rules]
    assert len(kept) <= len(rules) // 10, kept
    patient = [one for one in naive if one.id not in kept and (one.for_ms or one.keep_ms)]
    assert not patient


def test_a_naive_rule_is_its_threshold_alone(catalog: Catalog) -> None:
    text = """
rules:
  - id: lamp_out
    device: streetlight
    role: lamp
    on: expected_on and on_for_min > 15 and power_w < 0.3 * rated_power_w
    for: 15m
    samples: 3
    off: power_w > 0.6 * rated_power_w
    keep: 10m
    severity: minor
    message: {en: "{name}", zh: "{name}"}
"""
    root = parse_yaml(text)
    how = load_naivety(ROOT / "config" / "naive_rules.yaml")
    naive, kept = naive_rules(root, parse_rules(root, catalog), how, catalog)
    (plain,) = naive
    assert (plain.for_ms, plain.keep_ms, plain.params.samples, plain.params.off) == (0, 0, 1, None)
    assert plain.params.on.text == "(expected_on) and (power_w < 0.3 * rated_power_w)"
    assert kept == []


def test_only_guards_that_stand_beside_something_else_are_left_out() -> None:
    guards = frozenset({"on_for_min"})
    assert unguarded("on_for_min > 15 and a < 1", guards) == "(a < 1)"
    assert unguarded("on_for_min > 15", guards) == "on_for_min > 15"
    assert unguarded("a < 1 or on_for_min > 15", guards) == "a < 1 or on_for_min > 15"


def test_random_alerts_keep_the_number_and_length_and_fall_on_the_rules_own_devices(
    tiny: Tiny, catalog: Catalog
) -> None:
    rules = parse_rules(parse_yaml(RULES), catalog)
    listener = Listener(rules, tiny.registry, tiny.sky)
    said = play(tiny, {"ours": listener}, lambda: 0.0).said["ours"]
    rng = np.random.default_rng(3)
    drawn = random_alerts([*said, replace_suppressed(said[0])], rules, tiny.registry, (START, START + DAY), rng)
    assert sorted(one.rule for one in drawn) == sorted(one.rule for one in said)
    assert {one.entity for one in drawn} <= {f"device:cover-{n}" for n in range(4)}
    gas = next(one for one in said if one.rule == "gas_h2s")
    assert {one.until_ms - one.told_ms for one in drawn if one.rule == "gas_h2s"} == {gas.until_ms - gas.told_ms}


def test_random_alerts_are_drawn_also_for_rules_that_speak_of_other_kinds(tiny: Tiny, catalog: Catalog) -> None:
    _, rules = shipped(catalog)
    told = [
        Said("clock_skew", "device:cover-1", "info", START, START, START),
        Said("lamp_out", "device:cover-1", "info", START, START, START),
    ]
    told += [Said("lighting_rate", "road:nowhere", "minor", START, START, START)]
    drawn = random_alerts(told, rules, tiny.registry, (START, START + DAY), np.random.default_rng(3))
    assert len(drawn) == 3


def replace_suppressed(one: object) -> object:
    return one._replace(suppressed=True)  # type: ignore[attr-defined]


@pytest.mark.parametrize("stride", [0, 5 * MINUTE, 17 * MINUTE])
def test_gathered_steps_leave_nothing_out_and_alerts_as_they_are(tiny: Tiny, catalog: Catalog, stride: int) -> None:
    rules = parse_rules(parse_yaml(RULES), catalog)
    plain = play(tiny, {"ours": Listener(rules, tiny.registry, tiny.sky)}, lambda: 0.0)
    other = play(tiny, {"ours": Listener(rules, tiny.registry, tiny.sky)}, lambda: 0.0, stride_ms=stride)
    assert other.readings == plain.readings == 480
    assert other.said == plain.said
    moments = [now for now, _ in gathered(tiny.steps(), stride)]
    assert moments[-1] == tiny.end_ms
    assert all(later - sooner >= stride for sooner, later in pairwise(moments[:-1]))


def test_steps_are_not_gathered_over_a_pause() -> None:
    moments = [0, 1, 2, 100, 101, 102]
    assert [now for now, _ in gathered(((now, []) for now in moments), 10)] == [0, 2, 100, 102]


def test_seeds_to_tune_on_and_to_report_on_never_meet() -> None:
    for sizes in (FULL, SMALL):
        families = sorted(sizes)
        tuned = {job.seed for job in jobs(sizes, "A", families, every_baseline=False)}
        told = {job.seed for job in jobs(sizes, "B", families, every_baseline=False)}
        assert not tuned & told


def test_the_dearest_courses_are_played_first() -> None:
    order = jobs(SPEED, "A", sorted(SPEED), every_baseline=False)
    assert order[0].family == "trucks"
    assert all(sooner.cost >= later.cost for sooner, later in pairwise(order))


def test_the_full_card_is_as_large_as_the_catalogue_asks_and_the_medium_one_a_tenth_of_its_faults() -> None:
    asked = {"lighting": 280_000, "drainage": 44_000, "manholes": 30_000, "trucks": 36_000, "system": 30_000}
    for family, device_days in asked.items():
        full, medium = FULL[family], MEDIUM[family]
        assert full.size.devices * full.size.days * full.courses >= device_days, family
        assert full.size.each * full.courses >= 200, family
        assert medium.size.each * medium.courses >= 20, family


def test_grace_follows_the_rules_patience_unless_written_down(catalog: Catalog) -> None:
    _, rules = shipped(catalog)
    found = graces(rules, replace(Floors(), grace_ms={"cabinet_out": 7}), catalog)
    assert found["cabinet_out"] == 7
    assert found["lamp_out"] >= (15 + 2 * 15) * MINUTE


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, "–"), (4.0, "4 s"), (90.0, "1.5 min"), (7200.0, "2 h"), (864000.0, "10 d")]
)
def test_lengths_of_time_are_told_as_people_do(seconds: float | None, words: str) -> None:
    assert told_s(seconds) == words
