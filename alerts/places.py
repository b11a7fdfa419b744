"""Devices find their places again by name: ids as they are saved, and the places that they have now."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from devices.registry import Registry

Places = npt.NDArray[np.signedinteger]


def ids_of(registry: Registry, rows: Places) -> npt.NDArray[np.bytes_]:
    """Return the device ids of registry rows, as an array without objects."""
    return registry.id_column(rows)


def some_of(registry: Registry, rows: Places, at: npt.NDArray[np.integer]) -> dict[str, npt.NDArray[np.generic]]:
    """Return which of ``rows`` stand at some places, as :func:`found_of` finds them again.

    All ids are named, which costs nothing: a snapshot holds them once for everybody.
    """
    return {"ids": ids_of(registry, rows), "at": np.asarray(at).astype(np.int32)}


def found_of(registry: Registry, rows: Places, state: Mapping[str, npt.NDArray[np.generic]]) -> Places:
    """Return for each device of :func:`some_of` its place in ``rows`` (sorted registry rows), -1 where it has none."""
    found = places_of(registry, rows, state["ids"])
    return found[state["at"].astype(np.intp)] if "at" in state else found


def places_of(registry: Registry, rows: npt.NDArray[np.intp], ids: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
    """Return for each saved id its place in ``rows`` (sorted registry rows), -1 where it has none."""
    if np.array_equal(ids, registry.id_column(rows)):  # most often nothing has changed
        return np.arange(len(rows))
    found = registry.rows_named(ids)
    if not len(rows):
        return np.full(len(found), -1, dtype=np.intp)
    place = np.minimum(np.searchsorted(rows, found), len(rows) - 1)
    return np.where((found >= 0) & (rows[place] == found), place, -1)
