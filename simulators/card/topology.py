"""Who stands in whom: the devices that an alert or a fault is about, from one lamp to the whole city."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from devices.asset import PLACES
from devices.registry import Registry

Rows = npt.NDArray[np.intp]
NOBODY: Rows = np.zeros(0, dtype=np.intp)
CITY = "city"
WIDE = ("road", "street", "grid", CITY, "district")  # a fault here touches those that it names, not everybody


class Topology:
    """The devices under every entity of one city.

    An entity is ``device:lamp-0001``, a place column such as ``cabinet:…``, ``road:…`` or ``district:…``,
    ``circuit:cabinet/1`` or ``city:…``. A device that feeds or holds others (a cabinet, a pump station) stands for
    itself and for them.

    Args:
        registry: who the rows are.
        merged: lamps of grid cells that a rule has put together, by entity: the rule names such a block by one cell.
    """

    def __init__(self, registry: Registry, merged: Mapping[str, Rows] | None = None) -> None:
        self.registry = registry
        self._merged = dict(merged or {})
        self._known: dict[str, Rows] = {}
        self._members: dict[str, dict[str, Rows]] = {}

    def rows(self, entity: str) -> Rows:
        """Return the registry rows under ``entity``, rising; none where nobody knows it."""
        found = self._known.get(entity)
        if found is None:
            found = self._known[entity] = self._look(entity)
        return found

    def touched(self, entity: str, targets: Iterable[str]) -> Rows:
        """Return the rows that a fault touches: its entity's, or of a wide one those of the devices that it names."""
        named = [self.rows(f"device:{target}") for target in targets]
        if entity and (not named or entity.partition(":")[0] not in WIDE):
            named.append(self.rows(entity))
            if entity.startswith("circuit:"):  # named by its cabinet as target: the other circuits are not touched
                named = [named[-1], *(rows for rows in named[:-1] if len(rows) == 1)]
        return np.unique(np.concatenate(named)) if named else NOBODY

    def _look(self, entity: str) -> Rows:
        sort, _, label = entity.partition(":")
        if sort == CITY:
            return np.arange(len(self.registry))
        if sort == "gateway":
            return np.flatnonzero(self.registry.fact("gateway") == float(label))
        if sort == "circuit":
            cabinet, _, circuit = label.rpartition("/")
            fed, wired = self._place("cabinet", cabinet), self._place("circuit", circuit)
            return np.intersect1d(fed, wired)
        parts = [self._merged[entity]] if entity in self._merged else []
        if sort in PLACES:
            parts.append(self._place(sort, label))
        row = self.registry.row.get(label)
        if row is not None and sort not in ("road", "street", "grid", "district", "owner", "keeper"):
            parts += [np.array([row], dtype=np.intp), self._place("cabinet", label)]
        return np.unique(np.concatenate(parts)) if parts else NOBODY

    def _place(self, sort: str, label: str) -> Rows:
        members = self._members.get(sort)
        if members is None:
            group = self.registry.group(sort)
            order = np.argsort(group.code, kind="stable")
            bounds = np.searchsorted(group.code[order], np.arange(len(group.names) + 1))
            members = {name: order[bounds[k] : bounds[k + 1]] for k, name in enumerate(group.names)}
            self._members[sort] = members
        return members.get(label, NOBODY)


def as_lists(parts: Sequence[Rows]) -> tuple[Rows, npt.NDArray[np.int64]]:
    """Return lists end to end, and where each begins, (n + 1,)."""
    sizes = np.array([len(part) for part in parts], dtype=np.int64)
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return (np.concatenate(parts) if len(parts) else NOBODY), bounds


def spread(bounds: npt.NDArray[np.int64], wanted: npt.NDArray[np.intp]) -> tuple[Rows, Rows]:
    """Return for lists end to end the places of the ``wanted`` ones' items, and which of ``wanted`` each is of."""
    sizes = bounds[wanted + 1] - bounds[wanted]
    of = np.repeat(np.arange(len(wanted)), sizes)
    begins = np.concatenate([[0], np.cumsum(sizes)])[:-1]
    within = np.arange(len(of)) - begins[of]
    return (bounds[wanted][of] + within).astype(np.intp), of.astype(np.intp)
