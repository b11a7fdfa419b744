"""What the policy's round looks at: notices that nobody has decided on, what holds them back, and what is due."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import BigInteger, Select, and_, bindparam, func, select

from devices.transition import ACTIVE, CLEARED, Transition
from storage import alertbook, outbox, tables
from storage.alertbook import LATCHED, STANDING, AlertRow
from storage.database import Database, chunks
from storage.outbox import NEW, SENT
from storage.policyrows import COUNTED, GATHERED, HELD, LOOKED_AT, ROUTED, Chain, Flap, Notice, Standing

BUDGETED = 200_000  # notices and alerts that a budget is reckoned from; a day of the worst city has fewer


def _pulse() -> Select[Any]:
    """Return the question that is asked twice a second, made once."""
    box, marks, quiets = tables.outbox, tables.alert_marks, tables.quiets
    now_ms = bindparam("now_ms", type_=BigInteger)
    holds = and_(quiets.c.from_ms <= now_ms, now_ms < quiets.c.until_ms)
    return select(
        select(box.c.id).where(box.c.status == NEW).exists(),
        select(marks.c.alert_id).where(marks.c.chain_ms <= now_ms).exists(),
        select(marks.c.alert_id).where(marks.c.shelved_until_ms <= now_ms).exists(),
        select(func.count()).where(holds).scalar_subquery(),
        select(func.max(quiets.c.id)).where(holds).scalar_subquery(),
        select(func.max(marks.c.shelved_until_ms)).where(marks.c.shelved_until_ms > now_ms).scalar_subquery(),
        select(func.count()).where(marks.c.shelved_until_ms > now_ms).scalar_subquery(),
    )


_PULSE = _pulse()


class PolicyLooks:
    """Questions of the policy to one operations database; each is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pulse(self, now_ms: int) -> tuple[bool, tuple[int | None, ...]]:
        """Return whether something waits for a round, and what holds notices back, in numbers to compare with."""
        with self._database.reading() as connection:
            found = connection.execute(_PULSE, {"now_ms": now_ms}).one()
        return any(found[:3]), tuple(found[3:])

    def fresh(self) -> list[Notice]:
        """Return the oldest notices that nobody has decided on."""
        return self._notices(tables.outbox.c.status == NEW, LOOKED_AT)

    def held(self) -> list[Notice]:
        """Return the notices that are held back for now."""
        return self._notices(tables.outbox.c.status == HELD, LOOKED_AT * 10)

    def gathered(self, receiver: str) -> list[Notice]:
        """Return the notices that wait for a receiver's next summary."""
        box = tables.outbox
        return self._notices((box.c.status == GATHERED) & (box.c.receiver == receiver), LOOKED_AT * 10)

    def gathering(self) -> dict[str, tuple[int, str]]:
        """Return by receiver since when its summary gathers, and why."""
        box = tables.outbox
        query = select(box.c.receiver, func.min(box.c.created_ms), func.min(box.c.error)).where(
            box.c.status == GATHERED
        )
        with self._database.reading() as connection:
            found = connection.execute(query.group_by(box.c.receiver)).all()
        return {row[0]: (row[1], row[2]) for row in found}

    def _notices(self, where: Any, limit: int) -> list[Notice]:  # noqa: ANN401 - an expression of SQLAlchemy
        box = tables.outbox
        query = select(box).where(where).order_by(box.c.id).limit(limit)
        with self._database.reading() as connection:
            return [_notice(row) for row in connection.execute(query).mappings()]

    def about(self, ids: Collection[str]) -> dict[str, AlertRow]:
        """Return alerts by id."""
        with self._database.reading() as connection:
            return alertbook.get_many(connection, list(ids))

    def begun(self, ids: Collection[str]) -> dict[str, dict[str, str]]:
        """Return what became of the notices of alerts' beginnings, by alert and receiver."""
        box, found = tables.outbox, dict[str, dict[str, str]]()
        with self._database.reading() as connection:
            for part in chunks(list(ids)):
                query = select(box.c.alert_id, box.c.receiver, box.c.status).where(
                    box.c.alert_id.in_(part), box.c.state == ACTIVE
                )
                for row in connection.execute(query.order_by(box.c.id)):
                    of_alert = found.setdefault(row.alert_id, {})
                    if of_alert.get(row.receiver) not in (*COUNTED, ROUTED):  # one that was told outweighs the others
                        of_alert[row.receiver] = row.status
        return found

    def standing_of(self, ids: Collection[str]) -> dict[str, Standing]:
        """Return how what notices are about stands now, incidents before alerts of the same id."""
        found: dict[str, Standing] = {}
        with self._database.reading() as connection:
            for table in (tables.alerts, tables.incidents):
                columns = (table.c.id, table.c.state, table.c.severity, table.c.acknowledged_ms)
                for part in chunks(list(ids)):
                    for row in connection.execute(select(*columns).where(table.c.id.in_(part))):
                        before = found.get(row.id)
                        taken = row.acknowledged_ms is not None or (before is not None and before.acknowledged)
                        is_open = row.state != CLEARED or (before is not None and before.is_open)
                        found[row.id] = Standing(is_open, row.severity, taken)
        return found

    def heads(self, incidents: Collection[str]) -> dict[str, list[AlertRow]]:
        """Return the standing alerts of incidents that nothing explains, by incident."""
        found: dict[str, list[AlertRow]] = {}
        with self._database.reading() as connection:
            for part in chunks(list(incidents)):
                for row in alertbook.heads(connection, part):
                    found.setdefault(row.incident, []).append(row)
        return found

    def recent(self, now_ms: int, within_ms: int) -> dict[str, int]:
        """Return how many alarms each receiver was told lately, those in summaries counted.

        What was written down before the host's clock was set back seems to lie ahead, and is not lately.
        """
        box = tables.outbox
        query = (
            select(box.c.receiver, func.count())
            .where(box.c.created_ms > now_ms - within_ms, box.c.created_ms <= now_ms)
            .where(box.c.state == ACTIVE, box.c.status.in_(COUNTED))
            .group_by(box.c.receiver)
        )
        with self._database.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def changes(self, pairs: Iterable[tuple[str, str]], since_ms: int) -> dict[tuple[str, str], list[int]]:
        """Return when alerts of these pairs of rule and entity began and ended since then."""
        wanted, table = set(pairs), tables.alerts
        found: dict[tuple[str, str], list[int]] = {}
        with self._database.reading() as connection:
            for part in chunks(sorted({entity for _, entity in wanted})):
                query = select(table.c.rule, table.c.entity, table.c.active_ms, table.c.cleared_ms).where(
                    table.c.entity.in_(part), func.coalesce(table.c.cleared_ms, table.c.begun_ms) > since_ms
                )
                for row in connection.execute(query):
                    if (row.rule, row.entity) in wanted:
                        times = [at for at in (row.active_ms, row.cleared_ms) if at is not None and at > since_ms]
                        found.setdefault((row.rule, row.entity), []).extend(times)
        return found

    def flaps(self) -> list[Flap]:
        """Return the pairs of rule and entity that flap now."""
        table = tables.flaps
        with self._database.reading() as connection:
            found = connection.execute(select(table.c.rule, table.c.entity, table.c.since_ms, table.c.percent))
            return [Flap(*row) for row in found]

    def shelved(self, now_ms: int) -> dict[str, int]:
        """Return until when alerts are shelved now, by id."""
        table = tables.alert_marks
        query = select(table.c.alert_id, table.c.shelved_until_ms).where(table.c.shelved_until_ms > now_ms)
        with self._database.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def expired(self, now_ms: int) -> dict[str, int]:
        """Return the alerts whose shelf has ended and of which nobody was told that, with the time of its end."""
        table = tables.alert_marks
        query = select(table.c.alert_id, table.c.shelved_until_ms).where(table.c.shelved_until_ms <= now_ms)
        with self._database.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query.limit(LOOKED_AT))}

    def chains(self, now_ms: int) -> list[Chain]:
        """Return what is due by now for alerts that are open."""
        table = tables.alert_marks
        query = select(table.c.alert_id, table.c.chain, table.c.chain_ms, table.c.told_ms).where(
            table.c.chain_ms <= now_ms
        )
        with self._database.reading() as connection:
            return [Chain(*row) for row in connection.execute(query.order_by(table.c.chain_ms).limit(LOOKED_AT))]

    def told_of(self, alert_id: str) -> list[Notice]:
        """Return the notices of an alert's beginning that went to somebody; of a team's, not those of its people."""
        box = tables.outbox
        told = (box.c.alert_id == alert_id) & (box.c.state == ACTIVE) & box.c.status.in_((*COUNTED, ROUTED))
        found = self._notices(told, LOOKED_AT)
        people = {name for one in found if one.status == ROUTED for name in one.why.split(", ")}
        return [one for one in found if one.receiver not in people]

    def standing(self, limit: int = 100_000) -> list[AlertRow]:
        """Return the alerts that are open or latched, newest first."""
        with self._database.reading() as connection:
            return alertbook.find(
                connection, state=STANDING, rule=None, kind=None, entity=None, limit=limit, before_ms=None
            )

    def open_for(self, receiver: str) -> list[Transition]:
        """Return the latest notice of each incident or alert that a receiver was told of and that is open."""
        box = tables.outbox
        sent = (box.c.receiver == receiver) & (box.c.state == ACTIVE) & (box.c.status == SENT)
        of_alerts = select(tables.alerts.c.id).where(tables.alerts.c.state != CLEARED)
        open_ids = of_alerts.union(select(tables.incidents.c.id).where(tables.incidents.c.state != CLEARED))
        found = self._notices(sent & box.c.alert_id.in_(open_ids), LOOKED_AT * 10)
        return list({one.transition.alert_id: one.transition for one in found}.values())

    def told(self, since_ms: int) -> list[tuple[int, str, str, str, bool, str]]:
        """Return what people were told since then: time, receiver, rule, entity, if it was a beginning, severity."""
        box = tables.outbox
        rule, entity, grave = (box.c.notice[name].as_string() for name in ("rule", "entity", "severity"))
        query = select(box.c.created_ms, box.c.receiver, rule, entity, box.c.state, grave).where(
            box.c.created_ms > since_ms, box.c.status.in_(COUNTED)
        )
        with self._database.reading() as connection:
            found = connection.execute(query.limit(BUDGETED)).all()
        return [(at, who, rule, entity, state == ACTIVE, grave) for at, who, rule, entity, state, grave in found]

    def all_changes(self, since_ms: int) -> dict[tuple[str, str], list[int]]:
        """Return when alerts began and ended since then, by rule and entity."""
        table = tables.alerts
        query = select(table.c.rule, table.c.entity, table.c.active_ms, table.c.cleared_ms).where(
            table.c.begun_ms > since_ms
        )
        out: dict[tuple[str, str], list[int]] = {}
        with self._database.reading() as connection:
            for row in connection.execute(query.limit(BUDGETED)):
                times = [at for at in (row.active_ms, row.cleared_ms) if at is not None]
                out.setdefault((row.rule, row.entity), []).extend(times)
        return out

    def open_since(self) -> list[int]:
        """Return since when each alert that is open or latched is there."""
        table = tables.alerts
        query = select(table.c.begun_ms).where(table.c.state != CLEARED)
        with self._database.reading() as connection:
            return [row[0] for row in connection.execute(query)]

    def marked(self, now_ms: int) -> dict[str, int]:
        """Return how many open alerts bear each mark: latched, shelved, silenced, out_of_service, flapping."""
        table, marks = tables.alerts, tables.alert_marks
        query = (
            select(table.c.state, marks.c.marks, marks.c.shelved_until_ms)
            .join_from(table, marks, marks.c.alert_id == table.c.id, isouter=True)
            .where(table.c.state != CLEARED)
        )
        found = dict.fromkeys(("latched", "shelved", "silenced", "out_of_service", "flapping"), 0)
        with self._database.reading() as connection:
            for state, words, until_ms in connection.execute(query):
                found["latched"] += state == LATCHED
                found["shelved"] += until_ms is not None and until_ms > now_ms
                for word in (words or "").split():
                    found[word] = found.get(word, 0) + 1
        return found

    def fates(self) -> dict[str, tuple[str, str]]:
        """Return what became of every notice, by its key: status and why; of a summed one, the summary's key."""
        box = tables.outbox
        with self._database.reading() as connection:
            return {
                row[0]: (row[1], row[2]) for row in connection.execute(select(box.c.key, box.c.status, box.c.error))
            }


def _notice(row: Mapping[Any, Any]) -> Notice:
    told = outbox.transition_of(row["notice"])
    return Notice(row["id"], row["key"], told, row["receiver"], row["created_ms"], row["status"], row["error"])
