"""The fleet as a map sees it: states and positions of all assets by registry row."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from fastapi.responses import Response

from alerts.fleet import NEVER
from api.house import House
from devices.registry import Registry

SILENT = -1


class View:
    """Reads states and positions from the engine; to be used on the event loop, between the engine's steps."""

    def __init__(self, house: House) -> None:
        self.house = house
        self._registry: Registry | None = None
        self._revision = ""

    def revision(self) -> str:
        """Return a short name of the present registry, by which row numbers hold."""
        registry = self.house.registry
        if registry is not self._registry:
            ids = b"\n".join(registry.columns.ids.tolist())
            self._revision = hashlib.blake2s(ids, digest_size=6).hexdigest()
            self._registry = registry
        return self._revision

    def states(self) -> npt.NDArray[np.int8]:
        """Return (n,) states by row: 0 fine, 1 info, 2 minor, 3 major, 4 critical, -1 silent."""
        engine = self.house.engine
        states = np.full(len(self.house.registry), SILENT, dtype=np.int8)
        for name, live in engine.fleet.live.items():
            states[live.rows] = engine.severity(name)
        return states

    def positions(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return (n,) longitudes and latitudes by row, degrees; of what moves, the newest."""
        registry = self.house.registry
        lon, lat = registry.lon.copy(), registry.lat.copy()
        for name, live in self.house.engine.fleet.live.items():
            names = registry.catalog[name].field_names()
            if "lon_deg" in names and "lat_deg" in names:
                here_lon, here_lat = live.column("lon_deg"), live.column("lat_deg")
                heard = ~(np.isnan(here_lon) | np.isnan(here_lat))
                lon[live.rows[heard]], lat[live.rows[heard]] = here_lon[heard], here_lat[heard]
        return lon, lat

    def columns(self) -> dict[str, Any]:
        """Return all assets as columns (schemas.MapForm)."""
        registry = self.house.registry
        lon, lat = self.positions()
        return {
            "revision": self.revision(),
            "kinds": list(registry.catalog.kinds),
            "id": registry.ids_of(slice(None)),
            "kind": registry.kind.tolist(),
            "role": registry.role.tolist(),
            "lon": np.round(lon, 7).tolist(),  # 1 cm
            "lat": np.round(lat, 7).tolist(),
            "state": self.states().tolist(),
        }


def number(value: float | np.floating[Any]) -> float | None:
    """Return a number, or None where it is not one."""
    plain = float(value)
    return None if math.isnan(plain) else plain


def known(time_ms: np.int64) -> int | None:
    """Return an epoch time, or None where there was none yet."""
    return None if time_ms == NEVER else int(time_ms)


def json(body: Any, headers: dict[str, str] | None = None) -> Response:  # noqa: ANN401 - anything JSON holds
    """Return an answer encoded by msgspec: large columns in milliseconds, NaN as null."""
    return Response(msgspec.json.encode(body), media_type="application/json", headers=headers)
