"""Message templates: text with {names} in braces, checked when loaded and filled in when an alert is told."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping
from functools import lru_cache

from devices.yamlfile import ConfigError, Node

COMMON = ("name", "id", "place", "road", "street", "district", "cabinet", "since", "rule", "value", "threshold")
UNKNOWN = "–"


def placeholders(text: str, node: Node) -> list[str]:
    """Return the names that a template uses, in order. Raises ConfigError for a template that cannot be filled."""
    try:
        parts = _parts(text)
    except ValueError as trouble:
        raise node.error(f"not a template: {trouble}; a brace itself is written {{{{ or }}}}") from trouble
    names = []
    for _, name, spec in parts:
        if name is None:
            continue
        if not name.isidentifier():
            raise node.error(f"expected a plain name in braces, such as {{value}}; found '{{{name}}}'")
        try:
            format(1.0, spec)
        except ValueError as trouble:
            raise ConfigError([node.problem(f"'{{{name}:{spec}}}' cannot be filled: {trouble}")]) from trouble
        names.append(name)
    return names


def render(text: str, words: Mapping[str, str], values: Mapping[str, float]) -> str:
    """Fill in a template from ``words`` first and then ``values``; what is unknown becomes a dash."""
    out = []
    for literal, name, spec in _parts(text):
        out.append(literal)
        if name is None:
            continue
        if name in words:
            out.append(words[name])
        else:
            out.append(number(values.get(name, math.nan), spec))
    return "".join(out)


def number(value: float, spec: str = "") -> str:
    """Return a number as people read it: three figures or so, no trailing zeros; a dash when it is unknown."""
    if not math.isfinite(value):
        return UNKNOWN
    if spec:
        return format(value, spec)
    size = abs(value)
    places = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 3
    text = f"{value:.{places}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


@lru_cache(maxsize=4096)
def _parts(text: str) -> tuple[tuple[str, str | None, str], ...]:
    found = []
    for literal, name, spec, conversion in string.Formatter().parse(text):
        if conversion is not None:
            raise ValueError(f"'!{conversion}' has no meaning here")
        if name == "":
            raise ValueError("empty braces")
        found.append((literal, name, spec or ""))
    return tuple(found)
