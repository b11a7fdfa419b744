"""Forbidden areas: a truck that is deep inside a fence, deeper than its receiver errs, for long enough.

The areas are the rule's own and the registry's, each with the hours in which it is closed. A rule may hold only
while a condition on the same reading does: loaded, or with an open lid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from alerts.columns import BatchColumns
from alerts.corridor import Rings
from alerts.expressions import Condition, condition
from alerts.fleet import Fleet
from alerts.keys import Keys
from alerts.rules import Rule
from alerts.spans import minute_of_day
from alerts.truckwatch import Floats, Ints, Mask, Sight, TruckJudge
from devices.batch import Batch
from devices.kinds import Kind
from devices.registry import Fence, Registry
from devices.sky import Sky
from devices.transition import Transition
from devices.yamlfile import Node

VALUES = ("depth_m", "least_m")
_FAR_M = -1e6  # depth of a truck that is near no fence
_NEAR_M = 200.0
_CELL_M = 100.0
_CELLS_MOST = 1_000  # each way
_PAIRS_MOST = 200_000  # of places and fences looked at together: bounds the memory


@dataclass(frozen=True, slots=True)
class FenceParams:
    """Settings of the rule.

    Attributes:
        deep_m: least depth inside the fence, metres.
        sigmas: and so many times what the receiver may err.
        uere_m: metres of error to one of hdop.
        samples: fixes that deep that are enough, before ``for`` is over.
        out_m: outside by so much it is over.
        areas: the rule's own, beside the registry's.
        kinds: sorts of the registry's fences that count; none of them where empty, None for all.
        while_: only while this holds of the same reading; surely not, and an alert ends. None for always.
    """

    deep_m: float = 20.0
    sigmas: float = 3.0
    uere_m: float = 5.0
    samples: int = 3
    out_m: float = 30.0
    areas: tuple[Fence, ...] = ()
    while_: Condition | None = None
    kinds: tuple[str, ...] | None = None


def parse(own: Node, kind: Kind, role: str | None) -> FenceParams:
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    if "lon_deg" not in kind.field_names():
        raise own.error(f"{kind.name} reports no position: it cannot be kept out of an area")
    plain = FenceParams()
    keys = Keys(own, "deep_m", "sigmas", "uere_m", "samples", "out_m", "areas", "while", "kinds")
    params = FenceParams(
        keys.number("deep_m", plain.deep_m, 0, 10_000),
        keys.number("sigmas", plain.sigmas, 0, 20),
        keys.number("uere_m", plain.uere_m, 0.1, 100),
        int(keys.number("samples", plain.samples, 1, 1000)),
        keys.number("out_m", plain.out_m, 0, 10_000),
        tuple(_area(name, node) for name, node in listed.items()) if (listed := own.get("areas")) is not None else (),
        keys.read("while", None, lambda node: condition(node, kind, role)),
        keys.read("kinds", None, lambda node: tuple(one.text() for one in node.elements())),
    )
    keys.done()
    return params


def _area(name: str, node: Node) -> Fence:
    """Read one forbidden area. Raises ConfigError naming file, line, key and the accepted form."""
    node.only("ring", "hours")
    points = []
    for one in node.need("ring").elements():
        pair = [part.number(low=-180, high=180) for part in one.elements()]
        if len(pair) != 2:
            raise one.error("expected [longitude, latitude]")
        points.append((pair[0], pair[1]))
    if len(set(points)) < 3:
        raise node.need("ring").error("expected three positions [longitude, latitude] or more")
    hours = node.get("hours")
    if hours is None:
        return Fence(name, tuple(points))
    times = [minute_of_day(one) for one in hours.elements()]
    if len(times) != 2 or times[0] == times[1]:
        raise hours.error('expected from and until, such as ["07:00", "19:00"]')
    return Fence(name, tuple(points), (times[0], times[1]))


class FenceJudge(TruckJudge):
    """The fence rule over all trucks."""

    COLUMNS: ClassVar[dict[str, tuple[type, float]]] = {}

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        super().__init__(rule, registry, sky)
        params: FenceParams = rule.params
        self.params, self.samples = params, params.samples
        given = [one for one in registry.fences if params.kinds is None or one.kind in params.kinds]
        self.areas = Areas(registry, (*given, *params.areas))
        self._held: tuple[Mask, Mask] | None = None
        if params.while_ is not None:
            self._names = (*self._names, "row")

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:
        """Judge readings, each by its place and, where the rule has one, by its condition."""
        held = self.params.while_
        if held is not None:
            columns = BatchColumns(fleet, batch, fleet.live[self.rule.device].local[batch.device].astype(np.intp))
            with np.errstate(all="ignore"):
                said = [one.of(columns) for one in (held.yes, held.no)]
            yes, no = (np.broadcast_to(False if one is None else one, len(batch)) for one in said)
            self._held = yes, no
        return super().readings(fleet, batch, now_ms)

    def busy(self, sight: Sight) -> Mask:
        """Work out how deep all readings lie inside; return the trucks that may be told of."""
        p, hdop = self.params, sight.more["hdop"]
        depth = self.areas.depth(sight.east, sight.north, sight.time_ms, self.sky.local_minute)
        least = np.maximum(p.deep_m, p.sigmas * p.uere_m * np.where(np.isnan(hdop), 1.0, hdop))
        sight.more |= {"depth_m": depth, "least_m": least}
        return self.waking(sight.truck[depth > least])

    def look(self, sight: Sight) -> tuple[Mask, Mask, dict[str, Floats]]:
        """Return which trucks are deep inside a fence that is closed, and which are clear of all."""
        depth, least = sight.more["depth_m"], sight.more["least_m"]
        known = ~np.isnan(sight.east)
        told = {"value": depth, "threshold": least, "depth_m": depth, "least_m": least}
        holds, over = known & (depth > least), known & (depth < -self.params.out_m)
        if self._held is not None:
            yes, no = (one[sight.more["row"]] for one in self._held)
            holds, over = holds & yes, over | no
        return holds, over, told


class Areas:
    """Fences, with a coarse look that leaves out all trucks that are near none."""

    def __init__(self, registry: Registry, fences: Sequence[Fence]) -> None:
        self._rings = Rings([registry.projection.to_metres(*np.array(fence.ring).T) for fence in fences])
        hours = np.array([fence.hours for fence in fences], dtype=np.int64).reshape(-1, 2)
        self._from, self._until = hours[:, 0], hours[:, 1]
        self._timed = self._until - self._from < 1440
        self._box = self._rings.box.T + np.array([-_NEAR_M, _NEAR_M, -_NEAR_M, _NEAR_M])
        self._near = self._coarse()

    def _coarse(self) -> Mask:
        """Return a coarse map of where a fence is near, with a margin of its own about it."""
        if not len(self._box):
            return np.zeros((1, 1), dtype=np.bool_)
        west, east, south, north = (
            self._box[:, 0].min(),
            self._box[:, 1].max(),
            self._box[:, 2].min(),
            self._box[:, 3].max(),
        )
        self._west, self._south = west, south
        self._cell = max(_CELL_M, (east - west) / _CELLS_MOST, (north - south) / _CELLS_MOST)
        found = np.zeros((int((east - west) / self._cell) + 3, int((north - south) / self._cell) + 3), dtype=np.bool_)
        corners = ((self._box - np.array([west, west, south, south])) / self._cell).astype(np.intp) + 1
        for low_x, high_x, low_y, high_y in corners.tolist():
            found[low_x : high_x + 1, low_y : high_y + 1] = True
        return found

    def near(self, east: Floats, north: Floats) -> npt.NDArray[np.intp]:
        """Return which places may lie near a fence; the others surely do not."""
        if not len(self._box):
            return np.zeros(0, dtype=np.intp)
        with np.errstate(invalid="ignore"):
            i = np.clip(np.nan_to_num((east - self._west) / self._cell, nan=-1.0) + 1, 0, self._near.shape[0] - 1)
            j = np.clip(np.nan_to_num((north - self._south) / self._cell, nan=-1.0) + 1, 0, self._near.shape[1] - 1)
        found: npt.NDArray[np.intp] = self._near[i.astype(np.intp), j.astype(np.intp)].nonzero()[0]
        return found

    def depth(self, east: Floats, north: Floats, time_ms: Ints, local_minute: Callable[[Ints], Ints]) -> Floats:
        """Return metres inside the deepest closed fence, negative outside, (n,); far away where there is none near."""
        found = np.full(len(east), _FAR_M)
        candidates = self.near(east, north)
        step = max(1, _PAIRS_MOST // max(1, len(self._box)))
        for first in range(0, len(candidates), step):
            rows = candidates[first : first + step]
            x, y = east[rows, None], north[rows, None]
            west, east_end, south, north_end = self._box.T
            beside, ring = ((x > west) & (x < east_end) & (y > south) & (y < north_end)).nonzero()
            rows = rows[beside]
            closed = self._closed(ring, time_ms[rows], local_minute)
            rows, ring = rows[closed], ring[closed]
            if len(rows):
                away = self._rings.edge_m(ring, east[rows], north[rows])
                inside = self._rings.hold(ring, east[rows], north[rows])
                np.maximum.at(found, rows, np.where(inside, away, -away))
        return found

    def _closed(self, ring: Ints, time_ms: Ints, local_minute: Callable[[Ints], Ints]) -> Mask:
        """Return which fences are closed at the time."""
        timed = self._timed[ring]
        if not np.count_nonzero(timed):
            return ~timed
        start, end, minute = self._from[ring], self._until[ring], local_minute(time_ms)
        found: Mask = np.where(start <= end, (minute >= start) & (minute < end), (minute >= start) | (minute < end))
        return found | ~timed
