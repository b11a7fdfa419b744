"""Metres on the ground: one local flat projection a city, and the 100 m grid of the grid platform."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EARTH_M_PER_DEG = 111_194.92664455873  # metres a degree on a sphere of radius 6,371,008.8 m
GRID_M = 100.0  # 万米单元格: cells of ten thousand square metres (policy S7)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LocalProjection:
    """Equirectangular projection about a city's centre; east-west scale error <= 0.3 % within 30 km.

    Attributes:
        lon0, lat0: centre in degrees (WGS-84).
    """

    lon0: float
    lat0: float

    def to_metres(self, lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Return metres east and north of the centre, shaped as the input."""
        scale = EARTH_M_PER_DEG * np.cos(np.radians(self.lat0))
        east = (np.asarray(lon, dtype=np.float64) - self.lon0) * scale
        north = (np.asarray(lat, dtype=np.float64) - self.lat0) * EARTH_M_PER_DEG
        return east, north

    def to_degrees(self, east: npt.ArrayLike, north: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Return longitude and latitude of metres east and north of the centre."""
        scale = EARTH_M_PER_DEG * np.cos(np.radians(self.lat0))
        lon = np.asarray(east, dtype=np.float64) / scale + self.lon0
        lat = np.asarray(north, dtype=np.float64) / EARTH_M_PER_DEG + self.lat0
        return lon, lat


def grid_cell(east_m: float, north_m: float) -> str:
    """Return the name of the 100 m cell that holds a point, such as ``E012N-003``."""
    return f"E{int(np.floor(east_m / GRID_M)):03d}N{int(np.floor(north_m / GRID_M)):03d}"
