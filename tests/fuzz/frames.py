"""Any bytes from a broker: deliveries and an end with a stated reason, the same however the bytes are cut."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import mqtt5

from ingest import reading
from ingest.connection import Connection
from ingest.inbox import Delivery, Inbox
from ingest.options import BrokerOptions, BrokerTroubleError

OPTIONS = BrokerOptions(host="none", port=1, packet_bytes_max=1 << 16)
WELCOME = mqtt5.ConnAckPacket().write()
GRANTED = mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]).write()
OPENINGS = (b"", WELCOME, WELCOME + GRANTED)
os.environ["RUST_BACKTRACE"] = "0"  # a codec that panics would spend 50 ms on drawing where
_loop = asyncio.new_event_loop()
atexit.register(_loop.close)


class Wire(asyncio.Transport):
    """What a connection speaks into; keeps what was said and whether it was hung up."""

    def __init__(self) -> None:
        super().__init__()
        self.said = 0
        self.reading = True
        self.closed = False

    def write(self, data: Any) -> None:  # noqa: ANN401 - whatever a transport takes
        assert not self.closed, "something was said after hanging up"
        self.said += len(data)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


def check(data: bytes) -> None:
    """The first byte chooses how far the greeting has come, the second how the rest is cut."""
    data = bytes(data)
    opening, step = (OPENINGS[data[0] % 3], data[1]) if len(data) > 1 else (b"", 0)
    stream = opening + data[2:]
    whole, cut = fed(stream), fed(stream, 1 + step)
    assert cut == whole, "it matters how the bytes were cut"


def fed(stream: bytes, step: int | None = None) -> tuple[list[Delivery], str]:
    """Feed bytes, cut by ``step``, to a new connection; return what it delivered and why it ended, empty if not."""
    usual, reading.BUFFER_BYTES = reading.BUFFER_BYTES, 256  # so that it has to grow
    try:
        return _loop.run_until_complete(_fed([stream] if step is None else _pieces(stream, step)))
    finally:
        reading.BUFFER_BYTES = usual


async def _fed(pieces: Sequence[bytes] | Iterator[bytes]) -> tuple[list[Delivery], str]:
    inbox, wire = Inbox(10_000), Wire()
    connection = Connection(OPTIONS, ["a/#"], 1, inbox, Counter())
    connection.connection_made(wire)
    taken: list[Delivery] = []
    for piece in pieces:
        at = 0
        while at < len(piece) and not wire.closed:
            place = connection.get_buffer(-1)
            assert len(place) >= reading.BUFFER_BYTES // 4
            count = min(len(place), len(piece) - at)
            place[:count] = piece[at : at + count]
            connection.buffer_updated(count)
            at += count
        taken += inbox.items
        inbox.items.clear()
        connection.room()
    if connection._watch is not None:
        connection._watch.cancel()
    assert len(connection._buffer._bytes) <= 4 * OPTIONS.packet_bytes_max
    for delivery in taken:
        assert type(delivery.topic) is str
        assert type(delivery.payload) is bytes
        assert delivery.packet_id is None or 0 <= delivery.packet_id <= 0xFFFF
    if not connection.over:
        connection.welcomed.cancel()
        connection.subscribed.cancel()
        return taken, ""
    trouble = connection.lost.result()
    assert isinstance(trouble, BrokerTroubleError)
    assert str(trouble)
    assert wire.closed
    return taken, str(trouble)


def _pieces(stream: bytes, step: int) -> Iterator[bytes]:
    for at in range(0, len(stream), step):
        yield stream[at : at + step]
