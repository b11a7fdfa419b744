"""Versions of the operations database: each step in one transaction, a newer database than the program is refused."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, inspect, select

from storage.database import Database
from storage.tables import metadata, schema_version


class SchemaTooNewError(RuntimeError):
    """The database was written by a newer Lamplighter than this one."""


def _first(connection: Connection) -> None:
    """Make the tables of the first version."""
    metadata.create_all(connection)


# One step a version, oldest first. A step that has been released is never changed: what it made is written out in it,
# and the first one is replaced by its own statements when tables.py moves on.
STEPS: tuple[Callable[[Connection], None], ...] = (_first,)


def version_of(connection: Connection) -> int:
    """Return the version of a database, 0 where it holds nothing of ours."""
    if not inspect(connection).has_table(schema_version.name):
        return 0
    found = connection.execute(select(schema_version.c.version)).scalar()
    return int(found or 0)


def migrate(database: Database, steps: tuple[Callable[[Connection], None], ...] = STEPS) -> int:
    """Bring a database to the newest version and return it; a step that fails leaves the version before it.

    Raises:
        SchemaTooNewError: naming both versions.
    """
    with database.reading() as connection:
        present = version_of(connection)
    if present > len(steps):
        place = database.engine.url.render_as_string(hide_password=True)
        raise SchemaTooNewError(
            f"the operations database {place} has version {present}, "
            f"this Lamplighter knows versions up to {len(steps)}: start the newer Lamplighter, or restore the backup "
            "that was made before it"
        )
    for number in range(present, len(steps)):
        with database.writing() as connection:
            if version_of(connection) != number:
                continue  # another process was quicker
            steps[number](connection)
            connection.execute(schema_version.delete())
            connection.execute(schema_version.insert().values(version=number + 1))
    return max(present, len(steps))
