"""Saved state finds its place again: by the names of what it was about, whatever rows those have now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def matching(names: Sequence[str], saved: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return places among ``names`` and places among ``saved`` of the names that both have."""
    where = {str(name): place for place, name in enumerate(saved.tolist())}
    pairs = [(at, where[name]) for at, name in enumerate(names) if name in where]
    table = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def take_over(
    columns: Mapping[str, npt.NDArray[Any]], saved: Mapping[str, npt.NDArray[np.generic]], prefix: str,
    at: npt.NDArray[np.intp], place: npt.NDArray[np.intp],
) -> None:  # fmt: skip
    """Copy saved columns into those of the same name; what an earlier version did not keep, or kept otherwise, stays.

    Args:
        columns: (m, …) to be filled in place.
        saved: by name behind ``prefix``.
        at, place: as :func:`matching` gives them.
    """
    for name, column in columns.items():
        kept = saved.get(prefix + name)
        if kept is not None and kept.shape[1:] == column.shape[1:]:
            column[at] = kept[place]
