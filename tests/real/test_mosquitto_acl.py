"""The shipped Mosquitto configuration and access list, on a real broker: who may say and hear what."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import mqtt5
import paho.mqtt.client as paho
import pytest
import trustme

from ingest import broker_says
from lamplighter.credentials import COMMAND, INGEST, Credential, access_file, issue, password_file, write_private
from tests.real.processes import Process, free_port, need

pytestmark = pytest.mark.mosquitto

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "mosquitto.conf"
CITY = "linjiang"
MINE = f"lamplighter/v1/{CITY}/streetlight/lamp-0001"
OTHER = f"lamplighter/v1/{CITY}/streetlight/lamp-0002"
ELSEWHERE = "lamplighter/v1/othertown/streetlight/lamp-0001"
TAKEN = (mqtt5.PubAckReasonCode.SUCCESS, mqtt5.PubAckReasonCode.NO_MATCHING_SUBSCRIBERS)
ALLOWED, REFUSED = True, False
QUIET_S = 0.3


class House:
    """A Mosquitto that runs the shipped configuration, with only its addresses and paths changed."""

    def __init__(self, folder: Path) -> None:
        (program,) = need("mosquitto")
        self.folder = folder
        self.outside, self.inside = free_port(), free_port()
        self.authority = trustme.CA()
        own = self.authority.issue_cert("localhost")
        own.private_key_pem.write_to_path(str(folder / "server.key"))
        (folder / "server.pem").write_bytes(b"".join(part.bytes() for part in own.cert_chain_pems))
        users = [Credential(INGEST, "ingest-secret"), Credential(COMMAND, "command-secret")]
        self.passwords = {one.user: one.password for one in [*users, *issue(["lamp-0001", "lamp-0002", "truck-001"])]}
        write_private(folder / "passwords", password_file(Credential(*pair) for pair in self.passwords.items()))
        write_private(folder / "acl", access_file(CITY))
        (folder / "mosquitto.conf").write_text(self._configuration())
        self.process = Process("mosquitto", folder, [program, "-c", str(folder / "mosquitto.conf")])
        self.process.start(self.outside, self.inside)

    def _configuration(self) -> str:
        text = SHIPPED.read_text(encoding="utf-8")
        changes = {
            "listener 8883\n": f"listener {self.outside} 127.0.0.1\n",
            "listener 1883\n": f"listener {self.inside} 127.0.0.1\n",
            "/mosquitto/house/": f"{self.folder}/",
            "/mosquitto/data/": f"{self.folder}/",
        }
        for shipped, here in changes.items():
            assert shipped in text, shipped
            text = text.replace(shipped, here)
        return text + ("user root\n" if os.getuid() == 0 else "")

    def client(self, user: str, client_id: str = "", *, inside: bool = False) -> Client:
        """Return a connected client; devices come from outside, by TLS."""
        context = None if inside else self.trusting()
        port = self.inside if inside else self.outside
        return Client(port, context, client_id or user, user, self.passwords[user])

    def trusting(self) -> ssl.SSLContext:
        """Return a context that trusts this house's authority and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        return context


