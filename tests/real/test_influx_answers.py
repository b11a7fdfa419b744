"""A real InfluxDB's answers that never come, refusals amid a batch, limits, restarts: nothing lost or stored twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from bench.publish import START_MS, device_ids
from devices.batch import Batch, make_batch
from devices.kinds import Catalog
from devices.registry import Asset
from storage.influx import InfluxStore
from storage.journal import Journal
from storage.ledger import Line, read_ledger
from storage.operations import Operations
from storage.records import Record
from storage.shipper import Shipper
from storage.timeseries import StoreAway
from tests.real import service as house
from tests.real.influx_between import Between
from tests.real.influxdb_server import Influx, InfluxDatabase
from tests.real.servers import Mosquitto
from tests.real.service import Service
from tests.unit.storage_city import T0, lamp_batch, lamp_record, lamps

pytestmark = [pytest.mark.influxdb, pytest.mark.timeout(120)]


class Depot:
    """A journal with readings, an operations database, and the shipper that empties it into a store."""

    def __init__(self, folder: Path, catalog: Catalog, store: InfluxStore, *, hold_s: float = 0) -> None:
        self.catalog = catalog
        self.operations = Operations(f"sqlite:///{folder / 'o.db'}")
        self.operations.import_assets(lamps(10))
        self.journal = Journal(folder / "journal", catalog)
        registry = self.operations.load_registry(catalog)
        self.shipper = Shipper(self.journal, store, self.operations, registry, hold_s=hold_s)
        self.number = 0

    def append(self, count: int) -> None:
        """Append records of three readings each; every third has a reject and a duplicate too."""
        for _ in range(count):
            self.journal.append(lamp_record(self.catalog, self.number))
            self.number += 1
        self.journal.sync()

    def hear(self, batch: Batch) -> None:
        """Append one batch as a record of its own."""
        name = batch.kind.name
        self.journal.append(Record(batch.arrival_ms, [batch], received={name: len(batch)}))
        self.journal.sync()

    def line(self) -> Line:
        return read_ledger(self.journal, self.operations).lines["streetlight"]

    def close(self) -> None:
        self.journal.close()
        self.operations.close()


def open_store(database: InfluxDatabase, catalog: Catalog, url: str = "", timeout_s: float = 10.0) -> InfluxStore:
    return InfluxStore(url or database.url, database.token, "", database.bucket, catalog, timeout_s=timeout_s)


@pytest.fixture
def between(influx: InfluxDatabase) -> Iterator[Between]:
    opened = Between(int(influx.url.rsplit(":", 1)[1]))
    yield opened
    opened.stop()


@pytest.mark.parametrize("mood", ["swallow", "reset", "hang", "cut", "drip"])
def test_an_answer_lost_after_the_database_has_committed_costs_a_repetition_and_no_more(
    influx: InfluxDatabase, between: Between, catalog: Catalog, tmp_path: Path, mood: str
) -> None:
    store = open_store(influx, catalog, between.url, timeout_s=0.7)
    depot = Depot(tmp_path, catalog, store)
    depot.append(10)
    between.mood = mood
    for _ in range(2):
        with pytest.raises(StoreAway, match="does not answer"):
            depot.shipper.ship_once()
    committed(between, 2)
    assert influx.count("streetlight", "power_w") == 30  # it has them, and we cannot know
    assert depot.line().pending == 30
    between.mood = "pass"
    store.close()
    store = depot.shipper.timeseries = open_store(influx, catalog, between.url)  # with a city's patience
    depot.append(1)
    depot.shipper.drain()
    assert influx.count("streetlight", "power_w") == 33
    assert depot.line() == Line(received=37, duplicate=4, stored=33)
    depot.close()
    store.close()


def committed(between: Between, requests: int) -> None:
    """Wait until the database has answered so many requests, though nobody has heard it."""
    until = time.monotonic() + 20
    while between.answered < requests:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_connection_that_dies_between_two_requests_is_replaced(
    influx: InfluxDatabase, between: Between, catalog: Catalog, tmp_path: Path
) -> None:
    store = open_store(influx, catalog, between.url)
    depot = Depot(tmp_path, catalog, store)
    between.mood = "deaf"
    away = 0
    for _ in range(6):
        depot.append(1)
        try:
            depot.shipper.drain()
        except StoreAway:
            away += 1
    between.mood = "pass"
    depot.shipper.drain()
    assert away < 6
    assert influx.count("streetlight", "power_w") == 18
    assert depot.line().stored == 18
    depot.close()
    store.close()


def test_readings_that_the_database_refuses_go_to_quarantine_and_hold_up_nobody(
    influx: InfluxDatabase, catalog: Catalog, tmp_path: Path
) -> None:
    store = open_store(influx, catalog)
    store.post(f'streetlight,device=alien tilt_deg="steep" {T0}000'.encode())  # a field's first type stands for ever
    depot = Depot(tmp_path, catalog, store)
    kind = catalog["streetlight"]
    values = np.full((len(kind.fields), 9), np.nan)
    values[kind.column("power_w")] = 50.0
    values[kind.column("tilt_deg"), [2, 5]] = 3.0
    depot.hear(make_batch(kind, T0, T0 + np.arange(9), range(9), values))
    depot.hear(lamp_batch(catalog, range(10), T0 + 1000))
    depot.shipper.drain()
    assert depot.line() == Line(received=19, stored=17, quarantined=2)
    assert influx.count("streetlight", "power_w") == 17
    refused = depot.operations.quarantine_list(9)
    assert {row.device for row in refused} == {"lamp-0002", "lamp-0005"}
    assert all(row.reason == "refused" and "field type conflict" in row.detail for row in refused)
    depot.close()
    store.close()


@pytest.mark.parametrize("limit", ["max-values-per-tag", "max-series-per-database"])
def test_beyond_the_databases_limits_readings_wait_for_a_person_and_none_is_lost(
    start_influx: Callable[..., Influx], catalog: Catalog, tmp_path: Path, limit: str
) -> None:
    server = start_influx()
    restart(server, {"tsi1": "inmem", f"{limit} = 0": f"{limit} = 6"})  # the other index does not heed the limits
    database = server.database("city")
    store = open_store(database, catalog)
    depot = Depot(tmp_path, catalog, store)
    depot.hear(lamp_batch(catalog, range(6), T0 - 2000))
    depot.shipper.drain()  # a limit is looked at before a request, not within
    depot.hear(lamp_batch(catalog, range(4, 10), T0 - 1000))
    depot.append(3)
    for _ in range(2):
        with pytest.raises(StoreAway, match=limit) as caught:
            depot.shipper.drain()
        assert caught.value.needs_person
    assert depot.line().quarantined == 0
    assert database.count("streetlight", "power_w") < 21
    restart(server, {f"{limit} = 6": f"{limit} = 0"})
    depot.shipper.drain()
    assert depot.line() == Line(received=22, stored=21, duplicate=1)
    assert database.count("streetlight", "power_w") == 21
    depot.close()
    store.close()


def restart(server: Influx, changes: Mapping[str, str]) -> None:
    """Let a database begin anew with other settings."""
    server.terminate()
    config = server.folder / "influxdb.conf"
    text = config.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    config.write_text(text)
    server.start()


def test_a_reading_longer_than_a_proxy_lets_through_goes_to_quarantine_and_the_others_are_stored(
    start_influx: Callable[..., Influx], catalog: Catalog, tmp_path: Path
) -> None:
    server = start_influx(body_size="200")
    database = server.database("city")
    store = open_store(database, catalog)
    depot = Depot(tmp_path, catalog, store)
    depot.operations.import_assets(
        [Asset("lamp-9999", "streetlight", "lamp", lon=116.3, lat=39.9, road="一条名字很长的路" * 9)]
    )
    depot.shipper.registry = depot.operations.load_registry(catalog)
    depot.hear(lamp_batch(catalog, [0, 1, 10, 2, 3]))
    depot.shipper.drain()
    assert depot.line() == Line(received=5, stored=4, quarantined=1)
    (row,) = depot.operations.quarantine_list(9)
    assert (row.device, row.reason) == ("lamp-9999", "refused")
    assert "takes no request of that size" in row.detail
    assert "一条名字很长的路".encode() in row.payload
    assert database.count("streetlight", "power_w") == 4
    depot.close()
    store.close()


@pytest.mark.parametrize("forgets", [False, True])
def test_killed_just_after_it_said_yes_the_database_is_given_the_hold_once_more(
    start_influx: Callable[..., Influx], catalog: Catalog, tmp_path: Path, *, forgets: bool
) -> None:
    """InfluxDB 1 syncs before it says yes. Cutting its log to where it was before makes it one that does not."""
    server = start_influx()
    database = server.database("city")
    store = open_store(database, catalog)
    depot = Depot(tmp_path, catalog, store, hold_s=30)
    hold = depot.shipper.hold
    depot.append(10)
    depot.shipper.drain()
    hold.shipped(1000.0, depot.shipper.position)
    depot.shipper.confirm(1031.0)
    assert hold.confirmed == depot.shipper.position
    (log,) = (server.folder / "wal" / "city").rglob("*.wal")
    before = log.stat().st_size
    depot.append(4)
    depot.shipper.drain()
    hold.shipped(1032.0, depot.shipper.position)
    server.kill()
    assert log.stat().st_size > before
    if forgets:
        with log.open("rb+") as file:
            file.truncate(before)
    hold.failed()
    with pytest.raises(StoreAway):
        depot.shipper.confirm(1033.0)
    server.start()
    assert database.count("streetlight", "power_w") == (30 if forgets else 42)
    depot.shipper.confirm(1034.0)
    assert hold.replaying is not None
    while hold.replaying is not None:
        hold.replayed(1035.0, depot.shipper.repeat_once(hold.replaying))
    assert depot.shipper.repeated == 12
    assert database.count("streetlight", "power_w") == 42
    assert depot.line().stored == 42
    assert depot.line().balanced
    depot.close()
    store.close()


@pytest.mark.mosquitto
def test_killed_after_the_database_took_a_batch_and_before_that_is_written_down_it_is_counted_once(
    influx: InfluxDatabase,
    mosquitto: Mosquitto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    ids, count = device_ids(50), 3000
    service = Service(tmp_path, "took", mosquitto, influx, [Asset(name, "streetlight", "lamp") for name in ids])
    request.addfinalizer(service.close)
    killer = str(Path(__file__).with_name("crash_at.py"))
    with monkeypatch.context() as patched:
        patched.setattr(house, "LAMPLIGHTER", [sys.executable, killer, "ship.before:2", "--"])
        service.start()
        service.connected()
        words = ["--port", str(mosquitto.port), "--count", str(count), "--devices", "50", "--city", "took"]
        words += ["--start-ms", str(START_MS), "--rate", "3000"]
        subprocess.run([sys.executable, "-m", "bench.publish", *words], check=True, stdout=subprocess.DEVNULL)
        assert service._process is not None
        assert service._process.wait(30) == -signal.SIGKILL
    operations = Operations(service.operations_url)
    told = operations.shipped().stored.get("streetlight", 0)
    operations.close()
    assert told < influx.count("streetlight", "power_w")  # taken, and not written down
    service.start()
    line = service.settled("streetlight", count, 60)
    service.kill(signal.SIGTERM)
    assert line["stored"] == count == influx.count("streetlight", "power_w")
    assert line["received"] == line["stored"] + line["quarantined"] + line["duplicate"]
