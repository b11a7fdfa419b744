"""Names that expressions may use, and the columns they stand for: fields, facts, and what follows from time and sun."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from alerts.fleet import Fleet, Live
from devices.batch import Batch
from devices.kinds import Field, Kind

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]

DERIVED: dict[str, str] = {
    "expected_on": "lamps and cabinets: meant to burn now, by sun and schedule (yes or no)",
    "on_for_min": "minutes since the scheduled switch-on, -1 while meant to be dark",
    "off_for_min": "minutes since the scheduled switch-off, -1 while meant to burn",
    "sun_altitude_deg": "the sun's altitude over the city's centre, degrees",
    "local_hour": "hour of the local day, 0 up to 24, to the minute",
}
YES_OR_NO = ("expected_on",)
BY_NIGHT = frozenset(("expected_on", "on_for_min", "off_for_min"))


class Looked:
    """The columns of a plain look-up, with room for what terms make of them."""

    def __init__(self, columns: Callable[[str], Floats]) -> None:
        self._columns = columns
        self.made: dict[Any, Any] = {}

    def __call__(self, name: str) -> Floats | None:
        """Return the column of a name."""
        return self._columns(name)


class BatchColumns:
    """The names of one batch's readings; each column is made once, however many rules ask for it.

    Args:
        fleet: holds registry and sky.
        batch: the readings, each newer than its device's reading before.
        at: (n,) places of their devices in the kind's live columns.
        turn: (n,) how many readings of the same device stand before each, None where every device stands once.
        group: (n,) a number for each reading's device, from 0; only with ``turn``.

    Attributes:
        made: what was worked out so far, by name or term.
        absent: a byte a field, one where no reading has it inside its physical range.
        partial: a byte a field, one where some reading lacks it.
    """

    def __init__(
        self, fleet: Fleet, batch: Batch, at: Places, turn: Places | None = None, group: Places | None = None
    ) -> None:
        self.fleet, self.batch, self.at, self.turn, self.group = fleet, batch, at, turn, group
        self.time_ms = batch.time_ms
        self.live = fleet.live[batch.kind.name]
        self.trusted: Floats = batch.values
        if np.count_nonzero(batch.suspect):
            self.trusted = np.where(batch.suspect, np.nan, batch.values)
        missing = np.isnan(self.trusted)
        self.partial = np.logical_or.reduce(missing, axis=1).tobytes()
        self.absent = np.logical_and.reduce(missing, axis=1).tobytes() if len(at) else self.partial
        self.made: dict[Any, Any] = {}
        self._carried: Carried | None = None

    def __len__(self) -> int:
        return len(self.at)

    def __call__(self, name: str) -> Floats | None:
        """Return the column of a name over the batch's rows; None where no reading has it."""
        number = self.live.columns.get(name)
        if number is not None:
            return None if self.absent[number] else self.trusted[number]
        found: Floats | None = self.made.get(name)
        return self._make(name) if found is None else found

    def _make(self, name: str) -> Floats:
        rows = self.batch.device
        if name not in DERIVED:
            fact = self.live.fact(name)[self.at]
            self.made[name] = fact
            return fact
        self.made[name] = column = derived(self.fleet, name, rows, self.time_ms, self.made)
        return column

    def carried(self) -> Carried:
        """Return the same names with each field's latest trusted value up to and with each reading."""
        if self._carried is None:
            self._carried = Carried(self)
        return self._carried


def columns_of(fleet: Fleet, batch: Batch) -> BatchColumns:
    """Return a batch's columns, the same for all who ask while it is judged."""
    about = fleet.about(batch)
    found: BatchColumns | None = about.get(BatchColumns)
    if found is None:
        at = fleet.live[batch.kind.name].local.take(batch.device).astype(np.intp)
        found = about[BatchColumns] = BatchColumns(fleet, batch, at)
    return found


