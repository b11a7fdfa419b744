"""Assets, roads, permits, fences in the operations database; an asset's row is given once and never to another."""

from __future__ import annotations

import json
import math
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, Text, bindparam, cast, delete, func, insert, select, update

from devices.assetcolumns import Builder, Columns
from devices.kinds import Catalog
from devices.registry import Asset, Fence, Permit, Registry, Road
from devices.yamlfile import ConfigError
from storage import assetcache, fencebook, tables
from storage.database import chunks

E7 = 10_000_000  # the city's centre is kept in whole 1e-7 degrees, 1 cm
CENTRE = ("centre_lon_e7", "centre_lat_e7")
VERSION, STAMP = "registry_version", "registry_stamp"
READ_AT_ONCE = 20_000  # assets
CACHED_FROM = 5_000  # assets; a smaller registry is read as quickly as its file


class ImportSummary(NamedTuple):
    """What an import did with the assets it was given."""

    added: int
    changed: int
    unchanged: int


def import_all(
    connection: Connection,
    assets: Iterable[Asset],
    roads: Iterable[Road],
    permits: Iterable[Permit],
    fences: Iterable[Fence] = (),
    without: Collection[str] = (),
) -> ImportSummary:
    """Add and change assets by id, roads and fences by name and permits by number; what is not named stays as it is.

    Fences named by ``without`` go.

    Raises:
        ConfigError: an id that was given to one kind comes with another, or stands twice; a permit's truck is unknown.
    """
    summary = _assets(connection, list(assets))
    _fix_centre(connection)
    ways, papers, areas = list(roads), list(permits), list(fences)
    _roads(connection, ways)
    _permits(connection, papers)
    gone = fencebook.drop(connection, without)
    fencebook.put(connection, areas)
    if ways or papers or areas or gone or summary.added or summary.changed:
        _put(connection, VERSION, version(connection) + 1)
        restamp(connection)
    return summary


def version(connection: Connection) -> int:
    """Return a number that grows with every import that may have changed anything."""
    table = tables.tallies
    return int(connection.execute(select(table.c.number).where(table.c.name == VERSION)).scalar() or 0)


def _put(connection: Connection, name: str, number: int) -> None:
    connection.execute(delete(tables.tallies).where(tables.tallies.c.name == name))
    connection.execute(insert(tables.tallies).values(name=name, number=number))


def load(connection: Connection, catalog: Catalog, cache: Path | None = None) -> Registry:
    """Return the registry.

    Args:
        cache: file of its columns; made anew where it is not of the latest import (storage/assetcache.py).

    Raises:
        ConfigError: it holds kinds that ``catalog`` does not, or lacks a row.
    """
    mark = stamp(connection)
    columns = assetcache.read(cache, mark) if cache is not None and mark else None
    known = columns is not None
    if columns is None:
        columns = _read(connection)
    _check_kinds(columns, catalog)
    lines = _load_roads(connection), _load_permits(connection)
    registry = Registry(catalog, columns, *lines, _centre(connection), fencebook.load(connection))
    if cache is not None and mark and not known and len(registry) >= CACHED_FROM:
        assetcache.write(cache, mark, registry.columns)
    return registry


def stamp(connection: Connection) -> int:
    """Return a number that no other contents of the registry have had, 0 where nothing has been imported."""
    table = tables.tallies
    return int(connection.execute(select(table.c.number).where(table.c.name == STAMP)).scalar() or 0)


def restamp(connection: Connection) -> None:
    """Draw the stamp anew: what was remembered of the registry elsewhere is of no use any more."""
    _put(connection, STAMP, 1 + secrets.randbelow((1 << 62) - 1))


def _read(connection: Connection) -> Columns:
    """Read all assets. Raises ConfigError when a row is missing."""
    table = tables.assets
    wanted = [table.c[name] for name in Asset.__slots__ if name != "facts"]
    query = select(table.c.row, *wanted, cast(table.c.facts, Text)).order_by(table.c.row)
    names = [*Asset.__slots__[:-1], "facts"]
    builder, expected = Builder(), 0
    facts: dict[str, dict[str, float]] = {}
    found = connection.execution_options(yield_per=READ_AT_ONCE).execute(query)
    for part in found.partitions():
        rows, *columns = zip(*part, strict=True)
        if rows != tuple(range(expected, expected + len(rows))):
            missing = next(at for at, row in enumerate(rows, expected) if row != at)
            raise ConfigError([f"the registry's row {missing} is missing: restore the operations database"])
        texts = columns.pop()
        for text in dict.fromkeys(texts):
            if text not in facts:
                facts[text] = json.loads(text)
        builder.add(dict(zip(names, [*columns, [facts[text] for text in texts]], strict=True)))
        facts.clear()
        expected += len(rows)
    return builder.columns()


def _check_kinds(columns: Columns, catalog: Catalog) -> None:
    kinds = columns.coded["kind"]
    counts = np.bincount(kinds.code, minlength=len(kinds.names)).tolist()
    strange = {name: count for name, count in zip(kinds.names, counts, strict=True) if name not in catalog.kinds}
    if strange:
        told = ", ".join(f"{count} of '{kind}'" for kind, count in strange.items())
        raise ConfigError([f"the registry holds assets of kinds that are not declared: {told}; declare them again"])


