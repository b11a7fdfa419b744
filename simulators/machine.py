"""What all simulated machines share: timetables, and reports as columns, which become messages or batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from devices.kinds import Kind

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
Column = npt.NDArray[np.generic] | float


class Message(NamedTuple):
    """One message as a device sends it.

    Attributes:
        topic: native topic, ends in ``/up``.
        payload: JSON bytes.
        time_ms: city time at which it is sent, epoch milliseconds.
        readings: how many readings it holds; 1 for what cannot be read.
    """

    topic: str
    payload: bytes
    time_ms: int
    readings: int = 1


class Machine(Protocol):
    """One kind of machine, all of a city's at once."""

    def tick(self, from_ms: int, until_ms: int) -> list[Reports]:
        """Let the machines live through (from, until] and return what they send, each not before ``from_ms``."""


class Timetable:
    """When each device reports next: spread over its interval, so that a city never speaks in one breath.

    Attributes:
        next_ms: (n,) time of the next report.
        interval_ms: (n,) usual time between reports.
    """

    def __init__(self, rng: np.random.Generator, count: int, interval_s: float, start_ms: int) -> None:
        interval = round(interval_s * 1000)
        self.interval_ms = np.full(count, interval, dtype=np.int64)
        self.next_ms: Ints = start_ms + 1 + rng.integers(0, interval, count)

    def rounds(self, until_ms: int) -> Iterator[tuple[Rows, Ints]]:
        """Yield (devices, times) of reports due by ``until_ms``, at most one report a device in each round."""
        while True:
            due = np.flatnonzero(self.next_ms <= until_ms)
            if not len(due):
                return
            times = self.next_ms[due].copy()
            self.next_ms[due] += self.interval_ms[due]
            yield due, times


class Form:
    """How one role's readings look: field names with the digits that its meter sends.

    Args:
        kind: name of the catalog kind.
        fields: field name to a printf format such as ``%.1f``; in the order of the columns.
    """

    def __init__(self, kind: str, **fields: str) -> None:
        self.kind = kind
        self.fields = tuple(fields)
        self._digits = [int(digits[2:-1]) if digits.endswith("f") else None for digits in fields.values()]
        inner = ",".join(f'"{name}":{digits}' for name, digits in fields.items())
        self._text = '{"ts":%d,' + inner + "}"
        self._count = len(fields)

    def reports(self, devices: Rows, time_ms: Ints, *columns: Column) -> Reports:
        """Return reports of ``devices`` (n registry rows) at ``time_ms`` (n,); columns are (n,) or scalar."""
        if len(columns) != self._count:
            raise ValueError(f"{len(columns)} columns for {self._count} fields")
        return Reports(self, devices, time_ms, columns)

    def texts(self, reports: Reports) -> Iterator[str]:
        """Yield each reading as JSON text."""
        lists = [
            c.tolist() if isinstance(c, np.ndarray) and c.ndim else repeat(c, len(reports.devices))
            for c in reports.columns
        ]
        text = self._text
        return (text % values for values in zip(reports.time_ms.tolist(), *lists, strict=False))

    def table(self, reports: Reports, kind: Kind) -> Floats:
        """Return readings as the meters send them, (fields of the kind, n): rounded, NaN where the role has none."""
        out = np.full((len(kind.fields), len(reports.devices)), np.nan)
        for name, digits, column in zip(self.fields, self._digits, reports.columns, strict=True):
            values = np.asarray(column, dtype=np.float64)
            out[kind.column(name)] = np.trunc(values) if digits is None else np.round(values, digits)
        return out


class Reports(NamedTuple):
    """What some devices of one role report, as columns.

    Attributes:
        form: field names and digits.
        devices: (n,) registry rows.
        time_ms: (n,) device time, at which it is sent too.
        columns: (n,) or scalar each, in the order of the form's fields.
    """

    form: Form
    devices: Rows
    time_ms: Ints
    columns: tuple[Column, ...]

    def take(self, chosen: Mask | Rows) -> Reports:
        """Return the chosen ones."""
        columns = tuple(c[chosen] if isinstance(c, np.ndarray) and c.ndim else c for c in self.columns)
        return Reports(self.form, self.devices[chosen], self.time_ms[chosen], columns)

    def messages(self, topic: Callable[[int], str]) -> list[Message]:
        """Return one message a reading; ``topic`` gives the topic of a registry row."""
        return [
            Message(topic(row), text.encode(), time_ms)
            for row, time_ms, text in zip(
                self.devices.tolist(), self.time_ms.tolist(), self.form.texts(self), strict=True
            )
        ]
