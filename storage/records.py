"""What one journal record holds, and how it becomes bytes that survive a changed catalog.

A segment's header names the kinds and fields of its time; records inside carry numbers, and are mapped by those
names when they are read under another catalog. Readings of a kind that is no longer declared come back as rejects, so
that none is lost; a single column that is no longer declared is let go.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np

from devices.batch import Batch, make_batch, pack, unpack
from devices.kinds import Catalog, Field, Kind
from devices.payloads import Reject

FORMAT = 1  # of segment headers and records; raised when either changes
UNKNOWN = "unknown"  # counts of messages whose topic names no kind of ours

_BODY = struct.Struct("<qHHI")  # now_ms, names counted, batches, bytes of rejects
_LENGTH = struct.Struct("<I")


class Counts(NamedTuple):
    """Readings of one kind since the journal began.

    Attributes:
        received: appended or recognised as duplicate.
        duplicates: recognised as already kept.
        rows: kept as batch rows.
        rejects: kept as messages that could not be read, each one reading.
    """

    received: int = 0
    duplicates: int = 0
    rows: int = 0
    rejects: int = 0

    @property
    def kept(self) -> int:
        """Return how many lie in the journal's records: rows and rejects."""
        return self.rows + self.rejects


Totals = dict[str, Counts]


@dataclass(slots=True)
class Record:
    """What one group of deliveries brought; a tick is a record with nothing but its time.

    Attributes:
        now_ms: host time of the group, epoch milliseconds.
        batches: readings that were kept, duplicates already taken out.
        rejects: messages that could not be read.
        received: readings by kind name (or ``unknown``) before duplicates were taken out, rejects among them.
        duplicates: readings by kind name that were recognised as already kept.
        totals: cumulative counts at the end of this record; filled in by the journal.
    """

    now_ms: int
    batches: list[Batch] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    received: dict[str, int] = field(default_factory=dict)
    duplicates: dict[str, int] = field(default_factory=dict)
    totals: Totals = field(default_factory=dict)


class Header(msgspec.Struct, frozen=True):
    """What stands at the head of a segment.

    Attributes:
        format: FORMAT of the writer.
        base: position of the segment's first byte.
        after: position behind the last whole record before it; below ``base`` where a torn tail was cut.
        kinds: kind names with their field names, in the order that records number them.
        names: names that the totals of records are listed under, in order.
        totals: counts at the segment's beginning, as (received, duplicates, rows, rejects) a name.
    """

    format: int
    base: int
    after: int
    kinds: list[tuple[str, list[str]]]
    names: list[str]
    totals: list[tuple[int, int, int, int]]

    def starting_totals(self) -> Totals:
        """Return the counts at the segment's beginning, by name."""
        return {name: Counts(*row) for name, row in zip(self.names, self.totals, strict=True)}


def describe(catalog: Catalog) -> list[tuple[str, list[str]]]:
    """Return a catalog's kinds and fields as a header lists them."""
    return [(kind.name, list(kind.field_names())) for kind in catalog]


def make_header(base: int, after: int, catalog: Catalog, totals: Totals) -> Header:
    """Return the header of a segment that begins at ``base`` with ``totals`` already counted."""
    kinds = describe(catalog)
    names = [name for name in dict.fromkeys([*(name for name, _ in kinds), *totals]) if name != UNKNOWN] + [UNKNOWN]
    rows = [tuple(totals.get(name, Counts())) for name in names]
    return Header(FORMAT, base, after, kinds, names, rows)  # type: ignore[arg-type]


def add(totals: Totals, record: Record, names: Iterable[str]) -> Totals:
    """Return ``totals`` after ``record``; names outside ``names`` count as ``unknown``."""
    known = set(names)
    sums = {name: list(totals.get(name, Counts())) for name in known}

    def count(column: int, name: str, number: int) -> None:
        sums[name if name in known else UNKNOWN][column] += number

    for name, number in record.received.items():
        count(0, name, number)
    for name, number in record.duplicates.items():
        count(1, name, number)
    for batch in record.batches:
        count(2, batch.kind.name, len(batch))
    for reject in record.rejects:
        count(3, reject.kind or UNKNOWN, 1)
    return {name: Counts(*sums[name]) for name in names}


def encode(record: Record, totals: Totals, names: list[str]) -> bytes:
    """Return a record's body; ``totals`` are the counts after it, listed in the order of ``names``."""
    table = np.zeros((len(names), 6), dtype="<i8")
    for place, name in enumerate(names):
        table[place, :4] = totals[name]
        table[place, 4:] = record.received.get(name, 0), record.duplicates.get(name, 0)
    for counts, column in ((record.received, 4), (record.duplicates, 5)):
        table[-1, column] += sum(number for name, number in counts.items() if name not in names)
    rejects = msgspec.msgpack.encode(record.rejects) if record.rejects else b""
    parts = [_BODY.pack(record.now_ms, len(names), len(record.batches), len(rejects)), table.tobytes()]
    for batch in record.batches:
        packed = pack(batch)
        parts += (_LENGTH.pack(len(packed)), packed)
    parts.append(rejects)
    return b"".join(parts)


