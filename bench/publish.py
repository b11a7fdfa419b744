"""Publish many JSON messages of one or several readings quickly over one raw socket: MQTT 5, QoS 1.

    python -m bench.publish --port 1883 --count 100000

prints one JSON line: {"messages": …, "refused": …, "cpu_s": …, "wall_s": …}.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import socket
import time
from collections.abc import Iterator, Sequence

import mqtt5

from devices.topics import up

START_MS = 1_760_000_000_000
STEP_MS = 1000  # each further reading of a device is so much younger
WINDOW = 2000  # messages that wait for the broker's answer
GROUP = 200


def device_ids(count: int, prefix: str = "lamp") -> list[str]:
    """Return the ids that the benches use: lamp-000000, lamp-000001 …"""
    return [f"{prefix}-{number:06d}" for number in range(count)]


def lamp_payload(number: int, ts_ms: int) -> bytes:
    """Return what a lamp controller reports, about 150 bytes."""
    power = 60 + number % 400 / 10
    volt = 225 + number % 90 / 10
    return (
        f'{{"ts":{ts_ms},"power_w":{power:.1f},"voltage_v":{volt:.1f},"current_a":{power / volt:.3f},'
        f'"power_factor":0.95,"dim_percent":100,"driver_temp_c":{20 + number % 150 / 10:.1f},"lamp_failure":false}}'
    ).encode()


def messages(
    count: int, city: str, ids: Sequence[str], start_ms: int = START_MS, readings: int = 1
) -> Iterator[tuple[str, bytes]]:
    """Yield topic and payload of ``count`` messages, device after device, round after round.

    With several ``readings`` a message it is a list, as a concentrator sends it.
    """
    topics = [up(city, "streetlight", each) for each in ids]
    for number in range(count):
        turn, which = divmod(number, len(topics))
        if readings == 1:
            yield topics[which], lamp_payload(number, start_ms + turn * STEP_MS)
            continue
        first_ms = start_ms + turn * readings * STEP_MS
        each = (lamp_payload(number + k, first_ms + k * STEP_MS) for k in range(readings))
        yield topics[which], b"[" + b",".join(each) + b"]"


class Line:
    """One blocking connection with many messages under way."""

    def __init__(self, host: str, port: int, client_id: str, username: str | None, password: str | None) -> None:
        self.socket = socket.create_connection((host, port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        secret = None if password is None else password.encode()
        connect = mqtt5.ConnectPacket(client_id, username=username, password=secret, clean_start=True, keep_alive=600)
        self.socket.sendall(connect.write())
        self._unread = b""
        self.refused = 0
        while not (welcome := self._packets()):
            self._receive()
        if not isinstance(welcome[0], mqtt5.ConnAckPacket) or int(welcome[0].reason_code):
            raise SystemExit(f"the broker refuses: {welcome[0]}")
        self.window = min(WINDOW, welcome[0].receive_max)
        self.under_way = 0

    def send(self, data: bytes, count: int) -> None:
        """Send packets, first waiting for answers while the window is full; answers are read meanwhile."""
        while self.under_way + count > self.window:
            self._answers()
        self.under_way += count
        view = memoryview(data)
        while view:
            readable, writable, _ = select.select([self.socket], [self.socket], [], 30)
            if readable:
                self._answers()
            if writable:
                view = view[self.socket.send(view) :]

    def finish(self) -> None:
        """Wait for the last answers and hang up."""
        while self.under_way:
            self._answers()
        self.socket.sendall(mqtt5.DisconnectPacket().write())
        self.socket.close()

    def _answers(self) -> None:
        self._receive()
        for packet in self._packets():
            if isinstance(packet, mqtt5.PubAckPacket):
                self.under_way -= 1
                self.refused += int(packet.reason_code) >= 128
            else:
                raise SystemExit(f"the broker says: {packet}")

    def _receive(self) -> None:
        more = self.socket.recv(1 << 16)
        if not more:
            raise SystemExit("the broker closed the connection")
        self._unread += more

    def _packets(self) -> list[mqtt5.Packet]:
        found, view, at = [], memoryview(self._unread), 0
        while at < len(view):
            try:
                packet, length = mqtt5.read(view[at:])
            except IndexError:
                break
            found.append(packet)
            at += length
        self._unread = self._unread[at:]
        return found


def publish(line: Line, each: Iterator[tuple[str, bytes]], rate: float = 0.0) -> int:
    """Publish everything; ``rate`` messages a second, or as quickly as the broker takes them."""
    qos, began = mqtt5.QoS.AT_LEAST_ONCE, time.monotonic()
    group: list[bytes] = []
    group_size = max(1, min(GROUP, int(rate / 400))) if rate else GROUP
    sent = 0
    for number, (topic, payload) in enumerate(each):
        group.append(mqtt5.PublishPacket(topic, payload, qos=qos, packet_id=number % 65535 + 1).write())
        if len(group) == group_size:
            line.send(b"".join(group), len(group))
            sent += len(group)
            group.clear()
            if rate and (ahead_s := sent / rate - (time.monotonic() - began)) > 0:
                time.sleep(ahead_s)
    line.send(b"".join(group), len(group))
    return sent + len(group)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=100_000, help="messages")
    parser.add_argument("--city", default="bench")
    parser.add_argument("--devices", type=int, default=5000, help="lamps, named lamp-000000 and so on")
    parser.add_argument("--start-ms", type=int, default=START_MS, help="device time of the first round")
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second; 0 for as many as possible")
    parser.add_argument("--readings", type=int, default=1, help="readings in each message")
    parser.add_argument("--client-id", default="bench-publisher")
    parser.add_argument("--username")
    parser.add_argument("--password")
    given = parser.parse_args()
    line = Line(given.host, given.port, given.client_id, given.username, given.password)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    each = messages(given.count, given.city, device_ids(given.devices), given.start_ms, given.readings)
    count = publish(line, each, given.rate)
    line.finish()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    wall_s = time.monotonic() - began
    print(json.dumps({"messages": count, "refused": line.refused, "cpu_s": cpu_s, "wall_s": wall_s}))


if __name__ == "__main__":
    main()
