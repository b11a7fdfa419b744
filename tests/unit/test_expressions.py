"""Expressions: what they mean, in three-valued logic, and what is said of those that mean nothing."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.expressions import condition, quantity
from devices.kinds import Catalog, load_catalog
from devices.yamlfile import ConfigError, Node
from simulators.plain_expressions import truth_of

CATALOG = load_catalog()
NAN = math.nan


class Table:
    """Columns by name, for expressions to look names up in."""

    def __init__(self, **columns: list[float]) -> None:
        self.columns = {name: np.array(values, dtype=np.float64) for name, values in columns.items()}

    def __call__(self, name: str) -> npt.NDArray[np.float64]:
        return self.columns[name]


def node(text: object) -> Node:
    return Node(text, "rules.yaml", 7, "rules[0].on")


def answer(text: str, kind: str = "streetlight", **columns: list[float]) -> list[bool | None]:
    yes, no = condition(node(text), CATALOG[kind], None)(Table(**columns))
    return [True if y else False if n else None for y, n in zip(yes, no, strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("power_w > 30", [False, True, None]),
        ("not power_w > 30", [True, False, None]),
        ("power_w != 100", [True, False, None]),
        ("power_w == 100", [False, True, None]),
        ("0 <= power_w < 50", [True, False, None]),
        ("power_w > 30 or voltage_v > 200", [True, True, True]),
        ("power_w > 30 and voltage_v > 250", [False, False, False]),
        ("power_w > 30 and voltage_v > 200", [False, True, None]),
        ("power_w > 30 or voltage_v > 250", [False, True, None]),
        ("-power_w < -30", [False, True, None]),
        ("abs(power_w - 60) > 50", [False, False, None]),
        ("max(power_w, voltage_v) > 150", [True, True, None]),
        ("min(power_w, voltage_v, 10) == 10", [True, True, None]),
        ("voltage_v / power_w > 1", [True, True, None]),
        ("default(power_w, 0) < 30", [True, False, True]),
    ],
)
def test_an_expression_is_true_false_or_unknown(text: str, expected: list[bool | None]) -> None:
    assert answer(text, power_w=[20.0, 100.0, NAN], voltage_v=[220.0, 220.0, 220.0]) == expected


def test_division_by_nothing_is_unknown() -> None:
    assert answer("voltage_v / current_a > 1", voltage_v=[220.0, 0.0], current_a=[0.0, 0.0]) == [None, None]


def test_a_yes_or_no_field_stands_for_itself() -> None:
    assert answer("door_open", door_open=[1.0, 0.0, NAN]) == [True, False, None]
    assert answer("not door_open", door_open=[1.0, 0.0, NAN]) == [False, True, None]


def test_a_coded_field_is_compared_with_its_labels() -> None:
    assert answer("load_state == 'full'", "truck", load_state=[0.0, 3.0, NAN]) == [False, True, None]
    assert answer("'empty' != load_state", "truck", load_state=[0.0, 3.0, NAN]) == [False, True, None]


def test_a_quantity_is_a_number_for_every_row() -> None:
    made = quantity(node("0.3 * rated_power_w + 1"), CATALOG["streetlight"], "lamp")
    assert made(Table(rated_power_w=[100.0, 50.0])).tolist() == [31.0, 16.0]
    assert made.names == ("rated_power_w",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("powr_w < 3", "no name 'powr_w'; did you mean 'power_w'?"),
        ("power_w", "is a number, not a yes or no; compare it, such as 'power_w > 0'"),
        ("power_w + 1", "is a number, not a yes or no"),
        ("(power_w > 1) + 1 > 1", "'power_w > 1': is a yes or no where a number is expected"),
        ("power_w > True", "'True': expected a number"),
        ("1", "is the same for every reading"),
        ("power_w < = 3", "cannot be read at character 11"),
        ("power_w > 3 if door_open else 4", "expected an expression of names"),
        ("power_w ** 2 > 4", "expected an expression of names"),
        ("power_w is 4", "expected an expression of names"),
        ("power_w in (4, 5)", "expected an expression of names"),
        ("[power_w > 1][0]", "expected an expression of names"),
        ("power_w.real > 1", "expected an expression of names"),
        ("__import__('os').system('ls') > 3", "the functions are abs(a)"),
        ("eval('1') > power_w", "the functions are abs(a)"),
        ("max(power_w) > 1", "max() takes two numbers or more"),
        ("abs(power_w, 2) > 1", "abs() takes one number"),
        ("default(power_w) > 1", "default() takes two numbers"),
        ("max(power_w, key=2) > 1", "the functions are abs(a)"),
        ("work_mode == 'hand'", "work_mode has no such code; it has 'auto', 'semi-automatic', 'manual'"),
        ("power_w == 'hand'", "can only be compared with a field that has named codes"),
        ("power_w > 1e999", "is too large for a number"),
        ("power_w > 3j", "expected a number"),
        ("-" * 200 + "power_w > 1", "too long or too deeply nested"),
        ("power_w > " + " + ".join(["1"] * 300), "at most"),
        ("(" * 400 + "power_w", "rules.yaml:7: rules[0].on: "),
        ("", "expected text"),
        (3, "found int 3"),
        (True, "found bool True"),
        ([Node("power_w > 3", "rules.yaml", 8, "")], "found list ['power_w > 3']"),
    ],
)
def test_what_means_nothing_is_refused_with_its_place(text: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        condition(node(text), CATALOG["streetlight"], None)
    (problem,) = caught.value.problems
    assert problem.startswith("rules.yaml:7: rules[0].on: ")
    assert said in problem


def test_a_field_of_another_role_is_named_with_the_role_that_has_it(catalog: Catalog) -> None:
    with pytest.raises(ConfigError, match="'door_open' is reported by cabinet, not by lamp"):
        condition(node("door_open"), catalog["streetlight"], "lamp")


NAMES = ("power_w", "voltage_v", "leakage_ma", "door_open", "expected_on", "local_hour")
NUMBERS = st.sampled_from(("0", "1", "2.5", "-3", *NAMES))
TERMS = st.recursive(
    NUMBERS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda t: f"abs({t})"),
        inner.map(lambda t: f"-({t})"),
        st.tuples(st.sampled_from(("min", "max", "default")), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
    ),
    max_leaves=4,
)
COMPARISONS = st.tuples(TERMS, st.sampled_from(("<", "<=", ">", ">=", "==", "!=")), TERMS).map(" ".join)
CHAINS = st.tuples(TERMS, TERMS, TERMS).map(lambda t: f"{t[0]} < {t[1]} <= {t[2]}")
TRUTHS = st.recursive(
    st.one_of(COMPARISONS, CHAINS, st.sampled_from(("door_open", "expected_on"))),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(("and", "or")), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda t: f"(not {t})"),
    ),
    max_leaves=6,
)
ROWS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from((0.0, 1.0, 2.5, -3.0, 7.0)))


@settings(max_examples=400, deadline=None)
@given(TRUTHS, st.lists(ROWS, min_size=1, max_size=5))
def test_columns_and_plain_reading_of_any_expression_agree(text: str, rows: list[dict[str, float]]) -> None:
    kind = CATALOG["streetlight"]
    table = Table(**{name: [row.get(name, NAN) for row in rows] for name in NAMES})
    yes, no = condition(node(text), kind, None)(table)
    columns = zip(np.broadcast_to(yes, len(rows)), np.broadcast_to(no, len(rows)), strict=True)
    got = [True if y else False if n else None for y, n in columns]
    assert got == [truth_of(text, row.get, kind) for row in rows]
