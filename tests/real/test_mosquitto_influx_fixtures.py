"""The servers that the other tests lean on are the ones that were started, and do what their names say."""

from __future__ import annotations

import os
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.real.fixtures import InfluxFactory, MosquittoFactory
from tests.real.processes import REQUIRED, Process, free_port, listens, need
from tests.real.servers import Influx, InfluxDatabase, Mosquitto


@pytest.mark.mosquitto
def test_the_process_that_listens_is_the_one_that_was_started(mosquitto: Mosquitto) -> None:
    assert listens(mosquitto.pid, mosquitto.port)
    assert not listens(os.getpid(), mosquitto.port)


@pytest.mark.mosquitto
def test_a_killed_broker_starts_again_on_the_same_port(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto()
    first = broker.pid
    broker.kill()
    assert not broker.running
    broker.start()
    assert broker.pid != first
    assert listens(broker.pid, broker.port)


@pytest.mark.mosquitto
def test_a_foreign_server_on_the_port_is_noticed(start_mosquitto: MosquittoFactory) -> None:
    broker = start_mosquitto()
    broker.kill()
    with socket.create_server(("127.0.0.1", broker.port)), pytest.raises(AssertionError, match="mosquitto"):
        broker.start()


def test_an_absent_server_skips_by_name_or_fails_where_skips_are_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no-such-broker.*make servers"):
        need("no-such-broker")
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match=r"no-such-broker.*make servers"):
        need("no-such-broker")


def test_a_server_that_dies_while_starting_says_why(tmp_path: Path) -> None:
    process = Process("sad", tmp_path, ["/bin/sh", "-c", "echo no luck today; exit 3"])
    with pytest.raises(AssertionError, match=r"(?s)ended with 3.*no luck today"):
        process.start(free_port())


def _write(database: InfluxDatabase, lines: str, token: str | None = None) -> int:
    address = f"{database.url}/api/v2/write?org=x&bucket={database.bucket}&precision=ms"
    head = {"Authorization": f"Token {token or database.token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, lines.encode(), head), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code


@pytest.mark.influxdb
def test_influxdb_takes_the_write_address_and_token_of_version_two(influx: InfluxDatabase) -> None:
    assert _write(influx, "lamp,device=a power_w=80 1700000000123") == 204
    assert influx.query("SELECT * FROM lamp") == [{"time": 1700000000123, "device": "a", "power_w": 80}]
    assert _write(influx, "lamp,device=a power_w=81 1700000000124", token="wrong") == 401
    assert influx.count("lamp", "power_w") == 1


@pytest.mark.influxdb
def test_influxdb_keeps_a_point_that_it_took_before_it_was_killed(start_influx: InfluxFactory) -> None:
    server = start_influx(body_size="1k")
    database = server.database()
    assert _write(database, "lamp,device=a power_w=80 1700000000123") == 204
    assert _write(database, "lamp,device=a power_w=80 1700000000123\n" * 100) == 413
    server.kill()
    assert _write(database, "lamp,device=a power_w=80 1700000000124") == 502
    server.start()
    assert database.count("lamp", "power_w") == 1


@pytest.mark.influxdb
def test_each_test_has_a_database_of_its_own(influx: InfluxDatabase, influx_server: Influx) -> None:
    assert influx.query("SHOW MEASUREMENTS") == []
    assert influx_server.database().bucket != influx.bucket
