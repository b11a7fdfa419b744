"""Fixtures of real servers; other test folders may import them into their own conftest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.real.processes import need
from tests.real.servers import Influx, InfluxDatabase, Mosquitto

MosquittoFactory = Callable[..., Mosquitto]
InfluxFactory = Callable[..., Influx]


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """Give one running Mosquitto, shared by the run: open to all, so take client ids and topics of your own."""
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    try:
        yield broker.start()
    finally:
        broker.kill()


@pytest.fixture
def start_mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MosquittoFactory]:
    """Give a function that starts a Mosquitto of the test's own; it takes the arguments of Mosquitto()."""
    started: list[Mosquitto] = []

    def start(**options: Any) -> Mosquitto:  # noqa: ANN401 - whatever Mosquitto() takes
        started.append(Mosquitto(tmp_path_factory.mktemp("mosquitto"), **options))
        return started[-1].start()

    try:
        yield start
    finally:
        for broker in started:
            broker.kill()


@pytest.fixture(scope="session")
def influx_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influx]:
    """Give one running InfluxDB behind nginx, shared by the run; take a database of it: ``.database()``."""
    server = Influx(tmp_path_factory.mktemp("influx"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def influx(influx_server: Influx) -> Iterator[InfluxDatabase]:
    """Give a fresh database in the shared InfluxDB: url, token, bucket, query()."""
    database = influx_server.database()
    yield database
    database.drop()


@pytest.fixture
def start_influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxFactory]:
    """Give a function that starts an InfluxDB of the test's own; it takes the arguments of Influx()."""
    started: list[Influx] = []

    def start(**options: Any) -> Influx:  # noqa: ANN401 - whatever Influx() takes
        started.append(Influx(tmp_path_factory.mktemp("influx"), **options))
        return started[-1].start()

    try:
        yield start
    finally:
        for server in started:
            server.stop()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Give the path of the system's Chromium."""
    return need("chromium")[0]
