"""The session against a broker that misbehaves as no real one would on demand: a scripted one, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import mqtt5
import pytest

from ingest import frames
from ingest.broker_says import DROPPED, FILTERS, UPTIME
from ingest.inbox import Delivery, Inbox
from ingest.session import BrokerOptions, BrokerTroubleError, Session

WELCOME = mqtt5.ConnAckPacket().write()
GRANTED = mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]).write()


class Peer:
    """The broker's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._unread = b""

    async def hear(self) -> mqtt5.Packet:
        while True:
            try:
                packet, length = mqtt5.read(memoryview(self._unread))
            except IndexError:
                more = await self.reader.read(65536)
                if not more:
                    raise ConnectionError("the session hung up") from None
                self._unread += more
                continue
            self._unread = self._unread[length:]
            if isinstance(packet, mqtt5.DisconnectPacket):
                raise ConnectionError("the session said goodbye")
            return packet

    async def greet(self) -> mqtt5.ConnectPacket:
        connect = await self.hear()
        assert isinstance(connect, mqtt5.ConnectPacket)
        self.writer.write(WELCOME)
        assert isinstance(await self.hear(), mqtt5.SubscribePacket)
        self.writer.write(GRANTED)
        return connect

    async def gone(self) -> None:
        """Hear until the session says goodbye or hangs up."""
        while True:
            await self.hear()


Script = Callable[[Peer, int], Awaitable[None]]


@asynccontextmanager
async def against(script: Script, **more: object) -> AsyncIterator[Session]:
    """Run a session against a scripted broker; the script gets each connection and its number."""
    count = 0
    troubles: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        try:
            await script(Peer(reader, writer), count)
        except (ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as trouble:
            troubles.append(trouble)
            raise
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    given: dict[str, object] = {"retry_first_s": 0.01, **more}
    port = server.sockets[0].getsockname()[1]
    session = Session(BrokerOptions("127.0.0.1", port, **given), ["a/#"])  # type: ignore[arg-type]
    task = asyncio.create_task(session.run())
    try:
        yield session
    finally:
        session.close()
        await asyncio.wait_for(task, 5)
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.02)
    assert not troubles, troubles


async def until(condition: Callable[[], object], within_s: float = 5) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is spread over both sides
            await asyncio.sleep(0.002)


def publish(topic: str, payload: bytes, packet_id: int | None = None) -> bytes:
    qos = mqtt5.QoS.AT_LEAST_ONCE if packet_id else mqtt5.QoS.AT_MOST_ONCE
    return mqtt5.PublishPacket(topic, payload, qos=qos, packet_id=packet_id).write()


def bad_topic(payload: bytes, packet_id: int) -> bytes:
    """A PUBLISH whose topic is not UTF-8."""
    body = b"\x00\x04a/\xff\xfe" + packet_id.to_bytes(2) + b"\x00" + payload
    return bytes([0x32, len(body)]) + body


def test_packets_cut_anywhere_are_put_together() -> None:
    stream = b"".join(publish("a/b", b"%d" % n, n) for n in range(1, 41))

    async def script(peer: Peer, number: int) -> None:
        await peer.greet()
        for at in range(0, len(stream), 3):
            peer.writer.write(stream[at : at + 3])
            await asyncio.sleep(0)
        await peer.gone()

    async def scene() -> None:
        async with against(script) as session:
            got: list[Delivery] = []
            while len(got) < 40:
                got += await session.gather()
            assert [int(item.payload) for item in got] == list(range(1, 41))

    asyncio.run(scene())


def test_a_packet_larger_than_the_buffer_arrives_whole() -> None:
    large = bytes(range(256)) * 3500

    async def script(peer: Peer, number: int) -> None:
        await peer.greet()
        peer.writer.write(publish("a/b", b"small", 1) + publish("a/b", large, 2) + publish("a/b", b"after", 3))
        await peer.gone()

    async def scene() -> None:
        async with against(script) as session:
            got: list[Delivery] = []
            while len(got) < 3:
                got += await session.gather()
            assert [item.payload for item in got] == [b"small", large, b"after"]

    asyncio.run(scene())


