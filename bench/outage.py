"""InfluxDB goes away for an hour and comes back: what is lost, what memory and alerts do, how it drains.

    python -m bench.outage                # make outage: an hour, scaled 1:60 in time, at 5,000 readings a second
    python -m bench.outage --scale 12     # five minutes away

Real Mosquitto, real InfluxDB behind nginx, ``lamplighter run`` with all shipped rules, readings at a steady rate the
whole time, the drain included. Beside them manhole covers are opened, and each one's way from publishing to the notice
on a webhook is timed. Nothing but the length of the outage is scaled. At the end points are counted in InfluxDB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.machine import cpu_s, machine, resident_mb
from bench.outage_load import CITY, Covers, Phone
from bench.publish import device_ids
from devices.registry import Asset
from tests.real.influxdb_server import Influx, InfluxDatabase
from tests.real.servers import Mosquitto
from tests.real.service import Service

GOAL = 3.0  # times real time, while readings go on coming
RESULTS = Path(__file__).with_name("outage.json")
RATED = {"rated_power_w": 100.0}
PHASES = ("before", "away", "drain", "after")


@dataclass(slots=True)
class Phase:
    """One stretch of the run.

    Attributes:
        began, ended: monotonic seconds.
        used: CPU seconds by process.
        resident_mb: of the house, one a sample.
        journal_mb: on disk, one a sample.
        stored: readings that came into the database meanwhile, as the ledger says.
        pending: readings that wait at its end.
        latencies_s: from publishing to notice, of the covers opened meanwhile, ascending.
    """

    began: float
    ended: float = 0.0
    used: dict[str, float] = field(default_factory=dict)
    resident_mb: list[float] = field(default_factory=list)
    journal_mb: list[float] = field(default_factory=list)
    stored: int = 0
    pending: int = 0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def length_s(self) -> float:
        """Return how long it took."""
        return self.ended - self.began


class Scene:
    """Broker, database, house and load in one folder."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        self.folder = folder
        self.given = given
        self.phases: dict[str, Phase] = {}
        self.away = False
        self.phone = Phone()
        self.broker = Mosquitto(folder / "broker").start()
        self.influx = Influx(folder / "influx").start()
        self.database: InfluxDatabase = self.influx.database("outage")
        covers = [f"cover-{number:06d}" for number in range(int(given.longest_s / given.probe_s) + 1)]
        self.house = self._house(covers)
        self.covers = Covers(self.phone, self.broker.port, covers, given.probe_s)
        self.load = self._load()

    def _house(self, covers: Sequence[str]) -> Service:
        lamps = [
            Asset(
                name, "streetlight", "lamp", lon=121.4, lat=31.2, road=f"road {n // 50}", facts={"rated_power_w": 100}
            )
            for n, name in enumerate(device_ids(self.given.devices))
        ]
        lids = [Asset(name, "manhole", "cover", lon=121.5, lat=31.2) for name in covers]
        url = f"json://127.0.0.1:{self.phone.server_port}/"
        phone = {"name": "phone", "url": url, "allow_private": True, "min_severity": "critical", "kinds": ["manhole"]}
        house = Service(self.folder, CITY, self.broker, self.database, [*lamps, *lids], more={"notify": [phone]})
        house.start()
        house.connected()
        return house

    def _load(self) -> subprocess.Popen[str]:
        words: dict[str, object] = {"port": self.broker.port, "rate": self.given.rate, "devices": self.given.devices}
        words["start-ms"] = time.time_ns() // 1_000_000
        options = [word for key, value in words.items() for word in (f"--{key}", str(value))]
        command = [sys.executable, "-m", "bench.outage_load", *options]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self) -> dict[str, int]:
        """Play the outage through; return what came of the readings, by who counted them."""
        given = self.given
        self._phase("warming", lambda phase: phase.length_s > given.before)
        self._phase("before", lambda phase: phase.length_s > given.before)
        self.influx.kill()
        self.away = True
        self._phase("away", lambda phase: phase.length_s > given.minutes * 60 / given.scale)
        self.influx.start()
        self.away = False
        enough = 2 * given.rate  # what waits in an ordinary second or two
        self._phase("drain", lambda phase: phase.pending < enough)
        self._phase("after", lambda phase: phase.length_s > given.before)
        said = json.loads(self.load.communicate("")[0])
        self.covers.stop()
        for phase in self.phases.values():
            phase.latencies_s = self.covers.latencies_s(phase.began, phase.ended)
        line = self.house.settled("streetlight", said["messages"], given.longest_s)
        counts = ("received", "stored", "quarantined", "duplicate", "pending")
        return {
            "published": said["messages"],
            "refused": said["refused"],
            **{name: int(line[name]) for name in counts},
            "in InfluxDB": self.database.count("streetlight", "power_w"),
        }

    def close(self) -> None:
        """End every process."""
        self.load.kill()
        self.load.communicate()
        self.house.close()
        self.influx.stop()
        self.broker.kill()
        self.phone.shutdown()
        self.phone.server_close()

    def _pids(self) -> dict[str, int]:
        """Return the processes whose CPU is counted; one that does not run just now is missing."""
        house = int((self.folder / "data" / "lock").read_text())
        found = {"house": house, "mosquitto": self.broker.pid, "load": self.load.pid}
        return found | ({} if self.away else {"influxd": self.influx.pid})

    def _phase(self, name: str, ends: Callable[[Phase], bool]) -> None:
        """Let a stretch pass until ``ends`` says so, taking samples four times a second."""
        print(f"{name} …", file=sys.stderr, flush=True)
        phase = self.phases[name] = Phase(time.monotonic())
        before = {each: cpu_s(pid) for each, pid in self._pids().items()}
        first = self.house.line("streetlight").get("stored", 0)
        while True:
            time.sleep(0.25)
            line = self.house.line("streetlight")
            phase.ended = time.monotonic()
            phase.stored, phase.pending = line.get("stored", 0) - first, line.get("pending", 0)
            phase.resident_mb.append(resident_mb(self._pids()["house"]))
            phase.journal_mb.append(sum(map(_size, (self.folder / "data" / "journal").glob("segment-*.log"))))
            if ends(phase):
                break
            if phase.length_s > self.given.longest_s:
                raise SystemExit(f"{name} is not over after {phase.length_s:.0f} s: {line}")
        phase.used = {each: cpu_s(pid) - before.get(each, 0.0) for each, pid in self._pids().items()}


