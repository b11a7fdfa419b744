"""The InfluxDB store against a real InfluxDB 1.6.7 behind nginx, which speaks InfluxDB 2's token and write address."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from devices.batch import Batch, make_batch
from devices.kinds import Catalog
from devices.registry import Asset, Registry
from storage.influx import InfluxStore
from storage.journal import Journal
from storage.ledger import Line, read_ledger
from storage.lines import unescape
from storage.operations import Operations
from storage.shipper import Shipper
from storage.sqlite import SqliteStore
from storage.timeseries import OwnPoint, StoreAway
from tests.real.influxdb_server import Influx, InfluxDatabase
from tests.unit.storage_city import T0, dated_ahead, lamp_batch, lamp_record, lamps, registry_of

pytestmark = [pytest.mark.influxdb]


def open_store(database: InfluxDatabase, catalog: Catalog, *, gzip: bool = False, lines_max: int = 5000) -> InfluxStore:
    return InfluxStore(database.url, database.token, "", database.bucket, catalog, gzip=gzip, lines_max=lines_max)


@pytest.fixture
def store(influx: InfluxDatabase, catalog: Catalog) -> Iterator[InfluxStore]:
    opened = open_store(influx, catalog)
    yield opened
    opened.close()


@pytest.mark.parametrize("gzip", [False, True])
def test_readings_are_stored_as_measured_and_writing_them_again_changes_nothing(
    influx: InfluxDatabase, catalog: Catalog, *, gzip: bool
) -> None:
    store = open_store(influx, catalog, gzip=gzip, lines_max=3)
    registry = registry_of(catalog)
    for _ in range(2):
        written = store.write([lamp_batch(catalog, range(8)), lamp_batch(catalog, [1, 2], T0 + 1)], registry)
        assert (written.rows, written.refused) == ({"streetlight": 10}, [])
    found = influx.query("SELECT power_w, voltage_v, device, road FROM streetlight WHERE device = 'lamp-0001'")
    assert found == [
        {"time": T0, "power_w": 61, "voltage_v": 230.5, "device": "lamp-0001", "road": "长安街"},
        {"time": T0 + 1, "power_w": 60, "voltage_v": 230.5, "device": "lamp-0001", "road": "长安街"},
    ]
    assert influx.count("streetlight", "power_w") == 10
    store.close()


def test_every_field_of_every_kind_is_a_float_for_ever(
    influx: InfluxDatabase, store: InfluxStore, catalog: Catalog
) -> None:
    assets = [Asset(f"{kind.name}-1", kind.name, kind.roles[0]) for kind in catalog]
    registry = Registry(catalog, assets)
    batches = []
    for row, kind in enumerate(catalog):
        for number, value in enumerate((1.0, 0.5, 1e22)):
            batches.append(make_batch(kind, T0, [T0 + number], [row], np.full((len(kind.fields), 1), value)))
    assert store.write(batches, registry).refused == []
    for kind in catalog:
        types = {row["fieldKey"]: row["fieldType"] for row in influx.query(f"SHOW FIELD KEYS FROM {kind.name}")}
        assert types == dict.fromkeys([*kind.field_names(), "suspect"], "float")
        assert influx.count(kind.name, kind.fields[0].name) == 3


@pytest.fixture(scope="module")
def names_database(influx_server: Influx) -> InfluxDatabase:
    return influx_server.database()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
@example("comma, space =equals= \\backslash\\ \"quotes\" 'single' 井盖 100%")
@example("two\nlines\r\n\tand more")
@example("road\ninj2 v=1 1")
@example("ends with \\")
@example("\\,")
@example("%5C")
def test_any_name_comes_back_through_the_real_database(
    names_database: InfluxDatabase, catalog: Catalog, name: str
) -> None:
    store = open_store(names_database, catalog)
    assert store.write([lamp_batch(catalog, [0])], one_lamp(catalog, name)).refused == []
    store.write_own([OwnPoint("lighting_rate", {"scope": "road", "name": name}, {"rate": 1.0}, T0)])
    roads = names_database.query("SHOW TAG VALUES FROM streetlight WITH KEY = road")
    assert name in [unescape(row["value"]) for row in roads]
    own = names_database.query('SHOW TAG VALUES FROM lighting_rate WITH KEY = "name"')
    assert name in [unescape(row["value"]) for row in own]
    measurements = {row["name"] for row in names_database.query("SHOW MEASUREMENTS")}
    assert measurements == {"streetlight", "lighting_rate"}
    store.close()


def one_lamp(catalog: Catalog, road: str) -> Registry:
    return Registry(catalog, [Asset("lamp-0000", "streetlight", "lamp", road=road)])


def test_a_type_conflict_refuses_its_lines_and_keeps_the_good_ones(
    influx: InfluxDatabase, store: InfluxStore, catalog: Catalog
) -> None:
    store.post(f'streetlight,device=alien tilt_deg="steep" {T0}000'.encode())
    registry = registry_of(catalog)
    kind = catalog["streetlight"]
    values = np.full((len(kind.fields), 10), np.nan)
    values[kind.column("power_w")] = np.arange(10)
    values[kind.column("tilt_deg"), [3, 4, 9]] = 2.0
    written = store.write([make_batch(kind, T0, [T0] * 10, range(10), values)], registry)
    assert written.rows == {"streetlight": 7}
    assert sorted(r.device_id for r in written.refused) == ["lamp-0003", "lamp-0004", "lamp-0009"]
    assert all("field type conflict" in r.reason and "tilt_deg=2.0" in r.line for r in written.refused)
    assert influx.count("streetlight", "power_w") == 7


def test_a_line_that_cannot_be_parsed_is_found_whatever_the_count_says(
    influx: InfluxDatabase, store: InfluxStore
) -> None:
    lines = [f"house,n={n} v=1 {T0}000".encode() for n in range(9)]
    lines[5] = b"house,n=5 v=what " + str(T0 * 1000).encode()
    found = store._send(lines)
    assert [place for place, _ in found] == [5]
    assert "unable to parse" in found[0][1]
    assert influx.count("house", "v") == 8


def test_readings_older_than_the_database_keeps_are_refused_one_by_one(
    influx: InfluxDatabase, store: InfluxStore, catalog: Catalog
) -> None:
    influx.query(f'CREATE RETENTION POLICY "day" ON "{influx.bucket}" DURATION 1d REPLICATION 1 DEFAULT')
    (now,) = influx.server.query("SHOW DIAGNOSTICS", "")[-1:]
    today_ms = int(np.datetime64(str(now["currentTime"]).rstrip("Z")[:23], "ms").astype(int))
    registry = registry_of(catalog)
    fresh, old = lamp_batch(catalog, [0, 1], today_ms), lamp_batch(catalog, [2], today_ms - 9 * 86_400_000)
    written = store.write([fresh, old], registry)
    assert written.rows == {"streetlight": 2}
    assert [r.device_id for r in written.refused] == ["lamp-0002"]
    assert "retention policy" in written.refused[0].reason


def test_history_agrees_with_the_sqlite_store(
    influx: InfluxDatabase, store: InfluxStore, catalog: Catalog, tmp_path: Path
) -> None:
    registry = Registry(catalog, [Asset("cab-01", "streetlight", "cabinet"), *lamps(1)])
    kind = catalog["streetlight"]
    rng = np.random.default_rng(3)
    values = np.full((len(kind.fields), 500), np.nan)
    for name in ("phase_a_v", "door_open", "work_mode"):
        filled = rng.random(500) < 0.7
        values[kind.column(name), filled] = rng.integers(0, 2, filled.sum())
    batch = make_batch(kind, T0, T0 + 1000 * np.arange(500), [0] * 500, values)
    ahead = dated_ahead(batch.take(np.arange(90, 99)))
    other = SqliteStore(tmp_path / "r.db", catalog)
    for each in (store, other):
        each.write([batch, lamp_batch(catalog, [1]), ahead], registry)
    fields = ["phase_a_v", "door_open", "work_mode"]
    for points in (1000, 509, 50, 7, 2):
        question = ("streetlight", "cab-01", fields, T0, T0 + 500_000, points)
        left, right = store.history(*question), other.history(*question)
        kept = [n for n in range(len(right.time_ms)) if any(right.values[f][n] is not None for f in fields)]
        assert left.time_ms == [right.time_ms[n] for n in kept]
        assert len(left.time_ms) <= points
        for name in fields:
            expected = [right.values[name][n] for n in kept]
            assert left.values[name] == pytest.approx(expected)
    assert store.last_time_ms("streetlight") == other.last_time_ms("streetlight") == T0 + 499_000
    assert store.last_time_ms("truck") is None
    assert store.history("truck", "nobody", ["speed_kmh"], 0, T0, 9).time_ms == []
    other.close()


def ship(folder: Path, catalog: Catalog, store: InfluxStore, count: int) -> tuple[Shipper, Callable[[], Line]]:
    operations = Operations(f"sqlite:///{folder / 'o.db'}")
    operations.import_assets(lamps(10))
    journal = Journal(folder / "journal", catalog)
    for number in range(count):
        journal.append(lamp_record(catalog, number))
    journal.sync()
    shipper = Shipper(journal, store, operations, operations.load_registry(catalog))
    return shipper, lambda: read_ledger(journal, operations).lines["streetlight"]


def test_while_the_database_is_missing_nothing_is_lost_and_then_all_is_there(
    influx: InfluxDatabase, store: InfluxStore, catalog: Catalog, tmp_path: Path
) -> None:
    influx.drop()
    assert "has no database" in str(store.check())
    shipper, line = ship(tmp_path, catalog, store, 30)
    with pytest.raises(StoreAway, match="database not found") as caught:
        shipper.drain()
    assert caught.value.needs_person
    assert line() == Line(received=100, duplicate=10, pending=90)
    influx.server.database(influx.bucket)
    assert store.check() is None
    shipper.drain()
    assert line() == Line(received=100, duplicate=10, stored=90)
    assert influx.count("streetlight", "power_w") == 90


def test_killed_and_frozen_servers_only_lengthen_the_journal(
    start_influx: Callable[..., Influx], catalog: Catalog, tmp_path: Path
) -> None:
    server = start_influx()
    database = server.database("city")
    store = InfluxStore(server.url, server.token, "", "city", catalog, timeout_s=1.0)
    shipper, line = ship(tmp_path, catalog, store, 30)
    shipper.ship_once(10)
    server.kill()
    with pytest.raises(StoreAway, match="502"):
        shipper.ship_once()
    assert str(store.check())
    server.start()
    shipper.ship_once(10)
    server.pause()
    with pytest.raises(StoreAway, match="does not answer"):
        shipper.ship_once()
    server.resume()
    shipper.drain()
    server.kill()
    server.start()
    assert line() == Line(received=100, duplicate=10, stored=90)
    assert database.count("streetlight", "power_w") == 90
    store.close()


def test_a_wrong_token_is_held_for_a_person(influx: InfluxDatabase, catalog: Catalog) -> None:
    store = InfluxStore(influx.url, "wrong", "", influx.bucket, catalog)
    with pytest.raises(StoreAway, match="refuses the token") as caught:
        store.write([lamp_batch(catalog, [0])], registry_of(catalog))
    assert caught.value.needs_person
    assert "refuses the token" in str(store.check())
    store.close()


def test_a_proxy_that_lets_little_through_gets_little_at_a_time(
    start_influx: Callable[..., Influx], catalog: Catalog
) -> None:
    server = start_influx(body_size="2k")
    database = server.database("city")
    store = open_store(database, catalog)
    batches: Sequence[Batch] = [lamp_batch(catalog, range(10), T0 + n) for n in range(20)]
    written = store.write(batches, registry_of(catalog))
    assert (written.rows, written.refused) == ({"streetlight": 200}, [])
    assert database.count("streetlight", "power_w") == 200
    store.close()


def test_limits_that_would_drop_a_large_citys_readings_are_told_at_once(
    start_influx: Callable[..., Influx], catalog: Catalog
) -> None:
    server = start_influx(values_per_tag=100_000)
    store = open_store(server.database("city"), catalog)
    assert "set max-values-per-tag = 0" in str(store.check())
    store.close()


def test_own_series_arrive(influx: InfluxDatabase, store: InfluxStore) -> None:
    store.write_own([OwnPoint("ledger", {"kind": "pump"}, {"received": 5.0, "stored": 4.0}, T0)])
    assert influx.query("SELECT * FROM ledger") == [{"time": T0, "kind": "pump", "received": 5, "stored": 4}]
