"""How long the shipper waits for a store that cannot, and how it learns what a store or a proxy lets through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from devices.kinds import Catalog
from storage.influx import InfluxStore
from storage.journal import Journal
from storage.ledger import Line, read_ledger
from storage.operations import Operations
from storage.shipper import ASKED_MAX_S, WAIT_FIRST_S, WAIT_MAX_S, WAIT_SPREAD, Shipper, wait_s
from tests.unit.storage_city import lamp_batch, lamp_record, lamps, registry_of
from tests.unit.test_storage_influx_status import Door, door

__all__ = ["door"]


@pytest.fixture
def store(door: Door, catalog: Catalog) -> Iterator[InfluxStore]:
    opened = InfluxStore(f"http://127.0.0.1:{door.server_port}", "t", "", "city", catalog, timeout_s=2.0)
    yield opened
    opened.close()


def test_waits_double_up_to_a_few_seconds_and_no_two_houses_wait_alike() -> None:
    waits = [wait_s(attempt, 0, "a") for attempt in range(50)]
    for attempt, wait in enumerate(waits):
        bare = min(WAIT_FIRST_S * 2**attempt, WAIT_MAX_S)
        assert bare <= wait <= bare * (1 + WAIT_SPREAD)
    assert len({wait_s(10, 0, f"house {n}") for n in range(100)}) == 100
    assert waits == [wait_s(attempt, 0, "a") for attempt in range(50)]


@pytest.mark.parametrize(("asked", "least"), [(0, WAIT_FIRST_S), (30, 30), (600, 600), (1e9, ASKED_MAX_S)])
def test_what_a_store_asks_for_is_waited_but_not_for_ever(asked: float, least: float) -> None:
    assert least <= wait_s(0, asked, "a") <= least * (1 + WAIT_SPREAD)


@pytest.mark.parametrize(
    ("status", "asked", "waits_s"),
    [(503, "2", 2.0), (429, "a date", 2.0), (429, "when the moon is full", WAIT_FIRST_S)],
)
def test_the_shipper_comes_back_when_the_store_asked_it_to(
    door: Door,
    store: InfluxStore,
    catalog: Catalog,
    tmp_path: Path,
    status: int,
    asked: str,
    waits_s: float,
) -> None:
    operations = Operations(f"sqlite:///{tmp_path / 'o.db'}")
    operations.import_assets(lamps(10))
    journal = Journal(tmp_path / "journal", catalog)
    journal.append(lamp_record(catalog, 1))
    journal.sync()
    shipper = Shipper(journal, store, operations, operations.load_registry(catalog))
    date = formatdate(time.time() + 3, usegmt=True)
    door.status, door.headers = status, {"Retry-After": date if asked == "a date" else asked}

    async def scene() -> float:
        task = asyncio.create_task(shipper.run())
        while not shipper.away:  # noqa: ASYNC110 - the shipper tells of itself, not to us
            await asyncio.sleep(0.005)
        refused = time.monotonic()
        assert str(status) in shipper.away
        door.status, door.headers = 204, {}
        while shipper.position < journal.end:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        waited = time.monotonic() - refused
        task.cancel()
        await asyncio.wait({task})
        return waited

    waited = asyncio.run(asyncio.wait_for(scene(), 30))
    assert waited >= waits_s - 0.1
    assert len(door.bodies) == 2
    assert read_ledger(journal, operations).lines["streetlight"] == Line(received=3, stored=3)
    journal.close()
    operations.close()


def test_what_is_let_through_is_learned_once_and_heeded_from_then_on(
    door: Door, store: InfluxStore, catalog: Catalog
) -> None:
    door.largest = 1000
    batches, registry = [lamp_batch(catalog, range(10), 1_760_000_000_000 + n) for n in range(20)], registry_of(catalog)
    first = store.write(batches, registry)
    refused = [body for body in door.bodies if len(body) > door.largest]
    assert refused
    door.bodies.clear()
    second = store.write(batches, registry)
    assert all(len(body) <= door.largest for body in door.bodies)
    assert max(map(len, door.bodies)) > door.largest / 4
    assert sum(len(body.splitlines()) for body in door.bodies) == 200
    assert first == second
    assert first.refused == []


def test_lines_go_device_by_device_and_each_devices_in_its_order(
    door: Door, store: InfluxStore, catalog: Catalog
) -> None:
    times = [1_760_000_000_000 + n for n in (5, 3, 9)]
    store.write([lamp_batch(catalog, [4, 2, 7], time) for time in times], registry_of(catalog))
    (body,) = door.bodies
    lines = [line.decode().split(" ") for line in body.splitlines()]
    devices = [head.split("device=")[1][:9] for head, _, _ in lines]
    assert devices == ["lamp-0002"] * 3 + ["lamp-0004"] * 3 + ["lamp-0007"] * 3
    assert [int(line[-1]) for line in lines] == [time * 1000 for time in times] * 3
