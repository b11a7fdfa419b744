"""Rules under profiles: what a rule is in flood season, or while a warning holds, and which profiles hold now."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from alerts.policy import WARNINGS, Profile
from devices.yamlfile import ConfigError, Node

FIXED = ("id", "kind", "device", "role", "profiles")  # what a profile cannot change: another rule is another id


def under(node: Node, profiles: Collection[str]) -> Node:
    """Return a rule with the keys that it has under these profiles; the later of them wins where two set a key."""
    found = node.get("profiles")
    if found is None:
        return node
    overrides = dict(found.items())
    table = {key: child for key, child in node.items() if key != "profiles"}
    for name in profiles:
        if name in overrides:
            table.update(overrides[name].items())
    return Node(table, node.file, node.line, node.path)


def variants(node: Node) -> Mapping[str, Node]:
    """Return a rule under each of its profiles alone. Raises ConfigError for a key that a profile cannot change."""
    found = node.get("profiles")
    if found is None:
        return {}
    problems: list[str] = []
    for name, over in found.items():
        if not any(True for _ in over.items()):
            problems.append(over.problem("changes nothing; name the keys that are other under this profile"))
        problems += [
            child.problem("a profile cannot change this; write a rule of its own")
            for key, child in over.items()
            if key in FIXED
        ]
        if name.startswith("_") or not name.replace("_", "").isalnum() or not name.islower():
            problems.append(over.problem("a profile's name is of a-z, 0-9 and _"))
    if problems:
        raise ConfigError(problems)
    return {name: under(node, [name]) for name, _ in found.items()}


def active(profiles: Mapping[str, Profile], warning: str, now_ms: int, zone: ZoneInfo) -> tuple[str, ...]:
    """Return the profiles that hold now, in their order.

    Args:
        profiles: of the policy.
        warning: the present warning level, ``none`` for none.
        now_ms: the present, epoch milliseconds.
        zone: the city's.
    """
    local = datetime.fromtimestamp(now_ms / 1000, zone)
    level = warning if warning in WARNINGS else WARNINGS[0]
    return tuple(name for name, one in profiles.items() if one.holds((local.month, local.day), level))
