"""The table of docs/rules.md says of all 51 rules of the catalogue where each lives, and names every rule we ship."""

from __future__ import annotations

import re
from pathlib import Path

from alerts.inhibition import common_cause_rule, same_place_rule
from alerts.rules import load_rules
from devices.kinds import load_catalog

ROOT = Path(__file__).parents[2]
RULES = load_rules(ROOT / "config" / "rules.yaml", load_catalog())
CATALOGUE = {"L": 12, "D": 15, "M": 6, "T": 13, "S": 5}
NO_RULES = {"S3", "S4", "S5"}  # what the house does with alerts


def section() -> str:
    text = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    return text.partition("## The catalogue, rule by rule\n")[2].partition("\n## ")[0]


def test_each_rule_of_the_catalogue_has_one_line() -> None:
    found = re.findall(r"^\| ([LDMTS]\d+) \|", section(), re.MULTILINE)
    assert len(found) == 51
    assert sorted(found) == sorted(f"{letter}{n + 1}" for letter, count in CATALOGUE.items() for n in range(count))


def test_the_rules_that_a_line_names_are_shipped() -> None:
    known = {rule.id for rule in (*RULES, common_cause_rule(), same_place_rule())} | set(RULES.disabled)
    for name, where in re.findall(r"^\| ([LDMTS]\d+) \|[^|]*\|([^|]*)\|", section(), re.MULTILINE):
        named = set(re.findall(r"`(\w+)`", where))
        assert name in NO_RULES or (named and named <= known), f"{name}: {named - known}"


def test_no_rule_that_is_shipped_is_left_out() -> None:
    named = set(re.findall(r"`(\w+)`", section()))
    assert {rule.id for rule in RULES} - named == set()
