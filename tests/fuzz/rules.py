"""Any text as a rules file, a kind's declaration or one key of a rule: what it says, or where it is wrong."""

from __future__ import annotations

import re

from alerts.rules import RuleSet, parse_rule, parse_rules
from devices.kinds import Kind, parse_kind
from devices.yamlfile import ConfigError, Node, parse_yaml
from tests.fuzz.payloads import CATALOG

WORD = re.compile(r"[a-z][a-z0-9_]*")
PLACE = re.compile(r"any\.yaml:\d+: ")
RULE = {
    "id": "a_rule",
    "device": "streetlight",
    "severity": "minor",
    "on": "power_w > 1",
    "message": {"en": "a", "zh": "a"},
}
KEYS = ("on", "off", "value", "threshold", "for", "keep", "hold", "lost_after", "samples", "carry", "id", "kind")


def check(data: bytes) -> None:
    """The first byte chooses what the rest is read as."""
    form, text = (data[0], bytes(data[1:]).decode("utf-8", "replace")) if data else (0, "")
    try:
        if form < 96:
            found: object = parse_rules(parse_yaml(text, "any.yaml"), CATALOG, text)
            assert isinstance(found, RuleSet)
            assert all(WORD.fullmatch(rule.id) for rule in found)
        elif form < 144:
            kind = parse_kind(parse_yaml(text, "any.yaml"))
            assert isinstance(kind, Kind)
            assert all(WORD.fullmatch(name) for name in (kind.name, *kind.field_names()))
        else:
            _key(form, text)
    except ConfigError as trouble:
        told = trouble.problems
    else:
        return
    assert told
    for problem in told:
        assert PLACE.match(problem), problem


def _key(form: int, text: str) -> None:
    """Read text as one key of a rule that is well otherwise, or as its message."""
    place = form % (len(KEYS) + 1)
    changed = {KEYS[place]: text} if place < len(KEYS) else {"message": {"en": text, "zh": "a"}}
    parse_rule(node_of({**RULE, **changed}), CATALOG)


def node_of(value: object, line: int = 1, path: str = "") -> Node:
    """Return plain values as the nodes that YAML would give."""
    if isinstance(value, dict):
        value = {key: node_of(child, line, f"{path}.{key}" if path else key) for key, child in value.items()}
    elif isinstance(value, list):
        value = [node_of(child, line, f"{path}[{place}]") for place, child in enumerate(value)]
    return Node(value, "any.yaml", line, path)
