"""A city's own rules on the card: what they gain over others on the same courses, and faults of one's own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from alerts.rules import load_rules
from devices.kinds import Catalog
from devices.yamlfile import ConfigError
from lamplighter.progress import left_words
from lamplighter.score_command import Asked, known_kinds, make
from lamplighter.score_play import play_all
from lamplighter.settings import load_settings
from simulators.card import plan
from simulators.card.floors import load_floors
from simulators.card.intervals import needed, share_interval
from simulators.card.kept import keep, kept, key_of
from simulators.card.page import page
from simulators.card.plan import Dealt, Files, Job, Share, deal
from simulators.card.report import Report, make_report
from simulators.course import Size
from simulators.faults import KINDS
from simulators.own_faults import load_own_faults
from tests.unit.tiny_course import RULES, Tiny

ROOT = Path(__file__).resolve().parents[2]
JOB = Job("manholes", 1000, Share(Size(4, 1, 1), 1, 0), baselines=False)
SLOW = RULES.replace("h2s_ppm > 10", "h2s_ppm > 100")  # never sees the gas
WARM = """
  - id: cover_hot
    device: manhole
    on: temperature_c > 60
    for: 2m
    severity: major
    finds: [fire_below]
    message: {en: "{name}", zh: "{name}"}
"""
FIRE = """
faults:
  - kind: fire_below
    about: Something burns in the chamber.
    device: manhole
    role: cover
    change: {h2s_ppm: {times: 20}, temperature_c: {set: 80}}
    lasts: [20m, 30m]
    rules: [gas_h2s]
    each: 2
