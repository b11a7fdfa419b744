"""What has been received and not yet been fetched: the queue between the broker and the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple

QUIET_S = 0.01  # no message for so long ends a group early: the broker has no more, or waits for our credit
BYTES_MAX = 64 << 20  # of payload; without it a few thousand messages of a megabyte each would fill the memory


class Delivery(NamedTuple):
    """One message as the broker handed it over.

    Attributes:
        topic, payload: as published.
        packet_id: to acknowledge by; None for QoS 0, which nobody repeats.
        connection: number of the connection that brought it.
    """

    topic: str
    payload: bytes
    packet_id: int | None
    connection: int


class Inbox:
    """A queue of deliveries, at most ``size`` of them or BYTES_MAX of payload; full, it stops the connection's reading.

    A broker that honours the Receive Maximum cannot overfill it with QoS 1 messages. Mosquitto 2.0.11 sends a whole
    new window after every PUBACK, and QoS 0 messages know no credit: those then wait in the socket and the broker.

    Attributes:
        quiet_s: a pause so long ends a group early; longer than the connection's nap between reads.
        on_room: called when deliveries were taken, so that a paused connection reads again.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.items: list[Delivery] = []
        self.quiet_s = QUIET_S
        self.on_room: Callable[[], None] = lambda: None
        self._first_at = 0.0
        self._bytes = 0
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def room(self) -> int:
        """Return for how many more deliveries there is room."""
        return self.size - len(self.items) if self._bytes < BYTES_MAX else 0

    def put(self, fresh: list[Delivery]) -> None:
        """Take in deliveries, in order of arrival."""
        if not self.items:
            self._first_at = asyncio.get_running_loop().time()
        self.items += fresh
        self._bytes += _payload(fresh)
        if self._waiter is not None and len(self.items) >= self._wanted and not self._waiter.done():
            self._waiter.set_result(None)

    async def gather(self, count_max: int, age_s: float) -> list[Delivery]:
        """Wait for a first delivery, then for more until ``count_max``, ``age_s`` or a quiet moment; take them.

        Cancelling loses nothing: deliveries leave the queue only when they are returned.
        """
        if self._waiter is not None:
            raise AssertionError("one gather at a time")
        loop = asyncio.get_running_loop()
        while not self.items:
            await self._wait(1, None)
        enough = min(count_max, self.size)
        while (held := len(self.items)) < enough:
            left_s = self._first_at + age_s - loop.time()
            if left_s <= 0:
                break
            await self._wait(enough, min(left_s, self.quiet_s))
            if len(self.items) == held:
                break
        taken = self.items[:count_max]
        del self.items[:count_max]
        self._bytes = _payload(self.items) if self.items else 0
        self.on_room()
        return taken

    def forget(self) -> int:
        """Drop what the broker will deliver again (QoS 1); return how many. QoS 0 messages stay."""
        before = len(self.items)
        self.items[:] = [item for item in self.items if item.packet_id is None]
        self._bytes = _payload(self.items)
        return before - len(self.items)

    async def _wait(self, wanted: int, timeout_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._wanted = wanted
        self._waiter = waiter = loop.create_future()
        timer = None if timeout_s is None else loop.call_later(timeout_s, _release, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()


def _payload(items: Iterable[Delivery]) -> int:
    return sum(len(item.payload) for item in items)


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
