"""A store says yes before it is sure, and restarts: what it may have forgotten is given to it once more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from devices.batch import Batch
from devices.kinds import Catalog
from devices.registry import Registry
from storage import shipper as shipping
from storage.hold import Hold
from storage.influx_status import since_ms, started_of
from storage.journal import Journal
from storage.ledger import Line, read_ledger
from storage.operations import Operations
from storage.shipper import Shipper
from storage.timeseries import StoreAway, Written
from tests.unit.storage_city import lamp_record, lamps

BORN = 1_790_000_000_000


class Forgetful:
    """A store that has the last writes in memory only and forgets them at a restart; ``tells``: of when that was."""

    def __init__(self, *, tells: bool = True) -> None:
        self.safe: set[tuple[int, int]] = set()
        self.memory: list[set[tuple[int, int]]] = []
        self.started = BORN
        self.tells = tells
        self.away = False
        self.writes = 0

    def write(self, batches: Sequence[Batch], _registry: Registry) -> Written:
        if self.away:
            raise StoreAway("nobody there")
        self.writes += 1
        points = {(int(d), int(t)) for batch in batches for d, t in zip(batch.device, batch.time_ms, strict=True)}
        self.memory.append(points)
        return Written({"streetlight": sum(map(len, batches))})

    def settle(self) -> None:
        """Bring everything to disk."""
        self.safe.update(*self.memory)
        self.memory.clear()

    def restart(self) -> None:
        self.memory.clear()
        self.started += 60_000

    def started_ms(self) -> int | None:
        if self.away:
            raise StoreAway("nobody there")
        return self.started if self.tells else None

    @property
    def points(self) -> int:
        return len(self.safe.union(*self.memory))


class House:
    """Journal, operations database and shipper with a hold of 30 s over a forgetful store."""

    def __init__(self, folder: Path, catalog: Catalog, store: Forgetful) -> None:
        self.operations = Operations(f"sqlite:///{folder / 'o.db'}")
        self.operations.import_assets(lamps(10))
        self.registry = self.operations.load_registry(catalog)
        self.journal = Journal(folder / "journal", catalog, floor=self.operations.shipped().position)
        self.catalog = catalog
        self.store = store
        self.shipper = Shipper(self.journal, store, self.operations, self.registry, hold_s=30)  # type: ignore[arg-type]
        self.number = 0

    def append(self, count: int) -> None:
        for _ in range(count):
            self.journal.append(lamp_record(self.catalog, self.number))
            self.number += 1
        self.journal.sync()

    def line(self) -> Line:
        return read_ledger(self.journal, self.operations).lines["streetlight"]

    def close(self) -> None:
        self.journal.close()
        self.operations.close()


class Clock:
    """Steps the shipper through time that is handed in."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def pass_by(self, house: House, seconds: float) -> None:
        """Let the shipper take a step every second."""

        async def steps() -> None:
            loop = asyncio.get_running_loop()
            loop.time = lambda: self.now_s  # type: ignore[method-assign]
            for _ in range(round(seconds)):
                self.now_s += 1
                while await house.shipper._step():
                    pass

        asyncio.run(steps())


@pytest.fixture
def house(tmp_path: Path, catalog: Catalog) -> House:
    return House(tmp_path, catalog, Forgetful())


def test_what_a_restarted_store_forgot_is_given_to_it_again_and_counts_once(house: House) -> None:
    clock = Clock()
    house.append(10)
    clock.pass_by(house, 5)
    assert house.store.points == 30
    house.store.restart()
    assert house.store.points == 0
    house.append(2)
    clock.pass_by(house, 15)
    assert house.store.points == 36
    assert house.shipper.repeated >= 30
    assert house.line().stored == 36
    assert house.line().balanced
    house.close()


def test_a_store_that_runs_on_is_given_nothing_twice_and_the_journal_is_let_go(house: House) -> None:
    clock = Clock()
    house.append(10)
    clock.pass_by(house, 12)
    held = house.shipper.hold.confirmed
    assert held < house.shipper.position
    clock.pass_by(house, 30)
    assert house.shipper.hold.confirmed == house.shipper.position
    assert house.operations.shipped().confirmed == house.shipper.position
    assert house.operations.shipped().store_started_ms == BORN
    assert (house.store.writes, house.shipper.repeated) == (1, 0)
    house.close()


