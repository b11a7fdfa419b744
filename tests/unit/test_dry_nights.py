"""Dry nights and storms: their figures against slow twins, what a mistake is told, and the course of slow faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alerts.dry_nights import DryNightsJudge
from alerts.engine import Engine
from alerts.night_figures import FIGURES, NightFigures, ground_lps
from alerts.rules import RuleSet, load_rules, parse_rules
from alerts.storms import FIGURES as STORM_FIGURES
from alerts.storms import StormsJudge
from devices.kinds import Catalog, load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.yamlfile import ConfigError, parse_yaml
from simulators.course import Size
from simulators.courses.seepage import build
from simulators.oracle_nights import NightsTwin, StormTwin

CONFIG = Path(__file__).parents[2] / "config"
FACTS = {"well_area_m2": 20.0, "pump_rate_lps": 60.0}


@pytest.fixture(scope="module")
def rules(catalog: Catalog) -> RuleSet:
    return load_rules(CONFIG / "rules.yaml", catalog)


def judge_of(rules: RuleSet, rule: str, stations: int) -> DryNightsJudge | StormsJudge:
    registry = Registry(
        load_catalog(), [Asset(f"station-{k}", "pump", "station", facts=FACTS) for k in range(stations)]
    )
    found = Engine(RuleSet((rules[rule],), rules.lighting), registry, Sky(registry, "Asia/Shanghai")).judges[0]
    assert isinstance(found, DryNightsJudge | StormsJudge)
    return found


def test_figures_of_a_dry_night_are_what_a_slow_twin_works_out(rules: RuleSet) -> None:
    rng, count = np.random.default_rng(8), 2
    judge = judge_of(rules, "seep_cusum", count)
    assert isinstance(judge, DryNightsJudge)
    book: NightFigures = judge.book
    twins = [NightsTwin(judge.own.allowance) for _ in range(count)]
    compared, s = 0, book.state
    for day in range(20_000, 20_415):
        for station in range(count):
            litres, seconds = float(rng.uniform(1, 2) * 8e5), float(rng.choice([86_400.0, 30_000.0]))
            at = (np.array([station]), np.array([day]))
            book.days.take(*at, np.array([litres]), np.array([seconds]))
            twins[station].days[day] = (litres, seconds)
            if rng.random() < 0.4:
                continue  # a wet night
            q, velocity = float(rng.lognormal(2.0, 0.05)), float(rng.choice([0.8, np.nan]))
            cell = day % s["day"].shape[1]
            s["day"][station, cell], s["q"][station, cell], s["covered"][station, cell] = day, q, 1.0
            s["velocity"][station, cell] = velocity
            book.judge(station, day, wet=False)
            assert s["phase"][station] == 0
            slow = twins[station].night(day, float(q), velocity)
            for name in FIGURES:
                same = pytest.approx(slow[name], rel=1e-6, nan_ok=True)
                assert book.figures[name] == same, (name, day)
                compared += not np.isnan(slow[name])
    assert compared > 3_000
    assert not np.isnan(book.figures["year_ratio"])


@pytest.mark.parametrize("known", [0.95, 0.6])
def test_figures_of_a_storm_are_what_a_slow_twin_works_out(rules: RuleSet, known: float) -> None:
    rng, count = np.random.default_rng(3), 2
    judge = judge_of(rules, "storm_inflow", count)
    assert isinstance(judge, StormsJudge)
    seen: list[dict[str, float]] = []
    plain = judge._figures

    def heard(at: np.ndarray, hour: np.ndarray, end_ms: np.ndarray) -> dict[str, np.ndarray]:
        figures = plain(at, hour, end_ms)
        seen.extend(
            {"station": float(one), **{name: float(figures[name][k]) for name in figures}}
            for k, one in enumerate(at.tolist())
            if not np.isnan(figures["m3_mm"][k])
        )
        return figures

    judge._figures = heard  # type: ignore[method-assign]
    twins, slow, wet = [StormTwin() for _ in range(count)], [], 0
    s = judge.hours.state
    s["past"][:] = rng.uniform(9.5, 10.5, s["past"].shape)
    for hour in range(490_000, 490_000 + 24 * 120):
        wet = wet - 1 if wet else 12 * (rng.random() < 0.012)
        at = np.arange(count)
        s["hour"][at], s["like"][at] = hour, hour % 24
        lps = np.where(rng.random(count) < known, 10 + (20.0 if wet else 0.0) * rng.uniform(0.9, 1.1, count), np.nan)
        s["seconds"][at] = np.where(np.isnan(lps), 0.0, 3600.0)
        s["litres"][at] = np.nan_to_num(lps) * 3600.0
        mm = float(rng.uniform(0.5, 3)) if wet else 0.0
        s["rain_mm"][at] = mm
        usual = [float(np.median(s["past"][one, hour % 24])) for one in range(count)]
        judge._judge(at)
        for one in range(count):
            dry = (hour + 1) * 3_600_000 - int(s["rain_ms"][one]) >= judge.params.dry_ms
            ended = twins[one].hour(hour, mm, float(lps[one]) - usual[one], dry=dry)
            if ended is not None:
                slow.append({"station": float(one), **ended})
    assert len(seen) == len(slow)
    assert len(slow) > 12 if known > 0.9 else len(slow) < 12
    for mine, theirs in zip(seen, slow, strict=True):
        for name in STORM_FIGURES:
            assert mine[name] == pytest.approx(theirs[name], rel=1e-9, nan_ok=True), name


def test_groundwater_grows_with_the_share_of_the_night_and_never_exceeds_the_flow() -> None:
    shares = [ground_lps(night, 15.0) / 15.0 for night in np.linspace(1.0, 15.0, 20)]
    assert shares == sorted(shares)
    assert 0.0 < shares[0] < 0.1
    assert shares[-1] == pytest.approx(1.0)
    assert np.isnan(ground_lps(float("nan"), 15.0))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("measure: level", "measure: flow"), "measure"),
        (("4 * sigma", "4 * well_area_m2"), "well_area_m2"),
        (("    nights: 3\n", "    nights: 0\n"), "nights"),
        (("    nights: 3\n", "    nights: 3\n    for: 2d\n"), "dry nights"),
        (("    nights: 3\n", "    nights: 3\n    on_ratio: 1.3\n"), "on_ratio"),
    ],
)
def test_a_mistake_in_a_dry_night_rule_is_told_with_its_line(
    catalog: Catalog, change: tuple[str, str], told: str
) -> None:
    text = (CONFIG / "rules" / "manholes.yaml").read_text(encoding="utf-8")
    text = "rules:\n  - id: seep_level\n" + text.partition("  - id: seep_level\n")[2]
    assert change[0] in text
    with pytest.raises(ConfigError, match=told) as trouble:
        parse_rules(parse_yaml(text.replace(*change), "own.yaml"), catalog)
    assert "own.yaml:" in str(trouble.value)


def test_the_seepage_course_has_one_fault_a_station_and_plays_its_past_first(catalog: Catalog, rules: RuleSet) -> None:
    course = build(1003, Size(12, 20, 1), catalog, rules, past_days=4)
    planned = course.truth()
    kinds = {fault.kind for fault in planned}
    assert {"seepage", "seepage_faint", "seepage_creep", "seepage_chronic", "well_seep", "roof_drains"} <= kinds
    assert len({fault.entity.removeprefix("device:")[:10] for fault in planned}) == len(planned)
    assert all(fault.off_ms <= course.end_ms for fault in planned)
    steps = course.steps()
    first = next(now for now, batches in steps if batches)
    assert first < course.start_ms - 3 * 86_400_000
    roles = set()
    for now, batches in steps:
        if now > course.start_ms:
            roles |= {course.registry.assets[row].role for batch in batches for row in batch.device.tolist()}
        if now > course.start_ms + 2 * 3_600_000:
            break
    assert roles == {"station", "well"}
