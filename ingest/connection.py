"""One connection to the broker: bytes in, deliveries out, acknowledgements and pings back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import cast

import mqtt5
import numpy as np
from mqtt5 import (
    ConnAckPacket,
    ConnAckReasonCode,
    DisconnectPacket,
    DisconnectReasonCode,
    PublishPacket,
    SubAckPacket,
)

from ingest import frames, hello
from ingest.broker_says import ROOT, BrokerSays
from ingest.inbox import QUIET_S, Delivery, Inbox
from ingest.options import BrokerOptions, BrokerTroubleError
from ingest.reading import NAP_BYTES, Buffer, Pace

WATCH_OF_KEEP_ALIVE = 0.2  # how often the line is looked at, in keep-alives
SILENT_OF_KEEP_ALIVE = 1.25  # silence that ends it; with the look above at most 1.5 keep-alives
GOODBYE_S = 2.0  # for the broker to read what we sent last

_PUBACK = 0x4002  # fixed head of a PUBACK without reason: success (MQTT 5, 3.4.2.1)
_new = tuple.__new__


class Connection(asyncio.BufferedProtocol):
    """Speaks MQTT 5 over one transport; ``lost`` resolves when it is over, and says why.

    Args:
        filters: topic filters, subscribed at QoS 1 on every connection, also on a resumed session: brokers have
            been known to lose subscriptions at a restart (Mosquitto before 2.0.12).
        number: of this connection; stands in every Delivery.
        counters: shared with the session.
        says: what the broker says of itself; shared with the session.
        on_welcome: called when the broker has let us in, ahead of the first delivery.

    Attributes:
        welcomed: the broker's CONNACK, once it said yes. Deliveries of a resumed session follow at once.
        subscribed: done when the broker has answered SUBSCRIBE. That answer may stand behind deliveries that have to
            be fetched and acknowledged first: rumqttd holds it back while its window is full.
    """

    def __init__(
        self,
        options: BrokerOptions,
        filters: Sequence[str],
        number: int,
        inbox: Inbox,
        counters: Counter[str],
        says: BrokerSays | None = None,
        on_welcome: Callable[[ConnAckPacket], None] = lambda _: None,
    ) -> None:
        self.options = options
        self.filters = filters
        self.number = number
        self.inbox = inbox
        self.counters = counters
        self.says = says if says is not None else BrokerSays()
        self.on_welcome = on_welcome
        self._loop = asyncio.get_running_loop()
        self.welcomed: asyncio.Future[ConnAckPacket] = self._loop.create_future()
        self.subscribed: asyncio.Future[None] = self._loop.create_future()
        self.lost: asyncio.Future[BrokerTroubleError] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._buffer = Buffer()
        self._pace = Pace(self._loop.time())
        self._paused = False
        self._keep_alive_s = options.keep_alive_s
        self._spoke = self._loop.time()
        self._watch: asyncio.TimerHandle | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce ourselves."""
        self._transport = cast("asyncio.Transport", transport)
        self._send(hello.connect(self.options))
        self._watch = self._loop.call_later(self._keep_alive_s * WATCH_OF_KEEP_ALIVE, self._look)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the buffer's size is ours to choose
        """Give the place where the next bytes go."""
        return self._buffer.free()

    def buffer_updated(self, nbytes: int) -> None:
        """Read what came; after little, let the socket gather for a moment."""
        self._buffer.filled(nbytes)
        self.counters["bytes"] += nbytes
        nap_s = self._pace.nap(self._loop.time(), self._read())
        self.inbox.quiet_s = max(QUIET_S, 1.25 * nap_s)
        if nbytes < NAP_BYTES and not self._paused and self.subscribed.done() and self._transport is not None:
            self._transport.pause_reading()
            self._loop.call_later(nap_s, self._wake)

    def connection_lost(self, trouble: Exception | None) -> None:
        """Say that it is over."""
        if self._watch is not None:
            self._watch.cancel()
        working = self.subscribed.done()
        if not self.welcomed.done():
            words = "the broker closed the connection before it answered; this port may want TLS or not speak MQTT 5"
        else:
            words = "the connection was lost"
        words = f"{words}: {trouble}" if trouble else words
        self._over(BrokerTroubleError(words, unexplained=working and trouble is None))

    # What the session calls.

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Acknowledge QoS 1 messages in this order, in one write."""
        packets = np.empty((len(packet_ids), 2), dtype=">u2")
        packets[:, 0] = _PUBACK
        packets[:, 1] = packet_ids
        self._send(packets.tobytes())

    def leave(self) -> None:
        """Say goodbye and wait a little for the broker to hang up: then it has read every acknowledgement."""
        self._send(DisconnectPacket().write())
        self._loop.call_later(GOODBYE_S, self.close)

    def close(self) -> None:
        """Hang up; the broker keeps our queue."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()

    def room(self) -> None:
        """Read on when the inbox has room again."""
        if self._paused and not self.over and self.inbox.room > 0:
            self._paused = False
            self._pace.heard = self._loop.time()
            self._read()
            if not self._paused and self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    @property
    def over(self) -> bool:
        """Whether the connection has ended."""
        return self.lost.done()

    # Reading.

    def _read(self) -> int:
        """Turn whole packets into deliveries until the bytes or the inbox's room are used up; return how many."""
        unread, at = self._buffer.unread(), 0
        end = len(unread)
        number, room, read = self.number, self.inbox.room, mqtt5.read
        fresh: list[Delivery] = []
        append = fresh.append
        while at < end:
            if room <= 0:
                self._pause()
                break
            try:
                packet, length = read(unread[at:])
            except IndexError:
                self._check_unfinished(unread[at:])
                break
            except BaseException as trouble:
                if not frames.is_codec_trouble(trouble):
                    raise
                at += self._rescue(unread[at:], trouble, fresh)
                room -= 1
                continue
            at += length
            if type(packet) is PublishPacket:
                packet_id = packet.packet_id
                if packet_id is None and packet.topic.startswith(ROOT):
                    self.says.heard(packet.topic, packet.payload)
                else:
                    append(_new(Delivery, (packet.topic, packet.payload, packet_id, number)))
                    room -= 1
            else:
                self._control(packet)
            if self.lost.done():
                break
        self._buffer.read(at)
        if fresh:
            self.counters["messages"] += len(fresh)
            self.inbox.put(fresh)
        return len(fresh)

    def _control(self, packet: mqtt5.Packet) -> None:
        if isinstance(packet, ConnAckPacket):
            self._welcomed(packet)
        elif isinstance(packet, SubAckPacket):
            self._answered(packet)
        elif isinstance(packet, DisconnectPacket):
            self._over(hello.dismissed(self.options, packet))

    def _welcomed(self, packet: ConnAckPacket) -> None:
        if packet.reason_code is not ConnAckReasonCode.SUCCESS:
            self._over(BrokerTroubleError(hello.refused(self.options, packet)))
            return
        if self.welcomed.done():
            self._malformed("a second CONNACK")
            return
        self.welcomed.set_result(packet)
        self.on_welcome(packet)
        if packet.server_keep_alive:
            self._keep_alive_s = packet.server_keep_alive
        if packet.session_present:
            self.counters["forgotten"] += self.inbox.forget()
        self._send(hello.subscribe(self.filters))

    def _answered(self, packet: SubAckPacket) -> None:
        if packet.packet_id == hello.COUNTS:
            self.says.answered()
            return
        words = hello.not_granted(self.filters, packet)
        if words:
            self._over(BrokerTroubleError(words))
        elif not self.subscribed.done():
            self.subscribed.set_result(None)
            if self.options.counts and self.says.ask():
                self._send(hello.ask_counts())

    def _check_unfinished(self, rest: memoryview) -> None:
        """Tell a packet that is still on its way from one that is broken or larger than we allowed."""
        length = frames.length(rest)
        if length is None:
            return
        if length <= len(rest):
            self._malformed("it ends before its contents")
        elif length > self.options.packet_bytes_max:
            self._malformed(f"{length} bytes; at most {self.options.packet_bytes_max} were allowed")

    def _rescue(self, rest: memoryview, trouble: BaseException, fresh: list[Delivery]) -> int:
        """Deliver a PUBLISH that the codec cannot read (a topic that is not UTF-8, say), so that it is kept apart."""
        found = frames.publish(rest)
        if found is None:
            self._malformed(str(trouble))
            return len(rest)
        topic, payload, packet_id, length = found
        fresh.append(Delivery(topic, payload, packet_id, self.number))
        self.counters["misshapen"] += 1
        return length

    def _malformed(self, words: str) -> None:
        self._send(DisconnectPacket(reason_code=DisconnectReasonCode.MALFORMED_PACKET).write())
        self._over(BrokerTroubleError(f"the broker sent a packet that cannot be read: {words}"))

    # Line and credit.

    def _wake(self) -> None:
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
            self.counters["pauses"] += 1

    def _look(self) -> None:
        """Ping before the keep-alive ends; end a line on which nothing comes back."""
        now = self._loop.time()
        silent_s = 0.0 if self._paused else now - self._pace.heard
        if silent_s >= self._keep_alive_s * SILENT_OF_KEEP_ALIVE:
            self._over(BrokerTroubleError(f"nothing heard from the broker for {silent_s:.1f} s"))
            return
        if max(silent_s, now - self._spoke) >= self._keep_alive_s / 2:
            self._send(mqtt5.PingReqPacket().write())
            self.counters["pings"] += 1
        self._watch = self._loop.call_later(self._keep_alive_s * WATCH_OF_KEEP_ALIVE, self._look)

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._spoke = self._loop.time()
            self._transport.write(data)

    def _over(self, trouble: BrokerTroubleError) -> None:
        if not self.lost.done():
            self.lost.set_result(trouble)
            self.says.ended()
        for answer in (self.welcomed, self.subscribed):
            if not answer.done():
                answer.cancel()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.abort()