class Reader:
    """Turns record bodies of one segment back into records, under today's catalog."""

    def __init__(self, header: Header, catalog: Catalog) -> None:
        self.header = header
        self.catalog = catalog
        self.same = header.kinds == describe(catalog)
        self._written_under = catalog if self.same else _catalog_of(header, catalog)

    def decode(self, body: bytes | memoryview) -> Record:
        """Return the record. Raises ValueError when the bytes are not one."""
        view = memoryview(body)
        try:
            now_ms, n_names, n_batches, n_rejects = _BODY.unpack_from(view)
            at = _BODY.size
            table = np.frombuffer(view, "<i8", n_names * 6, at).reshape(n_names, 6).tolist()
            at += n_names * 48
            names = self.header.names
            record = Record(now_ms)
            record.totals = {name: Counts(*row[:4]) for name, row in zip(names, table, strict=True)}
            record.received = {name: row[4] for name, row in zip(names, table, strict=True) if row[4]}
            record.duplicates = {name: row[5] for name, row in zip(names, table, strict=True) if row[5]}
            batches: list[Batch] = []
            for _ in range(n_batches):
                (length,) = _LENGTH.unpack_from(view, at)
                at += _LENGTH.size
                batches.append(unpack(view[at : at + length], self._written_under))
                at += length
            if len(view) != at + n_rejects:
                raise ValueError("a record's length does not match its head")
            if n_rejects:
                record.rejects = msgspec.msgpack.decode(view[at:], type=list[Reject])
        except (struct.error, msgspec.MsgspecError) as trouble:
            raise ValueError(f"a record cannot be read: {trouble}") from trouble
        for batch in batches:
            self._keep(batch, record)
        return record

    def totals(self, body: bytes) -> Totals:
        """Return the counts at the end of a record without reading its batches. ValueError when it is not one."""
        if len(body) < _BODY.size:
            raise ValueError("a record is shorter than its head")
        _, n_names, _, _ = _BODY.unpack_from(body)
        table = np.frombuffer(body, "<i8", n_names * 6, _BODY.size).reshape(n_names, 6).tolist()
        return {name: Counts(*row[:4]) for name, row in zip(self.header.names, table, strict=True)}

    def _keep(self, batch: Batch, record: Record) -> None:
        if self.same:
            record.batches.append(batch)
            return
        kind = self.catalog.kinds.get(batch.kind.name)
        if kind is None:
            record.rejects.extend(_orphans(batch))
        else:
            record.batches.append(_under(kind, batch))


def _catalog_of(header: Header, today: Catalog) -> Catalog:
    kinds = []
    for name, fields in header.kinds:
        known = {f.name: f for f in today.kinds[name].fields} if name in today.kinds else {}
        columns = tuple(known.get(f) or Field(f, "", "float", -math.inf, math.inf, f, f) for f in fields)
        kinds.append(Kind(name, name, name, ("any",), columns, (), (60.0,)))
    return Catalog(kinds)


def _under(kind: Kind, old: Batch) -> Batch:
    """Return ``old`` with its columns where today's declaration has them; columns no longer declared are let go."""
    values = np.full((len(kind.fields), len(old)), np.nan)
    places = {name: number for number, name in enumerate(kind.field_names())}
    for number, name in enumerate(old.kind.field_names()):
        if name in places:
            values[places[name]] = old.values[number]
    batch = make_batch(kind, old.arrival_ms, old.time_ms, old.device, values)
    batch.sent_ms, batch.marks = old.sent_ms, old.marks
    return batch


def _orphans(batch: Batch) -> list[Reject]:
    """Return one reject a reading of a kind that is no longer declared, its values readable as JSON."""
    names = batch.kind.field_names()
    found = []
    for place in range(len(batch)):
        values = {n: float(v) for n, v in zip(names, batch.values[:, place], strict=True) if not np.isnan(v)}
        reading: Mapping[str, float | int] = {
            "ts": int(batch.sent_ms[place]),
            "registry_row": int(batch.device[place]),
            **values,
        }
        detail = f"the kind '{batch.kind.name}' is no longer declared"
        payload = json.dumps(reading).encode()
        found.append(Reject("", payload, "kind", detail, "", batch.kind.name, batch.arrival_ms))
    return found
