"""A device with a connection of its own, one of thousands: a bare socket that is looked at when its turn comes.

No event loop watches these sockets. A device has one message under way at most, and its answer is read before its next
one is sent; that costs two system calls a message and next to nothing else.
"""

from __future__ import annotations

import asyncio
import socket

import mqtt5

from simulators.load_lanes import REFUSED, Door, Tally

_DONE = b"\x40\x02\x00\x01"  # PUBACK of packet 1, the only one that a solo has under way (MQTT 5, 3.4)
_ANSWER_BYTES = 512


class Solo:
    """One device's connection.

    Args:
        tally: where everything is counted, shared by all.
        qos: of what is sent.
        group, row: which device.

    Attributes:
        busy: whether a QoS 1 message has no answer yet.
        lost: done when the connection is over.
    """

    __slots__ = ("_rest", "_socket", "busy", "group", "lost", "qos", "row", "tally")

    def __init__(self, tally: Tally, qos: int, group: int, row: int) -> None:
        self.tally, self.qos, self.group, self.row = tally, qos, group, row
        self.busy = False
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rest = b""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    async def open(self, address: tuple[str, int], door: Door) -> None:
        """Connect and introduce ourselves.

        Raises:
            OSError: the broker cannot be reached or refuses.
        """
        self._socket.setblocking(False)  # noqa: FBT003 - the socket's own way
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._introduce(address, door)
        except BaseException:
            self._socket.close()
            raise
        self.tally.connects += 1

    async def _introduce(self, address: tuple[str, int], door: Door) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, address)
        await loop.sock_sendall(self._socket, door.connect())
        data, packet = b"", None
        while packet is None:
            more = await loop.sock_recv(self._socket, _ANSWER_BYTES)
            if not more:
                raise ConnectionError("the broker closed the connection")
            data += more
            packet = _packet(data)
        if not isinstance(packet, mqtt5.ConnAckPacket) or int(packet.reason_code):
            raise ConnectionError(f"the broker refuses the connection: {packet}")

    def free(self) -> bool:
        """Return whether a message may be sent: the one before is answered and the socket has taken all of it."""
        if self.lost.done() or (self._rest and not self._push(self._rest)):
            return False
        return not self.busy or self._answered()

    def _answered(self) -> bool:
        try:
            data = self._socket.recv(_ANSWER_BYTES)
        except BlockingIOError:
            return False
        except OSError as trouble:
            self._over(str(trouble))
            return False
        if data == _DONE:
            self.tally.accepted[self.group] += 1
            self.busy = False
            return True
        return self._understood(data)

    def send(self, frame: memoryview) -> None:
        """Send one frame; what a broken connection does not take stays unanswered."""
        self.tally.sent[self.group] += 1
        self.busy = self.qos > 0
        if not self.qos:
            self.tally.accepted[self.group] += 1
        self._push(frame)

    def leave(self) -> None:
        """Say goodbye and hang up; what is under way stays unanswered."""
        if not self.lost.done():
            self._push(mqtt5.DisconnectPacket().write())
            self._end()

    def _push(self, data: bytes | memoryview) -> bool:
        """Give the socket what it takes now; return whether that was all."""
        try:
            taken = self._socket.send(data)
        except BlockingIOError:
            taken = 0
        except OSError as trouble:
            self._over(str(trouble))
            return False
        self._rest = bytes(data[taken:])
        return not self._rest

    def _understood(self, data: bytes) -> bool:
        packet = _packet(data)
        if not isinstance(packet, mqtt5.PubAckPacket):
            said = "the broker closed the connection" if not data else f"the broker says {type(packet).__name__}"
            self._over(said)
            return False
        self.busy = False
        if int(packet.reason_code) >= REFUSED:
            self.tally.refused[self.group] += 1
            self.tally.trouble = f"a message was refused: {packet.reason_code.name.lower().replace('_', ' ')}"
        else:
            self.tally.accepted[self.group] += 1
        return True

    def _over(self, why: str) -> None:
        self.tally.losses += 1
        self.tally.trouble = why
        self._end()

    def _end(self) -> None:
        if self.busy:
            self.tally.unanswered[self.group] += 1
            self.busy = False
        self._socket.close()
        self.lost.set_result(None)


def _packet(data: bytes) -> mqtt5.Packet | None:
    """Return the packet that the broker sent, None while it is not whole or no packet at all."""
    try:
        return mqtt5.read(memoryview(data))[0]
    except (IndexError, ValueError):
        return None
