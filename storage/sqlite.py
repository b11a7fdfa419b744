"""Readings in one SQLite file: the store of the demo and of small cities, readable by other programs while it runs.

One table a kind with one column a field; a reading is the row of its device and time. Each call is one transaction
that survives a power cut.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from devices.batch import MARK_FUTURE, Batch
from devices.kinds import Catalog, Field, Kind
from devices.registry import Registry
from storage.timeseries import (
    HEARD,
    MARKS,
    SENT_MS,
    SUSPECT,
    History,
    OwnPoint,
    StoreAway,
    Written,
    interval_ms,
    moments_us,
)

BUSY_S = 30.0
_WHERE = "WHERE device = ? AND time_ms >= ? AND time_ms < ?"
EXTRA = (HEARD, SUSPECT, MARKS, SENT_MS)


class SqliteStore:
    """A TimeSeries in one file.

    Args:
        path: made when absent; its folder must exist.
        catalog: the kinds; a table is extended when a kind has gained a field.
    """

    def __init__(self, path: Path, catalog: Catalog) -> None:
        self.path = path
        self.catalog = catalog
        self._lock = threading.Lock()
        self._statements: dict[tuple[str, tuple[str, ...]], str] = {}
        try:
            self._writer = self._connect()
            with self._lock, self._writer:
                for kind in catalog:
                    self._table(kind)
                self._writer.execute(_OWN)
        except sqlite3.Error as trouble:
            raise StoreAway(f"{path} cannot be opened: {trouble}", needs_person=True) from trouble

    def write(self, batches: Sequence[Batch], registry: Registry) -> Written:
        """Store readings; the same ones again change nothing, fields of one device and time are merged."""
        written = Written()
        with self._writing() as connection:
            for batch in batches:
                names, rows = _rows(batch, registry)
                connection.executemany(self._upsert(batch.kind.name, names), rows)
                written.rows[batch.kind.name] = written.rows.get(batch.kind.name, 0) + len(batch)
        return written

    def write_own(self, points: Sequence[OwnPoint]) -> None:
        """Store points of Lamplighter's own series."""
        rows = []
        for point in points:
            fields = point.finite()
            if fields:
                tags = {name: value for name, value in sorted(point.tags.items()) if value}
                rows.append((point.measurement, _json(tags), point.time_ms, _json(fields)))
        with self._writing() as connection:
            connection.executemany(_OWN_UPSERT, rows)

    def history(
        self, kind: str, device_id: str, fields: Sequence[str], from_ms: int, until_ms: int, points_max: int
    ) -> History:
        """Return readings of one device with from_ms <= time < until_ms, thinned to ``points_max`` or fewer."""
        found = self.catalog[kind]
        columns = [found.fields[found.column(name)] for name in fields]
        about = (device_id, from_ms, until_ms)
        table = _table_name(kind)
        with self._reading() as connection:
            number = connection.execute(f"SELECT count(*) FROM {table} {_WHERE}", about).fetchone()[0]  # noqa: S608
            if number <= points_max:
                picked = ", ".join(_quoted(f.name) for f in columns)
                query = f"SELECT time_ms, {picked} FROM {table} {_WHERE} ORDER BY time_ms"  # noqa: S608
                return _history(fields, connection.execute(query, about).fetchall())
            return _thinned(connection, table, columns, about, points_max)

    def last_time_ms(self, kind: str) -> int | None:
        """Return the time of the newest reading of a kind, None where there is none."""
        table = _table_name(self.catalog[kind].name)
        with self._reading() as connection:
            found: float | None = connection.execute(f"SELECT max(time_ms) FROM {table}").fetchone()[0]  # noqa: S608
            return None if found is None else int(found)

    def own(self, measurement: str) -> list[OwnPoint]:
        """Return the points of one of Lamplighter's own series, oldest first."""
        query = "SELECT tags, fields, time_ms FROM own WHERE measurement = ? ORDER BY time_ms, tags"
        with self._reading() as connection:
            rows = connection.execute(query, (measurement,)).fetchall()
        return [OwnPoint(measurement, json.loads(tags), json.loads(fields), time) for tags, fields, time in rows]

    def check(self) -> str | None:
        """Return what is wrong with the file, or None."""
        try:
            with self._reading() as connection:
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except StoreAway as trouble:
            return str(trouble)
        return None

    def started_ms(self) -> int:
        """Return 0: what is committed survives a power cut."""
        return 0

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_S, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}").close()
        return connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock, self._writer:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
        except sqlite3.Error as trouble:
            raise StoreAway(f"{self.path.name} takes nothing: {trouble}") from trouble

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection of its own: readers never wait for the writer, nor for each other."""
        try:
            connection = self._connect()
            try:
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as trouble:
            raise StoreAway(f"{self.path.name} cannot be read: {trouble}") from trouble

    def _table(self, kind: Kind) -> None:
        """Make the table of a kind, or add the columns that it lacks."""
        table = _table_name(kind.name)
        self._writer.execute(
            f"CREATE TABLE IF NOT EXISTS {table} (device TEXT NOT NULL, time_ms INTEGER NOT NULL, "
            "PRIMARY KEY (device, time_ms)) WITHOUT ROWID"
        )
        present = {row[1] for row in self._writer.execute(f"PRAGMA table_info({table})")}
        for name in [*kind.field_names(), *EXTRA]:
            if name not in present:
                self._writer.execute(f"ALTER TABLE {table} ADD COLUMN {_quoted(name)} REAL")

    def _upsert(self, kind: str, names: tuple[str, ...]) -> str:
        if (kind, names) not in self._statements:
            table = _table_name(kind)
            columns = ", ".join(_quoted(name) for name in names)
            holes = ", ".join("?" * (len(names) + 2))
            merged = ", ".join(f"{q} = coalesce(excluded.{q}, {q})" for q in map(_quoted, names))
            self._statements[kind, names] = (
                f"INSERT INTO {table} (device, time_ms{', ' if names else ''}{columns}) VALUES ({holes}) "  # noqa: S608
                f"ON CONFLICT (device, time_ms) DO {f'UPDATE SET {merged}' if names else 'NOTHING'}"
            )
        return self._statements[kind, names]


_OWN = (
    "CREATE TABLE IF NOT EXISTS own (measurement TEXT NOT NULL, tags TEXT NOT NULL, time_ms INTEGER NOT NULL, "
    "fields TEXT NOT NULL, PRIMARY KEY (measurement, time_ms, tags)) WITHOUT ROWID"
)
_OWN_UPSERT = (
    "INSERT INTO own (measurement, tags, time_ms, fields) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (measurement, time_ms, tags) DO UPDATE SET fields = json_patch(fields, excluded.fields)"
)


def _rows(batch: Batch, registry: Registry) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Return the names of the columns that a batch has, and its readings as rows of device, time and these."""
    finite = np.isfinite(batch.values)
    names: list[str] = []
    columns: list[list[Any]] = []

    def add(name: str, values: Any, present: Any) -> None:  # noqa: ANN401 - numpy columns of several types
        names.append(name)
        column = values.tolist()
        columns.append(
            column if present.all() else [v if p else None for v, p in zip(column, present.tolist(), strict=True)]
        )

    for number in np.flatnonzero(finite.any(axis=1)):
        add(batch.kind.fields[number].name, batch.values[number], finite[number])
    empty = ~finite.any(axis=0)
    suspects = (batch.suspect & finite).sum(axis=0)
    clamped = (batch.marks & MARK_FUTURE) != 0
    extras = (
        (HEARD, empty.astype(float), empty),
        (SUSPECT, suspects, suspects > 0),
        (MARKS, batch.marks, batch.marks > 0),
    )
    for name, values, present in (*extras, (SENT_MS, batch.sent_ms, clamped)):
        if present.any():
            add(name, values, present)
    devices = registry.ids_of(batch.device)
    times = (moments_us(batch) / 1000 if clamped.any() else batch.time_ms).tolist()  # whole ones are kept as whole
    return tuple(names), list(zip(devices, times, *columns, strict=True))