def test_only_the_hold_is_given_again_not_what_was_safe_long_ago(house: House) -> None:
    clock = Clock()
    house.append(10)
    clock.pass_by(house, 50)
    house.store.settle()
    house.append(4)
    clock.pass_by(house, 2)
    house.store.restart()
    clock.pass_by(house, 15)
    assert house.store.points == 42
    assert house.shipper.repeated == 12
    house.close()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_house_that_was_away_itself_asks_before_it_trusts(
    tmp_path: Path, catalog: Catalog, *, restarted: bool
) -> None:
    store, clock = Forgetful(), Clock()
    house = House(tmp_path, catalog, store)
    house.append(10)
    clock.pass_by(house, 45)
    store.settle()
    house.append(5)
    clock.pass_by(house, 2)
    house.close()
    if restarted:
        store.restart()
    again = House(tmp_path, catalog, store)
    clock.pass_by(again, 3)
    assert store.points == 45
    assert again.shipper.repeated == (15 if restarted else 0)
    clock.pass_by(again, 45)
    assert again.shipper.hold.confirmed == again.shipper.position
    assert again.line().stored == 45
    again.close()


def test_a_store_that_does_not_tell_is_given_the_hold_again_whenever_it_was_away(
    tmp_path: Path, catalog: Catalog
) -> None:
    store, clock = Forgetful(tells=False), Clock()
    house = House(tmp_path, catalog, store)
    house.append(10)
    clock.pass_by(house, 5)
    store.away = True
    house.append(1)
    with pytest.raises(StoreAway):
        clock.pass_by(house, 1)
    house.shipper._tell_away(StoreAway("nobody there"))
    store.restart()
    store.away = False
    clock.pass_by(house, 3)
    assert store.points == 33
    assert house.shipper.repeated == 30
    assert house.line().stored == 33
    house.close()


def test_a_restart_amid_the_giving_again_begins_it_anew(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "RECORDS_MAX", 2)
    clock = Clock()
    house.append(10)
    clock.pass_by(house, 5)
    house.store.restart()
    whole = house.store.write

    def once_more(batches: Sequence[Batch], registry: Registry) -> Written:
        if house.shipper.repeated >= 12 and house.store.started == BORN + 60_000:
            house.store.restart()
        return whole(batches, registry)

    house.store.write = once_more  # type: ignore[method-assign]
    house.append(1)
    clock.pass_by(house, 60)
    assert house.store.started == BORN + 120_000
    assert house.store.points == 33
    assert house.line().stored == 33
    house.close()


def test_the_journal_keeps_the_hold_and_lets_the_rest_go(tmp_path: Path, catalog: Catalog) -> None:
    store, clock = Forgetful(), Clock()
    house = House(tmp_path, catalog, store)
    house.journal.segment_bytes = 4096
    house.shipper.keep_bytes = 0
    house.append(100)
    clock.pass_by(house, 5)
    assert house.journal.start == 0
    clock.pass_by(house, 40)
    house.append(1)
    clock.pass_by(house, 2)
    assert house.journal.start > 0
    house.close()


def test_without_a_hold_nothing_is_asked_or_kept() -> None:
    hold = Hold(0, 500)
    hold.shipped(1.0, 900)
    hold.failed()
    assert not hold.due(1e9)
    assert hold.replaying is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T23:08:16Z", 1_795_302_496_000),
        ("2026-11-21T23:08:16.123456789Z", 1_795_302_496_123),
        ("2026-11-22T07:08:16.5+08:00", 1_795_302_496_500),
        ("2026-11-21T23:08:16", None),
        ("yesterday", None),
    ],
)
def test_a_start_is_read_from_what_influxdb_1_says(text: str, expected: int | None) -> None:
    assert since_ms(text) == expected


DATE = {"Date": "Sat, 21 Nov 2026 23:08:16 GMT"}


@pytest.mark.parametrize(
    ("metrics", "headers", "expected"),
    [
        ("# HELP x\nprocess_start_time_seconds 1.79530249612e+09\n", {}, 1_795_302_496_120),
        ('influxdb_uptime_seconds{id="0a"} 16.4\n', DATE, 1_795_302_479_600),
        ('influxdb_uptime_seconds{id="0a"} 16.4\n', {}, None),
        ("up 1\n", DATE, None),
        ("", DATE, None),
    ],
)
def test_a_start_is_read_from_metrics(metrics: str, headers: dict[str, str], expected: int | None) -> None:
    assert started_of(metrics, headers) == expected


def test_a_store_is_asked_before_it_takes_anything_and_one_that_never_forgets_is_not() -> None:
    hold = Hold(60.0, 0)
    assert hold.due(0.0)
    hold.told(0.0, 1_000)
    assert not hold.due(0.1)
    hold.shipped(0.2, 500)
    hold.failed()  # killed and back again
    hold.told(0.3, 2_000)
    assert hold.replaying == 0
    assert not Hold(0.0, 0).due(0.0)
