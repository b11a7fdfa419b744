"""Two whole houses with one client id: one works, the other stands back, and no reading is in both."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from devices.registry import Asset
from tests.real.fixtures import MosquittoFactory
from tests.real.mqtt import Publisher
from tests.real.servers import Mosquitto
from tests.real.service import Service

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]


def started(folder: Path, broker: Mosquitto, request: pytest.FixtureRequest) -> Service:
    folder.mkdir()
    house = Service(folder, "twice", broker, None, [Asset("truck-001", "truck", "truck")])
    request.addfinalizer(house.close)
    house.start()
    return house


def until(check: Callable[[], bool], within_s: float = 40) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if check():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


def publish(broker: Mosquitto, first: int, count: int) -> None:
    now_ms = time.time_ns() // 1_000_000
    with Publisher(broker.port, "truck-001") as truck:
        topic = "lamplighter/v1/twice/truck/truck-001/up"
        truck.publish([(topic, b'{"ts":%d,"speed_kmh":%d}' % (now_ms + n, n)) for n in range(first, first + count)])


def received(house: Service) -> int:
    line = house.line("truck")
    return int(line["received"]) - int(line["duplicate"]) if line else 0


def test_a_second_house_with_our_client_id_takes_over_and_the_first_stands_back_without_ping_pong(
    start_mosquitto: MosquittoFactory, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    broker = start_mosquitto(settings=["connection_messages true"])
    first = started(tmp_path / "first", broker, request)
    first.connected()
    publish(broker, 0, 20)
    until(lambda: received(first) == 20)
    second = started(tmp_path / "second", broker, request)

    def stands_back(house: Service) -> bool:
        return "another process connects with our client id 'lamplighter-ingest'" in house.log

    until(lambda: stands_back(first) or stands_back(second))
    out, stays = (first, second) if stands_back(first) else (second, first)
    until(lambda: stays.figure("broker_connected") == 1)
    assert out.figure("broker_connected") == 0
    held = received(out)
    connects = broker.log.count("as lamplighter-ingest")
    assert connects <= 8
    publish(broker, 20, 30)
    until(lambda: received(first) + received(second) == 50)
    assert received(out) == held, "the one that is out writes nothing any more"
    until(lambda: second.line("truck")["pending"] == 0)
