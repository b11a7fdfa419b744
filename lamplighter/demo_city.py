"""The demo's simulated city as a process of its own: plays to the broker until its standard input ends."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections import Counter
from pathlib import Path

from alerts.rules import load_rules
from devices.kinds import load_catalog
from lamplighter.clock import Clock
from lamplighter.settings import shipped
from simulators.city import City, build_city
from simulators.publish import Broker, Publisher
from simulators.run import run
from simulators.scripts import first_light, first_light_mishaps
from simulators.world import DEMO, World

TIMEZONE = "Asia/Shanghai"
HISTORY_DAYS = 36.0  # the seepage baseline reaches 35 nights back
HISTORY_S = 30.0  # patience with the broker while the history is told


def demo_city(seed: int) -> City:
    """Return the demo's city."""
    return build_city(seed)


async def _play(argument: dict[str, float | int | str]) -> None:
    """Build the city, then do as the lines on standard input say: ``history``, ``go ORIGIN``, and the end of input."""
    start_ms, speed, seed = int(argument["start_ms"]), float(argument["speed"]), int(argument["seed"])
    city, catalog = demo_city(seed), load_catalog()
    rules = load_rules(shipped("rules.yaml"), catalog)
    script = first_light(city, catalog, rules, TIMEZONE, start_ms, speed=speed)
    mishaps = first_light_mishaps(start_ms)
    world = World(
        city, catalog, TIMEZONE, seed, start_ms, script, intervals=DEMO, schedule=rules.lighting, mishaps=mishaps
    )
    history = list(world.history(HISTORY_DAYS))
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    broker = Broker("127.0.0.1", int(argument["port"]))

    await orders.readline()
    async with Publisher(broker) as publisher:
        await publisher.send(history)
        await publisher.drained(HISTORY_S)
        before = publisher.counts
    print("history is told", flush=True)

    clock = Clock(start_ms, float((await orders.readline()).split()[1]), speed)
    stop = asyncio.Event()
    watching = asyncio.create_task(_until_end(orders, stop))
    summary = await run(world, broker, clock.now_ms, stop=stop, truth=Path(str(argument["truth"])))
    watching.cancel()
    told = dataclasses.asdict(summary)
    for key, counted in (("messages", before.messages), ("readings", before.readings)):
        told[key] = dict(Counter(told[key]) + counted)
    print(json.dumps(told), flush=True)


async def _until_end(orders: asyncio.StreamReader, stop: asyncio.Event) -> None:
    await orders.read()
    stop.set()


if __name__ == "__main__":
    asyncio.run(_play(json.loads(sys.argv[1])))
