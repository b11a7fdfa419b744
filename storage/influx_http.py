"""What an InfluxDB is asked over HTTP beside writing, and connections that do not wait for ever.

A server that sends its answer a byte at a time never meets a timeout between two bytes; here the whole answer has one.
"""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from storage.influx_status import Answer, DataFault, TooLarge, judge, since_ms, started_of
from storage.timeseries import StoreAway

SAME_MS = 3000  # a start that is reckoned from an uptime and a Date in whole seconds is the same within this
LIMITS = ("max-values-per-tag", "max-series-per-database")  # of InfluxDB 1; 0 means none


class Asking:
    """Questions to one InfluxDB, each answered or StoreAway.

    Args:
        url: address, ``http://host:8086``.
        token: sent in the Authorization header.
        bucket: database that queries are about.
        timeout_s: how long one answer may take.
        ca_file: certificate authority of an https address, where the system does not know it.
    """

    def __init__(self, url: str, token: str, bucket: str, timeout_s: float, ca_file: str | None) -> None:
        self.url = url
        self.bucket = bucket
        timeout = urllib3.Timeout(total=timeout_s)
        self._http = urllib3.PoolManager(retries=False, timeout=timeout, maxsize=4, ca_certs=ca_file)
        hurry(self._http)
        self._auth = {"Authorization": f"Token {token}"}
        self._reckoned_ms: int | None = None

    def close(self) -> None:
        """Close every connection."""
        self._http.clear()

    def ping(self) -> str:
        """Return the server's version as its ping tells, empty where it does not."""
        answer = self._get("/ping")
        if answer.status >= 500:
            raise StoreAway(f"{self.url}/ping answers {answer.status}")
        if answer.status >= 300:
            raise StoreAway(f"{self.url}/ping answers {answer.status}: is this an InfluxDB?", needs_person=True)
        return str(answer.headers.get("X-Influxdb-Version", "")).removeprefix("v")

    def databases(self) -> list[str]:
        """Return the names of the databases that InfluxQL can see."""
        return [str(row[0]) for row in self.rows("SHOW DATABASES")]

    def limits(self) -> str | None:
        """Return which limit of InfluxDB 1 will drop readings of a large city; None also where it does not tell."""
        try:
            settings = self._diagnostics()
        except StoreAway:
            return None  # only an administrator may ask
        for name in LIMITS:
            if int(settings.get(name, 0) or 0):
                return (
                    f"InfluxDB drops readings beyond {name} = {settings[name]}: set {name} = 0 and index-version = "
                    '"tsi1" under [data] in influxdb.conf'
                )
        return None

    def started_ms(self) -> int | None:
        """Return since when the database runs: InfluxDB 1 tells it itself, 2 and others by their metrics.

        None also where the token may not ask, or where a proxy does not let the question through.
        """
        try:
            if self.ping().startswith("1.") and (started := self._diagnostics().get("started")):
                return since_ms(str(started))
        except StoreAway as trouble:
            if not trouble.needs_person:
                raise
        answer = self._get("/metrics")
        if answer.status != 200:
            return None
        found = started_of(answer.data.decode("utf-8", "replace"), answer.headers)
        if found is None or self._reckoned_ms is None or abs(found - self._reckoned_ms) > SAME_MS:
            self._reckoned_ms = found
        return self._reckoned_ms

    def rows(self, query: str) -> list[list[Any]]:
        """Return the rows of all series that an InfluxQL query gives."""
        return [row for series in self._ask(query) for row in series.get("values", [])]

    def _diagnostics(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for series in self._ask("SHOW DIAGNOSTICS"):
            for row in series.get("values", []):
                found.update(zip(series["columns"], row, strict=True))
        return found

    def _get(self, path: str) -> urllib3.BaseHTTPResponse:
        try:
            return self._http.request("GET", f"{self.url}{path}", headers=self._auth)
        except (urllib3.exceptions.HTTPError, OSError) as trouble:
            raise StoreAway(f"{self.url} does not answer: {trouble}") from trouble

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


def hurry(pools: urllib3.PoolManager) -> None:
    """Give a pool manager connections that hang up when an answer has not come whole within a request's timeout."""
    pools.pool_classes_by_scheme = {"http": _HurriedPool, "https": _HurriedTlsPool}


class _Hurried(HTTPConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        if not isinstance(self.timeout, int | float):
            return super().getresponse()
        timer = threading.Timer(self.timeout, _hang_up, [self.sock])
        timer.daemon = True
        timer.start()
        try:
            return super().getresponse()
        finally:
            timer.cancel()


class _HurriedTls(_Hurried, HTTPSConnection):
    """The same with TLS."""


class _HurriedPool(HTTPConnectionPool):
    ConnectionCls = _Hurried


class _HurriedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _HurriedTls


def _hang_up(sock: socket.socket) -> None:
    """End a connection under the hands of a thread that reads from it; it then reads the end of the stream."""
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        return  # it has ended by itself
