"""The operations database: registry, alerts, outbox, quarantine, and how far the journal has been shipped."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from devices.incident import IncidentChange, Mark
from devices.kinds import Catalog
from devices.payloads import Reject
from devices.registry import Asset, Fence, Permit, Registry, Road
from devices.transition import Transition
from storage import alertbook, assetbook, incidentbook, outbox, quarantine, tally
from storage.alertbook import AlertRow
from storage.assetbook import ImportSummary
from storage.database import AWAY, Database, in_words
from storage.incidentbook import IncidentRow
from storage.migrations import SchemaTooNewError, migrate
from storage.outbox import GivenUp, OutboxRow, ReceiverLike
from storage.policybook import PolicyBook
from storage.quarantine import Choice, Limits, QuarantineRow, Still
from storage.records import UNKNOWN
from storage.shipped import Shipped

__all__ = [
    "AWAY",
    "AlertRow",
    "Choice",
    "GivenUp",
    "ImportSummary",
    "IncidentRow",
    "Limits",
    "Operations",
    "OutboxRow",
    "QuarantineRow",
    "ReceiverLike",
    "SchemaTooNewError",
    "Shipped",
    "Still",
    "in_words",
]

_CONFIRMED, _STARTED = "confirmed_position", "store_started_ms"
REGISTRY_FILE = "registry.columns"
_POSITION, _STORED, _QUARANTINED, _KEPT = "shipped_position", "stored:", "quarantined:", "kept:"


class Operations:
    """One city's operations database. Every method is one transaction; methods may be called from several threads.

    Any method raises one of ``AWAY`` when the database is locked for long, full or not there; nothing was changed then.

    Attributes:
        policy: what operators say of alerts, and how notices are told.

    Args:
        url: SQLAlchemy URL; SQLite by default, PostgreSQL by URL.
        limits: sizes of the quarantine; beyond them the oldest messages go and are counted.
        cache: file that the registry's columns are kept in, so that a large city starts quickly; beside an SQLite
            database by default.

    Raises:
        SchemaTooNewError: a newer Lamplighter has written this database.
    """

    def __init__(
        self,
        url: str,
        *,
        limits: Limits | None = None,
        cache: Path | None = None,
    ) -> None:
        self._database = Database(url)
        self._cache = cache or (self._database.file and self._database.file.with_name(REGISTRY_FILE))
        self._limits = limits or Limits()
        self.policy = PolicyBook(self._database)
        try:
            migrate(self._database)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    # The registry

    def import_assets(
        self, assets: Iterable[Asset], roads: Iterable[Road] = (), permits: Iterable[Permit] = (),
        fences: Iterable[Fence] = (), without: Collection[str] = (),
    ) -> ImportSummary:  # fmt: skip
        """Add and change assets by id, roads and fences by name, permits by number; let fences ``without`` go.

        Raises:
            ConfigError: an id comes with another kind than before, or twice; nothing is imported then.
        """
        with self._database.writing() as connection:
            return assetbook.import_all(connection, assets, roads, permits, fences, without)

    def load_registry(self, catalog: Catalog) -> Registry:
        """Return the registry. Raises ConfigError when it holds kinds that ``catalog`` does not declare."""
        with self._database.reading() as connection:
            return assetbook.load(connection, catalog, self._cache)

    def registry_version(self) -> int:
        """Return a number that grows with every import that may have changed anything."""
        with self._database.reading() as connection:
            return assetbook.version(connection)

    # Alerts

    def commit(
        self,
        transitions: Sequence[Transition],
        receivers: Sequence[ReceiverLike],
        now_ms: int,
        *,
        marks: Sequence[Mark] = (),
        incidents: Sequence[IncidentChange] = (),
        undecided: bool = False,
    ) -> list[AlertRow]:
        """Write decisions down together with the notices they owe; return the alerts that are new or changed.

        With ``undecided`` the policy's next round says how notices are told (Operations.policy).
        What is known already changes nothing and owes nothing: the journal may be judged again after a crash.
        """
        if not (transitions or marks or incidents):
            return []
        with self._database.writing() as connection:
            return alertbook.commit(
                self._database, connection, transitions, receivers, now_ms,
                marks=marks, incidents=incidents, undecided=undecided,
            )  # fmt: skip

    def alerts(
        self,
        state: str | None = None,
        rule: str | None = None,
        kind: str | None = None,
        limit: int = 200,
        before_ms: int | None = None,
        *,
        entity: str | None = None,
    ) -> list[AlertRow]:
        """Return alerts, newest first; ``state`` may also be ``open`` (or taken on) or ``standing`` (or latched)."""
        with self._database.reading() as connection:
            return alertbook.find(
                connection, state=state, rule=rule, kind=kind, entity=entity, limit=limit, before_ms=before_ms
            )

    def alert(self, alert_id: str) -> AlertRow | None:
        """Return one alert, None where there is none of that id."""
        with self._database.reading() as connection:
            return alertbook.get(connection, alert_id)

    def acknowledge(self, alert_id: str, who: str, note: str, now_ms: int) -> AlertRow | None:
        """Take an active alert over; one that is acknowledged or cleared already stays as it is."""
        with self._database.writing() as connection:
            return alertbook.acknowledge(connection, alert_id, who, note, now_ms)

    def alerts_of(self, incident_id: str, limit: int = 1000) -> list[AlertRow]:
        """Return the alerts of an incident, those that stand for themselves first, then the newest."""
        with self._database.reading() as connection:
            return alertbook.of_incident(connection, incident_id, limit)

    # Incidents

    def incidents(self, state: str | None = None, limit: int = 200, before_ms: int | None = None) -> list[IncidentRow]:
        """Return incidents, newest first; ``state`` may also be ``open``: active or acknowledged."""
        with self._database.reading() as connection:
            return incidentbook.find(connection, state=state, limit=limit, before_ms=before_ms)

    def incident(self, incident_id: str) -> IncidentRow | None:
        """Return one incident, None where there is none of that id."""
        with self._database.reading() as connection:
            return incidentbook.get(connection, incident_id)

    def acknowledge_incident(self, incident_id: str, who: str, note: str, now_ms: int) -> list[AlertRow]:
        """Take an active incident on with all its alerts that nobody has; return these alerts."""
        with self._database.writing() as connection:
            ids = incidentbook.acknowledge(connection, incident_id, who, note, now_ms)
            return [row for name in ids if (row := alertbook.get(connection, name)) is not None]

    def incident_counts(self) -> tuple[dict[str, int], int, dict[str, int]]:
        """Return open incidents by severity, open alerts that others explain, and notices owed by cause."""
        with self._database.reading() as connection:
            return (*incidentbook.counts(connection), incidentbook.notices_by_cause(connection))

    # The outbox

    def outbox_due(self, now_ms: int, limit: int = 100, without: Collection[str] = ()) -> list[OutboxRow]:
        """Return the notices to try now, oldest decision first, of all receivers but ``without``."""
        with self._database.reading() as connection:
            return outbox.due(connection, now_ms, limit, without)

    def outbox_sent(self, number: int, now_ms: int) -> None:
        """Write down that a notice was delivered."""
        with self._database.writing() as connection:
            outbox.settle(connection, number, now_ms, None, None)

    def outbox_failed(self, number: int, now_ms: int, retry_at_ms: int | None, error: str, pass_to: str = "") -> None:
        """Write down that a notice was not delivered: tried again at ``retry_at_ms``, given up where that is None.

        What is given up is owed to ``pass_to`` from now on, where that names a receiver who is not owed it anyway.
        """
        with self._database.writing() as connection:
            outbox.settle(connection, number, now_ms, retry_at_ms, error or "not delivered")
            if retry_at_ms is None and pass_to:
                outbox.pass_on(self._database, connection, number, pass_to, now_ms)

    def outbox_given_up(self, since_ms: int) -> list[GivenUp]:
        """Return by receiver what was decided since then and could not be delivered for good, the latest last."""
        with self._database.reading() as connection:
            return outbox.given_up(connection, since_ms)

    def outbox_counts(self) -> dict[str, int]:
        """Return how many notices are ``due``, ``sent`` and ``failed``."""
        with self._database.reading() as connection:
            return outbox.counts(connection)

    def outbox_sent_by_rule(self) -> dict[str, int]:
        """Return how many notices were delivered, by rule id."""
        with self._database.reading() as connection:
            return outbox.sent_by_rule(connection)

    # Quarantine

    def quarantine_add(self, rejects: Sequence[Reject]) -> None:
        """Keep messages apart that did not pass through the journal; they are not in the ledger."""
        with self._database.writing() as connection:
            quarantine.add(self._database, connection, rejects, self._limits)

    def quarantine_list(
        self,
        limit: int = 100,
        reason: str | None = None,
        device: str | None = None,
        *,
        choice: Choice | None = None,
        before: int | None = None,
    ) -> list[QuarantineRow]:
        """Return messages in quarantine with numbers below ``before``, newest first."""
        with self._database.reading() as connection:
            return quarantine.find(connection, choice or Choice(reason=reason, device=device), limit, before)

    def quarantine_number(self, choice: Choice) -> int:
        """Return how many messages are chosen."""
        with self._database.reading() as connection:
            return quarantine.number_of(connection, choice)

    def quarantine_show(self, number: int) -> QuarantineRow | None:
        """Return one message, None where there is none of that number (any more)."""
        with self._database.reading() as connection:
            return quarantine.get(connection, number)

    def quarantine_after(self, reason: str, number: int, limit: int = 500) -> list[QuarantineRow]:
        """Return messages kept for ``reason`` with numbers above ``number``, oldest first."""
        with self._database.reading() as connection:
            return quarantine.after(connection, Choice(reason=reason), number, limit)

    def quarantine_ask(self, choice: Choice, now_ms: int) -> int:
        """Ask that the chosen messages be read again: by the house that runs, or by the next that starts."""
        with self._database.writing() as connection:
            return quarantine.ask(connection, choice, now_ms)

    def quarantine_asked(self, limit: int = 500) -> list[QuarantineRow]:
        """Return messages that are to be read again: what was asked for first, and of that the oldest."""
        with self._database.reading() as connection:
            return quarantine.asked(connection, limit)

    def quarantine_settle(self, read: Sequence[int], still: Sequence[Still] = ()) -> None:
        """Let messages go whose readings are in the journal now, and note of others what is wrong still."""
        with self._database.writing() as connection:
            quarantine.settle(self._database, connection, read, still)

    def quarantine_purge(self, choice: Choice) -> int:
        """Delete the chosen messages for good; return how many."""
        with self._database.writing() as connection:
            return quarantine.remove(self._database, connection, choice)

    def quarantine_counts(self) -> dict[str, int]:
        """Return how many messages are kept, by reason."""
        with self._database.reading() as connection:
            return quarantine.counts(connection)

    def quarantine_gone(self) -> dict[str, int]:
        """Return how many messages had to go because there were too many, by reason."""
        with self._database.reading() as connection:
            return quarantine.gone(connection)

    def quarantine_purged(self) -> dict[str, int]:
        """Return how many messages people have purged, by reason."""
        with self._database.reading() as connection:
            return quarantine.purged(connection)

    # Shipping

    def shipped(self) -> Shipped:
        """Return how far the journal has been shipped."""
        with self._database.reading() as connection:
            numbers = tally.read(connection)
        return Shipped(
            numbers.get(_POSITION, 0),
            _part(numbers, _STORED),
            _part(numbers, _QUARANTINED),
            _part(numbers, _KEPT),
            _part(numbers, quarantine.REPLAYED),
            numbers.get(_CONFIRMED, 0),
            numbers.get(_STARTED, 0),
        )

    def ship(
        self,
        position: int,
        stored: Mapping[str, int],
        rejects: Sequence[Reject],
        kept: Mapping[str, int] | None = None,
    ) -> None:
        """Write down that the journal has been shipped up to ``position``, with its rejects put into quarantine.

        Args:
            position: journal position behind the last record shipped.
            stored: readings that the time-series store has taken since the last call, by kind name.
            rejects: messages of these records that could not be read, and readings that the store refused.
            kept: the journal's own cumulative count of kept readings at ``position``, by kind name.
        """
        changes = {_STORED + kind: number for kind, number in stored.items() if number}
        for reject in rejects:
            name = _QUARANTINED + (reject.kind or UNKNOWN)
            changes[name] = changes.get(name, 0) + 1
        with self._database.writing() as connection:
            quarantine.add(self._database, connection, rejects, self._limits)
            tally.add(self._database, connection, changes)
            numbers = {_KEPT + kind: number for kind, number in (kept or {}).items()}
            tally.put(self._database, connection, {_POSITION: position, **numbers})

    def hold(self, confirmed: int, store_started_ms: int) -> None:
        """Write down up to where the store has everything for good, and since when it runs."""
        with self._database.writing() as connection:
            tally.put(self._database, connection, {_CONFIRMED: confirmed, _STARTED: store_started_ms})


def _part(numbers: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): number for name, number in numbers.items() if name.startswith(prefix)}
