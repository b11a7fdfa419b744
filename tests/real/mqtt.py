"""Publishing to and listening at a real broker, in the plainest way, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence

import mqtt5

from ingest.session import BrokerOptions, Delivery, Session


class Publisher:
    """A blocking MQTT 5 client that publishes at QoS 1 and hears what the broker says to each message."""

    def __init__(
        self,
        port: int,
        client_id: str = "publisher",
        username: str | None = None,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket = plain if tls is None else tls.wrap_socket(plain, server_hostname="127.0.0.1")
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""
        secret = None if password is None else password.encode()
        hello = mqtt5.ConnectPacket(client_id, username=username, password=secret, clean_start=True, keep_alive=60)
        try:
            self._socket.sendall(hello.write())
            welcome = self._packet()
            assert isinstance(welcome, mqtt5.ConnAckPacket), welcome
            assert welcome.reason_code == 0, welcome
        except BaseException:
            self._socket.close()
            raise
        self._window = min(welcome.receive_max, 500)

    def publish(
        self, messages: Iterable[tuple[str, bytes]], qos: mqtt5.QoS = mqtt5.QoS.AT_LEAST_ONCE
    ) -> list[mqtt5.PubAckReasonCode]:
        """Publish and wait for every answer; the reason codes in order (none for QoS 0)."""
        waiting = list(messages)
        codes: list[mqtt5.PubAckReasonCode] = []
        for at in range(0, len(waiting), self._window):
            group = waiting[at : at + self._window]
            packets = [
                mqtt5.PublishPacket(
                    topic, payload, qos=qos, packet_id=number if qos is not mqtt5.QoS.AT_MOST_ONCE else None
                ).write()
                for number, (topic, payload) in enumerate(group, 1)
            ]
            self._socket.sendall(b"".join(packets))
            for _ in group if qos is not mqtt5.QoS.AT_MOST_ONCE else ():
                answer = self._packet()
                assert isinstance(answer, mqtt5.PubAckPacket), answer
                codes.append(answer.reason_code)
        return codes

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendall(mqtt5.DisconnectPacket().write())
        self._socket.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _packet(self) -> mqtt5.Packet:
        while True:
            try:
                packet, length = mqtt5.read(memoryview(self._unread))
            except IndexError:
                more = self._socket.recv(65536)
                assert more, "the broker closed the connection"
                self._unread += more
                continue
            self._unread = self._unread[length:]
            return packet


@contextlib.asynccontextmanager
async def running(options: BrokerOptions, *filters: str, connected: bool = True) -> AsyncIterator[Session]:
    """Run a session for the length of a block; waits until it is subscribed."""
    session = Session(options, filters)
    task = asyncio.create_task(session.run())
    try:
        if connected:
            await until(lambda: session.connected, task)
        yield session
    finally:
        session.close()
        await asyncio.wait_for(task, 10)


async def until(condition: object, task: asyncio.Task[None] | None = None, within_s: float = 20) -> None:
    """Wait until a condition holds; fails after ``within_s`` or when the task has ended."""
    assert callable(condition)
    async with asyncio.timeout(within_s):
        while not condition():
            if task is not None and task.done():
                task.result()
                raise AssertionError("the session's run ended by itself")
            await asyncio.sleep(0.005)


async def take(session: Session, count: int, *, acknowledge: bool = True, within_s: float = 20) -> list[Delivery]:
    """Gather at least ``count`` deliveries, acknowledging each group as it comes."""
    taken: list[Delivery] = []
    async with asyncio.timeout(within_s):
        while len(taken) < count:
            group = await session.gather()
            taken += group
            if acknowledge:
                session.acknowledge(group)
    return taken


async def nothing_more(session: Session, for_s: float = 0.3) -> None:
    """Assert that no delivery comes within ``for_s`` seconds."""
    with contextlib.suppress(TimeoutError):
        late = await asyncio.wait_for(session.gather(), for_s)
        raise AssertionError(f"{len(late)} more, the first: {late[0]}")


def payloads(deliveries: Sequence[Delivery]) -> list[bytes]:
    return [item.payload for item in deliveries]
