"""How much the quarantine holds, and who has to go when it holds too much.

Three limits, from the inside out: one device (or strange topic) has its own, one reason takes half at most, and when
the whole is full the reason that holds most makes room, so that no flood pushes out what there is little of. The oldest
go first, and whatever goes is counted by its reason.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select

from devices.payloads import Reject
from storage import tables, tally
from storage.database import Database, chunks

ROWS_MAX = 100_000  # messages kept in all
BYTES_MAX = 256 << 20  # of payload kept in all
STEP = 1000  # messages looked at in one step of making room

HELD_ROWS, HELD_BYTES, LET_GO = "quarantine_rows", "quarantine_bytes", "quarantine_purged"
Size = tuple[int, int]  # messages, bytes of payload


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes of the quarantine: messages, and bytes of payload.

    Attributes:
        rows, size: in all.
        reason_rows, reason_size: for one reason.
        source_rows, source_size: from one device, or on one topic that names no device.
    """

    rows: int = ROWS_MAX
    size: int = BYTES_MAX
    reason_rows: int = ROWS_MAX // 2
    reason_size: int = BYTES_MAX // 2
    source_rows: int = 1000
    source_size: int = 8 << 20


@dataclass(slots=True)
class Gone:
    """Messages that are not in quarantine any more, or never got there, and their bytes, by reason."""

    rows: Counter[str] = field(default_factory=Counter)
    size: Counter[str] = field(default_factory=Counter)

    def note(self, reason: str, size: int) -> None:
        """Count one message."""
        self.rows[reason] += 1
        self.size[reason] += size


def source_of(topic: str, device: str) -> str:
    """Return whom a message is counted to: the device, or where the topic names none a short mark of the topic."""
    if device or not topic:
        return device
    return "topic:" + hashlib.blake2b(topic.encode("utf-8", "backslashreplace"), digest_size=12).hexdigest()


def newest(rejects: Sequence[Reject], limits: Limits) -> tuple[list[Reject], Gone]:
    """Return the newest messages of each source that fit its limit, in order, and what need not even be written."""
    gone = Gone()
    taken: dict[str, list[int]] = {}
    kept = []
    for reject in reversed(rejects):
        held = taken.setdefault(source_of(reject.topic, reject.device_id), [0, 0])
        held[0] += 1
        held[1] += len(reject.payload)
        if held[0] > limits.source_rows or held[1] > limits.source_size:
            gone.note(reject.reason, len(reject.payload))
        else:
            kept.append(reject)
    kept.reverse()
    return kept, gone


def make_room(database: Database, connection: Connection, limits: Limits, sources: Iterable[str]) -> Gone:
    """Let the oldest messages go until all limits hold again, and count them; return what went.

    Args:
        limits: what may stay.
        sources: who has sent something just now; nobody else can be above their limit.
    """
    table = tables.quarantine
    gone = Gone()
    for source, (number, length) in _too_many(connection, limits, sources):
        over = number - limits.source_rows, length - limits.source_size
        _shrink(connection, table.c.source == source, over, gone)
    _take_off(database, connection, gone)
    held = by_reason(tally.read(connection))
    rows = min(limits.reason_rows, _share([size[0] for size in held.values()], limits.rows))
    size = min(limits.reason_size, _share([size[1] for size in held.values()], limits.size))
    part = Gone()
    for reason, (number, length) in held.items():
        _shrink(connection, table.c.reason == reason, (number - rows, length - size), part)
    _take_off(database, connection, part)
    gone.rows.update(part.rows)
    gone.size.update(part.size)
    return gone


def by_reason(numbers: Mapping[str, int]) -> dict[str, Size]:
    """Return messages and bytes held, by reason, from the books."""
    rows = {name.partition(":")[2]: n for name, n in numbers.items() if name.startswith(HELD_ROWS + ":")}
    return {reason: (n, numbers.get(f"{HELD_BYTES}:{reason}", 0)) for reason, n in rows.items()}


def booked(rows: Mapping[str, int], size: Mapping[str, int], sign: int = 1) -> dict[str, int]:
    """Return the changes to the books when messages come (1) or go (-1), by reason and in all."""
    changes = {f"{HELD_ROWS}:{reason}": sign * number for reason, number in rows.items()}
    changes |= {f"{HELD_BYTES}:{reason}": sign * number for reason, number in size.items()}
    return {**changes, HELD_ROWS: sign * sum(rows.values()), HELD_BYTES: sign * sum(size.values())}


def let_go(gone: Gone) -> dict[str, int]:
    """Return the changes to the books for messages that had to go, by reason and in all."""
    return {f"{LET_GO}:{reason}": number for reason, number in gone.rows.items()} | {LET_GO: sum(gone.rows.values())}


def _share(held: Sequence[int], limit: int) -> int:
    """Return the most that each may hold so that all together fit: who holds less than an equal part loses nothing."""
    left, count = limit, len(held)
    for size in sorted(held):
        if size > left // count:
            return left // count
        left, count = left - size, count - 1
    return limit


def _too_many(connection: Connection, limits: Limits, sources: Iterable[str]) -> list[tuple[str, Size]]:
    table = tables.quarantine
    rows, size = func.count(), func.sum(func.length(table.c.payload))
    found: list[tuple[str, Size]] = []
    for some in chunks(sorted({source for source in sources if source})):
        query = (
            select(table.c.source, rows, size)
            .where(table.c.source.in_(some))
            .group_by(table.c.source)
            .having(or_(rows > limits.source_rows, size > limits.source_size))
        )
        found += [(str(row[0]), (int(row[1]), int(row[2]))) for row in connection.execute(query)]
    return found


def _take_off(database: Database, connection: Connection, gone: Gone) -> None:
    if gone.rows:
        tally.add(database, connection, {**booked(gone.rows, gone.size, -1), **let_go(gone)})


def _shrink(connection: Connection, chosen: ColumnElement[bool], over: Size, gone: Gone) -> None:
    """Delete the oldest of the chosen until so many messages and bytes are gone, or none is left."""
    table = tables.quarantine
    rows, size = over
    while rows > 0 or size > 0:
        query = select(table.c.id, table.c.reason, func.length(table.c.payload)).where(chosen)
        oldest: Sequence[Any] = connection.execute(query.order_by(table.c.id).limit(STEP)).all()
        if not oldest:
            return
        last = 0
        for number, reason, length in oldest:
            if rows <= 0 and size <= 0:
                break
            gone.note(str(reason), int(length))
            rows, size, last = rows - 1, size - int(length), int(number)
        connection.execute(delete(table).where(and_(chosen, table.c.id <= last)))
