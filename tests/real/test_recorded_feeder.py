"""A recorded street-lighting feeder, minute by minute as the house would have lived it."""

from pathlib import Path

import pytest

from alerts.engine import Engine
from alerts.rules import load_rules
from devices.kinds import Catalog
from devices.registry import Registry
from devices.sky import Sky
from simulators.mapping import load_mapping
from simulators.recorded import batches
from simulators.recording import read_recording

pytestmark = pytest.mark.shared_data
CONFIG = Path(__file__).parents[2] / "config"
MINUTE_MS = 60_000


def test_its_switchings_are_no_fault_and_each_silence_of_its_meter_is_told(shared_data: Path, catalog: Catalog) -> None:
    mapping = load_mapping(CONFIG / "mappings" / "lighting_feeder.yaml", catalog)
    file = shared_data / "streetlight_telemetry" / "slightlimon_lighting_feeder_1min.open.csv"
    recording = read_recording(file, mapping)
    rules = load_rules(CONFIG / "rules.yaml", catalog)
    registry = Registry(catalog, recording.assets)
    engine = Engine(rules, registry, Sky(registry, "Europe/Rome", rules.lighting))
    told, now_ms = [], recording.readings[0].time_ms
    for batch in batches(registry, recording.readings, 1):
        while now_ms + MINUTE_MS < batch.arrival_ms:
            now_ms += MINUTE_MS
            told += engine.step([], now_ms)
        now_ms = batch.arrival_ms
        told += engine.step([batch], now_ms)
    assert {t.rule for t in told} == {"cabinet_offline"}
    started = [t.onset_ms - recording.readings[0].time_ms for t in told if t.state == "active"]
    day = 1440
    # A silence of 21 minutes by day, the outage in the third night, and the two days that were not recorded.
    assert [round(start / MINUTE_MS) for start in started] == [34, day - 1, 2 * day + 1188, 3 * day - 1]
    outage = next(t for t in told if t.onset_ms - recording.readings[0].time_ms == started[2] and t.state == "cleared")
    assert 35 <= (outage.at_ms - outage.onset_ms) / MINUTE_MS <= 45