@pytest.mark.filterwarnings("ignore")
def test_a_topic_that_is_not_text_is_delivered_escaped_and_acknowledged() -> None:
    acknowledged: list[int] = []

    async def script(peer: Peer, number: int) -> None:
        await peer.greet()
        peer.writer.write(publish("a/b", b"one", 1) + bad_topic(b"two", 2) + publish("a/b", b"three", 3))
        while True:
            packet = await peer.hear()
            if isinstance(packet, mqtt5.PubAckPacket):
                acknowledged.append(packet.packet_id)

    async def scene() -> None:
        async with against(script) as session:
            got: list[Delivery] = []
            while len(got) < 3:
                got += await session.gather()
            assert [item.topic for item in got] == ["a/b", "a/\\xff\\xfe", "a/b"]
            assert [item.payload for item in got] == [b"one", b"two", b"three"]
            session.acknowledge(got)
            await until(lambda: acknowledged == [1, 2, 3])
            assert session.counters["misshapen"] == 1
            assert session.counters["connects"] == 1

    asyncio.run(scene())


@pytest.mark.parametrize(
    "rubbish",
    [
        pytest.param(b"\x00\x00", id="no such packet"),
        pytest.param(b"\x30\xff\xff\xff\xff\x01", id="an endless length"),
        pytest.param(b"\x32\x04\x00\x10ab", id="a topic longer than its packet"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n" + b"Server: nginx\r\n" * 10, id="a web server"),
        pytest.param(b"\x30\x80\x80\x80\x01" + bytes(1000), id="larger than allowed"),
    ],
)
def test_bytes_that_are_no_mqtt_end_the_connection_and_it_is_tried_again(rubbish: bytes) -> None:
    async def script(peer: Peer, number: int) -> None:
        await peer.greet()
        await asyncio.sleep(0.02)
        peer.writer.write(rubbish if number == 1 else publish("a/b", b"well", 1))
        await peer.gone()

    async def scene() -> None:
        async with against(script, packet_bytes_max=100_000) as session:
            assert [item.payload for item in await session.gather()] == [b"well"]
            assert "cannot be read" in session.last_error
            assert session.counters["connects"] == 2

    asyncio.run(scene())


def test_a_take_over_that_the_broker_declares_is_believed_at_once() -> None:
    async def script(peer: Peer, number: int) -> None:
        await peer.greet()
        await asyncio.sleep(0.02)
        taken = mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER)
        peer.writer.write(taken.write())
        await peer.gone()

    async def scene() -> None:
        async with against(script, taken_over_s=60, client_id="ingest-7") as session:
            await until(lambda: session.last_error)
            assert "another process connects with our client id 'ingest-7'" in session.last_error
            assert session.retry_in_s == 60
            assert session.counters["connects"] == 1

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (mqtt5.SubAckReasonCode.NOT_AUTHORIZED, "'a/#': not authorized"),
        (mqtt5.SubAckReasonCode.GRANTED_QOS_AT_MOST_ONCE, "'a/#': granted qos at most once"),
    ],
)
def test_a_subscription_that_is_refused_or_weakened_is_not_taken_for_one(
    code: mqtt5.SubAckReasonCode, words: str
) -> None:
    async def script(peer: Peer, number: int) -> None:
        await peer.hear()
        peer.writer.write(WELCOME)
        await peer.hear()
        peer.writer.write(mqtt5.SubAckPacket(1, [code]).write())
        await peer.gone()

    async def scene() -> None:
        async with against(script) as session:
            await until(lambda: session.counters["troubles"] >= 2)
            assert words in session.last_error
            assert not session.connected
            assert session.counters["connects"] == 0

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (mqtt5.ConnAckReasonCode.SERVER_BUSY, "server busy (0x89)"),
        (mqtt5.ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD, "wrong user name or password for user 'ann'"),
        (mqtt5.ConnAckReasonCode.CLIENT_ID_NOT_VALID, "client id 'lamplighter-ingest' is not accepted"),
    ],
)
def test_a_refused_connection_is_put_in_words(code: mqtt5.ConnAckReasonCode, words: str) -> None:
    async def script(peer: Peer, number: int) -> None:
        await peer.hear()
        peer.writer.write(mqtt5.ConnAckPacket(reason_code=code, reason_str="come later").write())
        await peer.gone()

    async def scene() -> None:
        async with against(script, username="ann", password="hidden") as session:
            await until(lambda: session.counters["troubles"] >= 2)
            assert words in session.last_error
            assert "(come later)" in session.last_error
            assert "hidden" not in session.last_error

    asyncio.run(scene())


