"""The demo's simulated city as a process of its own: plays to the broker until its standard input ends."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from pathlib import Path

from alerts.rules import load_rules
from devices.kinds import load_catalog
from lamplighter.clock import fast_clock
from lamplighter.settings import shipped
from simulators.city import City, build_city
from simulators.publish import Broker
from simulators.run import run
from simulators.scripts import first_light, first_light_mishaps
from simulators.world import DEMO, World

TIMEZONE = "Asia/Shanghai"
HISTORY_DAYS = 40.0  # the seepage baseline reaches 35 nights back


def demo_city(seed: int) -> City:
    """Return the demo's city."""
    return build_city(seed)


async def _play(argument: dict[str, float | int | str]) -> None:
    clock = fast_clock(int(argument["start_ms"]), float(argument["speed"]), float(argument["origin_s"]))
    city, catalog = demo_city(int(argument["seed"])), load_catalog()
    rules = load_rules(shipped("rules.yaml"), catalog)
    start_ms = int(argument["start_ms"])
    world = World(
        city,
        catalog,
        TIMEZONE,
        int(argument["seed"]),
        start_ms,
        first_light(city, catalog, rules, TIMEZONE, start_ms, speed=clock.speed),
        intervals=DEMO,
        schedule=rules.lighting,
        mishaps=first_light_mishaps(start_ms),
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.readline()  # "go", when the house listens
    watching = asyncio.create_task(_until_end(reader, stop))
    summary = await run(
        world,
        Broker("127.0.0.1", int(argument["port"])),
        clock.now_ms,
        stop=stop,
        history_days=HISTORY_DAYS,
        truth=Path(str(argument["truth"])),
    )
    watching.cancel()
    print(json.dumps(dataclasses.asdict(summary)), flush=True)


async def _until_end(reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    await reader.read()
    stop.set()


if __name__ == "__main__":
    asyncio.run(_play(json.loads(sys.argv[1])))
