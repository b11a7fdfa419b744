"""Names that expressions may use, and the columns they stand for: fields, facts, and what follows from time and sun."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from alerts.fleet import Fleet, Live
from devices.batch import Batch
from devices.kinds import Field, Kind

Floats = npt.NDArray[np.float64]

DERIVED: dict[str, str] = {
    "expected_on": "lamps and cabinets: meant to burn now, by sun and schedule (yes or no)",
    "on_for_min": "minutes since the scheduled switch-on, -1 while meant to be dark",
    "off_for_min": "minutes since the scheduled switch-off, -1 while meant to burn",
    "sun_altitude_deg": "the sun's altitude over the city's centre, degrees",
    "local_hour": "hour of the local day, 0 up to 24, to the minute",
}
YES_OR_NO = ("expected_on",)


class Columns(Protocol):
    """Where an expression finds its names, each a column of the same length."""

    def __call__(self, name: str) -> Floats:
        """Return the column of a name, NaN where unknown."""


class BatchColumns:
    """The names of one batch's readings; each column is made once, however many rules ask for it.

    Args:
        fleet: holds registry and sky.
        batch: the readings.
        carried: take fields from the devices' latest trusted values rather than from the readings alone.
    """

    def __init__(self, fleet: Fleet, batch: Batch, *, carried: bool = False) -> None:
        self.fleet, self.batch, self.carried = fleet, batch, carried
        self._live = fleet.live[batch.kind.name]
        self._made: dict[str, Floats] = {}

    def __call__(self, name: str) -> Floats:
        """Return the column of a name over the batch's rows."""
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(name)
        return made

    def _make(self, name: str) -> Floats:
        batch = self.batch
        if name in DERIVED:
            return derived(self.fleet, name, batch.device, batch.time_ms)
        number = self._live.columns.get(name)
        if number is None:
            return self.fleet.registry.fact(name)[batch.device]
        if self.carried:
            return self._live.column(name)[self._live.local[batch.device]]
        return np.where(batch.suspect[number], np.nan, batch.values[number])


def columns_of(fleet: Fleet, batch: Batch, *, carried: bool = False) -> BatchColumns:
    """Return the columns of ``batch``, made once and shared by all rules that judge it."""
    place = "carried columns" if carried else "columns"
    found = fleet.shared.get(place)
    if not isinstance(found, BatchColumns) or found.batch is not batch:
        found = fleet.shared[place] = BatchColumns(fleet, batch, carried=carried)
    return found


class LiveColumns:
    """The names over devices as last heard of, at one moment of the host's time.

    Args:
        fleet: holds registry and sky.
        live: the kind's live columns.
        at: (n,) places in those columns.
        time_ms: the moment, epoch milliseconds.
    """

    def __init__(self, fleet: Fleet, live: Live, at: npt.NDArray[np.intp], time_ms: int) -> None:
        self.fleet, self.live, self.at, self.time_ms = fleet, live, at, time_ms

    def __call__(self, name: str) -> Floats:
        """Return the column of a name over the chosen devices."""
        rows = self.live.rows[self.at]
        if name in DERIVED:
            return derived(self.fleet, name, rows, np.int64(self.time_ms))
        if name in self.live.columns:
            return self.live.column(name)[self.at]
        return self.fleet.registry.fact(name)[rows]


def derived(
    fleet: Fleet, name: str, rows: npt.NDArray[np.integer], time_ms: npt.NDArray[np.int64] | np.int64
) -> Floats:
    """Return a derived name's column over registry ``rows`` at ``time_ms`` (one moment, or one a row)."""
    sky = fleet.sky
    found: npt.NDArray[np.generic]
    if name == "expected_on":
        found = sky.expected_on(rows, time_ms)
    elif name == "on_for_min":
        found = _minutes(sky.switched_on_for_ms(rows, time_ms))
    elif name == "off_for_min":
        found = _minutes(sky.switched_off_for_ms(rows, time_ms))
    elif name == "sun_altitude_deg":
        found = sky.sun_altitude_deg(time_ms)
    else:
        found = sky.local_minute(time_ms) / 60.0
    return np.broadcast_to(np.asarray(found, dtype=np.float64), np.shape(rows)).copy()


def _minutes(span_ms: npt.NDArray[np.int64]) -> Floats:
    return np.where(span_ms < 0, -1.0, span_ms / 60_000.0)


def known_names(kind: Kind, role: str | None) -> dict[str, Field | None]:
    """Return the names that a rule on ``kind`` and ``role`` may use; derived ones map to None."""
    own = [f for f in (*kind.fields, *kind.facts) if role is None or not f.roles or role in f.roles]
    names: dict[str, Field | None] = {f.name: f for f in own}
    names.update(dict.fromkeys(DERIVED))
    return names
