"""Reads files of rule tests; every mistake is told with file, line and key (docs/rules.md describes the format)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from alerts.rules import Rule, RuleSet, parse_rule, parse_rules
from alerts.ruletest import Alert, Expectation, Reading, RuleTest, Told
from alerts.ruletest_parts import (
    PLACE,
    clock_of,
    delay_of,
    elements_of,
    fence_of,
    items_of,
    permit_of,
    road_of,
    span_of,
)
from alerts.ruletest_series import length, names, series, time_ms
from devices.asset import Asset
from devices.kinds import Catalog, Field, Kind
from devices.registry import Registry
from devices.transition import ACTIVE, CLEARED
from devices.yamlfile import ConfigError, Node

SHARED = ("rule", "clock", "entities", "series", "delays", "held", "permits", "roads", "fences")
CASE = (*SHARED, "name", "expect", "transitions")
LINE_FORM = "expected such as '30m active lamp-7 since 15m' or '55m cleared lamp-7 since 15m recovered'"
_LINE = re.compile(r"^(\S+)\s+(?:(\w+)\s+)?(active|cleared)\s+(.+?)\s+since\s+(\S+)(?:\s+(\w+))?$")
_TEXTS = ("name", "district", "street", "road", "cabinet", "circuit", "grid", "owner", "keeper")


def all_rules(root: Node, catalog: Catalog) -> RuleSet:
    """Return every rule of a rules file, those that are switched off too. Raises ConfigError with every problem."""
    checked = parse_rules(root, catalog)
    return RuleSet(tuple(parse_rule(node, catalog) for node in root.need("rules").elements()), checked.lighting)


def parse_rule_tests(root: Node, rules: RuleSet, catalog: Catalog) -> list[RuleTest]:
    """Read the tests of one file.

    Args:
        root: the file.
        rules: every rule of the rules file that it names, see :func:`all_rules`.
        catalog: the kinds.

    Raises:
        ConfigError: with every problem, each naming file, line and key.
    """
    root.only("rules", "tests")
    found: list[RuleTest] = []
    problems: list[str] = []
    for node in root.need("tests").elements():
        for case in _cases(node, problems):
            try:
                found.append(_Reader(case, rules, catalog).test())
            except ConfigError as trouble:
                problems.extend(trouble.problems)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return found


def _cases(node: Node, problems: list[str]) -> Iterator[Node]:
    """Yield the cases of a test, each with the keys that stand once for all of them."""
    try:
        listed = node.get("cases")
        if listed is None:
            node.only(*CASE)
            yield node
            return
        node.only(*SHARED, "cases")
        for case in listed.elements():
            case.only(*CASE)
            shared = {key: child for key, child in node.items() if key != "cases"}
            merged = shared | dict(case.items())
            if case.get("series") is not None and "series" in shared:
                ours = case.need("series")
                both = dict(shared["series"].items()) | dict(ours.items())
                merged["series"] = Node(both, ours.file, ours.line, ours.path)
            yield Node(merged, case.file, case.line, case.path)
    except ConfigError as trouble:
        problems.extend(trouble.problems)


class _Reader:
    """Reads one case."""

    def __init__(self, node: Node, rules: RuleSet, catalog: Catalog) -> None:
        self.node, self.catalog = node, catalog
        self.rules = RuleSet(tuple(self._rules(node.need("rule"), rules)), rules.lighting)
        self.clock = clock_of(node.need("clock"))

    def test(self) -> RuleTest:
        node, clock = self.node, self.clock
        name = node.need("name").text()
        self.assets = {asset.id: asset for asset in self._assets(node.need("entities"))}
        readings, steps = self._readings(node.need("series"))
        if node.get("expect") is None and node.get("transitions") is None:
            raise node.error(
                "says nothing that must come of it; add 'transitions' (an empty list: nothing may) or 'expect'"
            )
        expect = tuple(self._expectation(one) for one in elements_of(node.get("expect")))
        listed = node.get("transitions")
        told = None if listed is None else tuple(self._line(one) for one in listed.elements())
        last = [clock.start_ms + max(steps - 1, 0) * clock.step_ms + clock.after_ms]
        last += [one.at_ms for one in expect] + [one.at_ms for one in told or ()]
        last += [one.arrives_ms for one in readings]
        roads = [road_of(key, one) for key, one in items_of(node.get("roads"))]
        permits = [permit_of(key, one) for key, one in items_of(node.get("permits"))]
        fences = [fence_of(key, one) for key, one in items_of(node.get("fences"))]
        registry = Registry(self.catalog, list(self.assets.values()), roads, permits, fences=fences)
        told_at = "" if listed is None else f"{listed.file}:{listed.line}"
        return RuleTest(
            name, f"{node.file}:{node.line}", self.rules, registry, clock.zone, clock.start_ms, max(last),
            clock.step_ms, clock.tick_ms, readings, expect, told, told_at,
        )  # fmt: skip

    def _rules(self, node: Node, rules: RuleSet) -> Iterator[Rule]:
        for one in node.elements() if isinstance(node.value, list) else [node]:
            try:
                yield rules[one.text()]
            except KeyError as trouble:
                raise one.error(str(trouble.args[0])) from trouble

    def _assets(self, node: Node) -> Iterator[Asset]:
        for key, one in node.items():
            kind, role = self._kind(one)
            plain = self._plain(one, kind, role)
            for name in names(one, key):
                yield Asset(id=name, kind=kind.name, role=role, **({"lon": PLACE[0], "lat": PLACE[1]} | plain))

    def _kind(self, node: Node) -> tuple[Kind, str]:
        node.only("kind", "role", "facts", "lon", "lat", "pole_index", *_TEXTS)
        said = node.get("kind")
        kind = self.catalog[
            next(iter(self.rules)).device if said is None else said.text(one_of=tuple(self.catalog.kinds))
        ]
        role = node.get("role")
        rule_role = next((rule.role for rule in self.rules if rule.device == kind.name and rule.role), kind.roles[0])
        return kind, rule_role if role is None else role.text(one_of=kind.roles)

    def _plain(self, node: Node, kind: Kind, role: str) -> dict[str, Any]:
        out: dict[str, Any] = {key: one.text() for key, one in node.items() if key in _TEXTS}
        out |= {key: one.number(low=-180, high=180) for key, one in node.items() if key in ("lon", "lat")}
        pole = node.get("pole_index")
        if pole is not None:
            out["pole_index"] = int(pole.number(low=0, high=100_000))
        known = tuple(one.name for one in kind.facts if not one.roles or role in one.roles)
        facts = node.get("facts")
        if facts is not None:
            facts.only(*known)
            out["facts"] = {key: one.number() for key, one in facts.items()}
        return out

    def _readings(self, node: Node) -> tuple[tuple[Reading, ...], int]:
        clock, table = self.clock, self._table(node)
        steps = max((len(values) for fields in table.values() for values in fields.values()), default=0)
        delays = self._spans("delays")
        held = self._spans("held")
        readings = []
        for number in range(steps):
            since = number * clock.step_ms
            for entity, fields in table.items():
                late = delays.get(entity, ())
                values = {f: v[number] for f, v in fields.items() if number < len(v) and not np.isnan(v[number])}
                if not values:
                    continue
                arrives = since + sum(span[0] for span in late if len(span) == 1 or since < span[1])
                for span in held.get(entity, ()):
                    if span[0] <= since < span[1]:
                        arrives = max(arrives, span[1])
                readings.append(Reading(entity, clock.start_ms + since, clock.start_ms + arrives, values))
        return tuple(readings), steps

    def _table(self, node: Node) -> dict[str, dict[str, list[float]]]:
        table: dict[str, dict[str, list[float]]] = {}
        problems: list[str] = []
        for key, one in node.items():
            try:
                who, _, name = key.rpartition(".")
                for entity in names(one, who):
                    field_ = self._field(one, entity, name)
                    table.setdefault(entity, {})[name] = series(one, field_)
            except ConfigError as trouble:
                problems.extend(trouble.problems)
        if problems:
            raise ConfigError(problems)
        return table

    def _field(self, node: Node, entity: str, name: str) -> Field:
        asset = self.assets.get(entity)
        if asset is None:
            told = ", ".join([*self.assets][:10]) or "none"
            raise node.error(f"expected entity.field with one of the entities {told}; found '{entity}.{name}'")
        kind = self.catalog[asset.kind]
        own = {one.name: one for one in kind.fields if not one.roles or asset.role in one.roles}
        if name not in own:
            raise node.error(f"a {asset.role} of {kind.name} has no field '{name}'; it has {', '.join(own)}")
        return own[name]

    def _spans(self, key: str) -> dict[str, list[tuple[int, ...]]]:
        """Return by entity the delays, or the spans of time whose readings are held back."""
        out: dict[str, list[tuple[int, ...]]] = {}
        for name, one in items_of(self.node.get(key)):
            for entity in names(one, name):
                if entity not in self.assets:
                    raise one.error(f"expected one of the entities {', '.join([*self.assets][:10])}")
                out.setdefault(entity, []).append(span_of(one) if key == "held" else delay_of(one))
        return out

    def _expectation(self, node: Node) -> Expectation:
        node.only("at", "alerts", "pending")
        at = self.clock.start_ms + length(node.need("at"))
        alerts, pending = node.get("alerts"), node.get("pending")
        if alerts is None and pending is None:
            raise node.error("expected 'alerts' or 'pending', what must be there at that time; an empty list: nothing")
        made = [None if one is None else tuple(map(self._alert, one.elements())) for one in (alerts, pending)]
        return Expectation(at, made[0], made[1], f"{node.file}:{node.line}")

    def _alert(self, node: Node) -> Alert:
        node.only("rule", "entity", "state", "since", "figures")
        state, since, figures = node.get("state"), node.get("since"), node.get("figures")
        if state is not None:
            state.text(one_of=(ACTIVE,))
        entity = self._entity(node.need("entity"), node.need("entity").text())
        since_ms = None if since is None else self.clock.start_ms + length(since)
        return Alert(
            self._rule_id(node.get("rule"), node), entity, since_ms, {k: one.number() for k, one in items_of(figures)}
        )

    def _line(self, node: Node) -> Told:
        found = _LINE.match(node.text().strip())
        at, since = (time_ms(found[1]), time_ms(found[5])) if found else (None, None)
        if found is None or at is None or since is None:
            raise node.error(f"{LINE_FORM}; found '{node.value}'")
        if (found[3] == CLEARED) is (found[6] is None):
            raise node.error(f"a cleared alert has a reason, an active one has none; {LINE_FORM}")
        rule = found[2] if found[2] is not None else self._rule_id(None, node)
        if rule not in {one.id for one in self.rules}:
            raise node.error(
                f"expected one of the test's rules {', '.join(one.id for one in self.rules)}; found '{rule}'"
            )
        begin = self.clock.start_ms
        return Told(begin + at, rule, found[3], self._entity(node, found[4]), begin + since, found[6] or "")

    def _entity(self, node: Node, text: str) -> str:
        if ":" in text:
            return text
        if text not in self.assets:
            raise node.error(f"expected one of the entities, or such as road:Elm Road; found '{text}'")
        return f"device:{text}"

    def _rule_id(self, node: Node | None, near: Node) -> str:
        own = tuple(rule.id for rule in self.rules)
        if node is not None:
            return node.text(one_of=own)
        if len(own) > 1:
            raise near.error(f"the test has several rules; say which: {', '.join(own)}")
        return own[0]
