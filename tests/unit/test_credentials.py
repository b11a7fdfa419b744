"""Credentials cannot reach beyond their own device, and secrets are neither guessable nor readable by others."""

from __future__ import annotations

import base64
import hashlib
import stat
from pathlib import Path

import pytest

from devices.yamlfile import ConfigError
from ingest import broker_says
from lamplighter.credentials import (
    COMMAND,
    ENVIRONMENT,
    INGEST,
    Credential,
    access_file,
    environment_file,
    handout,
    issue,
    new_environment,
    password_file,
    password_line,
    secret,
    write_private,
)


@pytest.mark.parametrize(
    "bad", ["a/b", "+", "#", "Lamp-1", "x", "lamp 1", "lamp\n1", "lamp-1\n", "-lamp", "lamp.1", "a" * 65, "灯-1"]
)
def test_a_name_that_could_widen_the_access_pattern_never_becomes_a_user(bad: str) -> None:
    with pytest.raises(ConfigError, match="3 to 64 of a-z"):
        issue(["lamp-0001", bad])


def test_a_device_cannot_take_the_name_of_the_house() -> None:
    with pytest.raises(ConfigError, match="reserved"):
        issue(["lamplighter-ingest"])


def test_all_wrong_ids_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as told:
        issue(["Lamp", "lamp-1", "lamp-1", "b/c"])
    assert len(told.value.problems) == 3


def test_no_two_secrets_are_alike_and_each_has_192_bits() -> None:
    made = {secret() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(base64.urlsafe_b64decode(one)) == 24 for one in made)


def test_the_password_line_holds_a_salted_hash_and_not_the_password() -> None:
    line = password_line(Credential("lamp-1", "a secret"), salt=bytes(12))
    user, _, rest = line.partition(":")
    _, form, iterations, salt, digest = rest.split("$")
    assert (user, form, base64.b64decode(salt)) == ("lamp-1", "7", bytes(12))
    expected = hashlib.pbkdf2_hmac("sha512", b"a secret", bytes(12), int(iterations))
    assert base64.b64decode(digest) == expected
    assert "a secret" not in line
    assert password_line(Credential("a", "x")) != password_line(Credential("a", "x")), "each line has its own salt"


def test_the_password_file_names_every_user_once() -> None:
    text = password_file(issue(["lamp-1", "lamp-2"]))
    assert [line.partition(":")[0] for line in text.splitlines()] == ["lamp-1", "lamp-2"]


def test_the_access_list_grants_only_topics_of_its_city() -> None:
    lines = [line for line in access_file("linjiang").splitlines() if line and not line.startswith("#")]
    granting = [line for line in lines if line.startswith(("topic read", "topic write", "pattern"))]
    assert granting
    own = {f"topic read {topic}" for topic in broker_says.FILTERS}
    assert all("lamplighter/v1/linjiang/" in line or line in own for line in granting)
    assert f"user {INGEST}" in lines
    assert f"user {COMMAND}" in lines
    assert not any("readwrite" in line for line in lines)


@pytest.mark.parametrize("bad", ["", "a/b", "+", "City", "a b", "x\ntopic readwrite #", "x\n"])
def test_a_city_that_could_not_stand_in_a_topic_is_refused(bad: str) -> None:
    with pytest.raises(ConfigError, match="city id"):
        access_file(bad)


def test_the_environment_file_reads_back_and_holds_everything_that_compose_asks_for() -> None:
    values = new_environment()
    text = environment_file({**values, "LAMPLIGHTER_HOUSE": "./house"})
    read = dict(line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))
    assert read == {**values, "LAMPLIGHTER_HOUSE": "./house"}
    assert set(ENVIRONMENT) <= set(read)


def test_an_environment_with_a_gap_or_an_unsafe_value_is_refused_by_name() -> None:
    values = new_environment()
    del values["LAMPLIGHTER_API_TOKEN"]
    values["LAMPLIGHTER_INFLUX_TOKEN"] = "a$b"
    with pytest.raises(ConfigError) as told:
        environment_file(values)
    assert [problem.partition(":")[0] for problem in told.value.problems] == [
        "LAMPLIGHTER_API_TOKEN",
        "LAMPLIGHTER_INFLUX_TOKEN",
    ]


def test_the_handout_is_the_list_of_devices_and_passwords() -> None:
    assert handout([Credential("lamp-1", "x")]) == "device,password\nlamp-1,x\n"


def test_a_private_file_is_readable_by_its_owner_alone_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "broker" / "passwords"
    write_private(path, "first\n")
    write_private(path, "second\n")
    assert path.read_text() == "second\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["passwords"]
