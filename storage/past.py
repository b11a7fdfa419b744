"""What was measured, read back in order of time: the readings of all devices, slice by slice, as columns.

Slices are as long as it takes to hold about :data:`READINGS` readings, so that a year costs no more memory than a day.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import urllib3

from devices.batch import Batch, make_batch
from devices.kinds import Kind
from devices.registry import Registry
from storage.influx_http import Asking
from storage.lines import unescape
from storage.timeseries import MARKS, StoreAway

READINGS = 200_000  # of all kinds that a slice is to hold
FIRST_MS = 15 * 60_000  # length of the first slice
LEAST_MS, MOST_MS = 60_000, 86_400_000
_ROWS = 20_000  # taken from a cursor, and asked of InfluxDB, at a time
_CHUNK = msgspec.json.Decoder()


class Slice(NamedTuple):
    """Readings with from_ms <= time < until_ms, one batch a kind that has any, each in order of time."""

    from_ms: int
    until_ms: int
    batches: list[Batch]


class Past(Protocol):
    """A store whose readings can be read back. Blocking; StoreAway for what may be well again later."""

    def readings(self, kind: Kind, fields: Sequence[str], registry: Registry, from_ms: int, until_ms: int) -> Batch:
        """Return a kind's readings with from_ms <= time < until_ms in order of time; other fields are NaN."""

    def close(self) -> None:
        """Let go of files and connections."""


def replay(
    past: Past,
    registry: Registry,
    fields: Mapping[str, Sequence[str]],
    from_ms: int,
    until_ms: int,
    tick_ms: int = 30_000,
) -> Iterator[Slice]:
    """Yield the readings from ``from_ms`` up to ``until_ms`` in order of time.

    Args:
        past: the store.
        registry: whose devices are read; readings of others are left out.
        fields: by kind, which fields to read; kinds that are not named are left out.
        from_ms, until_ms: epoch milliseconds.
        tick_ms: slices are whole multiples of this long, but for the last.
    """
    length = _whole(FIRST_MS, tick_ms)
    while from_ms < until_ms:
        end = min(from_ms + length, until_ms)
        found = [past.readings(registry.catalog[kind], names, registry, from_ms, end) for kind, names in fields.items()]
        yield Slice(from_ms, end, [batch for batch in found if len(batch)])
        count = sum(len(batch) for batch in found)
        length = _whole(length * min(max(READINGS / max(count, 1), 0.25), 4.0), tick_ms)
        from_ms = end


def _whole(length_ms: float, tick_ms: int) -> int:
    return max(1, round(min(max(length_ms, LEAST_MS), MOST_MS) / tick_ms)) * tick_ms


class SqlitePast:
    """The readings of a SqliteStore's file, read beside a running house.

    Args:
        path: the file; it is not written to.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            self._columns: dict[str, set[str]] = {}
        except sqlite3.Error as trouble:
            raise StoreAway(f"{path} cannot be opened: {trouble}", needs_person=True) from trouble
        self._path = path

    def readings(self, kind: Kind, fields: Sequence[str], registry: Registry, from_ms: int, until_ms: int) -> Batch:
        """Return a kind's readings with from_ms <= time < until_ms in order of time; other fields are NaN."""
        rows = registry.rows_of(kind.name)
        try:
            known = self._known(kind)
            names = [name for name in fields if name in known]
            if not known:
                return _batch(kind, names, np.zeros((0, 3 + len(names))), rows)
            picked = ", ".join(f'r."{name}"' for name in [MARKS, *names])
            query = (
                f'SELECT d.key, r.time_ms, {picked} FROM json_each(?) AS d CROSS JOIN "readings_{kind.name}" AS r '  # noqa: S608
                "WHERE r.device = d.value AND r.time_ms >= ? AND r.time_ms < ?"
            )
            about = (json.dumps(registry.ids_of(rows)), from_ms, until_ms)
            parts = []
            with closing(self._connection.execute(query, about)) as cursor:
                while taken := cursor.fetchmany(_ROWS):
                    parts.append(np.array(taken, dtype=np.float64))
        except sqlite3.Error as trouble:
            raise StoreAway(f"{self._path.name} cannot be read: {trouble}") from trouble
        return _batch(kind, names, np.concatenate(parts) if parts else np.zeros((0, 3 + len(names))), rows)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _known(self, kind: Kind) -> set[str]:
        if kind.name not in self._columns:
            found = self._connection.execute(f'PRAGMA table_info("readings_{kind.name}")').fetchall()
            self._columns[kind.name] = {str(row[1]) for row in found}
        return self._columns[kind.name]


