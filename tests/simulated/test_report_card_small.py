"""The small report card: every family's course through the real engine; a rule below its floor fails here."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.virtual import run
from lamplighter.score_command import Asked, make, write
from lamplighter.settings import load_settings
from simulators.card import plan
from simulators.card.plan import SMALL, Share, has_course
from simulators.course import Size


@pytest.mark.parametrize("family", sorted(SMALL))
def test_no_rule_of_a_family_falls_below_its_floor(family: str, tmp_path: Path) -> None:
    assert has_course(family)
    report = make(load_settings(None), Asked("A", "small", (family,), 1, None, baselines=False))
    assert report.card.total.recall.of >= 5, "too few faults to say anything"
    assert [miss for miss in report.card.misses if not miss.allowed] == []
    write(report, tmp_path)
    assert (tmp_path / "report-card.md").read_text(encoding="utf-8").startswith("# Report card")


def test_the_bench_of_virtual_time_says_what_was_played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plan.SMALL, "manholes", Share(Size(12, 1, 1), 1, 300))
    found = run(small=True, processes=1, families=("manholes",))
    family = found["families"]["manholes"]
    assert found["devices"] == family["devices"] >= 12
    assert found["readings"] > 12 * 24
    assert family["judging_cpu_s"] > 0
