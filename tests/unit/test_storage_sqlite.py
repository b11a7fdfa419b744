"""The SQLite store: merged fields, times, thinning, flags, a catalog that grows, and what other programs see."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from devices.batch import MARK_FUTURE, MARK_LATE, make_batch
from devices.kinds import Catalog, parse_kind
from devices.registry import Asset, Registry
from devices.yamlfile import parse_yaml
from storage.past import SqlitePast
from storage.sqlite import SqliteStore
from storage.timeseries import OwnPoint, StoreAway, interval_ms
from tests.unit.storage_city import T0, dated_ahead, lamp_batch, registry_of


@pytest.fixture
def store(tmp_path: Path, catalog: Catalog) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "readings.db", catalog)
    yield opened
    opened.close()


def rows(store: SqliteStore, query: str) -> list[tuple[object, ...]]:
    """Ask as another program would."""
    with sqlite3.connect(f"file:{store.path}?mode=ro", uri=True) as other:
        found = other.execute(query).fetchall()
    other.close()
    return found


def test_the_same_readings_twice_are_the_same_points(store: SqliteStore, catalog: Catalog) -> None:
    registry = registry_of(catalog)
    for _ in range(2):
        written = store.write([lamp_batch(catalog, [0, 1]), lamp_batch(catalog, [1, 2], T0 + 1)], registry)
        assert written.rows == {"streetlight": 4}
        assert written.refused == []
    assert rows(store, "SELECT device, time_ms, power_w FROM readings_streetlight ORDER BY 1, 2") == [
        ("lamp-0000", T0, 60.0),
        ("lamp-0001", T0, 61.0),
        ("lamp-0001", T0 + 1, 60.0),
        ("lamp-0002", T0 + 1, 61.0),
    ]


def test_fields_of_one_device_and_time_are_merged_and_the_last_value_wins(store: SqliteStore, catalog: Catalog) -> None:
    kind, registry = catalog["streetlight"], registry_of(catalog)
    for field, value in (("power_w", 1.0), ("tilt_deg", 2.0), ("power_w", 3.0)):
        values = np.full((len(kind.fields), 1), np.nan)
        values[kind.column(field)] = value
        store.write([make_batch(kind, T0, [T0], [4], values)], registry)
    history = store.history("streetlight", "lamp-0004", ["power_w", "tilt_deg", "current_a"], T0, T0 + 1, 10)
    assert history.time_ms == [T0]
    assert history.values == {"power_w": [3.0], "tilt_deg": [2.0], "current_a": [None]}


def test_a_reading_dated_ahead_never_becomes_one_with_another_of_its_millisecond(
    store: SqliteStore, catalog: Catalog
) -> None:
    registry = registry_of(catalog)
    ahead = dated_ahead(lamp_batch(catalog, [0], power_w=70.0))
    another = dated_ahead(lamp_batch(catalog, [0], power_w=71.0))
    another.sent_ms += 1000
    for _ in range(2):
        store.write([ahead, another], registry)
        store.write([lamp_batch(catalog, [0])], registry)  # dated rightly, and late
    history = store.history("streetlight", "lamp-0000", ["power_w"], T0, T0 + 1, 10)
    assert history.time_ms == [T0] * 3
    assert sorted(map(str, history.values["power_w"])) == ["60.0", "70.0", "71.0"]
    assert rows(store, "SELECT typeof(time_ms), count(*) FROM readings_streetlight GROUP BY 1 ORDER BY 1") == [
        ("integer", 1),
        ("real", 2),
    ]
    assert store.last_time_ms("streetlight") == T0
    past = SqlitePast(store.path)
    found = past.readings(catalog["streetlight"], ["power_w"], registry, T0, T0 + 1)
    past.close()
    assert found.time_ms.tolist() == [T0] * 3
    assert found.values[0, 0] == 60.0


def test_empty_suspect_late_and_clamped_readings_are_flagged(store: SqliteStore, catalog: Catalog) -> None:
    kind, registry = catalog["streetlight"], registry_of(catalog)
    values = np.full((len(kind.fields), 4), np.nan)
    values[kind.column("power_w")] = [np.nan, 9999, 5, 6]
    batch = make_batch(kind, T0, [T0] * 4, [0, 1, 2, 3], values)
    batch.marks = np.array([0, 0, MARK_LATE, MARK_FUTURE], np.uint8)
    batch.sent_ms = np.array([T0, T0, T0, T0 + 10**9])
    store.write([batch], registry)
    found = rows(store, "SELECT device, power_w, heard, suspect, marks, sent_ms FROM readings_streetlight ORDER BY 1")
    assert found == [
        ("lamp-0000", None, 1.0, None, None, None),
        ("lamp-0001", 9999.0, None, 1.0, None, None),
        ("lamp-0002", 5.0, None, None, float(MARK_LATE), None),
        ("lamp-0003", 6.0, None, None, float(MARK_FUTURE), float(T0 + 10**9)),
    ]


def test_history_is_thinned_by_mean_highest_state_and_last_code(store: SqliteStore, catalog: Catalog) -> None:
    kind = catalog["streetlight"]
    registry = Registry(catalog, [Asset("cab-01", "streetlight", "cabinet")])
    values = np.full((len(kind.fields), 100), np.nan)
    values[kind.column("phase_a_v")] = np.arange(100)
    values[kind.column("door_open")] = np.arange(100) == 42
    values[kind.column("work_mode")] = np.arange(100) % 3
    values[kind.column("work_mode"), 99] = np.nan
    begin = T0 - T0 % 10_000
    store.write([make_batch(kind, T0, begin + 1000 * np.arange(100), [0] * 100, values)], registry)
    history = store.history(
        "streetlight", "cab-01", ["phase_a_v", "door_open", "work_mode"], begin, begin + 100_000, 11
    )
    assert history.time_ms == [begin + 10_000 * n for n in range(10)]
    assert history.values["phase_a_v"] == [4.5 + 10 * n for n in range(10)]
    assert history.values["door_open"] == [float(n == 4) for n in range(10)]
    assert history.values["work_mode"] == [0, 1, 2, 0, 1, 2, 0, 1, 2, 2]
    assert len(store.history("streetlight", "cab-01", ["phase_a_v"], begin, begin + 100_000, 100).time_ms) == 100


@pytest.mark.parametrize("points", [2, 3, 7, 100, 999])
def test_thinning_never_gives_more_points_than_asked(store: SqliteStore, catalog: Catalog, points: int) -> None:
    registry = registry_of(catalog)
    kind = catalog["streetlight"]
    values = np.full((len(kind.fields), 1000), np.nan)
    values[0] = 1.0
    store.write([make_batch(kind, T0, T0 + 777 * np.arange(1000), [0] * 1000, values)], registry)
    history = store.history("streetlight", "lamp-0000", ["power_w"], T0, T0 + 777_000, points)
    assert 1 <= len(history.time_ms) <= points


def test_intervals_are_whole_seconds_where_they_are_long() -> None:
    assert interval_ms(0, 86_400_000, 601) == 144_000
    assert interval_ms(0, 1_234_567, 101) == 13_000
    assert interval_ms(0, 100, 1000) == 1


def test_times_outside_the_question_are_left_out(store: SqliteStore, catalog: Catalog) -> None:
    registry = registry_of(catalog)
    store.write([lamp_batch(catalog, [0], T0 + n) for n in range(5)], registry)
    assert store.history("streetlight", "lamp-0000", ["power_w"], T0 + 1, T0 + 4, 9).time_ms == [T0 + 1, T0 + 2, T0 + 3]
    assert store.history("streetlight", "lamp-0009", ["power_w"], 0, T0 * 2, 9).time_ms == []
    assert store.last_time_ms("streetlight") == T0 + 4
    assert store.last_time_ms("truck") is None


def test_a_kind_that_gains_a_field_keeps_its_readings(tmp_path: Path) -> None:
    def declared(*fields: str) -> Catalog:
        lines = "\n".join(f"  {f}: {{range: [0, 10], en: {f}, zh: {f}}}" for f in fields)
        return Catalog([parse_kind(parse_yaml(f"kind: gauge\nen: x\nzh: x\nroles: {{only: 60}}\nfields:\n{lines}\n"))])

    for number, fields in enumerate((("level",), ("flow", "level"))):
        catalog = declared(*fields)
        store = SqliteStore(tmp_path / "readings.db", catalog)
        kind, registry = catalog["gauge"], Registry(catalog, [Asset("gauge-1", "gauge", "only")])
        store.write([make_batch(kind, T0, [T0 + number], [0], np.full((len(fields), 1), 5.0))], registry)
        history = store.history("gauge", "gauge-1", fields, T0, T0 + 9, 9)
        store.close()
    assert history.time_ms == [T0, T0 + 1]
    assert history.values == {"flow": [None, 5.0], "level": [5.0, 5.0]}


def test_own_points_are_merged_and_what_is_no_number_is_left_out(store: SqliteStore) -> None:
    tags = {"scope": "road", "name": "长安街", "district": ""}
    store.write_own([OwnPoint("lighting_rate", tags, {"rate": 0.9, "rate_low": math.nan}, T0)])
    store.write_own([OwnPoint("lighting_rate", tags, {"rate_low": 0.8}, T0), OwnPoint("x", {}, {"y": math.inf}, 1)])
    (point,) = store.own("lighting_rate")
    assert point.tags == {"name": "长安街", "scope": "road"}
    assert point.fields == {"rate": 0.9, "rate_low": 0.8}
    assert store.own("x") == []


def test_a_place_that_cannot_be_opened_says_so(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(StoreAway, match="cannot be opened"):
        SqliteStore(tmp_path / "nowhere" / "readings.db", catalog)


def test_a_file_that_is_no_database_is_away_and_not_destroyed(tmp_path: Path, catalog: Catalog) -> None:
    path = tmp_path / "readings.db"
    path.write_bytes(b"a letter to the mayor" * 100)
    with pytest.raises(StoreAway):
        SqliteStore(path, catalog)
    assert path.read_bytes().startswith(b"a letter")


def test_a_well_store_has_nothing_to_say(store: SqliteStore) -> None:
    assert store.check() is None


def test_a_question_for_an_unknown_field_is_a_mistake_of_the_asker(store: SqliteStore) -> None:
    with pytest.raises(KeyError, match="has no field"):
        store.history("streetlight", "lamp-0000", ["power_w; DROP TABLE x"], 0, 1, 9)