def _thinned(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[Field],
    about: tuple[str, int, int],
    points_max: int,
) -> History:
    step = interval_ms(about[1], about[2], points_max)
    picked = [f"CAST(time_ms AS INTEGER) / {step} * {step} AS slot"]
    for column in columns:
        name = _quoted(column.name)
        if column.type == "code":  # the last one of the interval
            coded = f"CAST(time_ms AS INTEGER) * 65536 + CAST({name} AS INTEGER) + 32768"
            picked.append(f"max(CASE WHEN {name} IS NOT NULL THEN {coded} END) % 65536 - 32768")
        else:
            picked.append(f"{'max' if column.type == 'bool' else 'avg'}({name})")
    query = f"SELECT {', '.join(picked)} FROM {table} {_WHERE} GROUP BY slot ORDER BY slot"  # noqa: S608
    return _history([c.name for c in columns], connection.execute(query, about).fetchall())


def _history(fields: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> History:
    columns = list(zip(*rows, strict=True)) or [()] * (len(fields) + 1)
    values = {name: [None if v is None else float(v) for v in columns[place + 1]] for place, name in enumerate(fields)}
    return History([int(t) for t in columns[0]], values)


def _table_name(kind: str) -> str:
    return f'"readings_{kind}"'


def _quoted(name: str) -> str:
    """Return a field's name as SQL takes it; names are snake_case by declaration (devices.kinds.NAME)."""
    return f'"{name}"'


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)
