"""CPU seconds a reading on the whole way, beside a plain script on the same messages in the same run.

    python -m bench.whole_way                     # make bench
    python -m bench.whole_way --count 5000 --rounds 1

Ours is ``lamplighter run``: receive (QoS 1), decode, sift, fsynced journal, all shipped rules, acknowledge, ship to
the database; and once more with the database away, where the shipper tries again and again. The plain script is
bench/plain_script.py (paho-mqtt, json, influxdb-client Points). Both read the same single-reading JSON messages
from the same broker at the same rate and write into the same real InfluxDB; what stands in it afterwards is counted
and summed, so that nobody can be quick by not doing the work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.machine import cpu_s, machine, resident_mb
from bench.publish import START_MS, device_ids
from devices.registry import Asset
from storage.operations import Operations
from tests.real.influxdb_server import Influx, InfluxDatabase
from tests.real.processes import free_port
from tests.real.servers import Mosquitto

DEVICES = 5000
GOAL = 0.2  # of the plain script's CPU seconds a reading
WARM = 5000  # readings before the counting begins
RESULTS = Path(__file__).with_name("results.json")


class Ours:
    """``lamplighter run`` in a folder of its own."""

    def __init__(self, folder: Path, broker: Mosquitto, url: str, database: InfluxDatabase) -> None:
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
            "store": {"kind": "influxdb", "url": url, "token": database.token, "bucket": database.bucket},
            "api": {"port": self.port},
        }
        (folder / "lamplighter.yaml").write_text(json.dumps(settings))
        command = [sys.executable, "-m", "lamplighter", "run", "-c", str(folder / "lamplighter.yaml")]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        connected = b"lamplighter_broker_connected 1.0"
        _wait(lambda: connected in self._get("/metrics"), 30, lambda: (folder / "log").read_text()[-2000:])

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            found: bytes = answer.read()
            return found

    def line(self) -> dict[str, int]:
        """Return the ledger's line for lamps."""
        kinds = json.loads(self._get("/api/ledger"))["kinds"]
        return next(
            (line for line in kinds if line["kind"] == "streetlight"), {"received": 0, "stored": 0, "pending": 0}
        )

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def _wait(check: Callable[[], bool], seconds: float, what: Callable[[], object] = str) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if check():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"the bench has waited in vain: {what()}")


def _publish(broker: Mosquitto, count: int, rate: float, start_ms: int) -> None:
    options = {"port": broker.port, "count": count, "rate": rate, "start-ms": start_ms, "devices": DEVICES}
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    subprocess.run([sys.executable, "-m", "bench.publish", *words], check=True, stdout=subprocess.DEVNULL)


def ours(
    folder: Path, broker: Mosquitto, database: InfluxDatabase, given: argparse.Namespace, *, ship: bool
) -> dict[str, float]:
    """Return what one run of ours used; without ``ship`` the database's address leads nowhere."""
    url = database.url if ship else f"http://127.0.0.1:{free_port()}"
    house = Ours(folder, broker, url, database)
    try:
        _publish(broker, WARM, 0, START_MS)
        _wait(lambda: house.line()["received"] >= WARM and (not ship or not house.line()["pending"]), 60, house.line)
        began = cpu_s(house.process.pid)
        _publish(broker, given.count, given.rate, START_MS + 3_600_000)
        total = WARM + given.count
        _wait(lambda: house.line()["received"] >= total and (not ship or not house.line()["pending"]), 120, house.line)
        used = cpu_s(house.process.pid) - began
        return {"us": used / given.count * 1e6, "rss_mb": resident_mb(house.process.pid), **house.line()}
    finally:
        house.stop()


