"""Who is measured in the bench of the whole way: the house itself, a plain script, and clients that only receive."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.machine import cpu_s, resident_mb
from bench.publish import START_MS, device_ids
from devices.registry import Asset
from storage.operations import Operations
from tests.real.influxdb_server import InfluxDatabase
from tests.real.processes import free_port
from tests.real.servers import Mosquitto

DEVICES = 5000
WARM = 2000  # messages before the counting begins
COUNTED_MS = START_MS + 400_000_000  # device time of the first counted reading: behind all warm ones
LOOK_S = 0.25  # between looks at the ledger: a look costs the house some milliseconds


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is published: so many messages, each of so many readings, so many a second (0: as the broker takes them)."""

    count: int
    readings: int
    rate: float

    @property
    def total(self) -> int:
        """Return how many readings are counted."""
        return self.count * self.readings


def _cores() -> tuple[set[int], set[int]]:
    """Return the core of who is measured and those of broker, publisher and database; one and the same where one is."""
    every = sorted(os.sched_getaffinity(0))
    return {every[0]}, set(every[1:]) or {every[0]}


OURS, OTHERS = _cores()


def others_core() -> None:
    """Leave the core of who is measured to them: everything started from now on runs elsewhere."""
    os.sched_setaffinity(0, OTHERS)


def publish(broker: Mosquitto, traffic: Traffic, start_ms: int) -> None:
    options = {"port": broker.port, "count": traffic.count, "rate": traffic.rate, "start-ms": start_ms}
    options |= {"devices": DEVICES, "readings": traffic.readings}
    subprocess.run(_module("bench.publish", options), check=True, stdout=subprocess.DEVNULL)


def _module(name: str, options: dict[str, object]) -> list[str]:
    return [sys.executable, "-m", name, *(word for key, value in options.items() for word in (f"--{key}", str(value)))]


class House:
    """``lamplighter run`` in a folder of its own, on a core of its own."""

    def __init__(self, folder: Path, broker: Mosquitto, database: InfluxDatabase) -> None:
        data = folder / "data"
        data.mkdir(parents=True)
        operations = Operations(f"sqlite:///{data}/operations.db")
        operations.import_assets(
            Asset(
                name, "streetlight", "lamp", lon=121.4, lat=31.2, road=f"road {n // 50}", facts={"rated_power_w": 100}
            )
            for n, name in enumerate(device_ids(DEVICES))
        )
        operations.close()
        self.port = free_port()
        settings = {
            "city": {"id": "bench"},
            "data": str(data),
            "broker": {"port": broker.port, "client_id": f"bench-{folder.name}"},
            "store": {"kind": "influxdb", "url": database.url, "token": database.token, "bucket": database.bucket},
            "api": {"port": self.port},
        }
        (folder / "lamplighter.yaml").write_text(json.dumps(settings))
        command = [sys.executable, "-m", "lamplighter", "run", "-c", str(folder / "lamplighter.yaml")]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        os.sched_setaffinity(self.process.pid, OURS)
        self._wait(
            lambda: b"lamplighter_broker_connected 1.0" in self._get("/metrics"),
            lambda: (folder / "log").read_text()[-2000:],
        )

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            found: bytes = answer.read()
            return found

    def shipping_s(self) -> float:
        """Return the CPU seconds that shipping has used."""
        for line in self._get("/metrics").decode().splitlines():
            if line.startswith("lamplighter_shipping_cpu_seconds_total "):
                return float(line.split()[1])
        raise SystemExit("the house does not tell what shipping used")

    def line(self) -> dict[str, int]:
        """Return the ledger's line for lamps."""
        kinds = json.loads(self._get("/api/ledger"))["kinds"]
        return next(
            (line for line in kinds if line["kind"] == "streetlight"), {"received": 0, "stored": 0, "pending": 0}
        )

    def settled(self, readings: int) -> None:
        """Wait until so many readings were received and are stored."""
        self._wait(lambda: (line := self.line())["received"] >= readings and not line["pending"], self.line)

    def measure(self, broker: Mosquitto, traffic: Traffic) -> dict[str, float]:
        """Return CPU microseconds a reading, of which shipping, and resident MB."""
        publish(broker, Traffic(WARM, 1, 0), START_MS)
        self.settled(WARM)
        before, before_shipping, began = cpu_s(self.process.pid), self.shipping_s(), time.monotonic()
        publish(broker, traffic, COUNTED_MS)
        self._wait(lambda: self.line()["received"] >= WARM + traffic.total, self.line)
        wall_s = time.monotonic() - began
        self.settled(WARM + traffic.total)
        used = cpu_s(self.process.pid) - before
        shipping = self.shipping_s() - before_shipping
        return {
            "us": (used - shipping) / traffic.total * 1e6,
            "us_shipping": shipping / traffic.total * 1e6,
            "per_s": traffic.total / wall_s,
            "rss_mb": resident_mb(self.process.pid),
        }

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def _wait(self, check: Callable[[], bool], what: Callable[[], object]) -> None:
        until = time.monotonic() + 180
        while time.monotonic() < until:
            try:
                if check():
                    return
            except OSError:
                pass
            time.sleep(LOOK_S)
        raise SystemExit(f"the bench has waited in vain: {what()}")


def by_script(name: str, options: dict[str, object], broker: Mosquitto, traffic: Traffic) -> dict[str, float]:
    """Return what a script used that says when it is ready and, at the end, what it used."""
    options |= {"port": broker.port, "count": traffic.count}
    with subprocess.Popen(_module(name, options), stdout=subprocess.PIPE, text=True) as script:
        os.sched_setaffinity(script.pid, OURS)
        assert script.stdout is not None
        said = (json.loads(line) for line in script.stdout if line.startswith("{"))
        next(said)
        publish(broker, traffic, COUNTED_MS)
        result: dict[str, float] = next(said)
    return {"us": result["cpu_s"] / traffic.total * 1e6, "per_s": traffic.total / result["wall_s"]}


def plain(broker: Mosquitto, database: InfluxDatabase, traffic: Traffic, client_id: str) -> dict[str, float]:
    """Return what the plain script used."""
    options: dict[str, object] = {"url": database.url, "token": database.token, "bucket": database.bucket}
    return by_script("bench.plain_script", options | {"client-id": client_id}, broker, traffic)


def receiver(client: str, broker: Mosquitto, traffic: Traffic, client_id: str) -> dict[str, float]:
    """Return what a client used that only receives and acknowledges."""
    return by_script("bench.receivers", {"client": client, "client-id": client_id}, broker, traffic)
