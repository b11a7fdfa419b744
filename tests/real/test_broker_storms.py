"""The broker restarts, the line drops again and again, five thousand devices come back at once, a line goes silent."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import mqtt5
import pytest

from ingest.session import BrokerOptions, BrokerTroubleError, Session
from tests.real.fixtures import MosquittoFactory
from tests.real.mqtt import Publisher, running, take, until
from tests.real.proxy import proxy
from tests.real.servers import Mosquitto

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(180)]

CLIENTS = 5000
FILTER = "lamplighter/v1/{}/+/+/up"


class Fleet:
    """Devices on one connection that send again, on a new one, whatever was not acknowledged; a ledger of PUBACKs.

    Attributes:
        acknowledged: payloads that the broker said yes to.
        codes: its answers, by reason code.
    """

    def __init__(self, port: int, city: str, *, pause_s: float = 0.01) -> None:
        self.port, self.city, self.pause_s = port, city, pause_s
        self.acknowledged: list[bytes] = []
        self.codes: Counter[int] = Counter()
        self.reconnects = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the group under way has been acknowledged."""
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        number = 0
        self._line: Publisher | None = None
        while not self._stop.is_set():
            group = [b"%08d" % n for n in range(number, number + 10)]
            if self._sent(group):
                number += len(group)
                self.acknowledged += group
            self._stop.wait(self.pause_s)
        self._hang_up()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None

    def _sent(self, group: Sequence[bytes]) -> bool:
        try:
            if self._line is None:
                self._line = Publisher(self.port, f"fleet-{self.city}")
                self.reconnects += 1
            codes = self._line.publish((f"lamplighter/v1/{self.city}/truck/truck-001/up", one) for one in group)
        except (OSError, AssertionError):
            self._hang_up()
            return False
        self.codes.update(int(code) for code in codes)
        return True


async def gathered(session: Session, safe: Counter[bytes], stop: asyncio.Event) -> None:
    """Take and acknowledge for ever."""
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            group = await asyncio.wait_for(session.gather(), 0.2)
            safe.update(item.payload for item in group)
            session.acknowledge(group)


async def under_load(
    port: int, broker: Mosquitto, city: str, trouble: Callable[[Session], Awaitable[None]], **more: object
) -> tuple[Session, Fleet, Counter[bytes]]:
    """Run a session and a fleet through some trouble; return when every acknowledged message has arrived."""
    who = BrokerOptions("127.0.0.1", port, f"ingest-{city}", **more)  # type: ignore[arg-type]
    safe: Counter[bytes] = Counter()
    stop = asyncio.Event()
    async with running(who, FILTER.format(city)) as session:
        taking = asyncio.create_task(gathered(session, safe, stop))
        fleet = Fleet(broker.port, city)
        try:
            await trouble(session)
        finally:
            await asyncio.to_thread(fleet.stop)
        await until(lambda: set(fleet.acknowledged) <= set(safe), taking, within_s=60)
        stop.set()
        await taking
    return session, fleet, safe


def city() -> str:
    return f"c{secrets.token_hex(4)}"


def test_a_broker_restarted_under_load_loses_nothing_that_it_acknowledged_and_is_subscribed_each_time(
    start_mosquitto: MosquittoFactory,
) -> None:
    broker, name = start_mosquitto(settings=["log_type subscribe", "sys_interval 1"]), city()

    async def trouble(session: Session) -> None:
        for turn in range(2):
            await asyncio.sleep(0.4)
            broker.terminate()
            broker.start()
            await until(lambda turn=turn: session.counters["connects"] == turn + 2)
        await asyncio.sleep(0.3)

    session, fleet, _ = asyncio.run(under_load(broker.port, broker, name, trouble, counts=True))
    assert fleet.reconnects >= 3
    assert fleet.codes == {0: len(fleet.acknowledged)}, "there was a subscriber for every single message"
    assert len(fleet.acknowledged) > 100
    assert session.counters["session_lost"] == 0, "SIGTERM saves the queue"
    broker.terminate()  # writes the rest of its log
    readings = [line for line in broker.log.splitlines() if FILTER.format(name) in line]
    assert len(readings) == session.counters["connects"] == 3, (
        "one SUBSCRIBE a connection, also where the broker knows the session"
    )
    assert session.says.uptime_s is not None
    assert session.says.uptime_s < 60


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_fifty_drops_a_minute_lose_nothing_and_the_lag_is_gone_after_them(mosquitto: Mosquitto, reset: bool) -> None:  # noqa: FBT001
    drops = 4

    async def scene() -> None:
        name = city()
        async with proxy(mosquitto.port) as between:

            async def trouble(session: Session) -> None:
                for turn in range(drops):
                    await until(lambda turn=turn: session.counters["connects"] == turn + 1)
                    await asyncio.sleep(0.6)
                    assert between.cut(reset=reset) == 1
                    await until(lambda: not session.connected)
                await until(lambda: session.connected, within_s=60)

            waits = {"retry_first_s": 0.1, "retry_most_s": 0.2, "taken_over_s": 0.2}
            session, fleet, safe = await under_load(between.port, mosquitto, name, trouble, **waits)
            assert session.counters["connects"] == between.accepted == drops + 1, "one connection after each drop"
            assert session.counters["troubles"] == drops
            assert len(fleet.acknowledged) > 100
            assert set(fleet.acknowledged) <= set(safe)

    asyncio.run(scene())


