"""TLS with a real Mosquitto: which certificates are believed, for how long, and whose topics they open."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path

import mqtt5
import pytest
import trustme

from ingest.session import BrokerOptions, Session, TlsOptions
from tests.real.fixtures import MosquittoFactory
from tests.real.mqtt import Publisher, payloads, running, take, until
from tests.real.servers import Mosquitto, User

pytestmark = pytest.mark.mosquitto

ALL = "lamplighter/v1/harbour/+/+/up"
USERS = {"ingest": User("s3cret", (f"topic read {ALL}",)), "lamp-0001": User("one", ()), "lamp-0002": User("two", ())}
OWN_TOPIC = ["pattern write lamplighter/v1/harbour/+/%u/up"]
DAY_S = 86_400


def options(broker: Mosquitto, ca: Path | None = None, **more: object) -> BrokerOptions:
    tls = TlsOptions(ca if ca is not None else broker.ca)
    given: dict[str, object] = {"username": "ingest", "password": "s3cret", "tls": tls, "retry_first_s": 0.05, **more}
    return BrokerOptions("127.0.0.1", broker.tls_port, **given)  # type: ignore[arg-type]


def issue(folder: Path, authority: trustme.CA, *names: str, days: float = 100) -> None:
    """Write the broker's certificate anew, for these names and so many days from now."""
    begins, ends = (datetime.fromtimestamp(time.time() + each * DAY_S, UTC) for each in (min(days, 0) - 10, days))
    own = authority.issue_cert(*names, not_before=begins, not_after=ends)
    own.private_key_pem.write_to_path(str(folder / "server.key"))
    (folder / "server.pem").write_bytes(b"".join(part.bytes() for part in own.cert_chain_pems))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))


def with_certificate(start: MosquittoFactory, *names: str, days: float = 100) -> tuple[Mosquitto, trustme.CA]:
    """Start a broker whose certificate holds these names and lasts so long."""
    broker, authority = start(users=USERS, patterns=OWN_TOPIC, tls=True), trustme.CA()
    issue(broker.folder, authority, *names, days=days)
    broker.terminate()
    broker.start()
    return broker, authority


async def trouble_of(who: BrokerOptions) -> str:
    session = Session(who, [ALL])
    task = asyncio.create_task(session.run())
    await until(lambda: session.counters["troubles"] >= 1, task)
    session.close()
    await task
    assert session.counters["connects"] == 0
    return session.last_error


@pytest.mark.parametrize(
    ("names", "days", "words"),
    [
        (("127.0.0.1",), -1, "certificate has expired"),
        (("broker.elsewhere.example",), 100, "IP address mismatch"),
        (("127.0.0.2", "localhost"), 100, "IP address mismatch"),
    ],
    ids=["expired", "another name", "another address"],
)
def test_a_certificate_that_has_ended_or_names_another_host_is_not_believed(
    start_mosquitto: MosquittoFactory, names: tuple[str, ...], days: float, words: str
) -> None:
    broker, _ = with_certificate(start_mosquitto, *names, days=days)
    said = asyncio.run(trouble_of(options(broker)))
    assert words in said
    assert "s3cret" not in said


def test_a_certificate_of_another_authority_is_not_believed(start_mosquitto: MosquittoFactory, tmp_path: Path) -> None:
    broker, _ = with_certificate(start_mosquitto, "127.0.0.1")
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    assert "CERTIFICATE_VERIFY_FAILED" in asyncio.run(trouble_of(options(broker, tmp_path / "other.pem")))


def test_the_days_that_the_brokers_certificate_lasts_are_known_and_a_renewed_one_is_seen(
    start_mosquitto: MosquittoFactory,
) -> None:
    broker, authority = with_certificate(start_mosquitto, "127.0.0.1", days=5)

    async def scene() -> None:
        async with running(options(broker), ALL) as session:
            assert session.certificate_ends_s == pytest.approx(time.time() + 5 * DAY_S, abs=60)
            issue(broker.folder, authority, "127.0.0.1", days=90)
            os.kill(broker.pid, signal.SIGHUP)  # Mosquitto reads its certificates again
            with Publisher(broker.port, "lamp-0001", "lamp-0001", "one") as lamp:
                lamp.publish([("lamplighter/v1/harbour/streetlight/lamp-0001/up", b"{}")])
            await take(session, 1)
            assert session.counters["connects"] == 1, "the open connection stays"
        async with running(options(broker), ALL) as session:
            assert session.certificate_ends_s == pytest.approx(time.time() + 90 * DAY_S, abs=60)

    asyncio.run(scene())


def handshake(port: int, version: ssl.TLSVersion) -> str | None:
    """Return the version agreed on by a client that speaks only one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")  # else OpenSSL itself would not offer the old ones
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain) as line,
    ):
        return line.version()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_neither_side_speaks_less_than_tls_1_2(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto(users=USERS, tls=True, tls_version="tlsv1.2")
    assert handshake(broker.tls_port, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with pytest.raises(OSError, match=r"."):
            handshake(broker.tls_port, old)
    assert TlsOptions(broker.ca).context().minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_broker_that_speaks_old_tls_only_is_refused() -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    server.set_ciphers("ALL:@SECLEVEL=0")
    server.minimum_version = ssl.TLSVersion.TLSv1
    server.maximum_version = ssl.TLSVersion.TLSv1_1
    client = TlsOptions().context()
    authority.configure_trust(client)
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(here, there, server_hostname="127.0.0.1")
    theirs = server.wrap_bio(there, here, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        ours.do_handshake()
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol"):
        theirs.do_handshake()


def test_a_devices_certificate_opens_its_own_topics_alone(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto(
        users=USERS, patterns=OWN_TOPIC, mutual=True, settings=["max_queued_messages 1000000"]
    )  # with 0, Mosquitto 2.0.11 hangs up after a refusal
    mine, other = (f"lamplighter/v1/harbour/streetlight/lamp-000{n}/up" for n in (1, 2))
    stranger = trustme.CA().issue_cert("lamp-0001.test", common_name="lamp-0001")

    def context(name: str) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(broker.ca))
        made.load_cert_chain(*broker.client_certificate(name))
        return made

    async def scene() -> None:
        tls = TlsOptions(broker.ca, *broker.client_certificate("ingest"))
        async with running(options(broker, username=None, password=None, tls=tls), ALL) as session:
            for name, codes in (("lamp-0001", [0, 0x87]), ("lamp-0002", [0x87, 0])):
                with Publisher(broker.tls_port, name, tls=context(name)) as lamp:
                    assert [
                        int(code) for code in lamp.publish([(mine, name.encode()), (other, name.encode())])
                    ] == codes
            with Publisher(broker.tls_port, "x", "lamp-0001", "one", tls=context("lamp-0002")) as lamp:
                refused = lamp.publish([(mine, b"by another name")])
                assert refused == [mqtt5.PubAckReasonCode.NOT_AUTHORIZED], (
                    "the certificate's name counts, not the one said"
                )
            unknown = ssl.create_default_context(cafile=str(broker.ca))
            stranger.configure_cert(unknown)
            with pytest.raises((OSError, AssertionError)):
                Publisher(broker.tls_port, "lamp-0001", tls=unknown)
            assert payloads(await take(session, 2)) == [b"lamp-0001", b"lamp-0002"]

    asyncio.run(scene())
