"""The simulated city: districts, streets, lamps on their circuits, covers, pump stations, trucks. All from one seed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from devices.geometry import LocalProjection, grid_cell
from devices.registry import Asset, Permit, Road
from simulators.haulage import Haul, build_hauls, degrees
from simulators.names import DISTRICTS, DRAINAGE, LIGHTING, PLAZA, STREETS
from simulators.network import BLOCK_M, Network, Points, Street, along, build_network, length
from simulators.wells import SPILL_M

LAMP_SPACING_M = 35.0
PLAZA_LAMPS = 24  # in one 100 m cell, so that a grid cell has enough lamps for a rate of its own
RADIO_CELL_M = 1200.0
CABINET_LAMPS = 60  # at most, on two circuits
_RATED_W = {"main": 200.0, "secondary": 150.0, "branch": 100.0, "plaza": 60.0}
_HEIGHT_M = {"main": 12.0, "secondary": 10.0, "branch": 8.0, "plaza": 5.0}
_KERB_M = {"main": 11.0, "secondary": 8.0, "branch": 5.0}
CENTRE = (121.46, 31.02)  # where a Yangtze delta city would lie; the streets are nobody's


@dataclass(frozen=True, slots=True)
class City:
    """A city to practise on.

    Attributes:
        name: as in topics (``linjiang``).
        title: what people call it, by language.
        centre: lon, lat degrees of the plane's origin.
        assets, roads, permits: as the registry imports them; every asset names its grid cell about ``centre``.
        network: streets and junctions, metres from the centre.
        hauls: the trucks' work, in the order of ``permits``.
    """

    name: str
    title: dict[str, str]
    centre: tuple[float, float]
    assets: tuple[Asset, ...]
    roads: tuple[Road, ...]
    permits: tuple[Permit, ...]
    network: Network
    hauls: tuple[Haul, ...]


def build_city(
    seed: int,
    *,
    lamps: int = 240,
    covers: int = 60,
    stations: int = 4,
    trucks: int = 12,
    centre: tuple[float, float] = CENTRE,
    name: str = "linjiang",
) -> City:
    """Return a city of the given size; the same seed and sizes give the same city, to the last digit.

    Args:
        seed: what everything is drawn from.
        lamps, covers, stations, trucks: how many of each; cabinets, pumps and wells come with them.
        centre: lon, lat degrees.
        name: the city's level in topics.
    """
    rng = np.random.default_rng([seed, 1])
    projection = LocalProjection(*centre)
    blocks = max(10, math.ceil(math.sqrt(lamps * LAMP_SPACING_M / (2 * BLOCK_M))))
    net = build_network(rng, blocks, max(8, blocks - 2))
    streets = _busiest_first(net)
    site = _Site(projection)
    assets = [
        *_lights(site, streets, lamps),
        *_covers(site, rng, streets, covers),
        *_stations(site, rng, net, stations),
    ]
    vehicles, permits, hauls = build_hauls(rng, net, trucks, projection)
    roads = tuple(Road(s.name, degrees(projection, s.line), s.rank) for s in net.streets)
    title = {"en": "Linjiang (simulated)", "zh": "临江市（仿真）"}
    return City(name, title, centre, (*assets, *vehicles), roads, tuple(permits), net, tuple(hauls))


class _Site:
    """Fills in what follows from a position: degrees, grid cell, district and subdistrict."""

    def __init__(self, projection: LocalProjection) -> None:
        self._projection = projection

    def asset(self, device: str, kind: str, role: str, name: str, at: Points, **more: object) -> Asset:
        """Return an asset at ``at`` metres from the centre."""
        east, north = float(at[0]), float(at[1])
        lon, lat = self._projection.to_degrees(east, north)
        district = DISTRICTS[(east > 0) + 2 * (north > 0)]
        ward = STREETS[int(east // 1200 + 3 * (north // 1200)) % len(STREETS)]
        return Asset(
            device,
            kind,
            role,
            name,
            round(float(lon), 7),
            round(float(lat), 7),
            district=district,
            street=ward,
            grid=grid_cell(east, north),
            **more,  # type: ignore[arg-type]  # place columns and facts, by name
        )


def _busiest_first(net: Network) -> list[Street]:
    """Return streets from the centre outwards, ranks mixed as telemetry is fitted in practice."""
    queues: dict[str, list[Street]] = {"main": [], "secondary": [], "branch": []}
    for street in sorted(net.streets, key=lambda s: float(np.hypot(*s.line.mean(axis=0)))):
        if length(street.line) > 1.2 * BLOCK_M:
            queues[street.rank].append(street)
    order: list[Street] = []
    turn = ("main", "secondary", "branch", "branch", "secondary", "branch")
    while any(queues.values()):
        order.extend(queues[rank].pop(0) for rank in turn if queues[rank])
    return order


def _lights(site: _Site, streets: list[Street], lamps: int) -> Iterator[Asset]:
    width = max(4, len(str(lamps)))
    names = iter([f"lamp-{number:0{width}d}" for number in range(1, lamps + 1)])
    cabinet = 0
    left = lamps
    groups: list[tuple[str, str, Points]] = []  # road name, rank, lamp places in order along the road
    if lamps >= 5 * PLAZA_LAMPS:
        x, y = np.meshgrid(50.0 + 14.0 * (np.arange(6) - 2.5), 50.0 + 18.0 * (np.arange(4) - 1.5))
        groups.append((PLAZA, "plaza", np.column_stack([x.ravel(), y.ravel()])))
        left -= PLAZA_LAMPS
    for street in streets:
        if left <= 0:
            break
        sides = (1.0, -1.0) if street.rank == "main" else (1.0,)
        poles = int(length(street.line) // LAMP_SPACING_M)
        s = np.repeat((np.arange(poles) + 0.5) * LAMP_SPACING_M, len(sides))[:left]
        aside = np.tile(sides, poles)[:left] * _KERB_M[street.rank]
        groups.append((street.name, street.rank, along(street.line, s, aside)))
        left -= len(s)
    for road, rank, places in groups:
        for part in np.array_split(places, math.ceil(len(places) / CABINET_LAMPS)):
            cabinet += 1
            yield from _circuit(site, f"cabinet-{cabinet:03d}", (road, rank), part, names)


def _circuit(site: _Site, cabinet: str, of: tuple[str, str], places: Points, names: Iterator[str]) -> Iterator[Asset]:
    """Yield a cabinet in the middle of its stretch and its lamps on two circuits, poles counted outwards."""
    road, rank = of
    half = len(places) // 2
    crew = 1 + sum(map(ord, road)) % 2
    rated = _RATED_W[rank]
    more = {"road": road, "owner": LIGHTING, "keeper": f"照明养护{crew}队 Lighting crew {crew}"}
    facts = {"rated_power_w": rated * len(places)}
    title = f"{road} 配电箱 Cabinet {int(cabinet.rpartition('-')[2])}"
    yield site.asset(cabinet, "streetlight", "cabinet", title, places[half] + np.array([2.0, 2.0]), facts=facts, **more)
    for k, place in enumerate(places):
        name = next(names)
        circuit, pole = ("1", half - k) if k < half else ("2", k - half + 1)
        lamp = {"rated_power_w": rated, "pole_height_m": _HEIGHT_M[rank]}
        where = {"cabinet": cabinet, "circuit": circuit, "pole_index": pole, "facts": lamp}
        yield site.asset(name, "streetlight", "lamp", f"{road} {int(name[5:])}", place, **where, **more)


def _covers(site: _Site, rng: np.random.Generator, streets: list[Street], covers: int) -> Iterator[Asset]:
    used = streets[: max(1, min(len(streets), math.ceil(covers / 6)))]
    width = max(3, len(str(covers)))
    for number in range(1, covers + 1):
        street = used[number % len(used)]
        place = along(street.line, rng.uniform(15, length(street.line) - 15, 1), rng.uniform(-4, 4, 1))[0]
        yield site.asset(
            f"cover-{number:0{width}d}",
            "manhole",
            "cover",
            f"{street.name} 井{number}",
            place,
            road=street.name,
            owner=DRAINAGE,
            keeper=f"排水养护{number % 2 + 1}队 Drainage crew {number % 2 + 1}",
            facts={"depth_m": round(float(rng.uniform(2.2, 5.5)), 1), "gateway": _radio_cell(place)},
        )


def _radio_cell(at: Points) -> float:
    """Return the number of the base station that hears a place: one every 1.2 km."""
    east, north = (int(part // RADIO_CELL_M) + 100 for part in at)
    return float(1000 * north + east)


def _stations(site: _Site, rng: np.random.Generator, net: Network, stations: int) -> Iterator[Asset]:
    """Yield stations with two pumps each; every second one also has an inlet well."""
    nodes = sorted(net.place, key=lambda n: abs(float(np.hypot(*net.place[n])) - 1200.0))
    order = rng.permutation(min(len(nodes), max(12, stations)))
    for number in range(1, stations + 1):
        ident = f"station-{number:02d}"
        place = net.place[nodes[order[(number - 1) % len(order)]]] + rng.uniform(18, 30, 2)
        rate = float(rng.choice([45.0, 60.0, 75.0]))
        storage = rng.uniform(0.36, 0.45) * (2.0 if number % 2 == 0 else 1.0)  # m2 a L/s: a band of 0.7 m, V >= T q / 4
        area = float(np.round(storage * rate, 1))
        start = float(np.round(rng.uniform(1.5, 1.9), 2))
        well = {"start_level_m": start, "stop_level_m": round(start - 0.7, 2), "alarm_level_m": round(start + 0.9, 2)}
        well["overflow_level_m"] = round(start + SPILL_M, 2)
        more = {"owner": DRAINAGE, "keeper": "泵站运行班 Pump crew", "cabinet": ident}
        name = f"{number}号泵站 Pump station {number}"
        facts = {"well_area_m2": area, "pump_rate_lps": rate, **well}
        yield site.asset(ident, "pump", "station", name, place, facts=facts, **more)
        for pump in (1, 2):
            electric = {"pump_rate_lps": rate, "rated_current_a": round(0.55 * rate, 1)}
            title = f"{number}号泵站{pump}号泵 Station {number} pump {pump}"
            yield site.asset(f"{ident}-pump-{pump}", "pump", "pump", title, place, facts=electric, **more)
        if number % 2 == 0:
            title = f"{number}号泵站进水井 Station {number} inlet well"
            inlet = {"well_area_m2": 6.0, "alarm_level_m": 3.0}
            yield site.asset(f"{ident}-well", "pump", "well", title, place + 4.0, facts=inlet, **more)
