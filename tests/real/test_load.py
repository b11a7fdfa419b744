"""The load generator at a real Mosquitto: what it says was accepted is what a subscriber gets, whatever happens."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from simulators.load import Load
from simulators.load_frames import groups_of
from simulators.load_plan import Sent, Target
from storage.operations import Operations
from tests.real.fixtures import MosquittoFactory
from tests.real.servers import Mosquitto, User

pytestmark = pytest.mark.mosquitto

ROOT = Path(__file__).parents[2]
ASSETS = [
    *(Asset(f"lamp-{n:04d}", "streetlight", "lamp", facts={"rated_power_w": 100.0}) for n in range(150)),
    *(Asset(f"cover-{n:04d}", "manhole", "cover", facts={"depth_m": 3.0}) for n in range(100)),
    *(Asset(f"truck-{n:04d}", "truck", "truck", lon=121.4, lat=31.2) for n in range(50)),
]


def make_load(target: Target, city: str) -> Load:
    groups = groups_of(Registry(load_catalog(), ASSETS), city, seed=5, qos=target.qos)
    return Load(groups, target, lambda: int(time.time() * 1000))


class Heard:
    """What a subscriber got: messages, and how often each device and time came."""

    def __init__(self) -> None:
        self.said: Counter[tuple[str, int]] = Counter()

    @asynccontextmanager
    async def listening(self, broker: Mosquitto, city: str) -> AsyncIterator[Heard]:
        async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
            await client.subscribe(f"lamplighter/v1/{city}/+/+/up", qos=1)
            task = asyncio.create_task(self._listen(client))
            yield self
            task.cancel()

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            self.said[message.topic.value, json.loads(bytes(message.payload))["ts"]] += 1  # type: ignore[arg-type]

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while sum(self.said.values()) < count:  # noqa: ASYNC110 - a test may look now and then
                await asyncio.sleep(0.02)


def run(work: Callable[[], object]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


@pytest.mark.parametrize(("connections", "qos"), [(3, 1), (3, 0), (0, 1), (0, 0)])
def test_what_was_accepted_is_what_a_subscriber_gets_once_each(
    mosquitto: Mosquitto, connections: int, qos: int
) -> None:
    city = f"load-{connections}-{qos}"

    async def work() -> None:
        target = Target("127.0.0.1", mosquitto.port, connections=connections, qos=qos, client_prefix=city)
        async with Heard().listening(mosquitto, city) as heard:
            sent = await make_load(target, city).run(asyncio.Event(), count=2000)
            assert (sent.messages, sent.accepted, sent.refused, sent.unanswered) == (2000, 2000, 0, 0)
            assert sent.connects == (connections or len(ASSETS))
            assert sum(sent.readings.values()) == 2000
            assert min(sent.readings.values()) > 200, "every kind has its share"
            await heard.until(2000)
            assert len(heard.said) == 2000, "no device says two things at one time"

    run(work)


def test_the_rate_is_kept_by_the_clock(mosquitto: Mosquitto) -> None:
    async def work() -> None:
        target = Target("127.0.0.1", mosquitto.port, connections=2, rate=900, client_prefix="paced")
        began = time.process_time()
        sent = await make_load(target, "paced").run(asyncio.Event(), seconds=2.0)
        assert sent.messages == sent.accepted
        assert 1500 <= sent.messages <= 1810
        assert time.process_time() - began < 1.0, "it sleeps in between"

    run(work)


def test_a_slow_broker_is_waited_for_and_then_caught_up_with(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto(settings=["max_inflight_messages 20"])

    async def work() -> None:
        target = Target("127.0.0.1", broker.port, connections=2, rate=600)
        load = make_load(target, "slow")
        task = asyncio.create_task(load.run(asyncio.Event(), seconds=3.0))
        await asyncio.sleep(0.5)
        broker.pause()
        await asyncio.sleep(1.0)
        frozen = load.sent()
        assert frozen.messages - frozen.accepted <= 2 * 20, "the broker's Receive Maximum is kept"
        broker.resume()
        sent = await task
        assert sent.behind > 200
        assert sent.messages == sent.accepted >= 1500

    run(work)


@pytest.mark.parametrize("connections", [2, 0])
def test_a_refused_message_is_counted_as_refused_and_never_as_accepted(
    start_mosquitto: MosquittoFactory, connections: int
) -> None:
    users = {"load": User("secret", ("topic write lamplighter/v1/+/streetlight/+/up",))}
    # Without a limit of queued messages Mosquitto 2.0.11 hangs up after each refusal.
    broker = start_mosquitto(users=users, settings=["max_queued_messages 100000"])

    async def work() -> Sent:
        target = Target(
            "127.0.0.1", broker.port, username="load", password="secret", connections=connections, rate=1000
        )
        return await make_load(target, "acl").run(asyncio.Event(), count=600)

    sent = asyncio.run(work())
    assert sent.messages == 600
    assert sent.refused + sent.accepted == 600
    assert sent.readings["manhole"] == sent.readings["truck"] == 0
    assert sent.accepted == sent.readings["streetlight"] > 200
    assert "not authorized" in sent.trouble


@pytest.mark.parametrize("connections", [2, 0])
def test_a_broker_that_dies_leaves_messages_without_an_answer_and_is_connected_to_again(
    start_mosquitto: MosquittoFactory, connections: int
) -> None:
    broker = start_mosquitto()

    async def work() -> None:
        target = Target("127.0.0.1", broker.port, connections=connections, rate=2000)
        stop = asyncio.Event()
        load = make_load(target, "dying")
        task = asyncio.create_task(load.run(stop))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(broker.pause)
        await asyncio.sleep(0.1)
        await asyncio.to_thread(broker.kill)
        before = load.sent().accepted
        broker.start()
        async with asyncio.timeout(30):
            while load.sent().accepted < before + 500:  # noqa: ASYNC110 - a test may look now and then
                await asyncio.sleep(0.05)
        stop.set()
        sent = await task
        assert sent.losses >= (connections or 1)
        assert sent.unanswered > 0
        assert sent.accepted + sent.unanswered == sent.messages

    run(work)


def test_a_broker_that_is_not_there_or_says_no_is_told_at_once(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto(users={"other": User("x")})
    for connections in (1, 0):
        target = Target("127.0.0.1", broker.port, connections=connections)
        with pytest.raises(ConnectionError, match="refuses"):
            asyncio.run(make_load(target, "no").run(asyncio.Event(), count=1))


def said(words: Iterable[str], folder: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "lamplighter", *words, "-c", str(folder / "lamplighter.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    return done.returncode, done.stdout + done.stderr


def test_the_command_plays_the_registry_and_says_what_was_accepted(mosquitto: Mosquitto, tmp_path: Path) -> None:
    operations = Operations(f"sqlite:///{tmp_path}/operations.db")
    operations.import_assets(ASSETS)
    operations.close()
    settings = {
        "city": {"id": "commanded"},
        "data": str(tmp_path),
        "broker": {"port": mosquitto.port},
    }
    (tmp_path / "lamplighter.yaml").write_text(json.dumps(settings))
    faults = tmp_path / "faults.jsonl"
    words = ["load", "--rate", "0", "--count", "3000", "--readings", "streetlight=4", "--faults", "0.1"]
    status, text = said([*words, "--for", "20s", "--told", str(faults)], tmp_path)
    assert status == 0, text
    assert "accepted by the broker: 3,000 of 3,000 messages" in text
    assert said(["load", "--readings", "lamp=4", "--count", "1"], tmp_path) == (
        2,
        "--readings: no kind 'lamp'; known: streetlight, manhole, pump, truck\n",
    )
    assert said(["load", "--readings", "streetlight=x", "--count", "1"], tmp_path)[0] == 2
