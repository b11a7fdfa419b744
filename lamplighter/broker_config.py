"""Reads Mosquitto's configuration and says which settings lose messages or let strangers in, what to set, and why.

The defaults are those of Mosquitto 2.0 (mosquitto.conf(5)); the reasons are measured in docs/operating.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from devices.yamlfile import ConfigError

OUTAGE_S = 600  # how long the broker should hold what comes while Lamplighter is away: a restart, an update
MESSAGE_BYTES = 150  # of one reading as JSON
AUTOSAVE_MAX_S = 60
PAYLOAD_BYTES_MAX = 256 << 10  # what Lamplighter reads (devices/payloads.py); smaller limits cut off concentrators
SESSION_S = 86_400  # an absence over a weekend's night should not cost the queue
_DAY_UNITS = {"h": 3600, "d": 86_400, "w": 604_800, "m": 2_592_000, "y": 31_536_000}


class Finding(NamedTuple):
    """Something about the broker that should be otherwise.

    Attributes:
        says: what is wrong and what follows from it.
        remedy: the line to set.
    """

    says: str
    remedy: str


@dataclass(frozen=True)
class BrokerConfig:
    """Mosquitto's settings: the last value of each key, and how many listeners there are.

    Attributes:
        values: by key, as written.
        listeners: one dictionary a listener, with the keys that follow it.
    """

    values: dict[str, str]
    listeners: list[dict[str, str]]

    def text(self, key: str, default: str) -> str:
        """Return a setting as written, or Mosquitto's default."""
        return self.values.get(key, default)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a setting that is true or false."""
        return self.values.get(key, str(default)).lower() == "true"

    def number(self, key: str, default: int) -> int:
        """Return a setting that is a whole number; the default where it is none."""
        try:
            return int(self.values.get(key, default))
        except ValueError:
            return default


def read_broker_config(path: Path) -> BrokerConfig:
    """Read a mosquitto.conf and the folders that it includes.

    Raises:
        ConfigError: when a file cannot be read.
    """
    values: dict[str, str] = {}
    listeners: list[dict[str, str]] = []
    for key, value in _lines(path):
        if key == "listener":
            listeners.append({"listener": value})
        elif listeners and key in _OF_LISTENER:
            listeners[-1][key] = value
        values[key] = value
    return BrokerConfig(values, listeners)


_OF_LISTENER = {"certfile", "keyfile", "cafile", "require_certificate", "tls_version", "use_username_as_clientid"}


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as trouble:
        raise ConfigError([f"{path}: cannot be read: {trouble.strerror}"]) from None
    for line in text.splitlines():
        key, _, value = line.strip().partition(" ")
        if not key or key.startswith("#"):
            continue
        if key == "include_dir":
            for inner in sorted(Path(value.strip()).glob("*.conf")):
                yield from _lines(inner)
        else:
            yield key, value.strip()


def examine_config(config: BrokerConfig, messages_per_s: float) -> list[Finding]:
    """Return what should be otherwise, gravest first.

    Args:
        config: Mosquitto's settings.
        messages_per_s: what the registered devices send, by their usual intervals.
    """
    found = [check(config, messages_per_s) for check in _CHECKS]
    return [one for one in found if one is not None]


def holds_s(config: BrokerConfig, messages_per_s: float) -> float:
    """Return for how many seconds of our absence the queue holds, by its limits; infinite where it has none."""
    limits = [
        (config.number("max_queued_messages", 1000), 1),
        (config.number("max_queued_bytes", 0), MESSAGE_BYTES),
    ]
    times = [limit / size / max(messages_per_s, 1e-9) for limit, size in limits if limit > 0]
    return min(times, default=float("inf"))


def _queue(config: BrokerConfig, messages_per_s: float) -> Finding | None:
    held_s = holds_s(config, messages_per_s)
    if held_s == float("inf"):
        says = "the queue has no limit: while Lamplighter is away it grows until the broker runs out of memory"
        return Finding(says, f"max_queued_bytes {_wanted(messages_per_s)}")
    if held_s >= OUTAGE_S:
        return None
    says = (
        f"the queue holds {held_s:,.0f} s of the {messages_per_s:,.1f} messages a second that the registered devices "
        "send; what comes later is dropped, and the devices are told that all is well"
    )
    return Finding(says, f"max_queued_messages 0, and max_queued_bytes {_wanted(messages_per_s)}")


def _wanted(messages_per_s: float) -> int:
    return max(round(messages_per_s * MESSAGE_BYTES * OUTAGE_S * 3), 64 << 20)


def _persistence(config: BrokerConfig, _: float) -> Finding | None:
    if config.flag("persistence", default=False):
        return None
    return Finding("the queue lies in memory alone: a restart of the broker loses it", "persistence true")


def _autosave(config: BrokerConfig, _: float) -> Finding | None:
    every_s = config.number("autosave_interval", 1800)
    if config.flag("autosave_on_changes", default=False):
        return Finding(
            f"the whole queue is written again after every {every_s} changes: about 490 messages a second at most",
            "autosave_on_changes false, and autosave_interval 30",
        )
    if 0 < every_s <= AUTOSAVE_MAX_S:
        return None
    how = "only when the broker is stopped" if every_s == 0 else f"every {every_s:,} s"
    return Finding(f"the queue is saved {how}: a crash loses what came since", "autosave_interval 30")


def _anonymous(config: BrokerConfig, _: float) -> Finding | None:
    open_to_all = config.flag("allow_anonymous", default=not config.listeners)
    if not open_to_all:
        return None
    return Finding("anybody may connect and speak for any device", "allow_anonymous false, and password_file")


def _access(config: BrokerConfig, _: float) -> Finding | None:
    if {"acl_file", "plugin", "auth_plugin"} & config.values.keys():
        return None
    return Finding("whoever may connect may speak for any device", "acl_file, as `lamplighter init` writes it")


def _size(config: BrokerConfig, _: float) -> Finding | None:
    for key in ("message_size_limit", "max_packet_size"):
        limit = config.number(key, 0)
        if 0 < limit < PAYLOAD_BYTES_MAX:
            says = (
                f"{key} {limit:,} is less than the {PAYLOAD_BYTES_MAX:,} bytes that Lamplighter reads; a device with a "
                "larger message is thrown out and sends it again for ever"
            )
            return Finding(says, f"{key} 1048576")
    return None


def _expiry(config: BrokerConfig, _: float) -> Finding | None:
    written = config.text("persistent_client_expiration", "")
    number, unit = written[:-1], written[-1:]
    if not written or not number.isdigit() or int(number) * _DAY_UNITS.get(unit, 1) >= SESSION_S:
        return None
    return Finding(f"our queue is thrown away after {written} without us", "persistent_client_expiration 14d")


def _listeners(config: BrokerConfig, _: float) -> Finding | None:
    for one in config.listeners:
        old = one.get("tls_version", "tlsv1.2") in {"tlsv1", "tlsv1.1"}
        if old:
            return Finding(f"listener {one['listener']} speaks {one['tls_version']}", "tls_version tlsv1.2")
    return None


_CHECKS: tuple[Callable[[BrokerConfig, float], Finding | None], ...] = (
    _persistence,
    _autosave,
    _queue,
    _anonymous,
    _access,
    _size,
    _expiry,
    _listeners,
)
