"""The fields that a judge wants of every reading, fetched together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from devices.batch import Batch, Floats
from devices.kinds import Kind


class Wanted:
    """Some fields of a kind, by their column numbers; what the kind does not have stays unknown."""

    def __init__(self, kind: Kind, names: Sequence[str]) -> None:
        known = kind.field_names()
        self._columns = np.array([known.index(name) if name in known else 0 for name in names], dtype=np.intp)
        self._lacking = [number for number, name in enumerate(names) if name not in known]

    def of(self, batch: Batch, rows: npt.NDArray[np.intp]) -> Floats:
        """Return (names, rows) values inside their physical ranges, NaN for the others."""
        values: Floats = batch.values[self._columns]
        if np.count_nonzero(batch.suspect):
            values[batch.suspect[self._columns]] = np.nan
        if self._lacking:
            values[self._lacking] = np.nan
        return values if len(rows) == len(batch) else values[:, rows]
