"""Alerts in the operations database, from onset to clear; each transition is written down once with its notices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, insert, select, update

from devices.incident import IncidentChange, Mark
from devices.transition import ACTIVE, CLEARED, Transition
from storage import incidentbook, outbox, tables
from storage.database import Database, chunks
from storage.outbox import ReceiverLike, finite

ACKNOWLEDGED = "acknowledged"
LATCHED = "latched"  # its condition has ended, and a person must reset it
OPEN = "open"  # asks for active and acknowledged alerts together: those that the engine knows
STANDING = "standing"  # asks for these and the latched ones: those that a person must do something about
_ASKED = {OPEN: (ACTIVE, ACKNOWLEDGED), STANDING: (ACTIVE, ACKNOWLEDGED, LATCHED)}


@dataclass(frozen=True, slots=True)
class Marks:
    """What operators and policy have added to an alert.

    Attributes:
        marks: ``silenced``, ``out_of_service``, ``flapping``.
        shelved_until_ms, shelved_by, shelved_why: put aside until then; None and empty for not shelved.
        reset_ms, reset_by: when a latched alert was reset, and by whom.
        told_ms: when its beginning first went to anybody, None for not.
    """

    marks: tuple[str, ...] = ()
    shelved_until_ms: int | None = None
    shelved_by: str = ""
    shelved_why: str = ""
    reset_ms: int | None = None
    reset_by: str = ""
    told_ms: int | None = None

    def shelved(self, now_ms: int) -> bool:
        """Return whether the alert is put aside now."""
        return self.shelved_until_ms is not None and now_ms < self.shelved_until_ms


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert as the operations database holds it; times are epoch milliseconds, None where not yet.

    Attributes:
        id: the alert's id.
        rule, entity, kind, district, severity: as its transition said.
        state: ``active``, ``acknowledged``, ``latched`` or ``cleared``.
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
        policy: what operators and policy have added.
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
    policy: Marks = Marks()

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


_MARKS = tuple(Marks.__slots__)


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
    *,
    marks: Sequence[Mark] = (),
    incidents: Sequence[IncidentChange] = (),
    undecided: bool = False,
) -> list[AlertRow]:
    """Write transitions down with a notice for each receiver that wants them; return the alerts that are news.

    An alert that belongs to an incident tells nothing itself: its incident does. With ``undecided`` a policy says
    afterwards how notices are told.

    A transition that is known already changes nothing and owes nothing, so that judging a journal again is harmless.
    """
    changes = _Changes(_known(connection, [t.alert_id for t in transitions]))
    before = {name: (row["incident"], row["suppressed_by"]) for name, row in changes.known.items()}

    def owe(notice: Transition) -> None:
        changes.notices.extend(outbox.owed(notice, receivers, now_ms, undecided=undecided))

    told = incidentbook.told(connection, [before[t.alert_id][0] for t in transitions if t.alert_id in before])
    for transition in transitions:
        incident, explained = before.get(transition.alert_id, ("", ""))
        for_itself = not transition.incident and (not incident or (incident in told and not explained))
        if _apply(changes, transition) and for_itself:
            owe(transition)
    _supersede(connection, changes, [t for t in transitions if t.latch and t.alert_id in changes.added])
    if changes.added:
        connection.execute(insert(tables.alerts), list(changes.added.values()))
    if changes.changed:
        columns = ("state", "cleared_ms", "reason", "values", "cleared_message", "incident", "suppressed_by")
        statement = update(tables.alerts).where(tables.alerts.c.id == bindparam("known_id"))
        rows = [{"known_id": r["id"], **{c: r[c] for c in columns}} for r in changes.changed.values()]
        connection.execute(statement, rows)
    incidentbook.mark(connection, marks)
    incidentbook.commit(connection, incidents, owe)
    outbox.add(database, connection, changes.notices)
    news = {**changes.added, **changes.changed, **_known(connection, [one.alert_id for one in marks])}
    return [alert_row(r) for r in news.values()]


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
    if state in _ASKED:
        where.append(table.c.state.in_(_ASKED[state]))
    elif state is not None:
        where.append(table.c.state == state)
    for column, wanted in ((table.c.rule, rule), (table.c.kind, kind), (table.c.entity, entity)):
        if wanted is not None:
            where.append(column == wanted)
    if before_ms is not None:
        where.append(table.c.begun_ms < before_ms)
    query = _marked().where(*where).order_by(table.c.begun_ms.desc(), table.c.id).limit(limit)
    return [alert_row(dict(r)) for r in connection.execute(query).mappings()]


def get(connection: Connection, alert_id: str) -> AlertRow | None:
    """Return one alert, None where there is none of that id."""
    found = connection.execute(_marked().where(tables.alerts.c.id == alert_id)).mappings().first()
    return None if found is None else alert_row(dict(found))


def of_incident(connection: Connection, incident_id: str, limit: int) -> list[AlertRow]:
    """Return the alerts of an incident, those that stand for themselves first, then the newest."""
    table = tables.alerts
    query = _marked().where(table.c.incident == incident_id)
    query = query.order_by(table.c.suppressed_by != "", table.c.begun_ms.desc(), table.c.id).limit(limit)
    return [alert_row(dict(r)) for r in connection.execute(query).mappings()]


def acknowledge(connection: Connection, alert_id: str, who: str, note: str, now_ms: int) -> AlertRow | None:
    """Take an active alert over; one that is acknowledged or cleared already stays as it is."""
    table = tables.alerts
    connection.execute(
        update(table)
        .where(table.c.id == alert_id, table.c.state == ACTIVE)
        .values(state=ACKNOWLEDGED, acknowledged_ms=now_ms, acknowledged_by=who, note=note)
    )
    return get(connection, alert_id)


def heads(connection: Connection, incidents: Sequence[str]) -> list[AlertRow]:
    """Return the standing alerts of these incidents that nothing explains; as many as fit an IN list."""
    table = tables.alerts
    query = _marked().where(table.c.incident.in_(incidents), table.c.state.in_(_ASKED[STANDING]))
    found = connection.execute(query.where(table.c.suppressed_by == "").order_by(table.c.id)).mappings()
    return [alert_row(dict(row)) for row in found]


def get_many(connection: Connection, ids: Sequence[str]) -> dict[str, AlertRow]:
    """Return alerts by id; those that are not there are left out."""
    found: dict[str, AlertRow] = {}
    for part in chunks(list(dict.fromkeys(ids))):
        for row in connection.execute(_marked().where(tables.alerts.c.id.in_(part))).mappings():
            found[row["id"]] = alert_row(dict(row))
    return found


def _marked() -> Select[Any]:
    """Return the question for alerts together with what operators and policy have added to them."""
    marks = tables.alert_marks
    return select(tables.alerts, *(marks.c[name] for name in _MARKS)).outerjoin(
        marks, marks.c.alert_id == tables.alerts.c.id
    )


def alert_row(columns: dict[str, Any]) -> AlertRow:
    """Return a row of the table, with its marks where they were asked for, as an AlertRow."""
    marks = {name: columns.pop(name) for name in _MARKS if name in columns}
    if marks.get("marks") is not None:
        marks["marks"] = tuple(str(marks["marks"]).split())
        columns["policy"] = Marks(**marks)
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
    elif row["state"] in (CLEARED, LATCHED):
        return False
    elif transition.alert_id not in changes.added:
        changes.changed[transition.alert_id] = row
    if transition.incident:
        row["incident"], row["suppressed_by"] = transition.incident, transition.suppressed_by
    stays = transition.latch and row["active_ms"] is not None
    row["state"] = LATCHED if stays else CLEARED
    row["cleared_ms"], row["reason"] = transition.at_ms, transition.reason
    row["values"], row["cleared_message"] = finite(transition.values), dict(transition.message)
    return True


def _supersede(connection: Connection, changes: _Changes, begun: Sequence[Transition]) -> None:
    """Let a latched alert go when the same thing has begun again: the new alert stands for both."""
    table = tables.alerts
    for one in begun:
        same = (table.c.rule == one.rule, table.c.entity == one.entity, table.c.state == LATCHED)
        for found in connection.execute(select(table).where(*same)).mappings():
            changes.known.setdefault(found["id"], dict(found))
        for row in changes.known.values():
            older = row["id"] != one.alert_id and row["onset_ms"] <= one.onset_ms
            if older and (row["rule"], row["entity"], row["state"]) == (one.rule, one.entity, LATCHED):
                row["state"] = CLEARED
                if row["id"] not in changes.added:
                    changes.changed[row["id"]] = row


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
