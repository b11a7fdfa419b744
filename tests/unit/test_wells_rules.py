"""Filling and hourly inflow against their slow twins, cut up anyhow; and the drainage course's promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alerts.filling import FIGURES as FILLING
from alerts.filling import FillingJudge
from alerts.inflow_hours import FIGURES as HOURLY
from alerts.inflow_hours import Hours
from alerts.rules import RuleSet, load_rules
from devices.kinds import Catalog, load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from simulators.course import Size
from simulators.courses.drainage import LEARN_DAYS, build
from simulators.faults import KINDS
from simulators.oracle_wells import FillingTwin, HoursTwin
from simulators.weather import DAY_MS

CONFIG = Path(__file__).parents[2] / "config"
START = 1_780_000_000_000
MIN = 60_000


@pytest.fixture(scope="module")
def rules(catalog: Catalog) -> RuleSet:
    return load_rules(CONFIG / "rules.yaml", catalog)


def judge(rules: RuleSet, stations: int) -> FillingJudge:
    assets = [Asset(f"station-{k}", "pump", "station", facts={"overflow_level_m": 4.0}) for k in range(stations)]
    registry = Registry(load_catalog(), assets)
    return FillingJudge(rules["well_overflow_soon"], registry, Sky(registry, "Asia/Shanghai"))


@pytest.mark.parametrize("cut", [1, 13, 400])
def test_filling_is_what_a_slow_twin_works_out(rules: RuleSet, cut: int) -> None:
    rng, stations = np.random.default_rng(4), 3
    time = START + np.cumsum(
        rng.choice([20_000, MIN, 5 * MIN, 20 * MIN], (400, stations), p=[0.2, 0.7, 0.07, 0.03]), axis=0
    )
    level = 2 + np.cumsum(rng.normal(0, 0.03, (400, stations)), axis=0)
    level[rng.random((400, stations)) < 0.05] = np.nan
    pumps = (np.arange(400)[:, np.newaxis] // 30 % 3).astype(float).repeat(stations, axis=1)
    rain = np.where(rng.random((400, stations)) < 0.01, 2.0, 0.0)
    columns, found = judge(rules, stations), []
    for first in range(0, 400, cut):
        part = slice(first, min(first + cut, 400))
        at = np.repeat(np.arange(stations), part.stop - part.start)
        flat = [table[part].T.ravel() for table in (time, level, pumps, rain)]
        known = ~np.isnan(flat[1]) | (flat[3] >= 0.1)
        figures = columns._figures(at[known], *(column[known] for column in flat))
        has = ~np.isnan(flat[1][known])
        told = np.array([figures[name][has] for name in FILLING])
        found += [
            (int(s), int(t), *row)
            for s, t, row in zip(at[known][has], flat[0][known][has], told.T.tolist(), strict=True)
        ]
    slow = []
    for station in range(stations):
        twin = FillingTwin(4.0)
        for k in range(400):
            one = twin.take(
                int(time[k, station]), float(level[k, station]), float(pumps[k, station]), float(rain[k, station])
            )
            if one is not None:
                slow.append((station, int(time[k, station]), *(one[name] for name in FILLING)))
    assert len(found) == len(slow) > 1000
    assert np.array(sorted(found)) == pytest.approx(np.array(sorted(slow)), rel=1e-9, abs=1e-9, nan_ok=True)


def test_hours_are_what_a_slow_twin_works_out(rules: RuleSet) -> None:
    rng, params = np.random.default_rng(2), rules["inflow_burst"].params
    hours, twins, rain = Hours(3, params), [HoursTwin(params.coverage, params.dry_ms) for _ in range(3)], [0, 0, 0]
    for hour in range(500_000, 500_000 + 24 * 30):
        at = np.flatnonzero(rng.random(3) < 0.9)
        like = hour % 24 + 24 * (hour // 24 % 7 >= 5)
        for one in at.tolist():
            seconds = float(rng.choice([3600.0, 1800.0, 600.0], p=[0.8, 0.1, 0.1]))
            hours.state["hour"][one], hours.state["like"][one] = hour, like
            hours.state["seconds"][one] = seconds
            hours.state["litres"][one] = seconds * rng.uniform(5, 9)
            hours.state["seen_s"][one] = seconds * float(rng.choice([0.0, 0.1, 0.5, 1.0]))
            hours.state["seen_l"][one] = hours.state["seen_s"][one] * rng.uniform(5, 9)
            if rng.random() < 0.01:
                rain[one] = hours.state["rain_ms"][one] = hour * 3_600_000
        known, seen = (
            {one: (float(hours.state[litres][one]), float(hours.state[seconds][one])) for one in at.tolist()}
            for litres, seconds in (("litres", "seconds"), ("seen_l", "seen_s"))
        )
        figures = hours.finish(at)
        for k, one in enumerate(at.tolist()):
            slow = twins[one].hour(hour, like, known[one], seen[one], rain[one])
            for name in HOURLY:
                assert figures[name][k] == pytest.approx(slow[name], rel=1e-9, nan_ok=True), name
    assert not np.isnan(figures["usual_lps"]).any()


def test_rain_too_light_for_a_single_report_makes_an_hour_wet_all_the_same(rules: RuleSet) -> None:
    hours, at = Hours(2, rules["inflow_burst"].params), np.arange(2)
    hours.state["hour"][:], hours.state["rain_mm"][:] = 500_000, (0.3, 0.1)  # of sixty reports in which it stood
    assert hours.finish(at)["dry"].tolist() == [0.0, 1.0]
    assert hours.state["rain_ms"].tolist() == [500_001 * 3_600_000, 0]
    assert hours.state["rain_mm"].tolist() == [0.0, 0.0]


def test_a_course_draws_each_kind_that_a_rule_can_say_and_shows_it(catalog: Catalog, rules: RuleSet) -> None:
    course = build(1001, Size(8, 5, 1), catalog, rules)
    planned = course.truth()
    assert {"pump_fault", "fail_start", "dry_run", "level_stuck", "manual", "waves"} <= {f.kind for f in planned}
    assert all(f.on_ms >= course.start_ms + LEARN_DAYS * DAY_MS for f in planned)
    assert all(f.confounder or f.rule in {rule.id for rule in rules} for f in planned)
    assert all(f.off_ms <= course.end_ms for f in planned)
    past = [now for now, _ in course.past]
    assert past == sorted(past)
    assert past[-1] <= course.start_ms
    assert past[0] < course.start_ms - 40 * DAY_MS
    readings = sum(len(batch) for _, batches in course.steps() for batch in batches)
    assert readings > 8 * 3 * 1440 * (LEARN_DAYS + 5)
    unseen = [f.kind for f in course.truth() if not f.seen_ms]
    assert unseen == []
    assert {KINDS[f.kind].kind for f in course.truth()} == {f.kind for f in planned}
