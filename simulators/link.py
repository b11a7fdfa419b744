"""The way from device to broker: losses, repeats, blind zones, a garbled payload, a stranger, an impossible value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from devices import topics
from simulators.machine import Message

_KINDS_WITH_STORE = ("truck",)  # terminals that keep what they could not send (JT/T 808 blind-zone reports)


@dataclass(frozen=True, slots=True)
class Mishaps:
    """How often the way to the broker does what it should not; shares of messages, and moments in city time.

    Attributes:
        lost: share of messages that never arrive.
        repeated: share that arrive twice.
        blind: share of a truck's messages at which it enters a blind zone and stores its next 3 to 8 reports.
        garbled_ms: moments at which the next message arrives cut in half.
        stranger_ms: moments at which a device that nobody knows reports.
        wild_ms: moments at which a lamp reports an impossible voltage.
    """

    lost: float = 0.0
    repeated: float = 0.0
    blind: float = 0.0
    garbled_ms: tuple[int, ...] = ()
    stranger_ms: tuple[int, ...] = ()
    wild_ms: tuple[int, ...] = ()


@dataclass(slots=True)
class LinkCounts:
    """What happened on the way, in messages (``late``: readings sent after their time)."""

    lost: int = 0
    repeated: int = 0
    late: int = 0
    garbled: int = 0
    strangers: int = 0
    wild: int = 0


@dataclass(slots=True)
class _Zone:
    left: int
    stored: list[Message] = field(default_factory=list)


class Link:
    """Passes messages on as a real network would. Seeded; what it does never depends on how calls are divided."""

    def __init__(self, seed: int, city: str, mishaps: Mishaps) -> None:
        self._rng = np.random.default_rng([seed, 3])
        self._city, self._mishaps = city, mishaps
        self._zones: dict[str, _Zone] = {}
        self._garbled = sorted(mishaps.garbled_ms)
        self._strangers = sorted(mishaps.stranger_ms)
        self._wild = sorted(mishaps.wild_ms)
        self.counts = LinkCounts()

    def carry(self, messages: Iterable[Message]) -> list[Message]:
        """Return what arrives of ``messages``, in the order of arrival."""
        sent = list(messages)
        luck = self._rng.random(len(sent)).tolist()
        out: list[Message] = []
        for message, chance in zip(sent, luck, strict=True):
            self._moments(message, out)
            self._one(message, chance, out)
        return out

    def _one(self, message: Message, chance: float, out: list[Message]) -> None:
        mishaps, counts = self._mishaps, self.counts
        zone = self._zones.get(message.topic)
        if zone is not None:
            if zone.left > 0:
                zone.left -= 1
                zone.stored.append(message)
                return
            del self._zones[message.topic]
            out.append(message)  # the live report first, then what was stored: late by design
            payload = b"[" + b",".join(m.payload for m in zone.stored) + b"]"
            counts.late += len(zone.stored)
            out.append(Message(message.topic, payload, message.time_ms, len(zone.stored)))
            return
        if chance < mishaps.lost:
            counts.lost += 1
            return
        if chance < mishaps.lost + mishaps.repeated:
            counts.repeated += 1
            out += [message, message]
            return
        blind = chance - mishaps.lost - mishaps.repeated
        if blind < mishaps.blind and f"/{_KINDS_WITH_STORE[0]}/" in message.topic:
            self._zones[message.topic] = _Zone(3 + int(6 * blind / mishaps.blind))
            self._zones[message.topic].stored.append(message)
            return
        if self._garbled and message.time_ms >= self._garbled[0]:
            self._garbled.pop(0)
            counts.garbled += 1
            out.append(message._replace(payload=message.payload[: len(message.payload) // 2]))
            return
        if self._wild and message.time_ms >= self._wild[0] and b'"voltage_v":' in message.payload:
            self._wild.pop(0)
            counts.wild += 1
            head, _, tail = message.payload.partition(b'"voltage_v":')
            message = message._replace(payload=head + b'"voltage_v":6553.5' + tail[tail.index(b",") :])
        out.append(message)

    def _moments(self, message: Message, out: list[Message]) -> None:
        if self._strangers and message.time_ms >= self._strangers[0]:
            moment = self._strangers.pop(0)
            self.counts.strangers += 1
            topic = topics.up(self._city, "streetlight", "lamp-of-the-neighbours")
            payload = f'{{"ts":{moment},"power_w":88.0,"voltage_v":226.0}}'.encode()
            out.append(Message(topic, payload, message.time_ms))
