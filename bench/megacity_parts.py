"""The parts of the megacity bench: the house, its store, the desk that is told of alerts, and a meter on processes."""

from __future__ import annotations

import itertools
import json
import math
import os
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.machine import cpu_s, resident_mb
from tests.real.influxdb_server import Influx
from tests.real.processes import free_port
from tests.real.servers import Mosquitto

COUNTED = {  # fields one of which every reading of the load generator has, by kind
    "streetlight": ("power_w", "feeder_power_w"),
    "manhole": ("tilt_deg",),
    "pump": ("level_m", "running"),
    "truck": ("speed_kmh",),
}
STORE_NICE = 10
PIECE_MS = 60_000  # of device time that is counted in one query
REACHES_MS = 6 * 3_600_000  # readings of a message lie at most so far back
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _yield_to_others(pid: int) -> None:
    """Let a process wait where others want the processor, as docs/operating.md advises for a store beside the house."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(task.name), STORE_NICE)


class Store:
    """A real InfluxDB, or SQLite in the house's own folder."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.kind = kind
        self._file = folder.parent / "data" / "readings.db"
        self._influx = Influx(folder).start() if kind == "influxdb" else None
        self._database = self._influx.database("megacity") if self._influx else None
        if self._influx:
            _yield_to_others(self._influx.pid)
        self._from_ms = int(time.time() * 1000)

    def settings(self) -> dict[str, Any]:
        if self._database is None:
            return {"kind": "sqlite"}
        return {
            "kind": "influxdb",
            "url": self._database.url,
            "token": self._database.token,
            "bucket": self._database.bucket,
        }

    def pids(self) -> dict[str, int]:
        return {"influxd": self._influx.pid} if self._influx else {}

    def count(self, kinds: Iterable[str]) -> int:
        """Return how many readings stand in the store, counted by the store itself."""
        return sum(self._count(kind, field) for kind in kinds for field in COUNTED[kind])

    def _count(self, kind: str, field: str) -> int:
        if self._database is None:
            with sqlite3.connect(self._file) as connection:
                query = f'SELECT count("{field}") FROM "readings_{kind}"'
                return int(connection.execute(query).fetchone()[0])
        total, now_ms = 0, int(time.time() * 1000) + PIECE_MS
        bounds = [self._from_ms - REACHES_MS, *range(self._from_ms, now_ms, PIECE_MS), now_ms]
        for start, end in itertools.pairwise(bounds):
            where = f"time >= {start}ms AND time < {end}ms"
            rows = self._database.query(f'SELECT count("{field}") FROM "{kind}" WHERE {where}')
            total += int(rows[0]["count"]) if rows else 0
        return total

    def stop(self) -> None:
        if self._influx is not None:
            self._influx.stop()


class Desk:
    """A webhook that notes when it was told of which alert."""

    def __init__(self) -> None:
        desk = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                at_ms = time.time() * 1000
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                desk.told(body, at_ms)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing a request."""

        self._came: dict[tuple[str, str], float] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def told(self, body: Mapping[str, Any], at_ms: float) -> None:
        """Note a notice of an alert that began."""
        if body.get("state") == "active":
            self._came.setdefault((body["rule"], str(body["entity"]).removeprefix("device:")), at_ms)

    def wait(self, wanted: set[tuple[str, str]], seconds: float) -> dict[tuple[str, str], float]:
        """Return when each alert was told, first waiting a while for those that are wanted."""
        until = time.monotonic() + seconds
        while not wanted <= self._came.keys() and time.monotonic() < until:
            time.sleep(0.1)
        return dict(self._came)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class House:
    """``lamplighter run`` over a registry that stands in ``folder/data``."""

    def __init__(self, folder: Path, broker: Mosquitto, store: Store, desk_port: int) -> None:
        self.port = free_port()
        self.config = folder / "lamplighter.yaml"
        self._log = folder / "house.log"
        self._process: subprocess.Popen[bytes] | None = None
        desk = {"name": "desk", "url": f"json://127.0.0.1:{desk_port}/", "allow_private": True, "min_severity": "info"}
        settings = {
            "city": {"id": "megacity"},
            "data": "data",
            "broker": {"port": broker.port},
            "store": store.settings(),
            "api": {"port": self.port},
            "notify": [desk],
        }
        self.config.write_text(json.dumps(settings))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *, wait: bool = True) -> float:
        """Start; return the seconds until it has its session."""
        began = time.monotonic()
        command = [sys.executable, "-m", "lamplighter", "run", "-c", str(self.config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        if wait:
            self._until(lambda: self._figure("lamplighter_broker_connected") == 1, 120)
        return time.monotonic() - began

    def reads(self, within_s: float, *, another: bool = False) -> None:
        """Wait until it has taken a reading the whole way; ``another``: beside those that it has taken already."""
        taken = self._figure("lamplighter_readings_total") if another else 0.0
        self._until(lambda: self._figure("lamplighter_readings_total") > taken, within_s)

    def lines(self) -> list[dict[str, Any]]:
        """Return the ledger's lines, none while it does not answer."""
        try:
            found: list[dict[str, Any]] = json.loads(self._get("/api/ledger"))["kinds"]
        except OSError:
            return []
        return found

    def settled(self, readings: int, within_s: float, look: Callable[[], None]) -> list[dict[str, Any]]:
        """Wait until so many readings are received and none is pending; return the ledger's lines."""
        lines: list[dict[str, Any]] = []

        def done() -> bool:
            nonlocal lines
            look()
            lines = self.lines()
            fresh = sum(line["received"] - line["duplicate"] for line in lines)
            return fresh >= readings and not sum(line["pending"] for line in lines)

        self._until(done, within_s, every_s=0.5, told=lambda: str(lines))
        return lines

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()

    def _get(self, path: str) -> bytes:
        with _DIRECT.open(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            found: bytes = answer.read()
            return found

    def _figure(self, name: str) -> float:
        for line in self._get("/metrics").decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        return math.nan

    def _until(
        self, check: Callable[[], bool], seconds: float, every_s: float = 0.05, told: Callable[[], str] = str
    ) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if check():
                    return
            except OSError:
                pass
            time.sleep(every_s)
        raise SystemExit(f"the house keeps the bench waiting: {told()}\n{self._log.read_text()[-2000:]}")


class Meter:
    """CPU seconds and the most memory of some processes, since it was made; the dead keep what they had."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._first = {name: cpu_s(pid) for name, pid in pids.items()}
        self._latest = dict(self._first)
        self._most = dict.fromkeys(pids, 0.0)

    def look(self) -> None:
        for name, pid in self._pids.items():
            try:
                self._latest[name] = max(self._latest[name], cpu_s(pid))
                self._most[name] = max(self._most[name], resident_mb(pid))
            except OSError:
                continue

    def cpu_s(self) -> dict[str, float]:
        return {name: self._latest[name] - self._first[name] for name in self._pids}

    def rss_mb(self) -> dict[str, float]:
        return dict(self._most)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that so large a share does not exceed, NaN of nothing; values rise."""
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan
