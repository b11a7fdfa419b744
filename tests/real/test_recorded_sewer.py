"""Seepage on two recorded sewers: wet springs that must not be called seepage, and a leak laid over recorded days."""

from pathlib import Path

import numpy as np
import pytest

from alerts.engine import Engine
from alerts.rules import RuleSet, load_rules, parse_rules
from alerts.seepage import SeepageJudge
from devices.kinds import Catalog
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import Transition
from devices.yamlfile import parse_yaml
from simulators.mapping import load_mapping
from simulators.recorded import batches
from simulators.recording import Reading, Recording, read_recording
from tests.shipped_rules import one_text

pytestmark = pytest.mark.shared_data
CONFIG = Path(__file__).parents[2] / "config"
ZONE = "Etc/GMT+5"
DAY_MS = 86_400_000
MASK = "    rain_mm: 0.5\n    rain_days: 3\n"
FLOW_2008 = ("us_flow_monitor_15min_2008.open.csv", "sewer_us_2008.yaml")
FLOW_2011 = ("us_control_subsewershed_post_rehab_5min_2011.open.csv", "sewer_us_2011.yaml")


def survey(shared_data: Path, catalog: Catalog, which: tuple[str, str]) -> Recording:
    mapping = load_mapping(CONFIG / "mappings" / which[1], catalog)
    return read_recording(shared_data / "sewer" / "flow_survey" / which[0], mapping)


def seepage(catalog: Catalog, changes: dict[str, str]) -> RuleSet:
    """The shipped seepage rule with other settings."""
    text = one_text()
    text = "  - id: seepage\n" + text.partition("  - id: seepage\n")[2].partition("  - id: ")[0]
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return parse_rules(parse_yaml("rules:\n" + text), catalog)


def judge(
    rules: RuleSet, recording: Recording, readings: list[Reading], catalog: Catalog
) -> tuple[SeepageJudge, list[Transition]]:
    registry = Registry(catalog, recording.assets)
    engine = Engine(rules, registry, Sky(registry, ZONE))
    told = [t for batch in batches(registry, readings, 96) for t in engine.step([batch], batch.arrival_ms)]
    found = engine.judges[0]
    assert isinstance(found, SeepageJudge)
    return found, told


@pytest.mark.parametrize(
    ("which", "changes"), [(FLOW_2008, {}), (FLOW_2011, {"rain_reports: always": "rain_reports: events"})]
)
def test_a_recorded_wet_spring_is_not_called_seepage(
    shared_data: Path, catalog: Catalog, which: tuple[str, str], changes: dict[str, str]
) -> None:
    recording = survey(shared_data, catalog, which)
    found, told = judge(seepage(catalog, changes), recording, recording.readings, catalog)
    assert told == []
    assert found.nights.counts["wet"] >= 30, "most of its nights lie within three days of rain"


@pytest.mark.parametrize(
    ("which", "changes"), [(FLOW_2008, {}), (FLOW_2011, {"rain_reports: always": "rain_reports: events"})]
)
def test_without_the_rain_mask_the_same_spring_would_have_raised_false_alerts(
    shared_data: Path, catalog: Catalog, which: tuple[str, str], changes: dict[str, str]
) -> None:
    recording = survey(shared_data, catalog, which)
    bare = seepage(catalog, changes | {MASK: "    rain_mm: 100\n    rain_days: 0\n"})
    _, told = judge(bare, recording, recording.readings, catalog)
    assert [t for t in told if t.state == "active"]


def test_nights_after_the_gauge_fell_silent_are_not_taken_for_dry(shared_data: Path, catalog: Catalog) -> None:
    recording = survey(shared_data, catalog, FLOW_2008)
    found, _ = judge(load_only(catalog), recording, recording.readings, catalog)
    rained = [r.time_ms for r in recording.readings if "rain_mm" in r.values]
    last = max(rained)
    after = {r.time_ms // DAY_MS for r in recording.readings if "inflow_lps" in r.values and r.time_ms > last + DAY_MS}
    assert len(after) >= 3
    assert found.nights.counts["rain_unknown"] >= len(after) - 1


def load_only(catalog: Catalog) -> RuleSet:
    rules = load_rules(CONFIG / "rules.yaml", catalog)
    return RuleSet((rules["seepage"],), rules.lighting)


@pytest.mark.parametrize(("leak", "severity"), [(0.4, "minor"), (1.2, "major")])
def test_a_leak_laid_over_recorded_dry_days_is_found_on_its_third_night(
    shared_data: Path, catalog: Catalog, leak: float, severity: str
) -> None:
    """The recorded dry days of 2011, one after the other again and again; from day 40 on a constant inflow is added."""
    recording = survey(shared_data, catalog, FLOW_2011)
    station = recording.assets[0].id
    days: dict[int, list[Reading]] = {}
    for reading in recording.readings:
        if reading.device == station and "inflow_lps" in reading.values:
            days.setdefault((reading.time_ms - 5 * 3_600_000) // DAY_MS, []).append(reading)
    rain: dict[int, float] = {}
    for reading in recording.readings:
        day = (reading.time_ms - 5 * 3_600_000) // DAY_MS
        rain[day] = rain.get(day, 0.0) + reading.values.get("rain_mm", 0.0)
    dry = [
        part
        for day, part in sorted(days.items())
        if len(part) >= 250 and max(rain.get(day - back, 0.0) for back in range(4)) <= 0.5
    ]
    assert len(dry) >= 3
    night = [float(np.percentile([r.values["inflow_lps"] for r in part[24:50]], 10)) for part in dry]
    added = leak * float(np.median(night))
    rain_free = {"rain_mm: 0.5": "rain_mm: 0.5\n    without_rain: judge", "    without_rain: skip\n": ""}
    rules = seepage(catalog, rain_free)
    readings, first = [], dry[0][0].time_ms // DAY_MS * DAY_MS
    for number in range(60):
        for reading in dry[number % len(dry)]:
            time_ms = first + number * DAY_MS + reading.time_ms % DAY_MS
            value = reading.values["inflow_lps"] + (added if number >= 40 else 0.0)
            readings.append(Reading(time_ms, "pump", station, {"inflow_lps": value}))
    readings.sort(key=lambda r: r.time_ms)
    _, told = judge(rules, recording, readings, catalog)
    assert [t.state for t in told] == ["active"]
    nights_after = (told[0].at_ms - (first + 40 * DAY_MS)) / DAY_MS
    assert 2.0 < nights_after < 4.5
    assert told[0].severity == severity
