"""The catalogue's inhibition matrix, line by line, against the shipped one; and what nothing may ever explain away."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from alerts.engine import Engine
from alerts.incidents import Incidents
from alerts.inhibition import common_cause_rule, load_inhibition, parse_inhibition
from alerts.rules import Rule, load_rules
from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from devices.sky import Sky
from devices.transition import ACTIVE, Transition, alert_id
from devices.yamlfile import parse_yaml

CATALOG = load_catalog()
CONFIG = Path(__file__).parents[2] / "config"
RULES = load_rules(CONFIG / "rules.yaml", CATALOG)
MATRIX = load_inhibition(CONFIG / "inhibition.yaml", CATALOG)
T0, MINUTE = 1_781_553_600_000, 60_000

# Which rules are what the catalogue calls so; patterns of ids.
MEANS = {
    "D1": "seepage", "D2": "inflow_burst", "D4": "storm_inflow", "D5": "pump_clog pump_blocked", "D6": "pump_underload",
    "D7": "pump_no_start pump_fault", "D8": "short_cycle", "D9": "pump_worn", "D10": "pump_electric", "D11": "well_*",
    "D12": "station_capacity", "D13": "level_*", "D14": "seep_cusum", "D15": "backflow", "L1": "lamp_out",
    "L3": "lamp_cycling", "L5": "lamp_voltage cabinet_voltage", "L6": "*leakage*", "L7": "lighting_rate",
    "L8": "cabinet_dark feeder_dark breaker_tripped", "L9": "section_out", "L11": "lamp_offline", "L12": "loop_current",
    "M1": "cover_open cover_tilted", "M4": "gas_*", "M5": "cover_offline", "S1": "source_silent",
    "T1": "route_deviation",
    "T2": "truck_in_fence", "T3": "illegal_dump", "T6": "truck_overspeed", "T7": "gps_trouble", "T8": "truck_tampered",
    "T9": "truck_offline", "T10": "truck_stopped", "mains": "mains_lost",
}  # fmt: skip
EXPLAINED = {
    "S1": "L11 M5 T9 D1 D2 D4 D5 D6 D7 D8 D9 D10 D12 D13 D14 D15",  # not L8: a cabinet that speaks is not silent
    "L8": "L1 L3 L5 L7 L9 L11 L12",
    "L9": "L1",
    "D13": "D1 D2 D4 D5 D6 D7 D8 D9 D10 D12 D14 D15",
    "mains": "D5 D6 D7 D8 D9 D10",
    "D7": "D12",
    "T7": "T1 T2 T6 T10",
    "T8": "T1 T2 T6 T10",
}
NEVER = ("D11", "L6", "M1", "M4", "T3")


def meant(names: str) -> list[Rule]:
    patterns = [pattern for name in names.split() for pattern in MEANS[name].split()]
    found = [rule for rule in RULES if any(fnmatchcase(rule.id, one) for one in patterns)]
    assert len(found) >= len(patterns), f"no rule for one of {patterns}"
    return found


@pytest.mark.parametrize("source", list(EXPLAINED))
def test_each_line_of_the_catalogues_matrix_is_in_ours(source: str) -> None:
    for one in meant(source):
        if one.id == "pump_fault":
            continue  # of D7 only a pump that does not start leaves the inflow to the others
        lacking = [target.id for target in meant(EXPLAINED[source]) if not MATRIX.between(one, target)]
        assert not lacking, f"{one.id} explains all but these"


@pytest.mark.parametrize("name", NEVER)
def test_nothing_explains_what_the_catalogue_never_inhibits(name: str) -> None:
    for target in meant(name):
        assert MATRIX.spares(target), target.id
        assert not MATRIX.explainable(target)
        for source in [*RULES, common_cause_rule()]:
            assert MATRIX.between(source, target) == (), (source.id, target.id)


def test_an_entry_that_names_such_a_rule_does_nothing_and_the_check_says_so() -> None:
    text = "never: [gas_*]\ninhibit:\n  - {by: [cover_open], suppress: [gas_h2s, cover_tilted], where: same}\n"
    matrix = parse_inhibition(parse_yaml(text, "inhibition.yaml"), CATALOG)
    assert matrix.between(RULES["cover_open"], RULES["gas_h2s"]) == ()
    assert matrix.unknown(RULES) == [
        "inhibition.yaml:3: 'gas_h2s' stands under 'never' and is not explained; see 'together'"
    ]


ASSETS = [
    Asset("cover-1", "manhole", "cover", district="东区"),
    Asset("cabinet-1", "streetlight", "cabinet", district="东区"),
    Asset("lamp-1", "streetlight", "lamp", district="东区", cabinet="cabinet-1", circuit="1", pole_index=1),
    Asset("station-1", "pump", "station", district="东区"),
    Asset("truck-1", "truck", "truck", district="东区"),
]
REGISTRY = Registry(CATALOG, ASSETS)
FLEET = Engine(RULES, REGISTRY, Sky(REGISTRY, "Asia/Shanghai")).fleet


def begun(rule: Rule, at_ms: int) -> Transition:
    role = rule.role or CATALOG[rule.device].roles[0]
    entity = "device:" + next((one.id for one in ASSETS if (one.kind, one.role) == (rule.device, role)), "station-1")
    entity = "city:*" if rule.kind == "source_silent" else entity
    text = {"en": f"{rule.id} there", "zh": f"{rule.id} 在"}
    words = {language: {"rule": rule.title[language]} for language in ("en", "zh")}
    name = alert_id(rule.id, entity, at_ms)
    return Transition(
        name, rule.id, entity, ACTIVE, at_ms, at_ms, rule.severity, text, kind=rule.device, district="东区", words=words
    )


@pytest.mark.parametrize("target", [rule.id for name in NEVER for rule in meant(name)])
def test_danger_is_told_at_once_whatever_else_is_wrong_before_beside_and_after(target: str) -> None:
    stage = Incidents(RULES, REGISTRY, MATRIX)
    others = [rule for rule in RULES if rule.id != target]
    told, by = [], dict[str, str]()
    danger = begun(RULES[target], T0 + MINUTE)
    steps = [
        [begun(rule, T0) for rule in others[::2]],
        [danger],
        [begun(rule, T0 + 2 * MINUTE) for rule in others[1::2]],
    ]
    for number, some in enumerate(steps):
        now = T0 + number * MINUTE
        out = stage.step(some, FLEET, now)
        by |= {one.alert_id: one.suppressed_by for one in out.transitions}
        by |= {mark.alert_id: mark.suppressed_by for mark in out.marks}
        told += [(now, one.notice) for one in out.incidents if one.notice is not None]
    assert by[danger.alert_id] == "", "nothing explains it"
    spoken = [notice.message["en"] for now, notice in told if now == T0 + MINUTE]
    assert any(f"{target} there" in text for text in spoken), f"told at once, in its own words: {spoken}"
