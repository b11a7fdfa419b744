"""Killed (SIGKILL) before and after every step of the way through: nothing is lost, stored twice or told anew.

Two houses hear the same messages from one real Mosquitto. One is killed at a named step and started again; the other
is never disturbed. In the end both must have kept, decided and told the same.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.registry import Asset
from devices.topics import up
from tests.real.crash_at import POINTS
from tests.real.forked_house import ForkedHouse, Nursery, eventually
from tests.real.http_sink import HttpSink
from tests.real.mqtt import Publisher
from tests.real.servers import Mosquitto
from tests.real.service import Service
from tests.small_house import RULES

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]

CITY = "crash"
LAMPS, COVERS = 20, 100
KILLS = 20
START_S = 5.0
POINT_NAMES = [f"{step}.{side}" for step in POINTS for side in ("before", "after")]


class Pair:
    """A house that is killed and one that is not, each with a receiver of its own, and the devices they hear."""

    def __init__(self, folder: Path, broker: Mosquitto, nursery: Nursery) -> None:
        self.broker = broker
        self.nursery = nursery
        self.sinks: dict[str, HttpSink] = {}
        self.houses: dict[str, ForkedHouse] = {}
        self.readings = {"streetlight": 0, "manhole": 0}
        self.rounds = self.repeated = 0
        self.base_ms = time.time_ns() // 1_000_000 - 3_600_000
        for name in ("calm", "killed"):
            self._move_in(folder / name)

    @property
    def house(self) -> ForkedHouse:
        return self.houses["killed"]

    def _move_in(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
        sink = HttpSink()
        lamps = [Asset(f"lamp-{n:04d}", "streetlight", "lamp", lon=120.1, lat=30.2) for n in range(LAMPS)]
        covers = [Asset(f"cover-{n:04d}", "manhole", "cover", lon=120.1, lat=30.2) for n in range(COVERS)]
        more = {
            "rules": "rules.yaml",
            "broker": {"port": self.broker.port, "client_id": f"crash-{folder.name}"},
            "intake": {"tick_ms": 100, "age_ms": 10},
            "notify": [
                {
                    "name": "duty",
                    "url": f"json://127.0.0.1:{sink.port}/",
                    "min_severity": "info",
                    "allow_private": True,
                }
            ],
        }
        house = ForkedHouse(folder, CITY, self.broker, None, [*lamps, *covers], more=more)
        house.nursery = self.nursery
        self.sinks[folder.name], self.houses[folder.name] = sink, house

    def start(self) -> None:
        for house in self.houses.values():
            if not house.alive:
                house.start()
        for house in self.houses.values():
            house.connected()

    def publish(self, part: int) -> None:
        """Half a round: lamps report, a cover opens (or closes again), another opens in the second half and stays."""
        at_ms = self.base_ms + self.rounds * 2000 + part * 1000
        cover, other = f"cover-{2 * self.rounds:04d}", f"cover-{2 * self.rounds + 1:04d}"
        told = [("streetlight", f"lamp-{n:04d}", {"ts": at_ms, "power_w": 90.0 + n}) for n in range(LAMPS)]
        told[4:4] = [("manhole", cover, {"ts": at_ms, "cover_open": part == 0})]
        told[9:9] = [("manhole", other, {"ts": at_ms, "cover_open": part == 1})]
        with Publisher(self.broker.port, f"{CITY}-fleet") as fleet:
            fleet.publish([(up(CITY, kind, who), json.dumps(what).encode()) for kind, who, what in told])
        self.readings["streetlight"] += LAMPS
        self.readings["manhole"] += 2

    def compare(self) -> int:
        """Wait until all is settled, compare the two houses, and return how often a notice was repeated so far."""
        self.settle()
        for kind, readings in self.readings.items():
            line = self.house.line(kind)
            assert self.house.stored(kind) == line["stored"] == readings, line
            assert line["received"] == line["stored"] + line["duplicate"]
            assert line["quarantined"] == line["pending"] == 0
        assert self.house.alerts() == self.houses["calm"].alerts()
        assert len(self.house.alerts()) == 2 * self.rounds
        sink = self.sinks["killed"]
        told = sink.transitions()
        assert told == self.sinks["calm"].transitions()
        assert len(told) == 3 * self.rounds
        assert all(len(keys) == 1 for keys in told.values()), told
        return sum(sink.keys.values()) - len(sink.keys)

    def settle(self) -> None:
        """Wait until both houses have taken, stored and told everything."""
        for house in self.houses.values():
            for kind, readings in self.readings.items():
                house.settled(kind, readings, 30)
            eventually(lambda h=house: not {"new", "due"} & h.outbox().keys())  # type: ignore[misc]

    def close(self) -> None:
        for house in self.houses.values():
            house.close()
        for sink in self.sinks.values():
            sink.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, mosquitto: Mosquitto, nursery: Nursery) -> Iterator[Pair]:
    both = Pair(tmp_path_factory.mktemp("crash"), mosquitto, nursery)
    try:
        both.start()
        yield both
    finally:
        both.close()


@pytest.mark.parametrize("point", POINT_NAMES)
def test_a_kill_beside_a_step_leaves_what_an_undisturbed_house_has(pair: Pair, point: str) -> None:
    pair.start()
    pair.house.arm(f"{point}:1")
    pair.publish(0)
    pair.house.killed()
    pair.publish(1)  # the broker holds it for the house that is away
    pair.rounds += 1
    pair.start()
    repeated, pair.repeated = pair.compare() - pair.repeated, pair.compare()
    assert repeated <= 1, "a kill repeats at most the notice that was on its way"
    if point in ("send.after", "outbox.sent.before"):
        assert repeated == 1


def test_killed_again_and_again_it_ends_as_if_left_in_peace(pair: Pair) -> None:
    rng = random.Random(20261122)
    pair.start()
    for _ in range(KILLS):
        pair.publish(0)
        pair.publish(1)
        pair.rounds += 1
        time.sleep(rng.uniform(0.0, 0.5))  # starting takes about as long: before, during and after the first groups
        pair.house.kill(signal.SIGKILL)
        pair.house.start()
    pair.house.connected()
    assert pair.compare() - pair.repeated <= KILLS
    # The last start is one of the real command, whose imports count as well.
    pair.house.kill(signal.SIGKILL)
    began = time.monotonic()
    pair.house.pid = 0
    Service.start(pair.house)
    try:
        pair.house.connected()
        took_s, cpu_s = time.monotonic() - began, pair.house.figure("cpu_seconds_total")
        print(f"start-up after {KILLS} kills: {took_s:.1f} s, {cpu_s:.1f} s of CPU")
        assert cpu_s < START_S, "a busy machine may make it longer, not dearer"
    finally:
        Service.close(pair.house)
