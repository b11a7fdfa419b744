"""The main job on real input: recordings through a real broker and the rules into a real InfluxDB.

What each rule said, and whether it was right, stands in docs/measurements.md; here it is held to it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.kinds import Catalog
from simulators.mapping import load_mapping
from simulators.recording import Recording, read_recording
from storage.operations import AlertRow, Operations
from tests.real.influxdb_server import InfluxDatabase
from tests.real.servers import Mosquitto
from tests.real.service import Service

MAPPINGS = Path(__file__).resolve().parents[2] / "config" / "mappings"
pytestmark = [pytest.mark.mosquitto, pytest.mark.influxdb, pytest.mark.shared_data, pytest.mark.timeout(400)]


class Stage:
    """Plays one recording the whole way and remembers what came of it."""

    def __init__(
        self, folder: Path, catalog: Catalog, file: Path, mapping: str, broker: Mosquitto, influx: InfluxDatabase
    ) -> None:
        self.recording: Recording = read_recording(file, load_mapping(MAPPINGS / mapping, catalog))
        self.kind = self.recording.assets[0].kind
        assets, permits = self.recording.assets, self.recording.permits
        unlimited = {"intake": {"device_per_s": 0}}  # hours of every truck are played in a minute
        self.service = Service(folder, "recorded", broker, influx, assets, permits, more=unlimited)
        try:
            self.service.start()
            self.service.connected()
            self.said = self.service.command("replay", str(file), "--mapping", str(MAPPINGS / mapping), timeout_s=300)
            self.line = self.service.settled(self.kind, len(self.recording.readings), 120)
        finally:
            self.service.close()
        operations = Operations(self.service.operations_url)
        self.alerts: list[AlertRow] = operations.alerts(limit=10_000)
        operations.close()

    def by_rule(self, rule: str) -> list[AlertRow]:
        return [row for row in self.alerts if row.rule == rule]


def _points(influx: InfluxDatabase, measurement: str, field: str) -> int:
    return int(influx.query(f"SELECT COUNT({field}) FROM {measurement}")[0]["count"])


def test_recorded_trucks_on_their_true_routes_are_stored_whole_and_not_accused(
    tmp_path: Path, shared_data: Path, catalog: Catalog, mosquitto: Mosquitto, influx: InfluxDatabase
) -> None:
    file = shared_data / "gps" / "kubicka" / "tracks.open.csv.gz"
    stage = Stage(tmp_path, catalog, file, "kubicka.yaml", mosquitto, influx)
    print(stage.said, stage.line, [(row.rule, row.entity, row.values) for row in stage.alerts])
    assert stage.line["stored"] == len(stage.recording.readings) == _points(influx, "truck", "lon_deg")
    assert len({row.entity for row in stage.by_rule("route_deviation")}) <= 1


def test_a_recorded_lighting_feeder_is_stored_whole_and_its_switchings_are_no_fault(
    tmp_path: Path, shared_data: Path, catalog: Catalog, mosquitto: Mosquitto, influx: InfluxDatabase
) -> None:
    file = shared_data / "streetlight_telemetry" / "slightlimon_lighting_feeder_1min.open.csv"
    stage = Stage(tmp_path, catalog, file, "lighting_feeder.yaml", mosquitto, influx)
    print(stage.said, stage.line, [(row.rule, row.entity, row.onset_ms, row.state) for row in stage.alerts])
    assert stage.line["stored"] == len(stage.recording.readings) == _points(influx, "streetlight", "phase_a_v")
    # Its meter fell silent with the lamps: played as fast as possible that is no silence, see docs/measurements.md.
    # What was recorded years ago comes late, and that is said.
    assert {row.rule for row in stage.alerts} <= {"cabinet_offline", "clock_skew"}


def test_a_recorded_sewer_flow_is_stored_whole_and_judged_night_by_night(
    tmp_path: Path, shared_data: Path, catalog: Catalog, mosquitto: Mosquitto, influx: InfluxDatabase
) -> None:
    file = shared_data / "sewer" / "flow_survey" / "us_flow_monitor_15min_2008.open.csv"
    stage = Stage(tmp_path, catalog, file, "sewer_us_2008.yaml", mosquitto, influx)
    print(stage.said, stage.line, [(row.rule, row.entity, row.onset_ms, row.values) for row in stage.alerts])
    assert stage.line["stored"] == len(stage.recording.readings)
    assert _points(influx, "pump", "inflow_lps") > 0
