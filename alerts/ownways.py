"""Is a truck where its permits let it be? Asked only of the few trucks whose positions are in doubt."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from alerts.corridor import Corridors, Sites
from devices.registry import Permit, Registry


class _Ways(NamedTuple):
    lines: Corridors
    routes: int
    sites: Sites


class OwnWays:
    """Routes and sites of single trucks, made ready when a truck is first asked about.

    Args:
        registry: whose permits.
        rows: registry rows of the watched trucks.
        margin_m: so near a route or site is on it, metres.
    """

    def __init__(self, registry: Registry, rows: npt.NDArray[np.intp], margin_m: float) -> None:
        self._registry, self._margin_m = registry, margin_m
        place = {registry.id_of(row): number for number, row in enumerate(rows.tolist())}
        self._permits: dict[int, list[Permit]] = {}
        for permit in registry.permits:
            if permit.truck in place:
                self._permits.setdefault(place[permit.truck], []).append(permit)
        self._ready: dict[int, _Ways] = {}

    def away(self, truck: int, east: float, north: float) -> bool:
        """Return whether a truck is surely off all its ways and sites; of one without a permit nobody knows.

        Args:
            truck: place among the watched trucks.
            east, north: metres from the city's centre.
        """
        if truck not in self._permits:
            return False
        ways = self._ready.get(truck)
        if ways is None:
            ways = self._ready[truck] = self._make(truck)
        each = np.arange(ways.routes, dtype=np.int64)
        x, y = np.full(ways.routes, east), np.full(ways.routes, north)
        if ways.routes:
            distance, _ = ways.lines.nearest(each, x, y, each * 0 - 1, np.zeros(ways.routes))
            if distance.min() <= self._margin_m:
                return False
        at = np.array([east]), np.array([north])
        return not ways.sites.holds(np.zeros(1, dtype=np.int64), *at, self._margin_m)[0]

    def _make(self, truck: int) -> _Ways:
        to_metres, group = self._registry.projection.to_metres, self._permits[truck]
        lines = [to_metres(*np.array(permit.route).T) for permit in group if len(permit.route) > 1]
        rings = [to_metres(*np.array(ring).T) for permit in group for ring in permit.sites]
        return _Ways(Corridors(lines), len(lines), Sites([rings]))
