"""The outbox: notices that transitions owe to receivers, kept until each is delivered or given up."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from sqlalchemy import BigInteger, Connection, Select, and_, bindparam, func, or_, select, update

from devices.transition import SEVERITIES, Transition
from storage import tables
from storage.database import Database

DUE, SENT, FAILED = "due", "sent", "failed"
NEW = "new"  # owed, and nobody has decided yet how it is told: the policy's next round does (storage/policybook.py)
AHEAD_MS = 600_000  # no retry waits so long: a notice due later was decided before the clock was set back


def _due() -> Select[Any]:
    """Return the question that is asked twice a second, made once."""
    table, before = tables.outbox, tables.outbox.alias()
    now_ms, far_ms = bindparam("now_ms", type_=BigInteger), bindparam("far_ms", type_=BigInteger)
    ripe = or_(table.c.due_ms <= now_ms, table.c.due_ms > far_ms)
    same = and_(before.c.alert_id == table.c.alert_id, before.c.receiver == table.c.receiver, before.c.id < table.c.id)
    waits = and_(before.c.due_ms > now_ms, before.c.due_ms <= far_ms)
    out_of_turn = select(before.c.id).where(same, waits).exists()
    others = table.c.receiver.not_in(bindparam("without", expanding=True))
    query = select(table).where(ripe, others, ~out_of_turn)
    return query.order_by(table.c.id).limit(bindparam("most", type_=BigInteger))


_DUE = _due()


class ReceiverLike(Protocol):
    """Who is told: a name, the least severity it wants, and kinds (all, where empty)."""

    @property
    def name(self) -> str:
        """Return the receiver's name."""

    @property
    def min_severity(self) -> str:
        """Return the least severity it wants."""

    @property
    def kinds(self) -> Collection[str]:
        """Return the kinds it wants; empty means all."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One notice owed to one receiver.

    Attributes:
        id: number in the outbox.
        key: as Transition.key gives it; a receiver that sees a key twice has been told twice.
        transition: what to tell.
        receiver: name of the receiver.
        created_ms, due_ms: when it was decided, and when to try (again).
        attempts: how often it has failed.
    """

    id: int
    key: str
    transition: Transition
    receiver: str
    created_ms: int
    due_ms: int
    attempts: int

    @property
    def alert_id(self) -> str:
        """Return the alert's id."""
        return self.transition.alert_id

    @property
    def state(self) -> str:
        """Return the state that the alert came to."""
        return self.transition.state


class GivenUp(NamedTuple):
    """Notices that one receiver was not told of, and will not be.

    Attributes:
        receiver: its name.
        notices: how many.
        error: why the latest was not delivered.
    """

    receiver: str
    notices: int
    error: str


def wants(receiver: ReceiverLike, transition: Transition) -> bool:
    """Return whether a receiver is to be told of a transition."""
    grave_enough = SEVERITIES.index(transition.severity) <= SEVERITIES.index(receiver.min_severity)
    return grave_enough and (not receiver.kinds or transition.kind in receiver.kinds)


def owed(
    transition: Transition, receivers: Sequence[ReceiverLike], now_ms: int, *, undecided: bool = False
) -> list[dict[str, Any]]:
    """Return one outbox row for each receiver that wants to be told of a transition.

    Args:
        transition: what to tell.
        receivers: who may want it.
        now_ms: when it was decided.
        undecided: a policy will say how it is told; until then it is not due.
    """
    notice = notice_of(transition)
    return [
        {
            "key": transition.key(receiver.name),
            "alert_id": transition.alert_id,
            "state": transition.state,
            "receiver": receiver.name,
            "notice": notice,
            "created_ms": now_ms,
            "due_ms": None if undecided else now_ms,
            "attempts": 0,
            "status": NEW if undecided else DUE,
            "error": "",
        }
        for receiver in receivers
        if wants(receiver, transition)
    ]


def add(database: Database, connection: Connection, notices: Sequence[dict[str, Any]]) -> None:
    """Put notices into the outbox; a key that stands there already is left alone."""
    if notices:
        connection.execute(database.insert(tables.outbox, conflict="key"), list(notices))


