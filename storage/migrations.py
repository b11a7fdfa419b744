"""Versions of the operations database: each step in one transaction, a newer database than the program is refused.

Before the first step an SQLite file is copied, so that an older program can be gone back to. Nothing here depends on
the clock: versions are counted, rows are numbered by the database, alerts are named by rule, entity and onset.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import Connection, inspect, select, text

from devices.yamlfile import ConfigError
from storage.database import Database
from storage.firsttables import first
from storage.segments import sync_folder
from storage.tables import schema_version


class SchemaTooNewError(RuntimeError):
    """The database was written by a newer Lamplighter than this one."""


def _first(connection: Connection) -> None:
    """Make the tables of the first version."""
    first.create_all(connection)


def _second(connection: Connection) -> None:
    """Let quarantined messages be counted by whom they came from and by reason, and be read again."""
    held = "INSERT INTO tallies (name, number) SELECT"
    for statement in (
        "ALTER TABLE quarantine ADD COLUMN source VARCHAR(80) DEFAULT '' NOT NULL",
        "ALTER TABLE quarantine ADD COLUMN attempts INTEGER DEFAULT '0' NOT NULL",
        "ALTER TABLE quarantine ADD COLUMN asked_ms BIGINT",
        "UPDATE quarantine SET source = device",
        "CREATE INDEX quarantine_source ON quarantine (source, id)",
        "CREATE INDEX quarantine_asked ON quarantine (asked_ms)",
        "DELETE FROM tallies WHERE name IN ('quarantine_rows', 'quarantine_bytes')",
        f"{held} 'quarantine_rows:' || reason, count(*) FROM quarantine GROUP BY reason",
        f"{held} 'quarantine_bytes:' || reason, sum(length(payload)) FROM quarantine GROUP BY reason",
        f"{held} 'quarantine_rows', count(*) FROM quarantine",
        f"{held} 'quarantine_bytes', coalesce(sum(length(payload)), 0) FROM quarantine",
    ):
        connection.execute(text(statement))


def _policy(connection: Connection) -> None:
    """Make room for what operators say of alerts: shelves, silences, resets, escalation, and who did it."""
    number = "INTEGER" if connection.dialect.name == "sqlite" else "BIGSERIAL"
    for statement in (
        (
            "CREATE TABLE alert_marks (alert_id VARCHAR(32) PRIMARY KEY, marks TEXT DEFAULT '' NOT NULL, "
            "shelved_until_ms BIGINT, shelved_by TEXT DEFAULT '' NOT NULL, shelved_why TEXT DEFAULT '' NOT NULL, "
            "reset_ms BIGINT, reset_by TEXT DEFAULT '' NOT NULL, told_ms BIGINT, chain TEXT DEFAULT '' NOT NULL, "
            "chain_ms BIGINT)"
        ),
        "CREATE INDEX alert_marks_chain ON alert_marks (chain_ms)",
        "CREATE INDEX alert_marks_shelved ON alert_marks (shelved_until_ms)",
        (
            f"CREATE TABLE quiets (id {number} PRIMARY KEY, sort VARCHAR(16) NOT NULL, matchers JSON NOT NULL, "
            "from_ms BIGINT NOT NULL, until_ms BIGINT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL, "
            "created_ms BIGINT NOT NULL, ended_by TEXT DEFAULT '' NOT NULL)"
        ),
        "CREATE INDEX quiets_until ON quiets (until_ms)",
        (
            f"CREATE TABLE audit (id {number} PRIMARY KEY, at_ms BIGINT NOT NULL, who TEXT NOT NULL, "
            "what VARCHAR(32) NOT NULL, subject TEXT NOT NULL, detail JSON NOT NULL)"
        ),
        "CREATE INDEX audit_subject ON audit (subject, id)",
        (
            "CREATE TABLE flaps (name TEXT PRIMARY KEY, rule TEXT NOT NULL, entity TEXT NOT NULL, "
            "since_ms BIGINT NOT NULL, percent FLOAT NOT NULL)"
        ),
        (
            "CREATE TABLE policy_state (name VARCHAR(96) PRIMARY KEY, value TEXT NOT NULL, at_ms BIGINT NOT NULL, "
            "who TEXT NOT NULL)"
        ),
        "CREATE INDEX outbox_created ON outbox (created_ms)",
    ):
        connection.execute(text(statement))


def _incidents(connection: Connection) -> None:
    """Make room for incidents: alerts under one cause, and which alert explains which."""
    for statement in (
        "ALTER TABLE alerts ADD COLUMN incident VARCHAR(32) DEFAULT '' NOT NULL",
        "ALTER TABLE alerts ADD COLUMN suppressed_by VARCHAR(32) DEFAULT '' NOT NULL",
        "CREATE INDEX alerts_incident ON alerts (incident)",
        "CREATE INDEX outbox_alert ON outbox (alert_id)",
        (
            "CREATE TABLE incidents (id VARCHAR(32) PRIMARY KEY, cause TEXT NOT NULL, node TEXT NOT NULL, "
            "kind VARCHAR(48) NOT NULL, district TEXT NOT NULL, keeper TEXT NOT NULL, severity VARCHAR(16) NOT NULL, "
            "state VARCHAR(16) NOT NULL, onset_ms BIGINT NOT NULL, opened_ms BIGINT NOT NULL, told_ms BIGINT, "
            "closed_ms BIGINT, acknowledged_ms BIGINT, acknowledged_by TEXT, note TEXT, reason TEXT NOT NULL, "
            "alerts INTEGER NOT NULL, suppressed INTEGER NOT NULL, devices INTEGER NOT NULL, "
            "notices INTEGER NOT NULL, message JSON NOT NULL, lon FLOAT, lat FLOAT)"
        ),
        "CREATE INDEX incidents_state ON incidents (state, opened_ms)",
        "CREATE INDEX incidents_opened ON incidents (opened_ms)",
    ):
        connection.execute(text(statement))


def _fences(connection: Connection) -> None:
    """Make room for areas that vehicles must keep out of."""
    connection.execute(
        text(
            "CREATE TABLE fences (name VARCHAR(64) NOT NULL, part INTEGER NOT NULL, kind VARCHAR(64) NOT NULL, "
            "ring JSON NOT NULL, hours_from INTEGER NOT NULL, hours_until INTEGER NOT NULL, PRIMARY KEY (name, part))"
        )
    )


# One step a version, oldest first. A step that has been released is never changed: what it made is written out in it.
# The first is written out in firsttables.py.
STEPS: tuple[Callable[[Connection], None], ...] = (_first, _second, _policy, _incidents, _fences)


def version_of(connection: Connection) -> int:
    """Return the version of a database, 0 where it holds nothing of ours."""
    if not inspect(connection).has_table(schema_version.name):
        return 0
    found = connection.execute(select(schema_version.c.version)).scalar()
    return int(found or 0)


def back_up(database: Database, version: int) -> Path | None:
    """Copy an SQLite file of this version beside itself and return the copy, None where there is no file to copy.

    The copy gets its name when it is whole and on the disk; one of the same version that is there is replaced.

    Raises:
        ConfigError: it cannot be written.
    """
    place = _file(database)
    if place is None:
        return None
    target = place.with_name(f"{place.name}.v{version}.backup")
    draft = target.with_suffix(".draft")
    try:
        draft.unlink(missing_ok=True)
        with closing(sqlite3.connect(place)) as source, closing(sqlite3.connect(draft)) as copy:
            source.backup(copy)
            found = copy.execute("SELECT version FROM schema_version").fetchone()[0]
        if found != version:  # another process was quicker
            draft.unlink()
            return None
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(target)
        sync_folder(target.parent)
    except (OSError, sqlite3.Error) as trouble:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise ConfigError(
            [f"{place}: cannot be copied before it is changed: {trouble}; make room beside it"]
        ) from trouble
    return target


def _file(database: Database) -> Path | None:
    name = database.engine.url.database
    return Path(name) if database.is_sqlite and name not in (None, "", ":memory:") else None


def _backups(database: Database, newest: int) -> str:
    """Return which copies that this program understands lie beside a database, in words."""
    place = _file(database)
    if place is None:
        return ""
    copies = [place.with_name(f"{place.name}.v{version}.backup") for version in range(newest, 0, -1)]
    found = [copy for copy in copies if copy.exists()]
    return f": {found[0]}" if found else ""


def migrate(database: Database, steps: tuple[Callable[[Connection], None], ...] = STEPS) -> int:
    """Bring a database to the newest version and return it; a step that fails leaves the version before it.

    Raises:
        SchemaTooNewError: naming both versions.
        ConfigError: there is no room for the copy that is made before.
    """
    with database.reading() as connection:
        present = version_of(connection)
    if present > len(steps):
        place = database.engine.url.render_as_string(hide_password=True)
        raise SchemaTooNewError(
            f"the operations database {place} has version {present}, "
            f"this Lamplighter knows versions up to {len(steps)}: start the newer Lamplighter, or restore the backup "
            f"that was made before it{_backups(database, len(steps))}"
        )
    if 0 < present < len(steps):
        back_up(database, present)
    for number in range(present, len(steps)):
        with database.writing() as connection:
            if version_of(connection) != number:
                continue  # another process was quicker
            steps[number](connection)
            connection.execute(schema_version.delete())
            connection.execute(schema_version.insert().values(version=number + 1))
    return max(present, len(steps))
