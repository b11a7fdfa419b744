"""From the journal to the store: what is shipped, counted, retried, and that the ledger balances through crashes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from devices.batch import Batch
from devices.kinds import Catalog
from devices.registry import Registry
from storage.journal import Journal
from storage.ledger import Ledger, Line, read_ledger
from storage.operations import Operations
from storage.shipper import Shipper
from storage.sqlite import SqliteStore
from storage.timeseries import Refused, StoreAway, Written
from tests.unit.storage_city import T0, lamp_batch, lamp_record, lamps


class House:
    """Journal, store and operations database in one folder; opened again after a crash."""

    def __init__(self, folder: Path, catalog: Catalog, store_type: type[SqliteStore] = SqliteStore) -> None:
        self.operations = Operations(f"sqlite:///{folder / 'o.db'}")
        self.operations.import_assets(lamps(10))
        self.registry = self.operations.load_registry(catalog)
        self.journal = Journal(folder / "journal", catalog, floor=self.operations.shipped().position)
        self.store = store_type(folder / "r.db", catalog)
        self.shipper = Shipper(self.journal, self.store, self.operations, self.registry)

    def ledger(self) -> Ledger:
        return read_ledger(self.journal, self.operations)

    def points(self) -> int:
        return sum(
            len(self.store.history("streetlight", f"lamp-{n:04d}", ["power_w"], 0, 1 << 50, 10**6).time_ms)
            for n in range(10)
        )

    def close(self) -> None:
        self.journal.close()
        self.store.close()
        self.operations.close()


class Absent(SqliteStore):
    """A store that is away until it is told otherwise, and refuses the readings of one device."""

    away = True
    refuses = "lamp-0001"

    def write(self, batches: Sequence[Batch], registry: Registry) -> Written:
        if self.away:
            raise StoreAway("no such place", 0.01)
        written = Written()
        for batch in batches:
            bad = np.array([registry.assets[row].id == self.refuses for row in batch.device])
            super().write([batch.take(~bad)], registry)
            written.rows["streetlight"] = written.rows.get("streetlight", 0) + int((~bad).sum())
            written.refused += [Refused("streetlight", self.refuses, "wrong type", "line")] * int(bad.sum())
        return written


def test_everything_arrives_and_the_ledger_says_so(tmp_path: Path, catalog: Catalog) -> None:
    house = House(tmp_path, catalog)
    for number in range(30):
        house.journal.append(lamp_record(catalog, number))
    house.journal.sync()
    before = house.ledger()
    assert before.lines["streetlight"] == Line(received=100, duplicate=10, pending=90)
    assert before.balance()
    assert house.shipper.ship_once(7) == 7
    assert house.ledger().lines["streetlight"].pending == 69
    assert house.ledger().balance()
    assert house.shipper.drain() == 23
    after = house.ledger()
    assert after.lines["streetlight"] == Line(received=100, stored=90, duplicate=10)
    assert after.lines["unknown"] == Line(received=10, quarantined=10)
    assert after.total == Line(received=110, stored=90, quarantined=10, duplicate=10)
    assert after.balance()
    assert house.points() == 90
    assert len(house.operations.quarantine_list(99)) == 10
    house.close()


def test_a_crash_between_store_and_position_writes_again_and_counts_once(tmp_path: Path, catalog: Catalog) -> None:
    house = House(tmp_path, catalog)
    for number in range(9):
        house.journal.append(lamp_record(catalog, number))
    house.journal.sync()
    batches = [batch for _, record in house.journal.read(0) for batch in record.batches]
    house.store.write(batches, house.registry)
    house.journal.append(lamp_record(catalog, 9))
    house.close()
    again = House(tmp_path, catalog)
    assert again.ledger().balance()
    assert again.ledger().lines["streetlight"].stored == 0
    again.shipper.drain()
    assert again.ledger().balance()
    assert again.ledger().lines["streetlight"].stored == 30
    assert again.points() == 30
    again.close()


def test_a_reading_that_the_journal_lost_shows_as_imbalance(tmp_path: Path, catalog: Catalog) -> None:
    house = House(tmp_path, catalog)
    for number in range(9):
        house.journal.append(lamp_record(catalog, number))
    house.journal.sync()
    house.close()
    path = next((tmp_path / "journal").glob("segment-*.log"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    again = House(tmp_path, catalog)
    again.shipper.drain()
    ledger = again.ledger()
    assert not ledger.balance()
    assert ledger.lines["streetlight"].difference == 3
    assert ledger.lines["streetlight"].pending == 0
    assert len(again.journal.damage) == 1
    again.close()


def test_an_absent_store_only_lengthens_the_journal(tmp_path: Path, catalog: Catalog) -> None:
    house = House(tmp_path, catalog, Absent)
    for number in range(6):
        house.journal.append(lamp_record(catalog, number))
    house.journal.sync()
    for _ in range(3):
        with pytest.raises(StoreAway):
            house.shipper.ship_once()
    assert house.ledger().lines["streetlight"].pending == 18
    assert house.operations.quarantine_list() == []
    house.store.away = False  # type: ignore[attr-defined]
    house.shipper.drain()
    ledger = house.ledger()
    assert ledger.lines["streetlight"] == Line(received=20, stored=12, quarantined=6, duplicate=2)
    assert ledger.balance()
    refused = house.operations.quarantine_list(99, reason="refused")
    assert len(refused) == 6
    assert (refused[0].device, refused[0].detail, refused[0].payload) == ("lamp-0001", "wrong type", b"line")
    house.close()


def test_the_task_waits_for_the_store_and_says_why(tmp_path: Path, catalog: Catalog) -> None:
    house = House(tmp_path, catalog, Absent)
    house.journal.append(lamp_record(catalog, 1))
    house.journal.sync()

    async def scene() -> None:
        task = asyncio.create_task(house.shipper.run())
        while not house.shipper.away:  # noqa: ASYNC110 - the shipper tells of itself, not to us
            await asyncio.sleep(0.01)
        assert house.shipper.away == "no such place"
        house.store.away = False  # type: ignore[attr-defined]
        while house.shipper.away or house.shipper.position < house.journal.end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(asyncio.wait_for(scene(), 20))
    assert house.shipper.away == ""
    assert house.ledger().balance()
    house.close()


def test_a_stop_waits_for_the_shipment_under_way(tmp_path: Path, catalog: Catalog) -> None:
    house = House(tmp_path, catalog)
    house.journal.append(lamp_record(catalog, 1))
    house.journal.sync()

    async def scene() -> None:
        task = asyncio.create_task(house.shipper.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    house.store._lock.acquire()
    releaser = threading.Timer(0.2, house.store._lock.release)
    releaser.start()
    asyncio.run(scene())
    assert house.shipper.position == house.journal.end
    house.close()
    releaser.join()


def test_rows_outside_the_registry_are_kept_apart(tmp_path: Path, catalog: Catalog) -> None:
    house = House(tmp_path, catalog)
    record = lamp_record(catalog, 1)
    record.batches = [lamp_batch(catalog, [3, 77])]
    record.received = {"streetlight": 2}
    house.journal.append(record)
    house.journal.sync()
    house.shipper.drain()
    (row,) = house.operations.quarantine_list()
    assert row.reason == "unknown_device"
    assert b"power_w=61" in row.payload
    assert house.ledger().lines["streetlight"] == Line(received=2, stored=1, quarantined=1)
    house.close()


def test_segments_go_when_stored_and_judged_and_not_before(tmp_path: Path, catalog: Catalog) -> None:
    house = House(tmp_path, catalog)
    house.journal.close()
    journal = Journal(tmp_path / "journal", catalog, segment_bytes=4096)
    shipper = Shipper(journal, house.store, house.operations, house.registry, keep_bytes=0)
    shipper.judged = 0
    for number in range(100):
        journal.append(lamp_record(catalog, number))
    journal.sync()
    shipper.drain()
    assert journal.start == 0
    shipper.judged = journal.end
    journal.append(lamp_record(catalog, 100))
    journal.sync()
    shipper.drain()
    assert len(list((tmp_path / "journal").glob("segment-*.log"))) == 1
    journal.close()
    house.close()


def test_a_position_beyond_the_journal_is_refused_with_what_to_do(tmp_path: Path, catalog: Catalog) -> None:
    house = House(tmp_path, catalog)
    house.operations.ship(1_000_000, {}, [])
    with pytest.raises(ValueError, match="floor=1000000"):
        Shipper(house.journal, house.store, house.operations, house.registry)
    house.close()
    again = House(tmp_path, catalog)
    again.journal.append(lamp_record(catalog, 1))
    again.journal.sync()
    again.shipper.drain()
    assert again.ledger().lines["streetlight"] == Line(received=3, stored=3)
    again.close()


def test_what_is_shipped_is_what_was_measured(tmp_path: Path, catalog: Catalog) -> None:
    house = House(tmp_path, catalog)
    house.journal.append(lamp_record(catalog, 2))
    house.journal.sync()
    house.shipper.drain()
    history = house.store.history("streetlight", "lamp-0001", ["voltage_v", "power_w"], T0, T0 + 3000, 10)
    assert history.time_ms == [T0 + 2000]
    assert history.values == {"voltage_v": [230.5], "power_w": [61.0]}
    house.close()
