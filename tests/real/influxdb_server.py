"""The real InfluxDB of the tests, behind an nginx that speaks the token and the write address of InfluxDB 2."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.real.processes import Process, free_port, need

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is never behind a proxy

INFLUX_CONFIG = """\
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
dir = "{folder}/meta"
logging-enabled = false
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
index-version = "tsi1"
max-values-per-tag = {values_per_tag}
max-series-per-database = {series_per_database}
query-log-enabled = false
[monitor]
store-enabled = false
[continuous_queries]
enabled = false
[http]
bind-address = "127.0.0.1:{http}"
log-enabled = false
"""

NGINX_CONFIG = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_max_body_size {body_size};
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  proxy_http_version 1.1;
  proxy_set_header Authorization "";
  map $arg_precision $old_precision {{ default $arg_precision; ns n; us u; }}
  map $http_authorization $allowed {{ default 0; "Token {token}" 1; }}
  server {{
    listen 127.0.0.1:{port};
    default_type application/json;
    location = /api/v2/write {{
      if ($allowed = 0) {{ return 401 '{{"code":"unauthorized","message":"unauthorized access"}}'; }}
      set $args "db=$arg_bucket&precision=$old_precision";
      rewrite ^ /write break;
      proxy_pass http://127.0.0.1:{http};
    }}
    location = /query {{
      if ($allowed = 0) {{ return 401 '{{"code":"unauthorized","message":"unauthorized access"}}'; }}
      proxy_pass http://127.0.0.1:{http};
    }}
    location = /ping {{ proxy_pass http://127.0.0.1:{http}; }}
    location / {{ return 404 '{{"code":"not found","message":"path not found"}}'; }}
  }}
}}
"""


class QueryError(AssertionError):
    """InfluxDB refused a query; the message is its own."""


class Influx:
    """A real InfluxDB 1.6.7 behind nginx, which speaks the token and the write address of InfluxDB 2.

    Args:
        folder: an empty folder; the data survive :meth:`kill` and :meth:`start`.
        body_size: largest request nginx lets through (``25m``, ``8k``).
        values_per_tag, series_per_database: InfluxDB's limits, 0 for none.

    Attributes:
        url: address of nginx; what ``influxdb-client`` is given.
        token: the only token that nginx accepts.
    """

    def __init__(
        self,
        folder: Path,
        *,
        body_size: str = "25m",
        values_per_tag: int = 0,
        series_per_database: int = 0,
    ) -> None:
        influxd, nginx = need("influxd", "nginx")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.token = secrets.token_urlsafe(24)
        self.port, self._http, rpc = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        values = {"folder": folder, "port": self.port, "http": self._http, "rpc": rpc, "token": self.token}
        values |= {"body_size": body_size}
        values |= {"values_per_tag": values_per_tag, "series_per_database": series_per_database}
        (folder / "influxdb.conf").write_text(INFLUX_CONFIG.format(**values))
        (folder / "nginx.conf").write_text(NGINX_CONFIG.format(**values))
        self._influxd = Process("influxd", folder, [influxd, "-config", str(folder / "influxdb.conf")])
        front = [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.log")]
        self._nginx = Process("nginx", folder, front)

    @property
    def pid(self) -> int:
        """Process id of influxd."""
        return self._influxd.pid

    @property
    def log(self) -> str:
        return self._influxd.log

    def start(self) -> Influx:
        """Start what does not run, on the same ports and data; returns when both listen."""
        if not self._influxd.running:
            self._influxd.start(self._http)
        if not self._nginx.running:
            self._nginx.start(self.port)
        return self

    def kill(self) -> None:
        """SIGKILL to influxd; nginx stays and answers 502."""
        self._influxd.kill()

    def terminate(self) -> None:
        """End influxd kindly; nginx stays and answers 502."""
        self._influxd.terminate()

    def pause(self) -> None:
        """Freeze influxd: requests hang."""
        self._influxd.pause()

    def resume(self) -> None:
        """Let a frozen influxd run on."""
        self._influxd.resume()

    def restart_front(self) -> None:
        """Let nginx begin anew, with whatever its configuration says by now."""
        self._nginx.kill()
        self._nginx.start(self.port)

    def stop(self) -> None:
        """End both for good."""
        self._nginx.kill()
        self._influxd.kill()

    def database(self, name: str = "") -> InfluxDatabase:
        """Create a database (under a new random name where none is given)."""
        bucket = name or f"t{secrets.token_hex(6)}"
        self.query(f'CREATE DATABASE "{bucket}"', "")
        return InfluxDatabase(self, bucket)

    def query(self, influxql: str, bucket: str) -> list[dict[str, Any]]:
        """Run InfluxQL through nginx; rows of all series as dictionaries of columns and tags, times in ms."""
        parts = {"q": influxql, "db": bucket, "epoch": "ms"}
        body = urllib.parse.urlencode({key: value for key, value in parts.items() if value}).encode()
        request = urllib.request.Request(f"{self.url}/query", body, {"Authorization": f"Token {self.token}"})
        try:
            with _DIRECT.open(request, timeout=30) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as refused:
            raise QueryError(f"{refused.code}: {refused.read().decode(errors='replace')}") from None
        rows: list[dict[str, Any]] = []
        for result in found["results"]:
            if "error" in result:
                raise QueryError(result["error"])
            for series in result.get("series", []):
                tags = series.get("tags", {})
                rows += [{**tags, **dict(zip(series["columns"], row, strict=True))} for row in series.get("values", [])]
        return rows


class InfluxDatabase:
    """One database of a real InfluxDB, as a client sees it: url, token, bucket."""

    def __init__(self, server: Influx, bucket: str) -> None:
        self.server = server
        self.bucket = bucket
        self.url = server.url
        self.token = server.token

    def query(self, influxql: str) -> list[dict[str, Any]]:
        """Run InfluxQL in this database; rows as dictionaries of columns and tags, times in ms."""
        return self.server.query(influxql, self.bucket)

    def count(self, measurement: str, field: str) -> int:
        """Return how many values of a field are stored."""
        rows = self.query(f'SELECT count("{field}") FROM "{measurement}"')
        return int(rows[0]["count"]) if rows else 0

    def drop(self) -> None:
        """Delete the database."""
        self.server.query(f'DROP DATABASE "{self.bucket}"', "")
