"""The journal: every reading goes to disk here before its message is acknowledged, and stays until it is stored.

Append-only segments, one fsync for a group, a checksum a record, a size limit. A torn tail is cut, damaged stretches
are set aside and reported, and what stands before and after them is still read (docs/decisions/0002-journal.md).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from devices.kinds import Catalog
from storage.journal_disk import FULL_ERRNOS, JournalError, JournalFullError, check_free, lock_folder, write_all
from storage.records import Reader, Record, Totals, add, describe, encode, make_header
from storage.recovery import Aside, Segment, recover
from storage.segments import Damage, NewerFormatError, frame, frames, header_frames, segment_path, sync_folder

__all__ = ["Journal", "JournalError", "JournalFullError", "Record"]


class Journal:
    """Records on disk under one folder, of which one process at a time is the writer.

    Args:
        folder: made when absent.
        catalog: today's kinds; records written under other catalogs are mapped by names.
        segment_bytes: a segment that has grown beyond this is closed; at most an eighth of ``limit_bytes``.
        limit_bytes: size of the whole journal at which append refuses.
        floor: highest position that the shipper or a snapshot has seen; new records get positions beyond it even where
            the journal itself was lost.

    Attributes:
        end, synced: positions behind the newest record, and behind the newest one that survives a power cut. Positions
            only grow, but for records that :meth:`sync` could not make safe.
        before: position in front of the newest record, once nothing is to be written again.
        totals: counts since the journal began, by kind name and ``unknown``, at ``end``.
        cramped: the newest record found no room. The segment being written is closed then, so that all that is shipped
            can be released.
    """

    def __init__(
        self,
        folder: Path,
        catalog: Catalog,
        *,
        segment_bytes: int = 64 << 20,
        limit_bytes: int = 8 << 30,
        floor: int = 0,
    ) -> None:
        self.folder = folder
        self.catalog = catalog
        self.limit_bytes = limit_bytes
        self.segment_bytes = min(segment_bytes, max(4096, limit_bytes // 8))
        self.totals: Totals = {}
        self.end = self.synced = self.before = self._whole = 0
        self._loose: list[Record] = []  # taken, not yet safe; the first ``_written`` of them stand on the disk
        self._written = 0
        self._synced_totals: Totals = {}
        self._lock = threading.Lock()
        self._segments: list[Segment] = []
        self.cramped = False
        self._closed_bytes = 0  # in all segments but the newest
        self._handle: int | None = None
        self._names: list[str] = []
        self._new_name = False  # a file was made whose name the folder has not yet made safe
        folder.mkdir(parents=True, exist_ok=True)
        self._aside = Aside(folder)
        self._guard = lock_folder(folder)
        try:
            self._open(floor)
        except NewerFormatError as trouble:
            self.close()
            raise JournalError(str(trouble)) from trouble
        except OSError as trouble:
            self.close()
            text = f"the journal in {folder} cannot be opened: {trouble}; copy it to a disk that can be read"
            raise JournalError(text) from trouble
        except BaseException:
            self.close()
            raise

    @property
    def start(self) -> int:
        """Return the position of the oldest byte kept."""
        with self._lock:
            return self._segments[0].base if self._segments else self.end

    @property
    def bytes_used(self) -> int:
        """Return how many bytes the segments hold."""
        with self._lock:
            return self._closed_bytes + (self._segments[-1].end - self._segments[-1].base if self._segments else 0)

    @property
    def damage(self) -> list[str]:
        """Return one sentence for each torn tail, damaged stretch or missing piece found since opening."""
        return self._aside.reports

    def append(self, record: Record) -> int:
        """Write a record behind the newest one and return the position after it; safe only after :meth:`sync`.

        Raises:
            JournalFullError: size limit or full disk; the record was not taken.
            JournalError: the disk failed; the record was not taken.
        """
        self._write_again()
        self._put(record, again=False)
        self._loose.append(record)
        self._written += 1
        return self.end

    def sync(self) -> int:
        """Make everything appended survive a power cut; return :attr:`synced`.

        Raises:
            JournalError: the disk refused. The segment is abandoned where it was last safe, for a second fsync of the
                same file may claim success for bytes that were lost; what was appended since is written again, in its
                order, by the next call, at other positions.
        """
        self._write_again()
        return self._make_safe()

    def read(self, position: int) -> Iterator[tuple[int, Record]]:
        """Yield synced records from ``position`` on, each with the position after it; another thread may append.

        A position before ``start`` begins at ``start``. Damaged stretches are set aside, reported and passed over.
        """
        until = self.synced
        while position < until:
            segment = self._segment_behind(position)
            if segment is None:
                return
            stop = min(segment.end, until)
            try:
                yield from self._read_segment(segment, max(position, segment.first), stop)
            except FileNotFoundError:  # released meanwhile
                if segment in self._segments:
                    raise
            position = stop

    def tail(self, size: int) -> int:
        """Return the position of a segment that begins at least ``size`` bytes before the end, or ``start``.

        Where the store was away for hours, a restart need not read hours of journal to know the latest readings.
        """
        with self._lock:
            bases = [segment.base for segment in self._segments if segment.base <= self.end - size]
        return bases[-1] if bases else self.start

    def release(self, before: int) -> None:
        """Delete the segments that lie wholly before ``before``; the one being written always stays."""
        with self._lock:
            while len(self._segments) > 1 and self._segments[0].end <= before:
                gone = self._segments.pop(0)
                self._closed_bytes -= gone.end - gone.base
                gone.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let the folder go; what was not synced is synced first where the disk allows."""
        try:
            if self._handle is not None:
                with suppress(JournalError):
                    self.sync()
        finally:
            self._close_handle()
            if self._guard >= 0:
                os.close(self._guard)
                self._guard = -1

    def _write_again(self) -> None:
        """Write what was taken and then lost with an abandoned segment."""
        while self._written < len(self._loose):
            self._put(self._loose[self._written], again=True)
            self._written += 1

    def _put(self, record: Record, *, again: bool) -> None:
        """Write a record behind the newest one; one that was taken before has had its room."""
        handle = self._handle
        if handle is None or self._segments[-1].end - self._segments[-1].base >= self._largest():
            handle = self._roll()
        totals = add(self.totals, record, self._names)
        data = frame(self.end, encode(record, totals, self._names))
        if not again:
            self._check_room(len(data))
        self._write(handle, data)
        self.cramped = False
        self.before = self.end
        self.end += len(data)
        self._segments[-1].end = self.end
        self.totals = totals

    def _make_safe(self) -> int:
        if self.synced == self.end:
            return self.synced
        try:
            if self._handle is not None:
                os.fdatasync(self._handle)
            if self._new_name:
                sync_folder(self.folder)
                self._new_name = False
        except OSError as trouble:
            self._abandon()
            raise JournalError(f"the journal in {self.folder} cannot be made safe: {trouble}") from trouble
        self.synced, self._synced_totals = self.end, self.totals
        del self._loose[: self._written]
        self._written = 0
        return self.synced

    def _open(self, floor: int) -> None:
        found = recover(self.folder, self.catalog, self._aside)
        self._segments, self.totals = found.segments, found.totals
        self._closed_bytes = sum(segment.end - segment.base for segment in found.segments[:-1])
        if found.end < floor:
            self._aside.report(f"the journal ends at {found.end}, but {floor} was reached before: records are missing")
        self._whole = found.whole
        self.end = self.before = max(found.end, floor)
        self.synced, self._synced_totals = self.end, self.totals
        last = self._segments[-1] if self._segments else None
        if last is None:
            return
        # A life that was killed may have left its last records, and its last segment's name, to the kernel alone; what
        # the broker repeats of them is acknowledged as a duplicate.
        handle = os.open(last.path, os.O_WRONLY)
        try:
            os.fdatasync(handle)
            sync_folder(self.folder)
        except OSError:
            os.close(handle)
            raise
        if last.end == self.end and last.header.kinds == describe(self.catalog):
            self._handle, self._names = handle, last.header.names
        else:
            os.close(handle)

    def _largest(self) -> int:
        """Return the size from which on the newest segment is closed: any, where records find no room."""
        newest = self._segments[-1]
        return newest.first - newest.base + 1 if self.cramped else self.segment_bytes

    def _check_room(self, size: int) -> None:
        """Raise JournalFullError where so many bytes more pass the limit, or leave others on the disk too little."""
        self.cramped = True  # until something is written
        used = self.bytes_used
        if used + size > self.limit_bytes:
            raise JournalFullError(
                f"the journal in {self.folder} holds {used} of {self.limit_bytes} bytes; "
                "messages are not acknowledged until the database has taken some"
            )
        check_free(self.folder, size)

    def _read_segment(self, segment: Segment, start: int, stop: int) -> Iterator[tuple[int, Record]]:
        reader = Reader(segment.header, self.catalog)
        for item in frames(segment.path, start, min(stop, segment.physical_end())):
            if isinstance(item, Damage):
                self._aside.keep(segment.path, item)
                continue
            try:
                record = reader.decode(item.body)
            except ValueError as trouble:
                self._aside.keep(segment.path, Damage(item.start, item.end, str(trouble)))
            else:
                yield item.end, record

    def _segment_behind(self, position: int) -> Segment | None:
        with self._lock:
            return next((segment for segment in self._segments if segment.end > position), None)

    def _write(self, handle: int, data: bytes) -> None:
        place = self.end - self._segments[-1].base
        try:
            write_all(handle, data, place)
        except OSError as trouble:
            try:
                os.ftruncate(handle, place)
            except OSError:
                self._abandon()
            raise self._refused(trouble) from trouble

    def _roll(self) -> int:
        """Begin a new segment at ``end`` and return its handle; what the old one holds is made safe first."""
        if self._handle is not None:
            self._make_safe()
            self._close_handle()
            self._whole = self.end
        header = make_header(self.end, self._whole, self.catalog, self.totals)
        data = header_frames(header)
        path = segment_path(self.folder, self.end)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
            try:
                write_all(handle, data, 0)
            except OSError:
                os.close(handle)
                path.unlink(missing_ok=True)
                raise
        except OSError as trouble:
            raise self._refused(trouble) from trouble
        self._handle, self._new_name, self._names = handle, True, header.names
        self.totals = header.starting_totals()
        first = self.end + len(data)
        with self._lock:
            if self._segments:
                self._closed_bytes += self._segments[-1].end - self._segments[-1].base
            self._segments.append(Segment(path, self.end, first, first, header))
        self.end = first
        return handle

    def _abandon(self) -> None:
        """Leave the segment being written as it was at the last sync; the next append begins a new one there."""
        last = self._segments[-1]
        with suppress(OSError):
            os.truncate(last.path, max(0, self.synced - last.base))
        self._close_handle()
        with self._lock:
            last.end = self.synced
            if last.first > self.synced:
                self._segments.pop()
                self._closed_bytes -= self._segments[-1].end - self._segments[-1].base if self._segments else 0
        self.end, self.totals, self._whole = self.synced, self._synced_totals, self.synced
        self._written = 0
        self._aside.report(
            f"{last.path.name} was abandoned at position {self.synced}: the disk refused to make it safe"
        )

    def _refused(self, trouble: OSError) -> JournalError:
        if trouble.errno in FULL_ERRNOS:
            self.cramped = True
            text = f"no room for the journal in {self.folder}: {trouble}; messages are not acknowledged until there is"
            return JournalFullError(text)
        return JournalError(f"the journal in {self.folder} cannot be written: {trouble}")

    def _close_handle(self) -> None:
        if self._handle is not None:
            with suppress(OSError):
                os.close(self._handle)
            self._handle = None
