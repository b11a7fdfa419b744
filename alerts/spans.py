"""Lengths of time and times of day as people write them in rules: ``90s``, ``15m``, ``3x``, ``18:30``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from devices.kinds import Kind
from devices.yamlfile import Node

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LENGTH = re.compile(r"^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$")
_TIMES = re.compile(r"^(\d+(?:\.\d+)?)\s*x$")
_CLOCK = re.compile(r"^([01]?\d|2[0-3]):([0-5]\d)$")
_LONGEST_MS = 366 * 86_400_000
LENGTH_FORM = "expected a length of time such as 90s, 15m, 2h or 3d"
SPAN_FORM = "expected a length of time such as 90s, 15m or 2h, or a number of report intervals such as 3x"


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time, or so many of a device's usual report intervals.

    Attributes:
        ms: milliseconds; 0 when counted in intervals.
        intervals: report intervals; 0 when given in milliseconds.
    """

    ms: int = 0
    intervals: float = 0.0

    def of(self, report_s: float) -> int:
        """Return milliseconds for a device that reports every ``report_s`` seconds."""
        return self.ms or round(self.intervals * report_s * 1000)


def duration_ms(node: Node) -> int:
    """Return a length of time in milliseconds. Raises ConfigError unless it has a unit and is at most 366 days."""
    found = _LENGTH.fullmatch(node.value.strip()) if isinstance(node.value, str) else None
    if found is None:
        if node.value == 0 and not isinstance(node.value, bool):
            return 0
        shown = "a number without a unit" if isinstance(node.value, int | float) else f"'{node.plain()}'"
        raise node.error(f"{LENGTH_FORM}; found {shown}")
    length = round(float(found[1]) * _UNITS[found[2]])
    if length > _LONGEST_MS:
        raise node.error(f"{node.value} is longer than 366 days")
    return length


def span(node: Node) -> Span:
    """Return a length of time that may be counted in report intervals. Raises ConfigError for any other form."""
    found = _TIMES.fullmatch(node.value.strip()) if isinstance(node.value, str) else None
    if found is not None:
        if not 1.0 <= float(found[1]) <= 1000.0:
            raise node.error(f"expected 1x to 1000x report intervals, found '{node.value}'")
        return Span(intervals=float(found[1]))
    if not isinstance(node.value, str) or not _LENGTH.fullmatch(node.value.strip()):
        raise node.error(f"{SPAN_FORM}; found '{node.plain()}'")
    length = duration_ms(node)
    if length == 0:
        raise node.error(f"{SPAN_FORM}, above zero; found '{node.value}'")
    return Span(ms=length)


def minute_of_day(node: Node) -> int:
    """Return a time of day as minutes after midnight. Raises ConfigError unless it reads HH:MM.

    YAML reads an unquoted 18:30 as a number to base sixty, 1110, which happens to be the minute meant.
    """
    value = node.value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1440:
        return value
    found = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise node.error(f"expected a time of day such as \"18:30\"; found '{node.plain()}'")
    return int(found[1]) * 60 + int(found[2])


def report_s(kind: Kind, role: str) -> float:
    """Return the usual seconds between reports of a role."""
    return kind.report_s[kind.roles.index(role)]
