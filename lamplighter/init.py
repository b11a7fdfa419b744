"""Makes a new house: settings, credentials for broker and devices, and a registry, in one folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from devices.kinds import load_catalog
from devices.topics import CITY
from devices.yamlfile import ConfigError
from lamplighter import credentials
from lamplighter.registry_commands import import_files, read_registry_files
from lamplighter.settings import load_settings, shipped

SETTINGS = """\
# Settings of one house. Every key may also come from the environment: LAMPLIGHTER_BROKER__PASSWORD and so on.
# `lamplighter doctor` checks them all and says what to do.
city:
  id: {city}                 # stands in every topic: lamplighter/v1/{city}/KIND/DEVICE/up
  name_en: {city}
  name_zh: {city}
  timezone: Asia/Shanghai
data: data                   # journal, snapshots and databases
rules: rules.yaml            # yours to change; `lamplighter rules check` reads it
kinds: []                    # files with further kinds of facilities
broker:
  host: 127.0.0.1
  port: 1883
  client_id: lamplighter-ingest   # never change it: the broker keeps our queue under it
  username: {user}
  password: {password}
store:
{store}
api: {{host: 127.0.0.1, port: 8080, token: {token}}}
notify:                      # who is told; url: log, Feishu, WeCom, mail or any of apprise (docs/operating.md)
  - {{name: log, url: log, language: zh, min_severity: minor}}
"""

STORES = {
    "sqlite": "  kind: sqlite",
    "influxdb": (
        "  kind: influxdb\n  url: http://127.0.0.1:8086\n  org: lamplighter\n  bucket: lamplighter\n"
        "  token: {token}   # give this one to InfluxDB, or put its own here"
    ),
}


def write_house(folder: Path, city: str, registry: list[Path], store: str) -> Iterator[str]:
    """Write a house into ``folder`` and yield one line about each part of it.

    Raises:
        ConfigError: before anything is written, for a wrong city id, store or registry file, or where a house stands.
    """
    if not CITY.fullmatch(city):
        raise ConfigError([f"--city: expected 1 to 32 of a-z, 0-9 and -; found '{city}'"])
    if store not in STORES:
        raise ConfigError([f"--store: expected one of {', '.join(STORES)}; found '{store}'"])
    path = folder / "lamplighter.yaml"
    if path.exists():
        raise ConfigError([f"{path}: a house stands here already; nothing was changed"])
    parts = read_registry_files(registry, load_catalog())
    devices = credentials.issue(asset.id for part in parts for asset in part.assets)

    folder.mkdir(parents=True, exist_ok=True)
    secrets = credentials.new_environment()
    ingest = credentials.Credential(credentials.INGEST, secrets["LAMPLIGHTER_MQTT_PASSWORD"])
    credentials.write_private(path, _settings_text(city, store, secrets))
    yield f"{path}: settings; open it, it is short"
    (folder / "rules").mkdir(exist_ok=True)
    for source in (shipped("rules.yaml"), *sorted(shipped("rules").glob("*.yaml"))):
        target = folder / source.relative_to(shipped("rules.yaml").parent)
        target.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    yield f"{folder / 'rules.yaml'} and {folder / 'rules'}: the shipped rules, yours to change"
    command = credentials.Credential(credentials.COMMAND, credentials.secret())
    broker = folder / "mosquitto"
    credentials.write_private(broker / "passwords", credentials.password_file([ingest, command, *devices]))
    credentials.write_private(broker / "acl", credentials.access_file(city))
    yield f"{broker}: password_file and acl_file for Mosquitto, {len(devices)} devices, each bound to its own topics"
    credentials.write_private(folder / "devices-credentials.csv", credentials.handout([command, *devices]))
    yield f"{folder / 'devices-credentials.csv'}: who gets which password; the only readable copy, keep it safe"
    if store == "influxdb":
        here = {"LAMPLIGHTER_HOUSE": str(folder.resolve())}
        credentials.write_private(folder / ".env", credentials.environment_file({**here, **secrets}))
        yield f"{folder / '.env'}: the same secrets for docker compose --env-file, see docs/operating.md"
    if registry:
        yield import_files(load_settings(path), registry)
    yield f"next: cd {folder} && lamplighter doctor"


def _settings_text(city: str, store: str, secrets: Mapping[str, str]) -> str:
    return SETTINGS.format(
        city=city,
        user=credentials.INGEST,
        password=json.dumps(secrets["LAMPLIGHTER_MQTT_PASSWORD"]),
        store=STORES[store].format(token=json.dumps(secrets["LAMPLIGHTER_INFLUX_TOKEN"])),
        token=json.dumps(secrets["LAMPLIGHTER_API_TOKEN"]),
    )
