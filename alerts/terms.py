"""Truths in compiled expressions: where something surely holds, worked out once a batch and only where it can matter.

A truth has two sides, surely true and surely false, and each side is a term of its own. What is unknown is in neither.
A side that holds nowhere is None, so that whatever hangs on it need not be looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from alerts.quantities import UNSEEN, Floats, Number, Sheet, same

Mask = npt.NDArray[np.bool_]

count_nonzero = np.count_nonzero  # the cheapest way to ask whether anything is true


class Truth:
    """One side of a truth: where something surely holds.

    Attributes:
        needs: names without which it holds nowhere.
    """

    __slots__ = ("__weakref__", "needs")
    needs: frozenset[str]

    def of(self, sheet: Sheet) -> Mask | None:
        """Return where it holds; None where it holds nowhere; of no length where it holds everywhere."""
        found = sheet.made.get(self, UNSEEN)
        if found is UNSEEN:
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


def compared(op: type[ast.cmpop], left: Number, right: Number) -> Truth:
    """Return a comparison as a term."""
    found: Truth = same(Compared, op, left, right)
    return found


def joined(parts: list[Truth], *, all_of: bool) -> Truth:
    """Return several truths as one: all of them, or at least one."""
    found: Truth = same(All if all_of else Some, tuple(parts))
    return found


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
