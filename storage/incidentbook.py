"""Incidents in the operations database: what each is, who took it on, and the notices that it owes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, insert, select, update

from devices.incident import IncidentChange, Mark
from devices.transition import ACTIVE, CLEARED, Transition
from storage import tables
from storage.database import chunks

ACKNOWLEDGED = "acknowledged"
OPEN = "open"  # asks for active and acknowledged incidents together
_KEPT = ("acknowledged_ms", "acknowledged_by", "note")  # what people have said, which no change takes back
_CHANGED = (
    "severity", "state", "opened_ms", "told_ms", "closed_ms", "reason", "alerts", "suppressed", "devices", "notices",
    "message",
)  # fmt: skip
Owe = Callable[[Transition], None]


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """One incident as the operations database holds it; times are epoch milliseconds, None where not yet.

    Attributes:
        id: of the alert that leads it.
        cause: id of the leading alert's rule, or the cause that was found.
        node: the leading alert's entity.
        kind, district, keeper, severity: where it is, whose work, how grave at most.
        state: ``active``, ``acknowledged`` or ``cleared``.
        onset_ms: when the leading alert's condition first held.
        opened_ms, told_ms, closed_ms, acknowledged_ms: when it was opened, first told, over, taken on.
        acknowledged_by, note: who took it on, and what they said.
        reason: why it is over.
        alerts, suppressed, devices: how many alerts it gathered, how many of these others explain, devices concerned.
        notices: worth telling so far, whoever was told.
        message: by language.
        lon, lat: degrees, NaN where unknown.
    """

    id: str
    cause: str
    node: str
    kind: str
    district: str
    keeper: str
    severity: str
    state: str
    onset_ms: int
    opened_ms: int
    told_ms: int | None
    closed_ms: int | None
    acknowledged_ms: int | None
    acknowledged_by: str | None
    note: str | None
    reason: str
    alerts: int
    suppressed: int
    devices: int
    notices: int
    message: dict[str, str]
    lon: float
    lat: float

    def as_change(self) -> IncidentChange:
        """Return it as the stage that made it knows it, as of now."""
        return IncidentChange(
            self.id, self.cause, self.node, self.kind, self.district, self.keeper, self.severity,
            self.state != CLEARED, self.onset_ms, self.opened_ms, self.closed_ms or self.opened_ms,
            self.told_ms is not None, self.alerts, self.suppressed, self.devices, dict(self.message),
            self.lon, self.lat, self.reason,
        )  # fmt: skip


def commit(connection: Connection, changes: Sequence[IncidentChange], owe: Owe) -> None:
    """Write incidents down and owe their notices; what is known already changes nothing and owes nothing.

    Args:
        connection: of the transaction in which the alerts are written down.
        changes: in order.
        owe: puts one notice into the outbox for whoever is to be told.
    """
    known = _known(connection, [one.id for one in changes])
    added: dict[str, dict[str, Any]] = {}
    changed: dict[str, dict[str, Any]] = {}
    for one in changes:
        row = known.get(one.id)
        if row is not None and _passed(one, row):
            continue  # judged again after a crash
        turn = row["notices"] if row is not None else 0
        if _owed(one, row, turn):
            assert one.notice is not None  # noqa: S101 - as _owed has looked
            owe(one.notice)
        known[one.id] = _row(one, row)
        (added if row is None or one.id in added else changed)[one.id] = known[one.id]
    if added:
        connection.execute(insert(tables.incidents), list(added.values()))
    if changed:
        statement = update(tables.incidents).where(tables.incidents.c.id == bindparam("known_id"))
        rows = [{"known_id": row["id"], **{name: row[name] for name in _CHANGED}} for row in changed.values()]
        connection.execute(statement, rows)


def _passed(change: IncidentChange, row: dict[str, Any]) -> bool:
    """Return whether an incident is beyond a change; one that was merged into another may open a second time."""
    if row["state"] == CLEARED:
        return not (change.is_open and change.opened_ms > (row["closed_ms"] or 0))
    return bool(change.opened_ms < row["opened_ms"])


def _owed(change: IncidentChange, row: dict[str, Any] | None, turn: int) -> bool:
    """Return whether a change is to be told: not what was told before, nor that it lasts once somebody works on it."""
    notice = change.notice
    if notice is None:
        return False
    taken = row is not None and row["acknowledged_ms"] is not None
    if change.again and taken:
        return False
    return notice.state == CLEARED or max(notice.turn, 1) > turn


def _row(change: IncidentChange, before: dict[str, Any] | None) -> dict[str, Any]:
    notices = before["notices"] if before is not None else 0
    told_ms = before["told_ms"] if before is not None else None
    if change.notice is not None and change.notice.state == ACTIVE:
        notices = max(notices, change.notice.turn, 1)
        told_ms = told_ms if told_ms is not None else change.at_ms
    state = CLEARED
    if change.is_open:
        state = before["state"] if before is not None and before["state"] != CLEARED else ACTIVE
    return {
        "id": change.id,
        "cause": change.cause,
        "node": change.node,
        "kind": change.kind,
        "district": change.district,
        "keeper": change.keeper,
        "severity": change.severity,
        "state": state,
        "onset_ms": change.onset_ms,
        "opened_ms": change.opened_ms,
        "told_ms": told_ms,
        "closed_ms": None if change.is_open else change.at_ms,
        **{name: before[name] if before is not None else None for name in _KEPT},
        "reason": change.reason,
        "alerts": change.alerts,
        "suppressed": change.suppressed,
        "devices": change.devices,
        "notices": notices,
        "message": dict(change.message),
        "lon": None if math.isnan(change.lon) else change.lon,
        "lat": None if math.isnan(change.lat) else change.lat,
    }


def _known(connection: Connection, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    table, found = tables.incidents, {}
    for part in chunks(list(dict.fromkeys(ids))):
        for row in connection.execute(select(table).where(table.c.id.in_(part))).mappings():
            found[row["id"]] = dict(row)
    return found


def told(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Return which of these incidents people were told of."""
    return {name for name, row in _known(connection, ids).items() if row["told_ms"] is not None}