def test_a_broker_that_never_answers_is_given_up_and_tried_again() -> None:
    async def script(peer: Peer, number: int) -> None:
        if number == 1:
            await peer.gone()
        await peer.greet()
        await peer.gone()

    async def scene() -> None:
        async with against(script, connect_timeout_s=0.1) as session:
            await until(lambda: session.connected)
            assert "no answer within 0.1 s" in session.last_error

    asyncio.run(scene())


def test_waits_between_attempts_double_up_to_a_limit_and_differ_between_clients() -> None:
    async def waits(client_id: str) -> dict[int, float]:
        found: dict[int, float] = {}  # by number of the attempt: the looks below may come late and miss some

        async def script(peer: Peer, number: int) -> None:
            peer.writer.write(b"\x00\x00")
            await peer.gone()

        async with against(script, retry_first_s=0.001, retry_most_s=0.02, client_id=client_id) as session:

            def eight() -> bool:
                attempt = session.counters["troubles"]
                if attempt:
                    found[attempt - 1] = session.retry_in_s
                return attempt >= 8

            await until(eight)
        return found

    one, other = asyncio.run(waits("one")), asyncio.run(waits("other"))
    for number, wait_s in one.items():
        nominal_s = min(0.02, 0.001 * 2**number)
        assert 0.5 * nominal_s <= wait_s <= nominal_s
    assert set(one.values()).isdisjoint(other.values())


def test_what_was_received_but_not_fetched_is_forgotten_only_if_the_broker_will_repeat_it() -> None:
    async def scene(*, present: bool) -> list[bytes]:
        async def script(peer: Peer, number: int) -> None:
            if number == 1:
                await peer.greet()
                peer.writer.write(publish("a/b", b"first", 1) + publish("a/b", b"fleeting"))
                await peer.writer.drain()
                await asyncio.sleep(0.05)
                return
            await peer.hear()
            peer.writer.write(mqtt5.ConnAckPacket(session_present=present).write())
            await peer.hear()
            peer.writer.write(GRANTED + (publish("a/b", b"first", 1) if present else b"") + publish("a/b", b"next", 2))
            await peer.gone()

        async with against(script) as session:
            await until(lambda: session.counters["connects"] == 2)
            await until(lambda: len(session.inbox) == 3 - (not present) + (not present))
            got = await session.gather()
            assert session.counters["session_lost"] == (not present)
            assert session.counters["forgotten"] == present
            return [item.payload for item in got]

    assert asyncio.run(scene(present=True)) == [b"fleeting", b"first", b"next"]
    assert asyncio.run(scene(present=False)) == [b"first", b"fleeting", b"next"]


def test_a_connection_introduces_itself_as_configured() -> None:
    seen: list[mqtt5.ConnectPacket] = []

    async def script(peer: Peer, number: int) -> None:
        seen.append(await peer.greet())
        await peer.gone()

    async def scene() -> None:
        more = {"receive_maximum": 77, "keep_alive_s": 45, "session_expiry_s": 99, "packet_bytes_max": 5555}
        async with against(script, client_id="x", username="u", password="p", **more) as session:
            await until(lambda: session.connected)

    asyncio.run(scene())
    hello = seen[0]
    assert (hello.client_id, hello.username, hello.password, hello.clean_start) == ("x", "u", b"p", False)
    assert (hello.receive_max, hello.keep_alive, hello.session_expiry_interval) == (77, 45, 99)
    assert hello.max_packet_size == 5555


