"""Water below the covers: sewage with its daily shape, rain that drains away, and waves that travel along the pipes.

Covers of one road hang on one pipe, in their order along it. What happens upstream reaches a cover later by its
distance at a metre a second, the usual speed of a filling sewer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from devices.registry import Registry
from simulators.machine import Floats, Ints, Rows
from simulators.weather import HOUR_MS, Rain

WAVE_MPS = 1.0
_GRID_MS = 300_000  # the rain's storage is worked out every five minutes
_DRAINS_MS = 45 * 60_000  # time in which a sewer loses two thirds of what rain has brought
_PER_MM = 0.004  # metres of level a millimetre of rain in the pipes
_BEFORE_MS = 12 * HOUR_MS


class Sewers:
    """Levels at all covers.

    Args:
        registry: places and roads.
        rows: (n,) the covers.
        rain: over the city.
        rng: for what differs between covers.
        start_ms: city time from which on levels are asked for.

    Attributes:
        along_m: (n,) place of each cover along its pipe, metres from its upper end.
        lag_ms: (n,) how much later than at the upper end a wave passes.
    """

    def __init__(self, registry: Registry, rows: Rows, rain: Rain, rng: np.random.Generator, start_ms: int) -> None:
        n = len(rows)
        self.along_m = along_roads(registry, rows)
        self.lag_ms: Ints = np.round(self.along_m / WAVE_MPS * 1000).astype(np.int64)
        self._dry = rng.uniform(0.05, 0.30, n)
        self._sewage = rng.uniform(0.02, 0.05, n)
        self._catch = rng.uniform(0.5, 1.5, n)
        self._grid_ms, self._stored = _storage(rain, start_ms - _BEFORE_MS)

    def level_m(self, rows: Rows, times: Ints, minute: float) -> Floats:
        """Return the water above the invert at each report, metres, without the sensor's noise.

        Args:
            rows: (k,) covers.
            times: (k,) of the reports.
            minute: local minute of the day, the same for all of them.
        """
        lag = self.lag_ms[rows]
        phase = 2 * np.pi * (minute - 480.0 - lag / 60_000.0) / 1440.0
        wet = np.interp(times - lag, self._grid_ms, self._stored) * _PER_MM * self._catch[rows]
        return np.asarray(self._dry[rows] + self._sewage[rows] * np.sin(phase) + wet)


def along_roads(registry: Registry, rows: Rows) -> Floats:
    """Return metres along each cover's road, by the road's longest extent."""
    out = np.zeros(len(rows))
    if not len(rows):
        return out
    east, north = registry.projection.to_metres(registry.lon[rows], registry.lat[rows])
    code = registry.group("road").code[rows]
    for road in np.unique(code[code >= 0]).tolist():
        at = np.flatnonzero(code == road)
        place = np.column_stack([east[at], north[at]]) - [east[at].mean(), north[at].mean()]
        axis = np.linalg.svd(place, full_matrices=False)[2][0]
        along = place @ (axis if axis.sum() >= 0 else -axis)
        out[at] = along - along.min()
    return out


def _storage(rain: Rain, from_ms: int) -> tuple[Ints, npt.NDArray[np.float64]]:
    """Return times and the millimetres of rain that are still in the pipes then: a linear reservoir."""
    until_ms = max(rain.knots_ms[-1] + 12 * HOUR_MS, from_ms + _GRID_MS) if rain.knots_ms else from_ms + _GRID_MS
    grid = np.arange(from_ms, until_ms, _GRID_MS, dtype=np.int64)
    if not rain.knots_ms:
        return grid, np.zeros(len(grid))
    total = np.interp(grid, rain.knots_ms, rain.total_mm)
    fallen = np.diff(total, prepend=total[0])
    keeps = float(np.exp(-_GRID_MS / _DRAINS_MS))
    held, stored = 0.0, np.zeros(len(grid))
    for number, new in enumerate(fallen.tolist()):
        held = held * keeps + new
        stored[number] = held
    return grid, stored
