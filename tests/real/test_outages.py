"""The world goes wrong around a running house: the database is away, the journal is full. No reading is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.publish import START_MS, device_ids
from devices.registry import Asset
from tests.real.influxdb_server import InfluxDatabase
from tests.real.servers import Influx, Mosquitto
from tests.real.service import Service

pytestmark = [pytest.mark.mosquitto, pytest.mark.influxdb, pytest.mark.timeout(240)]
DEVICES = 100


Start = Callable[..., tuple[Influx, InfluxDatabase, Service]]


@pytest.fixture
def start(
    tmp_path: Path, mosquitto: Mosquitto, start_influx: Callable[..., Influx], request: pytest.FixtureRequest
) -> Start:
    """Start a database and a house of lamps beside the broker; ``more`` are settings."""
    lamps = [Asset(name, "streetlight", "lamp", lon=120.1, lat=30.2) for name in device_ids(DEVICES)]

    def run(more: dict[str, Any] | None = None) -> tuple[Influx, InfluxDatabase, Service]:
        influx = start_influx()
        database = influx.database()
        service = Service(tmp_path, "outage", mosquitto, database, lamps, more=more)
        request.addfinalizer(service.close)
        service.start()
        service.connected()
        return influx, database, service

    return run


def _publish(broker: Mosquitto, count: int, start_ms: int = START_MS, rate: float = 0) -> subprocess.Popen[bytes]:
    words = ["--port", str(broker.port), "--count", str(count), "--devices", str(DEVICES), "--city", "outage"]
    words += ["--start-ms", str(start_ms), "--rate", str(rate)]
    return subprocess.Popen([sys.executable, "-m", "bench.publish", *words], stdout=subprocess.DEVNULL)


def _health(service: Service, name: str) -> Mapping[str, Any]:
    try:
        told = json.loads(service.get("/healthz"))
    except urllib.error.HTTPError as trouble:
        told = json.loads(trouble.read())
    found: Mapping[str, Any] = next(part for part in told["parts"] if part["name"] == name)
    return found


def _until(check: Callable[[], bool], within_s: float) -> None:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if check():
            return
        time.sleep(0.2)
    raise AssertionError("it did not come to that")


def test_an_absent_database_only_lengthens_the_journal(start: Start, mosquitto: Mosquitto) -> None:
    influx, database, service = start()
    influx.kill()
    assert _publish(mosquitto, 20_000).wait(60) == 0
    _until(lambda: not _health(service, "store")["well"], 30)
    assert "journal" in _health(service, "store")["says"]
    _until(lambda: service.line("streetlight")["received"] == 20_000, 30)
    line = service.line("streetlight")
    assert (line["stored"], line["pending"]) == (0, 20_000)
    influx.start()
    assert service.settled("streetlight", 20_000, 90)["stored"] == 20_000
    assert database.count("streetlight", "power_w") == 20_000
    service.kill(signal.SIGTERM)


def test_a_full_journal_stops_acknowledgement_says_so_and_goes_on_when_there_is_room(
    start: Start, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMPLIGHTER_STORE__HOLD_S", "1")  # what is held cannot make room
    influx, database, service = start({"journal": {"segment_mb": 1, "limit_gb": 0.004}})
    influx.kill()
    # The broker takes all of it; what the journal has no room for must stay there, unacknowledged.
    assert _publish(mosquitto, 100_000).wait(120) == 0
    _until(lambda: not _health(service, "journal")["well"], 60)
    assert "nothing is acknowledged" in _health(service, "journal")["says"]
    held = service.line("streetlight")["received"]
    time.sleep(2)
    assert held == service.line("streetlight")["received"] < 100_000
    influx.start()
    line = service.settled("streetlight", 100_000, 150)
    assert line["stored"] == 100_000
    assert database.count("streetlight", "power_w") == 100_000
    assert _health(service, "journal")["well"]
    service.kill(signal.SIGTERM)
