"""Seepage: inflow from meters and from wells, nights and their rain, what raises, what ends, and what says nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alerts.engine import Engine
from alerts.inflow import Inflow
from alerts.rainfall import Rain
from alerts.rules import RuleSet, load_rules, parse_rules
from alerts.seepage import SeepageJudge
from devices.batch import make_batch
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.transition import Transition
from devices.yamlfile import ConfigError, parse_yaml
from tests.shipped_rules import one_text

CATALOG = load_catalog()
PATH = Path(__file__).parents[2] / "config" / "rules.yaml"
RULES = load_rules(PATH, CATALOG)
MIDNIGHT_MS = 1_760_112_000_000  # 2025-10-11 00:00 in Shanghai
DAY_MS = 86_400_000
FACTS = {"well_area_m2": 20.0, "pump_rate_lps": 60.0}


def station(name: str = "station-1", district: str = "东区", role: str = "station", **facts: float) -> Asset:
    return Asset(name, "pump", role, district=district, facts=FACTS | facts)


def rule_with(changes: dict[str, str]) -> RuleSet:
    text = "  - id: seepage\n" + one_text().partition("  - id: seepage\n")[2].partition("  - id: ")[0]
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return parse_rules(parse_yaml("rules:\n" + text, "rules.yaml"), CATALOG)


class Sewer:
    """One engine with the seepage rule, fed night by night."""

    def __init__(self, *assets: Asset, rules: RuleSet | None = None) -> None:
        registry = Registry(CATALOG, assets or [station()])
        rules = rules or RuleSet((RULES["seepage"],), RULES.lighting)
        self.engine = Engine(rules, registry, Sky(registry, "Asia/Shanghai"))
        self.told: list[Transition] = []

    @property
    def judge(self) -> SeepageJudge:
        found = self.engine.judges[0]
        assert isinstance(found, SeepageJudge)
        return found

    def say(self, row: int, time_ms: int, **fields: float) -> None:
        kind = CATALOG["pump"]
        values = np.full((len(kind.fields), 1), np.nan)
        for name, value in fields.items():
            values[kind.column(name)] = value
        self.told += self.engine.step([make_batch(kind, time_ms, [time_ms], [row], values)], time_ms)

    def day(self, day: int, night_lps: float, rain_mm: float = 0.0, *, rain: bool = True) -> None:
        """One day at a reading every half hour; rain at ten o'clock."""
        for half in range(48):
            fields = {"inflow_lps": night_lps if 4 <= half < 10 else 3 * night_lps}
            if rain:
                fields["rain_mm"] = rain_mm if half == 20 else 0.0
            self.say(0, MIDNIGHT_MS + day * DAY_MS + half * 1_800_000, **fields)

    def states(self) -> list[tuple[str, int]]:
        """What was said, with the day at whose night's end it was said."""
        return [(t.state, (t.at_ms - MIDNIGHT_MS) // DAY_MS) for t in self.told]


def run(sewer: Sewer, days: int, night: Callable[[int], float], rain: Callable[[int], float] = lambda _: 0.0) -> Sewer:
    for day in range(days):
        sewer.day(day, night(day), rain(day))
    return sewer


def test_a_rise_of_a_third_is_told_at_the_end_of_the_third_dry_night_and_ends_on_the_second_calm_one() -> None:
    sewer = run(Sewer(), 38, lambda day: 8.0 if 25 <= day < 35 else 6.0)
    assert sewer.states() == [("active", 27), ("cleared", 36)]
    first = sewer.told[0]
    assert first.at_ms == MIDNIGHT_MS + 27 * DAY_MS + 5 * 3_600_000
    assert first.onset_ms == MIDNIGHT_MS + 25 * DAY_MS + 5 * 3_600_000
    assert first.severity == "minor"
    assert first.values == pytest.approx(
        {"value": 8, "threshold": 7.5, "inflow_lps": 8, "baseline_lps": 6, "excess_lps": 2, "ratio": 4 / 3, "nights": 3}
    )
    assert "1.33" in first.message["en"]
    assert "连续 3 个无雨夜" in first.message["zh"]


def test_from_one_and_six_tenths_of_the_baseline_it_is_major() -> None:
    assert [t.severity for t in run(Sewer(), 30, lambda day: 10.0 if day >= 25 else 6.0).told] == ["major"]


@pytest.mark.parametrize(
    ("night", "why"),
    [
        (lambda day: 7.3 if day >= 25 else 6.0, "a rise of a fifth is within the band"),
        (lambda day: 1.5 if day >= 25 else 1.1, "a third more, but less than half a litre"),
        (lambda day: 8.0 if day in (25, 26, 28, 29) else 6.0, "two nights in a row are not three"),
    ],
)
def test_smaller_shorter_and_slighter_rises_say_nothing(night: Callable[[int], float], why: str) -> None:
    assert run(Sewer(), 40, night).told == [], why


def test_rain_masks_its_own_day_and_the_three_days_after_it() -> None:
    sewer = run(Sewer(), 40, lambda day: 12.0 if 25 <= day <= 28 else 6.0, lambda day: 8.0 if day == 25 else 0.0)
    assert sewer.told == [], "the rain of a day falls after its night: that night alone was high and dry"
    assert sewer.judge.nights.counts["wet"] == 3
    raised = run(Sewer(), 40, lambda day: 12.0 if day >= 25 else 6.0, lambda day: 8.0 if day == 25 else 0.0)
    assert raised.states() == [("active", 30)], "dry nights 25, 29 and 30"


def test_rain_before_five_o_clock_masks_the_same_night() -> None:
    sewer = Sewer()
    for day in range(30):
        sewer.day(day, 6.0)
    wet = sewer.judge.nights.counts["wet"]
    sewer.say(0, MIDNIGHT_MS + 30 * DAY_MS + 60_000, rain_mm=4.0)
    sewer.day(30, 20.0)
    assert sewer.judge.nights.counts["wet"] == wet + 1


def test_without_seven_dry_nights_there_is_no_baseline_and_nothing_is_said() -> None:
    sewer = run(Sewer(), 17, lambda day: 60.0 if day >= 13 else 6.0)
    assert sewer.told == []
    assert sewer.judge.nights.counts["no_baseline"] == 14
    assert np.isnan(sewer.judge.nights.state["base"]).all()


def test_the_baseline_stands_still_while_an_alert_is_open_and_its_nights_never_enter_it() -> None:
    sewer = run(Sewer(), 70, lambda day: 9.0 if 25 <= day < 65 else 6.0)
    assert sewer.states() == [("active", 27), ("cleared", 66)]
    assert sewer.told[1].values["baseline_lps"] == pytest.approx(6.0)


def test_a_night_with_too_little_data_neither_raises_nor_clears() -> None:
    sewer = run(Sewer(), 27, lambda day: 9.0 if day >= 25 else 6.0)
    for half in range(4, 7):
        sewer.say(0, MIDNIGHT_MS + 27 * DAY_MS + half * 1_800_000, inflow_lps=9.0, rain_mm=0.0)
    sewer.say(0, MIDNIGHT_MS + 27 * DAY_MS + 86_000_000, inflow_lps=9.0, rain_mm=0.0)
    assert sewer.told == []
    assert sewer.judge.nights.counts["thin"] == 1
    for day in range(28, 32):
        sewer.day(day, 9.0)
    assert [state for state, _ in sewer.states()] == ["active"]


def test_nights_whose_rain_nobody_measured_say_nothing_unless_the_rule_says_so() -> None:
    silent = Sewer()
    for day in range(30):
        silent.day(day, 9.0 if day >= 25 else 6.0, rain=False)
    assert silent.told == []
    assert silent.judge.nights.counts["rain_unknown"] == 30
    judged = Sewer(rules=rule_with({"without_rain: skip": "without_rain: judge"}))
    for day in range(30):
        judged.day(day, 9.0 if day >= 25 else 6.0, rain=False)
    assert judged.states() == [("active", 27)]


@pytest.mark.parametrize(("district", "expected"), [("东区", [("active", 27)]), ("西区", [])])
def test_a_station_without_a_gauge_goes_by_the_gauges_of_its_district(
    district: str, expected: list[tuple[str, int]]
) -> None:
    sewer = Sewer(station(), station("gauge-1", district))
    for day in range(30):
        for half in range(48):
            time_ms = MIDNIGHT_MS + day * DAY_MS + half * 1_800_000
            sewer.say(0, time_ms, inflow_lps=9.0 if day >= 25 else 6.0)
            sewer.say(1, time_ms + 5_000, rain_mm=0.0)
    assert sewer.states() == expected


def test_a_named_gauge_that_reports_only_rain_counts_as_dry_while_it_is_silent() -> None:
    rules = rule_with({"rain_reports: always": "rain_reports: events\n    gauge: gauge-1"})
    sewer = Sewer(station(), station("gauge-1", "西区"), rules=rules)
    for day in range(45):
        if day in (2, 14, 22):
            sewer.say(1, MIDNIGHT_MS + day * DAY_MS + 12 * 3_600_000 - 1, rain_mm=6.0)
        sewer.day(day, 9.0 if 26 <= day < 32 else 6.0, rain=False)
    assert sewer.states() == [("active", 28), ("cleared", 33)]
    assert sewer.judge.nights.counts["wet"] == 9
    assert sewer.judge.nights.counts["rain_unknown"] >= 2 + 8, "before its first report, and two weeks after its last"


def test_a_station_that_falls_silent_in_the_night_has_it_closed_by_the_clock() -> None:
    sewer = run(Sewer(), 27, lambda day: 9.0 if day >= 25 else 6.0)
    for half in range(9):
        sewer.say(0, MIDNIGHT_MS + 27 * DAY_MS + half * 1_800_000, inflow_lps=9.0, rain_mm=0.0)
    end_ms = MIDNIGHT_MS + 27 * DAY_MS + 5 * 3_600_000
    told = [t for minute in range(-20, 40) for t in sewer.engine.step([], end_ms + minute * 60_000)]
    assert [(t.state, t.at_ms) for t in told] == [("active", end_ms)]


def test_an_alert_on_a_station_of_which_nothing_is_heard_any_more_ends_as_data_lost() -> None:
    sewer = run(Sewer(), 28, lambda day: 9.0 if day >= 25 else 6.0)
    assert sewer.states() == [("active", 27)]
    minutes = range(28 * 1440, 43 * 1440)
    told = [t for minute in minutes for t in sewer.engine.step([], MIDNIGHT_MS + minute * 60_000)]
    assert [(t.state, t.reason) for t in told] == [("cleared", "data_lost")]


def well(inflow_lps: float, rate_lps: float, hours: float, step_s: int = 20) -> list[tuple[int, float, int]]:
    """Level and pump of a well of 20 m² that fills and is drawn down between 1 and 2 m; pump seen late by a reading."""
    out, level, on = [], 1.3, False
    for second in range(int(hours * 3600)):
        level += (inflow_lps - (rate_lps if on else 0.0)) / 1000 / 20
        on = level > 2.0 or (on and level > 1.0)
        if second % step_s == 0:
            out.append((MIDNIGHT_MS + second * 1000, level, int(on)))
    return out


@pytest.mark.parametrize(
    ("inflow_lps", "rated", "noise_m"),
    [(15.0, 60.0, 0.0), (5.0, 60.0, 0.003), (30.0, 60.0, 0.003), (15.0, np.nan, 0.003), (15.0, 45.0, 0.003)],
)
def test_the_inflow_of_a_well_is_told_by_its_level_and_its_pump(
    inflow_lps: float, rated: float, noise_m: float
) -> None:
    rng = np.random.default_rng(1)
    inflow = Inflow(np.array([20.0]), np.array([rated]))
    litres = seconds = 0.0
    for time_ms, level, pumps in well(inflow_lps, 60.0, 12):
        given = np.array([level + rng.normal(0, noise_m)]), np.array([float(pumps)])
        got, known, _ = inflow.take(np.array([0]), np.array([time_ms]), np.array([np.nan]), *given)
        if time_ms > MIDNIGHT_MS + 6 * 3_600_000:
            litres, seconds = litres + got[0], seconds + known[0]
    assert seconds > 0.6 * 6 * 3600
    assert litres / seconds == pytest.approx(inflow_lps, rel=0.05)
    assert inflow.state["pump_lps"][0] == pytest.approx(60.0, rel=0.05), "the pump's own rate is learned from cycles"


def test_a_meter_wins_over_the_level_and_several_pumps_are_not_guessed_at() -> None:
    inflow = Inflow(np.array([20.0]), np.array([60.0]))
    row, nothing = np.array([0]), np.array([np.nan])
    for minute, pumps in enumerate([0, 0, 0, 2, 2, 2]):
        at = np.array([MIDNIGHT_MS + minute * 60_000])
        _, known, seen = inflow.take(row, at, nothing, np.array([1.0 + 0.01 * minute]), np.array([float(pumps)]))
        assert (known[0] > 0) == (minute == 2), "what the pump did before the first reading nobody knows"
        assert seen[0] == known[0]
    got, known, seen = inflow.take(
        row, np.array([MIDNIGHT_MS + 360_000]), np.array([7.0]), np.array([1.0]), np.array([2.0])
    )
    assert (got[0], known[0], seen[0]) == (7.0 * 60, 60, 60)


def test_what_comes_in_is_seen_while_the_well_fills_though_its_pump_moves_half_of_what_it_did() -> None:
    """A clogged pump runs longer; reckoned from what it used to move, twice as much would come in."""
    inflow, litres, seconds = Inflow(np.array([20.0]), np.array([60.0])), [0.0, 0.0], [0.0, 0.0]
    for time_ms, level, pumps in [
        *well(15.0, 60.0, 6),
        *((at + 6 * 3_600_000, *on) for at, *on in well(15.0, 25.0, 1)),
    ]:
        given = np.array([np.nan]), np.array([level]), np.array([float(pumps)])
        got, known, seen = inflow.take(np.array([0]), np.array([time_ms]), *given)
        assert seen[0] in (0, known[0])
        if time_ms > MIDNIGHT_MS + 6 * 3_600_000:
            litres[int(seen[0] > 0)] += got[0]
            seconds[int(seen[0] > 0)] += known[0]
    assert litres[1] / seconds[1] == pytest.approx(15.0, rel=0.05)
    assert litres[0] / seconds[0] > 30.0


def test_seepage_is_found_at_a_station_without_a_flow_meter() -> None:
    sewer = Sewer(station(), rules=rule_with({"nights_min: 7": "nights_min: 3", "[35, 8]": "[9, 4]"}))
    for day in range(15):
        for time_ms, level, pumps in well(9.0 if day >= 12 else 6.0, 60.0, 6.0, step_s=60):
            at = time_ms + day * DAY_MS
            sewer.say(0, at, level_m=round(level, 3), pumps_on=pumps, rain_mm=0.0)
        for hour in range(6, 24):
            sewer.say(0, MIDNIGHT_MS + day * DAY_MS + hour * 3_600_000, rain_mm=0.0)
    assert sewer.states() == [("active", 14)]
    assert sewer.told[0].values["inflow_lps"] == pytest.approx(9.0, rel=0.08)
    assert sewer.told[0].values["baseline_lps"] == pytest.approx(6.0, rel=0.08)


def test_rain_is_known_only_where_most_hours_were_reported() -> None:
    rain = Rain(1, 300, by_event=False)

    def hear(day: int, hour: int, amount: float) -> None:
        at = np.array([day * DAY_MS + hour * 3_600_000])
        rain.take(np.array([0]), at, np.array([day]), np.array([hour * 60]), np.array([amount]))

    for hour in range(24):
        hear(10, hour, 0.0)
    for hour in range(0, 24, 2):
        hear(11, hour, 0.0)
    for hour in range(6):
        hear(12, hour, 0.0)
        hear(11 + 64, hour, 9.0)
    assert rain.before(0, 10, 0, 0.5) is False
    assert rain.before(0, 12, 1, 0.5) is None, "half of the eleventh's hours are missing"
    assert rain.before(0, 12, 0, 0.5) is False
    assert rain.before(0, 75, 0, 0.5) is True
    hear(13, 3, 0.3)
    hear(13, 4, 0.3)
    hear(13, 15, 7.0)
    assert rain.before(0, 13, 0, 0.5) is True, "rain up to five o'clock adds up"
    assert rain.before(0, 14, 1, 0.5) is True


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('until: "05:00"', 'until: "01:00"'), "until: expected a time after 'from'"),
        (('from: "02:00"', "from: two"), "from: expected a time of day"),
        (("baseline_days: [35, 8]", "baseline_days: [8, 35]"), "baseline_days: expected [first, last] days back"),
        (("off_ratio: 1.10", "off_ratio: 1.4"), "off_ratio: expected at most on_ratio"),
        (("nights: 3", "nights: 2.5"), "nights: expected a whole number"),
        (("rain_reports: always", "rain_reports: often"), "rain_reports: expected one of always, events"),
        (("grace: 15m", "grace: 15m\n    for: 3d"), "for: a seepage rule counts dry nights"),
        (("coverage: 0.6", "coverage: 60"), "coverage: expected a number from 0.05 to 1"),
    ],
)
def test_a_wrong_setting_names_its_line_and_the_accepted_form(change: tuple[str, str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rule_with(dict([change]))
    assert says in str(caught.value)
    assert "rules.yaml:" in str(caught.value)
