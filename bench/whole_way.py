"""CPU a reading on the whole way, beside a plain script and clients that only receive, in one run.

    python -m bench.whole_way                     # make bench: as fast as the broker brings them, and at 4,000 a second
    python -m bench.whole_way --count 5000 --rounds 1

Ours is ``lamplighter run``: receive (QoS 1), decode, sift, fsynced journal, all shipped rules, acknowledge; shipping to
the database is counted apart. The plain script is bench/plain_script.py (paho-mqtt, json, influxdb-client Points with
the batching writer). The others only receive and acknowledge (bench/receivers.py). All read the same JSON messages
from the same broker, single readings and lists of 50. What stands in the real InfluxDB afterwards is counted and
summed, so that nobody can be quick by not doing the work. Who is measured has a core of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from bench import contenders
from bench.contenders import COUNTED_MS, House, Traffic
from bench.machine import machine
from bench.receivers import CLIENTS
from tests.real.influxdb_server import Influx, InfluxDatabase
from tests.real.servers import Mosquitto

RESULTS = Path(__file__).with_name("results.json")
GOALS = {"one": (6.0, 0.1), "fifty": (2.5, 0.1), "paced": (None, 0.2)}  # µs a reading; of the plain script's
TEXTS = {
    "one": "single-reading messages, as fast as they come",
    "fifty": "messages of 50 readings, as fast as they come",
    "paced": "single-reading messages, 4,000 a second",
}
OURS, SHIPPING, PLAIN = "Lamplighter, receive to acknowledge", "  and shipping to InfluxDB", "plain script"
Table = dict[tuple[str, str], list[float]]


def stored(database: InfluxDatabase) -> tuple[int, str]:
    """Return how many readings of the counted part stand in a database, and a hash of count and sums."""
    row = database.query(
        "SELECT COUNT(power_w), SUM(power_w), SUM(voltage_v), SUM(current_a) FROM streetlight "
        f"WHERE time >= {COUNTED_MS}ms"
    )[0]
    text = f"{int(row['count'])} {row['sum']:.2f} {row['sum_1']:.2f} {row['sum_2']:.2f}"
    return int(row["count"]), hashlib.sha256(text.encode()).hexdigest()[:12]


class Bench:
    """One broker, one database, and everybody in turn."""

    def __init__(self, folder: Path, broker: Mosquitto, influx: Influx) -> None:
        self.folder, self.broker, self.influx = folder, broker, influx
        self.us: Table = defaultdict(list)
        self.per_s: Table = defaultdict(list)
        self.rss_mb: list[float] = []
        self.hashes: dict[str, set[str]] = defaultdict(set)

    def round(self, number: int, mode: str, traffic: Traffic) -> None:
        """Measure everybody once; end when what is stored differs."""
        name = f"{mode}-{number}"
        mine, theirs = self.influx.database(f"ours_{mode}_{number}"), self.influx.database(f"plain_{mode}_{number}")
        house = House(self.folder / name, self.broker, mine)
        try:
            ours = house.measure(self.broker, traffic)
        finally:
            house.stop()
        self.us[mode, OURS].append(ours["us"])
        self.us[mode, SHIPPING].append(ours["us_shipping"])
        self.per_s[mode, OURS].append(ours["per_s"])
        self.rss_mb.append(ours["rss_mb"])
        self._note(mode, PLAIN, contenders.plain(self.broker, theirs, traffic, f"plain-{name}"))
        counts = stored(mine), stored(theirs)
        if counts[0] != counts[1] or counts[0][0] != traffic.total:
            raise SystemExit(f"what is stored differs: ours {counts[0]}, plain {counts[1]}, sent {traffic.total}")
        self.hashes[mode].add(counts[0][1])
        for client in CLIENTS if mode != "paced" else ():
            result = contenders.receiver(client, self.broker, traffic, f"{client}-{name}")
            self._note(mode, f"{client}, receiving only", result)

    def _note(self, mode: str, who: str, result: dict[str, float]) -> None:
        self.us[mode, who].append(result["us"])
        self.per_s[mode, who].append(result["per_s"])

    def rows(self) -> list[dict[str, object]]:
        """Return the results as rows: name, unit, median, min, max, baseline (the plain script's median), ratio."""
        rows = []
        for table, unit in ((self.us, "µs CPU a reading"), (self.per_s, "readings a second")):
            for (mode, who), values in table.items():
                middle, base = statistics.median(values), statistics.median(table[mode, PLAIN])
                row = {"name": f"{who.strip()}; {TEXTS[mode]}", "unit": unit, "median": middle, "min": min(values)}
                rows.append(row | {"max": max(values), "baseline": base, "ratio": middle / base})
        return rows

    def print(self) -> None:
        """Print a table for each mode and say which goals are reached."""
        for mode in dict.fromkeys(mode for mode, _ in self.us):
            base = statistics.median(self.us[mode, PLAIN])
            columns = f"{'median':>10}{'min':>9}{'max':>9}{'ratio':>8}{'readings/s':>12}"
            print(f"\n{TEXTS[mode]}\n{'CPU a reading':<42}{columns}")
            for (its, who), values in self.us.items():
                if its == mode:
                    middle = statistics.median(values)
                    pace = f"{statistics.median(self.per_s[mode, who]):>12,.0f}" if (mode, who) in self.per_s else ""
                    numbers = f"{middle:>7.2f} µs{min(values):>9.2f}{max(values):>9.2f}{middle / base:>8.3f}"
                    print(f"{who:<42}{numbers}{pace}")
            ours, (goal_us, goal_ratio) = statistics.median(self.us[mode, OURS]), GOALS[mode]
            if goal_us is not None:
                print(f"goal: at most {goal_us:g} µs a reading: {_reached(ours <= goal_us)}")
            print(f"goal: at most {goal_ratio:g} of the plain script's: {_reached(ours <= goal_ratio * base)}")
            print(f"stored alike by both, hash {', '.join(sorted(self.hashes[mode]))}")
        print(f"\nresident memory of Lamplighter at most {max(self.rss_mb):.0f} MB")


def _reached(yes: bool) -> str:  # noqa: FBT001
    return "reached" if yes else "NOT reached"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--count", type=int, default=40_000, help="single-reading messages a round; as many readings × 2.5 in lists"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--modes", default=",".join(TEXTS), help="some of one, fifty, paced")
    given = parser.parse_args()
    traffic = {
        "one": Traffic(given.count, 1, 0),
        "fifty": Traffic(given.count // 20, 50, 0),
        "paced": Traffic(given.count, 1, 4000),
    }
    where = machine()
    contenders.others_core()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Mosquitto(folder / "broker").start()
        influx = Influx(folder / "influx").start()
        try:
            bench = Bench(folder, broker, influx)
            for mode in given.modes.split(","):
                for number in range(given.rounds):
                    print(f"{TEXTS[mode]}: round {number + 1} of {given.rounds} …", file=sys.stderr, flush=True)
                    bench.round(number, mode, traffic[mode])
        finally:
            influx.terminate()
            broker.terminate()
    print(f"{where}; {given.count:,} messages a round, {given.rounds} rounds; measured on a core of its own")
    bench.print()
    result = {"machine": where, "results": bench.rows()}
    RESULTS.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
