"""The registry: a file on every asset, as columns that rules, maps and tables read by row.

A device's row is given once and never again to another; it is the number that batches carry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from devices.asset import PLACES, Asset
from devices.assetcolumns import Assets, Coded, Columns, Index, columns_of
from devices.geometry import GRID_M, LocalProjection, grid_cell
from devices.kinds import Catalog

__all__ = ["PLACES", "Asset", "Fence", "Grouping", "Permit", "Registry", "Road"]


@dataclass(frozen=True, slots=True)
class Road:
    """A road as a line of (lon, lat) degrees, for the map; ``rank`` is main, secondary or branch."""

    name: str
    line: tuple[tuple[float, float], ...]
    rank: str = "branch"


@dataclass(frozen=True, slots=True)
class Permit:
    """What a truck may do: a route, the sites it serves, the hours it may drive.

    Attributes:
        id: the permit's number.
        truck: device id.
        route: (lon, lat) degrees along the approved way; driven in both directions.
        sites: polygons, (lon, lat) rings, around loading and disposal sites and the depot: never off route inside.
        hours: (from, until) in minutes of the local day; until may lie below from for nights.
        valid_from_ms, valid_until_ms: epoch milliseconds; until 0 means open.
        corridor_m: half width of the corridor, 0 for the rule's own.
    """

    id: str
    truck: str
    route: tuple[tuple[float, float], ...]
    sites: tuple[tuple[tuple[float, float], ...], ...] = ()
    hours: tuple[int, int] = (0, 1440)
    valid_from_ms: int = 0
    valid_until_ms: int = 0
    corridor_m: float = 0.0


@dataclass(frozen=True, slots=True)
class Fence:
    """An area that vehicles must keep out of: a school, an inner ring, a closed yard.

    Attributes:
        id: its name; an area of several pieces is several fences of one name.
        ring: (lon, lat) degrees around it.
        hours: (from, until) in minutes of the local day in which it is closed; until may lie below from for nights.
        kind: what sort of area it is, a word of the city's own such as ``school``; empty where none is given.
    """

    id: str
    ring: tuple[tuple[float, float], ...]
    hours: tuple[int, int] = (0, 1440)
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Grouping:
    """One place column as numbers: ``code`` (n,) int32 into ``names``, -1 where a device has none."""

    code: npt.NDArray[np.int32]
    names: list[str]


class Registry:
    """All assets of a city, immutable once built; a change builds a new one.

    Args:
        catalog: the kinds.
        assets: in the order of their rows, as objects or as columns.
        roads, permits, fences: as imported.
        centre: lon, lat degrees of the plane's origin; the middle of the assets by default.

    Attributes:
        columns: what is known of the assets, by row.
        assets: the same as objects, made when asked for.
        row: device id to row.
        projection: metres about the city's centre.
        kind, role: (n,) indexes into the catalog's kinds and the kind's roles.
        lon, lat: (n,) degrees, NaN where unknown.
        pole_index: (n,) place on the circuit, -1 where none.
    """

    def __init__(
        self,
        catalog: Catalog,
        assets: Sequence[Asset] | Columns,
        roads: Iterable[Road] = (),
        permits: Iterable[Permit] = (),
        centre: tuple[float, float] | None = None,
        fences: Iterable[Fence] = (),
    ) -> None:
        self.catalog = catalog
        self.roads = list(roads)
        self.permits = list(permits)
        self.fences = list(fences)
        columns = assets if isinstance(assets, Columns) else columns_of(assets)
        self.lon, self.lat, self.pole_index = columns.lon, columns.lat, columns.pole_index
        self.projection = LocalProjection(*(centre or self._centre()))
        self.kind, self.role = _numbers(catalog, columns)
        columns.ids.setflags(write=False)
        self._index = Index(columns.ids, columns.index)
        self.columns = replace(columns.with_coded("grid", self._grid(columns)), index=self._index.sorted)
        self.assets = Assets(self.columns)
        self.row: Mapping[str, int] = self._index
        self._groups: dict[str, Grouping] = {}
        self._rows: dict[tuple[str, str | None], npt.NDArray[np.intp]] = {}
        self._places: dict[bytes, npt.NDArray[np.int32]] = {}
        self._ids: dict[tuple[str, str | None], npt.NDArray[np.bytes_]] = {}
        self._facts: dict[tuple[str, tuple[str, str | None]], npt.NDArray[np.float64]] = {}

    def __len__(self) -> int:
        return len(self.columns)

    def id_of(self, row: int) -> str:
        """Return the device id of a row."""
        found: str = self.columns.ids[row].decode()
        return found

    def ids_of(self, rows: npt.NDArray[np.integer] | slice) -> list[str]:
        """Return the device ids of rows."""
        names: list[bytes] = self.columns.ids[rows].tolist()
        return [name.decode() for name in names]

    def id_column(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.bytes_]:
        """Return the device ids of rows; one array for all who ask for a whole kind or role, not to be written to."""
        if len(rows) == len(self) and np.array_equal(rows, np.arange(len(self))):
            return self.columns.ids
        for key, whole in self._rows.items():
            if whole is rows or (len(whole) == len(rows) and np.array_equal(whole, rows)):
                if key not in self._ids:
                    self._ids[key] = self.columns.ids[whole]
                    self._ids[key].setflags(write=False)
                return self._ids[key]
        found: npt.NDArray[np.bytes_] = self.columns.ids[rows]
        return found

    def rows_named(self, ids: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
        """Return the row of each device id, -1 for unknown ones."""
        return self._index.find(ids)

    def fact(self, name: str, rows: npt.NDArray[np.intp] | None = None) -> npt.NDArray[np.float64]:
        """Return a fact of some rows, or as a column over all, NaN where unknown.

        One array for all who ask for a whole kind or role, not to be written to; otherwise made anew each time.
        """
        known = self.columns.facts.get(name)
        shared = next((key for key, whole in self._rows.items() if whole is rows), None)
        if shared is not None and (name, shared) in self._facts:
            return self._facts[name, shared]
        if rows is None:
            column = np.full(len(self), np.nan)
            if known is not None:
                column[known.row] = known.value
            return column
        column = np.full(len(rows), np.nan)
        if known is not None and len(known.row):
            place = np.minimum(np.searchsorted(known.row, rows.astype(known.row.dtype)), len(known.row) - 1)
            there = known.row[place] == rows
            column[there] = known.value[place[there]]
        if shared is not None:
            column.setflags(write=False)
            self._facts[name, shared] = column
        return column

    def group(self, place: str) -> Grouping:
        """Return one place column (``road``, ``cabinet``, ``grid`` …) as numbers."""
        if place not in self._groups:
            found = self.columns.coded[place]
            self._groups[place] = Grouping(found.code.astype(np.int32, copy=False), found.names)
        return self._groups[place]

    def rows_of(self, kind: str, role: str | None = None) -> npt.NDArray[np.intp]:
        """Return the rows of a kind, or of one role of it: one array for all who ask, not to be written to."""
        rows = self._rows.get((kind, role))
        if rows is None:
            found = self.catalog[kind]
            chosen = self.kind == found.index
            if role is not None:
                chosen = chosen & (self.role == found.roles.index(role))
            rows = self._rows[kind, role] = np.flatnonzero(chosen)
            rows.setflags(write=False)
        return rows

    def places_in(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
        """Return the place of every row of the registry in ``rows``, -1 where it is not among them.

        One array for all who ask with the same rows, not to be written to.
        """
        key = hashlib.blake2b(rows.tobytes()).digest()
        places = self._places.get(key)
        if places is None:
            places = self._places[key] = np.full(len(self), -1, dtype=np.int32)
            places[rows] = np.arange(len(rows), dtype=np.int32)
            places.setflags(write=False)
        return places

    def _centre(self) -> tuple[float, float]:
        known = ~(np.isnan(self.lon) | np.isnan(self.lat))
        if not known.any():
            return 0.0, 0.0
        return float(np.median(self.lon[known])), float(np.median(self.lat[known]))

    def _grid(self, columns: Columns) -> Coded:
        """Return the grid cells, those that no import has named by their positions."""
        named = columns.coded["grid"]
        east, north = self.projection.to_metres(self.lon, self.lat)
        rows = np.flatnonzero((named.code < 0) & ~np.isnan(east) & ~np.isnan(north))
        if not len(rows):
            return named
        cells = np.floor(np.column_stack([east[rows], north[rows]]) / GRID_M)
        found, member = np.unique(cells, axis=0, return_inverse=True)
        numbers = {name: number for number, name in enumerate(named.names)}
        cell_names = [grid_cell(*((cell + 0.5) * GRID_M)) for cell in found]
        of_cell = np.array([numbers.setdefault(name, len(numbers)) for name in cell_names], dtype=np.int32)
        code = named.code.astype(np.int32)
        code[rows] = of_cell[member.reshape(-1)]
        return Coded(code, list(numbers))


def _numbers(catalog: Catalog, columns: Columns) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """Return kinds and roles as the catalog numbers them. Raises KeyError or ValueError for one that it lacks."""
    kinds, roles = columns.coded["kind"], columns.coded["role"]
    kind = np.array([catalog[name].index for name in kinds.names], dtype=np.int8)[kinds.code]
    role = np.zeros(len(columns), dtype=np.int8)
    for number, name in enumerate(kinds.names):
        mine = np.flatnonzero(kinds.code == number)
        used = roles.code[mine]
        table = np.zeros(len(roles.names) + 1, dtype=np.int8)
        for code in np.unique(used):
            table[code] = catalog[name].roles.index(roles.names[code] if code >= 0 else "")
        role[mine] = table[used]
    return kind, role