def _size(path: Path) -> float:
    try:
        return path.stat().st_size / (1 << 20)
    except FileNotFoundError:  # released meanwhile
        return 0.0


def verdict(counts: dict[str, int]) -> str:
    """Return what is wrong with the counts, empty where nothing is lost and nothing stored twice."""
    received = counts["stored"] + counts["quarantined"] + counts["duplicate"] + counts["pending"]
    if counts["received"] != received:
        return f"the ledger does not balance: {counts}"
    if not counts["published"] - counts["refused"] == counts["stored"] == counts["in InfluxDB"]:
        return f"published, stored and counted in InfluxDB differ: {counts}"
    return ""


def figures(phases: dict[str, Phase], rate: float) -> list[dict[str, Any]]:
    """Return every figure as name, unit, median, min, max, baseline (the same before the outage) and ratio."""
    found = []
    for name in PHASES:
        phase, base = phases[name], phases["before"]
        found += [
            _figure(f"publish to notice, median, {name}", "s", [_part(phase, 0.5)], _part(base, 0.5)),
            _figure(f"publish to notice, p99, {name}", "s", [_part(phase, 0.99)], _part(base, 0.99)),
            _figure(f"resident memory of the house, {name}", "MB", phase.resident_mb, max(base.resident_mb)),
            _figure(f"journal on disk, {name}", "MB", phase.journal_mb, max(base.journal_mb)),
        ]
        for process in ("house", "influxd", "mosquitto", "load"):
            cores = [p.used.get(process, 0.0) / p.length_s for p in (phase, base)]
            found.append(_figure(f"CPU of {process}, {name}", "cores", cores[:1], cores[1]))
    drain = phases["drain"]
    found.append(_figure("drain while readings go on coming", "readings/s", [drain.stored / drain.length_s], rate))
    return found


