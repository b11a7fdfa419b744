"""Settings: one YAML file, then LAMPLIGHTER_* from the environment; every mistake is named by file, line and key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from devices.topics import CITY
from devices.yamlfile import ConfigError, Node, read_yaml

HERE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """Return the path of a shipped configuration file, in a checkout or in an installed package."""
    packaged = HERE / "config" / name
    return packaged if packaged.exists() else HERE.parent / "config" / name


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class City(_Part):
    """Which city this is."""

    id: str = "city"
    name_en: str = "City"
    name_zh: str = "城市"
    timezone: str = "Asia/Shanghai"

    @field_validator("id")
    @classmethod
    def _plain_id(cls, value: str) -> str:
        if not CITY.fullmatch(value):
            raise ValueError("expected 1 to 32 of a-z, 0-9 and -, as it stands in every topic")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as trouble:
            raise ValueError("expected a zone name such as Asia/Shanghai") from trouble
        return value


class Tls(_Part):
    """Certificates towards the broker; files in PEM form."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


class Broker(_Part):
    """The MQTT 5 broker. ``client_id`` must stay the same for ever: the broker keeps our queue under it.

    ``counts`` asks it how many messages it has dropped ($SYS); false for a broker that ends the connection then.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=1883, ge=1, le=65535)
    client_id: str = "lamplighter-ingest"
    username: str | None = None
    password: str | None = None
    tls: Tls | None = None
    receive_maximum: int = Field(default=8192, ge=1, le=65535)
    keep_alive_s: int = Field(default=30, ge=5, le=3600)
    counts: bool = True


class Store(_Part):
    """Where readings are kept: SQLite in the data folder, or InfluxDB.

    ``hold_s``: how long after its yes an InfluxDB may still forget a reading when it restarts; so long a reading stays
    in the journal, to be written once more. SQLite never forgets.
    """

    kind: Literal["sqlite", "influxdb"] = "sqlite"
    url: str = "http://127.0.0.1:8086"
    token: str = ""
    org: str = "lamplighter"
    bucket: str = "lamplighter"
    hold_s: float = Field(default=30.0, ge=0, le=86_400)


class Journal(_Part):
    """Sizes of the journal on disk."""

    segment_mb: int = Field(default=64, ge=1, le=4096)
    limit_gb: float = Field(default=8.0, gt=0)


class Intake(_Part):
    """How deliveries are gathered, and how many messages one device may send (``device_per_s: 0``: any number)."""

    count_max: int = Field(default=4096, ge=1, le=65536)
    age_ms: float = Field(default=50, ge=1, le=5000)
    tick_ms: float = Field(default=1000, ge=10, le=60_000)
    device_per_s: float = Field(default=10, ge=0, le=1e6)
    device_burst: float = Field(default=10_000, ge=1, le=1e9)


class Api(_Part):
    """Where the API and the console listen; ``public_url``: where people find it, for the links in notices."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    token: str | None = None
    hosts: tuple[str, ...] = ()
    public_url: str = Field(default="", pattern=r"^$|^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/%-]*)?$")
    language: Literal["zh", "en"] = "zh"


_SUMMARY = re.compile(r"^(\d{1,6})([smh])$")


def _seconds(text: str) -> int:
    found = _SUMMARY.fullmatch(text)
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]] if found else 0


class Receiver(_Part):
    """Somebody to be told: ``url`` is ``log``, one of our own senders', or as apprise writes them.

    ``allow_private``: it may lie inside this network (our own senders). ``fallback``: the name of the receiver that
    gets what this one refuses or could not be told for a day. ``map``: osm, amap, none, or an address with {lat} {lon}.
    ``per_minute``: what is more than that waits; by default what Feishu and WeCom allow, and no limit for others.
    ``team``: instead of an address, a team of the policy's roster: whoever is on duty is told. ``direct: false``: told
    only as one of a team or of a chain. ``summary``: one notice in so long for all, such as 15m (docs/alerts.md).
    """

    name: str
    url: str = ""
    team: str = ""
    direct: bool = True
    summary: str = ""
    language: Literal["zh", "en"] = "zh"
    min_severity: Literal["critical", "major", "minor", "info"] = "minor"
    kinds: tuple[str, ...] = ()
    allow_private: bool = False
    fallback: str = ""
    map: str = "osm"
    per_minute: int | None = Field(default=None, ge=1, le=6000)

    @model_validator(mode="after")
    def _one_way(self) -> Receiver:
        if bool(self.url) == bool(self.team):
            raise ValueError("expected a 'url', or a 'team' whose people on duty have one")
        if self.team and self.summary:
            raise ValueError("a team has no 'summary'; its people may have one")
        return self

    @field_validator("summary")
    @classmethod
    def _a_while(cls, value: str) -> str:
        if value and (_SUMMARY.fullmatch(value) is None or not 60 <= _seconds(value) <= 86_400):
            raise ValueError("expected a length of time from 1m to 24h, such as 15m")
        return value

    @property
    def summary_ms(self) -> int:
        """Return how often it wants a summary, milliseconds; 0 for single notices."""
        return _seconds(self.summary) * 1000 if self.summary else 0


