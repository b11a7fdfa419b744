"""What each answer of an InfluxDB means: whose fault it is, and how long to wait; over a real HTTP connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from devices.kinds import Catalog
from storage.influx import InfluxStore
from storage.influx_status import Answer, DataFault, TooLarge, judge, retry_after_s
from storage.timeseries import StoreAway
from tests.unit.storage_city import lamp_batch, registry_of


class Door(ThreadingHTTPServer):
    """A server that answers as it is told and remembers what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body = 204, b""
        self.headers: dict[str, str] = {}
        self.largest = 1 << 30
        self.bodies: list[bytes] = []
        self.hears = True


class _Handler(BaseHTTPRequestHandler):
    server: Door

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        door = self.server
        if not door.hears:
            self.close_connection = True
            return
        door.bodies.append(body)
        status = 413 if len(body) > door.largest else door.status
        self.send_response(status)
        for name, value in door.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(door.body)))
        self.end_headers()
        self.wfile.write(door.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def door() -> Iterator[Door]:
    server = Door()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def store(door: Door, catalog: Catalog) -> Iterator[InfluxStore]:
    opened = InfluxStore(f"http://127.0.0.1:{door.server_port}", "t", "", "city", catalog, timeout_s=2.0)
    yield opened
    opened.close()


def write(store: InfluxStore, catalog: Catalog, count: int = 8) -> int:
    written = store.write([lamp_batch(catalog, list(range(count)))], registry_of(catalog, count))
    assert written.rows["streetlight"] + len(written.refused) == count
    return len(written.refused)


@pytest.mark.parametrize("status", [200, 204])
def test_success_is_success(door: Door, store: InfluxStore, catalog: Catalog, status: int) -> None:
    door.status = status
    assert write(store, catalog) == 0
    assert len(door.bodies) == 1


@pytest.mark.parametrize(
    ("status", "body", "person"),
    [
        (301, b"", True),
        (400, b"<html>The plain HTTP request was sent to HTTPS port</html>", True),
        (400, b'{"error":"database is required"}', True),
        (400, b'{"error":"partial write: max-values-per-tag limit exceeded (1/1): dropped=8"}', True),
        (400, b'{"code":"invalid","message":"bucket name is not valid"}', True),
        (401, b'{"code":"unauthorized","message":"unauthorized access"}', True),
        (403, b'{"error":"not authorized"}', True),
        (404, b'{"error":"database not found: city"}', True),
        (404, b"404 page not found", True),
        (405, b"", True),
        (429, b"{}", False),
        (500, b'{"error":"timeout"}', False),
        (502, b"<html>Bad Gateway</html>", False),
        (503, b"\xff\xfe not text", False),
        (504, b"", False),
    ],
)
def test_whatever_is_not_the_datas_fault_leaves_every_reading_waiting(
    door: Door, store: InfluxStore, catalog: Catalog, status: int, body: bytes, person: object
) -> None:
    door.status, door.body = status, body
    with pytest.raises(StoreAway) as caught:
        write(store, catalog)
    assert caught.value.needs_person is person
    assert len(door.bodies) == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"error":"partial write: field type conflict: input field \\"v\\" … dropped=1"}',
        '{"error":"partial write: unable to parse \'b c\': invalid field format dropped=0"}',
        '{"error":"partial write: points beyond retention policy dropped=2"}',
        '{"code":"unprocessable entity","message":"failure writing points to database: partial write: … dropped=1"}',
        '{"code":"invalid","message":"unable to parse \'x\': missing fields"}',
    ],
)
def test_only_the_databases_own_words_count_against_the_data(text: str) -> None:
    for status in (400, 422):
        with pytest.raises(DataFault):
            judge(Answer(status, text, {}, "u"))
    with pytest.raises(StoreAway):
        judge(Answer(500, text, {}, "u"))


def test_lines_that_are_all_refused_cost_one_request(door: Door, store: InfluxStore, catalog: Catalog) -> None:
    door.status, door.body = 400, b'{"error":"partial write: field type conflict: x dropped=8"}'
    assert write(store, catalog) == 8
    assert len(door.bodies) == 1


def test_a_request_that_is_too_large_is_split_until_it_fits(door: Door, store: InfluxStore, catalog: Catalog) -> None:
    door.largest = 300
    assert write(store, catalog) == 0
    taken = [body for body in door.bodies if len(body) <= 300]
    assert sum(len(body.splitlines()) for body in taken) == 8


def test_a_line_that_fits_nowhere_is_refused(door: Door, store: InfluxStore, catalog: Catalog) -> None:
    door.largest = 10
    assert write(store, catalog, 3) == 3
    with pytest.raises(TooLarge):
        judge(Answer(413, "", {}, "u"))


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"Retry-After": "1000000000"}, 600.0),
        ({"Retry-After": "999999"}, 600.0),
        ({"Retry-After": "soon"}, 0.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:29:00 GMT"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ({}, 0.0),
    ],
)
def test_retry_after_is_honoured_within_reason(asked: dict[str, str], seconds: float) -> None:
    assert retry_after_s(asked) == seconds


def test_the_wait_that_a_server_asks_for_reaches_the_shipper(door: Door, store: InfluxStore, catalog: Catalog) -> None:
    door.status, door.headers = 429, {"Retry-After": "12"}
    with pytest.raises(StoreAway) as caught:
        write(store, catalog)
    assert caught.value.retry_after_s == 12


def test_a_connection_that_breaks_or_is_refused_is_away(door: Door, store: InfluxStore, catalog: Catalog) -> None:
    door.hears = False
    with pytest.raises(StoreAway, match="does not answer"):
        write(store, catalog)
    elsewhere = InfluxStore("http://127.0.0.1:9", "t", "", "city", catalog)
    with pytest.raises(StoreAway, match="does not answer"):
        write(elsewhere, catalog)
    assert "does not answer" in str(elsewhere.check())
    elsewhere.close()


def test_something_that_is_no_influxdb_is_not_believed(door: Door, store: InfluxStore) -> None:
    door.status, door.body = 200, b"<html>welcome</html>"
    with pytest.raises(StoreAway, match="does not answer as InfluxDB does"):
        store.history("streetlight", "lamp-0000", ["power_w"], 0, 1, 9)
