"""The shipped rules' own tests: all pass, and say of each when it speaks and when it must not."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from alerts.rules import read_rules
from alerts.ruletest import RuleTest, Told
from alerts.ruletest_play import ALONE, SINGLE, Way, play, steps
from alerts.ruletest_reader import all_rules
from alerts.ruletest_verdict import Verdict, judge
from devices.batch import MARK_LATE
from devices.kinds import Catalog
from devices.sky import Sky
from lamplighter.rules_commands import read_tests
from simulators.oracle import Oracle

CONFIG = Path(__file__).parents[2] / "config"
FILES = sorted((CONFIG / "rule_tests").glob("*.yaml"))
_VERDICTS: dict[str, list[Verdict]] = {}


def verdicts(path: Path, catalog: Catalog) -> list[Verdict]:
    if path.name not in _VERDICTS:
        _VERDICTS[path.name] = [judge(one) for one in read_tests([path], None, CONFIG / "rules.yaml", catalog)]
    return _VERDICTS[path.name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_test_of_a_shipped_rule_passes_in_every_way_it_can_be_played(path: Path, catalog: Catalog) -> None:
    found = verdicts(path, catalog)
    wrong = [f"{one.test.name}: {failure.about} {failure.lines}" for one in found for failure in one.failures]
    assert not wrong
    assert all(one.ways >= 2 for one in found)


def test_every_shipped_rule_has_a_test_in_which_it_speaks_and_one_in_which_it_must_not(catalog: Catalog) -> None:
    speaks: dict[str, int] = defaultdict(int)
    silent: dict[str, int] = defaultdict(int)
    ends: set[str] = set()
    for path in FILES:
        for verdict in verdicts(path, catalog):
            ends |= {one.rule for one in verdict.test.transitions or () if one.state == "cleared"}
            for rule in verdict.test.rules:
                (speaks if rule.id in verdict.fired else silent)[rule.id] += 1
    shipped = {rule.id for rule in all_rules(read_rules(CONFIG / "rules.yaml")[0], catalog)}
    assert shipped <= set(speaks), "speak"
    assert shipped <= set(silent), "must not"
    assert shipped <= ends, "end"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_slow_twin_tells_what_the_engine_tells(path: Path, catalog: Catalog) -> None:
    for test in read_tests([path], None, CONFIG / "rules.yaml", catalog):
        if all(rule.kind in SINGLE for rule in test.rules):
            assert sorted(_twin(test)) == sorted(play(test, ALONE).told), test.name


def test_a_way_that_makes_a_difference_is_noticed(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_tests([CONFIG / "rule_tests" / "lamps.yaml"], None, CONFIG / "rules.yaml", catalog)[0]
    forgetful = Way("loaded by an engine that forgets everything", restart=True)
    monkeypatch.setattr("alerts.ruletest_play.WAYS", (forgetful,))
    monkeypatch.setattr("alerts.engine.Engine.load", lambda self, state: None)
    found = judge(first)
    assert [failure.about for failure in found.failures] == [f"played otherwise it tells otherwise: {forgetful.name}"]


def _twin(test: RuleTest) -> list[Told]:
    registry = test.registry
    oracle = Oracle(test.rules, registry, Sky(registry, test.zone, test.rules.lighting), max(60_000, 2 * test.tick_ms))
    out = []
    for now, batches in steps(test, {one.at_ms for one in test.expect}, gathered=False):
        oracle.begin(now)
        for batch in batches:
            for place in range(len(batch)):
                values = dict(zip(batch.kind.field_names(), batch.values[:, place].tolist(), strict=True))
                late = bool(batch.marks[place] & MARK_LATE)
                out += oracle.reading(int(batch.device[place]), int(batch.time_ms[place]), values, now, late=late)
        out += oracle.tick(now)
    return [Told(one.at_ms, one.rule, one.state, one.entity, one.onset_ms, one.reason) for one in out]
