"""Readmission: quarantined messages go the way of new ones again, after somebody has mended what was wrong with them.

Whoever wants that marks messages in the database (console, API, command, or this file for devices that were adopted);
a running house looks for marks every two seconds, a stopped one at its next start. A message leaves quarantine only
when its readings are in the journal. A crash in between means that it goes the way once more, as a duplicate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import structlog

from devices.payloads import Decoder
from ingest.inbox import Delivery
from lamplighter.clock import Clock
from storage.operations import AWAY, Choice, Operations, QuarantineRow, Still, in_words

log = structlog.get_logger("quarantine")

LOOK_S = 2.0  # host seconds between looks for marks
RETRY_S = 1.0  # an operations database that refuses is asked again this often
CHUNK = 200  # messages taken at once: so long the others wait
CHUNK_BYTES = 4 << 20  # of payload taken at once
T = TypeVar("T")
PAGE = 500  # messages looked at in one step when devices were adopted


class Group(Protocol):
    """Takes deliveries the whole way (lamplighter.watch.Watch.group)."""

    def __call__(self, deliveries: Sequence[Delivery], *, limited: bool = True) -> Awaitable[None]:
        """Return when the deliveries are in the journal and what follows from them is committed."""


class Readmission:
    """Takes marked messages out of quarantine.

    Args:
        decoder, clock, operations: the house's own.
        group: the loop's way for deliveries; one group at a time may be under way.

    Attributes:
        read, still: messages read after all, and in vain, since the start.
        trouble: why marks cannot be looked for or taken off just now, empty when they can.
    """

    def __init__(self, decoder: Decoder, clock: Clock, operations: Operations, group: Group) -> None:
        self.decoder = decoder
        self.clock = clock
        self.operations = operations
        self.group = group
        self.read = self.still = 0
        self.trouble = ""
        self._waiting: list[Delivery] = []
        self._taken = asyncio.Event()
        self._begun = asyncio.Event()

    async def at_start(self) -> int:
        """Take out what was marked while the house stood still, and messages of devices adopted since; return how many.

        Nothing else may be under way in the loop.
        """
        before = self.read
        await self.mark_adopted()
        while rows := await asyncio.to_thread(self.operations.quarantine_asked, CHUNK):
            await self._again(rows, self._directly)
        return self.read - before

    def begin(self) -> None:
        """Let :meth:`run` begin: the start is over, from now on messages are handed to the loop."""
        self._begun.set()

    async def turn(self) -> None:
        """Take what is waiting; called by the loop between two groups, and costs nothing when nothing waits."""
        if self._waiting:
            deliveries, self._waiting = self._waiting, []
            await self._directly(deliveries)
            self._taken.set()

    async def run(self) -> None:
        """Look for marks for ever, and hand what is marked to the loop."""
        await self._begun.wait()
        while True:
            try:
                rows = await _to_the_end(asyncio.to_thread(self.operations.quarantine_asked, CHUNK))
            except AWAY as trouble:
                self.trouble, rows = in_words(trouble), []
            else:
                self.trouble = ""
            if rows:
                await self._again(rows, self._hand_over)
            else:
                await asyncio.sleep(LOOK_S)

    async def _again(self, rows: Sequence[QuarantineRow], take: Callable[[list[Delivery]], Awaitable[None]]) -> None:
        """Read messages once more: those that can be read now are taken, the others stay and say what is wrong now."""
        now_ms = self.clock.now_ms()
        good: list[QuarantineRow] = []
        still: list[Still] = []
        size = 0
        for row in rows:
            size += len(row.payload)
            if size > CHUNK_BYTES and (good or still):
                break
            rejects = self.decoder.decode([_delivery(row)], now_ms).rejects
            if rejects:
                still.append(Still(row.id, rejects[0].reason, rejects[0].detail))
            else:
                good.append(row)
        if good:
            await take([_delivery(row) for row in good])
        await self._settle([row.id for row in good], still)
        self.read += len(good)
        self.still += len(still)
        log.info("read again", read=len(good), still_unreadable=len(still))

    async def _settle(self, read: Sequence[int], still: Sequence[Still]) -> None:
        """Write down what came of it; asked again until the database takes it, so that nothing goes the way twice."""
        while True:
            try:
                await _to_the_end(asyncio.to_thread(self.operations.quarantine_settle, read, still))
            except AWAY as trouble:
                self.trouble = in_words(trouble)
                await asyncio.sleep(RETRY_S)
            else:
                self.trouble = ""
                return

    async def _directly(self, deliveries: list[Delivery]) -> None:
        await self.group(deliveries, limited=False)  # a person has decided that these are read

    async def _hand_over(self, deliveries: list[Delivery]) -> None:
        self._taken.clear()
        self._waiting = deliveries
        await self._taken.wait()

    async def mark_adopted(self) -> None:
        """Mark the messages of devices that the registry has by now; the database may refuse (AWAY)."""
        number = 0
        while rows := await asyncio.to_thread(self.operations.quarantine_after, "unknown_device", number, PAGE):
            number = rows[-1].id
            known = tuple(row.id for row in rows if self._adopted(row))
            if known:
                choice = Choice(numbers=known)
                await asyncio.to_thread(self.operations.quarantine_ask, choice, self.clock.now_ms())

    def _adopted(self, row: QuarantineRow) -> bool:
        """Return whether the registry has the device of a message now, and as the kind that its topic says."""
        registry = self.decoder.registry
        place = registry.row.get(row.device)
        return place is not None and registry.assets[place].kind == row.kind


def _delivery(row: QuarantineRow) -> Delivery:
    return Delivery(row.topic, row.payload, None, 0)  # nobody waits for an acknowledgement


async def _to_the_end(work: Awaitable[T]) -> T:
    """Wait for work in a thread; a cancellation meanwhile is obeyed when it has ended, before files are closed."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
