"""A new operator's first evening, by README and docs/operating.md, command by command, with real servers.

Mosquitto with the generated credentials and the shipped settings, certificates of deploy/certificates.sh, InfluxDB, a
webhook: from an empty folder to a crew that is told once of an open cover.
"""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mqtt5
import pytest
import yaml

from tests.real.influxdb_server import Influx
from tests.real.mqtt import Publisher
from tests.real.processes import Process, free_port, need

pytestmark = [pytest.mark.mosquitto, pytest.mark.influxdb]

ROOT = Path(__file__).resolve().parents[2]
CITY, COVER, OTHER = "linjiang", "cover-001", "cover-002"
REFUSED = mqtt5.PubAckReasonCode.NOT_AUTHORIZED
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Webhook:
    """A receiver of notices: what came, headers and body."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.heard.append((self.headers["Idempotency-Key"], body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Leave standard error alone."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"json://127.0.0.1:{self._server.server_address[1]}/notices"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    hook = Webhook()
    yield hook
    hook.close()


class Shell:
    """Types commands of Lamplighter in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str, status: int = 0, data: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "lamplighter", *words],
            cwd=self.folder,
            env={**os.environ, "LAMPLIGHTER_DATA": data},  # an empty one counts for nothing
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == status, (words, said)
        assert "Traceback" not in said, (words, said)
        return said


def broker_settings(house: Path, devices: int, inner: int, services: int) -> str:
    """Do to the shipped mosquitto.conf what docs/operating.md says, with loopback ports in place of the usual ones."""
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    text = (ROOT / "deploy" / "mosquitto.conf").read_text(encoding="utf-8")
    edits = re.findall(r"-e 's#(.*?)#(.*?)#'", page)
    assert len(edits) == 3, "the page's sed command"
    for pattern, replacement in edits:
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count, pattern
    own = re.search(r"\n((?:    [^\n]+\n)*    listener 8884\n(?:    [^\n]+\n)*)", page)
    assert own is not None, "the page's listener for services"
    text += re.sub("^    ", "", own[1], flags=re.MULTILINE)
    here = {
        "/etc/mosquitto/lamplighter/": f"{house}/mosquitto/",
        "/var/lib/mosquitto/": f"{house}/mosquitto/",
        "listener 8883": f"listener {devices} 127.0.0.1",
        "listener 1883 127.0.0.1": f"listener {inner} 127.0.0.1",
        "listener 8884": f"listener {services} 127.0.0.1",
    }
    for usual, ours in here.items():
        assert usual in text, usual
        text = text.replace(usual, ours)
    return text + ("user root\n" if os.getuid() == 0 else "")


def until(what: Callable[[], Any], within_s: float, why: Callable[[], str] = str) -> Any:  # noqa: ANN401
    """Return the first true answer; OSErrors count as none."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if found := what():
                return found
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s} s: {why()}")


def asked(port: int, path: str, token: str = "") -> tuple[int, str]:
    """Return status and body of a question to the API."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with DIRECT.open(
            urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers), timeout=5
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


def test_a_new_operator_gets_from_an_empty_folder_to_a_crew_that_is_told_once(
    tmp_path: Path, influx_server: Influx, webhook: Webhook
) -> None:
    need("mosquitto", "openssl")
    shell = Shell(tmp_path)
    assert "devices" in shell("simulate", "--registry-out", "city.geojson")
    said = shell("init", "house", "--city", CITY, "--registry", "city.geojson", "--store", "influxdb")
    assert "334 added" in said
    assert "next: cd house" in said
    house = tmp_path / "house"
    shell.folder = house
    with (house / "devices-credentials.csv").open(newline="") as handout:
        passwords = {row["device"]: row["password"] for row in csv.DictReader(handout)}

    # Before there is a server, the doctor says what to start.
    settings, devices_port = _configured(house, influx_server, webhook)
    said = shell("doctor", status=1)
    assert "start the broker" in said

    authority = ssl.create_default_context(cafile=house / "mosquitto" / "ca.pem")
    program, port = need("mosquitto")[0], settings["api"]["port"]
    broker = Process("mosquitto", tmp_path, [program, "-c", str(tmp_path / "mosquitto.conf")])
    broker.start(devices_port, settings["broker"]["port"])
    log = tmp_path / "run.log"
    try:
        _met_with_wrong_secrets(shell, house)
        said = shell("doctor")
        assert said.count("✓") == 10, said
        with log.open("wb") as out:
            watch = subprocess.Popen(
                [sys.executable, "-m", "lamplighter", "run"], cwd=house, stdout=out, stderr=subprocess.STDOUT
            )
        try:
            until(lambda: asked(port, "/healthz")[0] == 200, 30, log.read_text)
            said = next(line for line in log.read_text().splitlines() if "open the console" in line)
            assert f"http://127.0.0.1:{port}/" in said
            assert "another Lamplighter is using this data folder" in shell("run", status=2)
            said = shell("run", status=2, data=str(tmp_path / "other"))
            assert said == f"api.port: cannot listen on 127.0.0.1:{port}: Address already in use; choose another\n"
            assert shell("doctor").count("✓") == 10, "the doctor may come while the watch runs"

            with Publisher(devices_port, "any", COVER, passwords[COVER], authority) as device:
                _speaks_for_itself_alone(device)
            _hears_once(webhook)
            said = shell("simulate", "--no-faults", "--speed", "60", "--for", "5s", status=1)
            assert "messages were refused" in said, "no credential of the house speaks for all devices"
            _shown(shell, port, settings["api"]["token"], log)
        finally:
            watch.send_signal(signal.SIGINT)
            began = time.monotonic()
            assert watch.wait(20) == 0, log.read_text()
        assert time.monotonic() - began < 5
        assert "Traceback" not in log.read_text()
    finally:
        broker.terminate()
    assert len(webhook.heard) == 1
    rows = influx_server.query("SELECT tilt_deg FROM manhole", settings["store"]["bucket"])
    assert [row["tilt_deg"] for row in rows] == [41.5]
    written = shell("dashboards", "build", "--out", "boards").splitlines()
    assert all((house / line.strip()).exists() for line in written)
    assert {"streetlight.json", "manhole.json"} <= {path.name for path in (house / "boards" / "boards").iterdir()}