def due(connection: Connection, now_ms: int, limit: int, without: Collection[str] = ()) -> list[OutboxRow]:
    """Return the notices to try now, oldest decision first, of all receivers but ``without``.

    That an alert is over is not told while its beginning waits for another try: the beginning would come last.
    """
    about = {"now_ms": now_ms, "far_ms": now_ms + AHEAD_MS, "most": limit, "without": list(without)}
    found = connection.execute(_DUE, about).mappings()
    return [
        OutboxRow(
            r["id"], r["key"], transition_of(r["notice"]), r["receiver"], r["created_ms"], r["due_ms"], r["attempts"]
        )
        for r in found
    ]


def settle(connection: Connection, number: int, now_ms: int, retry_at_ms: int | None, error: str | None) -> None:
    """Write down how an attempt went: sent where ``error`` is None, tried again later, or given up."""
    table = tables.outbox
    values: dict[str, Any] = {"attempts": table.c.attempts + 1, "error": error or ""}
    if error is None:
        values |= {"status": SENT, "sent_ms": now_ms, "due_ms": None}
    elif retry_at_ms is None:
        values |= {"status": FAILED, "due_ms": None}
    else:
        values |= {"due_ms": retry_at_ms}
    connection.execute(update(table).where(table.c.id == number, table.c.status == DUE).values(values))


def pass_on(database: Database, connection: Connection, number: int, receiver: str, now_ms: int) -> None:
    """Owe a notice to another receiver too; one who is owed it anyway is not told twice."""
    table = tables.outbox
    row = connection.execute(select(table).where(table.c.id == number)).mappings().one()
    fresh = {name: row[name] for name in ("alert_id", "state", "notice")}
    key = transition_of(row["notice"]).key(receiver)
    state = {"created_ms": now_ms, "due_ms": now_ms, "attempts": 0, "status": DUE, "error": ""}
    add(database, connection, [{"key": key, "receiver": receiver, **fresh, **state}])


def given_up(connection: Connection, since_ms: int) -> list[GivenUp]:
    """Return by receiver what was decided since then and given up, the latest last."""
    table = tables.outbox
    latest = (
        select(table.c.receiver, func.count().label("notices"), func.max(table.c.id).label("id"))
        .where(table.c.status == FAILED, table.c.created_ms >= since_ms)
        .group_by(table.c.receiver)
        .subquery()
    )
    joined = select(table.c.receiver, latest.c.notices, table.c.error).join(latest, latest.c.id == table.c.id)
    return [GivenUp(*row) for row in connection.execute(joined.order_by(table.c.id))]


def counts(connection: Connection) -> dict[str, int]:
    """Return how many notices are due (nobody has decided on some of them), sent, failed, and held or gathered."""
    table = tables.outbox
    found = dict.fromkeys((DUE, SENT, FAILED), 0)
    for status, number in connection.execute(select(table.c.status, func.count()).group_by(table.c.status)):
        word = DUE if status == NEW else status
        found[word] = found.get(word, 0) + number
    return found


def sent_by_rule(connection: Connection) -> dict[str, int]:
    """Return how many notices were delivered, by the rule that they tell of."""
    box, book = tables.outbox, tables.alerts
    joined = select(book.c.rule, func.count()).join_from(box, book, box.c.alert_id == book.c.id)
    found = connection.execute(joined.where(box.c.status == SENT).group_by(book.c.rule))
    return {row[0]: row[1] for row in found}


def transition_of(notice: Mapping[str, Any]) -> Transition:
    """Return the transition that a notice tells of."""
    place = {name: math.nan if notice[name] is None else notice[name] for name in ("lon", "lat")}
    return Transition(**{**notice, **place})


def notice_of(transition: Transition) -> dict[str, Any]:
    """Return a transition in the form in which the outbox keeps it."""
    notice: dict[str, Any] = {name: getattr(transition, name) for name in Transition.__slots__}
    notice["values"] = finite(transition.values)
    for name in ("lon", "lat"):
        notice[name] = None if math.isnan(notice[name]) else notice[name]
    return notice


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values that are numbers; JSON has no others."""
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}
