"""Devices find their places again by name: ids as they are saved, and the places that they have now."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from devices.registry import Registry

Places = npt.NDArray[np.signedinteger]


def ids_of(registry: Registry, rows: Places) -> npt.NDArray[np.bytes_]:
    """Return the device ids of registry rows, as an array without objects."""
    return registry.id_column(rows)


def places_of(registry: Registry, rows: npt.NDArray[np.intp], ids: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
    """Return for each saved id its place in ``rows`` (sorted registry rows), -1 where it has none."""
    if np.array_equal(ids, registry.id_column(rows)):  # most often nothing has changed
        return np.arange(len(rows))
    found = registry.rows_named(ids)
    if not len(rows):
        return np.full(len(found), -1, dtype=np.intp)
    place = np.minimum(np.searchsorted(rows, found), len(rows) - 1)
    return np.where((found >= 0) & (rows[place] == found), place, -1)
