"""The operations database is locked, the registry old, the disk full: the watch waits, says so and loses nothing."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devices.topics import up
from ingest.inbox import Delivery
from lamplighter.clock import real_clock
from lamplighter.service import running
from lamplighter.settings import Api, Broker, City, Receiver, Settings
from lamplighter.wiring import House
from storage import snapshot
from storage.operations import Operations
from tests.small_house import CITY, RULES, ZONE, small_assets

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("storage.database.BUSY_S", 1)  # less patience with a lock than a city needs
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    (tmp_path / "data").mkdir()
    settings = Settings(
        city=City(id=CITY, timezone=ZONE),
        data=tmp_path / "data",
        rules=tmp_path / "rules.yaml",
        broker=Broker(port=9),  # nobody listens there: messages are handed in
        api=Api(port=0),
        notify=(Receiver(name="crew", url="log"),),
    )
    operations = Operations(settings.operations_url())
    operations.import_assets(small_assets())
    operations.close()
    return settings


@contextmanager
def opened(settings: Settings) -> Iterator[House]:
    house = House(settings, real_clock())
    try:
        yield house
    finally:
        house.close()


@contextmanager
def locked(settings: Settings) -> Iterator[sqlite3.Connection]:
    """Hold the one writer's place of the operations database, as a long import by another process does."""
    other = sqlite3.connect(settings.data / "operations.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield other
    finally:
        other.close()


def cover(device: str, ts: int, *, opened: bool) -> Delivery:
    payload = json.dumps({"ts": ts, "cover_open": opened}).encode()
    return Delivery(up(CITY, "manhole", device), payload, 1, 0)


async def until(check: Callable[[], Any], within_s: float = 15) -> None:
    async with asyncio.timeout(within_s):
        while not check():  # noqa: ASYNC110 - many small things are waited for here, each in one line
            await asyncio.sleep(0.02)


def unwell(house: House, name: str) -> str:
    """Return what a part says that is not well, empty where it is."""
    return next((part.says for part in house.health() if part.name == name and not part.well), "")


def test_a_locked_operations_database_delays_an_alert_and_its_acknowledgement_and_loses_neither(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def night(house: House) -> None:
        acknowledged: list[Delivery] = []
        monkeypatch.setattr(house.session, "acknowledge", acknowledged.extend)
        async with running(house):
            with locked(settings):
                house.session.inbox.put([cover("cover-0001", house.now_ms(), opened=True)])
                await until(lambda: unwell(house, "operations"))
                assert "nothing is acknowledged" in unwell(house, "operations")
                assert "locked" in unwell(house, "operations")
                assert acknowledged == []
                assert house.journal.totals["manhole"].rows == 1
            await until(lambda: acknowledged)
            (row,) = house.operations.alerts("open")
            assert row.entity == "device:cover-0001"
            assert unwell(house, "operations") == ""
            await until(lambda: house.operations.outbox_counts()["sent"] == 1)

    with opened(settings) as house:
        asyncio.run(night(house))


def test_a_stop_while_the_operations_database_is_locked_leaves_the_alert_to_the_next_life(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamplighter.service.STOP_S", 0.5)

    async def cut_short(house: House) -> None:
        async with running(house):
            house.session.inbox.put([cover("cover-0001", house.now_ms(), opened=True)])
            await until(lambda: unwell(house, "operations"))

    with opened(settings) as house, locked(settings):
        asyncio.run(cut_short(house))
    with opened(settings) as house:
        assert house.operations.alerts() == []
        assert house.recover() >= 1
        (row,) = house.operations.alerts("open")
        assert row.entity == "device:cover-0001"


def test_a_start_while_the_operations_database_is_locked_keeps_what_it_judged_again(settings: Settings) -> None:
    async def cut_short(house: House) -> None:
        async with asyncio.timeout(0.5):
            await house.watch.group([cover("cover-0001", house.now_ms(), opened=True)])

    with opened(settings) as house, locked(settings), pytest.raises(TimeoutError):
        asyncio.run(cut_short(house))  # in the journal, and not yet committed

    async def morning(house: House, other: sqlite3.Connection) -> None:
        async with running(house):
            await until(lambda: unwell(house, "operations"))
            assert snapshot.load(settings.data / "snapshots") is None
            other.execute("ROLLBACK")
            await until(lambda: house.operations.alerts("open"))
            await until(lambda: not unwell(house, "operations"))

    with opened(settings) as house, locked(settings) as other:
        asyncio.run(morning(house, other))


def test_a_disk_too_full_for_a_snapshot_does_not_end_the_watch(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamplighter.saver.SNAPSHOT_S", 0.1)
    monkeypatch.setattr("lamplighter.saver.SNAPSHOT_RETRY_S", 1.0)
    whole = os.fsync
    full = True

    def fsync(handle: int) -> None:
        if full and "snapshot" in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(handle)

    monkeypatch.setattr(os, "fsync", fsync)

    async def night(house: House) -> None:
        nonlocal full
        async with running(house):
            await until(lambda: unwell(house, "disk"))
            assert "snapshot" in unwell(house, "disk")
            house.session.inbox.put([cover("cover-0001", house.now_ms(), opened=True)])
            await until(lambda: house.operations.alerts("open"))
            assert snapshot.load(settings.data / "snapshots") is None
            full = False
            await until(lambda: "snapshot" not in unwell(house, "disk"))

    with opened(settings) as house:
        asyncio.run(night(house))
    assert snapshot.load(settings.data / "snapshots") is not None


def test_ticks_that_the_disk_dropped_are_written_again_and_a_snapshot_hides_nothing_behind_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fdatasync = os.fdatasync
    sick = [True]

    def refuses(handle: int) -> None:
        if sick:
            sick.pop()
            raise OSError(errno.EIO, "Input/output error")
        fdatasync(handle)

    async def night(house: House) -> None:
        for _ in range(20):
            await house.watch.group([])  # ticks are not synced
        monkeypatch.setattr(os, "fdatasync", refuses)
        await house.watch.save()
        await house.watch.save()
        await house.watch.group([cover("cover-0001", house.now_ms(), opened=True)])
        assert sick == []

    with opened(settings) as house:
        asyncio.run(night(house))
        monkeypatch.setattr(os, "fdatasync", fdatasync)
        found = snapshot.load(settings.data / "snapshots")
        assert found is not None
        records = list(house.journal.read(0))
        assert [len(record.batches) for _, record in records] == [0] * 20 + [1]
        after = [record for position, record in records if position > found[0]]
        assert [len(batch) for record in after for batch in record.batches] == [1], "judged again from the snapshot"
        assert len(after) == 1
    with opened(settings) as again:
        again.recover()
        assert again.engine.open_alerts()["cover_open"].keys() == {"device:cover-0001"}


def test_a_registry_older_than_the_journal_does_not_keep_the_house_from_starting(settings: Settings) -> None:
    with opened(settings) as house:
        asyncio.run(house.watch.group([cover("cover-0001", house.now_ms(), opened=True)]))
    for path in settings.data.glob("operations.db*"):
        path.unlink()
    operations = Operations(settings.operations_url())  # as restored from a copy of an earlier day
    operations.import_assets(small_assets()[:3])
    operations.close()
    with opened(settings) as house:
        assert house.recover() >= 1
        house.shipper.drain()
        assert house.operations.quarantine_counts() == {"unknown_device": 1}


def test_an_open_alert_of_which_the_engine_lost_its_memory_is_cleared_and_one_that_it_knows_stays(
    settings: Settings,
) -> None:
    async def evening(house: House) -> None:
        await house.watch.group([cover("cover-0001", house.now_ms(), opened=True)])

    async def morning(house: House) -> None:
        async with running(house):
            await until(lambda: house.operations.alerts("cleared"))

    with opened(settings) as house:
        asyncio.run(evening(house))
    settings.rules.write_text(RULES.replace("id: cover_open", "id: cover_off"), encoding="utf-8")
    # A crash, and rules that were changed before the next start: no snapshot tells of the alert.
    with opened(settings) as house:
        asyncio.run(morning(house))
        told = {row.rule: (row.state, row.reason) for row in house.operations.alerts()}
        assert told == {"cover_open": ("cleared", "rule_changed"), "cover_off": ("active", "")}
        known = house.operations.alerts("open")
    with opened(settings) as house:

        async def another(house: House) -> None:
            async with running(house):
                house.session.inbox.put([cover("cover-0002", house.now_ms(), opened=True)])
                await until(lambda: len(house.operations.alerts("open")) == 2)

        asyncio.run(another(house))
        assert known[0] in house.operations.alerts("open")


def test_a_message_of_a_device_adopted_as_another_kind_stays_where_it_is(settings: Settings) -> None:
    with opened(settings) as house:
        wrong = Delivery(up(CITY, "streetlight", "cover-0001"), b"{}", 1, 0)
        asyncio.run(house.watch.group([wrong]))
        house.shipper.drain()
    with opened(settings) as house:
        house.recover()
        assert asyncio.run(house.watch.readmission.at_start()) == 0
        house.shipper.drain()
        assert house.journal.totals["streetlight"].received == 1
        assert house.operations.quarantine_counts() == {"unknown_device": 1}