"""


@pytest.fixture
def files(tmp_path: Path) -> Files:
    for name, text in (("rules", RULES), ("other", SLOW), ("floors", "floors: {recall: 0.95}\n"), ("mine", FIRE)):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    named = [tmp_path / "rules.yaml", tmp_path / "floors.yaml", ROOT / "config" / "naive_rules.yaml"]
    return Files(*named, tmp_path / "other.yaml")


@pytest.fixture
def tiny(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "import_module", lambda _: SimpleNamespace(build=lambda *_: Tiny(catalog)))
    known = dict(KINDS)
    yield
    KINDS.clear()
    KINDS.update(known)


def report_of(files: Files, catalog: Catalog, dealt: Dealt) -> Report:
    rules, floors = load_rules(files.rules, catalog), load_floors(files.floors)
    other = None if files.against is None else (files.against.name, load_rules(files.against, catalog))
    about = {"seeds": "A", "plan": "full", "machine": "a test", "wall_s": 1.0, "processes": 1}
    return make_report([dealt], rules, catalog, floors, against=other, **about)


@pytest.mark.usefixtures("tiny")
def test_rules_say_what_they_gain_over_others_on_the_same_course(files: Files, catalog: Catalog) -> None:
    against = report_of(files, catalog, deal(JOB, files, catalog, lambda: 0.0)).against
    assert against is not None
    (gas,) = against.gains
    assert (gas.rule, gas.state, gas.found, gas.lost) == ("gas_h2s", "changed", {"gas_rise": 1}, {})
    assert (gas.precision.hits, gas.before.of) == (1, 0)
    ((before, now),) = against.kinds
    assert (before.recall.hits, now.recall.hits) == (0, 1)


@pytest.mark.usefixtures("tiny")
def test_what_is_lost_and_what_comes_later_is_said_as_well(files: Files, catalog: Catalog) -> None:
    back = Files(files.against or files.rules, files.floors, files.naive, files.rules)
    against = report_of(back, catalog, deal(JOB, back, catalog, lambda: 0.0)).against
    assert against is not None
    assert [(one.rule, one.lost) for one in against.gains] == [("gas_h2s", {"gas_rise": 1})]
    files.rules.write_text(RULES.replace("for: 2m", "for: 7m"), encoding="utf-8")
    (files.against or files.rules).write_text(RULES, encoding="utf-8")
    against = report_of(files, catalog, deal(JOB, files, catalog, lambda: 0.0)).against
    assert against is not None
    assert [(one.rule, one.sooner_s, one.sooner_of) for one in against.gains] == [("gas_h2s", -300.0, 1)]


@pytest.mark.usefixtures("tiny")
def test_equal_rules_differ_in_nothing(files: Files, catalog: Catalog) -> None:
    (files.against or files.rules).write_text(RULES, encoding="utf-8")
    against = report_of(files, catalog, deal(JOB, files, catalog, lambda: 0.0)).against
    assert against is not None
    assert (against.gains, against.kinds) == ([], [])


@pytest.mark.usefixtures("tiny")
def test_a_fault_of_ones_own_is_laid_over_the_course_and_found_by_a_rule_that_says_so(
    files: Files, catalog: Catalog
) -> None:
    mine = Files(files.rules, files.floors, files.naive, files.against, files.rules.parent / "mine.yaml")
    report = report_of(mine, catalog, deal(JOB, mine, catalog, lambda: 0.0))
    fire = next(one for one in report.card.kinds if one.kind == "fire_below")
    assert (fire.rule, fire.recall.hits, fire.recall.of) == ("gas_h2s", 2, 2)
    assert fire.delay.p95_s == 120.0
    assert report.card.total.recall.of == 3
    without = report_of(files, catalog, deal(JOB, files, catalog, lambda: 0.0))
    assert without.card.total.recall.of == 1


@pytest.mark.usefixtures("tiny")
def test_a_rule_without_finds_speaks_falsely_of_a_fault_that_is_not_its_own(files: Files, catalog: Catalog) -> None:
    text = FIRE.replace("temperature_c: {set: 80}", "temperature_c: {set: 80}, battery_percent: {set: 5}")
    (files.rules.parent / "mine.yaml").write_text(text, encoding="utf-8")
    mine = Files(files.rules, files.floors, files.naive, None, files.rules.parent / "mine.yaml")

    def precision() -> tuple[int, int]:
        report = report_of(mine, catalog, deal(JOB, mine, catalog, lambda: 0.0))
        found = next(one.precision for one in report.card.rules if one.rule == "cover_battery")
        return found.hits, found.of

    assert precision() == (0, 3)
    finds = RULES.replace("on: battery_percent", "finds: [fire_below]\n    on: battery_percent")
    files.rules.write_text(finds, encoding="utf-8")
    assert precision()[0] >= 2  # one of them may fall on the cover whose battery is flat


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("device: manhole", "device: manhol", r"mine\.yaml:5: faults\[0\]\.device: expected one of .*manhole"),
        ("role: cover", "role: lid", r"mine\.yaml:6: faults\[0\]\.role: expected one of cover"),
        ("{h2s_ppm: {times", "{h2s: {times", r"change\.h2s: a cover of manhole has no field 'h2s'; it has tilt_deg"),
        ("{times: 20}", "{time: 20}", r"change\.h2s_ppm\.time: unknown key; known here: set, times, plus"),
        ("kind: fire_below", "kind: gas_rise", r"'gas_rise' is a kind of the simulators already"),
        ("[20m, 30m]", "[30m, 20m]", r"lasts: expected a length of time, or the shortest and the longest"),
        ("    rules: [gas_h2s]\n", "", r"the key 'rules' is missing: ids of the rules that may say it"),
        ("each: 2", "when: rated_power_w > 2", r"faults\[0\]\.when: "),
    ],
)
def test_a_mistake_in_ones_own_faults_is_named_with_its_place(
    old: str, new: str, said: str, tmp_path: Path, catalog: Catalog
) -> None:
    assert old in FIRE
    (tmp_path / "mine.yaml").write_text(FIRE.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load_own_faults(tmp_path / "mine.yaml", catalog)


def test_a_kind_of_fault_that_nobody_knows_is_named(files: Files, catalog: Catalog) -> None:
    files.rules.write_text(RULES + WARM, encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"rules\.yaml: rule 'cover_hot': finds: no kind of fault 'fire_below'; known: "
    ):
        known_kinds([(files.rules, load_rules(files.rules, catalog))])


@pytest.mark.usefixtures("tiny")
def test_a_card_that_was_broken_off_goes_on_with_the_courses_that_are_left(
    files: Files, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Job("manholes", 1001, JOB.share, baselines=False)
    dealt = deal(JOB, files, catalog, lambda: 0.0)
    keep(tmp_path / "kept", dealt)
    again = kept(tmp_path / "kept", JOB)
    assert again is not None
    assert (again.tallies, again.gains, again.readings) == (dealt.tallies, dealt.gains, dealt.readings)
    assert kept(tmp_path / "kept", other) is None
    played: list[Job] = []

    def note(job: Job, *_: object) -> Dealt:
        played.append(job)
        return Dealt(job, dealt.tallies, 1, 1, 1.0, 0.0, {"ours": 0.0}, [])

    monkeypatch.setattr("lamplighter.score_play.deal", note)
    found = play_all(load_settings(None), files, [JOB, other], 2, progress=False, folder=tmp_path / "kept")
    assert (played, [one.job for one in found]) == ([other], [JOB, other])
    assert kept(tmp_path / "kept", other) is not None


def test_what_is_kept_belongs_to_the_very_same_rules_and_plan(files: Files) -> None:
    keys = {key_of([JOB], [files.floors]), key_of([JOB], [files.rules]), key_of([JOB], [files.floors], ["x"])}
    keys |= {key_of([JOB, JOB], [files.floors]), key_of([JOB], [files.floors])}
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("before", "done", "elapsed_s", "said"),
    [
        (0, 0, 3, "3 s so far"),
        (0, 25, 60, "60 s so far, about 3 min left"),
        (50, 75, 3600, "60 min so far, about 60 min left"),
        (0, 10, 3600, "60 min so far, about 9 h 00 min left"),
    ],
)
def test_how_long_it_will_take_yet_is_told(before: float, done: float, elapsed_s: float, said: str) -> None:
    assert left_words(100.0, before, done, elapsed_s) == said


def test_so_many_faults_without_a_miss_prove_a_recall() -> None:
    assert needed(0.95) == 72
    assert share_interval(72, 72).low >= 0.95 > share_interval(71, 71).low


@pytest.mark.usefixtures("tiny")
def test_the_page_says_of_which_kinds_there_were_too_few_faults(files: Files, catalog: Catalog) -> None:
    report = report_of(files, catalog, deal(JOB, files, catalog, lambda: 0.0))
    text = page(report)
    assert (
        "1 of 1 kinds: so few faults leave a recall on both sides of 0.95 possible. With none missed it takes 72."
        in text
    )
    assert "`gas_rise` 1/1" in text
    assert "0 kinds proved, 0 refuted, 1 open" in text


@pytest.mark.usefixtures("tiny")
def test_the_chinese_page_has_the_same_tables_and_the_same_figures(files: Files, catalog: Catalog) -> None:
    report = report_of(files, catalog, deal(replace(JOB, baselines=True), files, catalog, lambda: 0.0))
    pages = [page(report, language) for language in ("en", "zh")]
    tables = [[line for line in text.splitlines() if line.startswith("|")] for text in pages]
    assert len(tables[0]) == len(tables[1]) > 20
    figures = [[re.findall(r"\d+\.\d+|`\w+`", line) for line in lines] for lines in tables]
    assert figures[0] == figures[1]
    heads = [line for line in pages[1].splitlines() if line.startswith("#")]
    assert all(re.search(r"[一-鿿]", head) for head in heads)
    assert "| `gas_h2s` | 修改 |" in pages[1]


@pytest.mark.usefixtures("tiny")
def test_a_rule_that_is_gone_is_named_only_where_it_had_spoken(files: Files, catalog: Catalog) -> None:
    (files.against or files.rules).write_text(RULES, encoding="utf-8")
    files.rules.write_text("rules:\n" + WARM.replace("finds: [fire_below]", "enabled: true"), encoding="utf-8")
    against = report_of(files, catalog, deal(JOB, files, catalog, lambda: 0.0)).against
    assert against is not None
    assert [(one.rule, one.state) for one in against.gains] == [
        ("cover_hot", "new"),
        ("cover_battery", "gone"),
        ("gas_h2s", "gone"),
    ]
    (files.against or files.rules).write_text(SLOW, encoding="utf-8")
    against = report_of(files, catalog, deal(JOB, files, catalog, lambda: 0.0)).against
    assert against is not None
    assert [one.rule for one in against.gains] == ["cover_hot", "cover_battery"]


@pytest.mark.usefixtures("tiny")
def test_a_full_card_that_is_broken_off_says_so_and_is_finished_by_the_same_command(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(plan.FULL, "manholes", Share(Size(4, 1, 1), 3, 0))
    settings = load_settings(None).model_copy(update={"data": tmp_path / "data", "rules": files.rules})
    asked = Asked("A", "full", ("manholes",), 1, None, baselines=False, keep=True)
    played: list[int] = []

    def deal_two(job: Job, *more: object) -> Dealt:
        if len(played) == 2:
            raise KeyboardInterrupt
        played.append(job.seed)
        return deal(job, *more)  # type: ignore[arg-type]

    monkeypatch.setattr("lamplighter.score_play.deal", deal_two)
    with pytest.raises(KeyboardInterrupt):
        make(settings, asked)
    assert "2 of 3 courses are kept in" in capsys.readouterr().err
    monkeypatch.setattr("lamplighter.score_play.deal", lambda job, *more: played.append(job.seed) or deal(job, *more))
    report = make(settings, asked)
    assert sorted(played) == [1000, 1001, 1002], "each course was played once"
    assert report.card.total.recall.of == 3
    assert list((tmp_path / "data" / "score").iterdir()) == []
