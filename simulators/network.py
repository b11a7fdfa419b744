"""Streets of the simulated city: a bent lattice of main, secondary and branch roads that trucks can find ways on."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulators.names import road_name

Points = npt.NDArray[np.float64]  # (n, 2) metres east and north of the city's centre
BLOCK_M = 550.0
SECTION_BLOCKS = 2  # blocks to one name: about 1.1 km, some thirty lamps a side
_STEPS = 5  # points an edge is drawn with, so that streets bend
_COST = {"main": 0.75, "secondary": 1.0, "branch": 1.5}  # drivers prefer wide roads
Node = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Street:
    """One named section of road: its line in metres from the centre, and its rank."""

    name: str
    rank: str
    line: Points
    nodes: tuple[Node, ...]


@dataclass(slots=True)
class Network:
    """All streets and how they meet.

    Attributes:
        streets: named sections.
        place: junction to metres east and north.
        links: junction to its neighbours, as neighbour, line towards it and the cost of driving there.
    """

    streets: list[Street] = field(default_factory=list)
    place: dict[Node, Points] = field(default_factory=dict)
    links: dict[Node, dict[Node, tuple[Points, float]]] = field(default_factory=dict)

    def path(self, start: Node, goal: Node, penalty: Callable[[Node, Node], float] | None = None) -> list[Node]:
        """Return the junctions of the cheapest way (Dijkstra); ``penalty`` multiplies the cost of a link.

        Raises:
            ValueError: when no way leads there.
        """
        best: dict[Node, float] = {start: 0.0}
        before: dict[Node, Node] = {}
        queue: list[tuple[float, Node]] = [(0.0, start)]
        while queue:
            cost, here = heapq.heappop(queue)
            if here == goal:
                break
            if cost > best[here]:
                continue
            for there, (_, price) in self.links[here].items():
                total = cost + price * (penalty(here, there) if penalty else 1.0)
                if total < best.get(there, math.inf):
                    best[there], before[there] = total, here
                    heapq.heappush(queue, (total, there))
        if goal not in best:
            raise ValueError(f"no way leads from {start} to {goal}")
        way = [goal]
        while way[-1] != start:
            way.append(before[way[-1]])
        return way[::-1]

    def line(self, way: list[Node]) -> Points:
        """Return the line along a way of junctions, (n, 2) metres."""
        parts = [self.place[way[0]][None, :]]
        parts.extend(self.links[a][b][0][1:] for a, b in itertools.pairwise(way))
        return np.concatenate(parts)


def build_network(rng: np.random.Generator, blocks_ew: int, blocks_ns: int) -> Network:
    """Return a connected network of ``blocks_ew`` x ``blocks_ns`` blocks of about 550 m.

    Every fourth line is a main road, every other a secondary one; an eighth of the branch blocks is left out.
    """
    bend = _Bend(rng, blocks_ew, blocks_ns)
    net = Network()
    for i in range(blocks_ew + 1):
        for j in range(blocks_ns + 1):
            net.place[i, j] = bend.at(np.array([[i, j]], dtype=np.float64))[0]
            net.links[i, j] = {}
    for j in range(blocks_ns + 1):
        _lay(net, bend, rng, _Line([(i, j) for i in range(blocks_ew + 1)], j - blocks_ns // 2, "ew"))
    for i in range(blocks_ew + 1):
        _lay(net, bend, rng, _Line([(i, j) for j in range(blocks_ns + 1)], i - blocks_ew // 2, "ns"))
    return net


class _Line(NamedTuple):
    """One line of the lattice: its junctions, its place counted from the middle line, and where it runs."""

    nodes: list[Node]
    from_middle: int
    heading: str

    @property
    def rank(self) -> str:
        return "main" if self.from_middle % 4 == 0 else "secondary" if self.from_middle % 2 == 0 else "branch"

    @property
    def number(self) -> int:
        """Place among all lines, from the middle outwards, so that the best known names lie in the middle."""
        outwards = 2 * abs(self.from_middle) - (self.from_middle > 0)
        return 2 * outwards + (self.heading == "ns")


def _lay(net: Network, bend: _Bend, rng: np.random.Generator, line: _Line) -> None:
    """Add one line of the lattice: its links, and its named sections."""
    parts = math.ceil((len(line.nodes) - 1) / SECTION_BLOCKS)
    for part in range(parts):
        section = line.nodes[part * SECTION_BLOCKS : part * SECTION_BLOCKS + SECTION_BLOCKS + 1]
        gaps = rng.random(len(section) - 1)
        run: list[Node] = [section[0]]
        for (a, b), gap in zip(itertools.pairwise(section), gaps, strict=True):
            if line.rank == "branch" and gap < 0.125:
                run = run if len(run) > 1 else [b]  # of two blocks one is left, and keeps the name
                continue
            along = np.linspace(np.array(a, dtype=np.float64), np.array(b, dtype=np.float64), _STEPS + 1)
            points = bend.at(along)
            price = length(points) * _COST[line.rank]
            net.links[a][b] = (points, price)
            net.links[b][a] = (points[::-1], price)
            run.append(b)
        if len(run) > 1:
            name = road_name(line.number, line.rank, part, parts, heading=line.heading)
            net.streets.append(Street(name, line.rank, net.line(run), tuple(run)))


class _Bend:
    """Where a lattice point lies: turned, waved and pushed about, so that no street is a ruler's line."""

    def __init__(self, rng: np.random.Generator, blocks_ew: int, blocks_ns: int) -> None:
        self._middle = np.array([blocks_ew // 2, blocks_ns // 2], dtype=np.float64)
        self._angle = math.radians(rng.uniform(-14, 14))
        self._phase = rng.uniform(0, 2 * math.pi, 2)
        self._push = rng.uniform(-45, 45, (blocks_ew + 2, blocks_ns + 2, 2))
        self._push[blocks_ew // 2, blocks_ns // 2] = 0.0

    def at(self, lattice: Points) -> Points:
        """Return metres of lattice points (n, 2); the middle junction stays at the origin."""
        low = np.floor(lattice).astype(np.intp)
        part = lattice - low
        push = np.zeros_like(lattice)
        for di in (0, 1):
            for dj in (0, 1):
                weight = np.abs(1 - di - part[:, 0]) * np.abs(1 - dj - part[:, 1])
                push += weight[:, None] * self._push[low[:, 0] + di, low[:, 1] + dj]
        flat = (lattice - self._middle) * BLOCK_M
        wave = 70.0 * np.column_stack(
            [
                np.sin(flat[:, 1] / 900.0 + self._phase[0]) - math.sin(self._phase[0]),
                np.sin(flat[:, 0] / 1100.0 + self._phase[1]) - math.sin(self._phase[1]),
            ]
        )
        bent = flat + wave + push
        cos, sin = math.cos(self._angle), math.sin(self._angle)
        return np.column_stack([cos * bent[:, 0] - sin * bent[:, 1], sin * bent[:, 0] + cos * bent[:, 1]])


def length(line: Points) -> float:
    """Return the length of a line in metres."""
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


def chainage(line: Points) -> npt.NDArray[np.float64]:
    """Return the distance along a line of each of its points, metres."""
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])


def along(line: Points, distance: npt.ArrayLike, aside: npt.ArrayLike = 0.0) -> Points:
    """Return points at ``distance`` metres along a line and ``aside`` metres to its right."""
    s = np.asarray(distance, dtype=np.float64)
    cum = chainage(line)
    at = np.clip(np.searchsorted(cum, s, side="right") - 1, 0, len(line) - 2)
    step = line[at + 1] - line[at]
    size = np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-9)
    part = ((s - cum[at]) / size)[:, None]
    right = np.column_stack([step[:, 1], -step[:, 0]]) / size[:, None]
    return line[at] + part * step + right * np.broadcast_to(np.asarray(aside, dtype=np.float64), s.shape)[:, None]


def distance_to(line: Points, points: Points) -> npt.NDArray[np.float64]:
    """Return the distance of each point (m, 2) from a line (n, 2), metres."""
    a, step = line[:-1], np.diff(line, axis=0)
    size2 = np.maximum((step**2).sum(axis=1), 1e-12)
    from_a = points[:, None, :] - a[None]
    part = np.clip((from_a * step[None]).sum(axis=2) / size2, 0.0, 1.0)
    gap = from_a - part[:, :, None] * step[None]
    return np.asarray(np.sqrt((gap**2).sum(axis=2)).min(axis=1))