def plain(broker: Mosquitto, database: InfluxDatabase, given: argparse.Namespace, number: int) -> dict[str, float]:
    """Return what one run of the plain script used."""
    options = {"port": broker.port, "count": given.count, "url": database.url, "token": database.token}
    options |= {"bucket": database.bucket, "client-id": f"plain-{number}"}
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    with subprocess.Popen(
        [sys.executable, "-m", "bench.plain_script", *words], stdout=subprocess.PIPE, text=True
    ) as script:
        assert script.stdout is not None
        script.stdout.readline()
        _publish(broker, given.count, given.rate, START_MS + 3_600_000)
        said = json.loads(script.stdout.readline())
    return {"us": said["cpu_s"] / given.count * 1e6}


def stored(database: InfluxDatabase) -> tuple[int, str]:
    """Return how many readings of the counted part stand in a database, and a hash of count and sums."""
    where = f"time >= {START_MS + 3_600_000}ms"
    row = database.query(
        f"SELECT COUNT(power_w), SUM(power_w), SUM(voltage_v), SUM(current_a) FROM streetlight WHERE {where}"
    )[0]
    text = f"{int(row['count'])} {row['sum']:.3f} {row['sum_1']:.3f} {row['sum_2']:.3f}"
    return int(row["count"]), hashlib.sha256(text.encode()).hexdigest()[:12]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40_000, help="readings that are counted, each its own message")
    parser.add_argument("--rate", type=float, default=4000.0, help="messages a second; 0 for as many as possible")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Mosquitto(folder / "broker").start()
        influx = Influx(folder / "influx").start()
        try:
            table = _rounds(folder, broker, influx, given)
        finally:
            influx.terminate()
            broker.terminate()
    _print(table, given)


def _rounds(folder: Path, broker: Mosquitto, influx: Influx, given: argparse.Namespace) -> dict[str, list[Any]]:
    table: dict[str, list[Any]] = {"whole": [], "unshipped": [], "plain": [], "rss": [], "hash": []}
    for number in range(given.rounds):
        print(f"round {number + 1} of {given.rounds} …", file=sys.stderr, flush=True)
        mine, theirs = influx.database(f"ours_{number}"), influx.database(f"plain_{number}")
        shipped = ours(folder / f"ours-{number}", broker, mine, given, ship=True)
        table["plain"].append(plain(broker, theirs, given, number)["us"])
        table["unshipped"].append(ours(folder / f"away-{number}", broker, mine, given, ship=False)["us"])
        table["whole"].append(shipped["us"])
        table["rss"].append(shipped["rss_mb"])
        counts = stored(mine), stored(theirs)
        if counts[0] != counts[1] or counts[0][0] != given.count:
            raise SystemExit(f"what is stored differs: ours {counts[0]}, plain {counts[1]}, sent {given.count}")
        table["hash"].append(counts[0][1])
    return table


def _print(table: dict[str, list[Any]], given: argparse.Namespace) -> None:
    base = statistics.median(table["plain"])
    rows = [
        ("plain script: paho-mqtt, json, Points", "plain"),
        ("Lamplighter, whole way with shipping", "whole"),
        ("Lamplighter, database away (shipper tries on)", "unshipped"),
    ]
    print(f"{machine()}; {given.count:,} readings a round at {given.rate:g}/s, {given.rounds} rounds")
    print(f"{'CPU a reading':<46}{'median':>10}{'min':>9}{'max':>9}{'ratio':>8}")
    results = []
    for text, key in rows:
        low, middle, high = min(table[key]), statistics.median(table[key]), max(table[key])
        print(f"{text:<46}{middle:>7.1f} µs{low:>9.1f}{high:>9.1f}{middle / base:>8.3f}")
        results.append(
            {
                "name": text,
                "unit": "µs CPU a reading",
                "median": middle,
                "min": low,
                "max": high,
                "baseline": base,
                "ratio": middle / base,
            }
        )
    reached = results[1]["ratio"] <= GOAL
    print(f"goal: at most {GOAL:g} of the plain script's: {'reached' if reached else 'NOT reached'}")
    print(f"resident memory {max(table['rss']):.0f} MB; stored alike, hash {', '.join(sorted(set(table['hash'])))}")
    RESULTS.write_text(
        json.dumps({"machine": machine(), "results": results}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
