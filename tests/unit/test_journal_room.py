"""The disk runs full: the journal leaves room for others, and what is shipped makes room for what comes next."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from devices.kinds import Catalog
from storage.journal import Journal, JournalError, JournalFullError
from storage.ledger import Line, read_ledger
from storage.operations import Operations
from storage.shipper import Shipper
from storage.sqlite import SqliteStore
from tests.unit.storage_city import lamp_record, lamps


class Disk:
    """A disk of a given size, of which everything but the journal's own files is free."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.size = size

    def statvfs(self, _folder: object) -> SimpleNamespace:
        used = sum(path.stat().st_size for path in self.folder.glob("segment-*.log"))
        return SimpleNamespace(f_bavail=max(0, self.size - used), f_frsize=1, f_blocks=self.size)


def fill(journal: Journal, catalog: Catalog, first: int) -> int:
    """Append until there is no room; return how many records that were."""
    for number in range(first, first + 100_000):
        try:
            journal.append(lamp_record(catalog, number))
        except JournalFullError:
            return number - first
    raise AssertionError("it never ran full")


def test_a_small_disk_keeps_room_for_decisions_and_what_is_shipped_makes_room(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path / "journal", 160_000)
    monkeypatch.setattr(os, "statvfs", disk.statvfs)
    operations = Operations(f"sqlite:///{tmp_path / 'o.db'}")
    operations.import_assets(lamps(10))
    journal = Journal(tmp_path / "journal", catalog)  # segments of 64 MB: the whole disk is one of them
    shipper = Shipper(journal, SqliteStore(tmp_path / "r.db", catalog), operations, operations.load_registry(catalog))
    shipper.judged = 0
    number = 0
    for _ in range(3):
        number += fill(journal, catalog, number)
        journal.sync()
        assert journal.cramped
        assert disk.size // 16 <= disk.statvfs("").f_bavail < disk.size // 16 + 1000
        assert journal.bytes_used == sum(path.stat().st_size for path in journal.folder.glob("segment-*.log"))
        shipper.drain()
        shipper.judged = journal.end
        with pytest.raises(JournalFullError, match="no room"):
            journal.append(lamp_record(catalog, number))  # nothing is released yet, but the full segment is closed
        shipper.drain()
        assert journal.bytes_used < 5000
        journal.append(lamp_record(catalog, number))
        number += 1
        assert not journal.cramped
    journal.sync()
    shipper.drain()
    line = read_ledger(journal, operations).lines["streetlight"]
    assert line == Line(received=line.stored + line.duplicate, stored=3 * number, duplicate=line.duplicate)
    assert number > 100
    journal.close()
    operations.close()


def test_room_is_not_asked_for_beyond_what_a_large_disk_can_spare(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 65 << 20
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1, f_blocks=1 << 40))
    journal = Journal(tmp_path, catalog)
    journal.append(lamp_record(catalog, 0))
    free = 64 << 20
    with pytest.raises(JournalFullError, match="64 MB are free"):
        journal.append(lamp_record(catalog, 1))
    journal.close()


def test_a_journal_that_cannot_be_read_at_the_start_is_named_and_left_as_it_is(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, catalog)
    journal.append(lamp_record(catalog, 0))
    journal.close()
    (segment,) = tmp_path.glob("segment-*.log")
    before = segment.read_bytes()

    def sick(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr("storage.recovery.frames", sick)
        with pytest.raises(JournalError, match=r"cannot be opened: .*Input/output error; copy it"):
            Journal(tmp_path, catalog)
    assert segment.read_bytes() == before
    again = Journal(tmp_path, catalog)  # the folder was let go
    assert [record.totals["streetlight"].rows for _, record in again.read(0)] == [3]
    again.close()
