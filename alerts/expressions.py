"""Expressions over a kind's names, such as ``expected_on and power_w < 0.3 * rated_power_w``, compiled to columns.

The grammar is a small part of Python's: and, or, not; < <= > >= == !=, chained too; + - * /; abs, min, max; numbers,
names, quoted labels of coded fields; and default(a, b), which is b where a is unknown. It is read through ``ast`` from
a list of accepted forms; nothing is run.

Truth has three values (Kleene's): what needs a number that is absent or suspect is unknown, and unknown is neither
true nor false. A truth is therefore a pair of terms: surely true, surely false (alerts/terms.py).
"""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alerts.columns import DERIVED, YES_OR_NO, Looked, known_names
from alerts.quantities import ARITHMETIC, FUNCTIONS, Floats, Number, applied, fixed, named
from alerts.terms import COMPARISONS, Mask, Truth, compared, joined
from devices.kinds import Field, Kind
from devices.yamlfile import ConfigError, Node

_NOWHERE: Mask = np.zeros((), dtype=bool)
_UNKNOWN: Floats = np.array(np.nan)
LENGTH_MAX = 1000
_SMALL, _FACTORS = 1e30, 8  # nine such numbers stay below 1e308, as readings and facts do by far
DEPTH_MAX = 40
NODES_MAX = 400
FORM = (
    "expected an expression of names, numbers, + - * /, < <= > >= == !=, and, or, not, abs, min, max, default, "
    "such as 'power_w > 0.3 * rated_power_w and not expected_on'"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of a reported value with a threshold, kept to tell people which passed which."""

    value: Number
    threshold: Number
    truth: Truth


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled yes-or-no expression.

    Attributes:
        text: as written.
        names: names that it uses, in order of appearance.
        yes, no: where it is surely true, where it is surely false.
        comparisons: those that a reported field stands in, in order of appearance.
        closed: it is known wherever all its names are: it does not divide, and its numbers cannot overflow.
    """

    text: str
    names: tuple[str, ...]
    yes: Truth
    no: Truth
    comparisons: tuple[Comparison, ...]
    closed: bool

    def __call__(self, columns: Callable[[str], Floats]) -> tuple[Mask, Mask]:
        """Return (surely true, surely false) over the columns' rows."""
        sheet, shape = Looked(columns), np.shape(columns(self.names[0])) if self.names else ()
        with np.errstate(all="ignore"):
            yes, no = self.yes.of(sheet), self.no.of(sheet)
        return np.broadcast_to(_NOWHERE if yes is None else yes, shape), np.broadcast_to(
            _NOWHERE if no is None else no, shape
        )


@dataclass(frozen=True, slots=True)
class Quantity:
    """A compiled number."""

    text: str
    names: tuple[str, ...]
    number: Number

    def __call__(self, columns: Callable[[str], Floats]) -> Floats:
        """Return the number over the columns' rows, NaN where unknown; of no length where it is the same for all."""
        with np.errstate(all="ignore"):
            found = self.number.of(Looked(columns))
        return _UNKNOWN if found is None else found


def condition(node: Node, kind: Kind, role: str | None) -> Condition:
    """Compile a yes-or-no expression. Raises ConfigError naming file, line, key and the known names."""
    compiler, tree, text = _read(node, kind, role)
    yes = compiler.truth(tree)
    names = tuple(dict.fromkeys(compiler.used))
    return Condition(text, names, yes, yes.contrary(), tuple(compiler.comparisons), _closed(tree))


def quantity(node: Node, kind: Kind, role: str | None) -> Quantity:
    """Compile an expression that gives a number. Raises ConfigError naming file, line, key and the known names."""
    compiler, tree, text = _read(node, kind, role)
    number = compiler.number(tree)
    return Quantity(text, tuple(dict.fromkeys(compiler.used)), number)


def _closed(tree: ast.expr) -> bool:
    """Whether known numbers always make a known number: no division, and too few and too small factors to overflow."""
    parts = list(ast.walk(tree))
    factors = sum(isinstance(part, ast.Mult) for part in parts)
    numbers = [part.value for part in parts if isinstance(part, ast.Constant)]
    small = all(abs(number) < _SMALL for number in numbers if isinstance(number, int | float))
    return small and factors <= _FACTORS and not any(isinstance(part, ast.Div) for part in parts)


def _read(node: Node, kind: Kind, role: str | None) -> tuple[_Compiler, ast.expr, str]:
    if not isinstance(node.value, str):
        raise node.error(f"{FORM}; found {type(node.plain()).__name__} {node.plain()!r}")
    if len(node.value) > LENGTH_MAX:
        raise node.error(f"{len(node.value)} characters; an expression has at most {LENGTH_MAX}")
    text = " ".join(node.text().split())
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as trouble:
        where = f" at character {trouble.offset}" if isinstance(trouble, SyntaxError) and trouble.offset else ""
        raise node.error(f"'{text}' cannot be read{where}; {FORM}") from trouble
    if sum(1 for _ in ast.walk(tree)) > NODES_MAX or _depth(tree) > DEPTH_MAX:
        raise node.error(f"too long or too deeply nested; at most {DEPTH_MAX} levels and {NODES_MAX} parts are read")
    return _Compiler(node, kind, role), tree, text


def _depth(tree: ast.AST) -> int:
    deepest, level = 0, [tree]
    while level:
        deepest += 1
        level = [child for parent in level for child in ast.iter_child_nodes(parent)]
        if deepest > DEPTH_MAX:
            break
    return deepest


class _Compiler:
    """Turns one parsed expression into terms over columns, refusing whatever is not on its list."""

    def __init__(self, node: Node, kind: Kind, role: str | None) -> None:
        self.node, self.kind, self.role = node, kind, role
        self.known = known_names(kind, role)
        self.used: list[str] = []
        self.comparisons: list[Comparison] = []
        self.fields = frozenset(kind.field_names())

    def refuse(self, tree: ast.AST, text: str) -> ConfigError:
        shown = ast.unparse(tree)
        return self.node.error(f"{shown}: {text}" if shown.startswith("'") else f"'{shown}': {text}")

    def truth(self, tree: ast.expr) -> Truth:
        if isinstance(tree, ast.BoolOp):
            return joined([self.truth(part) for part in tree.values], all_of=isinstance(tree.op, ast.And))
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not):
            return self.truth(tree.operand).contrary()
        if isinstance(tree, ast.Compare):
            return self.compared(tree)
        if isinstance(tree, ast.Name):
            field = self.look_up(tree)
            if tree.id in YES_OR_NO or (field is not None and field.type == "bool"):
                return compared(ast.NotEq, named(tree.id), fixed(0.0))
            raise self.refuse(tree, f"is a number, not a yes or no; compare it, such as '{tree.id} > 0'")
        if isinstance(tree, ast.Constant):
            raise self.refuse(tree, "is the same for every reading; a yes or no must follow from names")
        if isinstance(tree, ast.BinOp | ast.Call | ast.UnaryOp):
            self.number(tree)  # its own mistakes first
            raise self.refuse(tree, "is a number, not a yes or no; compare it, such as '… > 0'")
        raise self.refuse(tree, FORM)

    def compared(self, tree: ast.Compare) -> Truth:
        sides = [tree.left, *tree.comparators]
        links = []
        for left, op, right in zip(sides, tree.ops, sides[1:], strict=False):
            if type(op) not in COMPARISONS:
                raise self.refuse(tree, FORM)
            a, b = self.side(left, right), self.side(right, left)
            holds = compared(type(op), a, b)
            if self.measures(left):
                self.comparisons.append(Comparison(a, b, holds))
            elif self.measures(right):
                self.comparisons.append(Comparison(b, a, holds))
            links.append(holds)
        return links[0] if len(links) == 1 else joined(links, all_of=True)

    def measures(self, tree: ast.expr) -> bool:
        """Whether a reported field stands in it."""
        return any(isinstance(part, ast.Name) and part.id in self.fields for part in ast.walk(tree))

    def side(self, tree: ast.expr, other: ast.expr) -> Number:
        """One side of a comparison: a number, or a quoted label of the coded field on the other side."""
        if not (isinstance(tree, ast.Constant) and isinstance(tree.value, str)):
            return self.number(tree)
        field = self.look_up(other) if isinstance(other, ast.Name) else None
        if field is None or not field.codes:
            raise self.refuse(tree, "a quoted word can only be compared with a field that has named codes")
        for code, label in field.codes.items():
            if label == tree.value:
                return fixed(float(code))
        raise self.refuse(tree, f"{field.name} has no such code; it has {', '.join(map(repr, field.codes.values()))}")

    def number(self, tree: ast.expr) -> Number:
        if isinstance(tree, ast.Constant):
            if isinstance(tree.value, bool) or not isinstance(tree.value, int | float):
                raise self.refuse(tree, "expected a number; a yes or no is written as 'door_open' or 'not door_open'")
            try:
                number = float(tree.value)
            except OverflowError:  # a whole number of more than 308 digits
                number = math.inf
            if not math.isfinite(number):
                raise self.refuse(tree, "is too large for a number")
            return fixed(number)
        if isinstance(tree, ast.Name):
            self.look_up(tree)
            return named(tree.id)
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub | ast.UAdd):
            inner = self.number(tree.operand)
            return inner if isinstance(tree.op, ast.UAdd) else applied(np.negative, [inner])
        if isinstance(tree, ast.BinOp) and type(tree.op) in ARITHMETIC:
            return applied(ARITHMETIC[type(tree.op)], [self.number(tree.left), self.number(tree.right)])
        if isinstance(tree, ast.Call):
            return self.call(tree)
        if isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
            raise self.refuse(tree, "is a yes or no where a number is expected")
        raise self.refuse(tree, FORM)

    def call(self, tree: ast.Call) -> Number:
        name = tree.func.id if isinstance(tree.func, ast.Name) else ""
        if name not in FUNCTIONS or tree.keywords:
            known = "abs(a), min(a, b, …), max(a, b, …), default(a, b) and bit(word, number)"
            raise self.refuse(tree, f"the functions are {known}")
        fewest, most, function = FUNCTIONS[name]
        if not fewest <= len(tree.args) <= most:
            takes = "one number" if most == 1 else "two numbers" if most == 2 else "two numbers or more"
            raise self.refuse(tree, f"{name}() takes {takes}")
        return applied(function, [self.number(part) for part in tree.args])

    def look_up(self, tree: ast.Name) -> Field | None:
        name = tree.id
        if name not in self.known:
            raise self.node.error(self._stranger(name))
        self.used.append(name)
        return self.known[name]

    def _stranger(self, name: str) -> str:
        elsewhere = known_names(self.kind, None).get(name)
        if elsewhere is not None:
            return f"'{name}' is reported by {', '.join(elsewhere.roles)}, not by {self.role}"
        near = difflib.get_close_matches(name, self.known, n=1)
        meant = f"; did you mean '{near[0]}'?" if near else ""
        facts = [f.name for f in self.kind.facts if f.name in self.known]
        fields = [f for f in self.kind.field_names() if f in self.known]
        return (
            f"no name '{name}'{meant} Known for {self.role or self.kind.name}: fields {', '.join(fields)}; "
            f"facts {', '.join(facts) or 'none'}; derived {', '.join(DERIVED)}"
        )
