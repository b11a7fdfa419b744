"""A staged MQTT 5 broker: what a house sees of a real one on its good and bad days, byte for byte.

It keeps one persistent session with a queue, a window of messages under way, redelivery and a queue limit. It knows
what it accepted, what it delivered and had acknowledged, and what it lost and why: the other side of the ledger.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

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

from simulators.stage.dice import Dice, Trace
from simulators.stage.loop import VirtualLoop
from simulators.stage.wire import Line

SILENT_OF_KEEP_ALIVE = 1.5  # after which a broker gives a client up (MQTT 5, 3.1.2.10)


@dataclass(frozen=True, slots=True)
class Message:
    """One message that the broker accepted; numbers ascend."""

    number: int
    topic: str
    payload: bytes


@dataclass
class Kept:
    """What the broker keeps for the house while it is away, and what it is delivering."""

    queue: deque[Message] = field(default_factory=deque)
    under_way: dict[int, Message] = field(default_factory=dict)
    next_id: int = 1
    subscribed: bool = False

    def copy(self) -> Kept:
        """Return what an autosave writes."""
        return Kept(deque(self.queue), dict(self.under_way), self.next_id, self.subscribed)

    def messages(self) -> set[int]:
        """Return the numbers of all messages kept."""
        return {message.number for message in (*self.queue, *self.under_way.values())}


@dataclass
class Weather:
    """How the network and the broker are just now.

    Attributes:
        refuses: connections are refused.
        hangs: connections are taken and never answered.
        answer_s: how late CONNACK and SUBACK come, seconds.
    """

    refuses: bool = False
    hangs: bool = False
    answer_s: float = 0.0


class StagedBroker:
    """See the module.

    Args:
        loop, dice, trace: the stage's.
        queue_limit: messages queued for an absent house; what comes beyond is dropped, as Mosquitto does.
        window: messages under way at most, also where the house would allow more.

    Attributes:
        up: whether it runs.
        weather: see Weather.
        messages: everything accepted, by number.
        acknowledged: numbers acknowledged by the house.
        lost: why a message will not be delivered (any more), by number.
        sessions_lost: how often a house that came back found no session.
        line: the present connection.
    """

    def __init__(self, loop: VirtualLoop, dice: Dice, trace: Trace, *, queue_limit: int, window: int) -> None:
        self._loop, self._dice, self._trace = loop, dice, trace
        self.queue_limit, self._most = queue_limit, window
        self.up = True
        self.weather = Weather()
        self.messages: list[Message] = []
        self.acknowledged: set[int] = set()
        self.lost: dict[int, str] = {}
        self.sessions_lost = 0
        self.kept: Kept | None = None
        self.saved: Kept | None = None
        self.line: Line | None = None
        self.lines: list[Line] = []  # every connection that is not over
        self.on_new_session: Callable[[], None] = lambda: None
        self.on_acknowledged: Callable[[Message], None] = lambda _: None
        self._talk: _Talk | None = None

    # Devices.

    def publish(self, topic: str, payload: bytes) -> int | None:
        """Take a message from a device; None when it cannot be reached, and the device has to try again."""
        if not self.up:
            return None
        message = Message(len(self.messages), topic, payload)
        self.messages.append(message)
        if self.kept is None or not self.kept.subscribed:
            self.lose(message, "nobody has subscribed")
        elif len(self.kept.queue) >= self.queue_limit:
            self.lose(message, "the queue is full")
        else:
            self.kept.queue.append(message)
            self._pump()
        return message.number

    def lose(self, message: Message, why: str) -> None:
        """Write down that a message is gone."""
        if message.number not in self.acknowledged:
            self.lost.setdefault(message.number, why)
            self._trace.note(f"broker lost {message.number}: {why}")

    @property
    def waiting(self) -> int:
        """Return how many messages the house has not yet acknowledged."""
        return 0 if self.kept is None else len(self.kept.queue) + len(self.kept.under_way)

    # Network.

    async def connect(self, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
        """Take a connection. Raises OSError."""
        await asyncio.sleep(self._dice.lag_s())
        if not self.up or self.weather.refuses:
            self._trace.note("connection refused")
            raise ConnectionRefusedError("Connection refused")
        line = Line(self._loop, self._dice, protocol)
        self.lines = [one for one in self.lines if not one.gone] + [line]
        protocol.connection_made(line)
        if self.weather.hangs:
            self._trace.note("connection taken and never answered")
            return line
        talk = _Talk(self, line)
        line.heard, line.hung_up = talk.hear, talk.over
        return line

    # Faults.

    def cut(self, how: str) -> None:
        """End the present connection: ``reset``, ``closed``, ``torn`` (reset inside a packet) or ``shutting down``."""
        talk = self._talk
        if talk is None:
            return
        self._trace.note(f"line {how}")
        if how == "shutting down":
            talk.line.send(DisconnectPacket(reason_code=DisconnectReasonCode.SERVER_SHUTTING_DOWN).write())
            talk.line.hang_up()
        elif how == "closed":
            talk.line.hang_up()
        else:
            last = b""
            if how == "torn" and self.kept is not None and self.kept.under_way:
                number, message = next(iter(self.kept.under_way.items()))
                packet = _publish(number, message, again=True)
                last = packet[: self._dice.whole(1, len(packet) - 1)]
            talk.line.hang_up(ConnectionResetError("Connection reset by peer"), last)
        talk.over()

    def darken(self) -> None:
        """Leave the present connection half open: nothing arrives any more, and nobody is told."""
        if self._talk is not None:
            self._trace.note("line half open")
            self._talk.line.dark = True

    def take_over(self) -> None:
        """Let another client come with the house's id for a moment; the session is the same and stays."""
        talk = self._talk
        if talk is not None:
            self._trace.note("taken over")
            talk.line.send(DisconnectPacket(reason_code=DisconnectReasonCode.SESSION_TAKEN_OVER).write())
            talk.line.hang_up()
            talk.over()

    def repeat(self) -> None:
        """Deliver once more what is under way."""
        talk = self._talk
        if talk is not None and talk.ready and self.kept is not None:
            for number, message in self.kept.under_way.items():
                talk.line.send(_publish(number, message, again=True))

    def save(self) -> None:
        """Write the session down, as an autosave does."""
        self.saved = None if self.kept is None else self.kept.copy()

    def stop(self, how: str) -> None:
        """End the broker: ``orderly``, or ``killed``, which leaves it with its last autosave."""
        if not self.up:
            return
        self._trace.note(f"broker stops, {how}")
        self.cut("shutting down" if how == "orderly" and self._dice.chance(0.5) else "reset")
        if how == "orderly":
            self.save()
        self.up = False

    def start(self, *, forgets: str = "") -> None:
        """Begin again with what was saved; ``forgets`` may be ``session``, or ``subscription``."""
        if self.up:
            return
        self._trace.note(f"broker starts, forgets {forgets or 'nothing'}")
        before = self.kept.messages() if self.kept is not None else set()
        self.kept = None if forgets == "session" or self.saved is None else self.saved.copy()
        after = self.kept.messages() if self.kept is not None else set()
        for number in sorted(before - after):
            self.lose(self.messages[number], "the broker forgot it")
        if self.kept is not None and forgets == "subscription":
            self.kept.subscribed = False
        self.up = True

    # Conversation.

    def _pump(self) -> None:
        talk, kept = self._talk, self.kept
        if talk is None or not talk.ready or kept is None:
            return
        while kept.queue and len(kept.under_way) < talk.window:
            message = kept.queue.popleft()
            while kept.next_id in kept.under_way:
                kept.next_id = kept.next_id % 65535 + 1
            kept.under_way[kept.next_id] = message
            talk.line.send(_publish(kept.next_id, message, again=False))
            kept.next_id = kept.next_id % 65535 + 1


