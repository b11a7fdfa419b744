"""Play recorded readings to a broker: at the pace at which they were recorded, faster, or as fast as they are taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from devices import topics
from simulators.machine import Message
from simulators.publish import LEAVING_S, Broker, Counts, Publisher
from simulators.recording import Reading, payload

CHUNK = 500  # messages handed over between looks at the progress
AHEAD_MS = 20  # readings due within this are sent together
PATIENCE_S = 60.0  # wait in the end for the last acknowledgements


@dataclass(frozen=True, slots=True)
class Played:
    """What a replay has sent: acknowledged readings by kind, messages sent again, never acknowledged, and refused."""

    readings: dict[str, int]
    again: int
    unsent: int
    refused: int = 0


def messages(readings: Iterable[Reading], city: str, shift_ms: int = 0) -> Iterator[Message]:
    """Yield one message a reading, its time moved by ``shift_ms``."""
    for reading in readings:
        topic = topics.up(city, reading.kind, reading.device)
        yield Message(topic, payload(reading, shift_ms), reading.time_ms + shift_ms)


async def replay(
    readings: list[Reading],
    city: str,
    broker: Broker,
    *,
    speed: float = 0.0,
    start_ms: int | None = None,
    stop: asyncio.Event | None = None,
    progress: Callable[[Counts], None] | None = None,
) -> Played:
    """Publish recorded readings in the order of time.

    Args:
        readings: from a recording.
        city: the topics' city.
        broker: where to.
        speed: recorded seconds a second; 0 plays as fast as the broker acknowledges.
        start_ms: the first reading's new time, the others moved alike; None leaves recorded times as they are.
        stop: ends the replay early.
        progress: called with the counts after every group of messages.
    """
    first_ms = readings[0].time_ms if readings else 0
    shift_ms = start_ms - first_ms if start_ms is not None else 0
    stop = stop or asyncio.Event()
    async with Publisher(broker) as publisher:
        loop = asyncio.get_running_loop()
        began = loop.time()
        group: list[Message] = []
        for message in messages(readings, city, shift_ms):
            if stop.is_set():
                break
            if speed > 0:
                wait_s = (message.time_ms - shift_ms - first_ms) / 1000 / speed - (loop.time() - began)
                if wait_s * 1000 > AHEAD_MS:
                    await publisher.send(group)
                    group = []
                    await _pause(stop, wait_s)
            group.append(message)
            if len(group) >= CHUNK:
                await publisher.send(group)
                group = []
                if progress:
                    progress(publisher.counts)
        await publisher.send(group)
        await publisher.drained(LEAVING_S if stop.is_set() else PATIENCE_S)
        if progress:
            progress(publisher.counts)
        counts = publisher.counts
        return Played(dict(counts.readings), counts.again, publisher.waiting(), counts.refused)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
