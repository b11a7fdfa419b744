"""Credentials of one city: secrets, Mosquitto's password and access files, and the environment of the containers.

What it does: makes texts. What it leaves to the caller: where they are written, and who may read them
(:func:`write_private` helps). Every device has a credential of its own whose user name is its device id, and the
access list binds that name to its own topics; a device can neither speak nor listen for another.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from devices.topics import CITY, DEVICE_ID, DEVICE_ID_FORM, PREFIX
from devices.yamlfile import ConfigError
from ingest.broker_says import DROPPED, UPTIME

INGEST = "lamplighter.ingest"  # the dot keeps service names apart from device ids, which cannot have one
COMMAND = "lamplighter.command"
RESERVED = "lamplighter-"  # beginnings of device ids: the ingest's client id would be one

SECRET_BYTES = 24  # 192 bits: above the 128 that ASVS 7.2.3 asks of a reference token
SALT_BYTES = 12  # as mosquitto_passwd makes them
ITERATIONS = 101  # mosquitto_passwd's own number: a random secret of 192 bits needs no stretching, and the broker
# hashes once for every device that reconnects after a power cut, on its only thread

ENVIRONMENT = {  # what docker-compose.yml refuses to start without, and what each is for
    "LAMPLIGHTER_MQTT_PASSWORD": f"password of the broker user {INGEST}",
    "LAMPLIGHTER_API_TOKEN": "bearer token of the API and the console",
    "LAMPLIGHTER_INFLUX_PASSWORD": "password of InfluxDB's first user, for people",
    "LAMPLIGHTER_INFLUX_TOKEN": "token with which Lamplighter writes and reads",
    "LAMPLIGHTER_INFLUX_READ_PASSWORD": "password of the InfluxDB user 'grafana', which may only read",
    "LAMPLIGHTER_GRAFANA_PASSWORD": "password of Grafana's first administrator",
}


class Credential(NamedTuple):
    """A user name and its password, as both are given to whoever installs the device."""

    user: str
    password: str


def secret() -> str:
    """Return a random secret of letters, digits, - and _, safe in URLs, shells and YAML."""
    return secrets.token_urlsafe(SECRET_BYTES)


def issue(device_ids: Iterable[str]) -> list[Credential]:
    """Return a new credential for every device.

    Raises:
        ConfigError: for ids that are no device ids, stand twice or are reserved. Such a name must never become a user:
            with ``/`` in it the pattern of the access list would cover topics of others.
    """
    ids = list(device_ids)
    problems = [f"device id '{one}': expected {DEVICE_ID_FORM}" for one in ids if not DEVICE_ID.fullmatch(one)]
    problems += [f"device id '{one}': names that begin with {RESERVED} are reserved" for one in ids if _is_own(one)]
    problems += [f"device id '{one}': stands {count} times" for one, count in Counter(ids).items() if count > 1]
    if problems:
        raise ConfigError(problems)
    return [Credential(one, secret()) for one in ids]


def _is_own(device_id: str) -> bool:
    return device_id.startswith(RESERVED)


def password_line(credential: Credential, salt: bytes | None = None) -> str:
    """Return a line of Mosquitto's password file: ``user:$7$iterations$salt$hash``, PBKDF2 with SHA-512."""
    chosen = salt if salt is not None else secrets.token_bytes(SALT_BYTES)
    digest = hashlib.pbkdf2_hmac("sha512", credential.password.encode(), chosen, ITERATIONS)
    return f"{credential.user}:$7${ITERATIONS}${_base64(chosen)}${_base64(digest)}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def password_file(credentials: Iterable[Credential]) -> str:
    """Return Mosquitto's password file; it holds hashes only."""
    return "".join(f"{password_line(credential)}\n" for credential in credentials)


def access_file(city: str) -> str:
    """Return Mosquitto's access list for one city. Whatever no line grants is refused.

    The patterns hold for every user, so the services are shut out of them by a line of their own. Mosquitto grants
    a subscription to ``#`` and then delivers nothing that the user may not read.

    Raises:
        ConfigError: for a city id that could not stand in a topic.
    """
    if not CITY.fullmatch(city):
        raise ConfigError([f"city id '{city}': expected 1 to 32 of a-z, 0-9 and -, beginning with a letter or digit"])
    base = f"{PREFIX}/{city}"
    return f"""\
# Access list of Mosquitto for the city {city}. Whatever no line grants is refused.

# Lamplighter hears every report of its city and says nothing. The broker's own counts tell it of messages that were
# dropped, and whether the broker was started anew.
user {INGEST}
topic read {base}/+/+/up
topic read {DROPPED}
topic read {UPTIME}
topic deny {PREFIX}/+/+/{INGEST}/#

# Commands to devices have an identity of their own, which hears nothing.
user {COMMAND}
topic write {base}/+/+/down
topic deny {PREFIX}/+/+/{COMMAND}/#

# A device reports under its own name and hears what is sent to it. %u is the user name, which is the device id.
pattern write {base}/+/%u/up
pattern read {base}/+/%u/down
"""


def environment_file(values: Mapping[str, str]) -> str:
    """Return the text of ``.env`` for docker compose: every required value with what it is for.

    Raises:
        ConfigError: for a missing value, or one with a character that compose or a shell would read otherwise.
    """
    problems = [
        f"{name}: missing; it is the {purpose}" for name, purpose in ENVIRONMENT.items() if not values.get(name)
    ]
    problems += [
        f"{name}: may not hold quotes, spaces, $, # or line ends"
        for name, text in values.items()
        if set(text) & _UNSAFE
    ]
    if problems:
        raise ConfigError(problems)
    lines = ["# Secrets of this installation. Keep this file to yourself; docker compose reads it."]
    for name, text in values.items():
        if name in ENVIRONMENT:
            lines.append(f"# {ENVIRONMENT[name]}")
        lines.append(f"{name}={text}")
    return "\n".join(lines) + "\n"


_UNSAFE = set("'\"` $#\\\n\r\t")


def new_environment() -> dict[str, str]:
    """Return a fresh secret for everything that docker-compose.yml asks for."""
    return {name: secret() for name in ENVIRONMENT}


def handout(credentials: Iterable[Credential]) -> str:
    """Return the list for whoever installs the devices, as CSV: the only place where passwords stand readable."""
    return "device,password\n" + "".join(f"{one.user},{one.password}\n" for one in credentials)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all; an existing one is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
