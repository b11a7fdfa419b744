"""Cumulative numbers by name in the operations database, changed in the transaction of what they count."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select

from storage import tables
from storage.database import Database


def read(connection: Connection) -> dict[str, int]:
    """Return every number by name."""
    table = tables.tallies
    return {name: int(number) for name, number in connection.execute(select(table.c.name, table.c.number))}


def add(database: Database, connection: Connection, changes: Mapping[str, int]) -> None:
    """Add to numbers; one that is new begins at zero."""
    present = read(connection)
    put(database, connection, {name: present.get(name, 0) + change for name, change in changes.items()})


def put(database: Database, connection: Connection, numbers: Mapping[str, int]) -> None:
    """Set numbers."""
    rows = [{"name": name, "number": number} for name, number in numbers.items()]
    if rows:
        connection.execute(database.insert(tables.tallies, update=("number",), conflict="name"), rows)
