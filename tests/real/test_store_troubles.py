"""Database, disk and fsync fail around a running house: it says so, acknowledges nothing unsafe, and loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.publish import START_MS, device_ids
from devices.registry import Asset
from tests.real import service as house
from tests.real.influxdb_server import Influx, InfluxDatabase
from tests.real.processes import need
from tests.real.servers import Mosquitto
from tests.real.service import Service

pytestmark = [pytest.mark.mosquitto, pytest.mark.influxdb, pytest.mark.timeout(120)]
CITY, DEVICES = "store", 100


class Scene:
    """One house of lamps with a database of its own beside the broker that all share."""

    def __init__(self, folder: Path, broker: Mosquitto, influx: Influx, more: Mapping[str, Any] | None = None) -> None:
        self.broker = broker
        self.influx = influx
        self.database: InfluxDatabase = influx.database("city")
        lamps = [Asset(name, "streetlight", "lamp", lon=120.1, lat=30.2) for name in device_ids(DEVICES)]
        settings = {"broker": {"port": broker.port, "client_id": f"store-{folder.name}"}, **(more or {})}
        self.service = Service(folder, CITY, broker, self.database, lamps, more=settings)
        self.published = 0

    def publish(self, count: int, rate: float = 0) -> None:
        """Publish readings, each of a device time of its own, until the broker has acknowledged them."""
        words = ["--port", str(self.broker.port), "--count", str(count), "--devices", str(DEVICES), "--city", CITY]
        words += ["--start-ms", str(START_MS + self.published * 10), "--rate", str(rate)]
        subprocess.run([sys.executable, "-m", "bench.publish", *words], check=True, stdout=subprocess.DEVNULL)
        self.published += count

    def health(self, name: str) -> Mapping[str, Any]:
        try:
            told = json.loads(self.service.get("/healthz"))
        except urllib.error.HTTPError as trouble:
            told = json.loads(trouble.read())
        found: Mapping[str, Any] = next(part for part in told["parts"] if part["name"] == name)
        return found

    def until(self, check: Callable[[], bool], within_s: float = 60) -> None:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if check():
                return
            time.sleep(0.1)
        raise AssertionError(f"it did not come to that: {self.service.log[-2000:]}")

    def all_is_stored(self) -> None:
        line = self.service.settled("streetlight", self.published, 90)
        assert line["received"] == line["stored"] + line["quarantined"] + line["duplicate"]
        assert line["stored"] == self.published == self.database.count("streetlight", "power_w")


Start = Callable[..., Scene]


@pytest.fixture
def scene(
    tmp_path: Path, mosquitto: Mosquitto, start_influx: Callable[..., Influx], request: pytest.FixtureRequest
) -> Start:
    """Set a scene; its house is not yet started."""

    def make(more: Mapping[str, Any] | None = None) -> Scene:
        made = Scene(tmp_path, mosquitto, start_influx(), more)
        request.addfinalizer(made.service.close)
        return made

    return make


def test_a_dropped_database_and_a_refused_token_are_told_and_cost_nothing_once_mended(scene: Start) -> None:
    city = scene()
    city.database.drop()
    city.service.start()
    city.service.connected()
    city.publish(1000)
    city.until(lambda: "until somebody mends it" in city.health("store")["says"])
    assert "does not know the database" in city.health("store")["says"]
    city.influx.database(city.database.bucket)
    city.all_is_stored()

    config, token = city.influx.folder / "nginx.conf", city.influx.token
    config.write_text(config.read_text().replace(token, "another"))
    city.influx.restart_front()
    city.publish(1000)
    city.until(lambda: "refuses the token" in city.health("store")["says"])
    assert not city.health("store")["well"]
    city.until(lambda: city.service.line("streetlight")["pending"] == 1000)
    city.until(lambda: "refuses the token (401)" in city.service.log)
    config.write_text(config.read_text().replace('"Token another"', f'"Token {token}"'))
    city.influx.restart_front()
    city.all_is_stored()
    city.until(lambda: bool(city.health("store")["well"]))
    told = [json.loads(line) for line in city.service.log.splitlines() if line.startswith("{")]
    said = [line["why"] for line in told if line.get("needs_a_person")]
    assert len(said) == 2
    assert "does not know the database" in said[0]
    assert "refuses the token (401)" in said[1]
    assert city.service.log.count("the store takes readings again") == 2
    city.service.kill(signal.SIGTERM)


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path], None]]:
    """Give a function that puts a disk of 4 MB where a folder is; only root may."""
    mounted: list[Path] = []

    def mount(folder: Path) -> None:
        folder.mkdir(parents=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False)
        if done.returncode:
            pytest.skip("only root may mount a small disk; tests/unit/test_journal_room.py stands in for it")
        mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stops_acknowledgement_says_so_and_goes_on_by_itself(
    small_disk: Callable[[Path], None], scene: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMPLIGHTER_STORE__HOLD_S", "1")  # what is held cannot make room
    city = scene()
    disk = tmp_path / "data" / "journal"
    small_disk(disk)
    city.service.start()
    city.service.connected()
    city.publish(1000)
    city.all_is_stored()
    city.influx.kill()
    city.publish(100_000)  # the broker takes all; what finds no room stays there
    city.until(lambda: not city.health("journal")["well"])
    assert "no room for the journal" in city.health("journal")["says"]
    assert "nothing is acknowledged" in city.health("journal")["says"]
    held = city.service.line("streetlight")["received"]
    time.sleep(1.5)
    assert held == city.service.line("streetlight")["received"] < city.published
    assert 0 < _free(disk) <= (4 << 20) // 16 + (512 << 10)  # the last group did not fit
    city.influx.start()
    city.all_is_stored()
    city.until(lambda: bool(city.health("journal")["well"]))
    city.service.kill(signal.SIGTERM)


def _free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def traced(folder: Path, inject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the house run under strace, which makes system calls on the journal's first segment fail."""
    (strace,) = need("strace")
    probe = subprocess.run([strace, "-f", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("ptrace is refused here; tests/unit/test_journal_damage.py stands in for it")
    segment = folder / "data" / "journal" / f"segment-{0:020d}.log"
    words = [strace, "-f", "-qq", "--seccomp-bpf", "-o", str(folder / "strace.log"), "-P", str(segment)]
    words += ["-e", f"trace={inject.split(':', 1)[0]}", "-e", f"inject={inject}"]
    monkeypatch.setattr(house, "LAMPLIGHTER", [*words, *house.LAMPLIGHTER])


def end(city: Scene) -> None:
    """End the house itself; strace ends with it."""
    pid = int((city.service.folder / "data" / "lock").read_text())
    os.kill(pid, signal.SIGTERM)
    assert city.service._process is not None
    city.service._process.wait(30)


def test_after_an_fsync_that_failed_nothing_is_acknowledged_past_it_and_all_comes_again(
    scene: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    city = scene()
    traced(tmp_path, "fdatasync:error=EIO:when=3", monkeypatch)
    city.service.start()
    city.service.connected()
    city.publish(8000, rate=4000)
    city.all_is_stored()
    failed = [line for line in (tmp_path / "strace.log").read_text().splitlines() if "EIO" in line]
    assert len(failed) == 1
    assert "journal refuses: nothing is acknowledged" in city.service.log
    assert "Input/output error" in city.service.log
    assert "journal takes records again" in city.service.log
    # The segment was left for good where it had been synced last, and another one begun: no second fsync was believed.
    assert "was abandoned at position" in city.health("journal")["says"]
    assert len(list((tmp_path / "data" / "journal").glob("segment-*.log"))) == 2
    end(city)


def test_a_journal_that_cannot_be_read_for_a_while_holds_the_readings_back_and_loses_none(
    scene: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    city = scene()
    traced(tmp_path, "read:error=EIO:when=1", monkeypatch)
    city.service.start()
    city.service.connected()
    city.publish(4000, rate=4000)
    city.all_is_stored()
    assert "EIO" in (tmp_path / "strace.log").read_text()
    assert "cannot be read: [Errno 5] Input/output error" in city.service.log
    assert "the store takes readings again" in city.service.log
    assert city.health("journal")["says"].endswith("MB on disk")  # nothing was set aside
    end(city)
