"""The short notation of rule tests: rows of values, one a step, lengths of time, and names in braces."""

from __future__ import annotations

import math
import re

from devices.kinds import Field
from devices.yamlfile import ConfigError, Node

VALUES_MAX = 200_000  # of one series: half a year of minutes
NAMES_MAX = 1000  # of one pair of braces
FORM = (
    "a series is values with spaces between: 118 once, 118x30 thirty times, 10+2x3 for 10 12 14 16, 10-2x3 downwards, "
    "_ for no value, (118x3 0x4)x10 for ten times the same"
)
_NUMBER = r"-?\d+(?:\.\d+)?"
_WORD = re.compile(rf"^(?:(_)|({_NUMBER})(?:([+-])({_NUMBER}))?)(?:x(\d+))?$")
_LABEL = re.compile(r"^(.+?)(?:x(\d+))?$")
_PIECE = re.compile(r"\(|\)(?:x\d+)?|[^\s()]+")
_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


def series(node: Node, field: Field) -> list[float]:
    """Return the values that a series of ``field`` stands for, one a step, NaN where there is none.

    Raises:
        ConfigError: naming file, line, key and the word that is no part of a series.
    """
    if isinstance(node.value, int | float) and not isinstance(node.value, bool):
        if isinstance(node.value, int):
            raise node.error("put a series in quotes: YAML takes 0x20 for a number to base sixteen")
        return [float(node.value)]
    stack: list[list[float]] = [[]]
    for piece in _PIECE.findall(node.text()):
        if piece == "(":
            stack.append([])
        elif piece.startswith(")"):
            if len(stack) == 1:
                raise node.error(f"a bracket closes that was not opened; {FORM}")
            part, times = stack.pop(), int(piece[2:] or 1)
            _room(node, len(stack[-1]) + len(part) * times)
            stack[-1] += part * times
        else:
            stack[-1] += _values(node, piece, field)
            _room(node, len(stack[-1]))
    if len(stack) > 1:
        raise node.error(f"a bracket is not closed; {FORM}")
    return stack[0]


def _values(node: Node, word: str, field: Field) -> list[float]:
    found = _WORD.match(word)
    if found is None:
        label = _LABEL.match(word)
        codes = {text: float(code) for code, text in field.codes.items()}
        if label is None or label[1] not in codes:
            known = f"; {field.name} also takes {', '.join(codes)}" if codes else ""
            raise node.error(f"'{word}' is no part of a series; {FORM}{known}")
        _room(node, int(label[2] or 1))
        return [codes[label[1]]] * int(label[2] or 1)
    gap, first, sign, change, times = found.groups()
    count = int(times or 1)
    _room(node, count)
    if gap:
        return [math.nan] * count
    if not sign:
        return [float(first)] * count
    step = float(change) if sign == "+" else -float(change)
    return [round(float(first) + step * number, 9) for number in range((count if times else 0) + 1)]


def _room(node: Node, count: int) -> None:
    if count > VALUES_MAX:
        raise node.error(f"a series has at most {VALUES_MAX} values")


def time_ms(text: str) -> int | None:
    """Return a length of time such as ``90s``, ``1h30m`` or ``2d5h`` in milliseconds, None where it is none."""
    text = text.strip()
    if text == "0":
        return 0
    pieces = list(_TIME.finditer(text))
    if not pieces or "".join(piece[0] for piece in pieces) != text:
        return None
    return round(sum(float(piece[1]) * _UNITS[piece[2]] for piece in pieces))


def length(node: Node) -> int:
    """Return the length of time of a node in milliseconds. Raises ConfigError for any other form."""
    found = time_ms(str(node.value)) if isinstance(node.value, str | int) else None
    if found is None:
        raise node.error(f"expected a length of time such as 90s, 15m, 1h30m or 2d; found '{node.plain()}'")
    return found


def shown(span_ms: int) -> str:
    """Return a length of time as tests write it: ``1h30m``."""
    if span_ms == 0:
        return "0s"
    left, words = abs(span_ms), "-" if span_ms < 0 else ""
    for unit, size in _UNITS.items():
        if left >= size:
            words += f"{left // size}{unit}"
            left %= size
    return words


def names(node: Node, text: str) -> list[str]:
    """Return the names that one with braces stands for: ``lamp-{1..3}`` is lamp-1, lamp-2, lamp-3."""
    found = _BRACES.search(text)
    if found is None:
        return [text]
    first, last = int(found[1]), int(found[2])
    if not 0 <= last - first < NAMES_MAX:
        raise ConfigError([node.problem(f"'{found[0]}': expected a lower and a higher number, {NAMES_MAX} at most")])
    return [
        name
        for number in range(first, last + 1)
        for name in names(node, f"{text[: found.start()]}{number}{text[found.end() :]}")
    ]