def test_cancelling_a_gather_loses_nothing() -> None:
    async def scene() -> None:
        inbox = Inbox(100)
        items = [Delivery("a/b", b"%d" % n, n, 1) for n in range(10)]
        waiting = asyncio.create_task(inbox.gather(50, 10))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        inbox.put(items[:4])
        halfway = asyncio.create_task(inbox.gather(50, 10))
        await asyncio.sleep(0)
        inbox.put(items[4:])
        halfway.cancel()
        await asyncio.sleep(0)
        assert await inbox.gather(50, 10) == items
        assert waiting.cancelled()
        assert halfway.cancelled()
        assert len(inbox) == 0

    asyncio.run(scene())


def test_two_gathers_at_once_are_a_mistake() -> None:
    async def scene() -> None:
        inbox = Inbox(100)
        first = asyncio.create_task(inbox.gather(1, 1))
        await asyncio.sleep(0)
        with pytest.raises(AssertionError, match="one gather at a time"):
            await inbox.gather(1, 1)
        first.cancel()

    asyncio.run(scene())


def test_a_group_ends_at_its_count_its_age_or_a_quiet_moment() -> None:
    async def script(peer: Peer, number: int) -> None:
        await peer.greet()
        peer.writer.write(b"".join(publish("a/b", b"%d" % n, n) for n in range(1, 26)))
        await peer.writer.drain()
        await asyncio.sleep(0.3)
        for n in range(26, 200):
            peer.writer.write(publish("a/b", b"%d" % n, n))
            await asyncio.sleep(0.002)
        await peer.gone()

    async def scene() -> None:
        async with against(script) as session:
            loop = asyncio.get_running_loop()
            assert len(await session.gather(count_max=10, age_s=30)) == 10
            assert len(await session.gather(count_max=10, age_s=30)) == 10
            began = loop.time()
            assert len(await session.gather(count_max=1000, age_s=30)) == 5
            assert loop.time() - began < 1, "five messages do not wait for a thousand"
            await session.gather(count_max=1, age_s=30)
            began = loop.time()
            group = await session.gather(count_max=1000, age_s=0.05)
            assert 1 < len(group) < 150
            assert loop.time() - began < 0.3

    asyncio.run(scene())


def test_acknowledgements_are_the_packets_the_codec_would_write() -> None:
    heard: list[int] = []

    async def script(peer: Peer, number: int) -> None:
        await peer.greet()
        peer.writer.write(b"".join(publish("a/b", b"x", n) for n in (1, 255, 256, 65535)))
        while True:
            packet = await peer.hear()
            if isinstance(packet, mqtt5.PubAckPacket):
                assert packet.reason_code is mqtt5.PubAckReasonCode.SUCCESS
                heard.append(packet.packet_id)

    async def scene() -> None:
        async with against(script) as session:
            session.acknowledge([])
            got: list[Delivery] = []
            while len(got) < 4:
                got += await session.gather()
            session.acknowledge(got)
            await until(lambda: heard == [1, 255, 256, 65535])

    asyncio.run(scene())


def test_frames_are_measured_from_their_first_bytes() -> None:
    packet = publish("a/b", b"x" * 300, 1)
    assert frames.length(memoryview(packet)) == len(packet)
    assert frames.length(memoryview(packet[:2])) is None
    assert frames.length(memoryview(packet[:3])) == len(packet)
    assert frames.length(memoryview(b"\x30\xff\xff\xff\xff")) is None


def test_a_rescued_publish_is_read_like_a_good_one() -> None:
    good = mqtt5.PublishPacket(
        "a/b", b"payload", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=513, user_properties=[("k", "v")]
    ).write()
    assert frames.publish(memoryview(good + b"more")) == ("a/b", b"payload", 513, len(good))
    for cut in range(len(good)):
        assert frames.publish(memoryview(good[:cut])) is None
    assert frames.publish(memoryview(mqtt5.PingReqPacket().write())) is None


