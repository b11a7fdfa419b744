"""Poison through a real broker: each message is read rightly or kept whole with its reason, and the next one flows."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mqtt5
import pytest

from devices.registry import Asset
from devices.topics import up
from storage.operations import Operations, QuarantineRow
from tests.real.fixtures import MosquittoFactory
from tests.real.influxdb_server import Influx, InfluxDatabase
from tests.real.mqtt import Publisher
from tests.real.servers import Mosquitto
from tests.real.service import Service

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(200)]

CITY = "poison"
LAMPS = [Asset(f"lamp-000{n}", "streetlight", "lamp", lon=120.1, lat=30.2, road="人民路") for n in range(3)]
SHIPPED = (Path(__file__).resolve().parents[2] / "deploy" / "mosquitto.conf").read_text()
PACKET_MAX = int(re.findall(r"^max_packet_size (\d+)", SHIPPED, re.MULTILINE)[0])
CPU_S = 0.05  # processor time that one message may cost the whole house
MEMORY = 96 << 20  # bytes by which poison may make it grow; its inbox alone may hold 64 MB
T = time.time_ns() // 1_000_000 - 600_000


def reading(more: str = "", ts: int = T) -> bytes:
    return f'{{"ts":{ts}{more}}}'.encode()


def keys(count: int) -> str:
    return "".join(f',"k{n}":1' for n in range(count))


# What comes, and why it is kept apart; None where it is read. Each is like no other, so that it can be found again.
POISON: dict[str, tuple[bytes, str | None]] = {
    "empty": (b"", "unreadable"),
    "300 kB": (reading(f',"x":"{"y" * 300_000}"'), "too_large"),
    "arrays 100,000 deep": (b"[" * 100_000, "wrong_form"),
    "objects 30,000 deep": (b'{"ts":' * 30_000, "clock"),
    "deep in a key that nobody asked for": (reading(',"x":' + "[" * 100_000 + "]" * 100_000), "unreadable"),
    "20,000 keys": (reading(keys(20_000), T + 1), None),
    "a million keys": (reading(keys(1_000_000))[: PACKET_MAX - 1000], "too_large"),
    "one key 20,000 times": (reading(',"power_w":1' * 20_000, T + 2), None),
    "keys twice": (reading(',"power_w":1,"power_w":2', T + 3), None),
    "1e999": (reading(',"power_w":1e999'), "wrong_form"),
    "a whole number of 300 digits": (reading(f',"switch_count":{"9" * 300}'), "wrong_form"),
    "a number of 300 digits": (reading(f',"power_w":{"9" * 300}', T + 4), None),
    "a number of 200,000 digits": (reading(f',"power_w":{"9" * 200_000}'), "wrong_form"),
    "a clock of 300 digits": (f'{{"ts":{"9" * 300}}}'.encode(), "clock"),
    "NaN": (reading(',"power_w":NaN'), "unreadable"),
    "Infinity": (reading(',"power_w":-Infinity'), "unreadable"),
    "-0": (reading(',"power_w":-0', T + 5), None),
    "-0.0": (reading(',"power_w":-0.0', T + 6), None),
    "true for a number": (reading(',"power_w":true'), "wrong_form"),
    "a decimal comma": (reading(',"power_w":"12,5"'), "wrong_form"),
    "null": (reading(',"power_w":null', T + 7), None),
    "a whole number for a fraction": (reading(',"power_w":12', T + 8), None),
    "a fraction for a fraction": (reading(',"power_w":12.25', T + 9), None),
    "a fraction for a count": (reading(',"switch_count":1.5'), "wrong_form"),
    "a number for a switch": (reading(',"lamp_failure":1', T + 10), None),
    "bad UTF-8 in a field": (reading(',"power_w":"') + b'\xc3\x28"}', "wrong_form"),
    "bad UTF-8 alone": (b"\xff\xfe\xfd", "unreadable"),
    "NUL": (b"\0", "unreadable"),
    "NUL behind": (reading(ts=T + 11) + b"\0", "unreadable"),
    "a byte order mark": (b"\xef\xbb\xbf" + reading(ts=T + 12), "unreadable"),
    "UTF-16": (reading(ts=T + 13).decode().encode("utf-16"), "unreadable"),
    "escaped surrogates": (reading(',"\\ud800":1'), "unreadable"),
    "a line of its own": (reading(',"x\\ninj,device=lamp-0002 power_w":1', T + 14), None),
    "another device's name": (reading(',"device_id":"lamp-0002"'), "identity"),
    "its own name": (reading(',"device_id":"lamp-0001"', T + 15), None),
}
STORED = sum(reason is None for _, reason in POISON.values())


class House:
    """A house on a Mosquitto set up as the shipped one, and what is published to it."""

    def __init__(self, folder: Path, broker: Mosquitto, influx: InfluxDatabase | None) -> None:
        self.service = Service(folder, CITY, broker, influx, LAMPS)
        self.port = broker.port
        self.influx = influx
        self.sent = 0  # messages that it must count
        self.good = 0
        self.service.start()
        self.service.connected()

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish one message on a connection of its own."""
        with Publisher(self.port) as publisher:
            assert publisher.publish([(topic, payload)]) in ([0], [mqtt5.PubAckReasonCode.NO_MATCHING_SUBSCRIBERS])
        self.sent += 1

    def good_one(self) -> None:
        """Publish a reading that there is nothing wrong with, and see it counted."""
        self.good += 1
        self.publish(up(CITY, "streetlight", "lamp-0000"), reading(',"power_w":100', T + self.good))
        self.counted()

    def counted(self) -> None:
        until = time.monotonic() + 30
        while (found := sum(line["received"] for line in self._lines())) < self.sent:
            assert time.monotonic() < until, f"{found} of {self.sent} messages; {self.service.log[-2000:]}"
            time.sleep(0.02)

    def _lines(self) -> list[dict[str, int]]:
        found: list[dict[str, int]] = json.loads(self.service.get("/api/ledger"))["kinds"]
        return found

    def cpu_s(self) -> float:
        """Return the processor time that the process has taken."""
        assert self.service._process is not None
        fields = Path(f"/proc/{self.service._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Return the most memory that it has held, bytes."""
        assert self.service._process is not None
        status = Path(f"/proc/{self.service._process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) << 10

    def balanced(self) -> dict[str, dict[str, int]]:
        """Wait until nothing is pending; return the ledger by kind."""
        until = time.monotonic() + 60
        while any(line["pending"] for line in self._lines()):
            assert time.monotonic() < until, self.service.log[-2000:]
            time.sleep(0.1)
        lines = {str(line["kind"]): line for line in self._lines()}
        for line in lines.values():
            assert line["received"] == line["stored"] + line["quarantined"] + line["duplicate"] + line["pending"]
        return lines

    def rows(self) -> list[QuarantineRow]:
        """Return every message kept apart."""
        operations = Operations(self.service.operations_url)
        rows = [operations.quarantine_show(row.id) for row in operations.quarantine_list(1000)]
        operations.close()
        return [row for row in rows if row is not None]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, influx_server: Influx) -> Iterator[House]:
    """A house on a broker with the shipped limit of a packet; several tests share it."""
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"), settings=[f"max_packet_size {PACKET_MAX}"])
    database = influx_server.database()
    try:
        house = House(tmp_path_factory.mktemp("house"), broker.start(), database)
        house.influx = database
        try:
            house.good_one()
            yield house
        finally:
            house.service.close()
    finally:
        broker.kill()
        database.drop()


@pytest.fixture
def house_on(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., House]:
    def make(broker: Mosquitto, influx: InfluxDatabase | None = None) -> House:
        made = House(tmp_path, broker, influx)
        request.addfinalizer(made.service.close)
        return made

    return make


@pytest.mark.influxdb
def test_each_poison_is_read_rightly_or_kept_whole_with_its_reason_and_the_next_message_flows(shipped: House) -> None:
    house = shipped
    good = house.good
    cpu_s, memory, began = house.cpu_s(), house.memory(), time.monotonic()
    time.sleep(1)
    idle = (house.cpu_s() - cpu_s) / (time.monotonic() - began)
    cpu_s, began = house.cpu_s(), time.monotonic()
    for payload, _ in POISON.values():
        house.publish(up(CITY, "streetlight", "lamp-0001"), payload)
        house.good_one()
    spent = house.cpu_s() - cpu_s - idle * (time.monotonic() - began)
    line = house.balanced()["streetlight"]
    print(f"{len(POISON)} poisons, {spent * 1000 / len(POISON):.1f} ms each with its good one, idle {idle:.2f}; {line}")
    assert spent < CPU_S * 2 * len(POISON)
    assert house.memory() - memory < MEMORY
    kept = {row.payload: row.reason for row in house.rows()}
    assert {name: kept.get(payload) for name, (payload, _) in POISON.items()} == {n: r for n, (_, r) in POISON.items()}
    assert line["stored"] == STORED + house.good
    assert house.good - good == len(POISON)
    assert "Traceback" not in house.service.log
    assert house.service.log.count("identity mismatch") == 1
    assert house.influx is not None
    _as_it_should_be(house.influx, house.good)


def _as_it_should_be(influx: InfluxDatabase, good: int) -> None:
    """See in the database what was read: floats throughout, the last of two keys, no line of its own."""
    types = {row["fieldType"] for row in influx.query("SHOW FIELD KEYS FROM streetlight")}
    assert types == {"float"}
    measurements = {row["name"] for row in influx.query("SHOW MEASUREMENTS")}
    assert "inj" not in measurements
    rows = influx.query("SELECT * FROM streetlight WHERE device = 'lamp-0001'")
    power = {int(row["time"]) - T: row["power_w"] for row in rows}
    assert len(rows) == STORED
    assert {at: power[at] for at in (2, 3, 5, 6, 7, 8, 9)} == {2: 1, 3: 2, 5: 0, 6: 0, 7: None, 8: 12, 9: 12.25}
    assert {int(row["time"]) - T: row["suspect"] for row in rows}[4] == 1, "300 digits are a number, and none to trust"
    assert len(influx.query("SELECT power_w FROM streetlight WHERE device = 'lamp-0000'")) == good


def remaining(number: int) -> bytes:
    out = b""
    while True:
        number, part = divmod(number, 128)
        out += bytes([part | (128 if number else 0)])
        if not number:
            return out


def raw_publish(topic: bytes, payload: bytes = b"{}") -> bytes:
    """Return a PUBLISH of QoS 0 whose topic is any bytes."""
    body = len(topic).to_bytes(2, "big") + topic + b"\0" + payload
    return b"\x30" + remaining(len(body)) + body


LEVEL = "lamplighter/v1/poison/streetlight/{}/up"
# Bytes of a topic, and whether the broker lets it through to the house.
TOPICS: dict[str, tuple[bytes, bool]] = {
    "bad UTF-8": (LEVEL.encode().replace(b"{}", b"lamp\xff\xfe"), False),
    "NUL": (LEVEL.format("lamp\0").encode(), False),
    "half a surrogate pair": (LEVEL.encode().replace(b"{}", b"lamp\xed\xa0\x80"), False),
    "a wildcard": (LEVEL.format("+").encode(), False),
    "all of it": (b"lamplighter/v1/poison/#", False),
    "emoji": (LEVEL.format("lamp-💡").encode(), True),
    "right to left": (LEVEL.format("lamp-\u202e1000").encode(), True),
    "arabic digits": (LEVEL.format("lamp-٠٠٠١").encode(), True),
    "65 kB": (LEVEL.format("l" * 65_400).encode(), True),
    "a line of its own": (LEVEL.format("lamp-0001 power_w=1 1,x=y\\").encode(), True),
    "capitals": (LEVEL.format("LAMP-0001").encode(), True),
    "a blank behind": (LEVEL.format("lamp-0001 ").encode(), True),
    "nobody": (LEVEL.format("lamp-9999").encode(), True),
    "no kind of ours": (LEVEL.format("lamp-0001").replace("streetlight", "ship").encode(), True),
}


@pytest.mark.influxdb
def test_topics_of_any_bytes_reach_no_device_and_stop_nobody(shipped: House) -> None:
    house = shipped
    stored = house.balanced()["streetlight"]["stored"] - house.good
    for topic, passes in TOPICS.values():
        with socket.create_connection(("127.0.0.1", house.port), timeout=20) as client:
            client.sendall(mqtt5.ConnectPacket("raw", clean_start=True).write())
            assert client.recv(100)[:1] == b"\x20"
            client.sendall(raw_publish(topic, b'{"ts":%d}' % T) + mqtt5.DisconnectPacket().write())
            with contextlib.suppress(ConnectionResetError):
                while client.recv(4096):
                    pass  # until the broker has read all of it and hung up
        house.sent += passes
        house.good_one()
    lines = house.balanced()
    rows = house.rows()
    expected = {topic.decode() for topic, passes in TOPICS.values() if passes}
    rows = [row for row in rows if row.payload == b'{"ts":%d}' % T]
    assert {row.topic for row in rows} == expected
    reasons = {row.topic.split("/")[4]: row.reason for row in rows}
    assert reasons.pop("lamp-9999") == "unknown_device"
    assert reasons.pop("lamp-0001") == "kind"
    assert set(reasons.values()) == {"topic"}
    assert lines["streetlight"]["stored"] - house.good == stored
    assert len(rows) == len(expected)
    assert "Traceback" not in house.service.log


@pytest.mark.influxdb
def test_ten_megabytes_and_an_announced_quarter_of_a_gigabyte_stop_nobody(shipped: House) -> None:
    house = shipped
    others = house.balanced()["streetlight"]["received"] - house.good
    memory = house.memory()
    huge = reading(f',"x":"{"y" * 10_000_000}"')
    announced = b"\x32\xff\xff\xff\x7f\x00\x04topi"
    for data in (raw_publish(up(CITY, "streetlight", "lamp-0001").encode(), huge), announced):
        with socket.create_connection(("127.0.0.1", house.port), timeout=20) as client:
            client.sendall(mqtt5.ConnectPacket("huge", clean_start=True).write())
            assert client.recv(100)[:1] == b"\x20"
            _hung_up(client, data)
        house.good_one()
    assert house.memory() - memory < MEMORY
    assert house.balanced()["streetlight"]["received"] - house.good == others


def _hung_up(client: socket.socket, data: bytes) -> None:
    """Send until the broker hangs up."""
    for _ in range(200):
        try:
            client.sendall(data)
        except OSError:
            return
        time.sleep(0.05)
    raise AssertionError("the broker takes it all")


def test_a_broker_without_a_limit_keeps_ten_megabytes_from_us_because_we_said_how_much_we_take(
    start_mosquitto: MosquittoFactory, house_on: Callable[..., House]
) -> None:
    house = house_on(start_mosquitto())
    house.good_one()
    memory = house.memory()
    with Publisher(house.port) as publisher:
        publisher.publish([(up(CITY, "streetlight", "lamp-0001"), reading(f',"x":"{"y" * 10_000_000}"'))])
    house.good_one()
    assert house.memory() - memory < MEMORY
    assert house.balanced()["streetlight"]["received"] == house.good


@pytest.mark.influxdb
def test_everything_ten_times_through_a_restart_is_one_point_each(
    start_mosquitto: MosquittoFactory, influx: InfluxDatabase, house_on: Callable[..., House]
) -> None:
    house = house_on(start_mosquitto(), influx)
    messages = [
        (
            up(CITY, "streetlight", lamp.id),
            json.dumps([{"ts": T + 1000 * n + k, "power_w": n} for k in range(3)]).encode(),
        )
        for n in range(20)
        for lamp in LAMPS
    ]
    readings = 3 * len(messages)
    with Publisher(house.port) as publisher:
        publisher.publish([one for one in messages for _ in range(4)])
        publisher.publish(messages)
    house.sent = 5 * readings
    house.counted()
    house.service.close()  # killed
    house.service.start()
    house.service.connected()
    again = [
        mqtt5.PublishPacket(topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=number, duplicate=True).write()
        for number, (topic, payload) in enumerate(messages * 5, 1)
    ]
    with Publisher(house.port) as publisher:
        publisher.send_raw(b"".join(again))
        for _ in again:
            assert isinstance(publisher._packet(), mqtt5.PubAckPacket)
    house.sent = 10 * readings
    house.counted()
    line = house.balanced()["streetlight"]
    assert (line["stored"], line["quarantined"]) == (readings, 0)
    assert line["received"] >= 10 * readings, "what was not acknowledged when it was killed comes once more"
    assert influx.count("streetlight", "power_w") == readings
