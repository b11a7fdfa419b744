"""The command line as a new user meets it: what it prints, and how it refuses."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from devices.payloads import Reject
from devices.yamlfile import ConfigError
from lamplighter.__main__ import app
from storage.operations import Operations

CSV = """\
id,kind,role,name,lon,lat,road,cabinet,rated_power_w
cabinet-01,streetlight,cabinet,North cabinet,121.46,31.02,Binhe Road,,4000
lamp-0001,streetlight,lamp,Lamp 1,121.461,31.02,Binhe Road,cabinet-01,120
cover-01,manhole,cover,Cover 1,121.462,31.021,Binhe Road,,
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    (tmp_path / "assets.csv").write_text(CSV, encoding="utf-8")
    said = _run("init", str(tmp_path / "house"), "--city", "mycity", "--registry", str(tmp_path / "assets.csv"))
    assert "3 added" in said
    return tmp_path / "house"


def _run(*words: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, list(words), terminal_width=140)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return str(done.output)


def _config(house: Path) -> list[str]:
    return ["-c", str(house / "lamplighter.yaml")]


def test_init_writes_settings_rules_and_credentials_that_nobody_else_may_read(house: Path) -> None:
    for name in ("lamplighter.yaml", "mosquitto/passwords", "devices-credentials.csv"):
        assert stat.S_IMODE((house / name).stat().st_mode) == 0o600, name
    handout = (house / "devices-credentials.csv").read_text(encoding="utf-8")
    assert {line.split(",")[0] for line in handout.splitlines()[1:]} >= {"lamp-0001", "cover-01", "cabinet-01"}
    assert "rules, all in order" in _run("rules", "check", *_config(house))


def test_init_leaves_a_house_that_stands_alone(house: Path) -> None:
    before = (house / "lamplighter.yaml").read_bytes()
    with pytest.raises(ConfigError, match="a house stands here already"):
        _run("init", str(house))
    assert (house / "lamplighter.yaml").read_bytes() == before


def test_init_with_a_wrong_registry_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "assets.csv").write_text(CSV.replace("lamp-0001", "Lamp 1"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"assets\.csv:3"):
        _run("init", str(tmp_path / "house"), "--registry", str(tmp_path / "assets.csv"))
    assert not (tmp_path / "house").exists()


def test_devices_are_listed_and_shown(house: Path) -> None:
    said = _run("devices", "list", "--kind", "streetlight", *_config(house))
    assert "lamp-0001" in said
    assert "cover-01" not in said
    assert "2 of 2 devices" in said
    said = _run("devices", "show", "lamp-0001", *_config(house))
    assert re.search(r"rated_power_w\s+120", said)
    assert "no reading in the last day" in said
    assert "no device 'ghost'" in _run("devices", "show", "ghost", *_config(house), status=1)


def test_an_import_is_all_or_nothing(house: Path, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text(
        "id,kind,role,lon,lat\nlamp-0002,streetlight,lamp,121,31\nlamp-0003,streetlight,bulb,121,31\n", encoding="utf-8"
    )
    with pytest.raises(ConfigError, match=r"more\.csv:3.*role"):
        _run("devices", "import", str(tmp_path / "more.csv"), *_config(house))
    assert "no device 'lamp-0002'" in _run("devices", "show", "lamp-0002", *_config(house), status=1)


def test_quarantined_messages_are_listed_and_shown_whole(house: Path) -> None:
    operations = Operations(f"sqlite:///{house}/data/operations.db")
    payload = b'{"ts": 1790000000000, "power_w": "much"} \xff'
    operations.quarantine_add(
        [
            Reject(
                "lamplighter/v1/mycity/streetlight/lamp-0001/up",
                payload,
                "wrong_form",
                "why",
                "lamp-0001",
                "streetlight",
                1,
            )
        ]
    )
    number = operations.quarantine_list(10)[0].id
    operations.close()
    assert "wrong_form" in _run("quarantine", "list", *_config(house))
    said = _run("quarantine", "show", str(number), *_config(house))
    assert '"power_w": "much"} \\xff' in said
    with pytest.raises(ConfigError, match="--reason: expected one of topic, kind, unknown_device"):
        _run("quarantine", "list", "--reason", "strange", *_config(house))
    assert "no message 99 in quarantine" in _run("quarantine", "show", "99", *_config(house), status=1)


def test_the_doctor_names_what_is_wrong_and_what_to_do(house: Path) -> None:
    said = _run("doctor", *_config(house), status=1)
    assert "✓ registry" in said
    assert "✗ broker" in said
    assert "start the broker" in said
    (house / "lamplighter.yaml").write_text("city: {id: UPPER}\n", encoding="utf-8")
    assert "lamplighter.yaml:1: city.id" in _run("doctor", *_config(house), status=1)


def test_boards_are_built_for_every_kind(house: Path, tmp_path: Path) -> None:
    said = _run("dashboards", "build", "--out", str(tmp_path / "out"), *_config(house))
    for kind in ("streetlight", "manhole", "pump", "truck"):
        assert kind in said


def test_a_simulated_city_can_be_written_as_a_registry_and_imported(house: Path, tmp_path: Path) -> None:
    out = tmp_path / "city.geojson"
    _run("simulate", "--registry-out", str(out), *_config(house))
    assert re.search(r"\d{3} added", _run("devices", "import", str(out), *_config(house)))


@pytest.mark.parametrize("command", ["demo", "run", "init", "simulate", "replay", "doctor", "rules", "devices"])
def test_every_command_explains_itself(command: str) -> None:
    assert "Usage" in _run(command, "--help")
