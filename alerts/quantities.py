"""Numbers in compiled expressions: terms over columns, each worked out once a batch, and only where it can be known.

A number that is unknown in every row is None, so that whatever hangs on it need not be computed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

UNSEEN: Any = object()  # stands for what a sheet has not made yet
_KNOWN: WeakValueDictionary[tuple[object, ...], Any] = WeakValueDictionary()


class Sheet(Protocol):
    """Where terms find their names, and leave what they worked out.

    Attributes:
        made: by term; equal terms are one object, whichever rules they stand in.
    """

    made: dict[Any, Any]

    def __call__(self, name: str) -> Floats | None:
        """Return the column of a name, NaN where unknown; None where it is unknown in every row."""


class Number:
    """A term that is a number in every row, NaN where unknown.

    Attributes:
        needs: names without which it is unknown everywhere.
    """

    __slots__ = ("__weakref__", "needs")
    needs: frozenset[str]

    def of(self, sheet: Sheet) -> Floats | None:
        """Return the numbers, NaN where unknown; None where all are unknown; of no length where all are the same."""
        raise NotImplementedError


class Name(Number):
    """The column of a name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name, self.needs = name, frozenset((name,))

    def of(self, sheet: Sheet) -> Floats | None:
        """Return the column."""
        return sheet(self.name)


class Fixed(Number):
    """A number as it is written."""

    __slots__ = ("value",)

    def __init__(self, value: float) -> None:
        self.value: Floats = np.array(value, dtype=np.float64)
        self.needs = frozenset()

    def of(self, sheet: Sheet) -> Floats | None:  # noqa: ARG002 - it is the same for all
        """Return the number."""
        return self.value


class Applied(Number):
    """A function of numbers, taken from left to right."""

    __slots__ = ("function", "parts")

    def __init__(self, function: Callable[..., Floats], parts: tuple[Number, ...]) -> None:
        self.function, self.parts = function, parts
        self.needs = frozenset().union(*(part.needs for part in parts))

    def of(self, sheet: Sheet) -> Floats | None:
        """Return what the function makes of its parts."""
        found = sheet.made.get(self, UNSEEN)
        if found is UNSEEN:
            found = sheet.made[self] = self._make(sheet)
        return found  # type: ignore[no-any-return]

    def _make(self, sheet: Sheet) -> Floats | None:
        value = self.parts[0].of(sheet)
        if value is None or len(self.parts) == 1:
            return None if value is None else self.function(value)
        for part in self.parts[1:]:
            other = part.of(sheet)
            if other is None:
                return None
            value = self.function(value, other)
        return value


class Default(Applied):
    """A number, or another one where it is absent or suspect."""

    __slots__ = ()

    def __init__(self, function: Callable[..., Floats], parts: tuple[Number, ...]) -> None:
        super().__init__(function, parts)
        self.needs = parts[0].needs & parts[1].needs

    def _make(self, sheet: Sheet) -> Floats | None:
        value, otherwise = self.parts[0].of(sheet), self.parts[1].of(sheet)
        if value is None or otherwise is None:
            return otherwise if value is None else value
        return self.function(value, otherwise)


def same(make: Callable[..., Any], *parts: object) -> Any:  # noqa: ANN401 - whatever ``make`` makes
    """Return the one term of that make and those parts, so that rules which share it share the work."""
    key = (make, *parts)
    found = _KNOWN.get(key)
    if found is None:
        found = _KNOWN[key] = make(*parts)
    return found


def named(name: str) -> Number:
    """Return the column of a name as a term."""
    found: Number = same(Name, name)
    return found


def fixed(value: float) -> Number:
    """Return a number as a term."""
    found: Number = same(Fixed, value)
    return found


def applied(function: Callable[..., Floats], parts: list[Number]) -> Number:
    """Return a function of numbers as a term."""
    found: Number = same(Default if function is otherwise else Applied, function, tuple(parts))
    return found


def otherwise(value: Floats, other: Floats) -> Floats:
    """Return the value, or the other one where it is absent or suspect."""
    answer: Floats = np.where(np.isnan(value), other, value)
    return answer


def _divide(left: Floats, right: Floats) -> Floats:
    """Division whose result is unknown where the divisor is nothing."""
    answer: Floats = np.where(right == 0, np.nan, left / right)
    return answer


ARITHMETIC: dict[type[ast.operator], Callable[..., Floats]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: _divide,
}


def bit(word: Floats, number: Floats) -> Floats:
    """Return 1 where that bit of a whole number is set, 0 where it is not; bit 0 is worth one."""
    found: Floats = np.floor(word / np.exp2(number)) % 2.0
    return found


FUNCTIONS: dict[str, tuple[int, int, Callable[..., Floats]]] = {
    "abs": (1, 1, np.abs),
    "min": (2, 99, np.minimum),
    "max": (2, 99, np.maximum),
    "default": (2, 2, otherwise),
    "bit": (2, 2, bit),
}