def _assets(connection: Connection, given: list[Asset]) -> ImportSummary:
    twice = [name for name, count in Counter(a.id for a in given).items() if count > 1]
    if twice:
        raise ConfigError([f"the id '{name}' is given to more than one asset" for name in twice])
    known: dict[str, dict[str, Any]] = {}
    next_row = int(connection.execute(select(func.coalesce(func.max(tables.assets.c.row), -1))).scalar_one()) + 1
    for part in chunks([a.id for a in given]) if next_row else ():
        for row in connection.execute(select(tables.assets).where(tables.assets.c.id.in_(part))).mappings():
            known[row["id"]] = dict(row)
    moved = [a for a in given if a.id in known and known[a.id]["kind"] != a.kind]
    if moved:
        raise ConfigError(
            [f"'{a.id}' is a {known[a.id]['kind']} in the registry, not a {a.kind}: give it a new id" for a in moved]
        )
    added: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    for asset in given:
        columns = _columns(asset)
        before = known.get(asset.id)
        if before is None:
            added.append({"row": next_row + len(added), **columns})
        elif any(before[name] != value for name, value in columns.items()):
            changed.append({"known_id": asset.id, **{k: v for k, v in columns.items() if k != "id"}})
    if added:
        connection.execute(insert(tables.assets), added)
    if changed:
        connection.execute(update(tables.assets).where(tables.assets.c.id == bindparam("known_id")), changed)
    return ImportSummary(len(added), len(changed), len(given) - len(added) - len(changed))


def _columns(asset: Asset) -> dict[str, Any]:
    columns: dict[str, Any] = {name: getattr(asset, name) for name in Asset.__slots__}
    for name in ("lon", "lat"):
        columns[name] = None if math.isnan(columns[name]) else columns[name]
    columns["facts"] = {name: value for name, value in sorted(asset.facts.items()) if not math.isnan(value)}
    return columns


def _fix_centre(connection: Connection) -> None:
    """Fix the city's centre at the first import that has positions, so that grid cells keep their names for ever."""
    if _centre(connection) is not None:
        return
    table = tables.assets
    where = table.c.lon.is_not(None) & table.c.lat.is_not(None)
    places = connection.execute(select(table.c.lon, table.c.lat).where(where)).all()
    if places:
        numbers = [round(median(column) * E7) for column in zip(*places, strict=True)]
        rows = [{"name": name, "number": number} for name, number in zip(CENTRE, numbers, strict=True)]
        connection.execute(insert(tables.tallies), rows)


def _centre(connection: Connection) -> tuple[float, float] | None:
    table = tables.tallies
    found = connection.execute(select(table.c.name, table.c.number).where(table.c.name.in_(CENTRE))).all()
    numbers = {str(name): int(number) for name, number in found}
    return (numbers[CENTRE[0]] / E7, numbers[CENTRE[1]] / E7) if len(numbers) == 2 else None


def _roads(connection: Connection, roads: Sequence[Road]) -> None:
    """Replace the lines of every road that is named."""
    for part in chunks(list({road.name for road in roads})):
        connection.execute(delete(tables.roads).where(tables.roads.c.name.in_(part)))
    if roads:
        rows = [{"name": r.name, "rank": r.rank, "line": [list(p) for p in r.line]} for r in roads]
        connection.execute(insert(tables.roads), rows)


def _load_roads(connection: Connection) -> list[Road]:
    found = connection.execute(select(tables.roads).order_by(tables.roads.c.id)).mappings()
    return [Road(r["name"], _points(r["line"]), r["rank"]) for r in found]


def _permits(connection: Connection, permits: Sequence[Permit]) -> None:
    trucks = sorted({permit.truck for permit in permits})
    known: set[str] = set()
    for part in chunks(trucks):
        known.update(connection.execute(select(tables.assets.c.id).where(tables.assets.c.id.in_(part))).scalars())
    strangers = [permit for permit in permits if permit.truck not in known]
    if strangers:
        raise ConfigError([f"permit '{p.id}' is for the truck '{p.truck}', which has no asset" for p in strangers])
    for part in chunks([permit.id for permit in permits]):
        connection.execute(delete(tables.permits).where(tables.permits.c.id.in_(part)))
    rows = [
        {
            "id": p.id,
            "truck": p.truck,
            "route": p.route,
            "sites": p.sites,
            "hours_from": p.hours[0],
            "hours_until": p.hours[1],
            "valid_from_ms": p.valid_from_ms,
            "valid_until_ms": p.valid_until_ms,
            "corridor_m": p.corridor_m,
        }
        for p in permits
    ]
    if rows:
        connection.execute(insert(tables.permits), rows)


def _load_permits(connection: Connection) -> list[Permit]:
    found = connection.execute(select(tables.permits).order_by(tables.permits.c.id)).mappings()
    return [
        Permit(
            r["id"],
            r["truck"],
            _points(r["route"]),
            tuple(_points(ring) for ring in r["sites"]),
            (r["hours_from"], r["hours_until"]),
            r["valid_from_ms"],
            r["valid_until_ms"],
            r["corridor_m"],
        )
        for r in found
    ]


def _points(line: Sequence[Sequence[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(lon), float(lat)) for lon, lat in line)
