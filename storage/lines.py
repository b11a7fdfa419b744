"""Batches become InfluxDB line protocol, column by column: two microseconds a reading where a Point object takes nine.

Every number goes over the wire as a float, whatever the field's type: a field has one type in the database for ever.
Text goes through one escaping function, so that no name from a registry can begin a line or a tag of its own.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from devices.batch import MARK_FUTURE, Batch
from devices.registry import Registry
from storage.timeseries import HEARD, MARKS, SENT_MS, SUSPECT, OwnPoint, moments_us

TAGS = ("cabinet", "district", "road")  # places of an asset that become tags beside device and role
SHAPES_MAX = 1024  # sets of fields remembered; a device that sends another set each time shall not fill the memory
PATTERNS_MAX = 12  # patterns of present fields that are written apart, quicker than looking at every value

# Line protocol 1.x cannot carry a newline in a tag, nor a backslash before a comma: these become %XX, and % itself.
_ENCODED = re.compile(r"[%\\\x00-\x1f\x7f]")
_SPECIAL = re.compile(r"([,= ])")
_DECODED = re.compile(r"%([0-9A-F]{2})")
HEADS_MAX = 50_000  # devices whose tags are kept at hand; a city of a million is not all kept twice
_TIME = "time_ms"  # no field's name (devices.kinds.RESERVED)

_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=8192)  # road and district names come again with every device
def escape(text: str) -> str:
    """Return text as a measurement, tag key, tag value or field key; the only way for text onto the wire."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    text = _ENCODED.sub(lambda found: f"%{ord(found.group()):02X}", text)
    return _SPECIAL.sub(r"\\\1", text)


def stored(text: str) -> str:
    """Return text as InfluxDB keeps it and queries must ask for it: without the wire's backslashes."""
    return _ENCODED.sub(lambda found: f"%{ord(found.group()):02X}", text)


def unescape(kept: str) -> str:
    """Return the text that a tag stands for, as InfluxDB gives it back; the inverse of :func:`stored`."""
    return _DECODED.sub(lambda found: chr(int(found.group(1), 16)), kept)


class Lines(NamedTuple):
    """Readings as lines.

    Attributes:
        lines: one a reading, without the newline.
        rows: (n,) place of each line's reading in its batch.
    """

    lines: list[bytes]
    rows: npt.NDArray[np.intp]


