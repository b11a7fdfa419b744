"""A megacity on one machine: broker, store, load generator and a real `lamplighter run` with 815,000 devices.

    python -m bench.megacity                                       # 20,000 readings a second for ten minutes
    python -m bench.megacity --rate 5000 --minutes 1 --scale 0.1   # smaller
    python -m bench.megacity --store sqlite

Everything is real: Mosquitto, InfluxDB 1.6.7 behind nginx, the shipped rules, a webhook that is told of alerts. The
load generator sends as often as each role's catalog says, all quickened alike until the rate is reached; kinds named
with --readings send several readings in a message, as concentrators do. Then the ledger, the points in the store and
the notices are compared with what the broker had accepted, the house is killed, and started again under load. Rows
are written to bench/megacity.json.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.machine import machine
from bench.megacity_parts import Desk, House, Meter, Store, percentile
from devices.kinds import load_catalog
from simulators.megacity import Size, megacity
from storage.operations import Operations
from tests.real.servers import Mosquitto

RESULTS = Path(__file__).with_name("megacity.json")
ROOT = Path(__file__).parents[1]
IMMEDIATE = ("cover_open",)  # rules that speak at the first reading: its time is the time of publishing
DRAIN_S = 600.0
RESTART_RATE = 500.0
Row = dict[str, Any]


def make_registry(data: Path, size: Size) -> dict[str, float]:
    """Import the city, unless it is there already; return what it took."""
    data.mkdir(parents=True, exist_ok=True)
    operations = Operations(f"sqlite:///{data}/operations.db")
    try:
        began = time.monotonic()
        if not operations.registry_version():
            operations.import_assets(megacity(size))
        imported = time.monotonic() - began
        began = time.monotonic()
        devices = len(operations.load_registry(load_catalog()))
        first = time.monotonic() - began
        began = time.monotonic()
        operations.load_registry(load_catalog())
        return {"devices": devices, "import_s": imported, "load_s": first, "again_s": time.monotonic() - began}
    finally:
        operations.close()


def start_load(
    config: Path, folder: Path, given: argparse.Namespace, rate: float, seconds: float
) -> subprocess.Popen[bytes]:
    """Start the load generator as a process of its own."""
    words = ["--rate", str(rate), "--for", f"{seconds}s", "--connections", str(given.connections)]
    words += ["--faults", str(given.faults), "--seed", str(given.seed)]
    words += ["--calm", f"{given.warm * 60}s"] if given.warm and seconds > given.warm * 60 else []
    words += [word for each in given.readings for word in ("--readings", each)]
    words += ["--told", str(folder / "faults.jsonl"), "--summary", str(folder / "sent.json")]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "load.log").open("wb") as log:
        command = [sys.executable, "-m", "lamplighter", "load", "-c", str(config), *words]
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)


def run(folder: Path, given: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []

    def note(name: str, unit: str, value: float, goal: float | None = None) -> None:
        told = f"   goal {goal:,g}" if goal is not None else ""
        print(f"{name:<62}{value:>16,.6g} {unit}{told}", flush=True)
        ratio = value / goal if goal else None
        rows.append(
            {"name": name, "unit": unit, "median": value, "min": value, "max": value, "baseline": goal, "ratio": ratio}
        )

    print(machine())
    size = Size().scaled(given.scale) if given.scale != 1 else Size()
    made = make_registry(folder / "data", size)
    note("devices in the registry", "devices", made["devices"])
    note("import of the registry", "s", made["import_s"])
    note("registry read from the database", "s", made["load_s"])
    note("registry read from its own file", "s", made["again_s"])
    desk = Desk()
    store = Store(folder / "store", given.store)
    broker = Mosquitto(folder / "broker").start()
    try:
        house = House(folder, broker, store, desk.port)
        try:
            note("start to a session with the broker", "s", house.start())
            _under_load(folder, given, house, broker, store, desk, note)
            _killed(folder, given, house, note)
        finally:
            house.stop()
    finally:
        broker.terminate()
        store.stop()
        desk.close()
    return rows


def _under_load(
    folder: Path, given: argparse.Namespace, house: House, broker: Mosquitto, store: Store, desk: Desk, note: Any
) -> None:
    seconds = (given.warm + given.minutes) * 60
    load = start_load(house.config, folder / "load", given, given.rate, seconds)
    meter = Meter({"lamplighter run": house.pid, "mosquitto": broker.pid, "load generator": load.pid, **store.pids()})
    pending = 0
    while load.poll() is None:
        meter.look()
        pending = max(pending, sum(line["pending"] for line in house.lines()))
        time.sleep(1.0)
    if load.returncode:
        raise SystemExit(f"the load generator failed: {(folder / 'load' / 'load.log').read_text()[-2000:]}")
    sent = json.loads((folder / "load" / "sent.json").read_text())
    ended, ended_ms = time.monotonic(), time.time() * 1000
    readings = sum(sent["readings"].values())
    lines = house.settled(readings, DRAIN_S, meter.look)
    note("readings accepted by the broker", "readings", readings)
    note("messages accepted by the broker", "messages", sent["accepted"])
    note("readings a second", "1/s", readings / sent["seconds"], given.rate)
    note("messages a second", "1/s", sent["accepted"] / sent["seconds"])
    note("most messages behind the rate", "messages", sent["behind"])
    note("most readings waiting for the store", "readings", pending)
    note("from the last message to the last reading in the store", "s", time.monotonic() - ended)
    for word in ("received", "stored", "duplicate", "quarantined", "pending"):
        note(f"ledger: {word}", "readings", sum(line[word] for line in lines), readings if word == "stored" else None)
    stored = store.count(sent["readings"])
    note("readings counted in the store", "readings", stored, readings)
    for name, used in meter.cpu_s().items():
        note(f"CPU of {name}", "µs a reading", used / readings * 1e6)
    for name, most in meter.rss_mb().items():
        note(f"resident memory of {name}, most", "MB", most, 700.0 if name == "lamplighter run" else None)
    _notices(folder, desk, ended_ms, note)
    if stored != readings:
        raise SystemExit(f"the store holds {stored:,} readings of {readings:,} that the broker had accepted")


def _notices(folder: Path, desk: Desk, ended_ms: float, note: Any) -> None:
    """Compare the faults that were told with the notices that came, and say how long the immediate ones took.

    Once the load has ended the whole city is silent, and the house says so: that is no alert without a fault.
    """
    faults = [json.loads(line) for line in (folder / "load" / "faults.jsonl").read_text().splitlines()]
    mine = {(fault["rule"], fault["device"]): fault["ts_ms"] for fault in faults}
    came = desk.wait({key for key in mine if key[0] in IMMEDIATE}, 30.0)
    took = sorted(came[key] - mine[key] for key in mine if key[0] in IMMEDIATE and key in came)
    note("faults told by devices", "faults", len(mine))
    note("faults of immediate rules", "faults", sum(key[0] in IMMEDIATE for key in mine))
    note("notices of immediate rules that came", "notices", len(took))
    strange = Counter(key[0] for key, at_ms in came.items() if key not in mine and at_ms < ended_ms)
    note("alerts that no fault explains", "alerts", strange.total())
    for rule, number in strange.most_common():
        note(f"of these {rule}", "alerts", number)
    for share in (50, 99, 100):
        goal = 1000.0 if share == 99 else None
        note(f"publish to notice, p{share}", "ms", percentile(took, share / 100), goal)


def _killed(folder: Path, given: argparse.Namespace, house: House, note: Any) -> None:
    """Kill the house under a light load and time its way back to the first reading."""
    load = start_load(house.config, folder / "again", given, min(RESTART_RATE, given.rate), 60)
    house.reads(within_s=60, another=True)
    taken = []
    for _ in range(given.restarts):
        house.kill()
        time.sleep(1.0)
        began = time.monotonic()
        house.start(wait=False)
        house.reads(within_s=60)
        taken.append(time.monotonic() - began)
    load.send_signal(signal.SIGINT)
    load.wait(30)
    for number, seconds in enumerate(taken, 1):
        note(f"restart {number} after SIGKILL to the first reading", "s", seconds, 5.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=20_000, help="readings a second")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--warm", type=float, default=0.0, help="minutes at the same rate before, without faults")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of devices")
    parser.add_argument("--readings", nargs="*", default=["streetlight=50"], help="readings in one message of a kind")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--faults", type=float, default=0.0005, help="share of the devices that go wrong")
    parser.add_argument("--store", choices=("influxdb", "sqlite"), default="influxdb")
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="kept afterwards; a registry in it is used again")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = run(given.folder or Path(name), given)
    said = {key: str(value) for key, value in vars(given).items() if key not in ("folder", "out")}
    text = json.dumps({"machine": machine(), "arguments": said, "results": rows}, ensure_ascii=False, indent=1)
    given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
