"""Who is let in, over what line, and what the session says when it is not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import mqtt5
import pytest
import trustme

from ingest.broker_says import FILTERS
from ingest.session import BrokerOptions, Session, TlsOptions
from tests.real.fixtures import MosquittoFactory
from tests.real.mqtt import Publisher, nothing_more, payloads, running, take, until
from tests.real.servers import Mosquitto, User

pytestmark = pytest.mark.mosquitto

ALL = "lamplighter/v1/harbour/+/+/up"
LAMP = "lamplighter/v1/harbour/streetlight/lamp-0001/up"
USERS = {
    "ingest": User("s3cret", ("topic read lamplighter/v1/+/+/+/up",)),
    "lamp-0001": User("one", ()),
    "nobody": User("none", ()),
}
OWN_TOPIC = ["pattern write lamplighter/v1/harbour/+/%u/up"]


def options(port: int, user: str | None = "ingest", password: str | None = "s3cret", **more: object) -> BrokerOptions:
    return BrokerOptions("127.0.0.1", port, username=user, password=password, **more)  # type: ignore[arg-type]


async def trouble_of(who: BrokerOptions, *filters: str) -> str:
    """Run a session until it has had trouble twice; what it says."""
    session = Session(who, filters or (ALL,))
    task = asyncio.create_task(session.run())
    await until(lambda: session.counters["troubles"] >= 2, task)
    assert not session.connected
    session.close()
    await task
    return session.last_error


def test_user_and_password_let_in_and_the_topic_belongs_to_its_device(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto(users=USERS, patterns=OWN_TOPIC)

    async def scene() -> None:
        async with running(options(broker.port), ALL) as session:
            with Publisher(broker.port, "lamp-0001", "lamp-0001", "one") as lamp:
                spoofed = LAMP.replace("0001", "0002")
                codes = lamp.publish([(LAMP, b"mine"), (LAMP, b"mine too"), (spoofed, b"not mine")])
            assert [int(code) for code in codes] == [0, 0, int(mqtt5.PubAckReasonCode.NOT_AUTHORIZED)]
            assert payloads(await take(session, 2)) == [b"mine", b"mine too"]
            await nothing_more(session)

    asyncio.run(scene())


def test_counts_that_the_access_list_keeps_from_us_stay_unknown_and_those_it_allows_are_heard(
    start_mosquitto: MosquittoFactory,
) -> None:
    told = User("t0ld", (*USERS["ingest"].acl, *(f"topic read {topic}" for topic in FILTERS)))
    broker = start_mosquitto(users={**USERS, "told": told}, patterns=OWN_TOPIC, settings=["sys_interval 1"])

    async def scene() -> None:
        knows = options(broker.port, "told", "t0ld", client_id="told", counts=True)
        async with (
            running(options(broker.port, counts=True), ALL) as denied,
            running(knows, ALL) as session,
        ):
            await until(lambda: session.says.dropped == 0 and session.says.uptime_s is not None)
            await until(lambda: session.says.uptime_s > 0)
            with Publisher(broker.port, "lamp-0001", "lamp-0001", "one") as lamp:
                lamp.publish([(LAMP, b"seen")])
            assert payloads(await take(denied, 1)) == payloads(await take(session, 1)) == [b"seen"]
            assert denied.says.dropped is None
            await nothing_more(session)

    asyncio.run(scene())


def test_a_wrong_password_is_named_and_tried_again_later(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto(users=USERS)

    async def scene() -> None:
        words = await trouble_of(options(broker.port, password="wrong"))
        assert "refuses the connection" in words
        assert "'ingest'" in words
        assert "password" in words
        assert "s3cret" not in words
        assert "without user name" in await trouble_of(options(broker.port, None, None))

    asyncio.run(scene())


def test_a_password_put_right_at_the_broker_lets_the_waiting_session_in(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto(users={"ingest": User("other")})

    async def scene() -> None:
        session = Session(options(broker.port), [ALL])
        task = asyncio.create_task(session.run())
        await until(lambda: session.counters["troubles"] >= 2, task)
        broker.terminate()
        right = Mosquitto(broker.folder / "right", users=USERS)
        (broker.folder / "passwords").write_bytes((right.folder / "passwords").read_bytes())
        broker.start()
        await until(lambda: session.connected, task)
        session.close()
        await task

    asyncio.run(scene())


def test_tls_with_the_right_authority_and_only_with_it(start_mosquitto: MosquittoFactory, tmp_path: Path) -> None:
    broker = start_mosquitto(users=USERS, tls=True)
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))

    async def scene() -> None:
        async with running(options(broker.tls_port, tls=TlsOptions(broker.ca)), ALL) as session:
            assert session.connected
        assert "CERTIFICATE_VERIFY_FAILED" in await trouble_of(options(broker.tls_port, tls=TlsOptions(stranger)))
        assert "closed the connection before it answered" in await trouble_of(options(broker.tls_port))
        assert "missing.pem" in await trouble_of(options(broker.tls_port, tls=TlsOptions(tmp_path / "missing.pem")))

    asyncio.run(scene())


def test_ten_thousand_messages_over_tls(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto(tls=True)

    async def scene() -> None:
        async with running(options(broker.tls_port, None, None, tls=TlsOptions(broker.ca)), ALL) as session:
            with Publisher(broker.port) as publisher:
                sending = asyncio.to_thread(publisher.publish, [(LAMP, b"%d" % n) for n in range(10_000)])
                _, got = await asyncio.gather(sending, take(session, 10_000))
            assert payloads(got) == [b"%d" % n for n in range(10_000)]

    asyncio.run(scene())


def test_mutual_tls_names_the_user_by_its_certificate(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto(users=USERS, patterns=OWN_TOPIC, mutual=True)
    certificate, key = broker.client_certificate("ingest")

    async def scene() -> None:
        tls = TlsOptions(broker.ca, certificate, key)
        async with running(options(broker.tls_port, None, None, tls=tls), ALL) as session:
            with Publisher(broker.port, "lamp-0001", "lamp-0001", "one") as lamp:
                lamp.publish([(LAMP, b"seen")])
            assert payloads(await take(session, 1)) == [b"seen"]
        words = await trouble_of(options(broker.tls_port, None, None, tls=TlsOptions(broker.ca)))
        assert "certificate" in words.lower() or "closed the connection" in words

    asyncio.run(scene())