class _Talk:
    """The broker's side of one connection."""

    def __init__(self, broker: StagedBroker, line: Line) -> None:
        self.broker, self.line = broker, line
        self.ready = False
        self.window = 0
        self._unread = b""
        self._over = False
        self._keep_alive_s = 0.0
        self._heard_s = 0.0

    def hear(self, data: bytes) -> None:
        """Read packets."""
        if self._over:
            return
        self._heard_s = self.broker._loop.now_s  # noqa: SLF001 - the two are one
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
        if self.broker._talk is self:  # noqa: SLF001
            self.broker._talk = self.broker.line = None  # noqa: SLF001
            self.broker._trace.note("broker: connection over")  # noqa: SLF001

    def _take(self, packet: mqtt5.Packet) -> None:
        broker = self.broker
        loop = broker._loop  # noqa: SLF001
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
        if self._over or not broker.up:
            return
        old = broker._talk  # noqa: SLF001
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
            broker.sessions_lost += 1
            broker.on_new_session()
        assert broker.kept is not None  # noqa: S101 - made above
        broker._talk, broker.line = self, self.line  # noqa: SLF001
        self.window = min(broker._most, packet.receive_max)  # noqa: SLF001
        self.ready = True
        self._keep_alive_s = packet.keep_alive
        self._heard_s = broker._loop.now_s  # noqa: SLF001
        self._watch()
        broker._trace.note(f"welcome, session {'present' if present else 'new'}")  # noqa: SLF001
        self.line.send(ConnAckPacket(session_present=present).write())
        for number, message in broker.kept.under_way.items():
            self.line.send(_publish(number, message, again=True))
        broker._pump()  # noqa: SLF001

    def _subscribe(self, packet: SubscribePacket) -> None:
        if self._over or self.broker.kept is None:
            return
        if any(not one.pattern.startswith("$SYS/") for one in packet.topic_filters):
            self.broker.kept.subscribed = True
        codes = [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE] * len(packet.topic_filters)
        self.line.send(SubAckPacket(packet.packet_id, codes).write())
        self.broker._trace.note("subscribed")  # noqa: SLF001

    def _acknowledged(self, packet_id: int) -> None:
        broker = self.broker
        kept = broker.kept
        if kept is None or (message := kept.under_way.pop(packet_id, None)) is None:
            return
        broker.acknowledged.add(message.number)
        broker._trace.note(f"acknowledged {message.number}")  # noqa: SLF001
        broker.on_acknowledged(message)
        broker._pump()  # noqa: SLF001

    def _watch(self) -> None:
        if self._over or not self._keep_alive_s:
            return
        loop = self.broker._loop  # noqa: SLF001
        if loop.now_s - self._heard_s > SILENT_OF_KEEP_ALIVE * self._keep_alive_s:
            self.broker._trace.note("broker hears nothing")  # noqa: SLF001
            self.line.hang_up()
            self.over()
            return
        loop.call_later(self._keep_alive_s / 2, self._watch)


def _publish(number: int, message: Message, *, again: bool) -> bytes:
    packet = PublishPacket(message.topic, message.payload, qos=QoS.AT_LEAST_ONCE, packet_id=number, duplicate=again)
    return packet.write()
