"""Readings in InfluxDB 1.8 to 3: written through influxdb-client as line protocol, read back with InfluxQL."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import urllib3
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS

from devices.batch import Batch
from devices.kinds import Catalog, Field
from devices.registry import Registry
from storage.influx_http import Asking, hurry
from storage.influx_status import Answer, DataFault, TooLarge, judge
from storage.lines import LineWriter, own_line, stored
from storage.timeseries import History, OwnPoint, Refused, StoreAway, Written, interval_ms

LINES_MAX = 5000  # lines a request: InfluxDB's own advice
MICROSECONDS: Any = "us"  # WritePrecision.US, which the client declares as another type than it takes
THIN = {"bool": "max", "code": "last"}  # how a field's readings of one interval become one value; others by mean


class InfluxStore:
    """A TimeSeries in an InfluxDB.

    Args:
        url: address, ``http://host:8086``.
        token: sent in the Authorization header.
        org: organisation of InfluxDB 2; any text for others.
        bucket: bucket, or database of InfluxDB 1 and 3. InfluxQL must reach it under the same name.
        catalog: the kinds.
        gzip: compress what is written; worth it beyond a local network.
        timeout_s: how long one request may take.
        ca_file: certificate authority of an https address, where the system does not know it.
    """

    def __init__(
        self,
        url: str,
        token: str,
        org: str,
        bucket: str,
        catalog: Catalog,
        *,
        gzip: bool = False,
        timeout_s: float = 10.0,
        lines_max: int = LINES_MAX,
        ca_file: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.bucket = bucket
        self.catalog = catalog
        self.lines_max = lines_max
        self._org = org or "-"
        self._client = InfluxDBClient(
            self.url, token, org=self._org, timeout=int(timeout_s * 1000), enable_gzip=gzip, ssl_ca_cert=ca_file
        )
        self._write_api = self._client.write_api(write_options=SYNCHRONOUS)
        hurry(self._client.api_client.rest_client.pool_manager)
        self._asking = Asking(self.url, token, bucket, timeout_s, ca_file)
        self._bytes_max = 0  # what a request may have, as far as refusals have taught; 0 for no limit
        self._lock = threading.Lock()
        self._writer: LineWriter | None = None

    def write(self, batches: Sequence[Batch], registry: Registry) -> Written:
        """Store readings; the same ones again overwrite themselves, fields of one device and time are merged.

        Lines go device by device, those of one in their order: the database spends a third less on lines that come
        sorted, which is what draining a backlog is bound by.
        """
        writer = self._writer_of(registry)
        found = [writer.lines(batch) for batch in batches]
        written = Written()
        for batch in batches:
            written.rows[batch.kind.name] = written.rows.get(batch.kind.name, 0) + len(batch)
        device = _joined([batch.device[each.rows] for batch, each in zip(batches, found, strict=True)])
        order = np.argsort(device, kind="stable")
        origin = np.repeat(np.arange(len(batches)), [len(each.rows) for each in found])
        unsorted = [line for each in found for line in each.lines]
        lines = [unsorted[place] for place in order.tolist()]
        for place, reason in self._send_all(lines):
            kind = batches[origin[order[place]]].kind.name
            asset = registry.assets[device[order[place]]]
            written.rows[kind] -= 1
            written.refused.append(Refused(kind, asset.id, reason, lines[place].decode()))
        return written

    def write_own(self, points: Sequence[OwnPoint]) -> None:
        """Store points of Lamplighter's own series."""
        self._send_all([line for line in map(own_line, points) if line is not None])

    def history(
        self, kind: str, device_id: str, fields: Sequence[str], from_ms: int, until_ms: int, points_max: int
    ) -> History:
        """Return readings of one device with from_ms <= time < until_ms, thinned to ``points_max`` or fewer."""
        found = self.catalog[kind]
        columns = [found.fields[found.column(name)] for name in fields]
        if not columns:
            return History([], {})
        where = f"WHERE device = {_text(stored(device_id))} AND time >= {from_ms:d}ms AND time < {until_ms:d}ms"
        picked = ", ".join(_name(f.name) for f in columns)
        query = f"SELECT {picked} FROM {_name(kind)} {where} ORDER BY time LIMIT {points_max + 1:d}"  # noqa: S608
        rows = self._asking.rows(query)
        if len(rows) > points_max:
            step = interval_ms(from_ms, until_ms, points_max)
            thinned = ", ".join(_thinned(f) for f in columns)
            query = f"SELECT {thinned} FROM {_name(kind)} {where} GROUP BY time({step:d}ms) fill(none)"  # noqa: S608
            rows = self._asking.rows(query)
        values = {name: [_number(row[place + 1]) for row in rows] for place, name in enumerate(fields)}
        return History([int(row[0]) for row in rows], values)

    def last_time_ms(self, kind: str) -> int | None:
        """Return the time of the newest reading of a kind, None where there is none."""
        rows = self._asking.rows(f"SELECT * FROM {_name(self.catalog[kind].name)} ORDER BY time DESC LIMIT 1")  # noqa: S608
        return int(rows[0][0]) if rows else None

    def check(self) -> str | None:
        """Return what is wrong with the database and what to do about it, or None."""
        try:
            version = self._asking.ping()
            if self.bucket not in self._asking.databases():
                return (
                    f"{self.url} has no database '{self.bucket}' that InfluxQL can see: create it, or in InfluxDB 2 a "
                    "bucket of that name with a DBRP mapping"
                )
            return self._asking.limits() if version.startswith("1.") else None
        except StoreAway as trouble:
            return str(trouble)

    def started_ms(self) -> int | None:
        """Return since when the database runs, None where it does not tell or a token may not ask."""
        return self._asking.started_ms()

    def close(self) -> None:
        """Close every connection."""
        self._write_api.close()  # type: ignore[no-untyped-call]
        self._client.close()  # type: ignore[no-untyped-call]
        self._asking.close()

    def post(self, body: bytes) -> None:
        """Write lines as they are. Raises StoreAway, DataFault or TooLarge."""
        try:
            self._write_api.write(self.bucket, self._org, body, write_precision=MICROSECONDS)
        except InfluxDBError as trouble:
            response = trouble.response
            headers = dict(response.getheaders()) if response is not None else {}
            status = int(getattr(trouble, "status", 0) or 0)
            judge(Answer(status, getattr(trouble, "body", None) or str(trouble), headers, self.url))
        except (urllib3.exceptions.HTTPError, OSError, UnicodeDecodeError) as trouble:
            raise StoreAway(f"{self.url} does not answer: {trouble}") from trouble

    def _send_all(self, lines: Sequence[bytes]) -> list[tuple[int, str]]:
        """Write lines in requests that are not too large; return place and reason of those refused for good."""
        refused: list[tuple[int, str]] = []
        start = 0
        while start < len(lines):
            stop = min(start + self.lines_max, len(lines))
            if self._bytes_max:
                sizes = np.cumsum([len(line) + 1 for line in lines[start:stop]])
                stop = start + max(1, int(np.searchsorted(sizes, self._bytes_max, side="right")))
            refused += self._send(lines[start:stop], start)
            start = stop
        return refused

    def _send(self, lines: Sequence[bytes], first: int = 0) -> list[tuple[int, str]]:
        """Write lines; return place and reason of those that the database will never take.

        Bad ones are found by halves, for the count that the database gives leaves out lines that it could not parse;
        good ones that are written again change nothing.
        """
        body = b"\n".join(lines)
        try:
            self.post(body)
        except (DataFault, TooLarge) as fault:
            if isinstance(fault, TooLarge) and len(lines) > 1:
                self._bytes_max = len(body) // 2  # never below half of what is let through
            if len(lines) == 1 or (isinstance(fault, DataFault) and fault.dropped == len(lines)):
                return [(first + place, str(fault)) for place in range(len(lines))]
            half = len(lines) // 2
            return [*self._send(lines[:half], first), *self._send(lines[half:], first + half)]
        return []

    def _writer_of(self, registry: Registry) -> LineWriter:
        with self._lock:
            if self._writer is None or self._writer.registry is not registry:
                self._writer = LineWriter(registry)
            return self._writer


def _joined(parts: Sequence[npt.NDArray[np.int32]]) -> npt.NDArray[np.int32]:
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)


def _thinned(field: Field) -> str:
    return f"{THIN.get(field.type, 'mean')}({_name(field.name)})"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _name(text: str) -> str:
    """Return a kind's or field's name as InfluxQL takes it; names are snake_case by declaration."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", text):
        raise ValueError(f"'{text}' is no name of a kind or field")
    return f'"{text}"'


def _text(value: str) -> str:
    """Return text as an InfluxQL string; device ids have neither quotes nor backslashes, others are escaped."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"
