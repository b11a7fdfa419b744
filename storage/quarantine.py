"""Quarantine: messages that could not be read, kept whole with their reason until a person has seen them.

A message leaves it in one of three ways: it is read after all (replayed), a person purges it, or it has to make room.
The books hold, over all reasons: set aside = held + replayed + purged + let go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, false, func, insert, select, true, update

from devices.payloads import Reject
from storage import tables, tally
from storage.database import Database
from storage.quarantine_limits import (
    BYTES_MAX,
    LET_GO,
    ROWS_MAX,
    Limits,
    booked,
    by_reason,
    let_go,
    make_room,
    newest,
    source_of,
)
from storage.records import UNKNOWN

__all__ = ["BYTES_MAX", "REFUSED", "ROWS_MAX", "Choice", "Limits", "QuarantineRow", "Still"]

REFUSED = "refused"  # reason of readings that the time-series store will never take
NUMBERS_MAX = 500  # message numbers in one choice; SQLite takes 999 values in its oldest builds
REPLAYED, PURGED = "replayed:", "quarantine_deleted:"


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """One message that could not be read.

    Attributes:
        id: its number, ascending by arrival.
        arrival_ms: host time, epoch milliseconds.
        reason: one of devices.payloads.REASONS, or ``refused``.
        detail: what exactly was wrong.
        topic, payload: as received; the topic is empty for what came back from the store.
        kind, device: as its topic says, empty where it says nothing.
        attempts: how often it was read again in vain.
        asked_ms: when somebody asked that it be read again, epoch milliseconds; None when nobody waits for that.
    """

    id: int
    arrival_ms: int
    reason: str
    detail: str
    topic: str
    kind: str
    device: str
    payload: bytes
    attempts: int = 0
    asked_ms: int | None = None

    @property
    def device_id(self) -> str:
        """Return the device id that the topic names."""
        return self.device

    @property
    def replayable(self) -> bool:
        """Return whether it came from the broker and can go the way of a message again."""
        return bool(self.topic)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which messages: all conditions that are given hold.

    Attributes:
        reason, device, kind: exactly.
        text: somewhere in the topic; upper and lower case are the same.
        since_ms, until_ms: arrived at or after the one and before the other, epoch milliseconds.
        numbers: these messages, at most NUMBERS_MAX.
        asked: those that wait to be read again.
    """

    reason: str | None = None
    device: str | None = None
    kind: str | None = None
    text: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    numbers: tuple[int, ...] | None = None
    asked: bool = False

    def where(self) -> ColumnElement[bool]:
        """Return the condition. Raises ValueError for more than NUMBERS_MAX numbers."""
        table = tables.quarantine
        if self.numbers is not None and len(self.numbers) > NUMBERS_MAX:
            raise ValueError(f"at most {NUMBERS_MAX} numbers at once")
        wanted = [
            None if self.reason is None else table.c.reason == self.reason,
            None if self.device is None else table.c.device == self.device,
            None if self.kind is None else table.c.kind == self.kind,
            None if not self.text else func.lower(table.c.topic).contains(self.text.lower(), autoescape=True),
            None if self.since_ms is None else table.c.arrival_ms >= self.since_ms,
            None if self.until_ms is None else table.c.arrival_ms < self.until_ms,
            table.c.asked_ms >= 0 if self.asked else None,  # and not "is not null", for which SQLite reads the table
            None if self.numbers is None else (table.c.id.in_(self.numbers) if self.numbers else false()),
        ]
        return and_(true(), *(condition for condition in wanted if condition is not None))


@dataclass(frozen=True, slots=True)
class Still:
    """A message that was read again in vain: its number, and what is wrong with it now."""

    id: int
    reason: str
    detail: str


def add(database: Database, connection: Connection, rejects: Sequence[Reject], limits: Limits) -> None:
    """Keep messages apart, and let others go where there are too many."""
    if not rejects:
        return
    kept, gone = newest(rejects, limits)
    if gone.rows:
        tally.add(database, connection, let_go(gone))
    sources = [source_of(r.topic, r.device_id) for r in kept]
    rows = [
        {
            "arrival_ms": r.arrival_ms,
            "reason": r.reason,
            "detail": _storable(r.detail),
            "topic": _storable(r.topic),
            "kind": r.kind,
            "device": r.device_id,
            "source": source,
            "payload": bytes(r.payload),
            "attempts": 0,
        }
        for r, source in zip(kept, sources, strict=True)
    ]
    if not rows:
        return
    connection.execute(insert(tables.quarantine), rows)
    size: Counter[str] = Counter()
    for r in kept:
        size[r.reason] += len(r.payload)
    tally.add(database, connection, booked(Counter(r.reason for r in kept), size))
    make_room(database, connection, limits, sources)


