"""How far a truck is from its permitted ways: many polylines side by side, distances for many fixes at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_OFFSETS = np.arange(-4, 5, dtype=np.int64)  # routes are driven both ways: look as far back as ahead
_BLOCK = 16  # segments under one bounding circle
_SLACK_M = 0.01  # of what a box about a site may leave out by rounding
_ROWS_MAX = 200_000  # fix-block pairs worked on at once: bounds the memory of a search over whole routes


class Corridors:
    """Permitted routes as straight segments, structure of arrays, all routes one behind the other.

    The distance is exact to the polyline. It is first looked for around the segment matched last, so that on a route
    which passes near itself progress along it is kept; where that finds nothing near, the whole route is searched.

    Args:
        lines: for each route its (east, north) vertices in local metres, each (k,), k >= 2.

    Attributes:
        first, last: (routes,) first and last segment of each route, inclusive.
    """

    def __init__(self, lines: Sequence[tuple[Floats, Floats]]) -> None:
        counts = np.array([len(east) - 1 for east, _ in lines], dtype=np.int64)
        if (counts < 1).any():
            raise ValueError("a route needs at least two points")
        self.last = np.cumsum(counts) - 1
        self.first = self.last - counts + 1
        empty = np.zeros(0)
        self.x = np.concatenate([east[:-1] for east, _ in lines]) if lines else empty
        self.y = np.concatenate([north[:-1] for _, north in lines]) if lines else empty
        self.dx = np.concatenate([np.diff(east) for east, _ in lines]) if lines else empty
        self.dy = np.concatenate([np.diff(north) for _, north in lines]) if lines else empty
        square = self.dx * self.dx + self.dy * self.dy
        self._inverse = np.where(square > 0, 1.0 / np.maximum(square, 1e-12), 0.0)
        self._make_blocks(counts)

    def _make_blocks(self, counts: Ints) -> None:
        blocks = -(-counts // _BLOCK)
        self.block_last = np.cumsum(blocks) - 1
        self.block_first = self.block_last - blocks + 1
        starts = [np.arange(a, b + 1, _BLOCK) for a, b in zip(self.first, self.last, strict=True)]
        self._starts = np.concatenate(starts) if starts else np.zeros(0, np.int64)
        owner = np.repeat(np.arange(len(counts)), blocks)
        self._ends = np.minimum(self._starts + _BLOCK - 1, self.last[owner]) if starts else self._starts
        if not len(self._starts):
            self._cx = self._cy = self._radius = np.zeros(0)
            return
        far_x, far_y = self.x + self.dx, self.y + self.dy
        low_x = np.minimum.reduceat(np.minimum(self.x, far_x), self._starts)
        high_x = np.maximum.reduceat(np.maximum(self.x, far_x), self._starts)
        low_y = np.minimum.reduceat(np.minimum(self.y, far_y), self._starts)
        high_y = np.maximum.reduceat(np.maximum(self.y, far_y), self._starts)
        self._cx, self._cy = (low_x + high_x) / 2, (low_y + high_y) / 2
        self._radius = np.sqrt((high_x - low_x) ** 2 + (high_y - low_y) ** 2) / 2

    def nearest(self, route: Ints, east: Floats, north: Floats, hint: Ints, near_m: Floats) -> tuple[Floats, Ints]:
        """Return the distance of each fix to its route in metres, and the segment it was matched to.

        Args:
            route: (n,) route of each fix.
            east, north: (n,) local metres, finite.
            hint: (n,) segment matched last, -1 where none.
            near_m: (n,) a match about the hint at most this far away is taken without searching the whole route.
        """
        segment = np.clip(hint, self.first[route], self.last[route])
        distance, segment = self._window(route, east, north, segment)
        moved = ((hint >= 0) & (distance > near_m) & (np.abs(segment - hint) >= _OFFSETS[-1])).nonzero()[0]
        if len(moved):  # the truck has driven past the window: follow the route once more before giving up
            where = (route[moved], east[moved], north[moved], segment[moved])
            distance[moved], segment[moved] = self._window(*where)
        lost = ((hint < 0) | (distance > near_m)).nonzero()[0]
        step = max(1, _ROWS_MAX // max(1, int((self.block_last - self.block_first).max(initial=0)) + 1))
        for at in range(0, len(lost), step):
            part = lost[at : at + step]
            distance[part], segment[part] = self._whole(route[part], east[part], north[part])
        return distance, segment

    def _squared(self, segment: Ints, east: Floats, north: Floats) -> Floats:
        rx, ry = east - self.x.take(segment), north - self.y.take(segment)
        dx, dy = self.dx.take(segment), self.dy.take(segment)
        along = (rx * dx + ry * dy) * self._inverse.take(segment)
        np.maximum(along, 0.0, out=along)
        np.minimum(along, 1.0, out=along)
        rx -= along * dx
        ry -= along * dy
        rx *= rx
        ry *= ry
        rx += ry
        return rx

    def _window(self, route: Ints, east: Floats, north: Floats, centre: Ints) -> tuple[Floats, Ints]:
        around = centre[:, None] + _OFFSETS
        np.maximum(around, self.first[route][:, None], out=around)
        np.minimum(around, self.last[route][:, None], out=around)
        square = self._squared(around, east[:, None], north[:, None])
        best = square.argmin(axis=1)
        best += np.arange(0, square.size, len(_OFFSETS))
        return np.sqrt(square.take(best)), around.take(best)

    def _whole(self, route: Ints, east: Floats, north: Floats) -> tuple[Floats, Ints]:
        """Search whole routes: blocks whose circle cannot hold anything nearer are left out."""
        fix, block = ragged(self.block_first[route], self.block_last[route])
        reach = np.sqrt((east[fix] - self._cx[block]) ** 2 + (north[fix] - self._cy[block]) ** 2)
        heads = _heads(fix)
        upper = np.minimum.reduceat(reach + self._radius[block], heads)
        kept = reach - self._radius[block] <= upper[fix]
        fix, block = fix[kept], block[kept]
        pair, segment = ragged(self._starts[block], self._ends[block])
        owner = fix[pair]
        square = self._squared(segment, east[owner], north[owner])
        least = np.minimum.reduceat(square, _heads(owner))
        hit = (square == least[owner]).nonzero()[0]
        first_hit = hit[_heads(owner[hit])]
        return np.sqrt(least), segment[first_hit]


def _heads(owner: Ints) -> Ints:
    """Return where each run of equal values begins; ``owner`` rises."""
    begins = np.ones(len(owner), dtype=np.bool_)
    np.not_equal(owner[1:], owner[:-1], out=begins[1:])
    found: Ints = begins.nonzero()[0]
    return found


def ragged(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Return (owner, number) pairs that run through ``first[i] … last[i]`` for every i."""
    counts = last - first + 1
    owner = np.repeat(np.arange(len(first)), counts)
    before = np.cumsum(counts) - counts
    return owner, np.arange(len(owner)) - before[owner] + first[owner]


