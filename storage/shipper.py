"""The shipper: reads the journal at its own pace and puts readings into the time-series store, rejects into quarantine.

A slow or absent store is no special case: the journal grows, the shipper waits and goes on where it stopped. What it
writes twice after a crash overwrites itself in the store, and is counted once, for the count moves with the position.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from devices.payloads import Reject
from devices.registry import Registry
from storage.hold import Hold
from storage.journal import Journal
from storage.loads import RECORDS_MAX, known, take
from storage.operations import AWAY, Operations, in_words
from storage.quarantine import REFUSED
from storage.timeseries import Refused, StoreAway, TimeSeries

T = TypeVar("T")
log = structlog.get_logger("ship")

IDLE_S = 0.5  # pause unless a full load was waiting: few large writes cost less than many small ones
WAIT_FIRST_S, WAIT_MAX_S = 0.5, 4.0  # waits double from the first to the longest; one house is no storm
SHRINK, GROW = 8, 2  # a load that the store did not take is followed by a smaller one, one that it took by a larger
WAIT_SPREAD = 0.25  # by how much a wait may be longer, so that many houses do not come back to one store at once
ASKED_MAX_S = 600.0  # longest wait that a store may ask for
KEEP_BYTES = 64 << 20  # journal kept behind the shipper, so that duplicates are recognised after a restart


class Shipper:
    """Moves what the journal holds to where it stays.

    Args:
        journal, timeseries, operations: from, to, and where the position is kept.
        registry: who the rows are; may be replaced while running.
        keep_bytes: journal kept behind the position; less where the journal's limit is small.
        hold_s: how long after its yes the store may still forget a reading when it restarts; 0 for never.

    Attributes:
        position: journal position up to which everything is shipped.
        hold: which of that the store may still forget, and has to be given once more.
        judged: journal position up to which a snapshot of the rule engine reaches; nothing behind it is released.
            None: no snapshots are taken.
        full: whether the latest load reached its limit, so that more is waiting.
        away: why the store takes nothing just now, empty while it does.
        needs_person: True where waiting alone will not help.
        stored, quarantined: readings shipped since the start.
        cpu_s: processor seconds that :meth:`run` has spent on shipping, failed attempts among them.
    """

    def __init__(
        self,
        journal: Journal,
        timeseries: TimeSeries,
        operations: Operations,
        registry: Registry,
        *,
        keep_bytes: int = KEEP_BYTES,
        hold_s: float = 0.0,
    ) -> None:
        self.journal = journal
        self.timeseries = timeseries
        self.operations = operations
        self.registry = registry
        self.keep_bytes = min(keep_bytes, journal.limit_bytes // 4)
        shipped = operations.shipped()
        self.position = shipped.position
        self.hold = Hold(hold_s, self.position, shipped.confirmed, shipped.store_started_ms)
        self.judged: int | None = None
        self.full = False
        self.away = ""
        self.needs_person = False
        self.stored = 0
        self.quarantined = 0
        self.repeated = 0
        self.cpu_s = 0.0
        self._records = RECORDS_MAX  # taken at once; few while the store is away, so that asking costs little
        if self.position > journal.end:
            raise ValueError(
                f"the operations database has shipped up to {self.position}, but the journal in {journal.folder} ends "
                f"at {journal.end}: open the journal with floor={self.position}, so that positions go on from there"
            )

    def ship_once(self, max_records: int = RECORDS_MAX) -> int:
        """Ship the next records and return how many; 0 when there are none. Blocking.

        Raises:
            StoreAway: nothing was shipped, everything stays in the journal.
        """
        load = take(self.journal, self.position, max_records)
        self.full = load.full
        if load.records == 0:
            self._release()  # a snapshot may have come since the last load
            return 0
        batches, strangers = known(load.batches, self.registry)
        rejects = [*load.rejects, *strangers]
        stored: dict[str, int] = {}
        if batches:
            written = self.timeseries.write(batches, self.registry)
            stored = written.rows
            rejects.extend(_reject(refused, batches[-1].arrival_ms) for refused in written.refused)
        kept = {name: counts.kept for name, counts in load.totals.items()}
        try:
            self.operations.ship(load.position, stored, rejects, kept)
        except AWAY as trouble:
            raise StoreAway(f"the operations database does not take the position: {in_words(trouble)}") from trouble
        self.position = load.position
        self.stored += sum(stored.values())
        self.quarantined += len(rejects)
        self._release()
        return load.records

    def confirm(self, now_s: float) -> None:
        """Ask the store since when it runs, and write down what it can no longer forget. Blocking.

        Args:
            now_s: seconds of the clock that the shipments are timed by.

        Raises:
            StoreAway: it does not answer, or the operations database does not take the position.
        """
        was_replaying = self.hold.replaying is not None
        news = self.hold.told(now_s, self.timeseries.started_ms())
        if self.hold.replaying is not None and not was_replaying:
            waiting = self.position - self.hold.replaying
            log.info("the store may have restarted: what it took lately is written once more", journal_bytes=waiting)
        if news:
            try:
                self.operations.hold(self.hold.confirmed, self.hold.started_ms)
            except AWAY as trouble:
                raise StoreAway(f"the operations database does not take the position: {in_words(trouble)}") from trouble

    def repeat_once(self, start: int, max_records: int = RECORDS_MAX) -> int:
        """Give the store some records from a position on once more; return the position behind them. Blocking.

        Raises:
            StoreAway: nothing was repeated.
        """
        load = take(self.journal, start, max_records, self.position)
        batches, _ = known(load.batches, self.registry)
        if batches:
            self.timeseries.write(batches, self.registry)
        self.repeated += sum(map(len, batches))
        return load.position if load.records else self.position

    async def run(self) -> None:
        """Ship for ever, waiting longer and longer while the store is away.

        Cancel it to stop; it ends when the shipment under way has ended, so that nothing is closed under its hands.
        """
        attempt = 0
        while True:
            try:
                more = await self._step()
            except StoreAway as trouble:
                self._tell_away(trouble)
                await asyncio.sleep(wait_s(attempt, trouble.retry_after_s, str(self.journal.folder)))
                attempt += 1
                continue
            self._tell_back()
            attempt = 0
            if not more:
                await asyncio.sleep(IDLE_S)

    async def _step(self) -> bool:
        """Do what is next: confirm, repeat or ship; return whether there is more to do at once."""
        clock = asyncio.get_running_loop().time
        if self.hold.due(now_s := clock()):
            await self._in_thread(self.confirm, now_s)
        if self.hold.replaying is not None:
            self.hold.replayed(clock(), await self._in_thread(self.repeat_once, self.hold.replaying, self._records))
            self._records = min(self._records * GROW, RECORDS_MAX)
            return True
        shipped = await self._in_thread(self.ship_once, self._records)
        self._records = min(self._records * GROW, RECORDS_MAX)
        if shipped:
            self.hold.shipped(clock(), self.position)
        return shipped > 0 and self.full

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Work in a thread and count its CPU; a cancellation meanwhile is obeyed when the work has ended."""
        task = asyncio.create_task(asyncio.to_thread(self._counted, work, *arguments))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()
            raise

    def _counted(self, work: Callable[..., T], *arguments: object) -> T:
        began = time.thread_time()
        try:
            return work(*arguments)
        finally:
            self.cpu_s += time.thread_time() - began

    def _tell_away(self, trouble: StoreAway) -> None:
        if not self.away or trouble.needs_person > self.needs_person:
            text = "the store takes nothing: readings wait in the journal"
            log.warning(text, why=str(trouble), needs_a_person=trouble.needs_person)
        self.away, self.needs_person = str(trouble), trouble.needs_person
        self._records = max(self._records // SHRINK, 1)
        self.hold.failed()

    def _tell_back(self) -> None:
        if self.away:
            log.info("the store takes readings again")
        self.away, self.needs_person = "", False

    def drain(self) -> int:
        """Ship everything that the journal holds and return the number of records. Blocking.

        Raises:
            StoreAway: the store went away meanwhile.
        """
        total = 0
        while shipped := self.ship_once():
            total += shipped
        return total

    def _release(self) -> None:
        bounds = [self.position, *([self.hold.confirmed] if self.hold.seconds else [])]
        bounds += [] if self.judged is None else [self.judged]
        keep_bytes = 0 if self.journal.cramped else self.keep_bytes
        self.journal.release(min(bounds) - keep_bytes)


def wait_s(attempt: int, asked_s: float, key: str) -> float:
    """Return how long to wait after so many failures in a row: doubling to a few seconds, or what the store asks for.

    Up to a quarter is added, so that the houses of a province do not come back to one store in the same moment; it
    follows from the key and the attempt, so that a run can be repeated exactly.
    """
    base = max(min(WAIT_FIRST_S * 2.0 ** min(attempt, 20), WAIT_MAX_S), min(asked_s, ASKED_MAX_S))
    digest = hashlib.blake2s(f"{key}|{attempt}".encode(), digest_size=4).digest()
    share: float = int.from_bytes(digest) / (1 << 32)
    return base * (1 + WAIT_SPREAD * share)


def _reject(refused: Refused, now_ms: int) -> Reject:
    return Reject("", refused.line.encode(), REFUSED, refused.reason[:300], refused.device_id, refused.kind, now_ms)
