"""Killed with SIGKILL at any moment under load, twenty times: every acknowledged reading is stored, and stored once."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from devices.registry import Asset
from devices.topics import up
from tests.real.influxdb_server import InfluxDatabase
from tests.real.servers import Mosquitto
from tests.real.service import Service

KILLS = int(os.environ.get("LAMPLIGHTER_KILLS", "20"))
DEVICES = 200


class Publisher:
    """A fleet of lamps on one connection, QoS 1, as fast as ``rate`` messages a second until stopped."""

    def __init__(self, port: int, rate: int) -> None:
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, client_id="fleet")
        self.client.max_inflight_messages_set(1000)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.rate = rate
        self.readings = 0
        self.latest: list[paho.MQTTMessageInfo] = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._publish, daemon=True)
        self.thread.start()

    def _publish(self) -> None:
        base_ms = time.time_ns() // 1_000_000 - 3_600_000
        number = 0
        started = time.monotonic()
        while not self.stopping.is_set():
            # One message in four carries three readings, as concentrators do; every device time is used once.
            device, turn = number % DEVICES, number // DEVICES
            count = 3 if number % 4 == 0 else 1
            readings = [{"ts": base_ms + turn * 100 + part, "power_w": 100.0 + part} for part in range(count)]
            body = json.dumps(readings if count > 1 else readings[0])
            self.latest.append(self.client.publish(up("kills", "streetlight", f"lamp-{device:04d}"), body, qos=1))
            self.readings += count
            number += 1
            ahead = number / self.rate - (time.monotonic() - started)
            if ahead > 0.005:
                time.sleep(ahead)

    def stop(self) -> int:
        """Stop, wait until the broker has acknowledged every message; return the readings published."""
        self.stopping.set()
        self.thread.join()
        for info in self.latest:
            info.wait_for_publish(60)
            assert info.is_published()
        self.client.disconnect()
        self.client.loop_stop()
        return self.readings


@pytest.mark.mosquitto
@pytest.mark.influxdb
@pytest.mark.timeout(400)
def test_twenty_kills_under_load_lose_nothing_and_store_nothing_twice(
    tmp_path: Path, mosquitto: Mosquitto, influx: InfluxDatabase, request: pytest.FixtureRequest
) -> None:
    rng = random.Random(20261121)
    lamps = [Asset(f"lamp-{n:04d}", "streetlight", "lamp", lon=120.1, lat=30.2) for n in range(DEVICES)]
    service = Service(tmp_path, "kills", mosquitto, influx, lamps)
    request.addfinalizer(service.close)
    service.start()
    service.connected()
    fleet = Publisher(mosquitto.port, rate=1500)
    for _ in range(KILLS):
        # Starting takes about a second; the moment falls before, during and after the first groups of a new life.
        time.sleep(rng.uniform(0.5, 4.0))
        service.kill(signal.SIGKILL)
        service.start()
    readings = fleet.stop()
    line = service.settled("streetlight", readings, 90)
    service.kill(signal.SIGTERM)
    points = influx.query("SELECT COUNT(power_w) FROM streetlight")
    stored = int(points[0]["count"])
    print(f"kills {KILLS}, readings {readings}, points {stored}, ledger {line}")
    assert stored == readings, f"lost {readings - stored}"
    assert line["stored"] == readings, f"stored twice {line['stored'] - readings}"
    assert line["received"] == line["stored"] + line["quarantined"] + line["duplicate"] + line["pending"]
    assert line["quarantined"] == 0
