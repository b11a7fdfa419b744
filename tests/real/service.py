"""``lamplighter run`` as a process of its own, for tests that need the whole house."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from devices.registry import Asset, Permit
from storage.operations import Operations
from tests.real.influxdb_server import InfluxDatabase
from tests.real.processes import free_port
from tests.real.servers import Mosquitto

LAMPLIGHTER = [sys.executable, "-m", "lamplighter"]


class Service:
    """One house in ``folder``: a registry, settings for the given broker and database (None: SQLite), and the process.

    Attributes:
        port: of API and console.
        config: the settings file.
        look_s: seconds between two looks at what it says.
    """

    look_s = 0.2

    def __init__(
        self,
        folder: Path,
        city: str,
        broker: Mosquitto,
        influx: InfluxDatabase | None,
        assets: Sequence[Asset] = (),
        permits: Sequence[Permit] = (),
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.config = folder / "lamplighter.yaml"
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir()
        operations = Operations(self.operations_url)
        operations.import_assets(assets, (), permits)
        operations.close()
        settings: dict[str, Any] = {
            "city": {"id": city},
            "data": "data",
            "broker": {"port": broker.port},
            "store": _store(influx),
            "api": {"port": self.port},
            **(more or {}),
        }
        self.config.write_text(json.dumps(settings))  # JSON is YAML too

    @property
    def operations_url(self) -> str:
        return f"sqlite:///{self.folder}/data/operations.db"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        with (self.folder / "log").open("ab") as out:
            self._process = subprocess.Popen([*LAMPLIGHTER, "run", "-c", str(self.config)], stdout=out, stderr=out)

    def kill(self, number: signal.Signals) -> None:
        assert self._process is not None
        assert self._process.poll() is None, self.log[-3000:]
        self._process.send_signal(number)
        self._process.wait(30)

    def close(self) -> None:
        """End the process, however the test went."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(30)

    def command(self, *words: str, timeout_s: float = 120) -> str:
        """Run another command of Lamplighter on this house; return what it printed."""
        command = [*LAMPLIGHTER, *words, "-c", str(self.config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            found: bytes = answer.read()
            return found

    def figure(self, name: str) -> float:
        """Return one of the house's own numbers, as /metrics tells it."""
        lines = self.get("/metrics").decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"lamplighter_{name} "))

    def connected(self, within_s: float = 30) -> None:
        """Wait until it has its session; what is published before a first subscription belongs to nobody."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            try:
                if b"lamplighter_broker_connected 1.0" in self.get("/metrics"):
                    return
            except OSError:
                pass
            time.sleep(self.look_s)
        raise AssertionError(self.log[-3000:])

    def line(self, kind: str) -> Mapping[str, Any]:
        """Return a kind's line of the ledger, empty before there is one."""
        kinds = json.loads(self.get("/api/ledger"))["kinds"]
        found: Mapping[str, Any] = next((line for line in kinds if line["kind"] == kind), {})
        return found

    def settled(self, kind: str, readings: int, within_s: float) -> Mapping[str, Any]:
        """Wait until so many readings are received and none is pending; return the kind's line of the ledger."""
        until = time.monotonic() + within_s
        line: Mapping[str, Any] = {}
        while time.monotonic() < until:
            time.sleep(self.look_s)
            try:
                line = self.line(kind)
            except OSError:
                continue
            if line and line["received"] - line["duplicate"] >= readings and line["pending"] == 0:
                return line
        raise AssertionError(f"not settled: {line}; {self.log[-2000:]}")

    def stored(self, kind: str) -> int:
        """Return how many readings of a kind the SQLite store holds."""
        with sqlite3.connect(f"file:{self.folder}/data/readings.db?mode=ro", uri=True) as store:
            return int(store.execute(f'SELECT COUNT(*) FROM "readings_{kind}"').fetchone()[0])

    def alerts(self) -> set[tuple[str, str, int]]:
        """Return id, state and onset of every alert."""
        with sqlite3.connect(f"file:{self.folder}/data/operations.db?mode=ro", uri=True) as book:
            return set(book.execute("SELECT id, state, onset_ms FROM alerts"))

    def outbox(self) -> dict[str, int]:
        """Return how many notices are in each state."""
        with sqlite3.connect(f"file:{self.folder}/data/operations.db?mode=ro", uri=True) as book:
            return dict(book.execute("SELECT status, COUNT(*) FROM outbox GROUP BY status"))


def _store(influx: InfluxDatabase | None) -> dict[str, str]:
    if influx is None:
        return {"kind": "sqlite"}
    return {"kind": "influxdb", "url": influx.url, "token": influx.token, "bucket": influx.bucket}
