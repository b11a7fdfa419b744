"""The registry: a file on every asset, as columns that rules, maps and tables read by row.

A device's row is given once and never again to another; it is the number that batches carry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from devices.geometry import LocalProjection, grid_cell
from devices.kinds import Catalog

PLACES = ("district", "street", "road", "cabinet", "circuit", "grid", "owner", "keeper")


@dataclass(frozen=True, slots=True)
class Asset:
    """What is known of one device.

    Attributes:
        id: device id, as in its topic.
        kind, role: as declared in the catalog.
        name: what people call it.
        lon, lat: WGS-84 degrees; of a truck, its depot.
        district, street, road: where it stands.
        cabinet: id of the streetlight cabinet, or of the pump station, that feeds or holds it.
        circuit: circuit of the cabinet.
        pole_index: place on the circuit, from the cabinet outwards; -1 where that means nothing.
        grid: 100 m cell; computed from the position when empty.
        owner, keeper: the unit that owns it and the one that looks after it.
        facts: numbers by fact name (``rated_power_w``).
    """

    id: str
    kind: str
    role: str
    name: str = ""
    lon: float = float("nan")
    lat: float = float("nan")
    district: str = ""
    street: str = ""
    road: str = ""
    cabinet: str = ""
    circuit: str = ""
    pole_index: int = -1
    grid: str = ""
    owner: str = ""
    keeper: str = ""
    facts: Mapping[str, float] = field(default_factory=dict)


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
class Grouping:
    """One place column as numbers: ``code`` (n,) int32 into ``names``, -1 where a device has none."""

    code: npt.NDArray[np.int32]
    names: list[str]


class Registry:
    """All assets of a city, immutable once built; a change builds a new one.

    Attributes:
        catalog: the kinds.
        assets: by row.
        row: device id to row.
        projection: metres about the city's centre.
        kind, role: (n,) indexes into the catalog's kinds and the kind's roles.
        lon, lat, east, north: (n,) degrees, and metres from the centre; NaN where unknown.
        pole_index: (n,) place on the circuit, -1 where none.
        roads, permits: as imported.
    """

    def __init__(
        self,
        catalog: Catalog,
        assets: Sequence[Asset],
        roads: Iterable[Road] = (),
        permits: Iterable[Permit] = (),
        centre: tuple[float, float] | None = None,
    ) -> None:
        self.catalog = catalog
        self.roads = list(roads)
        self.permits = list(permits)
        self.lon = np.array([a.lon for a in assets], dtype=np.float64)
        self.lat = np.array([a.lat for a in assets], dtype=np.float64)
        self.projection = LocalProjection(*(centre or self._centre()))
        self.east, self.north = self.projection.to_metres(self.lon, self.lat)
        self.assets = [self._with_grid(row, asset) for row, asset in enumerate(assets)]
        self.row = {asset.id: row for row, asset in enumerate(self.assets)}
        self.kind = np.array([catalog[a.kind].index for a in assets], dtype=np.int8)
        self.role = np.array([catalog[a.kind].roles.index(a.role) for a in assets], dtype=np.int8)
        self.pole_index = np.array([a.pole_index for a in assets], dtype=np.int32)
        self._facts: dict[str, npt.NDArray[np.float64]] = {}
        self._groups: dict[str, Grouping] = {}
        self._rows: dict[tuple[str, str | None], npt.NDArray[np.intp]] = {}

    def __len__(self) -> int:
        return len(self.assets)

    def fact(self, name: str) -> npt.NDArray[np.float64]:
        """Return a fact as a column over all rows, NaN where unknown."""
        if name not in self._facts:
            self._facts[name] = np.array([a.facts.get(name, np.nan) for a in self.assets], dtype=np.float64)
        return self._facts[name]

    def group(self, place: str) -> Grouping:
        """Return one place column (``road``, ``cabinet``, ``grid`` …) as numbers."""
        if place not in self._groups:
            names: dict[str, int] = {}
            code = np.empty(len(self.assets), dtype=np.int32)
            for row, asset in enumerate(self.assets):
                label = getattr(asset, place)
                code[row] = names.setdefault(label, len(names)) if label else -1
            self._groups[place] = Grouping(code, list(names))
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

    def _centre(self) -> tuple[float, float]:
        known = ~(np.isnan(self.lon) | np.isnan(self.lat))
        if not known.any():
            return 0.0, 0.0
        return float(np.median(self.lon[known])), float(np.median(self.lat[known]))

    def _with_grid(self, row: int, asset: Asset) -> Asset:
        if asset.grid or np.isnan(self.east[row]) or np.isnan(self.north[row]):
            return asset
        values = {name: getattr(asset, name) for name in Asset.__slots__}
        values["grid"] = grid_cell(float(self.east[row]), float(self.north[row]))
        return Asset(**values)
