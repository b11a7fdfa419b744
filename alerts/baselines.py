"""What is usual for each of many things, learned from past nights: the median of so many nights' means.

Small and recursive: a running mean of the present night, and one number a past night. Which nights and readings count
is for the caller to say: what is out of the ordinary must not be learned as usual.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from devices.registry import Registry
from devices.sky import DAY_MS, Sky

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
NO_NIGHT = -1


class Baselines:
    """Nightly means and their median, for each of ``count`` things at each of ``levels`` levels.

    Args:
        count: things.
        levels: of each, learned apart.
        nights: past nights that the median is of.
        least_nights: before there are so many, nothing is usual.
        least_readings: nights of fewer readings are left out.

    Attributes:
        usual: (count, levels) the median, NaN before there is one.
    """

    def __init__(self, count: int, levels: int, nights: int, least_nights: int, least_readings: int) -> None:
        self._least_nights, self._least_readings = least_nights, least_readings
        self.usual = np.full((count, levels), np.nan)
        self.night: Ints = np.full(count, NO_NIGHT, dtype=np.int64)
        self._sum, self._seen = np.zeros((count, levels)), np.zeros((count, levels), dtype=np.int32)
        self._past = np.full((count, levels, nights), np.nan, dtype=np.float32)
        self._kept = np.zeros((count, levels), dtype=np.int32)

    def turn(self, at: Places, night: Ints) -> None:
        """Close the nights of the things at ``at`` (each once) that are over, now that it is ``night``."""
        over = at[(self.night[at] != night) & (self.night[at] != NO_NIGHT)]
        self.night[at] = night
        if not len(over):
            return
        thing, level = np.nonzero(self._seen[over] >= self._least_readings)
        thing = over[thing]
        place = self._kept[thing, level] % self._past.shape[2]
        self._past[thing, level, place] = self._sum[thing, level] / self._seen[thing, level]
        self._kept[thing, level] += 1
        self._sum[over], self._seen[over] = 0.0, 0
        enough = self._kept[thing, level] >= self._least_nights
        thing, level = thing[enough], level[enough]
        if len(thing):
            self.usual[thing, level] = np.nanmedian(self._past[thing, level].astype(np.float64), axis=1)

    def learn(self, at: Places, level: Places, value: Floats) -> None:
        """Take readings of the things at ``at`` (each once) into their present night."""
        self._sum[at, level] += value
        self._seen[at, level] += 1

    def save(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return everything that is remembered, a row a thing."""
        return {f"base.{name}": column.copy() for name, column in self._columns().items()}

    def _columns(self) -> dict[str, npt.NDArray[np.generic]]:
        return {
            "usual": self.usual, "night": self.night, "sum": self._sum, "seen": self._seen, "past": self._past,
            "kept": self._kept,
        }  # fmt: skip

    @property
    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the columns themselves, to be filled from what was saved."""
        return self._columns()


def night_of(sky: Sky, time_ms: Ints) -> Ints:
    """Return the night that each moment belongs to, noon to noon, as the local day on which it began."""
    return sky.local_day(np.asarray(time_ms, dtype=np.int64) - DAY_MS // 2)


def watts_due(registry: Registry, rows: Places, level: Floats) -> Floats:
    """Return what lamps of ``rows`` draw at ``level`` (0 to 1) by their rated power."""
    found: Floats = registry.fact("rated_power_w")[rows] * level
    return found
