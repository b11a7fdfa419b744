"""What compiled expressions are made of: terms over columns, each worked out once a batch and only where it can matter.

A truth has two sides, surely true and surely false, and each side is a term of its own that says where it holds. What
is unknown is in neither. A term that holds nowhere is None, so that whatever hangs on it need not be looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

count_nonzero = np.count_nonzero  # the cheapest way to ask whether anything is true
_UNSEEN: Any = object()
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
        found = sheet.made.get(self, _UNSEEN)
        if found is _UNSEEN:
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


class Truth:
    """One side of a truth: where something surely holds.

    Attributes:
        needs: names without which it holds nowhere.
    """

    __slots__ = ("__weakref__", "needs")
    needs: frozenset[str]

    def of(self, sheet: Sheet) -> Mask | None:
        """Return where it holds; None where it holds nowhere; of no length where it holds everywhere."""
        found = sheet.made.get(self, _UNSEEN)
        if found is _UNSEEN:
            found = sheet.made[self] = self._make(sheet)
        return found  # type: ignore[no-any-return]

    def _make(self, sheet: Sheet) -> Mask | None:
        raise NotImplementedError

    def contrary(self) -> Truth:
        """Return the other side: where it surely does not hold."""
        raise NotImplementedError


class Compared(Truth):
    """One comparison of two numbers; with an unknown one it holds on neither side."""

    __slots__ = ("_compare", "left", "op", "right")

    def __init__(self, op: type[ast.cmpop], left: Number, right: Number) -> None:
        self.op, self.left, self.right = op, left, right
        self._compare: Callable[..., Mask] = _COMPARE[op][0]
        self.needs = left.needs | right.needs

    def _make(self, sheet: Sheet) -> Mask | None:
        left = self.left.of(sheet)
        if left is None:
            return None
        right = self.right.of(sheet)
        if right is None:
            return None
        mask = self._compare(left, right)
        return mask if count_nonzero(mask) else None

    def contrary(self) -> Truth:
        """Return the comparison that holds where this one surely does not."""
        return compared(_COMPARE[self.op][1], self.left, self.right)


class All(Truth):
    """Several truths at once. The one that settled it last is asked first: mostly it settles it again."""

    __slots__ = ("_first", "parts")

    def __init__(self, parts: tuple[Truth, ...]) -> None:
        self.parts, self._first = parts, 0
        self.needs = frozenset().union(*(part.needs for part in parts))

    def _make(self, sheet: Sheet) -> Mask | None:
        first = self._first
        mask = self.parts[first].of(sheet)
        if mask is None:
            return None
        for number, part in enumerate(self.parts):
            if number == first:
                continue
            other = part.of(sheet)
            if other is None:
                self._first = number
                return None
            mask = mask & other
        return mask if count_nonzero(mask) else None

    def contrary(self) -> Truth:
        """Return where at least one of them surely does not hold."""
        return joined([part.contrary() for part in self.parts], all_of=False)


class Some(Truth):
    """At least one of several truths."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Truth, ...]) -> None:
        self.parts = parts
        self.needs = frozenset.intersection(*(part.needs for part in parts))

    def _make(self, sheet: Sheet) -> Mask | None:
        mask: Mask | None = None
        for part in self.parts:
            other = part.of(sheet)
            if other is not None:
                mask = other if mask is None else mask | other
        return mask

    def contrary(self) -> Truth:
        """Return where surely none of them holds."""
        return joined([part.contrary() for part in self.parts], all_of=True)


def _same(make: Callable[..., Any], *parts: object) -> Any:  # noqa: ANN401 - whatever ``make`` makes
    """Return the one term of that make and those parts, so that rules which share it share the work."""
    key = (make, *parts)
    found = _KNOWN.get(key)
    if found is None:
        found = _KNOWN[key] = make(*parts)
    return found


def named(name: str) -> Number:
    """Return the column of a name as a term."""
    found: Number = _same(Name, name)
    return found


def fixed(value: float) -> Number:
    """Return a number as a term."""
    found: Number = _same(Fixed, value)
    return found


def applied(function: Callable[..., Floats], parts: list[Number]) -> Number:
    """Return a function of numbers as a term."""
    found: Number = _same(Default if function is otherwise else Applied, function, tuple(parts))
    return found


def compared(op: type[ast.cmpop], left: Number, right: Number) -> Truth:
    """Return a comparison as a term."""
    found: Truth = _same(Compared, op, left, right)
    return found


def joined(parts: list[Truth], *, all_of: bool) -> Truth:
    """Return several truths as one: all of them, or at least one."""
    found: Truth = _same(All if all_of else Some, tuple(parts))
    return found


def otherwise(value: Floats, other: Floats) -> Floats:
    """Return the value, or the other one where it is absent or suspect."""
    answer: Floats = np.where(np.isnan(value), other, value)
    return answer


def _divide(left: Floats, right: Floats) -> Floats:
    """Division whose result is unknown where the divisor is nothing."""
    answer: Floats = np.where(right == 0, np.nan, left / right)
    return answer


def _differ(left: Floats, right: Floats) -> Mask:
    """Return where two known numbers differ: NaN differs from everything and is left out."""
    answer: Mask = np.less(left, right) | np.greater(left, right)
    return answer


_COMPARE: dict[type[ast.cmpop], tuple[Callable[..., Mask], type[ast.cmpop]]] = {  # with the contrary
    ast.Lt: (np.less, ast.GtE),
    ast.LtE: (np.less_equal, ast.Gt),
    ast.Gt: (np.greater, ast.LtE),
    ast.GtE: (np.greater_equal, ast.Lt),
    ast.Eq: (np.equal, ast.NotEq),
    ast.NotEq: (_differ, ast.Eq),
}
COMPARISONS = frozenset(_COMPARE)
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
    "default": (2, 2, otherwise),
}
