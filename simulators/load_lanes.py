"""A connection that carries many virtual devices: bytes out as fast as the broker takes them, its answers counted.

It keeps the broker's Receive Maximum and stops writing while the socket is full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import mqtt5
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_ACK = np.frombuffer(b"\x40\x02", np.uint16)[0]  # head of a PUBACK that says success (MQTT 5, 3.4.2.1)
REFUSED = 0x80  # reason codes from here on are refusals
KEEP_ALIVE_S = 600
NAP_WINDOW = 1000  # a broker that takes so many unanswered messages need not be heard at once
LONGEST_ANSWER = 1 << 16  # bytes of one packet of the broker; a PUBACK has four to some hundred


@dataclass(slots=True)
class Tally:
    """What was sent and what became of it, by group of devices.

    Attributes:
        sent, accepted, refused: (groups,) messages; accepted and refused as the broker's PUBACK says. QoS 0 has no
            answer: what was handed to the socket counts as accepted when it has left.
        unanswered: (groups,) sent on a connection that broke before the answer came; the broker may have them.
        connects, losses: connections made, and broken other than by us.
        trouble: why the latest broke or was refused.
        full: times that a connection had more to send than the broker's window or the socket took.
    """

    groups: int
    sent: Ints = field(init=False)
    accepted: Ints = field(init=False)
    refused: Ints = field(init=False)
    unanswered: Ints = field(init=False)
    connects: int = 0
    losses: int = 0
    trouble: str = ""
    full: int = 0

    def __post_init__(self) -> None:
        self.sent, self.accepted, self.refused, self.unanswered = (np.zeros(self.groups, np.int64) for _ in range(4))


@dataclass(frozen=True, slots=True)
class Door:
    """How a connection introduces itself."""

    client_id: str
    username: str | None = None
    password: str | None = None

    def connect(self) -> bytes:
        """Return the CONNECT of a new session."""
        secret = None if self.password is None else self.password.encode()
        return mqtt5.ConnectPacket(
            self.client_id, username=self.username, password=secret, clean_start=True, keep_alive=KEEP_ALIVE_S
        ).write()


class Lane(asyncio.Protocol):
    """One connection to the broker.

    Args:
        door: as whom.
        tally: where everything is counted, shared by all lanes.
        qos: of what is sent.
        room_again: called when there is room to send again.

    Attributes:
        welcomed: done when the broker lets us in, with its Receive Maximum; an error where it does not.
        lost: done when the connection is over.
        window: the broker's Receive Maximum, 0 before it has told.
        under_way: QoS 1 messages without an answer.
    """

    def __init__(self, door: Door, tally: Tally, qos: int, room_again: Callable[[], None] | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.door, self.tally, self.qos = door, tally, qos
        self.welcomed: asyncio.Future[int] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.under_way = 0
        self._room_again = room_again
        self.window = 0
        self._blocked = False
        self._closing = self._napping = False
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._of = np.zeros(1 << 16 if qos else 0, np.uint8)  # group + 1 of each packet id under way
        self._next = 1

    @property
    def room(self) -> int:
        """Return how many messages may be sent now."""
        if self._blocked or self._transport is None or self.lost.done():
            return 0
        return self.window - self.under_way if self.qos else self.window

    def packet_ids(self, count: int) -> Ints:
        """Return the next free packet ids, fewer than ``count`` where the next one is still under way."""
        ids = (self._next - 1 + np.arange(count)) % 0xFFFF + 1
        if not self.qos:
            return ids
        taken = self._of[ids] != 0
        return ids[: int(taken.argmax())] if taken.any() else ids

    def send(self, data: bytes, group: int, packet_ids: Ints) -> None:
        """Send whole frames of one group; QoS 1 frames carry ``packet_ids``."""
        assert self._transport is not None  # noqa: S101 - room was asked for
        count = len(packet_ids)
        self.tally.sent[group] += count
        if self.qos:
            self._of[packet_ids] = group + 1
            self._next = int(packet_ids[-1]) % 0xFFFF + 1
            self.under_way += count
        else:
            self.tally.accepted[group] += count
        self._transport.write(data)

    def leave(self) -> None:
        """Say goodbye; what is under way stays unanswered."""
        self._closing = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(mqtt5.DisconnectPacket().write())
            self._transport.close()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce ourselves."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self.door.connect())

    def data_received(self, data: bytes) -> None:
        """Count answers: most often a run of plain PUBACKs, four bytes each."""
        if self._unread:
            data = self._unread + data
            self._unread = b""
        whole = len(data) & ~3
        words = np.frombuffer(data, np.uint16, whole // 2).reshape(-1, 2)
        if self.qos and self.window and bool((words[:, 0] == _ACK).all()):
            self._answered(words[:, 1].byteswap(), refused=False)
            self._unread = data[whole:]
        else:
            self._slowly(memoryview(data))
        if self.window >= NAP_WINDOW and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._napping = True
        if self._room_again is not None and not self._blocked:
            self._room_again()

    def wake(self) -> None:
        """Read answers again; called at every tick, so that they are read by the hundred."""
        if self._napping and self._transport is not None and not self._transport.is_closing():
            self._napping = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Stop until the socket has taken what it was given."""
        self._blocked = True
        self.tally.full += 1

    def resume_writing(self) -> None:
        """Go on."""
        self._blocked = False
        if self._room_again is not None:
            self._room_again()

    def connection_lost(self, trouble: Exception | None) -> None:
        """Write off what was under way."""
        if self.qos:
            self.tally.unanswered += np.bincount(self._of, minlength=self.tally.groups + 1)[1:]
            self._of[:] = 0
        self.under_way = 0
        if not self._closing:
            self.tally.losses += 1
            self.tally.trouble = str(trouble or "the broker closed the connection")
        if not self.welcomed.done():
            self.welcomed.set_exception(ConnectionError(self.tally.trouble))
        if not self.lost.done():
            self.lost.set_result(None)

    # Answers.

    def _answered(self, packet_ids: npt.NDArray[np.integer], *, refused: bool) -> None:
        group = self._of[packet_ids]
        counts = np.bincount(group, minlength=self.tally.groups + 1)
        self._of[packet_ids] = 0
        self.under_way -= len(group) - int(counts[0])  # an id that is not under way is nobody's
        if refused:
            self.tally.refused += counts[1:]
        else:
            self.tally.accepted += counts[1:]

    def _slowly(self, data: memoryview) -> None:
        at = 0
        while at < len(data):
            try:
                packet, length = mqtt5.read(data[at:])
            except IndexError:
                break
            at += length
            if isinstance(packet, mqtt5.PubAckPacket):
                code = int(packet.reason_code)
                if code >= REFUSED:
                    self.tally.trouble = f"a message was refused: {packet.reason_code.name.lower().replace('_', ' ')}"
                self._answered(np.array([packet.packet_id]), refused=code >= REFUSED)
            else:
                self._control(packet)
        self._unread = bytes(data[at:])
        if len(self._unread) > LONGEST_ANSWER:
            self._over("the broker's answer has no end")

    def _control(self, packet: mqtt5.Packet) -> None:
        if isinstance(packet, mqtt5.ConnAckPacket) and not self.welcomed.done():
            if int(packet.reason_code):
                self._over(f"the broker refuses the connection: {packet.reason_code.name.lower().replace('_', ' ')}")
                return
            self.window = packet.receive_max
            self.tally.connects += 1
            self.welcomed.set_result(self.window)
        elif isinstance(packet, mqtt5.DisconnectPacket):
            self._over(f"the broker ended it: {packet.reason_code.name.lower().replace('_', ' ')}")

    def _over(self, why: str) -> None:
        self.tally.trouble = why
        if not self.welcomed.done():
            self.welcomed.set_exception(ConnectionError(why))
        if self._transport is not None:
            self._transport.abort()
