"""Batch: readings of one kind side by side, the one type that every room speaks."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from devices.kinds import Catalog, Kind

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

MARK_LATE = 1  # older than a reading of the same device that was already judged: kept, not judged
MARK_FUTURE = 2  # device time lay too far ahead: judged and kept at its arrival time

_HEAD = struct.Struct("<HHIq")  # kind index, number of stored columns, rows, arrival


@dataclass(slots=True)
class Batch:
    """Readings of one kind as columns.

    Attributes:
        kind: whose fields the columns are.
        arrival_ms: host time at which the batch was closed, epoch milliseconds.
        time_ms: (n,) device time, epoch milliseconds; what is judged and stored.
        device: (n,) row of the device in the registry.
        values: (fields, n) float64; NaN where the reading has no such field.
        suspect: (fields, n) True where a value lies outside its physical range.
        sent_ms: (n,) device time as sent; differs from ``time_ms`` only under MARK_FUTURE.
        marks: (n,) uint8 of MARK_ bits.
    """

    kind: Kind
    arrival_ms: int
    time_ms: Ints
    device: Rows
    values: Floats
    suspect: Mask
    sent_ms: Ints
    marks: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))

    def __len__(self) -> int:
        return len(self.time_ms)

    def column(self, name: str) -> Floats:
        """Return one field's values, NaN where absent."""
        found: Floats = self.values[self.kind.column(name)]
        return found

    def trusted(self, name: str) -> Floats:
        """Return one field's values, NaN where absent or outside the physical range: what value rules may see."""
        number = self.kind.column(name)
        kept: Floats = np.where(self.suspect[number], np.nan, self.values[number])
        return kept

    def take(self, rows: npt.NDArray[np.intp] | Mask) -> Batch:
        """Return the chosen rows, in the order given."""
        return Batch(
            self.kind,
            self.arrival_ms,
            self.time_ms[rows],
            self.device[rows],
            self.values[:, rows],
            self.suspect[:, rows],
            self.sent_ms[rows],
            self.marks[rows],
        )


def make_batch(
    kind: Kind, arrival_ms: int, time_ms: Sequence[int] | Ints, device: Sequence[int] | Rows, values: npt.ArrayLike
) -> Batch:
    """Build a batch from columns, marking values outside the physical range.

    Args:
        kind: the kind whose fields ``values`` holds.
        arrival_ms: host time, epoch milliseconds.
        time_ms: (n,) device time, epoch milliseconds.
        device: (n,) registry rows.
        values: (fields, n), NaN where absent.
    """
    table = np.asarray(values, dtype=np.float64)
    times = np.asarray(time_ms, dtype=np.int64)
    low, high = kind.limits
    with np.errstate(invalid="ignore"):
        suspect = (table < low) | (table > high)
    return Batch(
        kind,
        arrival_ms,
        times,
        np.asarray(device, dtype=np.int32),
        table,
        suspect,
        times,
        np.zeros(len(times), np.uint8),
    )


def pack(batch: Batch) -> bytes:
    """Return a batch as bytes; columns that no reading has are left out. The inverse of :func:`unpack`."""
    present = np.flatnonzero(~np.isnan(batch.values).all(axis=1)).astype("<u2")
    parts = [
        _HEAD.pack(batch.kind.index, len(present), len(batch), batch.arrival_ms),
        present.tobytes(),
        batch.time_ms.astype("<i8", copy=False).tobytes(),
        batch.sent_ms.astype("<i8", copy=False).tobytes(),
        batch.device.astype("<i4", copy=False).tobytes(),
        batch.marks.tobytes(),
        batch.values[present].astype("<f8", copy=False).tobytes(),
    ]
    return b"".join(parts)


def unpack(data: bytes | memoryview, catalog: Catalog) -> Batch:
    """Rebuild a batch from bytes; the suspect mask is computed again from the kind's limits.

    Raises:
        ValueError: when the bytes are not a whole batch of a known kind.
    """
    view = memoryview(data)
    if len(view) < _HEAD.size:
        raise ValueError("a batch is shorter than its head")
    kind_index, stored, rows, arrival_ms = _HEAD.unpack_from(view)
    kinds = list(catalog)
    if kind_index >= len(kinds):
        raise ValueError(f"a batch names kind {kind_index}, the catalog has {len(kinds)}")
    kind = kinds[kind_index]
    if len(view) != _HEAD.size + 2 * stored + rows * (8 + 8 + 4 + 1 + 8 * stored):
        raise ValueError("a batch's length does not match its head")
    at = _HEAD.size
    present = np.frombuffer(view, "<u2", stored, at)
    at += 2 * stored
    times = np.frombuffer(view, "<i8", rows, at).astype(np.int64)
    at += 8 * rows
    sent = np.frombuffer(view, "<i8", rows, at).astype(np.int64)
    at += 8 * rows
    device = np.frombuffer(view, "<i4", rows, at).astype(np.int32)
    at += 4 * rows
    marks = np.frombuffer(view, np.uint8, rows, at).copy()
    at += rows
    values = np.full((len(kind.fields), rows), np.nan)
    if stored and int(present.max()) >= len(kind.fields):
        raise ValueError(f"a batch names a column that {kind.name} does not have")
    values[present] = np.frombuffer(view, "<f8", stored * rows, at).reshape(stored, rows)
    batch = make_batch(kind, arrival_ms, times, device, values)
    batch.sent_ms, batch.marks = sent, marks
    return batch