def test_large_messages_fill_the_inbox_by_their_bytes_and_make_room_when_they_are_taken() -> None:
    async def scene() -> None:
        inbox = Inbox(8192)
        large = [Delivery("t", bytes(1 << 20), number, 1) for number in range(64)]
        inbox.put(large[:63])
        assert inbox.room == 8192 - 63
        inbox.put(large[63:])
        assert inbox.room == 0
        assert len(await inbox.gather(4096, 0.01)) == 64
        assert inbox.room == 8192
        inbox.put(large)
        assert inbox.forget() == 64
        assert inbox.room == 8192

    asyncio.run(scene())


def count(topic: str, number: bytes) -> bytes:
    return mqtt5.PublishPacket(topic, number, retain=True).write()


def test_what_the_broker_says_of_itself_is_heard_and_is_no_message() -> None:
    async def script(peer: Peer, number: int) -> None:
        await peer.greet()
        asked = await peer.hear()
        assert isinstance(asked, mqtt5.SubscribePacket)
        assert [(each.pattern, each.max_qos) for each in asked.topic_filters] == [(each, 0) for each in FILTERS]
        peer.writer.write(mqtt5.SubAckPacket(2, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_MOST_ONCE] * 2).write())
        peer.writer.write(count(DROPPED, b"41") + count(UPTIME, b"17 seconds") + count(DROPPED, b"many"))
        peer.writer.write(
            publish("a/b", b"reading", 1) + count("$SYS/broker/version", b"mosquitto 2") + count(UPTIME, b"")
        )
        await peer.gone()

    async def scene() -> None:
        async with against(script, counts=True) as session:
            assert [item.payload for item in await session.gather()] == [b"reading"]
            await until(lambda: session.says.uptime_s == 17)
            assert session.says.dropped == 41
            assert session.counters["messages"] == 1
            assert not session.inbox.items

    asyncio.run(scene())


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "never answered"])
def test_a_broker_that_does_not_tell_its_counts_is_listened_to_all_the_same(refused: bool) -> None:  # noqa: FBT001
    async def script(peer: Peer, number: int) -> None:
        await peer.greet()
        assert isinstance(await peer.hear(), mqtt5.SubscribePacket)
        if refused:
            peer.writer.write(mqtt5.SubAckPacket(2, [mqtt5.SubAckReasonCode.NOT_AUTHORIZED] * 2).write())
        peer.writer.write(publish("a/b", b"reading", 1))
        await peer.gone()

    async def scene() -> None:
        async with against(script, counts=True) as session:
            assert [item.payload for item in await session.gather()] == [b"reading"]
            assert session.says.dropped is None
            assert session.connected

    asyncio.run(scene())


def test_a_broker_that_hangs_up_when_it_is_asked_for_its_counts_is_asked_twice_at_most() -> None:
    questions = 0

    async def script(peer: Peer, number: int) -> None:
        nonlocal questions
        await peer.greet()
        if number <= 2:
            assert isinstance(await peer.hear(), mqtt5.SubscribePacket)
            questions += 1
            return
        peer.writer.write(publish("a/b", b"reading", 1))
        with pytest.raises(ConnectionError):
            await peer.hear()

    async def scene() -> None:
        async with against(script, counts=True) as session:
            assert [item.payload for item in await session.gather()] == [b"reading"]
            assert session.counters["connects"] == 3

    asyncio.run(scene())
    assert questions == 2


def test_lines_that_are_closed_without_a_word_are_waited_for_a_minute_at_most_and_a_declared_take_over_longer() -> None:
    def waits(**how: bool) -> list[float]:
        session = Session(BrokerOptions("127.0.0.1", 1), ["#"])
        found = []
        for _ in range(12):
            session._note(BrokerTroubleError("closed", **how), 0.1)
            found.append(session.retry_in_s)
        return found

    suspected = waits(unexplained=True)
    assert suspected[2] == 5, "the third in a row raises the suspicion"
    assert max(suspected) == suspected[-1] == 60
    assert set(waits(taken_over=True)) == {300}
    assert max(waits()) <= 30