class Incidents(_Part):
    """When people are told of incidents (docs/incidents.md).

    ``group_wait_s``: an alert that something else may explain waits so long for it, and for others like it.
    ``critical_wait_s``: so long waits what is critical. ``group_interval_s``: between two notices of one incident.
    ``repeat_s``: what is major or critical, lasts and was taken on by nobody is told again; 0 for never.
    """

    group_wait_s: float = Field(default=180, ge=0, le=3600)
    critical_wait_s: float = Field(default=0, ge=0, le=600)
    group_interval_s: float = Field(default=300, ge=0, le=86_400)
    repeat_s: float = Field(default=14_400, ge=0, le=7 * 86_400)


class Settings(BaseSettings):
    """All settings of one city's house."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="LAMPLIGHTER_", env_nested_delimiter="__", env_ignore_empty=True
    )

    city: City = City()
    data: Path = Path("data")
    operations: str = ""
    rules: Path = Field(default_factory=lambda: shipped("rules.yaml"))
    kinds: tuple[Path, ...] = ()
    broker: Broker = Broker()
    store: Store = Store()
    journal: Journal = Journal()
    intake: Intake = Intake()
    api: Api = Api()
    notify: tuple[Receiver, ...] = (Receiver(name="log", url="log"),)
    policy: Path | None = None
    inhibition: Path = Field(default_factory=lambda: shipped("inhibition.yaml"))
    incidents: Incidents = Incidents()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file."""
        del settings_cls, dotenv_settings
        return env_settings, init_settings, file_secret_settings

    def told(self) -> tuple[Receiver, ...]:
        """Return the receivers that are told of alerts by themselves, not only as one of a team or of a chain."""
        return tuple(one for one in self.notify if one.direct)

    def operations_url(self) -> str:
        """Return the database URL of registry, alerts and outbox."""
        return self.operations or f"sqlite:///{self.data / 'operations.db'}"


def load_settings(path: Path | None) -> Settings:
    """Read the settings. Relative paths in the file are taken from the file's folder.

    Raises:
        ConfigError: naming file, line and key of everything that is wrong.
    """
    root: Node | None = None
    values: dict[str, Any] = {}
    if path is not None:
        root = read_yaml(path)
        values = root.plain() or {}
        if not isinstance(values, dict):
            raise root.error("expected settings as keys and values")
        _absolute(values, path.resolve().parent)
    try:
        return Settings(**values)
    except ValidationError as trouble:
        raise ConfigError([_explain(root, path, error) for error in trouble.errors()]) from None


def _absolute(values: dict[str, Any], folder: Path) -> None:
    for key in ("data", "rules", "policy", "inhibition"):
        if isinstance(values.get(key), str):
            values[key] = folder / str(values[key])
    kinds = values.get("kinds")
    if isinstance(kinds, list):
        values["kinds"] = [folder / str(each) for each in kinds]
    broker = values.get("broker")
    tls = broker.get("tls") if isinstance(broker, dict) else None
    if isinstance(tls, dict):
        for key, value in tls.items():
            tls[key] = folder / str(value) if isinstance(value, str) else value


def _explain(root: Node | None, path: Path | None, error: object) -> str:
    detail = error if isinstance(error, dict) else {}
    keys = [str(part) for part in detail.get("loc", ())]
    text = str(detail.get("msg", "is wrong")).removeprefix("Value error, ")
    if detail.get("type") == "extra_forbidden":
        text = "unknown key"
    node = root
    for key in keys:
        inner = node.value if node is not None else None
        if isinstance(inner, dict) and key in inner:
            node = inner[key]
        elif isinstance(inner, list) and key.isdigit() and int(key) < len(inner):
            node = inner[int(key)]
        else:
            break
    if node is None:
        return f"{path or 'environment'}: {'.'.join(keys)}: {text}"
    return f"{node.file}:{node.line}: {'.'.join(keys)}: {text}"
