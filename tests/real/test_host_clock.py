"""The host's clock jumps by an hour, there and back and behind, under a real house: faketime turns it, timers go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devices.registry import Asset
from devices.topics import up
from devices.transition import alert_id
from storage.operations import Operations
from tests.real.forked_house import eventually
from tests.real.http_sink import HttpSink
from tests.real.mqtt import Publisher
from tests.real.processes import REQUIRED
from tests.real.servers import Mosquitto
from tests.real.service import LAMPLIGHTER, Service

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
JUMPS = ("+3600", "-3600", "+0")  # an hour ahead, an hour behind, and right again
BEACONS = 20
KIND = """
kind: beacon
en: Beacon
zh: 信标
roles: {beacon: 1}
fields:
  lit: {type: bool, en: Lit, zh: 亮}
"""
RULES = """
rules:
  - id: beacon_dark
    device: beacon
    on: lit == 0
    severity: critical
    message: {en: "{name}", zh: "{name}"}
  - id: beacon_offline
    kind: offline
    device: beacon
    after: 8s
    severity: major
    message: {en: "{name}", zh: "{name}"}
"""


class TurnedService(Service):
    """A house whose host's clock is turned by writing into a file; monotonic time is left alone, as in the world."""

    def start(self) -> None:
        self.turn("+0")
        env = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self.folder / "turned"),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        with (self.folder / "log").open("ab") as out:
            self._process = subprocess.Popen(
                [*LAMPLIGHTER, "run", "-c", str(self.config)], stdout=out, stderr=out, env={**os.environ, **env}
            )

    def turn(self, to: str) -> None:
        draft = self.folder / "turned.draft"
        draft.write_text(to + "\n")
        draft.rename(self.folder / "turned")

    def now_ms(self) -> int:
        """What the house believes the time to be."""
        return int(json.loads(self.get("/api/city"))["now_ms"])


class Fleet:
    """Beacons that report by their own clocks, which are right all the time."""

    def __init__(self, port: int) -> None:
        self.port, self.count = port, 0
        self.dark: dict[int, int] = {}  # beacon to when it went dark
        self.mute: set[int] = set()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._report, daemon=True)
        self.thread.start()

    def _report(self) -> None:
        with Publisher(self.port, "clock-fleet") as line:
            while not self.stopping.wait(0.4):
                now_ms = time.time_ns() // 1_000_000
                told = []
                for number in range(BEACONS):
                    if number in self.mute:
                        continue
                    lit = number not in self.dark
                    if not lit and self.dark[number] == 0:
                        self.dark[number] = now_ms
                    told.append((up("clock", "beacon", f"beacon-{number:02d}"), {"ts": now_ms, "lit": lit}))
                line.publish([(topic, json.dumps(reading).encode()) for topic, reading in told])
                self.count += len(told)

    def stop(self) -> int:
        self.stopping.set()
        self.thread.join()
        return self.count


@pytest.fixture
def scene(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[tuple[TurnedService, Fleet, HttpSink]]:
    if not LIBRARY.exists():
        assert os.environ.get(REQUIRED) != "1", "faketime is not installed"
        pytest.skip("faketime is not installed here; `make servers` installs it")
    (tmp_path / "beacon.yaml").write_text(KIND, encoding="utf-8")
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    sink = HttpSink()
    more: dict[str, Any] = {
        "kinds": ["beacon.yaml"],
        "rules": "rules.yaml",
        "broker": {"port": mosquitto.port, "client_id": "clock"},
        "intake": {"tick_ms": 100},
        "incidents": {"group_wait_s": 0},
        "notify": [
            {"name": "duty", "url": f"json://127.0.0.1:{sink.port}/", "min_severity": "info", "allow_private": True}
        ],
    }
    beacons = [Asset(f"beacon-{n:02d}", "beacon", "beacon", lon=120.1, lat=30.2) for n in range(BEACONS)]
    house = TurnedService(tmp_path, "clock", mosquitto, None, beacons, more=more)
    fleet: Fleet | None = None
    try:
        house.start()
        house.connected()
        fleet = Fleet(mosquitto.port)
        yield house, fleet, sink
    finally:
        if fleet is not None:
            fleet.stop()
        house.close()
        sink.close()


def test_no_jump_of_the_hosts_clock_loses_a_message_calls_all_offline_or_stops_an_alert(
    scene: tuple[TurnedService, Fleet, HttpSink],
) -> None:
    house, fleet, sink = scene
    eventually(lambda: fleet.count > 2 * BEACONS)

    def first_told() -> set[tuple[str, str]]:
        return {one for one in sink.transitions() if not one[1].startswith("again")}  # told once more an hour later

    for number, turned in enumerate(JUMPS):
        house.turn(turned)
        right_ms = time.time_ns() // 1_000_000
        assert abs(house.now_ms() - right_ms - int(turned) * 1000) < 60_000, "the house's clock did jump"
        fleet.dark[number] = 0
        # Told to a person within seconds: neither rule nor outbox waits for the old time to come again.
        eventually(lambda n=number: len(first_told()) > n, 30, f"nothing was told after {turned}")  # type: ignore[misc]
        time.sleep(1.0)  # an hour of silence that never was would be told at once
    expected = {(alert_id("beacon_dark", f"device:beacon-{n:02d}", at_ms), "active") for n, at_ms in fleet.dark.items()}
    assert first_told() == expected, "no other alert, least of all offline"
    assert set(sink.keys.values()) == {1}
    # One falls silent for good: only that one is told, after the time that the rule says.
    fleet.mute.add(BEACONS - 1)
    began = time.monotonic()
    eventually(lambda: len(first_told()) > len(JUMPS), 40, "silence is not noticed any more")
    assert time.monotonic() - began > 6
    body = next(one for _, one in reversed(sink.got) if not one["state"].startswith("again"))
    assert (body["rule"], body["entity"]) == ("beacon_offline", f"device:beacon-{BEACONS - 1:02d}")
    count = fleet.stop()
    line = house.settled("beacon", count, 30)
    house.kill(signal.SIGTERM)
    assert (line["received"], line["stored"], line["duplicate"]) == (count, count, 0)
    assert house.stored("beacon") == count
    operations = Operations(house.operations_url)
    told = [row.entity for row in reversed(operations.alerts(rule="beacon_dark"))]
    operations.close()
    assert told == [f"device:beacon-{n:02d}" for n in fleet.dark], "alerts stand in the order in which they began"
