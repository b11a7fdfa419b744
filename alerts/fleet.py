"""What was last heard of every device: live columns a kind, which every judge reads and only the engine writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from devices.batch import Batch
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky

NEVER = np.iinfo(np.int64).min  # time of a device that has not been heard
NEVER_AGAIN = np.iinfo(np.int64).max
_REMEMBERED = 4096  # combinations of fields that are kept at hand
_SAMPLE = 4096  # devices, about, that are looked at to see which columns are filled alike
_TIME, _SEEN, _MARK = range(3)


@dataclass(frozen=True, slots=True)
class _Filling:
    """Which columns a batch fills.

    Attributes:
        runs: first and end of columns side by side that every reading has.
        some: columns that only some readings have.
    """

    runs: list[tuple[int, int]]
    some: list[int]


def _filling(absent: bytes, partial: bytes) -> _Filling:
    runs: list[tuple[int, int]] = []
    for number, lacks in enumerate(partial):
        if not lacks and runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        elif not lacks:
            runs.append((number, number + 1))
    return _Filling(runs, [number for number, lacks in enumerate(partial) if lacks and not absent[number]])


class Live:
    """Latest trusted values of one kind's devices.

    Attributes:
        kind: the kind.
        columns: column number of each field, by name.
        rows: (m,) registry rows of its devices, in order.
        local: (n,) place of each registry row in these columns, -1 for other kinds.
        values: (fields, m) latest value of each field that lay inside its physical range; NaN before the first.
        time_ms: (m,) device time of the newest reading judged, NEVER before the first.
        seen_ms: (m,) host time at which the device was last heard, NEVER before the first; what silence is judged by.
        mark: (m,) row in the latest batch, for telling whether a device stands in it more than once.
    """

    def __init__(self, kind: Kind, registry: Registry) -> None:
        self.kind = kind
        self.columns = {name: number for number, name in enumerate(kind.field_names())}
        self.rows = registry.rows_of(kind.name)
        self.local = np.full(len(registry), -1, dtype=np.int32)
        self.local[self.rows] = np.arange(len(self.rows), dtype=np.int32)
        # What belongs to a device stands together, whatever columns it is seen as: one look at memory, not twenty.
        self._table = np.full((len(self.rows), len(kind.fields)), np.nan)
        self.values = self._table.T
        self._clocks = np.full((len(self.rows), 3), NEVER, dtype=np.int64)
        self.time_ms, self.seen_ms, self.mark = (self._clocks[:, one] for one in (_TIME, _SEEN, _MARK))
        self._filled = np.zeros(len(kind.fields), dtype=bool)  # columns in which anybody has sent anything
        self._registry = registry
        self._fillings: dict[tuple[bytes, bytes], _Filling] = {}
        self._records: dict[tuple[int, int], npt.NDArray[np.void]] = {}

    def hear(self, at: npt.NDArray[np.intp], time_ms: npt.NDArray[np.int64], now_ms: int) -> None:
        """Write down that devices at places ``at`` spoke of ``time_ms`` and were heard now, and which row they are."""
        clocks = np.empty((len(at), 3), dtype=np.int64)
        clocks[:, _TIME], clocks[:, _SEEN], clocks[:, _MARK] = time_ms, now_ms, np.arange(len(at))
        self._clocks.view("V24")[:, 0][at] = clocks.view("V24")[:, 0]

    def update(self, at: npt.NDArray[np.intp], trusted: npt.NDArray[np.float64], absent: bytes, partial: bytes) -> None:
        """Take in readings, each newer than its device's reading before.

        Args:
            at: (n,) places; of several readings of one device the last stays.
            trusted: (fields, n) values inside their physical ranges, NaN for the others.
            absent, partial: a byte a field, one where no reading has it, and where some reading lacks it.
        """
        filling = self._fillings.get((absent, partial))
        if filling is None:
            if len(self._fillings) > _REMEMBERED:
                self._fillings.clear()
            filling = self._fillings[absent, partial] = _filling(absent, partial)
            for first, end in [*filling.runs, *((number, number + 1) for number in filling.some)]:
                self._filled[first:end] = True
        for first, end in filling.runs:
            rows = np.ascontiguousarray(trusted[first:end].T)
            record = self._record(first, end)
            record[at] = rows.view(record.dtype)[:, 0]
        for number in filling.some:
            here = (~np.isnan(trusted[number])).nonzero()[0]
            self.values[number, at[here]] = trusted[number, here]

    def runs(self) -> Iterator[tuple[int, int, npt.NDArray[np.intp] | None]]:
        """Yield which columns have been filled, those side by side together that about as many devices have sent.

        Yields:
            first and end of the columns, and the places of the devices that sent them; None where most have.
        """
        sample = self._table[:: max(1, len(self._table) // _SAMPLE)]
        counts = np.where(self._filled, np.count_nonzero(~np.isnan(sample), axis=0), -1)
        edges = np.flatnonzero(np.diff(counts)) + 1
        for first, end in pairwise([0, *edges.tolist(), len(counts)]):
            if counts[first] > len(sample) // 2:
                yield first, end, None
            elif counts[first] >= 0:
                yield first, end, (~np.isnan(self._table[:, first:end])).any(axis=1).nonzero()[0]

    def cells(self, first: int, end: int, at: npt.NDArray[np.intp] | None) -> npt.NDArray[np.float64]:
        """Return columns side by side of the devices at some places, or of all as they stand: (places, columns)."""
        return self._table[:, first:end] if at is None else self._table[at, first:end]

    def fill(self, fields: Sequence[str], at: npt.NDArray[np.intp], cells: npt.NDArray[np.generic]) -> None:
        """Take over what :meth:`cells` returned; fields that there are no longer, and places below zero, are let go."""
        numbers = [self.columns.get(name, -1) for name in fields]
        self._filled[[number for number in numbers if number >= 0]] = True
        here = at >= 0
        if not here.all():
            at, cells = at[here], cells[here]
        if numbers == list(range(numbers[0], numbers[0] + len(fields))) and numbers[0] >= 0:
            record = self._record(numbers[0], numbers[-1] + 1)
            record[at] = np.ascontiguousarray(cells).view(record.dtype)[:, 0]
            return
        for place, number in enumerate(numbers):
            if number >= 0:
                self._table[at, number] = cells[:, place]

    def _record(self, first: int, end: int) -> npt.NDArray[np.void]:
        """Return columns that stand side by side as one column of records, which is written in one go."""
        found = self._records.get((first, end))
        if found is None:
            kind, shape = f"V{8 * (end - first)}", (len(self._table),)
            found = np.ndarray(shape, kind, self._table, 8 * first, (self._table.strides[0],))
            self._records[first, end] = found
        return found

    def fact(self, name: str) -> npt.NDArray[np.float64]:
        """Return one fact of the kind's devices, (m,), NaN where unknown."""
        return self._registry.fact(name, self.rows)

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """Return the latest values of one field, (m,)."""
        found: npt.NDArray[np.float64] = self.values[self.columns[name]]
        return found


class Fleet:
    """Live columns of all kinds, with the registry and the sky over the city.

    Attributes:
        registry: who the rows are.
        live: by kind name.
        sky: sun and lighting schedules.
        resumed_ms: host time since which the house has watched without a pause; nothing before it counts as silence.
    """

    def __init__(self, registry: Registry, sky: Sky) -> None:
        self.registry = registry
        self.sky = sky
        self.live = {kind.name: Live(kind, registry) for kind in registry.catalog}
        self.resumed_ms: int = NEVER
        self._batch: Batch | None = None
        self._about: dict[Any, Any] = {}

    def about(self, batch: Batch) -> dict[Any, Any]:
        """Return what judges have worked out of a batch, for the next of them; the batch before is forgotten."""
        if self._batch is not batch:
            self._batch, self._about = batch, {}
        return self._about
