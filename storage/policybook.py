"""What operators say of alerts, and how notices are told: silences, shelves, resets, the chain, and who did what.

One writer decides on notices, the policy's round (lamplighter/policy_desk.py); people and programs write the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from devices.transition import ACTIVE, Transition
from storage import alertbook, outbox, tables
from storage.alertbook import LATCHED, AlertRow
from storage.database import CHUNK, Database
from storage.outbox import DUE, NEW
from storage.policylooks import PolicyLooks
from storage.policyrows import GATHERED, HELD, SUMMED, AuditRow, QuietRow, Verdict


class PolicyBook(PolicyLooks):
    """The policy's part of one operations database. Every method is one transaction, as those of Operations are."""

    # What people do.

    def quiets(self, now_ms: int | None = None) -> list[QuietRow]:
        """Return silences and windows that have not ended by ``now_ms``, or the latest thousand of all."""
        table = tables.quiets
        query = select(table).order_by(table.c.id.desc()).limit(1000)
        if now_ms is not None:
            query = query.where(table.c.until_ms > now_ms)
        with self._database.reading() as connection:
            return [QuietRow(**row) for row in connection.execute(query).mappings()]

    def add_quiet(
        self, sort: str, matchers: Mapping[str, str], from_ms: int, until_ms: int, who: str, why: str, now_ms: int
    ) -> QuietRow:
        """Write down a silence or a maintenance window."""
        values = {"sort": sort, "matchers": dict(matchers), "from_ms": from_ms, "until_ms": until_ms, "who": who}
        values |= {"why": why, "created_ms": now_ms, "ended_by": ""}
        table = tables.quiets
        with self._database.writing() as connection:
            number = connection.execute(table.insert().values(**values).returning(table.c.id)).scalar_one()
            _note(connection, now_ms, who, sort, f"{sort}:{number}", {**values, "matchers": dict(matchers)})
        return QuietRow(id=number, **values)  # type: ignore[arg-type]

    def end_quiet(self, number: int, sort: str, who: str, now_ms: int) -> QuietRow | None:
        """End a silence or window now; None where there is none of that number that holds or will."""
        table = tables.quiets
        with self._database.writing() as connection:
            here = (table.c.id == number, table.c.sort == sort)
            connection.execute(
                update(table).where(*here, table.c.until_ms > now_ms).values(until_ms=now_ms, ended_by=who)
            )
            found = connection.execute(select(table).where(*here)).mappings().first()
            if found is None or found["ended_by"] != who or found["until_ms"] != now_ms:
                return None
            _note(connection, now_ms, who, f"{sort}_end", f"{sort}:{number}", {})
            return QuietRow(**found)

    def shelve(self, alert_id: str, until_ms: int, who: str, why: str, now_ms: int) -> AlertRow | None:
        """Put an alert aside until then; None where it is not there or over."""
        with self._database.writing() as connection:
            row = alertbook.get(connection, alert_id)
            if row is None or row.state not in (*_OPEN, LATCHED):
                return None
            values = {"shelved_until_ms": until_ms, "shelved_by": who, "shelved_why": why}
            _put(self._database, connection, alert_id, values)
            _note(connection, now_ms, who, "shelve", f"alert:{alert_id}", {"until_ms": until_ms, "why": why})
            return alertbook.get(connection, alert_id)

    def unshelve(self, alert_id: str, who: str, now_ms: int) -> AlertRow | None:
        """Take an alert out again; None where it was not shelved."""
        with self._database.writing() as connection:
            row = alertbook.get(connection, alert_id)
            if row is None or not row.policy.shelved(now_ms):
                return None
            _put(self._database, connection, alert_id, {"shelved_until_ms": now_ms})
            _note(connection, now_ms, who, "unshelve", f"alert:{alert_id}", {})
            return alertbook.get(connection, alert_id)

    def reset(self, alert_id: str, who: str, why: str, now_ms: int) -> AlertRow | None:
        """Let a latched alert go; None where it is not latched."""
        table = tables.alerts
        with self._database.writing() as connection:
            changed = connection.execute(
                update(table).where(table.c.id == alert_id, table.c.state == LATCHED).values(state="cleared")
            )
            if not changed.rowcount:
                return None
            _put(self._database, connection, alert_id, {"reset_ms": now_ms, "reset_by": who, "chain_ms": None})
            _note(connection, now_ms, who, "reset", f"alert:{alert_id}", {"why": why})
            return alertbook.get(connection, alert_id)

    def note(self, who: str, what: str, subject: str, detail: Mapping[str, Any], now_ms: int) -> None:
        """Add a line to the audit trail."""
        with self._database.writing() as connection:
            _note(connection, now_ms, who, what, subject, detail)

    def audit(self, limit: int = 100, subject: str = "", before: int | None = None) -> list[AuditRow]:
        """Return who did what, newest first; ``subject`` as ``alert:…`` or ``silence:3`` for that one alone."""
        table = tables.audit
        query = select(table).order_by(table.c.id.desc()).limit(limit)
        if subject:
            query = query.where(table.c.subject == subject)
        if before is not None:
            query = query.where(table.c.id < before)
        with self._database.reading() as connection:
            return [AuditRow(**row) for row in connection.execute(query).mappings()]

    def state(self) -> dict[str, str]:
        """Return what is remembered by name: the warning level, profiles, floods, who is on duty."""
        with self._database.reading() as connection:
            return {row.name: row.value for row in connection.execute(select(tables.policy_state))}

    def put_state(self, name: str, value: str, who: str, now_ms: int) -> None:
        """Remember a word that a person gave, such as the warning level."""
        with self._database.writing() as connection:
            _put_state(self._database, connection, {name: value}, who, now_ms)
            _note(connection, now_ms, who, name, name, {"value": value})

    # What the round writes.

    def write(self, verdict: Verdict, now_ms: int) -> None:
        """Write a round's verdict down in one transaction."""
        box = tables.outbox
        with self._database.writing() as connection:
            for (status, why), numbers in _alike(verdict.changed).items():
                values: dict[str, Any] = {"status": status, "error": why, "due_ms": now_ms if status == DUE else None}
                if status in (DUE, GATHERED):
                    values["created_ms"] = now_ms  # what was held for long is not given up for its age
                for part in _parts(numbers):
                    undecided = box.c.id.in_(part) & box.c.status.in_((NEW, HELD))
                    connection.execute(update(box).where(undecided).values(values))
            rows = [_row(*one, now_ms) for one in verdict.owed]
            outbox.add(self._database, connection, rows)
            for gathered, key in verdict.summed:
                for part in _parts(gathered):
                    connection.execute(update(box).where(box.c.id.in_(part)).values(status=SUMMED, error=key))
            chains = {name: {"chain": label, "chain_ms": due_ms} for name, label, due_ms in verdict.chains}
            marks = {name: {"marks": " ".join(words)} for name, words in verdict.marks.items()}
            _put_all(self._database, connection, {name: {"told_ms": now_ms} for name in verdict.told})
            _put_all(self._database, connection, chains)
            _put_all(self._database, connection, {name: {"shelved_until_ms": None} for name in verdict.unshelved})
            _put_all(self._database, connection, marks)
            _write_flaps(self._database, connection, verdict)
            _put_state(self._database, connection, verdict.state, "", now_ms)


