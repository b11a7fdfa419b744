"""Receive and acknowledge, nothing else, with four clients: the floor under everything that does more.

    python -m bench.receivers --client aiomqtt --port 1883 --count 20000

prints {"ready": true} once subscribed, and at the end one JSON line {"messages": …, "cpu_s": …, "wall_s": …}:
processor time (user and system) from the first message to the last. ``mqtt5`` is Lamplighter's own session.
``mosquitto_sub`` writes every payload to /dev/null; its figure covers its whole life.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import time
from collections.abc import AsyncIterator, Callable

CLIENTS = ("mqtt5", "aiomqtt", "gmqtt", "mosquitto_sub")
RECEIVE_MAXIMUM = 8192
EXPIRY_S = 3600


class Count:
    """Counts messages; knows the processor time between the first and the last."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.messages = 0
        self._began = self._cpu = 0.0

    def add(self, more: int = 1) -> bool:
        """Count ``more``; say whether that was the last."""
        if not self.messages:
            self._began, self._cpu = time.monotonic(), time.process_time()
        self.messages += more
        return self.messages >= self.wanted

    def result(self) -> dict[str, float]:
        cpu_s, wall_s = time.process_time() - self._cpu, time.monotonic() - self._began
        return {"messages": self.messages, "cpu_s": cpu_s, "wall_s": wall_s}


def _ready() -> None:
    print(json.dumps({"ready": True}), flush=True)


async def by_mqtt5(given: argparse.Namespace) -> dict[str, float]:
    """Lamplighter's session."""
    from ingest.session import BrokerOptions, Session

    session = Session(BrokerOptions(given.host, given.port, client_id=given.client_id), [given.topic])
    running = asyncio.create_task(session.run())
    await session.ready.wait()
    _ready()
    count = Count(given.count)
    over = False
    while not over:
        deliveries = await session.gather()
        over = count.add(len(deliveries))
        session.acknowledge(deliveries)
    result = count.result()
    session.close()
    await running
    return result


async def by_aiomqtt(given: argparse.Namespace) -> dict[str, float]:
    """aiomqtt (the present name of asyncio-mqtt) over paho-mqtt, as its documentation shows it."""
    import aiomqtt
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval, properties.ReceiveMaximum = EXPIRY_S, RECEIVE_MAXIMUM
    count = Count(given.count)
    async with aiomqtt.Client(
        given.host,
        given.port,
        identifier=given.client_id,
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=False,
        properties=properties,
        max_queued_incoming_messages=0,
    ) as client:
        await client.subscribe(given.topic, qos=1)
        _ready()
        messages: AsyncIterator[object] = client.messages
        async for _ in messages:
            if count.add():
                return count.result()
    raise SystemExit("aiomqtt ended early")


async def by_gmqtt(given: argparse.Namespace) -> dict[str, float]:
    """gmqtt, acknowledging when the handler returns."""
    import gmqtt

    client = gmqtt.Client(
        given.client_id, clean_session=False, session_expiry_interval=EXPIRY_S, receive_maximum=RECEIVE_MAXIMUM
    )
    done, count = asyncio.get_running_loop().create_future(), Count(given.count)

    def on_message(*_: object) -> int:
        if count.add() and not done.done():
            done.set_result(count.result())
        return 0

    client.on_message = on_message
    client.on_subscribe = lambda *_: _ready()
    await client.connect(given.host, given.port)
    client.subscribe(given.topic, qos=1)
    result: dict[str, float] = await done
    await client.disconnect()
    return result


def by_mosquitto_sub(given: argparse.Namespace) -> dict[str, float]:
    """Mosquitto's own command in C; a first one subscribes for the client id, a second one receives."""
    where = ["-V", "5", "-h", given.host, "-p", str(given.port), "-i", given.client_id, "-c", "-x", str(EXPIRY_S)]
    command = ["mosquitto_sub", *where, "-q", "1", "-t", given.topic]
    subprocess.run([*command, "-E"], check=True)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with subprocess.Popen([*command, "-C", str(given.count)], stdout=subprocess.DEVNULL) as process:
        _ready()
        process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"messages": given.count, "cpu_s": cpu_s, "wall_s": time.monotonic() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", choices=CLIENTS, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--topic", default="lamplighter/v1/bench/+/+/up")
    parser.add_argument("--client-id", default="bench-receiver")
    given = parser.parse_args()
    if given.client == "mosquitto_sub":
        result = by_mosquitto_sub(given)
    else:
        run: dict[str, Callable[..., object]] = {"mqtt5": by_mqtt5, "aiomqtt": by_aiomqtt, "gmqtt": by_gmqtt}
        result = asyncio.run(run[given.client](given))
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