class Client:
    """A blocking MQTT 5 client that shows every answer of the broker."""

    def __init__(
        self, port: int, context: ssl.SSLContext | None, client_id: str, user: str | None, password: str | None
    ) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        try:
            self._socket = plain if context is None else context.wrap_socket(plain, server_hostname="localhost")
        except OSError:
            plain.close()
            raise
        self._unread = b""
        secret = None if password is None else password.encode()
        hello = mqtt5.ConnectPacket(client_id, username=user, password=secret, clean_start=True)
        self._socket.sendall(hello.write())
        try:
            self.welcome = self._packet(5)
        except OSError:
            self._socket.close()
            raise

    def publish(self, topic: str, payload: bytes = b"{}") -> bool:
        """Publish at QoS 1 and say whether the broker took it."""
        packet = mqtt5.PublishPacket(topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=1)
        self._socket.sendall(packet.write())
        answer = self._packet(5)
        assert isinstance(answer, mqtt5.PubAckPacket), answer
        assert answer.reason_code in (*TAKEN, mqtt5.PubAckReasonCode.NOT_AUTHORIZED)
        return answer.reason_code in TAKEN

    def subscribe(self, pattern: str) -> mqtt5.SubAckReasonCode:
        wanted = mqtt5.TopicFilter(pattern, max_qos=mqtt5.QoS.AT_LEAST_ONCE)
        self._socket.sendall(mqtt5.SubscribePacket(2, [wanted]).write())
        answer = self._packet(5)
        while isinstance(answer, mqtt5.PublishPacket):
            answer = self._packet(5)
        assert isinstance(answer, mqtt5.SubAckPacket), answer
        return answer.reason_codes[0]

    def heard(self, within_s: float = QUIET_S, *, count: int = 1000) -> list[str]:
        """Return the topics of what comes within some seconds, or of the first ``count``, acknowledging each."""
        topics: list[str] = []
        deadline = time.monotonic() + within_s
        while len(topics) < count and (left := deadline - time.monotonic()) > 0:
            packet = self._packet(left)
            if packet is None:
                break
            if isinstance(packet, mqtt5.PublishPacket):
                topics.append(packet.topic)
                if packet.packet_id is not None:
                    self._socket.sendall(mqtt5.PubAckPacket(packet.packet_id).write())
        return topics

    @property
    def tls(self) -> str | None:
        """Version of TLS that was agreed on."""
        return self._socket.version() if isinstance(self._socket, ssl.SSLSocket) else None

    def closed(self) -> bool:
        """Say whether the broker has ended the connection."""
        try:
            packet = self._packet(QUIET_S)
        except ConnectionError:
            return True
        return isinstance(packet, mqtt5.DisconnectPacket)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _packet(self, within_s: float) -> mqtt5.Packet | None:
        self._socket.settimeout(within_s)
        while True:
            try:
                packet, length = mqtt5.read(memoryview(self._unread))
            except IndexError:
                try:
                    more = self._socket.recv(65536)
                except (TimeoutError, ssl.SSLWantReadError):
                    return None
                if not more:
                    raise ConnectionError("the broker closed the connection") from None
                self._unread += more
                continue
            self._unread = self._unread[length:]
            return packet


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    running = House(tmp_path_factory.mktemp("house"))
    try:
        yield running
    finally:
        running.process.kill()


MATRIX = [
    ("lamp-0001", f"{MINE}/up", ALLOWED),
    ("lamp-0001", f"{MINE}/down", REFUSED),
    ("lamp-0001", f"{MINE}/up/more", REFUSED),
    ("lamp-0001", f"{MINE}", REFUSED),
    ("lamp-0001", f"{OTHER}/up", REFUSED),
    ("lamp-0001", f"{OTHER}/down", REFUSED),
    ("lamp-0001", f"{ELSEWHERE}/up", REFUSED),
    ("lamp-0001", "lamplighter/v2/linjiang/streetlight/lamp-0001/up", REFUSED),
    ("lamp-0001", "anything", REFUSED),
    (INGEST, f"{MINE}/up", REFUSED),
    (INGEST, f"{MINE}/down", REFUSED),
    (INGEST, f"lamplighter/v1/{CITY}/streetlight/{INGEST}/up", REFUSED),
    (COMMAND, f"{MINE}/down", ALLOWED),
    (COMMAND, f"{MINE}/up", REFUSED),
    (COMMAND, f"lamplighter/v1/{CITY}/streetlight/{COMMAND}/up", REFUSED),
    (COMMAND, "lamplighter/v1/othertown/streetlight/lamp-0001/down", REFUSED),
]


@pytest.mark.parametrize(("user", "topic", "taken"), MATRIX)
def test_what_each_identity_may_publish(house: House, user: str, topic: str, taken: bool) -> None:  # noqa: FBT001
    with house.client(user) as client:
        assert client.publish(topic) is taken


TRUCK = f"lamplighter/v1/{CITY}/truck/truck-001"
NOBODY = "nobody"
IDENTITIES = ("lamp-0001", "lamp-0002", "truck-001", INGEST, COMMAND, NOBODY)
TOPICS = (
    f"{MINE}/up",
    f"{MINE}/down",
    f"{OTHER}/up",
    f"{TRUCK}/up",
    f"{ELSEWHERE}/up",
    f"lamplighter/v1/{CITY}/streetlight/{INGEST}/up",
    "$SYS/broker/uptime",
    "anything/at/all",
)
MAY_PUBLISH = {
    ("lamp-0001", f"{MINE}/up"),
    ("lamp-0002", f"{OTHER}/up"),
    ("truck-001", f"{TRUCK}/up"),
    (COMMAND, f"{MINE}/down"),
}


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("user", IDENTITIES)
def test_six_identities_and_eight_topics_only_four_pairs_may_publish(house: House, user: str, topic: str) -> None:
    if user == NOBODY:
        with Client(house.outside, house.trusting(), user, user, "guess") as client:
            assert isinstance(client.welcome, mqtt5.ConnAckPacket)
            assert client.welcome.reason_code == mqtt5.ConnAckReasonCode.NOT_AUTHORIZED, "not even let in"
        return
    with house.client(user) as client:
        assert client.publish(topic) is ((user, topic) in MAY_PUBLISH)


