"""Killed with SIGKILL at any moment under load, twenty times: every acknowledged reading is stored, and stored once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from devices.registry import Asset
from devices.topics import up
from storage.operations import Operations
from tests.real.influxdb_server import InfluxDatabase
from tests.real.processes import free_port
from tests.real.servers import Mosquitto

KILLS = int(os.environ.get("LAMPLIGHTER_KILLS", "20"))
DEVICES = 200
LAMPLIGHTER = [sys.executable, "-m", "lamplighter"]


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


class Service:
    """``lamplighter run`` as a process of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as out:
            self.process = subprocess.Popen(
                [*LAMPLIGHTER, "run", "-c", str(self.folder / "lamplighter.yaml")], stdout=out, stderr=out
            )

    def kill(self, number: signal.Signals) -> None:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
        self.process.send_signal(number)
        self.process.wait(30)

    def ledger(self) -> dict[str, dict[str, int]]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/ledger", timeout=5) as answer:
            found: dict[str, dict[str, int]] = {line["kind"]: line for line in json.load(answer)["kinds"]}
            return found

    def settled(self, readings: int, within_s: float) -> dict[str, int]:
        """Wait until so many readings are received and none is pending; return the line of the ledger."""
        until = time.monotonic() + within_s
        line: dict[str, int] = {}
        while time.monotonic() < until:
            time.sleep(0.25)
            try:
                line = self.ledger()["streetlight"]
            except (OSError, KeyError):
                continue
            if line["received"] - line["duplicate"] >= readings and line["pending"] == 0:
                return line
        raise AssertionError(f"not settled: {line}; {(self.folder / 'log').read_text()[-2000:]}")


def _house(folder: Path, broker: Mosquitto, influx: InfluxDatabase) -> Service:
    (folder / "data").mkdir()
    operations = Operations(f"sqlite:///{folder}/data/operations.db")
    lamps = [Asset(f"lamp-{n:04d}", "streetlight", "lamp", lon=120.1, lat=30.2) for n in range(DEVICES)]
    operations.import_assets(lamps)
    operations.close()
    port = free_port()
    settings = {
        "city": {"id": "kills"},
        "data": "data",
        "broker": {"port": broker.port},
        "store": {"kind": "influxdb", "url": influx.url, "token": influx.token, "bucket": influx.bucket},
        "api": {"port": port},
    }
    (folder / "lamplighter.yaml").write_text(json.dumps(settings))  # JSON is YAML too
    return Service(folder, port)


@pytest.mark.mosquitto
@pytest.mark.influxdb
@pytest.mark.timeout(400)
def test_twenty_kills_under_load_lose_nothing_and_store_nothing_twice(
    tmp_path: Path, mosquitto: Mosquitto, influx: InfluxDatabase
) -> None:
    rng = random.Random(20261121)
    service = _house(tmp_path, mosquitto, influx)
    service.start()
    _wait_for_session(service)
    fleet = Publisher(mosquitto.port, rate=1500)
    for _ in range(KILLS):
        # Starting takes about a second; the moment falls before, during and after the first groups of a new life.
        time.sleep(rng.uniform(0.5, 4.0))
        service.kill(signal.SIGKILL)
        service.start()
    readings = fleet.stop()
    line = service.settled(readings, 90)
    service.kill(signal.SIGTERM)
    points = influx.query("SELECT COUNT(power_w) FROM streetlight")
    stored = int(points[0]["count"])
    print(f"kills {KILLS}, readings {readings}, points {stored}, ledger {line}")
    assert stored == readings, f"lost {readings - stored}"
    assert line["stored"] == readings, f"stored twice {line['stored'] - readings}"
    assert line["received"] == line["stored"] + line["quarantined"] + line["duplicate"] + line["pending"]
    assert line["quarantined"] == 0


def _wait_for_session(service: Service) -> None:
    """A first start must have made the session: what is published before anybody subscribed belongs to nobody."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/metrics", timeout=5) as answer:
                if b"lamplighter_broker_connected 1.0" in answer.read():
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError((service.folder / "log").read_text()[-3000:])
