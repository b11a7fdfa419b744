"""Whether a condition can hold at all: each way for it to hold is a set of bounds, held against what can be measured.

A condition is turned into alternatives, each a list of comparisons that must all hold. A comparison is a bound on a sum
of names; bounds on the same sum are put together, beginning with the physical ranges of the catalog. Where nothing is
left the alternative cannot hold. What is not seen this way (two different sums that exclude each other) passes.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from devices.kinds import Field, Kind

ALTERNATIVES_MOST = 256  # more are not looked at: the condition passes
_LONG_MIN = 400 * 1440.0  # minutes of a polar day, and more
DERIVED_RANGES = {
    "expected_on": (0.0, 1.0, True),
    "on_for_min": (-1.0, _LONG_MIN, False),
    "off_for_min": (-1.0, _LONG_MIN, False),
    "sun_altitude_deg": (-90.0, 90.0, False),
    "local_hour": (0.0, 24.0, False),
}
_CONTRARY: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip
_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE}
_SIGNS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from ``low`` to ``high``; whole ones only, and without the ends, where it says so."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False  # low itself is left out
    below: bool = False  # high itself is left out
    whole: bool = False

    @property
    def empty(self) -> bool:
        """Whether no number is left."""
        low, high = self.low, self.high
        if self.whole and math.isfinite(low) and math.isfinite(high):
            low = math.floor(low) + 1 if self.above else math.ceil(low)
            high = math.ceil(high) - 1 if self.below else math.floor(high)
            return low > high
        return low > high or (low == high and (self.above or self.below))

    def bound(self, op: type[ast.cmpop], value: float) -> Range:
        """Return what is left of it under one more bound."""
        low, high, above, below = self.low, self.high, self.above, self.below
        if op in (ast.Gt, ast.GtE, ast.Eq) and (value > low or (value == low and op is ast.Gt)):
            low, above = value, op is ast.Gt
        if op in (ast.Lt, ast.LtE, ast.Eq) and (value < high or (value == high and op is ast.Lt)):
            high, below = value, op is ast.Lt
        if op is ast.NotEq:
            above, below = above or value == low, below or value == high
        return Range(low, high, above, below, self.whole)


@dataclass(frozen=True, slots=True)
class Part:
    """One comparison: a bound on a sum of names; ``text`` is as people wrote it."""

    text: str
    terms: tuple[tuple[str, float], ...]
    op: type[ast.cmpop]
    value: float


@dataclass(frozen=True, slots=True)
class Never:
    """Why an alternative cannot hold: the comparisons that exclude each other, and the range that leaves no room."""

    parts: tuple[str, ...]
    name: str = ""
    low: float = math.nan
    high: float = math.nan

    def words(self, kind: Kind) -> str:
        """Return the reason as a sentence."""
        if len(self.parts) == 1 and self.name:
            unit = next((f" {f.unit}" for f in (*kind.fields, *kind.facts) if f.name == self.name and f.unit), "")
            return f"'{self.parts[0]}' can never hold: {self.name} lies between {self.low:g} and {self.high:g}{unit}"
        if len(self.parts) == 1:
            return f"'{self.parts[0]}' can never hold"
        return f"{' and '.join(repr(part) for part in self.parts)} exclude each other"


class Logic:
    """The conditions of rules on one kind and role.

    Args:
        kind: whose fields and facts the names are.
    """

    def __init__(self, kind: Kind) -> None:
        self._fields: dict[str, Field] = {one.name: one for one in (*kind.fields, *kind.facts)}

    def alternatives(self, text: str, *, contrary: bool = False) -> list[list[Part]] | None:
        """Return the ways in which a condition, or its contrary, can hold; None where there are too many to look at."""
        return self._ways(ast.parse(text, mode="eval").body, contrary)

    def never(self, parts: Sequence[Part]) -> Never | None:
        """Return why these comparisons cannot all hold, None where they may."""
        ranges = {name: self._range(name) for part in parts for name, _ in part.terms}
        single = [part for part in parts if len(part.terms) == 1]
        for number, part in enumerate(single):
            name = part.terms[0][0]
            whole = self._range(name)
            if whole.bound(part.op, part.value).empty:
                return Never((part.text,), name, whole.low, whole.high)
            ranges[name] = ranges[name].bound(part.op, part.value)
            if ranges[name].empty:
                return Never(tuple(dict.fromkeys(p.text for p in single[: number + 1] if p.terms[0][0] == name)))
        found = self._of_the_night(ranges, single)
        return found or self._sums(parts, ranges) or self._shares(parts)

    def _of_the_night(self, ranges: dict[str, Range], single: Sequence[Part]) -> Never | None:
        """A lamp that is meant to burn has been switched off for -1 minutes, and the other way round."""
        lit = ranges.get("expected_on")
        if lit is None:
            return None
        for name, when in (("off_for_min", 1.0), ("on_for_min", 0.0)):
            sure = not lit.bound(ast.Eq, when).empty and lit.bound(ast.NotEq, when).empty
            if sure and name in ranges and ranges[name].bound(ast.Eq, -1.0).empty:
                return Never(tuple(p.text for p in single if p.terms[0][0] in (name, "expected_on")))
        return None

    def _sums(self, parts: Sequence[Part], ranges: Mapping[str, Range]) -> Never | None:
        sums: dict[tuple[tuple[str, float], ...], tuple[Range, list[str]]] = {}
        for part in parts:
            if len(part.terms) < 2:
                continue
            own, texts = sums.get(part.terms, (_sum(part.terms, ranges), []))
            left = own.bound(part.op, part.value)
            texts = [*texts, part.text]
            if left.empty:
                return Never(tuple(dict.fromkeys(texts)))
            sums[part.terms] = (left, texts)
        return None

    def _shares(self, parts: Sequence[Part]) -> Never | None:
        """Hold bounds on shares of a number that is never negative together: 1.2 and 1.1 times rated power."""
        shares: dict[tuple[str, str], tuple[Range, list[Part]]] = {}
        for part in parts:
            if len(part.terms) != 2 or part.value or self._range(part.terms[1][0]).low < 0:
                continue
            (one, _), (other, factor) = part.terms
            own, before = shares.get((one, other), (Range(), []))
            left, told = own.bound(part.op, -factor), [*before, part]
            if left.empty and any(each.op in (ast.Lt, ast.Gt, ast.NotEq) for each in told):  # else both may be nothing
                return Never(tuple(dict.fromkeys(each.text for each in told)))
            shares[one, other] = left, told
        return None

    def _ways(self, tree: ast.expr, contrary: bool) -> list[list[Part]] | None:  # noqa: FBT001 - one call each way
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not):
            return self._ways(tree.operand, not contrary)
        if isinstance(tree, ast.BoolOp):
            found = [self._ways(part, contrary) for part in tree.values]
            return _joined(found, all_of=isinstance(tree.op, ast.And) is not contrary)
        if isinstance(tree, ast.Compare):
            sides = [tree.left, *tree.comparators]
            links: list[list[list[Part]] | None] = [
                [[part]] if (part := self._part(left, op, right, contrary)) else [[]]
                for left, op, right in zip(sides, tree.ops, sides[1:], strict=False)
            ]
            return _joined(links, all_of=not contrary)
        name = ast.unparse(tree)
        return [[Part(f"not {name}" if contrary else name, ((name, 1.0),), ast.Eq, 0.0 if contrary else 1.0)]]

    def _part(self, left: ast.expr, op: ast.cmpop, right: ast.expr, contrary: bool) -> Part | None:  # noqa: FBT001
        sign = _CONTRARY[type(op)] if contrary else type(op)
        text = f"{ast.unparse(left)} {_SIGNS[sign]} {ast.unparse(right)}"
        a, b = self._linear(left, right), self._linear(right, left)
        terms: dict[str, float] = dict(a)
        for name, factor in b.items():
            terms[name] = terms.get(name, 0.0) - factor
        rest = -terms.pop("", 0.0)
        terms = {name: factor for name, factor in sorted(terms.items()) if factor}
        if not terms or not math.isfinite(rest):
            return None
        lead = next(iter(terms.values()))
        sign = _TURNED.get(sign, sign) if lead < 0 else sign
        return Part(text, tuple((name, round(f / lead, 9)) for name, f in terms.items()), sign, rest / lead)

    def _linear(self, tree: ast.expr, other: ast.expr) -> dict[str, float]:
        """Return factors by name, the number under the empty name; what is no sum of names counts as one name."""
        if isinstance(tree, ast.Constant):
            return {"": self._number(tree, other)}
        if isinstance(tree, ast.UnaryOp):
            inner = self._linear(tree.operand, other)
            return {name: -factor for name, factor in inner.items()} if isinstance(tree.op, ast.USub) else inner
        if isinstance(tree, ast.BinOp):
            left, right = self._linear(tree.left, other), self._linear(tree.right, other)
            if isinstance(tree.op, ast.Add | ast.Sub):
                sign = 1.0 if isinstance(tree.op, ast.Add) else -1.0
                return {name: left.get(name, 0.0) + sign * right.get(name, 0.0) for name in {**left, **right}}
            if isinstance(tree.op, ast.Mult) and {"": 0.0}.keys() in (left.keys(), right.keys()):
                factor, sums = (left[""], right) if left.keys() == {""} else (right[""], left)
                return {name: factor * value for name, value in sums.items()}
            if isinstance(tree.op, ast.Div) and right.keys() == {""} and right[""]:
                return {name: value / right[""] for name, value in left.items()}
        return {ast.unparse(tree): 1.0}

    def _number(self, tree: ast.Constant, other: ast.expr) -> float:
        if isinstance(tree.value, str):
            field = self._fields.get(ast.unparse(other))
            codes = {label: float(code) for code, label in field.codes.items()} if field is not None else {}
            return codes.get(tree.value, math.nan)
        return float(tree.value) if isinstance(tree.value, int | float) else math.nan

    def _range(self, name: str) -> Range:
        if name in DERIVED_RANGES:
            low, high, whole = DERIVED_RANGES[name]
            return Range(low, high, whole=whole)
        field = self._fields.get(name)
        if field is not None:
            return Range(field.low, field.high, whole=field.type != "float")
        return self._reckoned(ast.parse(name, mode="eval").body)

    def _reckoned(self, tree: ast.expr) -> Range:
        """Return the range of a function or a product of names, as far as it is easily told."""
        if isinstance(tree, ast.Name):
            return self._range(tree.id)
        if isinstance(tree, ast.Constant) and isinstance(tree.value, int | float):
            return Range(float(tree.value), float(tree.value))
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
            parts = [self._reckoned(part) for part in tree.args]
            lows, highs = [part.low for part in parts], [part.high for part in parts]
            if tree.func.id in ("min", "max"):
                pick = min if tree.func.id == "min" else max
                return Range(pick(lows), pick(highs))
            if tree.func.id == "default":
                return Range(min(lows), max(highs))
            return Range(0.0 if lows[0] <= 0 <= highs[0] else min(abs(lows[0]), abs(highs[0])), _far(parts[0]))
        return Range()


def _far(one: Range) -> float:
    return max(abs(one.low), abs(one.high))


def _sum(terms: tuple[tuple[str, float], ...], ranges: Mapping[str, Range]) -> Range:
    ends = [sorted((factor * ranges[name].low, factor * ranges[name].high)) for name, factor in terms]
    return Range(sum(low for low, _ in ends), sum(high for _, high in ends))


def _joined(found: Sequence[list[list[Part]] | None], *, all_of: bool) -> list[list[Part]] | None:
    if not all_of:
        if any(one is None for one in found):
            return None
        either = [way for one in found for way in one or ()]
        return either if len(either) <= ALTERNATIVES_MOST else None
    out: list[list[Part]] = [[]]
    for one in found:
        if one is None or len(out) * len(one) > ALTERNATIVES_MOST:
            return None
        out = [[*before, *way] for before in out for way in one]
    return out
