"""What all simulated machines share: messages, timetables of reports, and readings written as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


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

    def tick(self, from_ms: int, until_ms: int) -> list[Message]:
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
    """How one role's readings look as JSON: field names with the digits that its meter sends.

    Args:
        fields: field name to a printf format such as ``%.1f``; in the order of the columns.
    """

    def __init__(self, **fields: str) -> None:
        inner = ",".join(f'"{name}":{digits}' for name, digits in fields.items())
        self._text = '{"ts":%d,' + inner + "}"
        self._count = len(fields)

    def text(self, time_ms: int, *values: float) -> str:
        """Return one reading as JSON text."""
        return self._text % (time_ms, *values)

    def messages(
        self, topics: Sequence[str], rows: Rows, time_ms: Ints, *columns: npt.NDArray[np.generic] | float
    ) -> list[Message]:
        """Return one message a row; ``columns`` are (n,) or scalar, in the order of the fields."""
        if len(columns) != self._count:
            raise ValueError(f"{len(columns)} columns for {self._count} fields")
        lists = [c.tolist() if isinstance(c, np.ndarray) and c.ndim else repeat(c, len(rows)) for c in columns]
        text = self._text
        return [
            Message(topics[row], (text % (ts, *values)).encode(), ts)
            for row, ts, *values in zip(rows.tolist(), time_ms.tolist(), *lists, strict=True)
        ]
