"""Readings read back from a real InfluxDB are those read back from SQLite, and so are the alerts over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alerts.backtest import Backtest, fields_of
from devices.kinds import Catalog
from storage import past as past_module
from storage.influx import InfluxStore
from storage.past import InfluxPast, Past, SqlitePast, replay
from storage.sqlite import SqliteStore
from storage.timeseries import StoreAway
from tests.real.influxdb_server import InfluxDatabase
from tests.unit.past_city import END, START, ZONE, city, readings, rules_of

pytestmark = [pytest.mark.influxdb]


def test_influxdb_gives_back_what_sqlite_gives_back(
    influx: InfluxDatabase, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, rules = city(catalog), rules_of(catalog)
    sqlite = SqliteStore(tmp_path / "readings.db", catalog)
    store = InfluxStore(influx.url, influx.token, "", influx.bucket, catalog)
    for each in (sqlite, store):
        each.write(readings(catalog, registry), registry)
        each.close()
    monkeypatch.setattr(past_module, "_ROWS", 50)  # several chunks an answer
    pasts: list[Past] = [SqlitePast(tmp_path / "readings.db"), InfluxPast(influx.url, influx.token, influx.bucket)]
    found = []
    for past in pasts:
        test, batches = Backtest(rules, registry, ZONE, START), []
        for part in replay(past, registry, fields_of([rules], catalog), START, END):
            test.feed(part.batches, part.until_ms)
            batches += part.batches
        past.close()
        found.append((test.alerts(), batches))
    assert list(map(repr, found[0][0])) == list(map(repr, found[1][0]))
    assert [one.rule for one in found[0][0]][:2] == ["cabinet_door", "lamp_out"]
    for one, other in zip(found[0][1], found[1][1], strict=True):
        order = [np.lexsort((each.device, each.time_ms)) for each in (one, other)]
        for name in ("time_ms", "device", "marks"):
            assert np.array_equal(getattr(one, name)[order[0]], getattr(other, name)[order[1]]), name
        assert np.array_equal(one.values[:, order[0]], other.values[:, order[1]], equal_nan=True)


def test_devices_that_the_registry_does_not_know_are_counted_and_left_out(
    influx: InfluxDatabase, catalog: Catalog
) -> None:
    registry = city(catalog)
    influx_store = InfluxStore(influx.url, influx.token, "", influx.bucket, catalog)
    influx_store.write(readings(catalog, registry)[:1], registry)
    influx_store.post(f"streetlight,device=ghost power_w=1 {START + 5}000".encode())
    influx_store.close()
    past = InfluxPast(influx.url, influx.token, influx.bucket)
    kind = catalog["streetlight"]
    assert len(past.readings(kind, ("power_w",), registry, START, START + 60_000)) == 30
    assert past.strangers == 1
    past.close()


def test_an_influxdb_that_is_not_there_is_told(catalog: Catalog) -> None:
    past = InfluxPast("http://127.0.0.1:9", "t", "b", timeout_s=5)
    with pytest.raises(StoreAway, match="does not answer"):
        past.readings(catalog["streetlight"], ("power_w",), city(catalog), START, END)
    past.close()
