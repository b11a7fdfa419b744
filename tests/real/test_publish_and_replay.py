"""The simulated city and recorded data on their way to a real broker: whole, in order, through broken connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import islice
from pathlib import Path

import pytest

from devices.kinds import load_catalog
from devices.topics import subscription
from ingest.session import BrokerOptions, Delivery, Session
from lamplighter.embedded_broker import EmbeddedBroker
from simulators.city import build_city
from simulators.faults import read_truth
from simulators.link import Mishaps
from simulators.machine import Message
from simulators.publish import Broker, Publisher
from simulators.recording import Reading
from simulators.replay import messages, replay
from simulators.run import run
from simulators.script import MIN_MS
from simulators.world import DEMO, World
from tests.real.mqtt import nothing_more, payloads, running, take, until
from tests.real.processes import free_port, need
from tests.real.servers import Mosquitto, User

BOTH = [pytest.param("iotcore"), pytest.param("mosquitto", marks=pytest.mark.mosquitto)]
CITY = build_city(6, lamps=40, covers=8, stations=2, trucks=3)
START = 1_781_542_200_000
SPEED = 600.0
READINGS = [
    Reading(START + 1000 * (n // 3), "truck", f"truck-{n % 3:03d}", {"speed_kmh": float(n)}) for n in range(3000)
]


def world(mishaps: Mishaps) -> World:
    return World(CITY, load_catalog(), "Asia/Shanghai", 6, START, intervals=DEMO, mishaps=mishaps)


def pace() -> Callable[[], int]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    return lambda: START + int((loop.time() - began) * 1000 * SPEED)


def numbered(count: int, devices: int = 7) -> list[Message]:
    return [Message(f"lamplighter/v1/c/truck/truck-{n % devices:03d}/up", b"%d" % n, START) for n in range(count)]


def by_device(deliveries: list[Delivery]) -> dict[str, list[bytes]]:
    out: dict[str, list[bytes]] = defaultdict(list)
    for delivery in deliveries:
        out[delivery.topic].append(delivery.payload)
    return out


def first_sightings(found: list[bytes]) -> list[bytes]:
    return list(dict.fromkeys(found))


async def everything(session: Session, quiet_s: float = 0.5) -> list[Delivery]:
    """Return what the session receives until nothing comes for a while."""
    taken: list[Delivery] = []
    while True:
        try:
            group = await asyncio.wait_for(session.gather(), quiet_s)
        except TimeoutError:
            return taken
        taken += group
        session.acknowledge(group)


@contextlib.asynccontextmanager
async def _watched(folder: Path, *, mosquitto: bool) -> AsyncIterator[tuple[EmbeddedBroker, Session]]:
    """Start an embedded broker and a session that hears the city ``port``."""
    async with (
        EmbeddedBroker(folder, prefer_mosquitto=mosquitto) as at,
        running(BrokerOptions("127.0.0.1", at.port), subscription("port")) as session,
    ):
        yield at, session


@pytest.mark.parametrize("which", BOTH)
def test_a_broker_gets_exactly_what_the_city_says_it_has_sent(tmp_path: Path, which: str) -> None:
    if which == "mosquitto":
        need("mosquitto")
    mishaps = Mishaps(0.01, 0.02, 0.01, (START + MIN_MS,), (START + 2 * MIN_MS,), (START + 3 * MIN_MS,))

    async def scene() -> None:
        async with EmbeddedBroker(tmp_path / "b", prefer_mosquitto=which == "mosquitto") as at:
            options = BrokerOptions("127.0.0.1", at.port)
            async with running(options, subscription(CITY.name)) as session:
                broker, playing = Broker("127.0.0.1", at.port, connections=3), world(mishaps)
                end, truth = START + 20 * MIN_MS, tmp_path / "truth.jsonl"
                extras = {"until_ms": end, "history_days": 3.0, "truth": truth}
                summary = await run(playing, broker, pace(), stop=asyncio.Event(), **extras)  # type: ignore[arg-type]
                assert (summary.unsent, summary.again, summary.until_ms) == (0, 0, end)
                found = await take(session, sum(summary.messages.values()))
                await nothing_more(session)
        twin = world(mishaps)
        expected = [*twin.history(3.0), *twin.advance(end)]
        assert by_device(found) == by_device(expected)  # type: ignore[arg-type]
        assert sum(summary.readings.values()) == sum(message.readings for message in expected)
        assert Counter(summary.messages) == Counter(m.topic.split("/")[3] for m in expected)
        assert (summary.lost, summary.repeated, summary.late) == (
            twin.link.counts.lost,
            twin.link.counts.repeated,
            twin.link.counts.late,
        )
        assert read_truth(truth) == []

    asyncio.run(scene())


def _through_trouble(broker: Mosquitto, trouble: Callable[[Publisher], Awaitable[None]]) -> None:
    """Publish while ``trouble`` befalls the broker: nothing may be lost, and nothing may overtake."""
    sent = numbered(6000)

    async def scene() -> None:
        options = BrokerOptions("127.0.0.1", broker.port, client_id=f"watch-{broker.port}")
        async with running(options, subscription("c")) as session, Publisher(Broker("127.0.0.1", broker.port)) as out:
            reading = asyncio.create_task(_collect(session))
            troubled = asyncio.create_task(trouble(out))
            for at in range(0, len(sent), 100):
                await out.send(sent[at : at + 100])
                await asyncio.sleep(0.01)
            await troubled
            assert await out.drained(30)
            assert sum(out.counts.messages.values()) == len(sent)
            await asyncio.sleep(0.5)
            reading.cancel()
            found = by_device([*(await reading), *(await everything(session))])
            assert out.counts.troubles >= 1
            assert sum(len(first_sightings(mine)) for mine in found.values()) == len(sent)
            for topic, mine in found.items():
                assert first_sightings(mine) == [m.payload for m in sent if m.topic == topic]

    asyncio.run(scene())


async def _collect(session: Session) -> list[Delivery]:
    taken: list[Delivery] = []
    try:
        while True:
            group = await session.gather()
            taken += group
            session.acknowledge(group)
    except asyncio.CancelledError:
        return taken


@pytest.mark.mosquitto
def test_a_broker_that_restarts_costs_no_message_and_no_order(start_mosquitto: Callable[..., Mosquitto]) -> None:
    broker = start_mosquitto()

    async def restart(out: Publisher) -> None:
        await until(lambda: sum(out.counts.messages.values()) > 1500)
        await asyncio.to_thread(broker.terminate)
        await asyncio.sleep(0.5)
        assert out.waiting() > 0
        await asyncio.to_thread(broker.start)

    _through_trouble(broker, restart)


@pytest.mark.mosquitto
def test_a_broker_that_comes_late_is_waited_for(start_mosquitto: Callable[..., Mosquitto]) -> None:
    broker = start_mosquitto()
    broker.terminate()

    async def scene() -> None:
        async with Publisher(Broker("127.0.0.1", broker.port)) as out:
            await out.send(numbered(50))
            assert not await out.drained(0.5)
            assert out.counts.troubles >= 1
            assert out.counts.trouble
            await asyncio.to_thread(broker.start)
            assert await out.drained(20)
            assert out.counts.messages["truck"] == 50

    asyncio.run(scene())


@pytest.mark.mosquitto
def test_who_may_not_in_is_told_why_and_who_may_is_let_in(start_mosquitto: Callable[..., Mosquitto]) -> None:
    broker = start_mosquitto(users={"sim": User("secret", ("topic write lamplighter/#",))})

    async def scene() -> None:
        async with Publisher(Broker("127.0.0.1", broker.port, "sim", "wrong")) as out:
            await out.send(numbered(5))
            await until(lambda: out.counts.troubles > 0)
            assert "uthorized" in out.counts.trouble
            assert out.waiting() == 5
        async with Publisher(Broker("127.0.0.1", broker.port, "sim", "secret")) as out:
            await out.send(numbered(5))
            assert await out.drained(10)

    asyncio.run(scene())


def test_a_publisher_without_a_broker_ends_when_told(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Publisher(Broker("127.0.0.1", free_port())) as out:
            await out.send(numbered(10))
            await asyncio.sleep(0.1)
        assert out.waiting() == 10

    asyncio.run(asyncio.wait_for(scene(), 10))


@pytest.mark.parametrize("which", BOTH)
def test_a_replay_as_fast_as_it_is_taken_sends_every_reading_in_order(tmp_path: Path, which: str) -> None:
    if which == "mosquitto":
        need("mosquitto")

    async def scene() -> None:
        async with _watched(tmp_path, mosquitto=which == "mosquitto") as (at, session):
            shown: list[int] = []
            played = await replay(
                READINGS,
                "port",
                Broker("127.0.0.1", at.port),
                start_ms=START + 5000,
                progress=lambda counts: shown.append(sum(counts.readings.values())),
            )
            assert (played.readings, played.unsent) == ({"truck": 3000}, 0)
            found = await take(session, 3000)
            await nothing_more(session)
        assert shown[-1] == 3000
        expected = by_device(list(messages(READINGS, "port", 5000)))  # type: ignore[arg-type]
        assert by_device(found) == expected

    asyncio.run(scene())


def test_a_replay_keeps_the_recorded_pace(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _watched(tmp_path, mosquitto=False) as (at, session):
            loop = asyncio.get_running_loop()
            began = loop.time()
            playing = asyncio.create_task(replay(READINGS[:90], "port", Broker("127.0.0.1", at.port), speed=20.0))
            await take(session, 30)
            half = loop.time() - began
            await take(session, 60)
            played = await playing
            took = loop.time() - began
        assert played.readings == {"truck": 90}
        assert took >= 29 / 20  # 30 s of recording at twenty times its pace
        assert half < took

    asyncio.run(scene())


def test_a_replay_stops_when_told(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _watched(tmp_path, mosquitto=False) as (at, session):
            stop = asyncio.Event()
            broker = Broker("127.0.0.1", at.port)
            playing = asyncio.create_task(replay(READINGS, "port", broker, speed=1.0, stop=stop))
            first = await take(session, 3)
            stop.set()
            played = await asyncio.wait_for(playing, 10)
        assert 3 <= played.readings["truck"] < 30
        # Three trucks report at the first moment, each over a connection of its own: any of them may come first.
        assert payloads(first)[0] in [message.payload for message in islice(messages(READINGS, "port"), 3)]

    asyncio.run(scene())
