"""Plots of the report card as small SVG files, drawn by hand, readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 860
LEFT, RIGHT, TOP, ROW = 230, 90, 58, 20
_STYLE = """
svg { background: #ffffff; font-family: ui-sans-serif, system-ui, "Noto Sans", "Noto Sans CJK SC", sans-serif; }
text { font-size: 12px; fill: #1f2933; }
.title { font-size: 15px; font-weight: 600; }
.dim { fill: #5b6875; }
.family { font-weight: 600; }
.grid { stroke: #dde3e9; stroke-width: 1; }
.floor { stroke: #c2410c; stroke-width: 1.5; stroke-dasharray: 5 3; }
.bar { stroke-width: 3; stroke-linecap: round; opacity: .55; }
.a { stroke: #1d6fb8; fill: #1d6fb8; } .b { stroke: #a16207; fill: #a16207; } .c { stroke: #6d7680; fill: #6d7680; }
.bad { stroke: #c2410c; fill: #c2410c; }
text.a, text.b, text.c, text.bad { stroke: none; }
@media (prefers-color-scheme: dark) {
  svg { background: #14181d; }
  text { fill: #e6eaee; } .dim { fill: #9aa7b4; } .grid { stroke: #2c343d; }
  .floor { stroke: #fb923c; } .bad { stroke: #fb923c; fill: #fb923c; }
  .a { stroke: #6cb4f0; fill: #6cb4f0; } .b { stroke: #e0b341; fill: #e0b341; } .c { stroke: #99a3ad; fill: #99a3ad; }
}
"""


@dataclass(frozen=True, slots=True)
class Axis:
    """A horizontal axis.

    Attributes:
        low, high: ends.
        marks: where a line and a number stand.
        words: their texts.
        log: logarithmic.
    """

    low: float
    high: float
    marks: tuple[float, ...]
    words: tuple[str, ...]
    log: bool = False

    def x(self, value: float) -> float:
        """Return where a value stands, pixels; what lies beyond an end stands at it."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)


@dataclass(frozen=True, slots=True)
class Dot:
    """One figure: its value, the ends of its interval, and the class that it is drawn in (``a``, ``b``, ``c``)."""

    value: float
    low: float
    high: float
    look: str = "a"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a plot: its name, its figures, and a text at the right; without figures it is a heading."""

    name: str
    dots: tuple[Dot, ...] = ()
    note: str = ""


def plot(title: str, legend: Sequence[tuple[str, str]], lines: Sequence[Line], axis: Axis, floor: float | None) -> str:
    """Return a dot plot with intervals as SVG.

    Args:
        title: above it.
        legend: look and meaning of each sort of dot.
        lines: rows from the top.
        axis: of the values.
        floor: a value marked by a dashed line, or None.
    """
    height = TOP + ROW * len(lines) + 30
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="16" y="24">{escape(title)}</text>',
        *_legend(legend),
        *_grid(axis, height),
    ]
    if floor is not None:
        at = axis.x(floor)
        parts.append(f'<line class="floor" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 6}" y2="{height - 26}"/>')
    for number, line in enumerate(lines):
        parts += _row(line, TOP + ROW * number + 14, axis)
    return "\n".join([*parts, "</svg>", ""])


def _legend(legend: Sequence[tuple[str, str]]) -> Iterator[str]:
    at = 22.0
    for look, words in legend:
        yield f'<circle class="{look}" cx="{at:.0f}" cy="40" r="4"/>'
        yield f'<text class="dim" x="{at + 9:.0f}" y="44">{escape(words)}</text>'
        at += 28 + 6.6 * len(words)


def _grid(axis: Axis, height: int) -> Iterator[str]:
    for value, words in zip(axis.marks, axis.words, strict=True):
        at = axis.x(value)
        yield f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 2}" y2="{height - 26}"/>'
        yield f'<text class="dim" x="{at:.1f}" y="{height - 10}" text-anchor="middle">{escape(words)}</text>'


def _row(line: Line, y: int, axis: Axis) -> Iterator[str]:
    if not line.dots and not line.note:
        yield f'<text class="family" x="16" y="{y}">{escape(line.name)}</text>'
        return
    yield f'<text x="{LEFT - 12}" y="{y}" text-anchor="end">{escape(line.name)}</text>'
    step = 5 if len(line.dots) > 1 else 0
    for number, dot in enumerate(line.dots):
        level = y - 4 + step * (number - (len(line.dots) - 1) / 2)
        ends = f'x1="{axis.x(dot.low):.1f}" x2="{axis.x(dot.high):.1f}" y1="{level:.1f}" y2="{level:.1f}"'
        yield f'<line class="bar {dot.look}" {ends}/>'
        yield f'<circle class="{dot.look}" cx="{axis.x(dot.value):.1f}" cy="{level:.1f}" r="3.6"/>'
    yield f'<text class="dim" x="{WIDTH - RIGHT + 12}" y="{y}">{escape(line.note)}</text>'