def _figure(name: str, unit: str, values: Sequence[float], baseline: float) -> dict[str, Any]:
    middle = statistics.median(values)
    ratio = middle / baseline if baseline else None
    row = {"name": name, "unit": unit, "median": middle, "min": min(values), "max": max(values)}
    return row | {"baseline": baseline, "ratio": ratio}


def _part(phase: Phase, share: float) -> float:
    values = phase.latencies_s
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def show(phases: dict[str, Phase], counts: dict[str, int], given: argparse.Namespace) -> None:
    """Print what was seen as a table."""
    drain = phases["drain"]
    times = drain.stored / drain.length_s / given.rate
    print(f"{machine()}; {given.rate:,.0f} readings/s; away {given.minutes:g} min scaled 1:{given.scale:g}")
    print(f"{'':<10}{'seconds':>9}{'notice p50':>12}{'p99':>8}{'memory MB':>12}{'journal MB':>12}   CPU: cores of")
    print(f"{'':<63}{'house':>9}{'influxd':>9}{'mosquitto':>11}{'load':>7}")
    for name in PHASES:
        phase = phases[name]
        cores = [phase.used.get(each, 0.0) / phase.length_s for each in ("house", "influxd", "mosquitto", "load")]
        print(
            f"{name:<10}{phase.length_s:>9.1f}{_part(phase, 0.5):>10.2f} s{_part(phase, 0.99):>6.2f} s"
            f"{max(phase.resident_mb):>12.0f}{max(phase.journal_mb):>12.0f}"
            f"{cores[0]:>9.2f}{cores[1]:>9.2f}{cores[2]:>11.2f}{cores[3]:>7.2f}"
        )
    print(f"drained {drain.stored:,} readings in {drain.length_s:.1f} s: {times:.1f} times real time, ", end="")
    print(f"goal {GOAL:g} {'reached' if times >= GOAL else 'NOT reached'}")
    print("; ".join(f"{name} {number:,}" for name, number in counts.items()))
    print(verdict(counts) or "lost 0, stored twice 0, the ledger balances")


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=5000.0, help="readings a second, each a message")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long the database is away")
    parser.add_argument("--scale", type=float, default=60.0, help="by how much that is shortened")
    parser.add_argument("--before", type=float, default=15.0, help="seconds of ordinary life before and after")
    parser.add_argument("--devices", type=int, default=5000)
    parser.add_argument("--probe-s", type=float, default=0.2, help="seconds between two covers that are opened")
    parser.add_argument("--longest-s", type=float, default=900.0, help="what any stretch may take")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go")
    return parser.parse_args(words)


def measure(given: argparse.Namespace) -> tuple[dict[str, Phase], dict[str, int]]:
    """Play the outage and return what was seen in each stretch, and the counts at the end."""
    with tempfile.TemporaryDirectory() as name:
        scene = Scene(Path(name), given)
        try:
            counts = scene.run()
        finally:
            scene.close()
    return scene.phases, counts


def main() -> None:
    """Measure, print, write down; end with 1 where a reading was lost or stored twice."""
    given = arguments()
    phases, counts = measure(given)
    show(phases, counts, given)
    told = {"machine": machine(), "rate": given.rate, "minutes": given.minutes, "scale": given.scale, "counts": counts}
    text = json.dumps({**told, "results": figures(phases, given.rate)}, ensure_ascii=False, indent=1)
    given.json.write_text(text + "\n", encoding="utf-8")
    raise SystemExit(bool(verdict(counts)))


if __name__ == "__main__":
    main()
