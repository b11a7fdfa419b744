"""What the load generator costs: CPU a message and messages a second, beside an aiomqtt publisher in the same run.

    python -m bench.load                       # a table, written to bench/load.json too
    python -m bench.load --seconds 0.5 --rounds 1

Against a bare TCP sink that answers PUBACKs (bench/ack_sink.py), which shows the generator alone, and against a real
Mosquitto without subscribers. CPU is the generator's process, connections made beforehand; the broker or sink has a
process of its own. "a core" is one over the CPU of a message.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiomqtt

from bench.machine import machine
from bench.publish import START_MS, messages
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from simulators.load import Load
from simulators.load_frames import groups_of
from simulators.load_plan import Sent, Target
from tests.real.servers import Mosquitto

RESULTS = Path(__file__).with_name("load.json")
GOAL = 50_000
CITY = "bench"
PEERS_UNDER_WAY = 20  # messages that aiomqtt keeps under way, paho's own default


def small_city(devices: int) -> Registry:
    """Return lamps, covers, pumps and trucks as a megacity mixes them."""
    count = {"streetlight": devices * 37 // 100, "pump": devices // 160, "truck": devices // 80}
    count["manhole"] = devices - sum(count.values())
    roles = {"streetlight": "lamp", "manhole": "cover", "pump": "station", "truck": "truck"}
    facts = {"streetlight": {"rated_power_w": 100.0}, "manhole": {"depth_m": 3.0}}
    return Registry(
        load_catalog(),
        [
            Asset(f"{roles[kind]}-{n:06d}", kind, roles[kind], lon=121.4, lat=31.2, facts=facts.get(kind, {}))
            for kind, number in count.items()
            for n in range(number)
        ],
    )


async def ours(port: int, devices: int, connections: int, qos: int, seconds: float, rate: float) -> dict[str, float]:
    """Return what one run of the generator used and did."""
    groups = groups_of(small_city(devices), CITY, seed=1, qos=qos)
    target = Target("127.0.0.1", port, connections=connections, qos=qos, rate=rate, client_prefix=f"load{connections}")
    load = Load(groups, target, lambda: int(time.time() * 1000))
    gc.collect()
    gc.freeze()
    marks: list[float] = []

    def progress(_: Sent) -> None:
        if not marks:
            marks.extend((time.process_time(), time.monotonic()))

    sent = await load.run(asyncio.Event(), seconds=seconds, progress=progress)
    used, wall = time.process_time() - marks[0], time.monotonic() - marks[1]
    if sent.accepted != sent.messages:
        raise SystemExit(f"not everything was accepted: {sent}")
    return {"messages": sent.messages, "us": used / sent.messages * 1e6, "wall_rate": sent.messages / wall}


async def theirs(port: int, seconds: float) -> dict[str, float]:
    """Return what an aiomqtt publisher used: QoS 1, as many under way as paho allows by default."""
    room = asyncio.Semaphore(PEERS_UNDER_WAY)
    each = messages(10**9, CITY, [f"lamp-{number:06d}" for number in range(1000)], START_MS)
    count = 0
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5, identifier="peer") as client:
        client.pending_calls_threshold = 10 * PEERS_UNDER_WAY

        async def publish(topic: str, payload: bytes) -> None:
            await client.publish(topic, payload, qos=1)
            room.release()

        used, began = time.process_time(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            while time.monotonic() - began < seconds:
                await room.acquire()
                topic, payload = next(each)
                group.create_task(publish(topic, payload))
                count += 1
        used, wall = time.process_time() - used, time.monotonic() - began
    return {"messages": count, "us": used / count * 1e6, "wall_rate": count / wall}


@contextmanager
def sink() -> Iterator[int]:
    """Run the bare sink; yields its port."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.ack_sink"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        try:
            yield json.loads(child.stdout.readline())["port"]
            child.stdin.close()
            child.wait(30)
        finally:
            child.kill()


CASES = (  # name, where, devices, connections, qos; the peer has no connections of its own to choose
    ("815,000 devices over 4 connections, QoS 1", "sink", 815_000, 4, 1),
    ("815,000 devices over 4 connections, QoS 0", "sink", 815_000, 4, 0),
    ("5,000 devices, a connection each, QoS 1", "sink", 5000, 0, 1),
    ("5,000 devices, a connection each, QoS 0", "sink", 5000, 0, 0),
    ("aiomqtt, one connection, QoS 1", "sink", 0, 1, 1),
    ("815,000 devices over 4 connections, QoS 1", "mosquitto", 815_000, 4, 1),
    ("5,000 devices, a connection each, QoS 1", "mosquitto", 5000, 0, 1),
    ("aiomqtt, one connection, QoS 1", "mosquitto", 0, 1, 1),
)


def one(port: int, case: int, given: argparse.Namespace) -> dict[str, float]:
    """Run one case in a process of its own."""
    words = ["--port", str(port), "--case", str(case), "--seconds", str(given.seconds), "--scale", str(given.scale)]
    done = subprocess.run([sys.executable, "-m", "bench.load", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(given: argparse.Namespace) -> dict[tuple[str, str], list[dict[str, float]]]:
    found: dict[tuple[str, str], list[dict[str, float]]] = {(name, where): [] for name, where, *_ in CASES}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.rounds):
            print(f"round {number + 1} of {given.rounds} …", file=sys.stderr, flush=True)
            broker = Mosquitto(Path(folder) / str(number), settings=["persistence false"]).start()
            try:
                for case, (name, where, *_) in enumerate(CASES):
                    if where == "sink":
                        with sink() as port:
                            found[name, where].append(one(port, case, given))
                    else:
                        found[name, where].append(one(broker.port, case, given))
            finally:
                broker.terminate()
    return found


def report(found: dict[tuple[str, str], list[dict[str, float]]]) -> list[dict[str, Any]]:
    rows = []
    print(machine())
    print(f"{'to':<11}{'what':<46}{'CPU µs a message':>18}{'messages/s a core':>19}{'reached /s':>12}")
    for (name, where), runs in found.items():
        us = [run["us"] for run in runs]
        base = statistics.median(run["us"] for run in found["aiomqtt, one connection, QoS 1", where])
        middle, reached = statistics.median(us), statistics.median(run["wall_rate"] for run in runs)
        print(f"{where:<11}{name:<46}{middle:>18.2f}{1e6 / middle:>19,.0f}{reached:>12,.0f}")
        rows.append(
            {
                "name": f"load generator to {where}: {name}",
                "unit": "µs CPU a message",
                "median": middle,
                "min": min(us),
                "max": max(us),
                "baseline": base,
                "ratio": middle / base,
            }
        )
    few = statistics.median(run["us"] for run in found[CASES[0][0], "sink"])
    each = statistics.median(run["us"] for run in found[CASES[2][0], "sink"])
    for words, us in (("over few connections", few), ("a connection each", each)):
        print(f"goal: {GOAL:,} messages/s a core {words}: {'reached' if 1e6 / us >= GOAL else 'NOT reached'}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="a run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of devices")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--case", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.port:
        name, _, devices, connections, qos = CASES[given.case]
        if name.startswith("aiomqtt"):
            print(json.dumps(asyncio.run(theirs(given.port, given.seconds))))
        else:
            size = max(200, int(devices * given.scale))
            print(json.dumps(asyncio.run(ours(given.port, size, connections, qos, given.seconds, 0.0))))
        return
    rows = report(table(given))
    given.out.write_text(
        json.dumps({"machine": machine(), "results": rows}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