def test_five_identities_hear_of_what_is_published_only_what_is_theirs(house: House) -> None:
    expected = {
        "lamp-0001": {f"{MINE}/down"},
        "lamp-0002": set(),
        "truck-001": set(),
        INGEST: {f"{MINE}/up", f"{OTHER}/up", f"{TRUCK}/up"},
        COMMAND: set(),
    }
    with ExitStack() as opened:
        ears = {user: opened.enter_context(house.client(user, f"{user}-ear", inside=True)) for user in expected}
        for client in ears.values():
            for pattern in ("#", "lamplighter/#", *TOPICS):
                client.subscribe(pattern)
        for user, topic in sorted(MAY_PUBLISH):
            with house.client(user) as speaker:
                assert speaker.publish(topic)
        for user, client in ears.items():
            heard = {topic for topic in client.heard() if not topic.startswith("$SYS/")}
            assert heard == expected[user], user


PATTERNS = (
    "#",
    "+/#",
    f"lamplighter/v1/{CITY}/#",
    f"lamplighter/v1/{CITY}/+/+/up",
    f"{OTHER}/up",
    f"{OTHER}/down",
    f"$share/crowd/lamplighter/v1/{CITY}/+/+/up",
    f"$share/crowd/{OTHER}/down",
)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_device_hears_nothing_of_others_whatever_it_subscribes_to(house: House, pattern: str) -> None:
    with house.client("lamp-0001") as spy, house.client("lamp-0002") as other, house.client(COMMAND) as command:
        spy.subscribe(pattern)
        assert other.publish(f"{OTHER}/up")
        assert command.publish(f"{OTHER}/down")
        assert spy.heard() == []


@pytest.mark.parametrize("pattern", ["$SYS/#", "$SYS/broker/version", "$SYS/broker/clients/connected"])
def test_a_device_learns_nothing_about_the_broker(house: House, pattern: str) -> None:
    with house.client("lamp-0001") as spy:
        spy.subscribe(pattern)
        assert spy.heard() == [], "retained values of $SYS come at once where they may be read"


def test_a_device_hears_its_own_commands(house: House) -> None:
    with house.client("lamp-0001") as lamp, house.client(COMMAND) as command:
        assert int(lamp.subscribe(f"{MINE}/down")) == 1, "granted at QoS 1"
        assert command.publish(f"{MINE}/down")
        assert lamp.heard(1) == [f"{MINE}/down"]


def test_the_ingest_hears_every_report_of_its_city_and_no_command(house: House) -> None:
    with (
        house.client(INGEST, "lamplighter-ingest", inside=True) as ingest,
        house.client("lamp-0001") as first,
        house.client("lamp-0002") as second,
        house.client(COMMAND) as command,
    ):
        ingest.subscribe(f"lamplighter/v1/{CITY}/+/+/up")
        ingest.subscribe("lamplighter/v1/+/+/+/down")
        assert first.publish(f"{MINE}/up")
        assert second.publish(f"{OTHER}/up")
        assert command.publish(f"{MINE}/down")
        assert ingest.heard(1) == [f"{MINE}/up", f"{OTHER}/up"]


@pytest.mark.parametrize("topic", broker_says.FILTERS)
def test_the_ingest_hears_how_many_messages_the_broker_has_dropped_and_since_when_it_runs(
    house: House, topic: str
) -> None:
    with house.client(INGEST, "lamplighter-ingest", inside=True) as ingest:
        ingest.subscribe(topic)
        assert ingest.heard(12, count=1) == [topic]


def test_the_ingest_hears_nothing_else_of_the_broker(house: House) -> None:
    with house.client(INGEST, "lamplighter-ingest", inside=True) as ingest:
        ingest.subscribe("$SYS/#")
        assert set(ingest.heard(QUIET_S)) <= set(broker_says.FILTERS), "retained values come at once"


def test_a_device_cannot_throw_out_the_ingest_by_taking_its_client_id(house: House) -> None:
    with house.client(INGEST, "lamplighter-ingest", inside=True) as ingest:
        with house.client("lamp-0001", "lamplighter-ingest") as thief:
            assert isinstance(thief.welcome, mqtt5.ConnAckPacket)
            assert thief.welcome.reason_code == 0
            assert not ingest.closed(), "outside, the client id is the user name whatever the device says"
        with house.client(INGEST, "lamplighter-ingest", inside=True):
            assert ingest.closed(), "what would have happened"


