"""Areas that vehicles must keep out of, in the operations database: by name, of one piece or several."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, delete, insert, select

from devices.registry import Fence
from storage import tables
from storage.database import chunks


def put(connection: Connection, fences: Sequence[Fence]) -> None:
    """Replace every area that is named, with all its pieces."""
    drop(connection, {fence.id for fence in fences})
    parts: dict[str, int] = {}
    rows = []
    for fence in fences:
        part = parts[fence.id] = parts.get(fence.id, -1) + 1
        rows.append(
            {
                "name": fence.id,
                "part": part,
                "kind": fence.kind,
                "ring": [list(point) for point in fence.ring],
                "hours_from": fence.hours[0],
                "hours_until": fence.hours[1],
            }
        )
    if rows:
        connection.execute(insert(tables.fences), rows)


def drop(connection: Connection, names: Collection[str]) -> int:
    """Let areas go; return how many pieces that were."""
    gone, table = 0, tables.fences
    for part in chunks(sorted(names)):
        gone += connection.execute(delete(table).where(table.c.name.in_(part))).rowcount
    return gone


def load(connection: Connection) -> list[Fence]:
    """Return all areas, by name and piece."""
    table = tables.fences
    found = connection.execute(select(table).order_by(table.c.name, table.c.part)).mappings()
    return [
        Fence(
            row["name"],
            tuple((float(lon), float(lat)) for lon, lat in row["ring"]),
            (row["hours_from"], row["hours_until"]),
            row["kind"],
        )
        for row in found
    ]