def find(connection: Connection, choice: Choice, limit: int, before: int | None = None) -> list[QuarantineRow]:
    """Return the chosen messages with numbers below ``before``, newest first."""
    table = tables.quarantine
    query = select(table).where(choice.where()).order_by(table.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(table.c.id < before)
    return [_row(found) for found in connection.execute(query).mappings()]


def after(connection: Connection, choice: Choice, number: int, limit: int) -> list[QuarantineRow]:
    """Return the chosen messages with numbers above ``number``, oldest first."""
    table = tables.quarantine
    query = select(table).where(choice.where(), table.c.id > number).order_by(table.c.id).limit(limit)
    return [_row(found) for found in connection.execute(query).mappings()]


def number_of(connection: Connection, choice: Choice) -> int:
    """Return how many messages are chosen."""
    return int(
        connection.execute(select(func.count()).select_from(tables.quarantine).where(choice.where())).scalar_one()
    )


def get(connection: Connection, number: int) -> QuarantineRow | None:
    """Return one message, None where there is none of that number (any more)."""
    found = connection.execute(select(tables.quarantine).where(tables.quarantine.c.id == number)).mappings().first()
    return None if found is None else _row(found)


def ask(connection: Connection, choice: Choice, now_ms: int) -> int:
    """Note that the chosen messages are to be read again; return how many. What never had a topic is passed over."""
    table = tables.quarantine
    wanted = and_(choice.where(), table.c.topic != "")
    done = connection.execute(update(table).where(wanted).values(asked_ms=now_ms))
    return int(done.rowcount)


def asked(connection: Connection, limit: int) -> list[QuarantineRow]:
    """Return messages that are to be read again: what was asked for first, and of that the oldest."""
    table = tables.quarantine
    query = select(table).where(Choice(asked=True).where()).order_by(table.c.asked_ms, table.c.id).limit(limit)
    return [_row(found) for found in connection.execute(query).mappings()]


def settle(database: Database, connection: Connection, read: Sequence[int], still: Sequence[Still]) -> None:
    """Write down what came of reading messages again.

    Args:
        read: numbers of messages whose readings are in the journal: they leave, and are counted as replayed. A number
            that is not there any more (purged meanwhile) is passed over.
        still: messages that stay, with what is wrong now.
    """
    table = tables.quarantine
    if read:
        chosen = table.c.id.in_(read)
        kinds = connection.execute(select(table.c.kind, func.count()).where(chosen).group_by(table.c.kind)).all()
        rows, size = _take(connection, chosen)
        changes = booked(rows, size, -1)
        for kind, number in kinds:
            changes[REPLAYED + (kind or UNKNOWN)] = int(number)
        tally.add(database, connection, changes)
    if still:
        _stay(database, connection, still)


def remove(database: Database, connection: Connection, choice: Choice) -> int:
    """Delete the chosen messages for good and count them; return how many."""
    rows, size = _take(connection, choice.where())
    purged = {PURGED + reason: number for reason, number in rows.items()}
    tally.add(database, connection, {**booked(rows, size, -1), **purged})
    return sum(rows.values())


def counts(connection: Connection) -> dict[str, int]:
    """Return how many messages are kept, by reason."""
    return {reason: held[0] for reason, held in by_reason(tally.read(connection)).items() if held[0]}


def gone(connection: Connection) -> dict[str, int]:
    """Return how many messages had to go because their device, their reason or the whole had too many, by reason."""
    return _by_name(tally.read(connection), LET_GO + ":")


def purged(connection: Connection) -> dict[str, int]:
    """Return how many messages people have purged, by reason."""
    return _by_name(tally.read(connection), PURGED)


def _take(connection: Connection, chosen: ColumnElement[bool]) -> tuple[Counter[str], Counter[str]]:
    """Delete the chosen messages; return how many and how many bytes they were, by reason."""
    table = tables.quarantine
    query = select(table.c.reason, func.count(), func.coalesce(func.sum(func.length(table.c.payload)), 0))
    found = connection.execute(query.where(chosen).group_by(table.c.reason)).all()
    connection.execute(delete(table).where(chosen))
    return Counter({str(r[0]): int(r[1]) for r in found}), Counter({str(r[0]): int(r[2]) for r in found})


def _stay(database: Database, connection: Connection, still: Sequence[Still]) -> None:
    table = tables.quarantine
    chosen = table.c.id.in_([one.id for one in still])
    query = select(table.c.id, table.c.reason, func.length(table.c.payload)).where(chosen)
    before = {int(r[0]): (str(r[1]), int(r[2])) for r in connection.execute(query)}
    old, new, old_size, new_size = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for one in still:
        if one.id in before:
            reason, length = before[one.id]
            old[reason] += 1
            old_size[reason] += length
            new[one.reason] += 1
            new_size[one.reason] += length
    tally.add(database, connection, booked(old, old_size, -1))
    tally.add(database, connection, booked(new, new_size))
    change = update(table).where(table.c.id == bindparam("number"))
    change = change.values(
        reason=bindparam("now"), detail=bindparam("why"), attempts=table.c.attempts + 1, asked_ms=None
    )
    connection.execute(change, [{"number": s.id, "now": s.reason, "why": _storable(s.detail)} for s in still])


def _by_name(numbers: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): number for name, number in numbers.items() if name.startswith(prefix)}


def _row(found: Any) -> QuarantineRow:  # noqa: ANN401 - a row mapping
    values = {name: value for name, value in found.items() if name != "source"}
    return QuarantineRow(**{**values, "payload": bytes(values["payload"])})


def _storable(text: str) -> str:
    """Return text without what a database cannot hold: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
