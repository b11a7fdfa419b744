"""What compiled expressions are made of: functions from columns to columns, put together once, run for every batch."""

from __future__ import annotations

import ast
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from alerts.columns import Columns

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Number = Callable[[Columns], Floats]
Truth = Callable[[Columns], tuple[Mask, Mask]]  # surely true, surely false


def column(name: str) -> Number:
    """The column of a name."""
    return lambda columns: columns(name)


def constant(value: float) -> Number:
    """A number as it is written."""
    fixed = np.float64(value)
    return lambda _: fixed  # type: ignore[return-value]  # a number stands for a column of itself


def as_truth(number: Number) -> Truth:
    """A number as a yes or no: everything but nothing is yes."""

    def truth(columns: Columns) -> tuple[Mask, Mask]:
        value = number(columns)
        return np.abs(value) > 0, value == 0

    return truth


def negated(inner: Truth) -> Truth:
    """The contrary: yes and no change places, unknown stays unknown."""

    def truth(columns: Columns) -> tuple[Mask, Mask]:
        yes, no = inner(columns)
        return no, yes

    return truth


def joined(parts: list[Truth], *, all_of: bool) -> Truth:
    """Several truths as one: all of them, or at least one."""

    def truth(columns: Columns) -> tuple[Mask, Mask]:
        yes, no = parts[0](columns)
        for part in parts[1:]:
            also, but = part(columns)
            yes, no = (yes & also, no | but) if all_of else (yes | also, no & but)
        return yes, no

    return truth


def comparison(left: Number, right: Number, holds: np.ufunc, fails: np.ufunc) -> Truth:
    """One comparison; ``fails`` is the contrary of ``holds``."""
    if fails is np.not_equal or holds is np.not_equal:  # NaN differs from everything, so unknown is taken out by hand

        def same(columns: Columns) -> tuple[Mask, Mask]:
            a, b = left(columns), right(columns)
            known = ~(np.isnan(a) | np.isnan(b))
            return holds(a, b) & known, fails(a, b) & known

        return same

    def truth(columns: Columns) -> tuple[Mask, Mask]:
        a, b = left(columns), right(columns)
        return holds(a, b), fails(a, b)

    return truth


def applied(function: Callable[..., Floats], parts: list[Number]) -> Number:
    """A function of the numbers, taken from left to right."""
    if len(parts) == 1:
        only = parts[0]
        return lambda columns: function(only(columns))

    def number(columns: Columns) -> Floats:
        value = parts[0](columns)
        for part in parts[1:]:
            value = function(value, part(columns))
        return value

    return number


def _default(value: Floats, otherwise: Floats) -> Floats:
    """The value, or another one where it is absent or suspect."""
    answer: Floats = np.where(np.isnan(value), otherwise, value)
    return answer


def _divide(left: Floats, right: Floats) -> Floats:
    """Division whose result is unknown where the divisor is nothing."""
    answer: Floats = np.where(right == 0, np.nan, left / right)
    return answer


COMPARE: dict[type[ast.cmpop], tuple[np.ufunc, np.ufunc]] = {
    ast.Lt: (np.less, np.greater_equal),
    ast.LtE: (np.less_equal, np.greater),
    ast.Gt: (np.greater, np.less_equal),
    ast.GtE: (np.greater_equal, np.less),
    ast.Eq: (np.equal, np.not_equal),
    ast.NotEq: (np.not_equal, np.equal),
}
ARITHMETIC: dict[type[ast.operator], Callable[..., Floats]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: _divide,
}
FUNCTIONS: dict[str, tuple[int, int, Callable[..., Floats]]] = {
    "abs": (1, 1, np.abs),
    "min": (2, 99, np.minimum),
    "max": (2, 99, np.maximum),
    "default": (2, 2, _default),
}
