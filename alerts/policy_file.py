"""Reads the policy file; every mistake is named by file, line, key and accepted form, and nothing half-loads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from alerts.alertmanager import LONGEST_REPEAT_MS
from alerts.keys import Keys
from alerts.policy import MINUTE_MS, WARNINGS, Flapping, Flood, Policy, Profile, Shelving, Step
from alerts.roster import Team, names, parse_team
from alerts.spans import duration_ms
from devices.transition import SEVERITIES
from devices.yamlfile import ConfigError, Node, read_yaml

PROFILE_NAME = re.compile(r"^[a-z][a-z0-9_]{1,47}$")
_DAY = re.compile(r"^(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")
KEYS = ("teams", "escalation", "again", "flood", "flapping", "shelving", "profiles", "alertmanager")


def load_policy(path: Path | None, receivers: Iterable[str] = ()) -> Policy:
    """Read a policy file; without one everything is as it is when left out.

    Args:
        path: the file.
        receivers: names that the settings have under ``notify``; every person of the policy must be one of them.

    Raises:
        ConfigError: with every problem.
    """
    if path is None:
        return Policy()
    return parse_policy(read_yaml(path), tuple(receivers), path.read_text(encoding="utf-8"))


def parse_policy(root: Node, receivers: tuple[str, ...], source: str = "") -> Policy:
    """Check a policy read from YAML. Raises ConfigError with every problem."""
    if root.value is None:
        return Policy(source=source)
    root.only(*KEYS)
    problems: list[str] = []
    found: dict[str, Any] = {}
    parts: dict[str, tuple[str, Callable[[Node], Any]]] = {
        "teams": ("teams", _teams),
        "escalation": ("escalation", _escalation),
        "again": ("again_ms", _again),
        "flood": ("flood", _flood),
        "flapping": ("flapping", _flapping),
        "shelving": ("shelving", _shelving),
        "profiles": ("profiles", _profiles),
        "alertmanager": ("alertmanager_repeat_ms", _repeat),
    }
    for key, (name, read) in parts.items():
        node = root.get(key)
        if node is None:
            continue
        try:
            found[name] = read(node)
        except ConfigError as trouble:
            problems += trouble.problems
    policy = Policy(**found, source=source)
    strangers = sorted(policy.people() - set(receivers))
    if strangers and receivers:
        known = ", ".join(receivers)
        problems += [root.problem(f"'{name}' is no receiver of the settings (notify: {known})") for name in strangers]
    if problems:
        raise ConfigError(problems)
    return policy


def _teams(node: Node) -> dict[str, Team]:
    return {name: parse_team(name, one) for name, one in node.items()}


def _escalation(node: Node) -> dict[str, tuple[Step, ...]]:
    node.only(*SEVERITIES)
    out: dict[str, tuple[Step, ...]] = {}
    for severity, chain in node.items():
        steps: list[Step] = []
        for one in chain.elements():
            one.only("after", "to")
            after = duration_ms(one.need("after"))
            if after <= (steps[-1].after_ms if steps else 0):
                raise one.need("after").error("each step comes later than the one before, and later than nothing")
            steps.append(Step(after, one.need("to").text()))
        out[severity] = tuple(steps)
    return out


def _again(node: Node) -> dict[str, int]:
    node.only(*SEVERITIES)
    return {severity: _at_least(one, MINUTE_MS) for severity, one in node.items() if one.value is not False}


def _at_least(node: Node, least_ms: int) -> int:
    length = duration_ms(node)
    if length < least_ms:
        raise node.error(f"expected at least {least_ms // 1000}s")
    return length


def _flood(node: Node) -> Flood:
    if node.value is False:
        return Flood(on=False)
    keys, plain = Keys(node, "starts", "ends", "within", "gather"), Flood()
    starts, ends = keys.whole("starts", plain.starts, 2, 100_000), keys.whole("ends", plain.ends, 1, 100_000)
    within = keys.read("within", plain.within_ms, lambda one: _at_least(one, 1000))
    gather = keys.read(
        "gather", plain.gather, lambda one: tuple(each.text(one_of=SEVERITIES) for each in one.elements())
    )
    if ends > starts:
        keys.problem("ends", "a flood ends below as many alarms as it starts with, or fewer")
    keys.done()
    return Flood(starts, ends, within, gather)


def _flapping(node: Node) -> Flapping:
    if node.value is False:
        return Flapping(on=False)
    keys, plain = Keys(node, "slot", "high", "low"), Flapping()
    slot = keys.read("slot", plain.slot_ms, lambda one: _at_least(one, 1000))
    high, low = keys.number("high", plain.high, 1, 100), keys.number("low", plain.low, 1, 100)
    if low > high:
        keys.problem("low", "it ends at a smaller share than it begins with")
    keys.done()
    return Flapping(slot, high, low)


def _shelving(node: Node) -> Shelving:
    keys, plain = Keys(node, "longest", "supervisors", "supervisors_longest"), Shelving()
    longest = keys.read("longest", plain.longest_ms, lambda one: _at_least(one, MINUTE_MS))
    more = keys.read("supervisors_longest", plain.supervisors_longest_ms, lambda one: _at_least(one, MINUTE_MS))
    who = keys.read("supervisors", plain.supervisors, names)
    keys.done()
    return Shelving(longest, who, more)


def _profiles(node: Node) -> dict[str, Profile]:
    out: dict[str, Profile] = {}
    for name, one in node.items():
        if not PROFILE_NAME.fullmatch(name):
            raise one.error("a profile's name is 2 to 48 of a-z, 0-9 and _, beginning with a letter")
        one.only("from", "until", "warning", "min_severity")
        warning, wanted = one.get("warning"), one.get("min_severity")
        days = (_day(one.need("from")), _day(one.need("until"))) if one.get("from") or one.get("until") else None
        if days is None and warning is None:
            raise one.error("needs days, 'from' and 'until', or the 'warning' level that switches it on")
        out[name] = Profile(
            name,
            days,
            "" if warning is None else warning.text(one_of=WARNINGS[1:]),
            {} if wanted is None else {who: level.text(one_of=SEVERITIES) for who, level in wanted.items()},
        )
    return out


def _day(node: Node) -> tuple[int, int]:
    found = _DAY.fullmatch(node.value) if isinstance(node.value, str) else None
    if found is None:
        raise node.error(f"expected a day of the year such as \"05-15\"; found '{node.plain()}'")
    return int(found[1]), int(found[2])


def _repeat(node: Node) -> int:
    node.only("repeat")
    repeat = node.need("repeat")
    length = _at_least(repeat, 1000)
    if length > LONGEST_REPEAT_MS:
        raise repeat.error(f"expected at most {LONGEST_REPEAT_MS // 1000}s: what is not repeated in time is forgotten")
    return length
