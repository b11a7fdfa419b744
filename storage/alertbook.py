"""Alerts in the operations database, from onset to clear; each transition is written down once with its notices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, insert, select, update

from devices.transition import ACTIVE, CLEARED, Transition
from storage import outbox, tables
from storage.database import Database, chunks
from storage.outbox import ReceiverLike, finite

ACKNOWLEDGED = "acknowledged"
OPEN = "open"  # asks for active and acknowledged alerts together


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert as the operations database holds it; times are epoch milliseconds, None where not yet.

    Attributes:
        id: the alert's id.
        rule, entity, kind, district, severity: as its transition said.
        state: ``active``, ``acknowledged`` or ``cleared``.
        onset_ms: when the condition first held.
        active_ms, acknowledged_ms, cleared_ms: when it came to each state.
        acknowledged_by, note: who took it, and what they said.
        reason: why it cleared.
        message: by language; of a cleared alert, how it began.
        cleared_message: by language, how it ended; empty before.
        values: the numbers behind its latest transition.
        lon, lat: degrees, NaN where unknown.
        incident: id of the incident that it belongs to; empty for none.
        suppressed_by: id of the alert that explains it; empty where it stands for itself.
    """

    id: str
    rule: str
    entity: str
    kind: str
    district: str
    severity: str
    state: str
    onset_ms: int
    active_ms: int | None
    acknowledged_ms: int | None
    acknowledged_by: str | None
    note: str | None
    cleared_ms: int | None
    reason: str
    message: dict[str, str]
    cleared_message: dict[str, str]
    values: dict[str, float]
    lon: float
    lat: float
    incident: str = ""
    suppressed_by: str = ""

    @property
    def alert_id(self) -> str:
        """Return the alert's id."""
        return self.id

    @property
    def message_en(self) -> str:
        """Return the message in English."""
        return self.message.get("en", "")

    @property
    def begun_ms(self) -> int:
        """Return the time by which alerts are ordered and paged."""
        return self.active_ms if self.active_ms is not None else self.cleared_ms or self.onset_ms


@dataclass(slots=True)
class _Changes:
    known: dict[str, dict[str, Any]]
    added: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)
    notices: list[dict[str, Any]] = field(default_factory=list)


def commit(
    database: Database,
    connection: Connection,
    transitions: Sequence[Transition],
    receivers: Sequence[ReceiverLike],
    now_ms: int,
) -> list[AlertRow]:
    """Write transitions down with a notice for each receiver that wants them; return the alerts that are news.

    A transition that is known already changes nothing and owes nothing, so that judging a journal again is harmless.
    """
    changes = _Changes(_known(connection, [t.alert_id for t in transitions]))
    for transition in transitions:
        if _apply(changes, transition):
            changes.notices.extend(outbox.owed(transition, receivers, now_ms))
    if changes.added:
        connection.execute(insert(tables.alerts), list(changes.added.values()))
    if changes.changed:
        columns = ("state", "cleared_ms", "reason", "values", "cleared_message")
        statement = update(tables.alerts).where(tables.alerts.c.id == bindparam("known_id"))
        rows = [{"known_id": r["id"], **{c: r[c] for c in columns}} for r in changes.changed.values()]
        connection.execute(statement, rows)
    outbox.add(database, connection, changes.notices)
    return [alert_row(r) for r in [*changes.added.values(), *changes.changed.values()]]


def find(
    connection: Connection,
    *,
    state: str | None,
    rule: str | None,
    kind: str | None,
    entity: str | None,
    limit: int,
    before_ms: int | None,
) -> list[AlertRow]:
    """Return alerts, newest first."""
    table = tables.alerts
    where: list[ColumnElement[bool]] = []
    if state == OPEN:
        where.append(table.c.state.in_((ACTIVE, ACKNOWLEDGED)))
    elif state is not None:
        where.append(table.c.state == state)
    for column, wanted in ((table.c.rule, rule), (table.c.kind, kind), (table.c.entity, entity)):
        if wanted is not None:
            where.append(column == wanted)
    if before_ms is not None:
        where.append(table.c.begun_ms < before_ms)
    query = select(table).where(*where).order_by(table.c.begun_ms.desc(), table.c.id).limit(limit)
    return [alert_row(dict(r)) for r in connection.execute(query).mappings()]


def get(connection: Connection, alert_id: str) -> AlertRow | None:
    """Return one alert, None where there is none of that id."""
    found = connection.execute(select(tables.alerts).where(tables.alerts.c.id == alert_id)).mappings().first()
    return None if found is None else alert_row(dict(found))


def acknowledge(connection: Connection, alert_id: str, who: str, note: str, now_ms: int) -> AlertRow | None:
    """Take an active alert over; one that is acknowledged or cleared already stays as it is."""
    table = tables.alerts
    connection.execute(
        update(table)
        .where(table.c.id == alert_id, table.c.state == ACTIVE)
        .values(state=ACKNOWLEDGED, acknowledged_ms=now_ms, acknowledged_by=who, note=note)
    )
    return get(connection, alert_id)


def alert_row(columns: dict[str, Any]) -> AlertRow:
    """Return a row of the table as an AlertRow."""
    columns = {name: value for name, value in columns.items() if name != "begun_ms"}
    columns["cleared_message"] = columns["cleared_message"] or {}
    for name in ("lon", "lat"):
        columns[name] = math.nan if columns[name] is None else columns[name]
    return AlertRow(**columns)


def _known(connection: Connection, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for part in chunks(list(dict.fromkeys(ids))):
        for row in connection.execute(select(tables.alerts).where(tables.alerts.c.id.in_(part))).mappings():
            found[row["id"]] = dict(row)
    return found


def _apply(changes: _Changes, transition: Transition) -> bool:
    """Bring the alert to the transition's state; False where it has been there already."""
    row = changes.known.get(transition.alert_id)
    if transition.state == ACTIVE:
        if row is not None:
            return False
        changes.known[transition.alert_id] = changes.added[transition.alert_id] = _new_row(transition)
        return True
    if row is None:
        row = changes.known[transition.alert_id] = changes.added[transition.alert_id] = _new_row(transition)
    elif row["state"] == CLEARED:
        return False
    elif transition.alert_id not in changes.added:
        changes.changed[transition.alert_id] = row
    row["state"], row["cleared_ms"], row["reason"] = CLEARED, transition.at_ms, transition.reason
    row["values"], row["cleared_message"] = finite(transition.values), dict(transition.message)
    return True


def _new_row(transition: Transition) -> dict[str, Any]:
    active = transition.state == ACTIVE
    return {
        "id": transition.alert_id,
        "rule": transition.rule,
        "entity": transition.entity,
        "kind": transition.kind,
        "district": transition.district,
        "severity": transition.severity,
        "state": transition.state,
        "onset_ms": transition.onset_ms,
        "active_ms": transition.at_ms if active else None,
        "acknowledged_ms": None,
        "acknowledged_by": None,
        "note": None,
        "cleared_ms": None if active else transition.at_ms,
        "reason": transition.reason,
        "message": dict(transition.message),
        "cleared_message": None,
        "values": finite(transition.values),
        "lon": None if math.isnan(transition.lon) else transition.lon,
        "lat": None if math.isnan(transition.lat) else transition.lat,
        "begun_ms": transition.at_ms,
        "incident": transition.incident,
        "suppressed_by": transition.suppressed_by,
    }
