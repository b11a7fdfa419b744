"""Lighting rate: what is out, what is unknown, and how many out are too many for chance."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alerts.binomial import Critical, tail
from alerts.engine import Engine
from alerts.lightgroups import by_grid, by_place
from alerts.lighting_rate import LightingRateJudge
from alerts.rules import RuleSet, load_rules, parse_rules
from devices.batch import make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Registry, Road
from devices.sky import Sky
from devices.transition import Transition
from devices.yamlfile import ConfigError, parse_yaml
from tests.shipped_rules import one_text

CATALOG = load_catalog()
PATH = Path(__file__).parents[2] / "config" / "rules.yaml"
RULES = load_rules(PATH, CATALOG)
EVENING_MS = 1_760_180_400_000  # 2025-10-11 19:00 in Shanghai: an hour after sunset at 114.3 E 30.6 N
MINUTE_MS = 60_000


def street(count: int, road: str = "人民路", *, first: int = 0, **more: object) -> list[Asset]:
    given = {"district": "东区", "facts": {"rated_power_w": 100.0}, "lat": 30.6} | more  # no longitude, no grid cell
    return [
        Asset(f"lamp-{first + n:04d}", "streetlight", "lamp", road=road, **given)  # type: ignore[arg-type]
        for n in range(count)
    ]


class Night:
    """One engine with the lighting rate rule; lamps report every five minutes."""

    def __init__(self, lamps: list[Asset], roads: tuple[Road, ...] = (), rules: RuleSet | None = None) -> None:
        registry = Registry(CATALOG, lamps, roads=roads, centre=(114.3, 30.6))
        rules = rules or RuleSet((RULES["lighting_rate"],), RULES.lighting)
        self.engine = Engine(rules, registry, Sky(registry, "Asia/Shanghai", rules.lighting))
        self.watts = np.full(len(lamps), 95.0)
        self.silent = np.zeros(len(lamps), dtype=bool)
        self.more: dict[str, np.ndarray] = {}
        self.now_ms = EVENING_MS
        self.told: list[Transition] = []

    @property
    def judge(self) -> LightingRateJudge:
        found = self.engine.judges[0]
        assert isinstance(found, LightingRateJudge)
        return found

    def run(self, minutes: int) -> list[Transition]:
        kind = CATALOG["streetlight"]
        fresh = len(self.told)
        for _ in range(0, minutes, 5):
            self.now_ms += 5 * MINUTE_MS
            rows = np.flatnonzero(~self.silent)
            values = np.full((len(kind.fields), len(rows)), np.nan)
            for name, column in ({"power_w": self.watts} | self.more).items():
                values[kind.column(name)] = column[rows]
            batch = make_batch(kind, self.now_ms, np.full(len(rows), self.now_ms), rows, values)
            self.told += self.engine.step([batch], self.now_ms)
        return self.told[fresh:]

    def figure(self, scope: str, name: str) -> dict[str, object]:
        found = self.judge.figures(self.engine.fleet, self.now_ms)
        [one] = [f for f in found if f["scope"] == scope and f["name"] == name]
        return one


def test_the_critical_numbers_are_those_of_the_exact_binomial() -> None:
    sizes = np.array([10, 20, 30, 50, 100, 200, 500])
    assert Critical(0.02, 1e-3)(sizes).tolist() == [3, 4, 5, 6, 8, 12, 22]
    assert Critical(0.02, 1e-3)(np.array([0, 1, 2, 3])).tolist() == [1, 2, 2, 3], "one lamp alone is never too many"


def test_a_bare_percentage_is_a_false_alarm_machine_and_this_is_not() -> None:
    """A healthy 1 % out: how many nights a 20-lamp road lies below 98 %, and how many nights the rule would speak."""
    assert tail(1, 20, 0.01) == pytest.approx(0.182, abs=0.001)
    assert tail(4, 20, 0.01) < 5e-5
    assert tail(0, 5, 0.3) == 1.0
    assert tail(6, 5, 0.3) == 0.0
    assert tail(5, 5, 0.3) == pytest.approx(0.3**5)


def test_four_of_twenty_lamps_out_for_half_an_hour_is_an_alert_and_three_are_none() -> None:
    few = Night(street(20), (Road("人民路", ((114.3, 30.6), (114.31, 30.6)), "main"),))
    few.watts[:3] = 1.5
    assert few.run(240) == []
    many = Night(street(20), (Road("人民路", ((114.3, 30.6), (114.31, 30.6)), "main"),))
    many.watts[:4] = 1.5
    [told] = [t for t in many.run(120) if t.entity.startswith("road:")]
    assert told.state == "active"
    assert told.severity == "major", "a main road"
    assert 30 <= (told.at_ms - told.onset_ms) / MINUTE_MS <= 35
    shown = {name: told.values[name] for name in ("rate", "out", "known", "expected", "coverage")}
    assert shown == pytest.approx({"rate": 80, "out": 4, "known": 20, "expected": 20, "coverage": 100})
    assert told.values["p_value"] == pytest.approx(tail(4, 20, 0.02))
    assert "4 of 20 lamps out" in told.message["en"]
    assert "亮灯率 80.0%" in told.message["zh"]
    assert told.district == "东区"


def test_a_branch_road_has_a_lower_target_and_a_cabinet_the_common_one() -> None:
    night = Night(street(20, cabinet="cab-1"), (Road("人民路", ((114.3, 30.6), (114.31, 30.6)), "branch"),))
    night.watts[:4] = 1.5
    assert {t.entity for t in night.run(120)} == {"cabinet:cab-1"}, "4 of 20 happen once in 100 nights at 96 %"
    night.watts[:6] = 1.5
    assert night.run(60) == [], "the same lamps are told once, not again for their road"
    each = RuleSet((replace(RULES["lighting_rate"], params=replace(night.judge.params, once=False)),), RULES.lighting)
    night = Night(street(20, cabinet="cab-1"), (Road("人民路", ((114.3, 30.6), (114.31, 30.6)), "branch"),), each)
    night.watts[:6] = 1.5
    told = night.run(60)
    assert [(t.entity, t.severity) for t in told] == [("road:人民路", "minor"), ("cabinet:cab-1", "minor")]


def test_an_alert_ends_when_chance_explains_what_is_left_and_not_before() -> None:
    night = Night(street(20, cabinet="cab-1", road=""))
    night.watts[:5] = 0.0
    assert [t.state for t in night.run(120)] == ["active"]
    night.watts[:2] = 95.0
    assert night.run(120) == [], "three of twenty still lie between the two limits"
    night.watts[:4] = 95.0
    [told] = night.run(60)
    assert (told.state, told.reason) == ("cleared", "recovered")


def test_silent_lamps_are_unknown_and_never_out() -> None:
    night = Night(street(40, cabinet="cab-1", road=""))
    night.silent[:7] = True
    assert night.run(180) == []
    figure = night.figure("cabinet", "cab-1")
    assert figure["rate"] == 1.0
    assert figure["coverage"] == pytest.approx(33 / 40)
    assert (figure["rate_low"], figure["rate_high"]) == (pytest.approx(33 / 40), 1.0)
    assert (figure["lit"], figure["known"], figure["expected"]) == (33, 33, 40)


def test_below_four_fifths_coverage_nothing_is_raised_and_nothing_ends() -> None:
    night = Night(street(40, cabinet="cab-1", road=""))
    night.watts[30:] = 0.0
    night.silent[:9] = True
    assert night.run(180) == []
    night.silent[:9] = False
    assert [t.state for t in night.run(60)] == ["active"]
    night.silent[:9] = True
    assert night.run(60) == [], "the reports of the nine grow stale"
    night.watts[30:] = 95.0
    assert night.run(120) == []
    night.silent[:9] = False
    assert [t.reason for t in night.run(60)] == ["recovered"]


def test_dawn_ends_every_alert_and_says_that_it_was_the_schedule() -> None:
    night = Night(street(20, cabinet="cab-1", road=""))
    night.watts[:6] = 0.0
    told = night.run(14 * 60)
    assert [(t.state, t.reason) for t in told] == [("active", ""), ("cleared", "schedule_off")]
    hour = night.engine.sky.local_time(told[1].at_ms).hour
    assert hour in (5, 6)
    assert not list(night.judge.figures(night.engine.fleet, night.now_ms))


def test_a_lamp_counts_only_half_an_hour_after_its_switch_on_and_by_reports_made_since() -> None:
    night = Night(street(20, cabinet="cab-1", road=""))
    night.now_ms = EVENING_MS - 150 * MINUTE_MS
    night.watts[:] = 0.0
    before = night.run(80)
    assert before == []
    on_ms = night.now_ms
    sky = night.engine.sky
    while not sky.expected_on(np.array([0]), on_ms)[0]:
        on_ms += MINUTE_MS
    told = night.run(180)
    assert [t.state for t in told] == ["active"]
    assert told[0].onset_ms - on_ms >= 29 * MINUTE_MS
    assert told[0].at_ms - on_ms <= 70 * MINUTE_MS


def test_a_lamp_commanded_off_is_not_expected_and_a_dimmed_one_is_held_to_its_level() -> None:
    night = Night(street(40, cabinet="cab-1", road=""))
    night.more = {"command_percent": np.where(np.arange(40) < 20, 0.0, 40.0)}
    night.watts = np.where(np.arange(40) < 20, 0.5, 14.0)
    assert night.run(120) == []
    figure = night.figure("cabinet", "cab-1")
    assert (figure["expected"], figure["lit"]) == (20, 20), "14 W are a third of 40 % of 100 W"
    night.watts[20:] = 11.0
    assert [t.state for t in night.run(60)] == ["active"]


@pytest.mark.parametrize(
    ("more", "lit", "known"),
    [
        ({"current_a": 0.4}, 10, 10),
        ({"current_a": 0.01}, 0, 10),
        ({"lamp_failure": 0.0}, 10, 10),
        ({"lamp_failure": 1.0}, 0, 10),
        ({"voltage_v": 221.0}, 0, 0),
    ],
)
def test_without_a_power_meter_other_evidence_counts_and_none_is_unknown(
    more: dict[str, float], lit: int, known: int
) -> None:
    night = Night(street(10, cabinet="cab-1", road=""))
    night.watts[:] = np.nan
    night.more = {name: np.full(10, value) for name, value in more.items()}
    night.run(60)
    figure = night.figure("cabinet", "cab-1")
    assert (figure["lit"], figure["known"]) == (lit, known)


def test_cells_with_too_few_lamps_are_merged_with_their_neighbours() -> None:
    lamps = [
        *street(25, grid="E000N000"),
        *street(8, grid="E002N000", first=100),
        *street(12, grid="E003N001", first=200),
        *street(5, grid="E040N040", first=300),
        *street(9, grid="E-001N-001", first=400),
        *street(11, grid="E-002N-002", first=500),
        *street(30, grid="", first=600),
    ]
    registry = Registry(CATALOG, lamps, centre=(114.3, 30.6))
    groups = by_grid(registry, registry.rows_of("streetlight", "lamp"), 20)
    found = dict(zip(groups.names, groups.size_m, strict=True))
    assert found == {"E000N000": 100, "E003N001": 200, "E-002N-002": 200}
    assert groups.left_out == 35
    sizes = np.bincount(groups.member[groups.member >= 0])
    assert dict(zip(groups.names, sizes.tolist(), strict=True)) == {"E000N000": 25, "E003N001": 20, "E-002N-002": 20}


def test_roads_of_fewer_than_three_lamps_are_left_out() -> None:
    registry = Registry(CATALOG, [*street(2, "短巷"), *street(3, "小路", first=10), *street(1, "", first=20)])
    groups = by_place(registry, registry.rows_of("streetlight", "lamp"), "road", 3)
    assert groups.names == ["小路"]
    assert groups.left_out == 3


def test_an_alert_of_a_merged_cell_names_its_fullest_cell_and_its_size() -> None:
    lamps = [*street(8, "", grid="E002N000", lon=114.301), *street(12, "", grid="E003N001", lon=114.302, first=100)]
    night = Night(lamps)
    night.watts[:5] = 0.0
    [told] = night.run(120)
    assert told.entity == "grid:E003N001"
    assert told.values["block_m"] == 200
    assert 114.301 < told.lon < 114.302


def test_a_restart_keeps_what_was_waited_for() -> None:
    night = Night(street(20, cabinet="cab-1", road=""))
    night.watts[:6] = 0.0
    night.run(20)
    assert [(p.entity, p.rule) for p in night.engine.pending()] == [("cabinet:cab-1", "lighting_rate")]
    again = Night([*street(3, "", first=900), *street(20, cabinet="cab-1", road="")])
    again.engine.load(night.engine.save())
    again.now_ms = night.now_ms
    again.watts[3:9] = 0.0
    [told] = again.run(30)
    assert told.onset_ms < night.now_ms


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("scope: [road, cabinet, grid]", "scope: [road, town]"), "scope[1]: expected one of road, cabinet, grid"),
        (("target: 0.98", "target: 98"), "target: expected a number from 0.5 to 0.9999"),
        (("{main: 0.98,", "{main: 2,"), "targets.main: expected a number"),
        (("off_p: 0.05", "off_p: 0.0001"), "off_p: expected at least alpha"),
        (("fresh: 3x", "fresh: 3"), "fresh: expected a length of time"),
        (("main_severity: major", "main_severity: grave"), "main_severity: expected one of critical"),
        (("lamps_min: 3", "lamps: 3"), "lamps: unknown key"),
    ],
)
def test_a_wrong_setting_names_its_line_and_the_accepted_form(change: tuple[str, str], says: str) -> None:
    text = "  - id: lighting_rate\n" + one_text().partition("  - id: lighting_rate\n")[2].partition("  - id: ")[0]
    assert change[0] in text
    with pytest.raises(ConfigError) as caught:
        parse_rules(parse_yaml("rules:\n" + text.replace(*change), "rules.yaml"), CATALOG)
    assert says in str(caught.value)
    assert "rules.yaml:" in str(caught.value)
