"""CPU a reading in the storage room: journal append and read, line protocol, SQLite; beside influxdb-client's Point.

Run as ``python -m bench.storage [readings]``; one core, one process. Prints microseconds a reading, best of several
runs, and for the journal's fsync wall milliseconds a group.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from influxdb_client import Point, WritePrecision

from bench.machine import machine
from devices.batch import Batch, make_batch
from devices.kinds import Catalog, load_catalog
from devices.registry import Asset, Registry
from storage.journal import Journal, Record
from storage.lines import LineWriter
from storage.sqlite import SqliteStore

T0 = 1_760_000_000_000
PRESENT = ("power_w", "voltage_v", "current_a", "power_factor", "energy_kwh")
DEVICES = 5000
GROUP = 500  # readings a journal record, about what a tenth of a second brings a megacity
ROUNDS = 5


def batches_of(catalog: Catalog, readings: int, size: int) -> list[Batch]:
    """Return lamps' readings of five fields with two decimals, in batches of ``size``."""
    rng = np.random.default_rng(1)
    kind = catalog["streetlight"]
    made = []
    for start in range(0, readings, size):
        count = min(size, readings - start)
        values = np.full((len(kind.fields), count), np.nan)
        for name in PRESENT:
            values[kind.column(name)] = np.round(rng.random(count) * 300, 2)
        rows = (start + np.arange(count)) % DEVICES
        made.append(make_batch(kind, T0 + start, T0 + start + np.arange(count), rows, values))
    return made


def best_us(work: Callable[[], object], readings: int) -> float:
    """Return the least CPU microseconds a reading over a few runs."""
    least = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        least = min(least, time.process_time() - began)
    return least / readings * 1e6


def journal_figures(catalog: Catalog, readings: int, folder: Path) -> dict[str, float]:
    """Return the cost of appending, reading back, and making a group safe."""
    records = [
        Record(b.arrival_ms, [b], received={"streetlight": len(b)}) for b in batches_of(catalog, readings, GROUP)
    ]
    journal = Journal(folder / "journal", catalog)
    figures = {"journal append": best_us(lambda: [journal.append(r) for r in records], readings)}
    journal.sync()
    began = time.perf_counter()
    for record in records[:20]:
        journal.append(record)
        journal.sync()
    groups = min(20, len(records))
    figures["journal fsync, wall ms a group"] = (time.perf_counter() - began) / groups * 1000
    half = journal.end
    for record in records:
        journal.append(record)
    journal.sync()
    figures["journal read"] = best_us(lambda: sum(len(r.batches) for _, r in journal.read(half)), readings)
    journal.close()
    return figures


def line_figures(catalog: Catalog, registry: Registry, readings: int) -> dict[str, float]:
    """Return the cost of line protocol, and of influxdb-client's Point for the same readings."""
    batches = batches_of(catalog, readings, 5000)
    writer = LineWriter(registry)
    figures = {"line protocol": best_us(lambda: [b"\n".join(writer.lines(b).lines) for b in batches], readings)}
    few = min(readings, 2000)
    columns = {name: batches[0].column(name)[:few].tolist() for name in PRESENT}

    def points() -> list[str]:
        lines = []
        for row in range(few):
            point = Point("streetlight").tag("device", f"lamp-{row:05d}").tag("road", "长安街").tag("role", "lamp")
            for name in PRESENT:
                point.field(name, columns[name][row])
            lines.append(point.time(T0 + row, WritePrecision.MS).to_line_protocol())
        return lines

    figures["the same as influxdb-client Points"] = best_us(points, few)
    return figures


def run(readings: int) -> dict[str, float]:
    """Return every figure by name."""
    catalog = load_catalog()
    place = {"district": "海淀", "road": "长安街", "cabinet": "cab-01"}
    registry = Registry(catalog, [Asset(f"lamp-{n:05d}", "streetlight", "lamp", **place) for n in range(DEVICES)])
    with tempfile.TemporaryDirectory() as folder:
        figures = journal_figures(catalog, readings, Path(folder))
        figures |= line_figures(catalog, registry, readings)
        store = SqliteStore(Path(folder) / "readings.db", catalog)
        batches = batches_of(catalog, readings, 5000)
        began = time.process_time()
        for batch in batches:
            store.write([batch], registry)
        figures["sqlite"] = (time.process_time() - began) / readings * 1e6
        store.close()
    return figures


def main() -> None:
    """Print the figures."""
    readings = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(f"{readings} readings of {len(PRESENT)} fields; {machine()}")
    for name, figure in run(readings).items():
        unit = "ms" if "ms a group" in name else "us a reading"
        print(f"  {name:<38} {figure:8.3f} {unit}")


if __name__ == "__main__":
    main()
