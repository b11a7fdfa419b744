"""What the rules are compared with: naive rules, one threshold and no patience, and alerts that fall from the sky."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alerts.rules import Rule, RuleSet, parse_rule
from devices.kinds import Catalog
from devices.registry import Registry
from devices.yamlfile import ConfigError, Node, read_yaml
from simulators.card.match import Said

NAIVE, RANDOM = "naive", "random"


@dataclass(frozen=True, slots=True)
class Naivety:
    """How a rule is made naive.

    Attributes:
        without: keys that are left out.
        guards: names whose comparisons are left out of ``on``.
        kinds: keys that a kind of rule gets instead.
    """

    without: frozenset[str]
    guards: frozenset[str]
    kinds: dict[str, dict[str, Node]]


def load_naivety(path: Path) -> Naivety:
    """Read ``config/naive_rules.yaml``. Raises ConfigError naming file, line and key."""
    root = read_yaml(path)
    root.only("without", "guards", "kinds")
    kinds = {name: dict(keys.items()) for name, keys in root.need("kinds").items()}
    words = [frozenset(node.text() for node in root.need(key).elements()) for key in ("without", "guards")]
    return Naivety(words[0], words[1], kinds)


def naive_rules(root: Node, rules: RuleSet, how: Naivety, catalog: Catalog) -> tuple[RuleSet, list[str]]:
    """Return the rules without all that makes them wait or doubt, and the ids of those that cannot do without.

    Args:
        root: the rules as read from YAML.
        rules: the same, checked.
        how: what is left out.
        catalog: the kinds.
    """
    used = {rule.id: rule for rule in rules}
    made: list[Rule] = []
    kept: list[str] = []
    for node in root.need("rules").elements():
        rule_id = node.need("id").text()
        if rule_id not in used:
            continue
        try:
            made.append(parse_rule(_plain(node, how), catalog))
        except ConfigError:
            made.append(used[rule_id])
            kept.append(rule_id)
    return RuleSet(tuple(made), rules.lighting), kept


def _plain(node: Node, how: Naivety) -> Node:
    table = {key: child for key, child in node.items() if key not in how.without}
    kind = node.get("kind")
    table |= how.kinds.get(kind.text() if kind is not None else "expression", {})
    on = table.get("on")
    if on is not None and isinstance(on.value, str):
        table["on"] = Node(unguarded(on.value, how.guards), on.file, on.line, on.path)
    return Node(table, node.file, node.line, node.path)


def unguarded(text: str, guards: frozenset[str]) -> str:
    """Return a condition without those of its parts, joined by ``and``, that name a guard."""
    tree = ast.parse(text.strip(), mode="eval").body
    if not isinstance(tree, ast.BoolOp) or not isinstance(tree.op, ast.And):
        return text
    parts = [part for part in tree.values if not guards & {n.id for n in ast.walk(part) if isinstance(n, ast.Name)}]
    if not parts or len(parts) == len(tree.values):
        return text
    return " and ".join(f"({ast.unparse(part)})" for part in parts)


def random_alerts(
    said: Sequence[Said], rules: RuleSet, registry: Registry, span: tuple[int, int], rng: np.random.Generator
) -> list[Said]:
    """Return as many alerts of each rule as were notified, on entities and at times drawn by lot.

    Args:
        said: what the rules have said; suppressed alerts are passed over.
        rules: whose devices are drawn from; of what a rule says about roads or cells, the entities that it named.
        registry: of the course.
        span: from and until.
        rng: what is drawn from.
    """
    out: list[Said] = []
    loud = [one for one in said if not one.suppressed]
    for name in sorted({one.rule for one in loud}):
        mine = [one for one in loud if one.rule == name]
        times = np.sort(rng.integers(span[0], span[1], len(mine))).tolist()
        entities = _drawn(mine, name, rules, registry, rng)
        for one, entity, when in zip(mine, entities, times, strict=True):
            lasted = max(0, min(one.until_ms, span[1]) - one.told_ms)
            out.append(Said(name, entity, one.severity, when, when, when + lasted))
    return sorted(out, key=lambda one: (one.told_ms, one.rule, one.entity))


def _drawn(mine: Sequence[Said], name: str, rules: RuleSet, registry: Registry, rng: np.random.Generator) -> list[str]:
    known = {rule.id: rule for rule in rules}
    rule = known.get(name)
    if rule is None or not mine[0].entity.startswith("device:"):
        pool = sorted({one.entity for one in mine})
        sort = pool[0].partition(":")[0]
        if sort in ("road", "grid", "cabinet", "district"):
            pool = [f"{sort}:{label}" for label in registry.group(sort).names] or pool
        return [pool[k] for k in rng.integers(0, len(pool), len(mine)).tolist()]
    rows = registry.rows_of(rule.device, rule.role)
    if not len(rows):  # it speaks of devices of other kinds too
        rows = np.arange(len(registry))
    return [f"device:{device}" for device in registry.ids_of(rows[rng.integers(0, len(rows), len(mine))])]
