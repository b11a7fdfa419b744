"""What is usual for each of many things, learned from past nights: the median of so many nights' means.

Small and recursive: a running mean of the present night, and one number a past night. Which nights and readings count
is for the caller to say: what is out of the ordinary must not be learned as usual.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alerts.judge import State
from alerts.saved import take_over
from devices.registry import Registry
from devices.sky import DAY_MS, Sky

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
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
        # Level by level: memory of a level at which few things ever are is never touched.
        self._past = np.zeros((levels, count, nights), dtype=np.float32)
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
        self._past[level, thing, place] = self._sum[thing, level] / self._seen[thing, level]
        self._kept[thing, level] += 1
        self._sum[over], self._seen[over] = 0.0, 0
        enough = self._kept[thing, level] >= self._least_nights
        thing, level = thing[enough], level[enough]
        if len(thing):
            past = self._past[level, thing].astype(np.float64)
            past[np.arange(past.shape[1]) >= self._kept[thing, level][:, None]] = np.nan
            self.usual[thing, level] = np.nanmedian(past, axis=1)

    def learn(self, at: Places, level: Places, value: Floats) -> None:
        """Take readings of the things at ``at`` (each once) into their present night."""
        self._sum[at, level] += value
        self._seen[at, level] += 1

    def save(self) -> State:
        """Return everything that is remembered; of a thing's levels only those at which it was."""
        thing, level = np.nonzero(self._seen)
        kept: State = {
            "night": self.night.copy(),
            "now.thing": thing.astype(np.int32),
            "now.level": level.astype(np.int8),
        }
        kept |= {"now.sum": self._sum[thing, level], "now.seen": self._seen[thing, level]}
        thing, level = np.nonzero(self._kept)
        kept |= {"past.thing": thing.astype(np.int32), "past.level": level.astype(np.int8)}
        kept |= {"past.kept": self._kept[thing, level], "past.usual": self.usual[thing, level]}
        kept["past.nights"] = self._past[level, thing]
        return {f"base.{name}": column for name, column in kept.items()}

    def load(self, state: State, at: Places, place: Places) -> None:
        """Take over what :meth:`save` returned: the things at ``place`` there now stand at ``at``."""
        take_over({"night": self.night}, state, "base.", at, place)
        if state.get("base.past.nights", np.empty((0, 0))).shape[1] != self._past.shape[2]:
            return  # another number of nights, or of an earlier version
        new, old = self._moved(state, "now", at, place)
        self._sum[new], self._seen[new] = state["base.now.sum"][old], state["base.now.seen"][old]
        new, old = self._moved(state, "past", at, place)
        self._kept[new], self.usual[new] = state["base.past.kept"][old], state["base.past.usual"][old]
        self._past[new[::-1]] = state["base.past.nights"][old]

    def _moved(self, state: State, part: str, at: Places, place: Places) -> tuple[tuple[Places, Places], Mask]:
        """Return the things and levels at which saved ones now stand, and which of the saved these are."""
        thing, level = (state[f"base.{part}.{name}"].astype(np.intp) for name in ("thing", "level"))
        moved = np.full(max(thing.max(initial=-1), place.max(initial=-1)) + 1, -1, dtype=np.intp)
        moved[place] = at
        here = (moved[thing] >= 0) & (level < self._past.shape[0])
        return (moved[thing][here], level[here]), here


def night_of(sky: Sky, time_ms: Ints) -> Ints:
    """Return the night that each moment belongs to, noon to noon, as the local day on which it began."""
    return sky.local_day(np.asarray(time_ms, dtype=np.int64) - DAY_MS // 2)


def watts_due(registry: Registry, rows: Places, level: Floats) -> Floats:
    """Return what lamps of ``rows`` draw at ``level`` (0 to 1) by their rated power."""
    found: Floats = registry.fact("rated_power_w", rows) * level
    return found