class Carried:
    """The columns of a batch where a field that a reading lacks is taken from the readings before.

    Asked for before the live columns take the batch in: what they hold comes before all of it.
    """

    def __init__(self, columns: BatchColumns) -> None:
        self._columns = columns
        self.time_ms = columns.time_ms
        self.made: dict[Any, Any] = {}

    def __call__(self, name: str) -> Floats | None:
        """Return the column of a name over the batch's rows."""
        columns = self._columns
        number = columns.live.columns.get(name)
        if number is None:
            return columns(name)
        found: Floats | None = self.made.get(name)
        if found is None:
            found = self.made[name] = self._fill(number)
        return found

    def _fill(self, number: int) -> Floats:
        columns = self._columns
        own, before = columns.trusted[number], columns.live.values[number, columns.at]
        known = ~np.isnan(own)
        if columns.turn is None or known.all():
            found: Floats = np.where(known, own, before)
            return found
        order = np.argsort(columns.at, kind="stable")
        rank = np.arange(len(order))
        latest = np.maximum.accumulate(np.where(known[order], rank, -1))
        first = rank - columns.turn[order]  # where the device's run begins
        filled = np.where(latest >= first, own[order][latest], before[order])
        out: Floats = np.empty_like(filled)
        out[order] = filled
        return out


class LiveColumns:
    """The names over devices as last heard of, at one moment of the host's time.

    Args:
        fleet: holds registry and sky.
        live: the kind's live columns.
        at: (n,) places in those columns.
        time_ms: the moment, epoch milliseconds.
    """

    def __init__(self, fleet: Fleet, live: Live, at: npt.NDArray[np.integer], time_ms: int) -> None:
        self.fleet, self.live, self.at, self.time_ms = fleet, live, at, time_ms
        self.made: dict[Any, Any] = {}

    def __len__(self) -> int:
        return len(self.at)

    def __call__(self, name: str) -> Floats:
        """Return the column of a name over the chosen devices."""
        found: Floats | None = self.made.get(name)
        if found is None:
            found = self.made[name] = self._make(name)
        return found

    def carried(self) -> LiveColumns:
        """Return these columns, which are the latest values already."""
        return self

    def _make(self, name: str) -> Floats:
        rows = self.live.rows[self.at]
        if name in DERIVED:
            return derived(self.fleet, name, rows, np.int64(self.time_ms), self.made)
        found: Floats = self.live.column(name)[self.at] if name in self.live.columns else self.live.fact(name)[self.at]
        return found


def derived(
    fleet: Fleet, name: str, rows: npt.NDArray[np.integer], time_ms: Ints | np.int64, made: dict[Any, Any]
) -> Floats:
    """Return a derived name's column over registry ``rows`` at ``time_ms`` (one moment, or one a row).

    ``made`` keeps the nights between calls with the same rows and times.
    """
    sky = fleet.sky
    if name in BY_NIGHT:
        nights = made.get(BY_NIGHT)
        if nights is None:
            nights = made[BY_NIGHT] = sky.nights(rows, time_ms)
        return _by_night(name, *nights)
    found = sky.sun_altitude_deg(time_ms) if name == "sun_altitude_deg" else sky.local_minute(time_ms) / 60.0
    return _spread(np.asarray(found, dtype=np.float64), np.shape(rows))


def _by_night(name: str, began: Ints, ended: Ints, time: Ints) -> Floats:
    burning = (time < ended) & (time >= began)
    if name == "expected_on":
        return burning.astype(np.float64)
    if name == "on_for_min":
        return np.where(burning, (time - began) / 60_000.0, -1.0)
    return np.where(burning, -1.0, _minutes(time - ended))


def _spread(found: Floats, shape: tuple[int, ...]) -> Floats:
    return found if found.shape == shape else np.broadcast_to(found, shape).copy()


def _minutes(span_ms: Ints) -> Floats:
    return np.where(span_ms < 0, -1.0, span_ms / 60_000.0)


def known_names(kind: Kind, role: str | None) -> dict[str, Field | None]:
    """Return the names that a rule on ``kind`` and ``role`` may use; derived ones map to None."""
    own = [f for f in (*kind.fields, *kind.facts) if role is None or not f.roles or role in f.roles]
    names: dict[str, Field | None] = {f.name: f for f in own}
    names.update(dict.fromkeys(DERIVED))
    return names
