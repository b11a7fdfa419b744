"""The rule engine alone: 20 rules with on, for, off and keep; what a reading costs, and what a device weighs.

    python -m bench.engine            # a table, and bench/engine.json
    python -m bench.engine --small    # seconds, for the suite

CPU seconds of this process; batches are made while the clock stands. Beside it, in the same run, the slow twin of the
rules (plain ifs, one reading at a time) and the floor of numpy: one threshold compared, one state looked at.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from alerts.engine import Engine
from alerts.slots import Slots
from bench.engine_groups import groups
from bench.engine_series import TURN_MS, lamps, series, twenty_rules
from bench.machine import machine
from devices.batch import Batch
from devices.registry import Registry
from devices.sky import Sky
from simulators.oracle import Oracle

RESULTS = Path(__file__).with_name("engine.json")
SIZES = (1_024, 4_096, 16_384, 65_536)
DEVICES = (1_000, 100_000, 1_000_000)
ROUNDS = 5
READINGS = 400_000  # a round
ALLOWANCE = 200.0  # bytes of rule state a device


@dataclass(frozen=True)
class Row:
    """One figure: its median, least and most, and the baseline it is compared with; ratio = median / baseline."""

    name: str
    unit: str
    median: float
    min: float
    max: float
    baseline: float
    ratio: float


@dataclass(frozen=True)
class Run:
    """One engine driven by one series."""

    rates: list[float]  # M readings a second, one a round
    changed: float  # share of the pairs of reading and rule whose state changed
    transitions: int
    digest: str
    state_bytes: float  # a device


def row(name: str, unit: str, figures: Sequence[float], baseline: float) -> Row:
    middle = statistics.median(figures)
    return Row(name, unit, middle, min(figures), max(figures), baseline, middle / baseline)


def timed(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


class Counter:
    """Counts how often a pair of rule and device wakes or comes to rest: the changes of its state."""

    def __init__(self, slots: Slots) -> None:
        self.changes = 0
        self._begin, self._end = slots.begin, slots.end
        slots.begin, slots.end = self.begin, self.end  # type: ignore[method-assign]

    def begin(self, rule: np.ndarray, place: np.ndarray) -> np.ndarray:
        self.changes += len(rule)
        return self._begin(rule, place)

    def end(self, slots: np.ndarray, rule: np.ndarray, place: np.ndarray) -> None:
        self.changes += len(slots)
        self._end(slots, rule, place)


def drive(
    registry: Registry,
    rows: int,
    *,
    noisy: bool,
    rounds: int = ROUNDS,
    readings: int = READINGS,
    turn_ms: int = TURN_MS,
) -> Run:
    """Return what one engine does: two turns of all lamps to warm up, then the rounds, all in one night."""
    rules = twenty_rules()
    engine = Engine(rules, registry, Sky(registry, "Asia/Shanghai"), away_ms=10**9)
    bank = engine.desks["streetlight"].bank
    assert bank is not None
    count = len(registry)
    warm = min(65_536, count)
    for batch in islice(series(count, warm, noisy=noisy, seed=5), -(-2 * count // warm)):
        engine.step([batch], batch.arrival_ms)
    batches = series(count, rows, noisy=noisy, start_ms=batch.arrival_ms, turn_ms=turn_ms)
    counter = Counter(bank.life.slots)
    seen = 0
    for batch in islice(batches, max(1, min(readings, 65_536) // rows)):
        engine.step([batch], batch.arrival_ms)
        seen += rows
    changed = counter.changes / (seen * len(rules))
    rates, told, digest = [], 0, hashlib.blake2s(digest_size=6)
    for _ in range(rounds):
        spent = 0.0
        for batch in islice(batches, max(1, readings // rows)):
            began = time.process_time()
            found = engine.step([batch], batch.arrival_ms)
            spent += time.process_time() - began
            told += len(found)
            for change in found:
                digest.update(f"{change.alert_id}{change.state}{change.at_ms}".encode())
        rates.append(max(1, readings // rows) * rows / spent / 1e6)
    return Run(rates, changed, told, digest.hexdigest(), bank.life.nbytes / count)


def twin_rate(readings: int) -> float:
    """Return M readings a second of the slow twin, on quiet readings."""
    registry, rules = lamps(1_000), twenty_rules()
    oracle = Oracle(rules, registry, Sky(registry, "Asia/Shanghai"), away_ms=10**9)
    batch: Batch = next(series(1_000, readings, noisy=False))
    names = batch.kind.field_names()
    said = [dict(zip(names, column, strict=True)) for column in batch.values.T.tolist()]
    plain = [{name: value for name, value in one.items() if value == value} for one in said]  # noqa: PLR0124 - NaN
    oracle.begin(batch.arrival_ms)

    def judge() -> None:
        for at in range(readings):
            row, time_ms = int(batch.device[at]), int(batch.time_ms[at])
            oracle.reading(row, time_ms, plain[at], batch.arrival_ms, late=False)

    return readings / timed(judge) / 1e6


def floor_rate(devices: int, rows: int, rounds: int) -> float:
    """Return M readings a second of the least that numpy can do for one rule: compare, look at the state, find."""
    rng = np.random.default_rng(3)
    state = np.zeros(devices, dtype=np.int8)
    value, limit = rng.random(rows), np.array(2.0)
    places = [rng.integers(0, devices, rows) for _ in range(16)]

    def look() -> None:
        for number in range(rounds):
            np.flatnonzero(np.greater(value, limit) | (state[places[number % 16]] != 0))

    return rounds * rows / timed(look) / 1e6


def traced_bytes(devices: int) -> float:
    """Return bytes a device that the files of the rules' state have allocated, as tracemalloc counts them."""
    registry = lamps(devices)
    tracemalloc.start()
    engine = Engine(twenty_rules(), registry, Sky(registry, "Asia/Shanghai"), away_ms=10**9)
    for batch in islice(series(devices, 4_096, noisy=True, seed=5), -(-3 * devices // 4_096)):
        engine.step([batch], batch.arrival_ms)
    found = tracemalloc.take_snapshot().filter_traces(
        [
            tracemalloc.Filter(inclusive=True, filename_pattern=f"*/alerts/{name}.py")
            for name in ("slots", "wheel", "life")
        ]
    )
    tracemalloc.stop()
    return sum(one.size for one in found.traces) / devices


def run(*, small: bool) -> list[Row]:
    """Return every figure of the bench."""
    sizes, cities, rounds, readings = ((256,), (1_000,), 2, 4_096) if small else (SIZES, DEVICES, ROUNDS, READINGS)
    twin = statistics.median(twin_rate(200 if small else 2_000) for _ in range(3))
    out = []
    for devices in cities:
        registry = lamps(devices)
        for rows in (size for size in sizes if size <= max(devices, 1_024)):
            floor = statistics.median(floor_rate(devices, rows, 200) for _ in range(3))
            out.append(
                row(f"one rule, numpy's floor; {rows:,} a batch, {devices:,} devices", "M readings/s", [floor], twin)
            )
            for noisy in (False, True):
                count, turn_ms = min(readings, 100 * devices), TURN_MS if devices > 50_000 else 20_000
                found = drive(registry, rows, noisy=noisy, rounds=rounds, readings=count, turn_ms=turn_ms)
                signal = f"noisy ({found.changed:.1%} of pairs change)" if noisy else "quiet"
                out.append(
                    row(f"20 rules, {signal}; {rows:,} a batch, {devices:,} devices", "M readings/s", found.rates, twin)
                )
                if rows == sizes[-1]:
                    name = f"rule state, 20 rules, {'noisy' if noisy else 'quiet'}, {devices:,} devices"
                    out.append(row(name, "bytes a device", [found.state_bytes], ALLOWANCE))
    out.append(
        row(
            "rule state by tracemalloc, 20 rules, noisy",
            "bytes a device",
            [traced_bytes(1_000 if small else 100_000)],
            ALLOWANCE,
        )
    )
    for name, figures, goal in groups(small=small):
        out.append(row(name, "µs CPU a step", figures, goal))
    return out


def show(rows: Sequence[Row]) -> None:
    print(f"{'':<78} {'median':>10} {'min':>10} {'max':>10} {'baseline':>10} {'ratio':>9}")
    for one in rows:
        name = f"{one.name} [{one.unit}]"
        print(
            f"{name:<78} {one.median:>10.3f} {one.min:>10.3f} {one.max:>10.3f} {one.baseline:>10.4f} {one.ratio:>9.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="few readings, nothing written")
    small = parser.parse_args().small
    rows = run(small=small)
    show(rows)
    if not small:
        RESULTS.write_text(
            json.dumps({"machine": machine(), "results": [asdict(one) for one in rows]}, indent=1, ensure_ascii=False)
            + "\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