def _configured(house: Path, influx: Influx, webhook: Webhook) -> tuple[dict[str, Any], int]:
    """Make certificates and the broker's settings, and open the house's own; the settings and the devices' port."""
    subprocess.run(["sh", str(ROOT / "deploy" / "certificates.sh"), str(house / "mosquitto"), "127.0.0.1"], check=True)
    devices, inner, services = free_port(), free_port(), free_port()
    (house.parent / "mosquitto.conf").write_text(broker_settings(house, devices, inner, services))
    file = house / "lamplighter.yaml"
    settings: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    settings["broker"] |= {"port": services, "tls": {"ca_file": "mosquitto/ca.pem"}}
    database = influx.database(f"walk_{devices}")
    settings["store"] |= {"url": influx.url, "token": influx.token, "bucket": database.bucket}
    settings["api"]["port"] = free_port()
    settings["notify"] = [
        {"name": "crew", "url": webhook.url, "language": "zh", "kinds": ["manhole"], "allow_private": True}
    ]
    file.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return settings, devices


def _met_with_wrong_secrets(shell: Shell, house: Path) -> None:
    """A wrong password and a wrong token are named, each with what to do, and never shown."""
    file = house / "lamplighter.yaml"
    right = file.read_text(encoding="utf-8")
    settings = yaml.safe_load(right)
    settings["broker"]["password"] = "not-this-one"
    settings["store"]["token"] = "nor-this-one"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    said = shell("doctor", status=1)
    file.write_text(right, encoding="utf-8")
    assert "correct user name, password or certificates" in said
    assert "401" in said
    assert "not-this-one" not in said
    assert "nor-this-one" not in said


def _speaks_for_itself_alone(device: Publisher) -> None:
    """Send an open cover, the same again, what nobody can read, and a lie in another's name."""
    now_ms = time.time_ns() // 1_000_000
    mine, others = (f"lamplighter/v1/{CITY}/manhole/{one}/up" for one in (COVER, OTHER))
    report = json.dumps({"ts": now_ms, "tilt_deg": 41.5}).encode()
    codes = device.publish([(mine, report), (mine, report), (mine, b"tilt=41"), (others, report)])
    assert codes[:3] == [mqtt5.PubAckReasonCode.SUCCESS] * 3
    assert codes[3] == REFUSED


def _hears_once(webhook: Webhook) -> None:
    until(lambda: webhook.heard, 15)
    key, body = webhook.heard[0]
    assert key == body["idempotency_key"]
    assert key.endswith(":active:crew")
    assert (body["rule"], body["entity"], body["state"]) == ("cover_open", f"device:{COVER}", "active")
    assert "井盖打开" in body["message"]


def _shown(shell: Shell, port: int, token: str, log: Path) -> None:
    """Everything that an operator may ask tells of the same three messages."""
    assert asked(port, "/api/alerts")[0] == 401
    assert asked(port, "/metrics")[0] == 401
    assert asked(port, "/metrics", "wrong")[0] == 401
    status, text = asked(port, "/api/alerts", token)
    assert status == 200
    assert "cover_open" in text

    def settled() -> bool:
        lines = asked(port, "/metrics", token)[1].splitlines()
        wanted = {"received": 3, "stored": 1, "duplicate": 1, "quarantined": 1}
        found = dict.fromkeys(wanted, 0.0)
        for line in lines:
            if match := re.match(r"lamplighter_readings_(\w+?)_total\{.*\} (\S+)", line):
                found[match[1]] += float(match[2])
        return found == wanted

    until(settled, 15, lambda: asked(port, "/metrics", token)[1] + log.read_text())
    said = shell("devices", "show", COVER)
    assert "41.5 °" in said
    assert "last reading" in said
    assert "critical" in said
    listed = shell("quarantine", "list")
    assert f"manhole/{COVER}/up" in listed
    assert "1 message;" in listed
    number = re.search(r"│\s+(\d+)\s+│", listed)
    assert number is not None, listed
    assert "tilt=41" in shell("quarantine", "show", number[1])
