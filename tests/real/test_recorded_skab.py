"""SKAB, a real pump rig with its faults labelled row by row: what the rules said, recording by recording."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.rules import RuleSet
from bench.skab.play import Line, Run, catalog, line, rig_rules, runs, shipped_rules
from devices.kinds import Catalog

pytestmark = pytest.mark.shared_data
MISSED = {"other_13", "other_2", "valve2_0", "other_8", "valve1_4"}
FALSE = {"other_13": ["rig_flow"], "anomaly-free_anomaly-free": ["rig_flow", "rig_flow", "rig_water"]}


@pytest.fixture(scope="module")
def known() -> Catalog:
    return catalog()


@pytest.fixture(scope="module")
def recordings(shared_data: Path, known: Catalog) -> list[Run]:
    return runs(shared_data, known)


def test_the_halves_are_every_second_recording_and_every_fault_is_labelled(recordings: list[Run]) -> None:
    assert [run.name for run in recordings if run.tuning] == [
        "other_10", "other_13", "other_2", "other_5", "valve1_1", "valve1_14", "valve1_2", "valve1_5", "valve2_0",
    ]  # fmt: skip
    assert [len(run.faults) for run in recordings] == [1] * 17 + [0]
    assert 4.5 < sum(run.hours for run in recordings) < 5.5


def test_the_rig_s_own_rules_say_what_the_page_of_measurements_says(known: Catalog, recordings: list[Run]) -> None:
    rules: RuleSet = rig_rules(known)
    lines: list[Line] = [line(run, rules, known) for run in recordings]
    assert {one.run.name for one in lines if None in one.delays_s} == MISSED
    assert {one.run.name: sorted(alert.rule for alert in one.false) for one in lines if one.false} == FALSE
    late = [delay for one in lines for delay in one.delays_s if delay is not None]
    assert min(late) < 5.0
    assert max(late) < 90.0


def test_the_shipped_rules_for_pumps_hear_nothing_of_it_and_are_not_misled_by_a_noisy_current(
    known: Catalog, recordings: list[Run]
) -> None:
    rules = shipped_rules(known)
    assert [one for run in recordings for one in line(run, rules, known, run.pump).told] == []