def mark(connection: Connection, marks: Sequence[Mark]) -> None:
    """Write down which incident alerts belong to now, and what explains them."""
    if marks:
        table = tables.alerts
        statement = update(table).where(table.c.id == bindparam("known_id"))
        statement = statement.values(incident=bindparam("to"), suppressed_by=bindparam("by"))
        connection.execute(
            statement, [{"known_id": m.alert_id, "to": m.incident, "by": m.suppressed_by} for m in marks]
        )


def find(connection: Connection, *, state: str | None, limit: int, before_ms: int | None) -> list[IncidentRow]:
    """Return incidents, newest first; ``state`` may also be ``open``: active or acknowledged."""
    table = tables.incidents
    where: list[ColumnElement[bool]] = []
    if state == OPEN:
        where.append(table.c.state.in_((ACTIVE, ACKNOWLEDGED)))
    elif state is not None:
        where.append(table.c.state == state)
    if before_ms is not None:
        where.append(table.c.opened_ms < before_ms)
    query = select(table).where(*where).order_by(table.c.opened_ms.desc(), table.c.id).limit(limit)
    return [_as_row(dict(r)) for r in connection.execute(query).mappings()]


def get(connection: Connection, incident_id: str) -> IncidentRow | None:
    """Return one incident, None where there is none of that id."""
    found = _known(connection, [incident_id]).get(incident_id)
    return None if found is None else _as_row(found)


def acknowledge(connection: Connection, incident_id: str, who: str, note: str, now_ms: int) -> list[str]:
    """Take an active incident on with all its alerts that nobody has taken on; return the ids of those alerts."""
    said = {"state": ACKNOWLEDGED, "acknowledged_ms": now_ms, "acknowledged_by": who, "note": note}
    table, book = tables.incidents, tables.alerts
    found = connection.execute(
        update(table).where(table.c.id == incident_id, table.c.state == ACTIVE).values(**said)
    ).rowcount
    if not found:
        return []
    mine = [book.c.incident == incident_id, book.c.state == ACTIVE]
    ids = [row[0] for row in connection.execute(select(book.c.id).where(*mine))]
    connection.execute(update(book).where(*mine).values(**said))
    return ids


def counts(connection: Connection) -> tuple[dict[str, int], int]:
    """Return how many incidents are open by severity, and how many open alerts others explain."""
    table, book = tables.incidents, tables.alerts
    open_ = table.c.state.in_((ACTIVE, ACKNOWLEDGED))
    grouped = select(table.c.severity, func.count()).where(open_).group_by(table.c.severity)
    found = {row[0]: int(row[1]) for row in connection.execute(grouped)}
    explained = select(func.count()).where(book.c.state.in_((ACTIVE, ACKNOWLEDGED)), book.c.suppressed_by != "")
    return found, int(connection.execute(explained).scalar() or 0)


def notices_by_cause(connection: Connection) -> dict[str, int]:
    """Return how many beginnings, changes and ends were worth telling, by cause."""
    table = tables.incidents
    grouped = select(table.c.cause, func.sum(table.c.notices)).group_by(table.c.cause)
    return {row[0]: int(row[1] or 0) for row in connection.execute(grouped)}


def _as_row(columns: dict[str, Any]) -> IncidentRow:
    for name in ("lon", "lat"):
        columns[name] = math.nan if columns[name] is None else columns[name]
    return IncidentRow(**columns)
