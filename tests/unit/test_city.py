"""The simulated city: what it has, that it hangs together, and that its seed is all it depends on."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from devices.geometry import LocalProjection
from devices.kinds import Catalog
from devices.registry import Registry
from devices.topics import CITY, DEVICE_ID
from simulators.city import CENTRE, City, build_city
from simulators.haulage import MIN_AWAY_M, find_detour
from simulators.names import road_name
from simulators.network import along, chainage, distance_to, length


@pytest.fixture(scope="module")
def city() -> City:
    return build_city(3)


def test_the_same_seed_gives_the_same_city_and_another_seed_another_one(city: City) -> None:
    again, other = build_city(3), build_city(4)
    assert (again.assets, again.roads, again.permits) == (city.assets, city.roads, city.permits)
    assert other.roads != city.roads


def test_a_city_has_what_was_asked_for_and_what_belongs_to_it(city: City) -> None:
    count = Counter(asset.role for asset in city.assets)
    assert (count["lamp"], count["cover"], count["station"], count["truck"]) == (240, 60, 4, 12)
    assert count["pump"] == 8
    assert count["cabinet"] >= 6
    assert count["well"] == 2
    assert len(city.permits) == 12
    assert CITY.match(city.name)


def test_names_are_unique_and_fit_for_topics(city: City) -> None:
    ids = [asset.id for asset in city.assets]
    assert len(set(ids)) == len(ids)
    assert all(DEVICE_ID.match(name) for name in ids)
    roads = [road.name for road in city.roads]
    assert len(set(roads)) == len(roads)


def test_every_lamp_hangs_on_a_circuit_of_a_cabinet_and_poles_count_outwards(city: City) -> None:
    cabinets = {asset.id for asset in city.assets if asset.role == "cabinet"}
    circuits: dict[tuple[str, str], list[int]] = defaultdict(list)
    for lamp in city.assets:
        if lamp.role == "lamp":
            assert lamp.cabinet in cabinets
            circuits[lamp.cabinet, lamp.circuit].append(lamp.pole_index)
    for poles in circuits.values():
        assert sorted(poles) == list(range(1, len(poles) + 1))


def test_lit_roads_and_the_plaza_have_enough_lamps_for_a_rate(city: City) -> None:
    roads = Counter(asset.road for asset in city.assets if asset.role == "lamp")
    assert min(roads.values()) >= 20
    cells = Counter(asset.grid for asset in city.assets if asset.role == "lamp")
    assert cells.most_common(1)[0][1] >= 20
    assert {road.rank for road in city.roads if road.name in roads} == {"main", "secondary", "branch"}


def test_lamps_of_a_single_sided_road_stand_about_35_metres_apart(city: City) -> None:
    projection = LocalProjection(*CENTRE)
    road = next(road.name for road in city.roads if road.rank == "branch" and _lamps_of(city, road.name))
    lamps = _lamps_of(city, road)
    east, north = projection.to_metres([a.lon for a in lamps], [a.lat for a in lamps])
    gaps = np.hypot(np.diff(east), np.diff(north))
    assert 33.0 < float(np.median(gaps)) < 37.0


def _lamps_of(city: City, road: str) -> list:
    return [asset for asset in city.assets if asset.role == "lamp" and asset.road == road]


def test_facts_lie_within_the_catalog_and_the_registry_takes_the_city(city: City, catalog: Catalog) -> None:
    registry = Registry(catalog, city.assets, city.roads, city.permits, city.centre)
    assert len(registry) == len(city.assets)
    for asset in city.assets:
        facts = {fact.name: fact for fact in catalog[asset.kind].facts}
        for name, value in asset.facts.items():
            assert facts[name].low <= value <= facts[name].high
        assert asset.kind == "truck" or asset.grid
        assert asset.kind == "truck" or asset.district


def test_every_junction_of_the_network_can_be_reached(city: City) -> None:
    net = city.network
    linked = [node for node in net.place if net.links[node]]
    assert len(linked) > 0.95 * len(net.place)
    assert all(net.path(linked[0], node)[-1] == node for node in linked[:: max(1, len(linked) // 12)])


def test_a_permit_leads_from_the_depot_over_the_building_site_to_the_disposal_site(city: City) -> None:
    projection = LocalProjection(*CENTRE)
    for permit, haul in zip(city.permits, city.hauls, strict=True):
        assert permit.truck == haul.truck
        assert len(permit.sites) == 3
        middles = [np.mean(ring[:-1], axis=0) for ring in permit.sites]
        east, north = projection.to_metres([m[0] for m in middles], [m[1] for m in middles])
        stops = along(haul.line, [0.0, haul.site_m, chainage(haul.line)[-1]])
        assert np.abs(np.column_stack([east, north]) - stops).max() < 0.5
        route = np.column_stack(projection.to_metres(*np.array(permit.route).T))
        assert distance_to(haul.line, route).max() < 0.05


def test_a_detour_leads_a_kilometre_off_and_back(city: City) -> None:
    found = 0
    for haul in city.hauls:
        detour = find_detour(city.network, haul)
        assert detour.away_m >= MIN_AWAY_M
        ends = along(haul.line, [detour.leave_m, detour.return_m])
        assert np.allclose(detour.line[[0, -1]], ends, atol=0.01)
        assert length(detour.line) < 12_000
        found += 1
    assert found == 12


@pytest.mark.parametrize(("lamps", "covers", "stations", "trucks"), [(30, 3, 1, 1), (4000, 900, 40, 90), (0, 0, 0, 0)])
def test_cities_of_other_sizes_can_be_built(lamps: int, covers: int, stations: int, trucks: int) -> None:
    built = build_city(5, lamps=lamps, covers=covers, stations=stations, trucks=trucks)
    count = Counter(asset.role for asset in built.assets)
    assert (count["lamp"], count["cover"], count["station"], count["truck"]) == (lamps, covers, stations, trucks)
    assert len({asset.id for asset in built.assets}) == len(built.assets)
    assert len({road.name for road in built.roads}) == len(built.roads)


def test_roads_are_named_in_chinese_and_english() -> None:
    assert road_name(0, "main", 0, 2, heading="ew") == "人民大道西段 Renmin Avenue West"
    assert road_name(2, "secondary", 1, 2, heading="ns") == "建设北路 Jianshe North Road"
    assert road_name(44, "branch", 4, 12, heading="ns") == "建设二街五段 Jianshe 2 Street Section 5"
