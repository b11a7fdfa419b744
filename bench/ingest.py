"""Processor time of the session alone: receive and acknowledge, nothing else.

python -m bench.ingest                       # brings a broker and a publisher, prints a table
python -m bench.ingest --port 1883 --count … # one receiver; prints {"ready": true} and one JSON line
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mqtt5

from bench.publish import device_ids, messages
from ingest.session import BrokerOptions, Session
from lamplighter.embedded_broker import EmbeddedBroker


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def receive(port: int, count: int, topic: str, host: str = "127.0.0.1") -> dict[str, float]:
    """Receive and acknowledge ``count`` messages; seconds from the first group to the last."""
    session = Session(BrokerOptions(host, port, client_id="bench-ingest"), [topic])
    running = asyncio.create_task(session.run())
    while not session.connected:  # noqa: ASYNC110 - a bench may look now and then
        await asyncio.sleep(0.01)
    print(json.dumps({"ready": True}), flush=True)
    got = groups = 0
    cpu, began = cpu_s(), 0.0
    while got < count:
        deliveries = await session.gather()
        if not began:
            began = time.monotonic()
        got += len(deliveries)
        groups += 1
        session.acknowledge(deliveries)
    used, wall_s = cpu_s() - cpu, time.monotonic() - began
    session.close()
    await running
    return {"messages": got, "groups": groups, "cpu_s": used, "wall_s": wall_s, "us_a_message": used / got * 1e6}


def codec(count: int = 50_000) -> float:
    """Return microseconds a PUBLISH through mqtt5.read alone, from memory."""
    packets = [
        mqtt5.PublishPacket(topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=1).write()
        for topic, payload in messages(count, "bench", device_ids(1000))
    ]
    data, at, read = memoryview(b"".join(packets)), 0, mqtt5.read
    began = time.process_time()
    while at < len(data):
        _, length = read(data[at:])
        at += length
    return (time.process_time() - began) / count * 1e6


async def table(count: int) -> dict[str, float]:
    """Run receiver and publisher as processes of their own at an embedded broker."""
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedBroker(Path(folder)) as broker:
            arguments = ["--port", str(broker.port), "--count", str(count)]
            receiver = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bench.ingest", *arguments, stdout=subprocess.PIPE
            )
            assert receiver.stdout is not None
            assert json.loads(await _json_line(receiver.stdout)) == {"ready": True}
            publisher = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bench.publish", *arguments, stdout=subprocess.PIPE
            )
            result: dict[str, float] = json.loads(await _json_line(receiver.stdout))
            await asyncio.gather(receiver.communicate(), publisher.communicate())
            name = broker.name
    print(f"{'broker':<26}{name}")
    print(f"{'codec alone':<26}{codec():.2f} us a message")
    print(f"{'receive and acknowledge':<26}{result['us_a_message']:.2f} us a message (processor time)")
    print(f"{'while receiving':<26}{result['messages'] / result['wall_s']:,.0f} messages/s, {result['groups']} groups")
    return result


async def _json_line(stream: asyncio.StreamReader) -> str:
    """Return the next line that is JSON: log lines stand between."""
    while line := (await stream.readline()).decode():
        if line.startswith("{"):
            return line
    raise SystemExit("the receiver ended early")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--topic", default="lamplighter/v1/bench/+/+/up")
    given = parser.parse_args()
    if given.port:
        print(json.dumps(asyncio.run(receive(given.port, given.count, given.topic, given.host))), flush=True)
    else:
        asyncio.run(table(given.count))


if __name__ == "__main__":
    main()
