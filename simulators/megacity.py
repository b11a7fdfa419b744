"""A made city of any size, written quickly: what a registry of 815,000 devices costs is measured on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from devices.geometry import LocalProjection
from devices.registry import Asset

CENTRE = (121.46, 31.02)
LAMPS_A_ROAD = 60
LAMPS_A_CABINET = 60
COVERS_A_ROAD = 100
PUMPS_A_STATION = 4
SPACING_M = 35.0
ROAD_APART_M = 120.0
DISTRICTS, STREETS_A_DISTRICT = 16, 12
RATED_W = (60.0, 100.0, 150.0, 200.0)


@dataclass(frozen=True, slots=True)
class Size:
    """How many devices a city has; cabinets count among the streetlights, stations among the pumps."""

    streetlights: int = 300_000
    covers: int = 500_000
    pumps: int = 5_000
    trucks: int = 10_000

    def devices(self) -> int:
        """Return all of them."""
        return self.streetlights + self.covers + self.pumps + self.trucks

    def scaled(self, factor: float) -> Size:
        """Return a city of the same mix, so many times as large."""
        numbers = (self.streetlights, self.covers, self.pumps, self.trucks)
        return Size(*(max(10, round(each * factor)) for each in numbers))


def megacity(size: Size, seed: int = 1) -> Iterator[Asset]:
    """Yield the assets of a city: straight roads side by side, lamps and covers along them, stations between.

    The same size and seed give the same city.
    """
    yield from _lights(size.streetlights)
    yield from _covers(size.covers, seed)
    yield from _pumps(size.pumps)
    yield from _trucks(size.trucks)


def _place(east_m: float, north_m: float) -> dict[str, Any]:
    lon, lat = LocalProjection(*CENTRE).to_degrees(east_m, north_m)
    return {"lon": round(float(lon), 6), "lat": round(float(lat), 6)}


def _on_road(road: int, metres: float, side_m: float = 0.0) -> dict[str, Any]:
    """Return where a point along a road lies: sixty roads end to end to the east, one row above the other."""
    row, column = divmod(road, 24)
    return _place((column - 12) * LAMPS_A_ROAD * SPACING_M + metres, (row - 100) * ROAD_APART_M + side_m)


def _names(road: int) -> dict[str, Any]:
    district = road // 12 % DISTRICTS
    street = road // 12 % (DISTRICTS * STREETS_A_DISTRICT)
    return {
        "district": f"第{district + 1}区",
        "street": f"第{street + 1}街道",
        "road": f"建设{road + 1}路",
        "owner": "市路灯管理处",
        "keeper": f"第{district + 1}养护队",
    }


def _lights(count: int) -> Iterator[Asset]:
    cabinets = max(1, round(count / (LAMPS_A_CABINET + 1)))
    for number in range(cabinets):
        road = number * LAMPS_A_CABINET // LAMPS_A_ROAD
        facts = {"rated_power_w": LAMPS_A_CABINET * RATED_W[road % len(RATED_W)]}
        name = f"cab-{number:05d}"
        yield Asset(
            name,
            "streetlight",
            "cabinet",
            f"{number} 号箱",
            cabinet=name,
            facts=facts,
            **_names(road),
            **_on_road(road, 0),
        )
    for number in range(count - cabinets):
        road, place = divmod(number, LAMPS_A_ROAD)
        cabinet = min(number // LAMPS_A_CABINET, cabinets - 1)
        yield Asset(
            f"lamp-{number:06d}",
            "streetlight",
            "lamp",
            f"建设{road + 1}路 {place + 1} 号灯",
            cabinet=f"cab-{cabinet:05d}",
            circuit=f"{1 + place % 2}",
            pole_index=place // 2,
            facts={"rated_power_w": RATED_W[road % len(RATED_W)], "pole_height_m": 10.0},
            **_names(road),
            **_on_road(road, place * SPACING_M, 8.0),
        )


def _covers(count: int, seed: int) -> Iterator[Asset]:
    depths = np.random.default_rng([seed, 5]).integers(15, 60, count) / 10
    for number, depth in enumerate(depths.tolist()):
        road, place = divmod(number, COVERS_A_ROAD)
        names = {**_names(road), "owner": "市排水公司"}
        where = _on_road(road, place * LAMPS_A_ROAD * SPACING_M / COVERS_A_ROAD, 3.0)
        yield Asset(
            f"cover-{number:06d}", "manhole", "cover", f"{number} 号井", facts={"depth_m": depth}, **names, **where
        )


def _pumps(count: int) -> Iterator[Asset]:
    station, names = "", _names(0)
    for number in range(count):
        road = number * 3
        where = _on_road(road, 500.0, 40.0)
        if number % (PUMPS_A_STATION + 1) == 0:
            station, names = f"stn-{number:05d}", {**_names(road), "owner": "市排水公司"}
            facts = {"well_area_m2": 40.0, "start_level_m": 2.0, "stop_level_m": 0.8, "alarm_level_m": 3.2}
            yield Asset(station, "pump", "station", f"{number} 号泵站", cabinet=station, facts=facts, **names, **where)
        else:
            yield Asset(
                f"pump-{number:05d}",
                "pump",
                "pump",
                f"{number} 号泵",
                cabinet=station,
                facts={"rated_current_a": 40.0, "pump_rate_lps": 120.0},
                **names,
                **where,
            )


def _trucks(count: int) -> Iterator[Asset]:
    for number in range(count):
        depot = number // 50
        names: dict[str, Any] = {"district": f"第{depot % DISTRICTS + 1}区", "owner": f"渣土运输{depot + 1}公司"}
        where = _on_road(depot * 7, 900.0, 60.0)
        yield Asset(
            f"truck-{number:05d}", "truck", "truck", f"沪X{number:05d}", facts={"max_load_t": 31.0}, **names, **where
        )
