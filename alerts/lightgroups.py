"""Which lamps are counted together: roads, cabinets, and cells of the grid large enough to say anything."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from devices.geometry import GRID_M
from devices.registry import Registry

_CELL = re.compile(r"^E(-?\d+)N(-?\d+)$")
_CELLS = re.compile(r"(?:E-?[0-9]+N-?[0-9]+(?:\n|\Z))+")
_LEVELS = 4  # cells of 100 m grow to 200, 400 and 800 m; beyond that it is a district, not a place to send a crew to
MAIN_RANKS = ("expressway", "main")


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of lamps of one scope.

    Attributes:
        scope: ``road``, ``cabinet`` or ``grid``.
        names: of the groups; a merged grid cell bears the name of its most populous cell.
        member: (m,) group of each lamp, -1 where it is in none.
        size_m: (groups,) edge of grid cells in metres, 0 for other scopes.
        rank: rank of each road, empty for other scopes.
        left_out: lamps that are in no group.
    """

    scope: str
    names: list[str]
    member: npt.NDArray[np.int64]
    size_m: npt.NDArray[np.float64]
    rank: list[str]
    left_out: int


def by_place(registry: Registry, lamps: npt.NDArray[np.intp], scope: str, least: int) -> Groups:
    """Group lamps by road or cabinet; groups of fewer than ``least`` lamps are left out."""
    group = registry.group(scope)
    code = group.code[lamps].astype(np.int64)
    count = np.bincount(code[code >= 0], minlength=len(group.names))
    kept = np.flatnonzero(count >= least)
    number = np.full(len(group.names) + 1, -1, dtype=np.int64)  # the last place answers for code -1
    number[kept] = np.arange(len(kept))
    member = number[code]
    names = [group.names[k] for k in kept]
    ranks = {road.name: road.rank for road in registry.roads}
    rank = [ranks.get(name, "") if scope == "road" else "" for name in names]
    return Groups(scope, names, member, np.zeros(len(names)), rank, int((member < 0).sum()))


def _places(cells: list[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return (n, 2) where grid cells lie, east and north, and which are named as cells: an import may name others."""
    text = "\n".join(cells)
    if text.count("\n") < len(cells) and _CELLS.fullmatch(text):  # a large city has a hundred thousand: all at once
        numbers = np.fromstring(text.replace("E", "").replace("N", " "), dtype=np.int64, sep=" ")
        return numbers.reshape(-1, 2), np.ones(len(cells), dtype=bool)
    found = [_CELL.match(name) for name in cells]
    place = [[int(m[1]), int(m[2])] if m else [0, 0] for m in found]
    return np.array(place, dtype=np.int64).reshape(-1, 2), np.array([m is not None for m in found], dtype=bool)


def by_grid(registry: Registry, lamps: npt.NDArray[np.intp], least: int) -> Groups:
    """Group lamps by grid cell; lamps of cells with fewer than ``least`` are merged with those of neighbouring cells.

    Cells merge by fours into 200 m, then 400 m, then 800 m, until there are enough lamps to judge; what is too thin
    even then is left to road and cabinet.
    """
    grid = registry.group("grid")
    code = grid.code[lamps]
    held = np.bincount(code[code >= 0], minlength=len(grid.names))  # lamps by cell: what merges are cells
    lit = held.nonzero()[0]
    labels = [grid.names[k] for k in lit.tolist()]
    place, rank = np.zeros((len(held), 2), dtype=np.int64), np.zeros(len(held), dtype=np.int64)
    free = np.zeros(len(held), dtype=bool)
    place[lit], free[lit] = _places(labels)
    rank[lit[np.argsort(np.array(labels, dtype=np.str_))]] = np.arange(len(lit))
    group = np.full(len(free) + 1, -1, dtype=np.int64)  # the last place answers for code -1
    names: list[str] = []
    sizes: list[float] = []
    for level in range(_LEVELS):
        cells = np.flatnonzero(free)
        if not len(cells):
            break
        east, north = (place[cells] >> level).T
        _, block = np.unique((east << 32) + north, return_inverse=True)
        enough = np.flatnonzero(np.bincount(block, weights=held[cells]) >= least)
        number = np.full(block.max() + 1, -1, dtype=np.int64)
        number[enough] = len(names) + np.arange(len(enough))
        # Of each block the cell with most lamps, of several the first by name, gives the group its name.
        order = np.lexsort((rank[cells], -held[cells], block))
        label = cells[order[np.flatnonzero(np.diff(block[order], prepend=-1))]]
        group[cells] = number[block]
        free[cells[number[block] >= 0]] = False
        names += [grid.names[k] for k in label[enough].tolist()]
        sizes += [GRID_M * 2**level] * len(enough)
    member = group[code]
    return Groups("grid", names, member, np.array(sizes), [""] * len(names), int((member < 0).sum()))
