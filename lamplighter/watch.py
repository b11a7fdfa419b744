"""THE LOOP, read this first: gather, decode, sift, keep, judge, tell, acknowledge.

A message is acknowledged only when its readings are in the fsynced journal and what follows from them is committed.
A crash before that means that the broker delivers again; a crash after it means that the journal is read again.
Either way the result is the same: readings overwrite themselves, alerts have ids that derive from their onset.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import structlog

from alerts.engine import Engine
from alerts.incidents import Incidents
from alerts.inhibition import FOUND
from api.alerts import tell
from api.live import Hub
from devices.batch import Batch
from devices.incident import Decided
from devices.payloads import Decoder
from ingest.gaps import Gaps
from ingest.inbox import Delivery
from ingest.limiter import Limiter
from ingest.session import Session
from ingest.sieve import Sieve
from ingest.strangers import Strangers
from lamplighter.clock import Clock, SetBack
from lamplighter.pulse import Pulse
from lamplighter.readmission import Readmission
from lamplighter.saver import Saver
from storage.journal import Journal, JournalError, Record
from storage.operations import AWAY, AlertRow, IncidentRow, Operations, ReceiverLike, in_words
from storage.shipper import Shipper

if TYPE_CHECKING:
    from lamplighter.settings import Settings

log = structlog.get_logger("watch")

JOURNAL_RETRY_S = 1.0  # a full or failing disk is asked again this often; meanwhile nothing is acknowledged
OPERATIONS_RETRY_S = 1.0  # so is an operations database that is locked, full or away
OPEN_MAX = 1_000_000  # open alerts compared with the engine at the start: all of them
REMEMBERED_BYTES = 64 << 20  # journal read again for the sieve: about a million readings


class Watch:
    """One city's watch: holds the parts of the way through and walks it, group by group."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        session: Session,
        decoder: Decoder,
        sieve: Sieve,
        journal: Journal,
        engine: Engine,
        operations: Operations,
        shipper: Shipper,
        hub: Hub,
        gaps: Gaps,
        incidents: Incidents,
    ) -> None:
        self.settings = settings
        self.receivers: Sequence[ReceiverLike] = settings.told()  # who may be told; a profile may want others
        self.clock = clock
        self.session = session
        self.decoder = decoder
        self.limiter = Limiter(decoder, settings.intake.device_per_s, settings.intake.device_burst)
        self.strangers = Strangers()
        self.readmission = Readmission(decoder, clock, operations, self.group)
        self.sieve = sieve
        self.journal = journal
        self.engine = engine
        self.incidents = incidents
        self.operations = operations
        self.shipper = shipper
        self.hub = hub
        self.gaps = gaps
        self.pulse = Pulse()
        self.decided = asyncio.Event()  # something was written down that people may have to be told of
        self._set_back = SetBack()
        self.stopping = False
        self.changes: deque[Callable[[], Awaitable[None]]] = deque()  # what is to be exchanged between two groups
        self.under_way = False  # the journal's newest record is still to be judged, or its decisions to be committed
        self.saver = Saver(settings.data / "snapshots", journal, shipper, self.pulse)
        shipper.judged = journal.start  # nothing is released before a snapshot covers it
        self._owed: list[tuple[Decided, int]] = []  # decided in recovery, not yet committed

    def recover(self, found: tuple[int, Mapping[str, npt.NDArray[np.generic]]] | None) -> int:
        """Bring engine and sieve to the end of the journal after a stop or a crash.

        Args:
            found: the newest snapshot: journal position and the engine's arrays.

        Returns:
            records that were judged again.
        """
        judged_to = self.journal.start if found is None else found[0]
        with ThreadPoolExecutor(1, "recover") as beside:  # most of either leaves the interpreter to the other
            remembering = beside.submit(self._remember, judged_to)
            if found is not None:
                for part in (self.engine, self.incidents, self.gaps):
                    part.load(found[1])
            remembering.result()
        self.shipper.judged = judged_to
        judged = 0
        for _, record in self.journal.read(judged_to):
            for batch in record.batches:
                self.sieve.remember(batch)
            batches = [self._registered(batch) for batch in record.batches]
            self.gaps.look(batches, self.engine.fleet)
            self._recommit(self._judge(batches, record.now_ms), record.now_ms)
            judged += 1
        return judged

    def _remember(self, until: int) -> None:
        """Let the sieve take in what was kept last, up to a position of the journal."""
        for position, record in self.journal.read(self.journal.tail(REMEMBERED_BYTES)):
            if position > until:
                return
            for batch in record.batches:
                self.sieve.remember(batch)

    def take_up(self, engine: Engine, incidents: Incidents, decoder: Decoder) -> None:
        """Go on with other rules and a registry that has grown; called between two groups (lamplighter/reload.py)."""
        self.engine, self.incidents, self.decoder = engine, incidents, decoder
        self.limiter.take_up(decoder)
        self.readmission.decoder = decoder
        self.gaps.take_up(decoder.registry)
        self.shipper.registry = decoder.registry

    def stop(self) -> None:
        """Let the group under way finish, write a snapshot and end."""
        self.stopping = True

    @property
    def position(self) -> int:
        """Return the journal's position before which everything has been judged."""
        return self.journal.before if self.under_way else self.journal.end

    async def run(self) -> None:
        """Walk the way through until stopped."""
        intake = self.settings.intake
        gathering: asyncio.Task[list[Delivery]] | None = None
        loop = asyncio.get_running_loop()
        self.saver.rest()
        try:
            await self._settle()
            self.readmission.begin()
            while not self.stopping:
                if gathering is None:
                    gathering = asyncio.create_task(
                        self.session.gather(intake.count_max, intake.age_ms / 1000), name="gather"
                    )
                done, _ = await asyncio.wait({gathering}, timeout=intake.tick_ms / 1000)
                deliveries: list[Delivery] = []
                if done:
                    deliveries, gathering = gathering.result(), None
                await self.group(deliveries)
                await self.readmission.turn()
                while self.changes:
                    await self.changes.popleft()()
                if loop.time() >= self.saver.due_s:
                    await self.saver.begin(lambda: self.position, self.remembered)
            await self.save()
        finally:
            if gathering is not None:
                gathering.cancel()
            self.saver.cancel()

    async def group(self, deliveries: Sequence[Delivery], *, limited: bool = True) -> None:
        """Take one group of deliveries the whole way; an empty group is the passing of time.

        Args:
            deliveries: in order of arrival.
            limited: whether a device that sends too often is held back.
        """
        started = asyncio.get_running_loop().time()
        now_ms = self.clock.now_ms()
        at_s = started * self.clock.speed  # a clock that never jumps
        self.decoder.set_back_ms = self._set_back.look(now_ms, at_s)
        decoded = self.limiter.decode(deliveries, now_ms, at_s) if limited else self.decoder.decode(deliveries, now_ms)
        if decoded.rejects and self.strangers.note(decoded.rejects, now_ms):
            found = self.strangers.report(now_ms)
            log.warning("many unknown devices", last_hour=found.devices, messages=found.messages, most=found.prefix)
        if impostors := [reject.topic for reject in decoded.rejects if reject.reason == "identity"]:
            log.warning("identity mismatch: kept in quarantine", messages=len(impostors), topic=impostors[0])
        batches, duplicates = self._sift(decoded.batches)
        self.gaps.look(batches, self.engine.fleet)
        record = Record(now_ms, batches, decoded.rejects, decoded.received, duplicates)
        await self._keep(record, durable=bool(deliveries))
        changes = self._judge(batches, now_ms)
        if changes and not deliveries:  # a tick that a power cut took back would leave the books ahead of the engine
            await self._keep(None, durable=True)
        await self._decide(changes, now_ms)
        self.under_way = False
        if deliveries:
            self.session.acknowledge(deliveries)
            self.pulse.groups += 1
            self.pulse.readings += sum(decoded.received.values())
            self.pulse.lag_ms.append((asyncio.get_running_loop().time() - started) * 1000)

    async def save(self) -> None:
        """Write a snapshot, and wait until it is on the disk; a full disk keeps the old one."""
        await self.saver.save(lambda: self.position, self.remembered)

    async def _settle(self) -> None:
        """Finish what an earlier life left: decisions, alerts that nobody knows, messages of devices adopted since."""
        while self._owed:
            await self._decide(*self._owed[0])
            del self._owed[0]
        try:
            opened = await asyncio.to_thread(self.operations.alerts, "open", limit=OPEN_MAX)
            incidents = await asyncio.to_thread(self.operations.incidents, "open", limit=OPEN_MAX)
            if lost := self.compare(opened, incidents):
                log.warning("open alerts that no rule knows any more are cleared", alerts=lost)
            if readmitted := await self.readmission.at_start():
                log.info("messages taken from quarantine", messages=readmitted)
        except AWAY as trouble:
            log.warning(
                "operations database refuses: old alerts wait for a restart, adopted devices' messages too",
                why=in_words(trouble),
            )

    def _registered(self, batch: Batch) -> Batch:
        """Return the readings of devices that the registry still has; it may be older than the journal."""
        registry = self.engine.registry
        inside = batch.device < len(registry)
        inside[inside] = registry.kind[batch.device[inside]] == batch.kind.index
        return batch if inside.all() else batch.take(inside)

    def _sift(self, batches: Sequence[Batch]) -> tuple[list[Batch], dict[str, int]]:
        kept: list[Batch] = []
        duplicates: dict[str, int] = {}
        for batch in batches:
            fresh, repeated = self.sieve.sift(batch)
            if repeated:
                duplicates[batch.kind.name] = duplicates.get(batch.kind.name, 0) + repeated
            if len(fresh):
                kept.append(fresh)
        return kept, duplicates

    async def _keep(self, record: Record | None, *, durable: bool) -> None:
        """Append the record and, when messages wait for it, make it durable; a sick disk is asked until it is well.

        None makes durable what was appended and judged before: the engine has moved on, so no snapshot may be written
        until its decisions are committed.
        """
        while True:
            try:
                if record is not None and not self.under_way:
                    self.journal.append(record)
                    self.under_way = True
                if durable:
                    await asyncio.to_thread(self.journal.sync)
            except (JournalError, OSError) as trouble:
                if self.pulse.journal_trouble != str(trouble):
                    log.warning(
                        "journal refuses: nothing is acknowledged until it takes records again", why=str(trouble)
                    )
                self.pulse.journal_trouble = str(trouble)
                # What is shipped is released only behind a snapshot, and the next one would be the loop's own.
                if self.shipper.judged != self.position and record is not None:
                    await self.save()
                await asyncio.sleep(JOURNAL_RETRY_S)
            else:
                if self.pulse.journal_trouble:
                    log.info("journal takes records again")
                self.pulse.journal_trouble = ""
                return

    def _judge(self, batches: Sequence[Batch], now_ms: int) -> Decided:
        """Let the engine judge readings and the passing of time, and gather what it says into incidents."""
        return self.incidents.step(self.engine.step(batches, now_ms), self.engine.fleet, now_ms)

    def compare(self, opened: Sequence[AlertRow], incidents: Sequence[IncidentRow]) -> int:
        """Compare engine and incidents with what is written down as open; return how many of it nobody remembers."""
        of_rules = [row for row in opened if row.rule not in FOUND]
        lost = self.engine.compare(of_rules)
        return lost + self.incidents.compare(opened, [row.as_change() for row in incidents])

    def remembered(self) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
        """Yield everything that a restart must not forget, as named arrays, each made when it is asked for."""
        yield from self.engine.parts()
        yield from self.incidents.save().items()
        yield from self.gaps.save().items()

    async def _decide(self, changes: Decided, now_ms: int) -> None:
        """Commit what follows from a group; a database that is locked, full or away is asked until it takes it.

        The engine has moved on already, so nothing may be acknowledged and no snapshot written before.
        """
        while changes:
            try:
                await asyncio.to_thread(self._commit, changes, now_ms)
                self.decided.set()
            except AWAY as trouble:
                if not self.pulse.operations_trouble:
                    log.warning(
                        "operations database refuses: nothing is acknowledged until it takes decisions again",
                        why=in_words(trouble),
                        retry_in_s=OPERATIONS_RETRY_S,
                    )
                self.pulse.operations_trouble = in_words(trouble)
                await asyncio.sleep(OPERATIONS_RETRY_S)
            else:
                if self.pulse.operations_trouble:
                    log.info("operations database takes decisions again")
                self.pulse.operations_trouble = ""
                return

    def _recommit(self, changes: Decided, now_ms: int) -> None:
        """Commit in recovery; from the first that fails on all are owed, in their order, before new messages come."""
        try:
            if changes and not self._owed:
                self._commit(changes, now_ms)
                return
        except AWAY as trouble:
            log.warning("operations database refuses what was judged again: it is kept", why=in_words(trouble))
            self.pulse.operations_trouble = in_words(trouble)
        if changes:
            self._owed.append((changes, now_ms))

    def _commit(self, changes: Decided, now_ms: int) -> None:
        rows = self.operations.commit(
            changes.transitions, self.receivers, now_ms,
            marks=changes.marks, incidents=changes.incidents, undecided=True,
        )  # fmt: skip
        for change in changes.transitions:
            self.pulse.transitions[change.rule, change.state] += 1
        tell(self.hub, rows, self.engine.registry)
