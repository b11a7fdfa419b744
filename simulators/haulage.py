"""Where muck trucks may go: building sites, disposal sites, the depot, and one approved way a truck."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from devices.geometry import LocalProjection
from devices.registry import Asset, Permit
from simulators.names import HAULAGE, plate
from simulators.network import Network, Node, Points, along, chainage, distance_to

HOURS = (22 * 60, 6 * 60)  # an illustrative night permit, 22:00 to 06:00 local
SITE_M = 130.0  # side of a site's polygon
_SPUR_M = 75.0  # from the junction to the middle of the site
LOAD_T = 18.0  # a four-axle tipper's net load
MIN_AWAY_M = 1000.0


@dataclass(frozen=True, slots=True)
class Haul:
    """One truck's work: a line from the depot over the building site to the disposal site, driven to and fro.

    Attributes:
        truck: device id.
        line: (n, 2) metres east and north of the city's centre.
        site_m: distance along the line of the building site; its end is the disposal site, its start the depot.
        junctions: junctions between building and disposal site with their distance along the line.
    """

    truck: str
    line: Points
    site_m: float
    junctions: tuple[tuple[Node, float], ...]


@dataclass(frozen=True, slots=True)
class Detour:
    """Another way between two places of a haul's line.

    Attributes:
        leave_m, return_m: distances along the haul's line where the detour begins and ends.
        line: the way between, (n, 2) metres.
        away_m: its greatest distance from the haul's line.
    """

    leave_m: float
    return_m: float
    line: Points
    away_m: float


def build_hauls(
    rng: np.random.Generator, net: Network, trucks: int, projection: LocalProjection
) -> tuple[list[Asset], list[Permit], list[Haul]]:
    """Return trucks, their permits and their work; trucks of one building site share its way."""
    if trucks == 0:
        return [], [], []
    east = max(node[0] for node in net.place)
    north = max(node[1] for node in net.place)
    rows = [j for j in range(north + 1) if (j - north // 2) % 2 == 0]  # never on a branch road
    depot = (0, north // 2)
    tips = [(east, rows[0]), (east, rows[-1])]
    quarry = [(i, j) for i in range(1, max(2, east // 2)) for j in rows if (i, j) != depot]
    count = min(len(quarry), max(3, trucks // 4), 40)
    pits = [quarry[k] for k in rng.choice(len(quarry), count, replace=False)]
    ways: dict[tuple[Node, Node], tuple[Points, float, tuple[tuple[Node, float], ...], list[Points]]] = {}
    assets: list[Asset] = []
    permits: list[Permit] = []
    hauls: list[Haul] = []
    width = max(3, len(str(trucks)))
    for number in range(1, trucks + 1):
        pit, tip = pits[number % count], tips[number % 2]
        if (pit, tip) not in ways:
            ways[pit, tip] = _way(net, depot, pit, tip)
        line, site_m, junctions, sites = ways[pit, tip]
        name = f"truck-{number:0{width}d}"
        lon, lat = projection.to_degrees(line[0, 0], line[0, 1])
        assets.append(
            Asset(
                name,
                "truck",
                "truck",
                plate(number),
                float(lon),
                float(lat),
                owner=HAULAGE,
                keeper=f"运输{number % 3 + 1}公司 Haulier {number % 3 + 1}",
                facts={"max_load_t": LOAD_T},
            )
        )
        rings = tuple(degrees(projection, site) for site in sites)
        permits.append(Permit(f"permit-{number:0{width}d}", name, degrees(projection, line), rings, HOURS))
        hauls.append(Haul(name, line, site_m, junctions))
    return assets, permits, hauls


def degrees(projection: LocalProjection, line: Points) -> tuple[tuple[float, float], ...]:
    """Return a line in metres as (lon, lat) pairs, rounded to a centimetre."""
    lon, lat = projection.to_degrees(line[:, 0], line[:, 1])
    return tuple((round(float(x), 7), round(float(y), 7)) for x, y in zip(lon, lat, strict=True))


def _way(
    net: Network, depot: Node, pit: Node, tip: Node
) -> tuple[Points, float, tuple[tuple[Node, float], ...], list[Points]]:
    middles = [_beside(net, node, away) for node, away in ((depot, (-1, 0)), (pit, (0, 1)), (tip, (1, 0)))]
    access, haul = net.path(depot, pit), net.path(pit, tip)
    line = np.concatenate([middles[0][None], net.line(access), middles[1][None], net.line(haul), middles[2][None]])
    cum = chainage(line)
    start = 1 + len(net.line(access)) + 1  # first point after the site: the pit's junction again
    junctions = [(haul[0], float(cum[start]))]
    at = start
    for a, b in itertools.pairwise(haul):
        at += len(net.links[a][b][0]) - 1
        junctions.append((b, float(cum[at])))
    return line, float(cum[start - 1]), tuple(junctions), [_square(middle) for middle in middles]


def _beside(net: Network, node: Node, away: tuple[int, int]) -> Points:
    """Return the middle of a site beside a junction."""
    neighbour = next(iter(net.links[node]))
    step = np.abs(net.place[neighbour] - net.place[node])
    turn = np.array(away, dtype=np.float64) + 0.25 * (step / np.hypot(*step))
    return np.asarray(net.place[node] + turn / np.hypot(*turn) * _SPUR_M)


def _square(middle: Points) -> Points:
    half = SITE_M / 2
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half], [-half, -half]])
    return np.asarray(middle + corners)


def find_detour(net: Network, haul: Haul) -> Detour:
    """Return the shortest other way between two junctions of the loaded leg that leads at least 1 km off the line.

    Raises:
        ValueError: when the network is too small for one.
    """
    used = {(a[0], b[0]) for a, b in itertools.pairwise(haul.junctions)}
    used |= {(b, a) for a, b in used}
    names = list(net.place)
    gaps = distance_to(haul.line, np.array([net.place[name] for name in names]))
    far = [name for name, gap in zip(names, gaps, strict=True) if gap >= MIN_AWAY_M and net.links[name]]
    last = len(haul.junctions) - 1
    leave, back = haul.junctions[max(0, last // 4)], haul.junctions[max(1, last - last // 4)]
    middle = (net.place[leave[0]] + net.place[back[0]]) / 2
    far.sort(key=lambda name: float(np.hypot(*(net.place[name] - middle))))

    def shun(a: Node, b: Node) -> float:
        return 25.0 if (a, b) in used else 1.0

    for via in far[:12]:
        there, home = net.path(leave[0], via, shun), net.path(via, back[0], shun)
        if len(set(there) & set(home)) > 1:
            continue  # out and back on one road: no driver does that
        line = net.line(there + home[1:])
        away = float(distance_to(haul.line, along(line, np.arange(0.0, chainage(line)[-1], 25.0))).max())
        return Detour(leave[1], back[1], line, away)
    raise ValueError("the network has no road 1 km away from this haul; build a larger city")
