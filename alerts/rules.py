"""The rules as written by people: read from ``config/rules.yaml`` and what it includes, checked, handed to the engine.

Nothing half-loads: one wrong key anywhere and the whole file is refused, with every problem at its file and line.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alerts.policy_profiles import under, variants
from alerts.spans import duration_ms, minute_of_day
from alerts.templates import COMMON, placeholders
from devices.kinds import Catalog
from devices.sky import LightingSchedule, Override
from devices.transition import SEVERITIES
from devices.yamlfile import ConfigError, Node, read_yaml

RULES_MAX = 1000  # a file with more is a mistake of whatever wrote it
RULE_ID = re.compile(r"^[a-z][a-z0-9_]{1,47}$")
LANGUAGES = ("en", "zh")
PLAIN_KEYS = ("id", "kind", "device", "role", "severity", "title", "message", "source", "for", "keep", "enabled")
KEYS = (*PLAIN_KEYS, "latch", "event", "profiles", "finds")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, checked.

    Attributes:
        id: name of the rule, as alerts carry it.
        kind: how it judges: ``expression``, ``offline``, ``lighting_rate``, ``seepage`` or ``route_deviation``.
        device: name of the catalog kind that it watches.
        role: role of that kind, or None for all roles that can answer.
        severity: one of critical, major, minor, info.
        message: template by language.
        for_ms: how long the condition must hold before an alert, milliseconds.
        keep_ms: how long its end must hold before the alert clears, milliseconds.
        params: what the rule kind's own ``parse`` made of the kind's own keys.
        fingerprint: changes with the rule's meaning, not with its wording or severity.
        title: short name by language.
        source: where the figures come from, for the reader.
        line: line of the file at which it begins.
        latch: its alerts stay open until a person resets them.
        event: its alerts are told even when they are over before anybody had to be told.
        profiles: names of the profiles under which it has other keys.
        finds: kinds of simulated faults that it may say, for the report card, beside those whose injector names it.
    """

    id: str
    kind: str
    device: str
    role: str | None
    severity: str
    message: dict[str, str]
    for_ms: int
    keep_ms: int
    params: Any
    fingerprint: str
    title: dict[str, str] = field(default_factory=dict)
    source: str = ""
    line: int = 0
    latch: bool = False
    profiles: tuple[str, ...] = ()
    finds: tuple[str, ...] = ()
    event: bool = False


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of a file.

    Attributes:
        rules: in the order of the file, switched-off ones left out.
        lighting: when lamps are meant to burn.
        source: the file's text, as read.
        disabled: ids of the rules that the file switches off.
    """

    rules: tuple[Rule, ...]
    lighting: LightingSchedule = field(default_factory=LightingSchedule)
    source: str = ""
    disabled: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    def __getitem__(self, rule_id: str) -> Rule:
        """Return the rule of that id. Raises KeyError with the known ids."""
        for rule in self.rules:
            if rule.id == rule_id:
                return rule
        raise KeyError(f"no rule '{rule_id}'; known: {', '.join(rule.id for rule in self.rules)}")


def load_rules(path: Path, catalog: Catalog, profiles: Sequence[str] = ()) -> RuleSet:
    """Read and check a rules file; its rules are as they are under ``profiles``, the later of them before the earlier.

    Raises:
        ConfigError: with every problem of the file, each naming file, line, key and the accepted form.
    """
    root, source = read_rules(path)
    return parse_rules(root, catalog, source, profiles)


def read_rules(path: Path) -> tuple[Node, str]:
    """Return a rules file with the rules of the files that it includes, and the text of all of them.

    Included files stand relative to the one that names them, hold ``rules`` alone, and include nothing themselves.

    Raises:
        ConfigError: when one of them is absent or is not YAML.
    """
    root = read_yaml(path)
    texts = [path.read_text(encoding="utf-8")]
    included = root.get("include")
    if included is None:
        return root, texts[0]
    own = root.get("rules")
    rules = list(own.elements()) if own else []
    problems: list[str] = []
    for node in included.elements():
        try:
            part = _included(node, path.parent / node.text())
            rules += part.need("rules").elements()
            texts.append(Path(part.file).read_text(encoding="utf-8"))
        except ConfigError as trouble:
            problems.extend(trouble.problems)
    if problems:
        raise ConfigError(problems)
    place = own or included
    whole = {key: node for key, node in root.items() if key != "include"}
    whole["rules"] = Node(rules, place.file, place.line, "rules")
    return Node(whole, root.file, root.line, root.path), "\n".join(texts)


def _included(node: Node, path: Path) -> Node:
    if not path.is_file():
        raise node.error(f"no file {path}")
    part = read_yaml(path)
    part.only("rules")
    return part


def parse_rules(root: Node, catalog: Catalog, source: str = "", profiles: Sequence[str] = ()) -> RuleSet:
    """Check rules read from YAML, under these profiles and under every other. Raises ConfigError with every problem."""
    root.only("lighting", "rules")
    problems: list[str] = []
    lighting = LightingSchedule()
    lighting_node = root.get("lighting")
    if lighting_node is not None:
        try:
            lighting = _lighting(lighting_node)
        except ConfigError as trouble:
            problems.extend(trouble.problems)
    nodes = root.need("rules").elements()
    if len(nodes) > RULES_MAX:
        raise root.need("rules").error(f"{len(nodes)} rules; at most {RULES_MAX} are read")
    rules: list[Rule] = []
    disabled: list[str] = []
    first: dict[str, Node] = {}
    for node in nodes:
        try:
            rule = parse_rule(node, catalog, profiles)
            if rule.id in first:
                before = first[rule.id]
                where = f"line {before.line}" if before.file == node.file else f"{before.file}:{before.line}"
                raise node.need("id").error(f"'{rule.id}' is already the id of the rule at {where}")
            first[rule.id] = node
            if _enabled(under(node, profiles)):
                rules.append(rule)
            else:
                disabled.append(rule.id)
        except ConfigError as trouble:
            problems.extend(trouble.problems)
    if problems:
        raise ConfigError(problems)
    return RuleSet(tuple(rules), lighting, source, tuple(disabled))


def parse_rule(node: Node, catalog: Catalog, profiles: Sequence[str] = ()) -> Rule:
    """Check one rule. Raises ConfigError with every problem of the rule that can be seen at once."""
    others = variants(node)
    rule = _parse_rule(under(node, profiles), catalog)
    problems: list[str] = []
    for name, other in others.items():
        try:
            _parse_rule(other, catalog)
        except ConfigError as trouble:
            problems += [f"{problem} (under profile {name})" for problem in trouble.problems]
    if problems:
        raise ConfigError(problems)
    return replace(rule, profiles=tuple(others))


def _parse_rule(node: Node, catalog: Catalog) -> Rule:
    from alerts.rule_kinds import RULE_KINDS  # the table imports every kind of rule, and they import this module

    problems: list[str] = []
    rule_id = _checked(problems, lambda: _id(node.need("id")), "")
    kind_name = _checked(problems, lambda: _choice(node.get("kind"), tuple(RULE_KINDS), "expression"), "")
    device = _checked(problems, lambda: node.need("device").text(one_of=tuple(catalog.kinds)), "")
    severity = _checked(problems, lambda: node.need("severity").text(one_of=SEVERITIES), "")
    title = _checked(problems, lambda: _title(node.get("title"), rule_id), {})
    for_ms = _checked(problems, lambda: _duration(node.get("for")), 0)
    keep_ms = _checked(problems, lambda: _duration(node.get("keep")), 0)
    source = _checked(problems, lambda: _text(node.get("source")), "")
    message = _checked(problems, lambda: _message(node.need("message")), {})
    _checked(problems, lambda: _enabled(node), None)
    latch = _checked(problems, lambda: _yes(node.get("latch"), otherwise=False), otherwise=False)
    event = _checked(problems, lambda: _yes(node.get("event"), otherwise=False), otherwise=False)
    finds = _checked(problems, lambda: tuple(one.text() for one in _elements(node.get("finds"))), ())
    own = Node({k: v for k, v in node.items() if k not in KEYS}, node.file, node.line, node.path)
    role, params = None, None
    if kind_name and device:
        kind, form = catalog[device], RULE_KINDS[kind_name]
        role = _checked(problems, lambda: _role(node.get("role"), kind.roles), None)
        problems.extend(form.refused(node))
        strange: list[str] = []
        params = _checked(strange, lambda: form.parse(own, kind, role, catalog), None)
        problems.extend(one.replace("known here: ", f"known here: {', '.join(KEYS)}, ") for one in strange)
        if message and params is not None:
            problems.extend(_strange_names(node.need("message"), message, form.names(kind, role)))
    if problems:
        raise ConfigError(problems)
    meaning = json.dumps([kind_name, device, role, for_ms, keep_ms, own.plain()], sort_keys=True, default=str)
    fingerprint = hashlib.blake2s(meaning.encode(), digest_size=8).hexdigest()
    return Rule(
        id=rule_id, kind=kind_name, device=device, role=role, severity=severity, message=message, for_ms=for_ms,
        keep_ms=keep_ms, params=params, fingerprint=fingerprint, title=title, source=source, line=node.line,
        latch=latch, finds=finds, event=event,
    )  # fmt: skip


def _checked(problems: list[str], read: Any, otherwise: Any) -> Any:  # noqa: ANN401 - one helper for every type of key
    try:
        return read()
    except ConfigError as trouble:
        problems.extend(trouble.problems)
        return otherwise


def _id(node: Node) -> str:
    text = node.text()
    if not RULE_ID.fullmatch(text):
        raise node.error(f"a rule's id is 2 to 48 of a-z, 0-9 and _, beginning with a letter; found '{text}'")
    return text


def _choice(node: Node | None, accepted: tuple[str, ...], otherwise: str) -> str:
    return otherwise if node is None else node.text(one_of=accepted)


def _role(node: Node | None, roles: tuple[str, ...]) -> str | None:
    return None if node is None else node.text(one_of=roles)


def _duration(node: Node | None) -> int:
    return 0 if node is None else duration_ms(node)


def _text(node: Node | None) -> str:
    return "" if node is None else node.text()


def _elements(node: Node | None) -> Sequence[Node]:
    return () if node is None else node.elements()


def _enabled(node: Node) -> bool:
    return _yes(node.get("enabled"), otherwise=True)


def _yes(found: Node | None, *, otherwise: bool) -> bool:
    if found is None:
        return otherwise
    if not isinstance(found.value, bool):
        raise found.error("expected true or false")
    return found.value


def _title(node: Node | None, rule_id: str) -> dict[str, str]:
    if node is None:
        plain = rule_id.replace("_", " ").capitalize()
        return dict.fromkeys(LANGUAGES, plain)
    return _by_language(node)


def _by_language(node: Node) -> dict[str, str]:
    node.only(*LANGUAGES)
    return {language: node.need(language).text() for language in LANGUAGES}


def _message(node: Node) -> dict[str, str]:
    texts = _by_language(node)
    for language, text in texts.items():
        placeholders(text, node.need(language))
    return texts


def _strange_names(node: Node, message: dict[str, str], known: frozenset[str] | None) -> list[str]:
    """Return a problem for each name in braces that the rule will never know; None means that any may come."""
    if known is None:
        return []
    problems = []
    for language, text in message.items():
        for name in placeholders(text, node.need(language)):
            if name not in known and name not in COMMON:
                told = ", ".join([*COMMON, *sorted(known)])
                problems.append(node.need(language).problem(f"nothing is called {{{name}}} here; known: {told}"))
    return problems


def _lighting(node: Node) -> LightingSchedule:
    node.only("on_after_sunset_min", "off_before_sunrise_min", "overrides")
    plain = LightingSchedule()
    after, before = node.get("on_after_sunset_min"), node.get("off_before_sunrise_min")
    listed = node.get("overrides")
    return LightingSchedule(
        plain.on_after_sunset_min if after is None else after.number(low=-120, high=120),
        plain.off_before_sunrise_min if before is None else before.number(low=-120, high=120),
        tuple(_override(child) for child in listed.elements()) if listed else (),
    )


def _override(node: Node) -> Override:
    node.only("cabinet", "from", "until")
    begin, end = minute_of_day(node.need("from")), minute_of_day(node.need("until"))
    if begin == end:
        raise node.need("until").error("a night needs a length: 'from' and 'until' are the same minute")
    return Override(node.need("cabinet").text(), begin, end)
