"""What the doctor says about a mosquitto.conf, and how long certificates last."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from typer.testing import CliRunner

from devices.registry import Asset
from devices.yamlfile import ConfigError
from ingest.certificates import ends_s
from lamplighter.__main__ import app
from lamplighter.broker_config import examine_config, holds_s, read_broker_config
from storage.operations import Operations

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "mosquitto.conf"
CITY_PER_S = 1000.0


def said(folder: Path, text: str, rate: float = 1.0) -> str:
    """What is found in a configuration: findings and remedies, a line each."""
    path = folder / "mosquitto.conf"
    path.write_text(text)
    return "\n".join(f"{one.says} -> {one.remedy}" for one in examine_config(read_broker_config(path), rate))


GOOD = """
persistence true
autosave_interval 30
allow_anonymous false
password_file /p
acl_file /a
max_queued_messages 0
max_queued_bytes 268435456
listener 8883
tls_version tlsv1.2
"""


def test_the_shipped_configuration_is_found_good_for_a_city(tmp_path: Path) -> None:
    config = read_broker_config(SHIPPED)
    assert examine_config(config, CITY_PER_S) == []
    assert holds_s(config, CITY_PER_S) == pytest.approx(1790, abs=1)
    assert said(tmp_path, GOOD) == ""


def test_mosquittos_defaults_are_named_one_by_one(tmp_path: Path) -> None:
    words = said(tmp_path, "# nothing set\n\n", CITY_PER_S)
    for finding in (
        "a restart of the broker loses it -> persistence true",
        "saved every 1,800 s: a crash loses what came since -> autosave_interval 30",
        "the queue holds 1 s of the 1,000.0 messages a second",
        "anybody may connect",
        "whoever may connect may speak for any device -> acl_file",
    ):
        assert finding in words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("persistence false", "loses it -> persistence true"),
        ("autosave_interval 0", "only when the broker is stopped"),
        ("autosave_on_changes true", "490 messages a second at most"),
        ("max_queued_messages 1000", "the queue holds 100 s of the 10.0 messages"),
        ("max_queued_bytes 1000", "max_queued_messages 0, and max_queued_bytes 67108864"),
        ("max_queued_bytes 0", "runs out of memory"),
        ("allow_anonymous true", "anybody may connect"),
        ("message_size_limit 1000", "sends it again for ever -> message_size_limit 1048576"),
        ("max_packet_size 65536", "max_packet_size 65,536 is less than"),
        ("persistent_client_expiration 2h", "thrown away after 2h without us"),
        ("tls_version tlsv1.1", "listener 8883 speaks tlsv1.1"),
    ],
)
def test_each_setting_that_loses_messages_or_opens_a_door_is_named_alone(
    tmp_path: Path, change: str, words: str
) -> None:
    found = said(tmp_path, f"{GOOD}{change}\n", 10)
    assert words in found
    assert found.count("->") == 1


def test_settings_of_an_included_folder_count_and_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "own.conf").write_text(GOOD)
    assert said(tmp_path, f"include_dir {tmp_path}/conf.d\n") == ""
    with pytest.raises(ConfigError, match="absent: cannot be read"):
        read_broker_config(tmp_path / "absent")


def house(folder: Path, broker: str = "{port: 1}") -> Path:
    (folder / "data").mkdir()
    operations = Operations(f"sqlite:///{folder}/data/operations.db")
    operations.import_assets([Asset(f"truck-{n:03d}", "truck", "truck") for n in range(150)])
    operations.close()
    config = folder / "lamplighter.yaml"
    config.write_text(f"data: data\nbroker: {broker}\n")
    return config


def doctor(*words: str) -> str:
    """Run the doctor where something is wrong: there is no broker."""
    done = CliRunner().invoke(app, ["doctor", *words], env={"COLUMNS": "500"})
    assert done.exit_code == 1, done.output
    return done.output


def test_the_doctor_looks_at_the_brokers_configuration_with_the_registrys_own_rate(tmp_path: Path) -> None:
    config, broker = house(tmp_path), tmp_path / "mosquitto.conf"
    broker.write_text(GOOD.replace("max_queued_messages 0", "max_queued_messages 1000"))
    told = doctor("--config", str(config), "--broker-config", str(broker))
    assert "the queue holds 100 s of the 10.0 messages a second" in told
    assert "→ max_queued_messages 0, and max_queued_bytes" in told
    broker.write_text(GOOD)
    told = doctor("--config", str(config), "--broker-config", str(broker))
    assert "holds 178,957 s of 10.0 messages a second while we are away" in told
    assert "queue" not in doctor("--config", str(config))


def test_the_doctor_counts_the_days_of_our_certificates(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name, days in (("good", 200), ("short", 5.5), ("old", -3)):
        ends = datetime.fromtimestamp(time.time() + days * 86400, UTC)
        begins = datetime.fromtimestamp(time.time() - 10 * 86400, UTC)
        issued = authority.issue_cert("house", not_before=begins, not_after=ends)
        pem = issued.private_key_and_cert_chain_pem.bytes()
        (tmp_path / f"{name}.pem").write_bytes(pem)
        assert ends_s(tmp_path / f"{name}.pem") == pytest.approx(ends.timestamp(), abs=1)
    (tmp_path / "no.pem").write_text("nothing")
    config = house(tmp_path)
    for name, words in (
        ("good", "good.pem lasts 200 days"),
        ("short", "short.pem ends in 5 days"),
        ("old", "old.pem has ended"),
        ("no", "holds no certificate"),
        ("absent", "No such file"),
    ):
        config.write_text(f"data: data\nbroker: {{port: 1, tls: {{ca_file: ca.pem, cert_file: {name}.pem}}}}\n")
        assert words in doctor("--config", str(config)), name


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nnot base64 at all\n-----END CERTIFICATE-----\n",
    ],
)
def test_a_certificate_that_is_none_is_a_plain_mistake(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.pem").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        ends_s(tmp_path / "bad.pem")
