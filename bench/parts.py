"""Where the time of the whole way goes: CPU a reading of each step, over groups of several sizes.

    python -m bench.parts                    # groups of 100, 250, 1000 and 4000 single-reading messages
    python -m bench.parts --readings 50      # each message a list of 50 readings

The real house of wiring.py over a folder of its own, fed from memory instead of by a broker: the codec reads the
PUBLISH packets, then decode, sift, journal append, fsync, engine with all shipped rules, commit; shipping is measured
by itself, from the journal to the bytes that InfluxDB would get.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import mqtt5

from bench.machine import machine
from bench.publish import START_MS, device_ids, lamp_payload
from devices.registry import Asset
from devices.topics import up
from ingest.inbox import Delivery
from lamplighter.clock import real_clock
from lamplighter.settings import Settings
from lamplighter.wiring import House
from storage.journal import Record
from storage.lines import LineWriter
from storage.operations import Operations

DEVICES = 5000


def settings(folder: Path) -> Settings:
    """Return settings of a house in ``folder``, with 5,000 lamps in its registry."""
    data = folder / "data"
    data.mkdir(parents=True)
    operations = Operations(f"sqlite:///{data}/operations.db")
    operations.import_assets(
        Asset(name, "streetlight", "lamp", lon=121.4, lat=31.2, road=f"road {n // 50}", facts={"rated_power_w": 100})
        for n, name in enumerate(device_ids(DEVICES))
    )
    operations.close()
    return Settings.model_validate({"city": {"id": "bench"}, "data": str(data)})


def packets(groups: int, size: int, readings: int) -> Iterator[bytes]:
    """Yield ``groups`` reads of ``size`` PUBLISH packets each, round after round over the devices."""
    topics = [up("bench", "streetlight", name) for name in device_ids(DEVICES)]
    number = 0
    for _ in range(groups):
        read = []
        for _ in range(size):
            turn, which = divmod(number, DEVICES)
            stamps = [START_MS + (turn * readings + k) * 1000 for k in range(readings)]
            each = [lamp_payload(number + k, ts) for k, ts in enumerate(stamps)]
            payload = each[0] if readings == 1 else b"[" + b",".join(each) + b"]"
            qos = mqtt5.QoS.AT_LEAST_ONCE
            read.append(mqtt5.PublishPacket(topics[which], payload, qos=qos, packet_id=number % 65535 + 1).write())
            number += 1
        yield b"".join(read)


async def walk(house: House, groups: int, size: int, readings: int) -> dict[str, float]:
    """Return CPU microseconds a reading by step: medians over the groups, the first two left out."""
    used: dict[str, list[float]] = defaultdict(list)
    watch, clock = house.watch, time.process_time
    writer = LineWriter(house.registry)
    for number, data in enumerate(packets(groups + 2, size, readings)):
        marks = [clock()]
        deliveries, at, view = [], 0, memoryview(data)
        while at < len(view):
            packet, length = mqtt5.read(view[at:])
            assert isinstance(packet, mqtt5.PublishPacket)
            deliveries.append(Delivery(packet.topic, packet.payload, packet.packet_id, 1))
            at += length
        marks.append(clock())
        now_ms = START_MS + 100 + (number * size // DEVICES) * 1000 * readings
        decoded = watch.decoder.decode(deliveries, now_ms)
        marks.append(clock())
        batches, duplicates = watch._sift(decoded.batches)  # noqa: SLF001 - a bench looks inside
        marks.append(clock())
        house.journal.append(Record(now_ms, batches, decoded.rejects, decoded.received, duplicates))
        marks.append(clock())
        house.journal.sync()
        marks.append(clock())
        watch.engine.step(batches, now_ms)
        marks.append(clock())
        for batch in batches:
            writer.lines(batch)
        marks.append(clock())
        if number >= 2:
            count = sum(decoded.received.values())
            steps = ("codec", "decode", "sift", "append", "fsync", "engine", "(lines)")
            for step, before, after in zip(steps, marks, marks[1:], strict=False):
                used[step].append((after - before) / count * 1e6)
        await asyncio.sleep(0)
    return {step: statistics.median(each) for step, each in used.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=1, help="readings in each message")
    parser.add_argument("--total", type=int, default=40_000, help="readings at each group size")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    table = {}
    for size in (100, 250, 1000, 4000):
        with tempfile.TemporaryDirectory() as name:
            house = House(settings(Path(name)), real_clock())
            try:
                groups = max(3, given.total // (size * given.readings))
                table[size] = asyncio.run(walk(house, groups, size, given.readings))
            finally:
                house.close()
    if given.json:
        print(json.dumps(table))
        return
    print(f"{machine()}; µs CPU a reading, messages of {given.readings}")
    steps = list(next(iter(table.values())))
    print(f"{'messages a group':<18}" + "".join(f"{step:>9}" for step in steps) + f"{'in all':>9}")
    for size, row in table.items():
        total = sum(value for step, value in row.items() if not step.startswith("("))
        print(f"{size:<18}" + "".join(f"{row[step]:>9.2f}" for step in steps) + f"{total:>9.2f}")


if __name__ == "__main__":
    main()
