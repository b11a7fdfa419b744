"""A staged MQTT 5 broker: what a house sees of a real one on its good and bad days, byte for byte.

It keeps one persistent session with a queue, a window of messages under way, redelivery and a queue limit. It knows
what it accepted, what it delivered and had acknowledged, and what it lost and why: the other side of the ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from mqtt5 import DisconnectPacket, DisconnectReasonCode

from simulators.stage.dice import Dice, Trace
from simulators.stage.kept import Kept, Message
from simulators.stage.loop import VirtualLoop
from simulators.stage.talk import Talk, publish_packet
from simulators.stage.wire import Line


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
        on_new_session: called when a house subscribes that has been told that there was no session.
        line: the present connection.
        newest: number of the newest connection that was welcomed.
    """

    def __init__(self, loop: VirtualLoop, dice: Dice, trace: Trace, *, queue_limit: int, window: int) -> None:
        self.loop, self.dice, self.trace = loop, dice, trace
        self.queue_limit, self.window = queue_limit, window
        self.up = True
        self.weather = Weather()
        self.messages: list[Message] = []
        self.acknowledged: set[int] = set()
        self.lost: dict[int, str] = {}
        self.kept: Kept | None = None
        self.saved: Kept | None = None
        self.line: Line | None = None
        self.lines: list[Line] = []  # every connection that is not over
        self.on_new_session: Callable[[], None] = lambda: None
        self.on_acknowledged: Callable[[Message], None] = lambda _: None
        self.talk: Talk | None = None
        self.newest = self._connections = 0

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
            self.pump()
        return message.number

    def lose(self, message: Message, why: str) -> None:
        """Write down that a message is gone."""
        if message.number not in self.acknowledged:
            self.lost.setdefault(message.number, why)
            self.trace.note(f"broker lost {message.number}: {why}")

    @property
    def waiting(self) -> int:
        """Return how many messages the house has not yet acknowledged."""
        return 0 if self.kept is None else len(self.kept.queue) + len(self.kept.under_way)

    # Network.

    async def connect(self, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
        """Take a connection. Raises OSError."""
        await asyncio.sleep(self.dice.lag_s())
        if not self.up or self.weather.refuses:
            self.trace.note("connection refused")
            raise ConnectionRefusedError("Connection refused")
        line = Line(self.loop, self.dice, protocol)
        self.lines = [one for one in self.lines if not one.gone] + [line]
        protocol.connection_made(line)
        if self.weather.hangs:
            self.trace.note("connection taken and never answered")
            return line
        self._connections += 1
        talk = Talk(self, line, self._connections)
        line.heard, line.hung_up = talk.hear, talk.over
        return line

    # Faults.

    def cut(self, how: str) -> None:
        """End the present connection: ``reset``, ``closed``, ``torn`` (reset inside a packet) or ``shutting down``."""
        talk = self.talk
        if talk is None:
            return
        self.trace.note(f"line {how}")
        if how == "shutting down":
            talk.line.send(DisconnectPacket(reason_code=DisconnectReasonCode.SERVER_SHUTTING_DOWN).write())
            talk.line.hang_up()
        elif how == "closed":
            talk.line.hang_up()
        else:
            last = b""
            if how == "torn" and self.kept is not None and self.kept.under_way:
                number, message = next(iter(self.kept.under_way.items()))
                packet = publish_packet(number, message, again=True)
                last = packet[: self.dice.whole(1, len(packet) - 1)]
            talk.line.hang_up(ConnectionResetError("Connection reset by peer"), last)
        talk.over()

    def darken(self) -> None:
        """Leave the present connection half open: nothing arrives any more, and nobody is told."""
        if self.talk is not None:
            self.trace.note("line half open")
            self.talk.line.dark = True

    def take_over(self) -> None:
        """Let another client come with the house's id for a moment; the session is the same and stays."""
        talk = self.talk
        if talk is not None:
            self.trace.note("taken over")
            talk.line.send(DisconnectPacket(reason_code=DisconnectReasonCode.SESSION_TAKEN_OVER).write())
            talk.line.hang_up()
            talk.over()

    def repeat(self) -> None:
        """Deliver once more what is under way."""
        talk = self.talk
        if talk is not None and talk.ready and self.kept is not None:
            for number, message in self.kept.under_way.items():
                talk.line.send(publish_packet(number, message, again=True))

    def save(self) -> None:
        """Write the session down, as an autosave does."""
        self.saved = None if self.kept is None else self.kept.copy()

    def stop(self, how: str) -> None:
        """End the broker: ``orderly``, or ``killed``, which leaves it with its last autosave."""
        if not self.up:
            return
        self.trace.note(f"broker stops, {how}")
        self.cut("shutting down" if how == "orderly" and self.dice.chance(0.5) else "reset")
        if how == "orderly":
            self.save()
        self.up = False

    def start(self, *, forgets: str = "") -> None:
        """Begin again with what was saved; ``forgets`` may be ``session``, or ``subscription``."""
        if self.up:
            return
        self.trace.note(f"broker starts, forgets {forgets or 'nothing'}")
        before = self.kept.messages() if self.kept is not None else set()
        self.kept = None if forgets == "session" or self.saved is None else self.saved.copy()
        after = self.kept.messages() if self.kept is not None else set()
        for number in sorted(before - after):
            self.lose(self.messages[number], "the broker forgot it")
        if self.kept is not None and forgets == "subscription":
            self.kept.subscribed = False
        self.up = True

    # Conversation.

    def pump(self) -> None:
        """Send what waits, as far as the window allows."""
        talk, kept = self.talk, self.kept
        if talk is None or not talk.ready or kept is None:
            return
        while kept.queue and len(kept.under_way) < talk.window:
            message = kept.queue.popleft()
            while kept.next_id in kept.under_way:
                kept.next_id = kept.next_id % 65535 + 1
            kept.under_way[kept.next_id] = message
            talk.line.send(publish_packet(kept.next_id, message, again=False))
            kept.next_id = kept.next_id % 65535 + 1
