"""What a batch says of trucks, turn by turn: the first reading of every truck, then all second ones, and so on.

Worked out once a batch for all rules over trucks. In a turn a truck stands at most once, and at the same place as in
the turns before, so that what is remembered of trucks can be laid out in that order too, without looking each up again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from alerts.fleet import Fleet
from alerts.turns import in_turns
from devices.batch import Batch
from devices.geometry import LocalProjection

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]

MAX_HDOP, MIN_SATELLITES = 6.0, 4.0


class Sight:
    """Readings of trucks, turn by turn: (n,) each.

    Attributes:
        truck: place among the trucks that a rule watches.
        time_ms: device time.
        cuts: where each turn begins, and the number of readings.
        more: further columns, by name; ``east`` and ``north`` among them.
    """

    __slots__ = ("cuts", "more", "time_ms", "truck")

    def __init__(self, truck: Places, time_ms: Ints, cuts: Sequence[int], more: dict[str, npt.NDArray[Any]]) -> None:
        self.truck, self.time_ms, self.cuts, self.more = truck, time_ms, cuts, more

    def __len__(self) -> int:
        return len(self.truck)

    @property
    def east(self) -> Floats:
        """Return metres east of the city's centre, NaN where the fix is no good."""
        return self.more["east"]

    @property
    def north(self) -> Floats:
        """Return metres north of the city's centre, NaN where the fix is no good."""
        return self.more["north"]

    @property
    def speed(self) -> Floats:
        """Return km/h, NaN where not reported."""
        return self.more["speed_kmh"]

    def turns(self) -> Iterator[Sight]:
        """Yield one turn after the other."""
        for first, end in pairwise(self.cuts):
            cut = slice(first, end)
            more = {name: column[cut] for name, column in self.more.items()}
            yield Sight(self.truck[cut], self.time_ms[cut], (0, end - first), more)

    def of(self, chosen: Mask) -> Sight:
        """Return the readings of chosen trucks; ``chosen`` (n,) holds for all readings of a truck or for none."""
        rows = chosen.nonzero()[0]
        if len(rows) == len(chosen):
            return self
        cuts = np.searchsorted(rows, self.cuts)
        last = int(np.searchsorted(cuts, len(rows)))  # later turns are empty
        return self._at(rows, cuts[: last + 1].tolist())

    def among(self, chosen: Mask) -> tuple[Sight, Places]:
        """Return any chosen readings, laid out anew, and where each of them stands here."""
        rows = chosen.nonzero()[0]
        order, cuts = in_turns(self.truck[rows])
        rows = rows if order is None else rows[order]
        return self._at(rows, cuts), rows

    def _at(self, rows: Places, cuts: Sequence[int]) -> Sight:
        more = {name: column[rows] for name, column in self.more.items()}
        return Sight(self.truck[rows], self.time_ms[rows], cuts, more)

    def of_turn(self, rows: Places) -> Sight:
        """Return some readings of a single turn."""
        return self if len(rows) == len(self.truck) else self._at(rows, (0, len(rows)))

    def before(self, column: npt.NDArray[Any], known: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what each reading's truck said the time before, (n,).

        Args:
            column: (n,) what the readings say.
            known: (trucks,) what the trucks said last before them.
        """
        first = self.cuts[1]
        found = np.empty(len(column), dtype=known.dtype)
        found[:first] = known[self.truck[:first]]
        for begin, (at, end) in zip(self.cuts, pairwise(self.cuts[1:]), strict=False):
            found[at:end] = column[begin : begin + end - at]
        return found


class Seen:
    """A batch of trucks' readings as all rules over trucks see it; each column is made once."""

    def __init__(self, batch: Batch, projection: LocalProjection) -> None:
        self._batch, self._projection = batch, projection
        self._order, self._cuts = in_turns(batch.device)
        self._truck = self._laid(batch.device)
        self._time_ms = self._laid(batch.time_ms)
        self._fields = {name: number for number, name in enumerate(batch.kind.field_names())}
        self._wary = bool(np.count_nonzero(batch.suspect))
        self._made: dict[str, npt.NDArray[Any]] = {}

    def of(self, index: npt.NDArray[np.int32], names: Sequence[str]) -> Sight:
        """Return the readings of the trucks that a rule watches.

        Args:
            index: (registry,) place of each row among them, -1 for others.
            names: of fields; what lies outside its physical range, and what the kind does not have, is NaN. Besides
                ``east`` and ``north``, NaN where the fix is no good, and ``row`` in the batch.
        """
        truck = index[self._truck].astype(np.intp)
        found = Sight(truck, self._time_ms, self._cuts, {name: self._column(name) for name in names})
        watched = truck >= 0
        return found if np.count_nonzero(watched) == len(truck) else found.of(watched)

    def _column(self, name: str) -> npt.NDArray[Any]:
        made = self._made.get(name)
        if made is None:
            if name in {"east", "north"}:
                self._made["east"], self._made["north"] = self._places()
            elif name == "row":
                self._made["row"] = np.arange(len(self._truck)) if self._order is None else self._order
            else:
                self._made[name] = self._field(name)
            made = self._made[name]
        return made

    def _field(self, name: str) -> Floats:
        number = self._fields.get(name)
        if number is None:
            return np.full(len(self._truck), np.nan)
        values = self._batch.values[number]
        if self._wary and np.count_nonzero(suspect := self._batch.suspect[number]):
            values = np.where(suspect, np.nan, values)
        return self._laid(values)

    def _places(self) -> tuple[Floats, Floats]:
        lon, lat = self._column("lon_deg"), self._column("lat_deg")
        east, north = self._projection.to_metres(lon, lat)
        poor = (self._column("hdop") > MAX_HDOP) | (self._column("satellites") < MIN_SATELLITES)
        poor |= ((lon == 0.0) & (lat == 0.0)) | np.isnan(lon) | np.isnan(lat)
        if np.count_nonzero(poor):
            east[poor] = north[poor] = np.nan
        return east, north

    def _laid(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return column if self._order is None else column[self._order]


def seen(fleet: Fleet, batch: Batch) -> Seen:
    """Return a batch as rules over trucks see it, the same for all of them."""
    made = fleet.about(batch)
    found: Seen | None = made.get(Seen)
    if found is None:
        found = made[Seen] = Seen(batch, fleet.registry.projection)
    return found
