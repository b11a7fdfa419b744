"""Settings come from one file and the environment; a mistake names file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.yamlfile import ConfigError
from lamplighter.durations import seconds
from lamplighter.settings import load_settings


def _write(folder: Path, text: str) -> Path:
    path = folder / "lamplighter.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_the_defaults_hold() -> None:
    settings = load_settings(None)
    assert settings.store.kind == "sqlite"
    assert settings.rules.name == "rules.yaml"
    assert settings.rules.exists()


def test_relative_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    settings = load_settings(_write(tmp_path, "data: here\nbroker: {tls: {ca_file: ca.pem}}\n"))
    assert settings.data == tmp_path / "here"
    assert settings.broker.tls is not None
    assert settings.broker.tls.ca_file == tmp_path / "ca.pem"
    assert settings.operations_url() == f"sqlite:///{tmp_path}/here/operations.db"


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMPLIGHTER_BROKER__PASSWORD", "secret")
    monkeypatch.setenv("LAMPLIGHTER_BROKER__PORT", "8883")
    settings = load_settings(_write(tmp_path, "broker: {port: 1, username: ingest}\n"))
    assert (settings.broker.port, settings.broker.username, settings.broker.password) == (8883, "ingest", "secret")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("city: {id: Two Words}\n", "lamplighter.yaml:1: city.id: expected 1 to 32 of a-z"),
        ("city:\n  timezone: Mars/Olympus\n", "lamplighter.yaml:2: city.timezone: expected a zone name"),
        ("broker:\n  port: 99999\n", "lamplighter.yaml:2: broker.port: "),
        ("brocker: {}\n", "lamplighter.yaml:1: brocker: unknown key"),
        ("notify:\n  - {name: a, url: log, language: fr}\n", "lamplighter.yaml:2: notify.0.language: "),
        ("- 1\n", "lamplighter.yaml:1: document: expected settings as keys and values"),
    ],
)
def test_a_wrong_setting_names_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as trouble:
        load_settings(_write(tmp_path, text))
    assert told in str(trouble.value)


@pytest.mark.parametrize(("text", "value"), [("60s", 60), ("5m", 300), ("2h", 7200), ("90", 90), (" 1.5 m ", 90)])
def test_durations_are_read_as_people_write_them(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "fast", "-5s", "0s", "5 weeks"])
def test_a_wrong_duration_says_the_accepted_form(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a duration such as 60s"):
        seconds(text)
