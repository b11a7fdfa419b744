"""Whoever runs wild at a real broker is held back, counted and told; the others' alerts come as quickly as before."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from devices.registry import Asset
from devices.topics import up
from tests.real.mqtt import Publisher
from tests.real.servers import Mosquitto
from tests.real.service import Service
from tests.small_house import RULES

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(180)]

COVERS = 100
PER_S, BURST = 10, 300
FLOOD_S = 3.0
RATE = 1000  # messages a second of the one that runs wild


def assets() -> list[Asset]:
    covers = [Asset(f"cover-{n:04d}", "manhole", "cover", lon=121.4, lat=31.2) for n in range(2 * COVERS)]
    return [*covers, Asset("lamp-0001", "streetlight", "lamp", lon=121.4, lat=31.2)]


@contextmanager
def house(folder: Path, city: str, broker: Mosquitto) -> Iterator[Service]:
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    more = {
        "rules": "rules.yaml",
        "intake": {"device_per_s": PER_S, "device_burst": BURST},
        "broker": {"port": broker.port, "client_id": city},
    }
    service = Service(folder, city, broker, None, assets(), more=more)
    service.start()
    try:
        service.connected()
        yield service
    finally:
        service.close()


class Listener:
    """Follows a house's live stream and remembers when it heard of an alert on which device."""

    def __init__(self, service: Service) -> None:
        self.heard: dict[str, float] = {}
        self._stream = urllib.request.urlopen(f"http://127.0.0.1:{service.port}/api/live", timeout=60)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            for line in self._stream:
                if line.startswith(b"data: ") and b'"alerts":[' in line.replace(b" ", b"", 2):
                    at = time.monotonic()
                    for alert in json.loads(line[6:])["alerts"]:
                        self.heard.setdefault(alert["asset"], at)
        except (OSError, ValueError, AttributeError):
            return  # the house has ended

    def wait_for(self, devices: Sequence[str], within_s: float = 30) -> None:
        until = time.monotonic() + within_s
        while missing := [device for device in devices if device not in self.heard]:
            assert time.monotonic() < until, f"{len(missing)} covers were never told of"
            time.sleep(0.05)


def opened(listener: Listener, broker: Mosquitto, city: str, first: int) -> list[float]:
    """Open covers one after the other for FLOOD_S seconds; return seconds from publishing to the live stream."""
    sent: dict[str, float] = {}
    with Publisher(broker.port, f"{city}-covers-{first}") as publisher:
        for number in range(first, first + COVERS):
            device = f"cover-{number:04d}"
            payload = json.dumps({"ts": int(time.time() * 1000), "cover_open": True}).encode()
            sent[device] = time.monotonic()
            publisher.publish([(up(city, "manhole", device), payload)])
            time.sleep(FLOOD_S / COVERS)
    listener.wait_for(list(sent))
    return [listener.heard[device] - at for device, at in sent.items()]


def flood(broker: Mosquitto, city: str, stop: threading.Event) -> int:
    """Publish as one lamp at RATE messages a second until told to stop; return how many."""
    topic, sent, began = up(city, "streetlight", "lamp-0001"), 0, time.monotonic()
    with Publisher(broker.port, f"{city}-flood") as publisher:
        while not stop.is_set():
            due = int((time.monotonic() - began) * RATE) - sent
            now_ms = int(time.time() * 1000)
            publisher.publish([(topic, b'{"ts":%d,"power_w":%d}' % (now_ms, sent + n)) for n in range(due)])
            sent += due
            time.sleep(0.01)
    return sent


def test_one_device_at_a_thousand_messages_a_second_is_held_back_and_the_others_notice_nothing(
    tmp_path: Path, start_mosquitto: object
) -> None:
    assert callable(start_mosquitto)
    broker: Mosquitto = start_mosquitto()
    with house(tmp_path, "wild", broker) as service:
        listener = Listener(service)
        alone = opened(listener, broker, "wild", 0)
        stop = threading.Event()
        sent: list[int] = []
        flooder = threading.Thread(target=lambda: sent.append(flood(broker, "wild", stop)))
        began = time.monotonic()
        flooder.start()
        beside = opened(listener, broker, "wild", COVERS)
        says = {part["name"]: part["says"] for part in json.loads(_health(service))["parts"]}
        stop.set()
        flooder.join()
        lasted = time.monotonic() - began
        line = service.settled("streetlight", sent[0], 60)
        high, higher = np.percentile(alone, 99), np.percentile(beside, 99)
        print(f"p99 alone {high * 1000:.0f} ms, beside the flood {higher * 1000:.0f} ms, {sent[0]} messages sent")
        assert sent[0] > 0.5 * RATE * FLOOD_S, "the flood was none"
        assert line["received"] == sent[0]
        assert BURST <= line["stored"] + line["duplicate"] <= BURST + PER_S * (lasted + 2)
        assert line["quarantined"] == sent[0] - line["stored"] - line["duplicate"]
        assert "held back because they send too often: lamp-0001" in says["security"]
        held = json.loads(service.get("/api/quarantine?reason=too_often&device=lamp-0001"))
        assert held["matching"] == min(1000, line["quarantined"])
        assert held["let_go"].get("too_often", 0) == line["quarantined"] - held["matching"]
        assert service.figure("held_back_total") == line["quarantined"]
        assert higher < 4 * high + 0.3, (high, higher)


def _health(service: Service) -> bytes:
    try:
        return service.get("/healthz")
    except urllib.error.HTTPError as unwell:
        return unwell.read()


def test_a_credential_that_makes_up_device_ids_fills_only_its_share_and_is_told(
    tmp_path: Path, start_mosquitto: object
) -> None:
    assert callable(start_mosquitto)
    broker: Mosquitto = start_mosquitto()
    bomb = [(up("bomb", "streetlight", f"made-up-{n:06d}"), b'{"ts":1790000000000}') for n in range(8000)]
    strange = [(f"lamplighter/v1/bomb/x{n}/y/up", b"{}") for n in range(500)]
    with house(tmp_path, "bomb", broker) as service:
        listener = Listener(service)
        high = np.percentile(opened(listener, broker, "bomb", 0), 99)
        before = service.figure("resident_max_bytes")
        with Publisher(broker.port, "bomb-maker") as publisher:
            thread = threading.Thread(target=publisher.publish, args=(bomb + strange,))
            thread.start()
            higher = np.percentile(opened(listener, broker, "bomb", COVERS), 99)
            thread.join()
        line = service.settled("streetlight", len(bomb), 60)
        assert line["quarantined"] == len(bomb)
        grown = service.figure("resident_max_bytes") - before
        print(f"p99 alone {high * 1000:.0f} ms, beside the bomb {higher * 1000:.0f} ms, memory +{grown / 1e6:.1f} MB")
        assert grown < 60e6
        assert service.figure("strangers") == pytest.approx(8000, rel=0.02)
        says = {part["name"]: part["says"] for part in json.loads(_health(service))["parts"]}
        assert (
            "unknown devices in the last hour (8,000 messages, 100% of them from 'streetlight/made-up-"
            in says["security"]
        )
        assert service.log.count("many unknown devices") in (1, 2), "five minutes apart"
        counts = json.loads(service.get("/api/quarantine"))["counts"]
        assert counts == {"unknown_device": 8000, "topic": 500}
        assert higher < 4 * high + 0.3, (high, higher)
