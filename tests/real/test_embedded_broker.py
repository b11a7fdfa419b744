"""The broker that comes with pip, and Mosquitto in its place: what the demo and the session lean on."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import mqtt5
import pytest

from ingest.session import BrokerOptions, Session
from lamplighter.embedded_broker import BrokerStartError, EmbeddedBroker
from tests.real.mqtt import Publisher, nothing_more, payloads, running, take, until
from tests.real.processes import free_port, listens, need

BOTH = [pytest.param("iotcore"), pytest.param("mosquitto", marks=pytest.mark.mosquitto)]
ALL = "lamplighter/v1/c/+/+/up"


def broker(folder: Path, which: str, port: int = 0) -> EmbeddedBroker:
    if which == "mosquitto":
        need("mosquitto")
    return EmbeddedBroker(folder, port, prefer_mosquitto=which == "mosquitto")


def options(port: int, **more: object) -> BrokerOptions:
    return BrokerOptions("127.0.0.1", port, **more)  # type: ignore[arg-type]


def messages(count: int, first: int = 0, size: int = 0) -> list[tuple[str, bytes]]:
    return [(f"lamplighter/v1/c/truck/truck-{n % 50:03d}/up", b"%0*d" % (size, n)) for n in range(first, first + count)]


def addresses_of(port: int) -> list[str]:
    """IPv4 addresses, as the kernel writes them, on which something listens at a port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[1].split(":")[0] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")]


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.mark.parametrize("which", BOTH)
def test_it_listens_on_loopback_only_under_its_own_process_and_ends_with_the_block(tmp_path: Path, which: str) -> None:
    async def scene() -> None:
        async with broker(tmp_path, which) as running_broker:
            pid, port = running_broker.pid, running_broker.port
            assert running_broker.name == which
            assert listens(pid, port)
            assert addresses_of(port) == ["0100007F"]
        assert not _alive(pid)
        with socket.socket() as probe, pytest.raises(OSError, match="refused"):
            probe.connect(("127.0.0.1", port))

    asyncio.run(scene())


@pytest.mark.parametrize("which", BOTH)
def test_unacknowledged_messages_come_again_and_offline_ones_wait(tmp_path: Path, which: str) -> None:
    async def scene() -> None:
        async with broker(tmp_path, which) as running_broker:
            who = options(running_broker.port)
            async with running(who, ALL) as session:
                with Publisher(running_broker.port) as publisher:
                    await asyncio.to_thread(publisher.publish, messages(60))
                got = await take(session, 60, acknowledge=False)
                session.acknowledge(got[:25])
                await asyncio.sleep(0.2)
            with Publisher(running_broker.port) as publisher:
                await asyncio.to_thread(publisher.publish, messages(5000, first=60))
            async with running(who, ALL, connected=False) as session:
                again = await take(session, 5035)
                assert payloads(again) == [b"%d" % n for n in range(25, 5060)]
                assert session.connected
                await asyncio.sleep(0.2)
            async with running(who, ALL) as session:
                await nothing_more(session)

    asyncio.run(scene())


@pytest.mark.parametrize("which", BOTH)
def test_the_session_comes_back_after_the_broker_was_killed(tmp_path: Path, which: str) -> None:
    async def scene() -> None:
        port = free_port()
        async with broker(tmp_path, which, port) as first:
            session = Session(options(port), [ALL])
            task = asyncio.create_task(session.run())
            await until(lambda: session.connected, task)
            os.kill(first.pid, signal.SIGKILL)
            await until(lambda: not session.connected, task)
        async with broker(tmp_path, which, port):
            await until(lambda: session.connected, task)
            with Publisher(port) as publisher:
                publisher.publish(messages(10))
            assert payloads(await take(session, 10)) == [b"%d" % n for n in range(10)]
            session.close()
            await task

    asyncio.run(scene())


@pytest.mark.parametrize("which", BOTH)
def test_a_broker_with_counts_tells_them_and_one_that_hangs_up_at_the_question_is_left_alone(
    tmp_path: Path, which: str
) -> None:
    async def scene() -> None:
        async with broker(tmp_path, which) as running_broker:
            more = {"counts": True, "retry_first_s": 0.05}
            async with running(options(running_broker.port, **more), ALL, connected=False) as session:
                known = which == "mosquitto"
                await until(lambda: session.connected and (session.says.dropped is not None or not known))
                await until(lambda: known or session.counters["connects"] == 3)
                with Publisher(running_broker.port) as publisher:
                    publisher.publish(messages(10))
                assert payloads(await take(session, 10)) == [b"%d" % n for n in range(10)]
                assert session.says.dropped == (0 if known else None)
                assert session.counters["messages"] == 10

    asyncio.run(scene())


@pytest.mark.parametrize("which", BOTH)
def test_a_quiet_line_is_held_by_pings(tmp_path: Path, which: str) -> None:
    async def scene() -> None:
        async with (
            broker(tmp_path, which) as running_broker,
            running(options(running_broker.port, keep_alive_s=1), ALL) as session,
        ):
            await asyncio.sleep(2.5)
            assert session.connected
            assert session.counters["connects"] == 1
            assert session.counters["pings"] >= 2

    asyncio.run(scene())


def test_iotcore_keeps_its_memory_bounded_while_nobody_fetches(tmp_path: Path) -> None:
    async def scene() -> None:
        async with broker(tmp_path, "iotcore") as running_broker:
            async with running(options(running_broker.port), ALL):
                pass
            with Publisher(running_broker.port) as publisher:
                await asyncio.to_thread(publisher.publish, messages(20_000, size=2000))
            assert resident_mb(running_broker.pid) < 120

    asyncio.run(scene())


def test_retained_readings_come_once_and_not_at_every_reconnect(tmp_path: Path) -> None:
    async def scene() -> None:
        async with broker(tmp_path, "iotcore") as running_broker:
            who = options(running_broker.port)
            with Publisher(running_broker.port) as publisher:
                packet = mqtt5.PublishPacket("lamplighter/v1/c/truck/t-1/up", b"kept", retain=True)
                publisher.send_raw(packet.write())
                publisher.publish(messages(1))
            async with running(who, ALL) as session:
                assert payloads(await take(session, 1)) == [b"kept"]
                await asyncio.sleep(0.1)
            async with running(who, ALL) as session:
                await nothing_more(session)

    asyncio.run(scene())


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    async def scene() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(BrokerStartError, match=f"port {port} on 127.0.0.1 is in use"):
                async with EmbeddedBroker(tmp_path, port):
                    pass

    asyncio.run(scene())


@pytest.mark.parametrize("which", BOTH)
def test_it_dies_with_its_parent_even_when_that_is_killed(tmp_path: Path, which: str) -> None:
    if which == "mosquitto":
        need("mosquitto")
    made = f"EmbeddedBroker(pathlib.Path({str(tmp_path)!r}), prefer_mosquitto={which == 'mosquitto'})"
    script = (
        "import asyncio, sys, pathlib\n"
        "from lamplighter.embedded_broker import EmbeddedBroker\n"
        "async def main():\n"
        f"    async with {made} as broker:\n"
        "        print(broker.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 5
    while _alive(pid):
        assert time.monotonic() < deadline, "the broker outlived its parent"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    """Say whether a process runs; one that ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
