"""The parts of the benches, run small, so that they cannot rot."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from bench.receivers import CLIENTS
from tests.real.servers import InfluxDatabase, Mosquitto

ROOT = Path(__file__).parents[2]


@contextmanager
def module(name: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run ``python -m name`` for the length of a block."""
    command = [sys.executable, "-m", name, *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
            child.communicate(timeout=60)
            assert child.returncode == 0
        finally:
            child.kill()


def said(stream: IO[str] | None) -> dict[str, Any]:
    """The next JSON line that a module prints; log lines are passed over."""
    assert stream is not None
    for line in stream:
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    raise AssertionError("it ended without a result")


def publish(broker: Mosquitto, city: str, count: int) -> None:
    with module("bench.publish", "--port", broker.port, "--count", count, "--city", city, "--devices", 50) as publisher:
        result = said(publisher.stdout)
    assert (result["messages"], result["refused"]) == (count, 0)
    assert result["cpu_s"] > 0


@pytest.mark.mosquitto
@pytest.mark.influxdb
@pytest.mark.parametrize("style", ["batching", "list"])
def test_the_plain_script_writes_what_was_published(mosquitto: Mosquitto, influx: InfluxDatabase, style: str) -> None:
    city = f"plain-{style}"
    where = ["--port", mosquitto.port, "--topic", f"lamplighter/v1/{city}/+/+/up", "--client-id", city]
    store = ["--url", influx.url, "--token", influx.token, "--bucket", influx.bucket]
    with module("bench.plain_script", *where, *store, "--count", 2500, "--style", style) as script:
        assert said(script.stdout) == {"ready": True}
        publish(mosquitto, city, 2500)
        result = said(script.stdout)
    assert result["messages"] == 2500
    assert result["cpu_s"] > 0
    assert influx.count("streetlight", "power_w") == 2500


@pytest.mark.mosquitto
def test_the_plain_script_can_write_to_the_sink(mosquitto: Mosquitto) -> None:
    with module("bench.sink") as sink:
        where = ["--port", mosquitto.port, "--topic", "lamplighter/v1/sunk/+/+/up", "--client-id", "sunk"]
        url = f"http://127.0.0.1:{said(sink.stdout)['port']}"
        with module("bench.plain_script", *where, "--url", url, "--count", 1500) as script:
            assert said(script.stdout) == {"ready": True}
            publish(mosquitto, "sunk", 1500)
            said(script.stdout)
        assert sink.stdin is not None
        sink.stdin.close()
        counts = said(sink.stdout)
        sink.stdin = None
    assert counts["lines"] == 1500


@pytest.mark.mosquitto
def test_the_receive_only_loop_receives_and_acknowledges_everything(mosquitto: Mosquitto) -> None:
    where = ["--port", mosquitto.port, "--topic", "lamplighter/v1/bare/+/+/up"]
    with module("bench.ingest", *where, "--count", 3000) as receiver:
        assert said(receiver.stdout) == {"ready": True}
        publish(mosquitto, "bare", 3000)
        result = said(receiver.stdout)
    assert result["messages"] == 3000
    assert 0 < result["us_a_message"] < 1000


@pytest.mark.mosquitto
@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_of_the_bench_receives_everything(mosquitto: Mosquitto, client: str) -> None:
    city = f"bench-{client.replace('_', '-')}"
    where = ["--client", client, "--port", mosquitto.port, "--client-id", city]
    with module("bench.receivers", *where, "--topic", f"lamplighter/v1/{city}/+/+/up", "--count", 2000) as receiver:
        assert said(receiver.stdout) == {"ready": True}
        publish(mosquitto, city, 2000)
        result = said(receiver.stdout)
    assert result["messages"] == 2000
    assert result["cpu_s"] > 0