class Rings:
    """Closed polygons side by side.

    Args:
        rings: (east, north) pairs of vertex columns in local metres.

    Attributes:
        box: (4, rings) least and greatest east, least and greatest north.
    """

    def __init__(self, rings: Sequence[tuple[Floats, Floats]]) -> None:
        closed = [_closed(east, north) for east, north in rings]
        self._edges = Corridors(closed)
        self._far_y = np.concatenate([north[1:] for _, north in closed]) if closed else np.zeros(0)
        limits = [(east.min(), east.max(), north.min(), north.max()) for east, north in closed]
        self.box = np.array(limits, dtype=np.float64).reshape(-1, 4).T

    def hold(self, ring: Ints, east: Floats, north: Floats) -> Mask:
        """Return whether each place lies inside its ring, (n,), by counting the edges to its right."""
        edges = self._edges
        pair, edge = ragged(edges.first[ring], edges.last[ring])
        px, py = east[pair], north[pair]
        y, far_y = edges.y[edge], self._far_y[edge]
        crosses = ((y > py) != (far_y > py)).nonzero()[0]
        pair, edge, y = pair[crosses], edge[crosses], y[crosses]
        beyond = px[crosses] < edges.x[edge] + (py[crosses] - y) * edges.dx[edge] / (far_y[crosses] - y)
        odd: Mask = np.bincount(pair[beyond], minlength=len(ring)) % 2 == 1
        return odd

    def edge_m(self, ring: Ints, east: Floats, north: Floats) -> Floats:
        """Return how far each place is from the edge of its ring, metres (n,)."""
        none, zero = np.full(len(ring), -1, dtype=np.int64), np.zeros(len(ring))
        return self._edges.nearest(ring, east, north, none, zero)[0]


class Sites:
    """Closed polygons around loading sites, disposal sites and depots, several to a permit.

    Args:
        rings: for each permit its rings, each an (east, north) pair of vertex columns in local metres.
    """

    def __init__(self, rings: Sequence[Sequence[tuple[Floats, Floats]]]) -> None:
        counts = np.array([len(group) for group in rings], dtype=np.int64)
        self.ring_last = np.cumsum(counts) - 1
        self.ring_first = self.ring_last - counts + 1
        self._rings = Rings([ring for group in rings for ring in group])

    def holds(self, permit: Ints, east: Floats, north: Floats, margin_m: float) -> Mask:
        """Return whether each fix lies inside a site of its permit, or at most ``margin_m`` from its edge."""
        found: Mask = self.metres(permit, east, north, margin_m) <= margin_m
        return found

    def metres(self, permit: Ints, east: Floats, north: Floats, reach_m: float) -> Floats:
        """Return how far each fix is from the nearest site of its permit, metres (n,): 0 inside, infinite where far.

        What lies within ``reach_m`` of a site is told truly.
        """
        found = np.full(len(permit), np.inf)
        fix, ring = ragged(self.ring_first[permit], self.ring_last[permit])
        reach = reach_m + _SLACK_M
        x, y = east[fix], north[fix]
        west, east_end, south, north_end = self._rings.box.take(ring, axis=1)
        near = (x >= west - reach) & (x <= east_end + reach) & (y >= south - reach) & (y <= north_end + reach)
        chosen = near.nonzero()[0]
        if not len(chosen):
            return found
        fix, ring = fix[chosen], ring[chosen]
        within = self._rings.hold(ring, east[fix], north[fix])
        found[fix[within]] = 0.0
        beside = (~within).nonzero()[0]
        if len(beside):
            fix, ring = fix[beside], ring[beside]
            np.minimum.at(found, fix, self._rings.edge_m(ring, east[fix], north[fix]))
        return found


def _closed(east: Floats, north: Floats) -> tuple[Floats, Floats]:
    if east[0] == east[-1] and north[0] == north[-1]:
        return east, north
    return np.append(east, east[0]), np.append(north, north[0])
