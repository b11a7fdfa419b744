"""The live stream: what changes is told once to every open console, and none of them can hold up the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

QUEUE_MAX = 256  # frames waiting for one client: four minutes of beats, or one burst of alerts
CLIENTS_MAX = 200  # open streams; one more is refused with 503
HEARTBEAT_S = 15.0  # proxies close streams that are silent for 30 to 60 s
RETRY_MS = 2000  # what a browser waits before it connects again


class TooManyClientsError(RuntimeError):
    """All places at the live stream are taken."""


def frame(event: str, data: Any, number: int) -> bytes:  # noqa: ANN401 - anything JSON holds
    """Return one server-sent event as bytes; NaN is written as null."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, event.encode(), msgspec.json.encode(data))


class Subscriber:
    """One client's queue of frames; a client that falls QUEUE_MAX behind is let go and told to come again."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_MAX)
        self.ended = False

    def offer(self, data: bytes) -> bool:
        """Queue a frame; False when the queue is full."""
        if self.queue.full():
            return False
        self.queue.put_nowait(data)
        return True

    def end(self, farewell: bytes) -> None:
        """Drop what waits, leave the farewell and the end."""
        self.ended = True
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(farewell)
        self.queue.put_nowait(None)


class Hub:
    """Hands each event to all open streams. Publishing never waits and may be done from any thread.

    Attributes:
        published: events handed to the hub while somebody listened.
        dropped: clients let go because they read too slowly.
    """

    def __init__(self) -> None:
        self.published = 0
        self.dropped = 0
        self._number = 0
        self._subscribers: set[Subscriber] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._subscribers)

    def publish(self, event: str, data: Any) -> None:  # noqa: ANN401 - anything JSON holds
        """Tell all open streams. ``data`` is encoded at once: later changes to it are not seen."""
        loop = self._loop
        if not self._subscribers or loop is None:
            return
        encoded = msgspec.json.encode(data)
        try:
            here = asyncio.get_running_loop() is loop
        except RuntimeError:
            here = False
        if here:
            self._spread(event, encoded)
        else:
            loop.call_soon_threadsafe(self._spread, event, encoded)

    def subscribe(self) -> Subscriber:
        """Open a stream's queue; on the event loop.

        Raises:
            TooManyClientsError: when CLIENTS_MAX streams are open.
        """
        if len(self._subscribers) >= CLIENTS_MAX:
            raise TooManyClientsError(f"{CLIENTS_MAX} live streams are open already")
        self._loop = asyncio.get_running_loop()
        one = Subscriber()
        if self._closed:
            one.end(self._farewell("closing"))
        else:
            self._subscribers.add(one)
        return one

    def leave(self, one: Subscriber) -> None:
        """Close a stream's queue."""
        self._subscribers.discard(one)

    def close(self) -> None:
        """End all streams, so that the web server can stop; on the event loop."""
        self._closed = True
        for one in list(self._subscribers):
            one.end(self._farewell("closing"))
        self._subscribers.clear()

    def _farewell(self, why: str) -> bytes:
        self._number += 1
        return frame("reconnect", {"why": why}, self._number)

    def _spread(self, event: str, encoded: bytes) -> None:
        self._number += 1
        self.published += 1
        data = b"id: %d\nevent: %s\ndata: %s\n\n" % (self._number, event.encode(), encoded)
        for one in list(self._subscribers):
            if not one.offer(data):
                self.dropped += 1
                one.end(self._farewell("too slow"))
                self._subscribers.discard(one)


async def stream(hub: Hub, one: Subscriber, hello: bytes, heartbeat_s: float = HEARTBEAT_S) -> AsyncIterator[bytes]:
    """Yield a client's frames until it leaves, falls behind or the house closes."""
    try:
        yield b"retry: %d\n\n" % RETRY_MS
        yield hello
        while True:
            try:
                data = await asyncio.wait_for(one.queue.get(), heartbeat_s)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            if data is None:
                return
            yield data
    finally:
        hub.leave(one)
