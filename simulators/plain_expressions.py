"""Rule expressions read one number at a time, for the engine's slow twin; what is absent is None, its truth too."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import cache

from devices.kinds import Field, Kind

Value = float | None
Answer = bool | None


def truth_of(text: str, look: Callable[[str], Value], kind: Kind) -> Answer:
    """Return what an expression says: True, False, or None where it cannot be known."""
    return _truth(_tree(text), look, {one.name: one for one in kind.fields})


@cache
def _tree(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _truth(tree: ast.expr, look: Callable[[str], Value], fields: Mapping[str, Field]) -> Answer:
    if isinstance(tree, ast.BoolOp):
        answers = [_truth(part, look, fields) for part in tree.values]
        deciding = isinstance(tree.op, ast.Or)  # one True settles an or, one False an and
        if deciding in answers:
            return deciding
        return None if None in answers else not deciding
    if isinstance(tree, ast.UnaryOp):
        inner = _truth(tree.operand, look, fields)
        return None if inner is None else not inner
    if isinstance(tree, ast.Compare):
        sides = [tree.left, *tree.comparators]
        answers = []
        for left, op, right in zip(sides, tree.ops, sides[1:], strict=False):
            a, b = _side(left, right, look, fields), _side(right, left, look, fields)
            answers.append(None if a is None or b is None else _compare(op, a, b))
        if False in answers:
            return False
        return None if None in answers else True
    value = _number(tree, look)
    return None if value is None else value != 0


def _side(tree: ast.expr, other: ast.expr, look: Callable[[str], Value], fields: Mapping[str, Field]) -> Value:
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str) and isinstance(other, ast.Name):
        codes = {label: code for code, label in fields[other.id].codes.items()}
        return float(codes[tree.value])
    return _number(tree, look)


def _compare(op: ast.cmpop, a: float, b: float) -> bool:
    if isinstance(op, ast.Lt):
        return a < b
    if isinstance(op, ast.LtE):
        return a <= b
    if isinstance(op, ast.Gt):
        return a > b
    if isinstance(op, ast.GtE):
        return a >= b
    return a == b if isinstance(op, ast.Eq) else a != b


def _number(tree: ast.expr, look: Callable[[str], Value]) -> Value:  # noqa: PLR0911 - plain ifs are the point
    if isinstance(tree, ast.Constant):
        return float(tree.value)  # type: ignore[arg-type]
    if isinstance(tree, ast.Name):
        return look(tree.id)
    if isinstance(tree, ast.UnaryOp):
        inner = _number(tree.operand, look)
        if inner is None or isinstance(tree.op, ast.UAdd):
            return inner
        return -inner
    if isinstance(tree, ast.Call):
        return _call(tree, look)
    if not isinstance(tree, ast.BinOp):
        raise TypeError(ast.dump(tree))
    a, b = _number(tree.left, look), _number(tree.right, look)
    if a is None or b is None:
        return None
    if isinstance(tree.op, ast.Add):
        return a + b
    if isinstance(tree.op, ast.Sub):
        return a - b
    if isinstance(tree.op, ast.Mult):
        return a * b
    return None if b == 0 else a / b


def _call(tree: ast.Call, look: Callable[[str], Value]) -> Value:
    name = tree.func.id if isinstance(tree.func, ast.Name) else ""
    values = [_number(part, look) for part in tree.args]
    if name == "default":
        return values[1] if values[0] is None else values[0]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    if name == "abs":
        return abs(known[0])
    if name == "bit":
        return float(int(known[0] // 2 ** known[1]) % 2)
    return min(known) if name == "min" else max(known)
