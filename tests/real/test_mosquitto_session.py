"""The session against a real Mosquitto: nothing lost, nothing early, nothing twice."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter

import mqtt5
import pytest

from ingest.session import BrokerOptions, Session
from tests.real.fixtures import MosquittoFactory
from tests.real.mqtt import Publisher, nothing_more, payloads, running, take, until
from tests.real.servers import Mosquitto

pytestmark = pytest.mark.mosquitto


def options(broker: Mosquitto, **more: object) -> BrokerOptions:
    given: dict[str, object] = {"client_id": f"ingest-{secrets.token_hex(4)}", **more}
    return BrokerOptions("127.0.0.1", broker.port, **given)  # type: ignore[arg-type]


def city() -> str:
    return f"c{secrets.token_hex(4)}"


def messages(name: str, count: int, first: int = 0) -> list[tuple[str, bytes]]:
    return [(f"lamplighter/v1/{name}/streetlight/lamp-{n % 50:03d}/up", b"%d" % n) for n in range(first, first + count)]


def test_ten_thousand_messages_arrive_once_in_order_and_are_acknowledged(mosquitto: Mosquitto) -> None:
    name, count = city(), 10_000
    who = options(mosquitto)

    async def scene() -> None:
        async with running(who, f"lamplighter/v1/{name}/+/+/up") as session:
            with Publisher(mosquitto.port, f"p-{name}") as publisher:
                sending = asyncio.to_thread(publisher.publish, messages(name, count))
                _, got = await asyncio.gather(sending, take(session, count))
            assert payloads(got) == [b"%d" % n for n in range(count)]
            assert session.counters["acknowledged"] == count
            await asyncio.sleep(0.1)
        async with running(who, f"lamplighter/v1/{name}/+/+/up") as session:
            await nothing_more(session)

    asyncio.run(scene())


def test_what_was_not_acknowledged_comes_again_after_a_reconnect(mosquitto: Mosquitto) -> None:
    name = city()
    who = options(mosquitto)
    wanted = f"lamplighter/v1/{name}/+/+/up"

    async def scene() -> None:
        async with running(who, wanted) as session:
            with Publisher(mosquitto.port, f"p-{name}") as publisher:
                publisher.publish(messages(name, 100))
            got = await take(session, 100, acknowledge=False)
            session.acknowledge(got[:40])
            await asyncio.sleep(0.1)
        async with running(who, wanted) as session:
            again = await take(session, 60)
            assert payloads(again) == [b"%d" % n for n in range(40, 100)]
            await asyncio.sleep(0.1)
        async with running(who, wanted) as session:
            await nothing_more(session)

    asyncio.run(scene())


def test_acknowledgements_of_an_older_connection_are_not_sent(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto()
    name = city()

    async def scene() -> None:
        async with running(options(broker), f"lamplighter/v1/{name}/+/+/up") as session:
            with Publisher(broker.port) as publisher:
                publisher.publish(messages(name, 10))
            got = await take(session, 10, acknowledge=False)
            broker.terminate()
            await until(lambda: not session.connected)
            session.acknowledge(got[:5])
            broker.start()
            await until(lambda: session.connected)
            session.acknowledge(got[5:])
            assert session.counters["stale_acks"] == 10
            assert sorted(payloads(await take(session, 10))) == sorted(payloads(got))

    asyncio.run(scene())


def test_a_killed_and_restarted_broker_is_found_and_subscribed_again(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto(settings=["persistence false"])
    name = city()

    async def scene() -> None:
        async with running(options(broker), f"lamplighter/v1/{name}/+/+/up") as session:
            for turn in range(3):
                with Publisher(broker.port) as publisher:
                    publisher.publish(messages(name, 20, first=100 * turn))
                assert payloads(await take(session, 20)) == [b"%d" % n for n in range(100 * turn, 100 * turn + 20)]
                broker.kill()
                await until(lambda: not session.connected)
                assert session.last_error
                broker.start()
                await until(lambda: session.connected)
            assert session.counters["connects"] == 4
            assert session.counters["session_lost"] == 3

    asyncio.run(scene())


def test_messages_sent_while_ingest_is_away_wait_in_the_broker_beyond_its_default_limits(mosquitto: Mosquitto) -> None:
    name = city()
    who = options(mosquitto)
    wanted = f"lamplighter/v1/{name}/+/+/up"

    async def scene() -> None:
        async with running(who, wanted):
            pass
        with Publisher(mosquitto.port, f"p-{name}") as publisher:
            publisher.publish(messages(name, 3000))
        async with running(who, wanted) as session:
            assert payloads(await take(session, 3000)) == [b"%d" % n for n in range(3000)]

    asyncio.run(scene())


def test_the_receive_maximum_bounds_what_comes_unacknowledged_and_what_we_hold(
    start_mosquitto: MosquittoFactory,
) -> None:
    broker = start_mosquitto(settings=["max_inflight_messages 20"])  # the default; ours is what counts
    name = city()

    async def scene() -> None:
        async with running(options(broker, receive_maximum=200), f"lamplighter/v1/{name}/+/+/up") as session:
            with Publisher(broker.port) as publisher:
                publisher.publish(messages(name, 1000))
            got = await take(session, 200, acknowledge=False)
            await nothing_more(session)
            safe = 0
            while len(got) < 1000:
                # Mosquitto 2.0.11 sends a whole new window after every single PUBACK, so its queue may come faster
                # than our credit; what we hold stays bounded because a full inbox stops reading.
                assert len(session.inbox) <= 200
                session.acknowledge(got[safe : safe + 50])
                safe += 50
                got += await take(session, 1, acknowledge=False)
            assert payloads(got) == [b"%d" % n for n in range(1000)]

    asyncio.run(scene())


def test_qos_zero_messages_stop_at_the_inbox_limit_and_flow_again(mosquitto: Mosquitto) -> None:
    name = city()

    async def scene() -> None:
        async with running(options(mosquitto, receive_maximum=50), f"lamplighter/v1/{name}/+/+/up") as session:
            with Publisher(mosquitto.port, f"p-{name}") as publisher:
                publisher.publish(messages(name, 500), qos=mqtt5.QoS.AT_MOST_ONCE)
                await until(lambda: session.counters["pauses"] > 0)
                assert len(session.inbox) == 50
                got = await take(session, 500)
            assert Counter(payloads(got)) == Counter(b"%d" % n for n in range(500))
            assert session.counters["acknowledged"] == 0

    asyncio.run(scene())


def test_a_second_process_with_our_client_id_ends_the_first_without_ping_pong(mosquitto: Mosquitto) -> None:
    name = city()
    who = options(mosquitto, taken_over_s=60)
    wanted = f"lamplighter/v1/{name}/+/+/up"

    async def scene() -> None:
        async with running(who, wanted) as first, running(who, wanted) as second:
            await until(lambda: "another process" in first.last_error + second.last_error)
            await until(lambda: first.connected or second.connected)
            out, stays = (second, first) if first.connected else (first, second)
            assert who.client_id in out.last_error
            assert out.retry_in_s >= 5
            connects = first.counters["connects"] + second.counters["connects"]
            assert connects <= 8
            await asyncio.sleep(1.0)
            assert first.counters["connects"] + second.counters["connects"] == connects
            with Publisher(mosquitto.port, f"p-{name}") as publisher:
                publisher.publish(messages(name, 5))
            assert len(await take(stays, 5)) == 5

    asyncio.run(scene())


def test_a_frozen_broker_is_noticed_within_one_and_a_half_keep_alives(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto()

    async def scene() -> None:
        async with running(options(broker, keep_alive_s=1), "#") as session:
            await asyncio.sleep(2.2)
            assert session.connected, "a quiet line is held by pings"
            assert session.counters["pings"] >= 2
            began = asyncio.get_running_loop().time()
            broker.pause()
            await until(lambda: not session.connected, within_s=5)
            assert asyncio.get_running_loop().time() - began <= 1.6
            assert "nothing heard" in session.last_error
            broker.resume()
            await until(lambda: session.connected)

    asyncio.run(scene())


def test_a_message_beyond_the_packet_limit_is_kept_from_us_and_the_line_stays(mosquitto: Mosquitto) -> None:
    name = city()
    topic = f"lamplighter/v1/{name}/truck/truck-001/up"

    async def scene() -> None:
        async with running(options(mosquitto, packet_bytes_max=20_000), f"lamplighter/v1/{name}/+/+/up") as session:
            with Publisher(mosquitto.port, f"p-{name}") as publisher:
                publisher.publish([(topic, b"x" * 30_000), (topic, b"y" * 19_000), (topic, b"z")])
            assert [item.payload[:1] for item in await take(session, 2)] == [b"y", b"z"]
            assert session.counters["connects"] == 1

    asyncio.run(scene())


def test_the_broker_may_come_later_than_ingest(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto()
    broker.kill()

    async def scene() -> None:
        session = Session(options(broker), ["#"])
        task = asyncio.create_task(session.run())
        await until(lambda: session.counters["troubles"] >= 2, task)
        assert f":{broker.port}" in session.last_error
        assert 0 < session.retry_in_s < 1
        broker.start()
        await until(lambda: session.connected, task)
        session.close()
        await asyncio.wait_for(task, 5)

    asyncio.run(scene())
