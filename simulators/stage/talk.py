"""The staged broker's side of one connection: packets in, packets out, and what they mean for the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mqtt5
from mqtt5 import (
    ConnAckPacket,
    ConnectPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    PingReqPacket,
    PingRespPacket,
    PubAckPacket,
    PublishPacket,
    QoS,
    SubAckPacket,
    SubAckReasonCode,
    SubscribePacket,
)

from simulators.stage.kept import Kept, Message
from simulators.stage.wire import Line

if TYPE_CHECKING:
    from simulators.stage.broker import StagedBroker

SILENT_OF_KEEP_ALIVE = 1.5  # after which a broker gives a client up (MQTT 5, 3.1.2.10)


class Talk:
    """The broker's side of one connection."""

    def __init__(self, broker: StagedBroker, line: Line, number: int) -> None:
        self.broker, self.line, self.number = broker, line, number
        self.ready = False
        self.window = 0
        self._new = False  # the house was told that there is no session
        self._unread = b""
        self._over = False
        self._keep_alive_s = 0.0
        self._heard_s = 0.0

    def hear(self, data: bytes) -> None:
        """Read packets."""
        if self._over:
            return
        self._heard_s = self.broker.loop.now_s
        self._unread += data
        while self._unread:
            try:
                packet, length = mqtt5.read(memoryview(self._unread))
            except IndexError:
                return
            self._unread = self._unread[length:]
            self._take(packet)
            if self._over:
                return

    def over(self) -> None:
        """Let the connection be over; the session stays."""
        self._over = True
        self.ready = False
        if self.broker.talk is self:
            self.broker.talk = self.broker.line = None
            self.broker.trace.note("broker: connection over")

    def _take(self, packet: mqtt5.Packet) -> None:
        broker = self.broker
        loop = broker.loop
        late_s = broker.weather.answer_s
        if isinstance(packet, ConnectPacket):
            loop.call_later(late_s, self._welcome, packet)
        elif isinstance(packet, SubscribePacket):
            loop.call_later(late_s, self._subscribe, packet)
        elif isinstance(packet, PubAckPacket):
            self._acknowledged(packet.packet_id)
        elif isinstance(packet, PingReqPacket):
            self.line.send(PingRespPacket().write())
        elif isinstance(packet, DisconnectPacket):
            self.line.hang_up()
            self.over()

    def _welcome(self, packet: ConnectPacket) -> None:
        broker = self.broker
        if self._over or not broker.up or self.number < broker.newest:  # a broker reads what came first first
            return
        broker.newest = self.number
        old = broker.talk
        if old is not None and old is not self:
            old.line.send(DisconnectPacket(reason_code=DisconnectReasonCode.SESSION_TAKEN_OVER).write())
            old.line.hang_up()
            old.over()
        present = broker.kept is not None and not packet.clean_start
        if not present:
            if broker.kept is not None:
                for number in sorted(broker.kept.messages()):
                    broker.lose(broker.messages[number], "the house began anew")
            broker.kept = Kept()
            self._new = True
        assert broker.kept is not None  # noqa: S101 - made above
        broker.talk, broker.line = self, self.line
        self.window = min(broker.window, packet.receive_max)
        self.ready = True
        self._keep_alive_s = packet.keep_alive
        self._heard_s = broker.loop.now_s
        self._watch()
        broker.trace.note(f"welcome, session {'present' if present else 'new'}")
        self.line.send(ConnAckPacket(session_present=present).write())
        for number, message in broker.kept.under_way.items():
            self.line.send(publish_packet(number, message, again=True))
        broker.pump()

    def _subscribe(self, packet: SubscribePacket) -> None:
        if self._over or self.broker.kept is None:
            return
        if any(not one.pattern.startswith("$SYS/") for one in packet.topic_filters):
            self.broker.kept.subscribed = True
            if self._new:
                self._new = False
                self.broker.on_new_session()
        codes = [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE] * len(packet.topic_filters)
        self.line.send(SubAckPacket(packet.packet_id, codes).write())
        self.broker.trace.note("subscribed")

    def _acknowledged(self, packet_id: int) -> None:
        broker = self.broker
        kept = broker.kept
        if kept is None or (message := kept.under_way.pop(packet_id, None)) is None:
            return
        broker.acknowledged.add(message.number)
        broker.trace.note(f"acknowledged {message.number}")
        broker.on_acknowledged(message)
        broker.pump()

    def _watch(self) -> None:
        if self._over or not self._keep_alive_s:
            return
        loop = self.broker.loop
        if loop.now_s - self._heard_s > SILENT_OF_KEEP_ALIVE * self._keep_alive_s:
            self.broker.trace.note("broker hears nothing")
            self.line.hang_up()
            self.over()
            return
        loop.call_later(self._keep_alive_s / 2, self._watch)


def publish_packet(number: int, message: Message, *, again: bool) -> bytes:
    """Return a message as the bytes of a PUBLISH."""
    packet = PublishPacket(message.topic, message.payload, qos=QoS.AT_LEAST_ONCE, packet_id=number, duplicate=again)
    return packet.write()
