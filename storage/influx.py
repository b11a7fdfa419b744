"""Readings in InfluxDB 1.8 to 3: written through influxdb-client as line protocol, read back with InfluxQL."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from typing import Any

import urllib3
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS

from devices.batch import Batch
from devices.kinds import Catalog, Field
from devices.registry import Registry
from storage.influx_status import Answer, DataFault, TooLarge, judge
from storage.lines import LineWriter, own_line, stored
from storage.timeseries import History, OwnPoint, Refused, StoreAway, Written, interval_ms

LINES_MAX = 5000  # lines a request: InfluxDB's own advice
MILLISECONDS: Any = "ms"  # WritePrecision.MS, which the client declares as another type than it takes
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
        timeout = urllib3.Timeout(total=timeout_s)
        self._http = urllib3.PoolManager(retries=False, timeout=timeout, maxsize=4, ca_certs=ca_file)
        self._auth = {"Authorization": f"Token {token}"}
        self._lock = threading.Lock()
        self._writer: LineWriter | None = None

    def write(self, batches: Sequence[Batch], registry: Registry) -> Written:
        """Store readings; the same ones again overwrite themselves, fields of one device and time are merged."""
        lines: list[bytes] = []
        origin: list[tuple[int, int]] = []  # batch and row of each line
        writer = self._writer_of(registry)
        for number, batch in enumerate(batches):
            found = writer.lines(batch)
            lines += found.lines
            origin += [(number, row) for row in found.rows.tolist()]
        written = Written()
        for batch in batches:
            written.rows[batch.kind.name] = written.rows.get(batch.kind.name, 0) + len(batch)
        for start in range(0, len(lines), self.lines_max):
            part = lines[start : start + self.lines_max]
            for place, reason in self._send(part):
                number, row = origin[start + place]
                batch = batches[number]
                device = registry.assets[int(batch.device[row])].id
                written.rows[batch.kind.name] -= 1
                written.refused.append(Refused(batch.kind.name, device, reason, part[place].decode()))
        return written

    def write_own(self, points: Sequence[OwnPoint]) -> None:
        """Store points of Lamplighter's own series."""
        lines = [line for line in map(own_line, points) if line is not None]
        for start in range(0, len(lines), self.lines_max):
            self._send(lines[start : start + self.lines_max])

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
        rows = self._rows(query)
        if len(rows) > points_max:
            step = interval_ms(from_ms, until_ms, points_max)
            thinned = ", ".join(_thinned(f) for f in columns)
            query = f"SELECT {thinned} FROM {_name(kind)} {where} GROUP BY time({step:d}ms) fill(none)"  # noqa: S608
            rows = self._rows(query)
        values = {name: [_number(row[place + 1]) for row in rows] for place, name in enumerate(fields)}
        return History([int(row[0]) for row in rows], values)

    def last_time_ms(self, kind: str) -> int | None:
        """Return the time of the newest reading of a kind, None where there is none."""
        rows = self._rows(f"SELECT * FROM {_name(self.catalog[kind].name)} ORDER BY time DESC LIMIT 1")  # noqa: S608
        return int(rows[0][0]) if rows else None

    def check(self) -> str | None:
        """Return what is wrong with the database and what to do about it, or None."""
        try:
            version = self._ping()
            names = [str(row[0]) for row in self._rows("SHOW DATABASES")]
            if self.bucket not in names:
                return (
                    f"{self.url} has no database '{self.bucket}' that InfluxQL can see: create it, or in InfluxDB 2 a "
                    "bucket of that name with a DBRP mapping"
                )
            if version.startswith("1."):
                return self._check_limits()
        except StoreAway as trouble:
            return str(trouble)
        return None

    def close(self) -> None:
        """Close every connection."""
        self._write_api.close()  # type: ignore[no-untyped-call]
        self._client.close()  # type: ignore[no-untyped-call]
        self._http.clear()

    def post(self, body: bytes) -> None:
        """Write lines as they are. Raises StoreAway, DataFault or TooLarge."""
        try:
            self._write_api.write(self.bucket, self._org, body, write_precision=MILLISECONDS)
        except InfluxDBError as trouble:
            response = trouble.response
            headers = dict(response.getheaders()) if response is not None else {}
            status = int(getattr(trouble, "status", 0) or 0)
            judge(Answer(status, getattr(trouble, "body", None) or str(trouble), headers, self.url))
        except (urllib3.exceptions.HTTPError, OSError, UnicodeDecodeError) as trouble:
            raise StoreAway(f"{self.url} does not answer: {trouble}") from trouble

    def _send(self, lines: Sequence[bytes], first: int = 0) -> list[tuple[int, str]]:
        """Write lines; return place and reason of those that the database will never take.

        Bad ones are found by halves, for the count that the database gives leaves out lines that it could not parse;
        good ones that are written again change nothing.
        """
        try:
            self.post(b"\n".join(lines))
        except (DataFault, TooLarge) as fault:
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

    def _ping(self) -> str:
        """Return the server's version as its ping tells, empty where it does not."""
        try:
            answer = self._http.request("GET", f"{self.url}/ping", headers=self._auth)
        except (urllib3.exceptions.HTTPError, OSError) as trouble:
            raise StoreAway(f"{self.url} does not answer: {trouble}") from trouble
        if answer.status >= 300:
            raise StoreAway(f"{self.url}/ping answers {answer.status}: is this an InfluxDB?", needs_person=True)
        return str(answer.headers.get("X-Influxdb-Version", "")).removeprefix("v")

    def _check_limits(self) -> str | None:
        """Return which limits of InfluxDB 1 will drop readings of a large city; None also where it does not tell."""
        try:
            settings = self._table("SHOW DIAGNOSTICS")
        except StoreAway:
            return None  # only an administrator may ask
        for name in ("max-values-per-tag", "max-series-per-database"):
            if int(settings.get(name, 0) or 0):
                return (
                    f"InfluxDB drops readings beyond {name} = {settings[name]}: set {name} = 0 and index-version = "
                    '"tsi1" under [data] in influxdb.conf'
                )
        return None

    def _table(self, query: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for series in self._ask(query):
            for row in series.get("values", []):
                found.update(zip(series["columns"], row, strict=True))
        return found

    def _rows(self, query: str) -> list[list[Any]]:
        return [row for series in self._ask(query) for row in series.get("values", [])]

    def _ask(self, query: str) -> list[dict[str, Any]]:
        fields = {"q": query, "db": self.bucket, "epoch": "ms"}
        try:
            answer = self._http.request(
                "POST", f"{self.url}/query", fields=fields, headers=self._auth, encode_multipart=False
            )
        except (urllib3.exceptions.HTTPError, OSError) as trouble:
            raise StoreAway(f"{self.url} does not answer: {trouble}") from trouble
        text = answer.data.decode("utf-8", "replace")
        if answer.status != 200:
            try:
                judge(Answer(answer.status, text, dict(answer.headers), self.url))
            except (DataFault, TooLarge) as trouble:
                raise StoreAway(f"{self.url} refuses a query: {trouble}", needs_person=True) from trouble
        try:
            found = json.loads(text)["results"][0]
        except (ValueError, LookupError) as trouble:
            raise StoreAway(f"{self.url}/query does not answer as InfluxDB does", needs_person=True) from trouble
        if "error" in found:
            raise StoreAway(f"{self.url} refuses a query: {found['error']}", needs_person=True)
        series: list[dict[str, Any]] = found.get("series", [])
        return series


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