class InfluxPast:
    """The readings of an InfluxDB, asked for with InfluxQL, the answers in chunks.

    Args:
        url, token, bucket: as InfluxStore has them.
        timeout_s: how long one slice may take.
        ca_file: certificate authority of an https address, where the system does not know it.

    Attributes:
        strangers: readings of devices that the registry does not know, left out.
    """

    def __init__(
        self, url: str, token: str, bucket: str, *, timeout_s: float = 60.0, ca_file: str | None = None
    ) -> None:
        self._asking = _Chunks(url.rstrip("/"), token, bucket, timeout_s, ca_file)
        self._fields: dict[str, list[str]] = {}
        self.strangers = 0

    def readings(self, kind: Kind, fields: Sequence[str], registry: Registry, from_ms: int, until_ms: int) -> Batch:
        """Return a kind's readings with from_ms <= time < until_ms in order of time; other fields are NaN."""
        everything = self._known(kind)
        names = [name for name in fields if name in everything]
        # A point without any of the fields asked for is left out of an answer, and its device was heard all the same.
        others = [name for name in everything if name not in names and name != MARKS]
        if not everything:
            return _batch(kind, names, np.zeros((0, 3 + len(names))), registry.rows_of(kind.name))
        picked = ", ".join(f'"{name}"' for name in [MARKS, *names, "device", *others])
        query = f'SELECT {picked} FROM "{kind.name}" WHERE time >= {from_ms:d}ms AND time < {until_ms:d}ms'  # noqa: S608
        parts, width = [], 2 + len(names)
        for rows in self._asking.chunks(query):
            device = np.array([self._row(str(row[width]), registry) for row in rows], dtype=np.float64)
            table = np.array([row[:width] for row in rows], dtype=np.float64)
            mine = device >= 0
            self.strangers += int(np.count_nonzero(~mine))
            parts.append(np.column_stack([device, table])[mine])
        found = np.concatenate(parts) if parts else np.zeros((0, 3 + len(names)))
        return _batch(kind, names, found, np.arange(len(registry)))

    def close(self) -> None:
        """Close every connection."""
        self._asking.close()

    def _row(self, device: str, registry: Registry) -> int:
        return registry.row.get(unescape(device) if "%" in device else device, -1)

    def _known(self, kind: Kind) -> list[str]:
        if kind.name not in self._fields:
            rows = self._asking.rows(f'SHOW FIELD KEYS FROM "{kind.name}"')
            self._fields[kind.name] = [str(row[0]) for row in rows]
        return self._fields[kind.name]


class _Chunks(Asking):
    """Questions whose answers are long."""

    def chunks(self, query: str) -> Iterator[list[list[Any]]]:
        """Yield the rows of an answer, so many at a time as InfluxDB puts into one chunk."""
        asked = {"q": query, "db": self.bucket, "epoch": "ms", "chunked": "true", "chunk_size": str(_ROWS)}
        address = f"{self.url}/query"
        try:
            answer = self._http.request("POST", address, fields=asked, headers=self._auth, encode_multipart=False)
        except (urllib3.exceptions.HTTPError, OSError) as trouble:
            raise StoreAway(f"{self.url} does not answer: {trouble}") from trouble
        if answer.status != 200:
            raise StoreAway(f"{address} answers {answer.status}: {answer.data[:200]!r}", needs_person=True)
        for line in answer.data.splitlines():
            found = _CHUNK.decode(line)["results"][0]
            if "error" in found:
                raise StoreAway(f"{self.url} refuses a query: {found['error']}", needs_person=True)
            for series in found.get("series", []):
                yield series["values"]


def _batch(kind: Kind, names: Sequence[str], table: npt.NDArray[np.float64], rows: npt.NDArray[np.intp]) -> Batch:
    """Return readings in order of time.

    Args:
        kind: whose they are.
        names: of the columns behind the first three.
        table: (n, 3 + names): place in ``rows``, epoch milliseconds, marks, values.
        rows: registry rows.
    """
    table = table[np.argsort(table[:, 1], kind="stable")]
    values = np.full((len(kind.fields), len(table)), np.nan)
    for place, name in enumerate(names):
        values[kind.column(name)] = table[:, 3 + place]
    batch = make_batch(
        kind, 0, table[:, 1].astype(np.int64), rows[table[:, 0].astype(np.intp)].astype(np.int32), values
    )
    batch.marks = np.nan_to_num(table[:, 2]).astype(np.uint8)
    return batch
