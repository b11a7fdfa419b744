"""Saved state finds its place again: by the names of what it was about, whatever rows those have now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def matching(names: Sequence[str], saved: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return places among ``names`` and places among ``saved`` of the names that both have."""
    where = {str(name): place for place, name in enumerate(saved.tolist())}
    pairs = [(at, where[name]) for at, name in enumerate(names) if name in where]
    table = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    return table[:, 0], table[:, 1]
