"""The shipper: reads the journal at its own pace and puts readings into the time-series store, rejects into quarantine.

A slow or absent store is no special case: the journal grows, the shipper waits and goes on where it stopped. What it
writes twice after a crash overwrites itself in the store, and is counted once, for the count moves with the position.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from devices.batch import Batch
from devices.payloads import Reject
from devices.registry import Registry
from storage.journal import Journal
from storage.operations import AWAY, Operations, in_words
from storage.quarantine import REFUSED
from storage.records import Totals
from storage.timeseries import Refused, StoreAway, TimeSeries

RECORDS_MAX = 500  # records taken at once
ROWS_MAX = 20_000  # readings after which no further record is taken; four requests of InfluxDB's advised size
IDLE_S = 0.5  # pause unless a full load was waiting: few large writes cost less than many small ones
WAIT_FIRST_S, WAIT_MAX_S = 0.5, 60.0  # waits double from the first to the longest
ASKED_MAX_S = 600.0  # longest wait that a store may ask for
KEEP_BYTES = 64 << 20  # journal kept behind the shipper, so that duplicates are recognised after a restart


@dataclass(slots=True)
class Load:
    """Records read from the journal for one shipment.

    Attributes:
        position: behind the last of them.
        records: how many.
        batches, rejects: what they hold.
        totals: the journal's counts at ``position``.
    """

    position: int
    records: int = 0
    batches: list[Batch] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    totals: Totals = field(default_factory=dict)


class Shipper:
    """Moves what the journal holds to where it stays.

    Args:
        journal, timeseries, operations: from, to, and where the position is kept.
        registry: who the rows are; may be replaced while running.
        keep_bytes: journal kept behind the position; less where the journal's limit is small.

    Attributes:
        position: journal position up to which everything is shipped.
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
    ) -> None:
        self.journal = journal
        self.timeseries = timeseries
        self.operations = operations
        self.registry = registry
        self.keep_bytes = min(keep_bytes, journal.limit_bytes // 4)
        self.position = operations.shipped().position
        self.judged: int | None = None
        self.full = False
        self.away = ""
        self.needs_person = False
        self.stored = 0
        self.quarantined = 0
        self.cpu_s = 0.0
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
        load = self._take(max_records)
        if load.records == 0:
            self._release()  # a snapshot may have come since the last load
            return 0
        batches, strangers = self._known(load.batches)
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

    async def run(self) -> None:
        """Ship for ever, waiting longer and longer while the store is away.

        Cancel it to stop; it ends when the shipment under way has ended, so that nothing is closed under its hands.
        """
        wait_s = WAIT_FIRST_S
        while True:
            try:
                shipped = await _to_the_end(asyncio.create_task(asyncio.to_thread(self._ship_counted)))
            except StoreAway as trouble:
                self.away, self.needs_person = str(trouble), trouble.needs_person
                await asyncio.sleep(max(wait_s, min(trouble.retry_after_s, ASKED_MAX_S)))
                wait_s = min(2 * wait_s, WAIT_MAX_S)
                continue
            self.away, self.needs_person = "", False
            wait_s = WAIT_FIRST_S
            if not shipped or not self.full:
                await asyncio.sleep(IDLE_S)

    def _ship_counted(self) -> int:
        began = time.thread_time()
        try:
            return self.ship_once()
        finally:
            self.cpu_s += time.thread_time() - began

    def drain(self) -> int:
        """Ship everything that the journal holds and return the number of records. Blocking.

        Raises:
            StoreAway: the store went away meanwhile.
        """
        total = 0
        while shipped := self.ship_once():
            total += shipped
        return total

    def _take(self, max_records: int) -> Load:
        load = Load(self.position)
        rows = 0
        try:
            for position, record in self.journal.read(self.position):
                load.position, load.totals = position, record.totals
                load.records += 1
                load.batches.extend(record.batches)
                load.rejects.extend(record.rejects)
                rows += sum(len(batch) for batch in record.batches) + len(record.rejects)
                if load.records >= max_records or rows >= ROWS_MAX:
                    break
        except OSError as trouble:
            raise StoreAway(f"the journal in {self.journal.folder} cannot be read: {trouble}") from trouble
        return load

    def _known(self, batches: Sequence[Batch]) -> tuple[list[Batch], list[Reject]]:
        """Return batches of registered rows, and rejects for rows that the registry does not have (any more)."""
        known: list[Batch] = []
        strangers: list[Reject] = []
        count = len(self.registry)
        for batch in batches:
            if len(batch) == 0:
                continue
            if int(batch.device.max()) < count:
                known.append(batch)
                continue
            inside = batch.device < count
            known.append(batch.take(inside))
            for place in np.flatnonzero(~inside):
                detail = f"the registry has no row {batch.device[place]}; it may be older than the journal"
                values = zip(batch.kind.field_names(), batch.values[:, place], strict=True)
                text = " ".join(f"{name}={value:.17g}" for name, value in values if not np.isnan(value))
                payload = f"{text} {batch.time_ms[place]}".encode()
                strangers.append(Reject("", payload, "unknown_device", detail, "", batch.kind.name, batch.arrival_ms))
        return [batch for batch in known if len(batch)], strangers

    def _release(self) -> None:
        safe = self.position if self.judged is None else min(self.position, self.judged)
        self.journal.release(safe - self.keep_bytes)


async def _to_the_end(work: asyncio.Task[int]) -> int:
    """Wait for work in a thread; a cancellation meanwhile is obeyed when the work has ended."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        if not work.cancelled():
            work.exception()
        raise


def _reject(refused: Refused, now_ms: int) -> Reject:
    return Reject("", refused.line.encode(), REFUSED, refused.reason[:300], refused.device_id, refused.kind, now_ms)