def test_a_line_that_goes_silent_is_given_up_within_one_and_a_half_keep_alives_and_found_again(
    mosquitto: Mosquitto,
) -> None:
    async def scene() -> None:
        name = city()
        loop = asyncio.get_running_loop()
        async with proxy(mosquitto.port) as between:

            async def trouble(session: Session) -> None:
                await asyncio.sleep(0.3)
                between.silent = True
                began = loop.time()
                await until(lambda: not session.connected, within_s=10)
                assert loop.time() - began <= 1.5 + 0.5, "one and a half keep-alives, and a busy machine's delay"
                assert "nothing heard" in session.last_error
                await until(lambda: session.counters["troubles"] >= 2)
                assert "no answer" in session.last_error, "a new connection finds silence too"
                between.silent = False
                await until(lambda: session.connected, within_s=30)

            more = {"keep_alive_s": 1, "connect_timeout_s": 0.5, "retry_most_s": 0.5}
            session, fleet, safe = await under_load(between.port, mosquitto, name, trouble, **more)
            assert session.counters["session_lost"] == 0
            assert set(fleet.acknowledged) <= set(safe)

    asyncio.run(scene())


class Device(asyncio.Protocol):
    """A device in the plainest way: as soon as it is let in, it publishes one message."""

    def __init__(self, name: str, topic: str, payload: bytes, answers: Counter[str]) -> None:
        self.name, self.topic, self.payload, self.answers = name, topic, payload, answers
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(mqtt5.ConnectPacket(self.name, clean_start=True, keep_alive=600).write())

    def data_received(self, data: bytes) -> None:
        self._unread += data
        with contextlib.suppress(IndexError):
            while self._unread:
                packet, length = mqtt5.read(memoryview(self._unread))
                self._unread = self._unread[length:]
                if isinstance(packet, mqtt5.ConnAckPacket):
                    self.answers["welcomed"] += packet.reason_code == 0
                    message = mqtt5.PublishPacket(self.topic, self.payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=1)
                    self.transport.write(message.write())
                elif isinstance(packet, mqtt5.PubAckPacket):
                    self.answers["taken"] += packet.reason_code == 0

    def connection_lost(self, exc: Exception | None) -> None:
        self.answers["lost"] += 1


def test_five_thousand_devices_that_come_back_at_once_do_not_keep_the_session_out(
    start_mosquitto: MosquittoFactory,
) -> None:
    settings = ["log_type subscribe", "max_connections -1", "max_queued_messages 0"]
    broker, name = start_mosquitto(settings=settings), city()

    async def storm(turn: int, answers: Counter[str]) -> list[Device]:
        loop = asyncio.get_running_loop()
        topic = f"lamplighter/v1/{name}/truck/truck-{{:04d}}/up"
        devices = [Device(f"{name}-{n}", topic.format(n), b"%d-%d" % (turn, n), answers) for n in range(CLIENTS)]

        async def join(device: Device) -> None:
            while True:
                with contextlib.suppress(OSError):
                    await loop.create_connection(lambda: device, "127.0.0.1", broker.port)
                    return
                await asyncio.sleep(0.1)

        await asyncio.gather(*(join(device) for device in devices))
        await until(lambda: answers["taken"] == CLIENTS, within_s=90)
        return devices

    async def scene() -> None:
        who = BrokerOptions("127.0.0.1", broker.port, f"ingest-{name}")
        async with running(who, FILTER.format(name)) as session:
            first: Counter[str] = Counter()
            devices = await storm(1, first)
            assert {item.payload for item in await take(session, CLIENTS)} == {b"1-%d" % n for n in range(CLIENTS)}
            broker.terminate()
            await until(lambda: first["lost"] == len(devices), within_s=30)
            broker.start()
            again: Counter[str] = Counter()
            devices = await storm(2, again)
            assert again["welcomed"] == CLIENTS
            missing = {b"2-%d" % n for n in range(CLIENTS)}
            async with asyncio.timeout(60):
                while missing:  # what the broker had not read of our acknowledgements comes again between them
                    missing -= {item.payload for item in await take(session, 1)}
            await until(lambda: session.connected)
            assert session.counters["connects"] == 2
            for device in devices:
                device.transport.abort()
            await until(lambda: again["lost"] == CLIENTS)

    asyncio.run(scene())
    broker.terminate()
    subscribed = [line for line in broker.log.splitlines() if FILTER.format(name) in line]
    assert len(subscribed) == 2, "once a connection"


def test_the_first_wait_of_five_thousand_sessions_is_spread_evenly_and_the_same_for_each_again() -> None:
    def wait_s(number: int) -> float:
        session = Session(BrokerOptions("127.0.0.1", 1, f"ingest-{number}", retry_first_s=10), ["#"])
        session._note(BrokerTroubleError("away"), 0.0)
        return session.retry_in_s

    waits = [wait_s(number) for number in range(CLIENTS)]
    tenths = Counter(int((wait - 5) / 0.5) for wait in waits)
    assert sorted(tenths) == list(range(10)), "from half of the wait to the whole of it"
    assert max(tenths.values()) < CLIENTS / 10 * 1.25
    assert waits[:50] == [wait_s(number) for number in range(50)]
