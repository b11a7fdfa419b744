"""The broker loses what it had acknowledged, and the house notices, says so and says how much."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from devices.registry import Asset
from tests.real.fixtures import MosquittoFactory
from tests.real.mqtt import Publisher
from tests.real.servers import Mosquitto
from tests.real.service import Service

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]

KIND = """
kind: {name}
en: Meter
zh: 表
roles: {{meter: {report_s}}}
fields:
  flow_lps: {{unit: l/s, range: [0, 100], en: Flow, zh: 流量}}
"""
COUNTER = "  seq: {type: int, range: [0, 65535], sequence: true, en: Message counter, zh: 消息流水号}\n"
METERS, GAUGES = 50, 20
GAUGE_S = 1.0


class Watched(Service):
    """A house with meters that count their messages and gauges that do not."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        folder.mkdir()
        (folder / "meter.yaml").write_text(KIND.format(name="meter", report_s=0.1) + COUNTER)
        (folder / "gauge.yaml").write_text(KIND.format(name="gauge", report_s=GAUGE_S))
        assets = [Asset(f"meter-{n:03d}", "meter", "meter") for n in range(METERS)]
        assets += [Asset(f"gauge-{n:03d}", "gauge", "meter") for n in range(GAUGES)]
        super().__init__(folder, "losses", broker, None, assets, more={"kinds": ["meter.yaml", "gauge.yaml"]})

    def part(self, name: str) -> Mapping[str, Any]:
        try:
            told = json.loads(self.get("/healthz"))
        except urllib.error.HTTPError as trouble:
            told = json.loads(trouble.read())
        found: Mapping[str, Any] = next(part for part in told["parts"] if part["name"] == name)
        return found

    def book(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads((self.folder / "data" / "losses.json").read_text())
        return found


@pytest.fixture
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[Mosquitto], Watched]:
    def start(broker: Mosquitto) -> Watched:
        watched = Watched(tmp_path / "house", broker)
        request.addfinalizer(watched.close)
        watched.start()
        watched.connected()
        return watched

    return start


def readings(counters: Iterable[int]) -> list[tuple[str, bytes]]:
    """One message of every meter for each counter, a millisecond apart."""
    now_ms = time.time_ns() // 1_000_000
    return [
        (f"lamplighter/v1/losses/meter/meter-{n:03d}/up", b'{"ts":%d,"flow_lps":1,"seq":%d}' % (now_ms + at, counter))
        for at, counter in enumerate(counters)
        for n in range(METERS)
    ]


def gauges() -> list[tuple[str, bytes]]:
    now_ms = time.time_ns() // 1_000_000
    return [
        (f"lamplighter/v1/losses/gauge/gauge-{n:03d}/up", b'{"ts":%d,"flow_lps":1}' % now_ms) for n in range(GAUGES)
    ]


def publish(broker: Mosquitto, messages: list[tuple[str, bytes]]) -> None:
    """Publish, and see that the broker says success to every message."""
    with Publisher(broker.port, "devices") as publisher:
        codes = publisher.publish(messages)
    assert {int(code) for code in codes} == {0}


def until(check: Callable[[], object], watched: Watched, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if check():
            return
        time.sleep(0.1)
    raise AssertionError(f"{watched.part('losses')} {watched.log[-2000:]}")


def test_messages_dropped_above_the_queues_limit_while_the_house_is_away_are_told_with_their_number(
    start_mosquitto: MosquittoFactory, house: Callable[[Mosquitto], Watched]
) -> None:
    broker = start_mosquitto(settings=["max_queued_messages 1000", "sys_interval 1"])
    watched = house(broker)
    publish(broker, readings([0]))
    watched.settled("meter", METERS, 20)
    until(lambda: watched.part("losses")["says"] == "none known", watched)
    watched.kill(signal.SIGTERM)
    assert watched.book()["dropped"] == 0
    publish(broker, readings(range(1, 101)))
    time.sleep(1.5)  # the broker counts once a second
    watched.start()
    watched.connected()
    publish(broker, readings([101]))
    until(lambda: "4,000 readings are missing by the devices' own counters" in watched.part("losses")["says"], watched)
    part = watched.part("losses")
    assert "it dropped 4,000 messages (of all its clients)" in part["says"]
    assert f"{METERS} devices concerned" in part["says"]
    assert not part["well"]
    assert watched.figure("broker_dropped_total") == 4000
    assert watched.figure('readings_missing{how="counted",kind="meter"}') == 4000
    assert "the broker dropped messages" in watched.log
    assert watched.line("meter")["received"] - watched.line("meter")["duplicate"] == METERS * 102 - 4000
    watched.kill(signal.SIGKILL)
    (loss,) = watched.book()["found"]
    assert loss["dropped"] == 4000, "written down at once"


def test_a_killed_broker_that_forgets_two_thousand_acknowledged_messages_is_found_out(
    start_mosquitto: MosquittoFactory, house: Callable[[Mosquitto], Watched]
) -> None:
    broker = start_mosquitto(settings=["persistence true", "sys_interval 1"])  # and its default autosave, 1,800 s
    watched = house(broker)
    publish(broker, readings([0]))
    watched.settled("meter", METERS, 20)
    publish(broker, gauges())
    watched.settled("gauge", GAUGES, 20)
    watched.kill(signal.SIGTERM)
    publish(broker, readings(range(1, 41)))
    for _ in range(2):
        publish(broker, gauges())
        time.sleep(GAUGE_S)
    broker.kill()
    broker.start()
    watched.start()
    watched.connected()
    publish(broker, [*readings([41]), *gauges()])
    until(lambda: "2,000 readings are missing by the devices' own counters" in watched.part("losses")["says"], watched)
    says = watched.part("losses")["says"]
    assert "the broker had forgotten our queue" in says
    assert f"{METERS + GAUGES} devices concerned" in says
    assert not watched.part("losses")["well"]
    assert watched.figure("broker_forgot_total") == 1
    watched.kill(signal.SIGTERM)
    (loss,) = watched.book()["found"]
    due = GAUGES * (loss["until_ms"] - loss["from_ms"]) / 1000 / GAUGE_S
    assert loss["estimated"] == pytest.approx(due, rel=0.3), "the reports of every second"
    assert "has no queue of ours any more" in watched.log
