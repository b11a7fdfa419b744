"""The line to a real Mosquitto is cut at arbitrary moments and bytes, again and again: every message arrives."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from ingest.session import BrokerOptions
from tests.real.mqtt import Publisher, running, until
from tests.real.servers import Mosquitto

pytestmark = pytest.mark.mosquitto


class Cutter:
    """Stands between session and broker and hangs up on both, amid what it carries, at times drawn by seed."""

    def __init__(self, port: int, seed: int) -> None:
        self.broker_port = port
        self.draw = np.random.default_rng(seed)
        self.cuts = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_broker = await asyncio.open_connection("127.0.0.1", self.broker_port)
        until = asyncio.get_running_loop().time() + self.draw.uniform(0.005, 0.3)
        both = (self.carry(reader, to_broker, until), self.carry(there, writer, until))
        tasks = [asyncio.create_task(each) for each in both]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for end in (writer, to_broker):
            if self.draw.random() < 0.5:
                end.transport.abort()
            else:
                end.close()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, until: float) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(int(self.draw.integers(1, 5000))):
                if loop.time() > until:
                    writer.write(data[: int(self.draw.integers(0, len(data)))])
                    self.cuts += 1
                    return
                writer.write(data)
                await writer.drain()


def trickle(publisher: Publisher, topic: str, count: int) -> None:
    """Publish over some two seconds, so that the line is cut many times meanwhile."""
    for first in range(0, count, 100):
        publisher.publish([(topic, b"%08d" % n) for n in range(first, first + 100)])
        time.sleep(0.05)


@asynccontextmanager
async def cutting(port: int, seed: int) -> AsyncIterator[Cutter]:
    cutter = Cutter(port, seed)
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    cutter.port = server.sockets[0].getsockname()[1]
    try:
        yield cutter
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_message_survives_a_line_that_is_cut_all_the_time(mosquitto: Mosquitto, seed: int) -> None:
    name, count = f"c{secrets.token_hex(4)}", 4000
    topic = f"lamplighter/v1/{name}/truck/truck-001/up"

    async def scene() -> None:
        safe: Counter[bytes] = Counter()
        async with cutting(mosquitto.port, seed) as cutter:
            who = BrokerOptions(
                "127.0.0.1", cutter.port, name, retry_first_s=0.005, retry_most_s=0.02, taken_over_s=0.02,
                receive_maximum=300,
            )  # fmt: skip
            async with running(who, f"lamplighter/v1/{name}/+/+/up", connected=False) as session:
                await until(lambda: session.counters["connects"] > 0)
                with Publisher(mosquitto.port, f"p-{name}") as publisher:
                    task = asyncio.create_task(asyncio.to_thread(trickle, publisher, topic, count))
                    async with asyncio.timeout(60):
                        while len(safe) < count:
                            group = await session.gather()
                            safe.update(item.payload for item in group)
                            session.acknowledge(group)
                    await task
        assert set(safe) == {b"%08d" % n for n in range(count)}
        assert cutter.cuts >= 5, "the line was hardly cut at all"

    asyncio.run(scene())