@pytest.mark.parametrize(
    ("user", "password"), [(None, None), ("lamp-0001", None), ("lamp-0001", "wrong"), ("nobody", "x"), ("", "")]
)
def test_nobody_enters_without_a_credential(house: House, user: str | None, password: str | None) -> None:
    for port, context in ((house.inside, None), (house.outside, house.trusting())):
        with Client(port, context, "stranger", user, password) as client:
            assert isinstance(client.welcome, mqtt5.ConnAckPacket)
            assert client.welcome.reason_code == mqtt5.ConnAckReasonCode.NOT_AUTHORIZED


def test_outside_nothing_is_spoken_but_tls_with_the_citys_own_authority(house: House) -> None:
    password = house.passwords["lamp-0001"]
    with pytest.raises(ConnectionError):
        Client(house.outside, None, "plain", "lamp-0001", password)
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(house.outside, ssl.create_default_context(), "other-authority", "lamp-0001", password)
    with house.client("lamp-0001") as lamp:
        assert lamp.tls in ("TLSv1.2", "TLSv1.3")


def test_mosquittos_own_tool_writes_the_same_form_of_password_line(tmp_path: Path) -> None:
    (tool,) = need("mosquitto_passwd")
    plain = tmp_path / "theirs"
    plain.write_text("lamp-0001:a secret\n")
    subprocess.run([tool, "-U", str(plain)], check=True, capture_output=True)
    theirs = plain.read_text().strip().partition(":")[2].split("$")
    ours = password_file([Credential("lamp-0001", "a secret")]).strip().partition(":")[2].split("$")
    assert [len(part) for part in ours] == [len(part) for part in theirs]
    assert ours[1:3] == theirs[1:3], "the same form and the same number of rounds"


def test_a_new_device_enters_after_the_broker_has_read_its_files_again_and_a_removed_one_no_more(
    tmp_path: Path,
) -> None:
    (tool,) = need("mosquitto_passwd")
    house, name, password = House(tmp_path), "lamp-9001", "a-new-secret"
    try:
        for arguments, enters in (
            (["-b", str(tmp_path / "passwords"), name, password], True),
            (["-D", str(tmp_path / "passwords"), name], False),
        ):
            subprocess.run([tool, *arguments], check=True, capture_output=True)
            os.kill(house.process.pid, signal.SIGHUP)
            house.passwords[name] = password
            deadline = time.monotonic() + 5
            entered = not enters
            while entered is not enters and time.monotonic() < deadline:
                with house.client(name) as lamp:
                    assert isinstance(lamp.welcome, mqtt5.ConnAckPacket)
                    entered = lamp.welcome.reason_code == 0
                    if entered and enters:
                        assert lamp.publish(f"lamplighter/v1/{CITY}/streetlight/{name}/up")
                        assert not lamp.publish(f"{MINE}/up")
            assert entered is enters
    finally:
        house.process.kill()


def test_an_old_device_is_told_success_although_its_message_is_refused(house: House) -> None:
    with house.client(INGEST, "lamplighter-ingest", inside=True) as ingest:
        ingest.subscribe(f"lamplighter/v1/{CITY}/+/+/up")
        for topic, arrives in ((f"{MINE}/up", True), (f"{OTHER}/up", False)):
            old = paho.Client(paho.CallbackAPIVersion.VERSION2, "lamp-0001", protocol=paho.MQTTv311)
            old.username_pw_set("lamp-0001", house.passwords["lamp-0001"])
            old.connect("127.0.0.1", house.inside)
            old.loop_start()
            sent = old.publish(topic, b"{}", qos=1)
            sent.wait_for_publish(5)
            assert sent.is_published(), "MQTT 3.1.1 has no way to say no"
            old.disconnect()
            old.loop_stop()
            assert ingest.heard(QUIET_S) == ([topic] if arrives else [])


def test_a_message_too_large_for_the_house_still_arrives_and_one_too_large_for_the_broker_does_not(
    house: House,
) -> None:
    with house.client(INGEST, "lamplighter-ingest", inside=True) as ingest, house.client("lamp-0001") as lamp:
        ingest.subscribe(f"lamplighter/v1/{CITY}/+/+/up")
        assert lamp.publish(f"{MINE}/up", b"x" * 300_000), "to be quarantined with its reason"
        assert ingest.heard(1) == [f"{MINE}/up"]
        with pytest.raises((OSError, AssertionError)):
            lamp.publish(f"{MINE}/up", b"x" * 1_100_000)