class LineWriter:
    """Writes batches of one registry; remembers the measurement and tags of devices heard lately.

    Args:
        registry: who the rows are.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._heads: dict[int, bytes] = {}
        self._around: dict[tuple[str | int, ...], tuple[bytes, bytes]] = {}
        self._shapes: dict[tuple[str, ...], Callable[..., Any]] = {}

    def lines(self, batch: Batch) -> Lines:
        """Return a batch's readings as lines; a reading without any value becomes ``heard=1``."""
        present = np.isfinite(batch.values)
        names, columns, filled = self._columns(batch, present)
        if filled.all():
            return Lines(self._format(batch, names, columns, None), np.arange(len(batch)))
        if len(names) <= 63:
            codes = (1 << np.arange(len(names), dtype=np.int64)) @ filled.astype(np.int64)
            patterns = np.unique(codes)
            if len(patterns) <= PATTERNS_MAX:
                return self._by_pattern(batch, names, columns, codes, patterns)
        plain = [
            [value if here else None for value, here in zip(column.tolist(), mask.tolist(), strict=True)]
            for column, mask in zip(columns, filled, strict=True)
        ]
        return Lines(self._join(batch, names, plain, None), np.arange(len(batch)))

    def _columns(
        self, batch: Batch, present: npt.NDArray[np.bool_]
    ) -> tuple[list[str], list[npt.NDArray[np.float64]], npt.NDArray[np.bool_]]:
        """Return names, values and masks of the columns that at least one reading has, the store's own among them."""
        numbers = np.flatnonzero(present.any(axis=1))
        names = [batch.kind.fields[number].name for number in numbers]
        columns = [batch.values[number] for number in numbers]
        masks = [present[number] for number in numbers]
        empty = ~present.any(axis=0)
        suspects = (batch.suspect & present).sum(axis=0)
        clamped = (batch.marks & MARK_FUTURE) != 0
        extras = (
            (HEARD, np.ones(len(batch)), empty),
            (SUSPECT, suspects, suspects > 0),
            (MARKS, batch.marks, batch.marks > 0),
            (SENT_MS, batch.sent_ms, clamped),
        )
        for name, column, mask in extras:
            if mask.any():
                names.append(name)
                columns.append(column.astype(np.float64))
                masks.append(mask)
        return names, columns, np.array(masks)

    def _by_pattern(
        self,
        batch: Batch,
        names: list[str],
        columns: list[npt.NDArray[np.float64]],
        codes: npt.NDArray[np.int64],
        patterns: npt.NDArray[np.int64],
    ) -> Lines:
        lines: list[bytes] = []
        rows = []
        for pattern in patterns.tolist():
            here = np.flatnonzero(codes == pattern)
            chosen = [place for place in range(len(names)) if pattern >> place & 1]
            lines += self._format(batch, [names[p] for p in chosen], [columns[p][here] for p in chosen], here)
            rows.append(here)
        return Lines(lines, np.concatenate(rows))

    def _format(
        self,
        batch: Batch,
        names: list[str],
        columns: list[npt.NDArray[np.float64]],
        here: npt.NDArray[np.intp] | None,
    ) -> list[bytes]:
        return self._join(batch, names, [column.tolist() for column in columns], here)

    def _join(
        self, batch: Batch, names: list[str], columns: list[list[Any]], here: npt.NDArray[np.intp] | None
    ) -> list[bytes]:
        """Let msgspec write all numbers at once as JSON objects, and turn their punctuation into line protocol."""
        times = moments_us(batch) if here is None else moments_us(batch)[here]
        devices = batch.device if here is None else batch.device[here]
        shaped = map(self._shape(tuple(names)), *columns, times.tolist())
        text = _encode(list(shaped))[2:-2].replace(b'"', b"").replace(b":", b"=").replace(b",@=", b" ")
        return list(map(operator.add, self._heads_of(devices.tolist(), batch.kind.name), text.split(b"},{")))

    def _shape(self, names: tuple[str, ...]) -> Callable[..., Any]:
        if names not in self._shapes:
            if len(self._shapes) >= SHAPES_MAX:
                self._shapes.clear()
            fields = [(name, float | None, None) for name in names]
            self._shapes[names] = msgspec.defstruct(
                "Row", [*fields, (_TIME, int | None, None)], rename={_TIME: "@"}, omit_defaults=True, gc=False
            )
        return self._shapes[names]

    def _heads_of(self, devices: list[int], kind: str) -> Iterable[bytes]:
        heads = self._heads
        found = [heads.get(row) for row in devices]
        if None in found:
            if len(heads) >= HEADS_MAX:
                heads.clear()
            for row in set(devices):
                if row not in heads:
                    heads[row] = self._head(row, kind)
            found = [heads[row] for row in devices]
        return found  # type: ignore[return-value]

    def _head(self, row: int, kind: str) -> bytes:
        columns = self.registry.columns
        names = ("role", *TAGS)
        key: tuple[str | int, ...] = (kind, *(int(columns.coded[name].code[row]) for name in names))
        around = self._around.get(key)
        if around is None:
            if len(self._around) >= HEADS_MAX:
                self._around.clear()
            tags = {"device": "@", **{name: columns.text(name, row) for name in names}}
            before, device, after = head(kind, tags).partition("device=@")
            around = self._around[key] = (f"{before}{device[:-1]}".encode(), after.encode())
        return around[0] + escape(self.registry.id_of(row)).encode() + around[1]


def head(measurement: str, tags: dict[str, str]) -> str:
    """Return measurement and tags of a line with the blank behind them; tags in order, empty ones left out."""
    parts = [escape(measurement)]
    parts += [f"{escape(name)}={escape(value)}" for name, value in sorted(tags.items()) if value]
    return ",".join(parts) + " "


def own_line(point: OwnPoint) -> bytes | None:
    """Return one of Lamplighter's own points as a line, None where it has no number."""
    fields = point.finite()
    if not fields:
        return None
    numbers = ",".join(f"{escape(name)}={value!r}" for name, value in sorted(fields.items()))
    return f"{head(point.measurement, dict(point.tags))}{numbers} {point.time_ms * 1000}".encode()


class Parsed(NamedTuple):
    """A line taken apart again: measurement, tags, fields, time."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, float]
    time_us: int


def parse_line(line: bytes) -> Parsed:
    """Take apart a line that this module wrote; for tests and for people who read the quarantine.

    Raises:
        ValueError: when it is not such a line.
    """
    parts = re.split(r"(?<!\\) ", line.decode())
    if len(parts) != 3:
        raise ValueError("a line has three parts: measurement with tags, fields, time")
    name, *tags = re.split(r"(?<!\\),", parts[0])
    pairs = (re.split(r"(?<!\\)=", tag, maxsplit=1) for tag in tags)
    fields = (re.split(r"(?<!\\)=", field, maxsplit=1) for field in re.split(r"(?<!\\),", parts[1]))
    numbers = {_plain(key): float(value) for key, value in fields}
    if not all(map(math.isfinite, numbers.values())):
        raise ValueError("a field is not a number")
    return Parsed(_plain(name), {_plain(key): _plain(value) for key, value in pairs}, numbers, int(parts[2]))


def _plain(text: str) -> str:
    return unescape(re.sub(r"\\([,= ])", r"\1", text))
