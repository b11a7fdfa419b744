"""Quarantine: messages that could not be read, kept whole with their reason until a person has seen them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from devices.payloads import Reject
from storage import tables, tally
from storage.database import Database

ROWS_MAX = 100_000  # messages kept; beyond it the oldest is purged and counted
BYTES_MAX = 256 << 20  # of payload kept
PURGE_ROWS = 1000  # looked at in one step of purging
REFUSED = "refused"  # reason of readings that the time-series store will never take

_HELD_ROWS, _HELD_BYTES, _PURGED = "quarantine_rows", "quarantine_bytes", "quarantine_purged"


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """One message that could not be read.

    Attributes:
        id: its number, ascending by arrival.
        arrival_ms: host time, epoch milliseconds.
        reason: one of devices.payloads.REASONS, or ``refused``.
        detail: what exactly was wrong.
        topic, payload: as received.
        kind, device: as its topic says, empty where it says nothing.
    """

    id: int
    arrival_ms: int
    reason: str
    detail: str
    topic: str
    kind: str
    device: str
    payload: bytes

    @property
    def device_id(self) -> str:
        """Return the device id that the topic names."""
        return self.device


def add(database: Database, connection: Connection, rejects: Sequence[Reject], rows_max: int, bytes_max: int) -> None:
    """Keep messages apart, and let the oldest go where there are too many."""
    if not rejects:
        return
    rows = [
        {
            "arrival_ms": r.arrival_ms,
            "reason": r.reason,
            "detail": r.detail,
            "topic": _storable(r.topic),
            "kind": r.kind,
            "device": r.device_id,
            "payload": bytes(r.payload),
        }
        for r in rejects
    ]
    connection.execute(insert(tables.quarantine), rows)
    size = sum(len(r.payload) for r in rejects)
    tally.add(database, connection, {_HELD_ROWS: len(rows), _HELD_BYTES: size})
    _purge(database, connection, rows_max, bytes_max)


def find(connection: Connection, limit: int, reason: str | None, device: str | None) -> list[QuarantineRow]:
    """Return messages, newest first."""
    table = tables.quarantine
    query = select(table).order_by(table.c.id.desc()).limit(limit)
    if reason is not None:
        query = query.where(table.c.reason == reason)
    if device is not None:
        query = query.where(table.c.device == device)
    return [QuarantineRow(**_columns(r)) for r in connection.execute(query).mappings()]


def after(connection: Connection, reason: str, number: int, limit: int) -> list[QuarantineRow]:
    """Return messages kept for ``reason`` with numbers above ``number``, oldest first."""
    table = tables.quarantine
    query = select(table).where(table.c.reason == reason, table.c.id > number).order_by(table.c.id).limit(limit)
    return [QuarantineRow(**_columns(row)) for row in connection.execute(query).mappings()]


def release(database: Database, connection: Connection, numbers: Sequence[int]) -> None:
    """Let messages go that have been read after all; their place is free again."""
    table = tables.quarantine
    chosen = table.c.id.in_(numbers)
    rows, size = connection.execute(
        select(func.count(), func.coalesce(func.sum(func.length(table.c.payload)), 0)).where(chosen)
    ).one()
    connection.execute(delete(table).where(chosen))
    tally.add(database, connection, {_HELD_ROWS: -rows, _HELD_BYTES: -size})


def get(connection: Connection, number: int) -> QuarantineRow | None:
    """Return one message, None where there is none of that number (any more)."""
    found = connection.execute(select(tables.quarantine).where(tables.quarantine.c.id == number)).mappings().first()
    return None if found is None else QuarantineRow(**_columns(found))


def counts(connection: Connection) -> dict[str, int]:
    """Return how many messages are kept, by reason."""
    table = tables.quarantine
    found = connection.execute(select(table.c.reason, func.count()).group_by(table.c.reason))
    return {str(reason): int(number) for reason, number in found}


def purged(connection: Connection) -> int:
    """Return how many messages had to go because the quarantine was full."""
    return tally.read(connection).get(_PURGED, 0)


def _purge(database: Database, connection: Connection, rows_max: int, bytes_max: int) -> None:
    table = tables.quarantine
    held = tally.read(connection)
    rows, size = held.get(_HELD_ROWS, 0), held.get(_HELD_BYTES, 0)
    while rows > rows_max or size > bytes_max:
        oldest = connection.execute(
            select(table.c.id, func.length(table.c.payload)).order_by(table.c.id).limit(PURGE_ROWS)
        ).all()
        if not oldest:
            return
        gone = gone_bytes = 0
        for _, length in oldest:
            if rows - gone <= rows_max and size - gone_bytes <= bytes_max:
                break
            gone, gone_bytes = gone + 1, gone_bytes + length
        connection.execute(delete(table).where(table.c.id <= oldest[gone - 1][0]))
        rows, size = rows - gone, size - gone_bytes
        tally.add(database, connection, {_HELD_ROWS: -gone, _HELD_BYTES: -gone_bytes, _PURGED: gone})


def _columns(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a row mapping
    return {**row, "payload": bytes(row["payload"])}


def _storable(text: str) -> str:
    """Return text without what a database cannot hold: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
