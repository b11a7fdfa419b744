"""The inflow of all stations of an engine, worked out once for all rules that go by it.

What a reading's water was follows from the readings before it (alerts/inflow.py), and is the same for every rule: the
first that sees a batch works it out, the others look it up.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from alerts.fleet import Fleet
from alerts.inflow import Inflow
from alerts.wanted import Wanted
from devices.batch import Batch, Floats, Ints
from devices.registry import Registry

Places = npt.NDArray[np.intp]
FIELDS = ("inflow_lps", "level_m", "pumps_on", "rain_mm", "velocity_mps")
RAIN, LEVEL, VELOCITY = FIELDS.index("rain_mm"), FIELDS.index("level_m"), FIELDS.index("velocity_mps")


class Heard(NamedTuple):
    """What a batch tells of stations and wells, each one's readings together and in the order of time.

    Attributes:
        row: (k,) place in the book.
        time_ms: (k,).
        values: (fields, k) in the order of FIELDS, NaN where absent or suspect.
        litres, seconds: (k,) what came in since the reading before, and for how long that is known.
        seen_s: (k,) for how much of that time it was seen and not reckoned from what the pump used to move.
    """

    row: Places
    time_ms: Ints
    values: Floats
    litres: Floats
    seconds: Floats
    seen_s: Floats


class InflowBook:
    """Stations and wells that may tell their inflow.

    Args:
        registry: of the engine.
        kind: whose devices.

    Attributes:
        rows, ids: of them, in the registry's order, whatever their role.
        inflow: what is remembered of each.
        loaded: it has taken over a saved state.
    """

    def __init__(self, registry: Registry, kind: str) -> None:
        declared = registry.catalog[kind]
        told = [f for f in declared.fields if f.name in ("inflow_lps", "level_m")]
        roles = [role for role in declared.roles if any(not f.roles or role in f.roles for f in told)]
        found = [registry.rows_of(kind, role) for role in roles]
        self.kind = kind
        self.rows: Places = np.sort(np.concatenate(found)) if found else np.zeros(0, np.intp)
        self.ids = registry.ids_of(self.rows)
        self.index = registry.places_in(self.rows)
        self.inflow = Inflow(*(registry.fact(name, self.rows) for name in ("well_area_m2", "pump_rate_lps")))
        self.loaded = False
        self._wanted = Wanted(declared, FIELDS)
        self._batch: Batch | None = None
        self._heard: Heard | None = None

    def take(self, batch: Batch) -> Heard | None:
        """Return what a batch tells, None where it is of nobody here."""
        if batch is not self._batch:
            self._batch, self._heard = batch, self._work_out(batch)
        return self._heard

    def _work_out(self, batch: Batch) -> Heard | None:
        at = self.index[batch.device]
        mine = np.flatnonzero(at >= 0)
        if not len(mine):
            return None
        mine = mine[np.argsort(at[mine], kind="stable")]
        row, time_ms = at[mine].astype(np.intp), batch.time_ms[mine]
        values = self._wanted.of(batch, np.arange(len(batch)))[:, mine]
        return Heard(row, time_ms, values, *self.inflow.take(row, time_ms, values[0], values[1], values[2]))

    @property
    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return what is remembered, by name."""
        return self.inflow.state


_BOOKS: WeakKeyDictionary[Fleet, dict[str, InflowBook]] = WeakKeyDictionary()


def engines_own(fleet: Fleet, own: InflowBook) -> InflowBook:
    """Return the book that all rules of an engine share; the first rule that meets it brings what it has loaded."""
    books = _BOOKS.setdefault(fleet, {})
    book = books.get(own.kind)
    if book is None or (own.loaded and not book.loaded):
        book = books[own.kind] = own
    return book