_OPEN = (ACTIVE, "acknowledged")


def _write_flaps(database: Database, connection: Connection, verdict: Verdict) -> None:
    table = tables.flaps
    for one in verdict.flaps:
        values = {"rule": one.rule, "entity": one.entity, "since_ms": one.since_ms, "percent": one.percent}
        put = database.insert(table, update=("since_ms", "percent"), conflict="name")
        connection.execute(put, [{"name": f"{one.rule}|{one.entity}", **values}])
    for rule, entity in verdict.steady:
        connection.execute(table.delete().where(table.c.name == f"{rule}|{entity}"))


def _row(transition: Transition, receiver: str, status: str, why: str, now_ms: int) -> dict[str, Any]:
    return {
        "key": transition.key(receiver),
        "alert_id": transition.alert_id,
        "state": transition.state,
        "receiver": receiver,
        "notice": outbox.notice_of(transition),
        "created_ms": now_ms,
        "due_ms": now_ms if status == DUE else None,
        "attempts": 0,
        "status": status,
        "error": why,
    }


def _alike(changed: Sequence[tuple[int, str, str]]) -> dict[tuple[str, str], list[int]]:
    """Return the numbers of notices by what becomes of them."""
    out: dict[tuple[str, str], list[int]] = {}
    for number, status, why in changed:
        out.setdefault((status, why), []).append(number)
    return out


def _parts(numbers: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(numbers), CHUNK):
        yield list(numbers[start : start + CHUNK])


def _put(database: Database, connection: Connection, alert_id: str, values: Mapping[str, Any]) -> None:
    _put_all(database, connection, {alert_id: values})


def _put_all(database: Database, connection: Connection, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Set the same columns of many alerts' marks."""
    if values:
        columns = tuple(next(iter(values.values())))
        put = database.insert(tables.alert_marks, update=columns, conflict="alert_id")
        connection.execute(put, [{"alert_id": name, **row} for name, row in values.items()])


def _put_state(database: Database, connection: Connection, state: Mapping[str, str], who: str, now_ms: int) -> None:
    rows = [{"name": name, "value": value, "at_ms": now_ms, "who": who} for name, value in state.items()]
    if rows:
        put = database.insert(tables.policy_state, update=("value", "at_ms", "who"), conflict="name")
        connection.execute(put, rows)


def _note(connection: Connection, now_ms: int, who: str, what: str, subject: str, detail: Mapping[str, Any]) -> None:
    row = {"at_ms": now_ms, "who": who, "what": what, "subject": subject, "detail": dict(detail)}
    connection.execute(tables.audit.insert().values(**row))
