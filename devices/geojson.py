"""GeoJSON features as assets, roads, permits and fences, with every mistake named by the feature's number."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from devices.assetform import AssetForm, Placed, Problems, unknown_columns
from devices.kinds import Catalog
from devices.registry import Asset, Fence, Permit, Road
from devices.topics import DEVICE_ID, DEVICE_ID_FORM

RANKS = ("main", "secondary", "branch")
ROAD_KEYS = ("road", "rank")
PERMIT_KEYS = ("permit", "truck", "hours", "valid_from", "valid_until", "corridor_m")
FENCE_KEYS = ("fence", "kind", "hours")
CORRIDOR_MAX_M = 5000.0
NAME_MAX = 64
OTHER_DEGREES = "convert the file, or say --crs gcj02 where it is of that"
MOMENT = "expected a time with its offset such as 2026-05-01T00:00+08:00, or epoch milliseconds"
_WGS84 = re.compile(r"(CRS84|EPSG:+4326|EPSG:+4490)$")  # CGCS2000 differs from WGS-84 by centimetres
_HOURS = re.compile(r"(\d{1,2}):(\d{2})\s*[-–]\s*(\d{1,2}):(\d{2})")

Points = tuple[tuple[float, float], ...]
Shift = Callable[[float, float], tuple[float, float]]


class FeatureReader:
    """Reads the features of one file.

    Args:
        catalog: the kinds.
        problems: where mistakes are noted.
        shift: makes WGS-84 degrees of the file's, where these are others.

    Attributes:
        roads, fences: as found so far.
    """

    def __init__(self, catalog: Catalog, problems: Problems, shift: Shift | None = None) -> None:
        self.problems = problems
        self.roads: list[Road] = []
        self.fences: list[Fence] = []
        self._shift = shift
        self._fence_at: dict[str, str] = {}
        self._form = AssetForm(catalog, problems)
        self._placed: list[Placed] = []
        self._permits: dict[str, Permit] = {}
        self._permit_at: dict[str, str] = {}
        self._sites: list[tuple[str, str, Points]] = []

    def read(self, text: str) -> None:
        """Read a file's text, adding to what is found and to the problems."""
        try:
            root = json.loads(text, parse_constant=_no_number)
        except ValueError as trouble:
            line = getattr(trouble, "lineno", "")
            self.problems.add(line, "document", f"not JSON: {getattr(trouble, 'msg', trouble)}")
            return
        except RecursionError:
            self.problems.add("", "document", "not GeoJSON: nested too deeply")
            return
        features = root.get("features") if isinstance(root, dict) else None
        if not isinstance(features, list) or root.get("type") != "FeatureCollection":
            self.problems.add("", "type", "expected a FeatureCollection with a list of features")
            return
        self._coordinates_system(root.get("crs"))
        for number, feature in enumerate(features, start=1):
            self._feature(feature, f"feature {number}")

    def assets(self) -> list[Asset]:
        """Return the assets, checked against each other."""
        return self._form.finish(self._placed)

    def permits(self) -> list[Permit]:
        """Return the permits with their sites."""
        for where, permit, ring in self._sites:
            known = self._permits.get(permit)
            if known is None:
                text = f"no line of this file is the route of permit '{permit}'; sites stand beside their route"
                self.problems.add(where, "permit", text)
            else:
                self._permits[permit] = replace(known, sites=(*known.sites, ring))
        return list(self._permits.values())

    def _coordinates_system(self, crs: object) -> None:
        if crs is None or self._shift is not None:
            return
        name = str(crs.get("properties", {}).get("name", "")) if isinstance(crs, dict) else ""
        if not _WGS84.search(name):
            self.problems.add("", "crs", f"expected WGS-84 degrees, found '{name}'; {OTHER_DEGREES}")

    def _feature(self, feature: object, where: str) -> None:
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            self.problems.add(where, "type", "expected a Feature")
            return
        geometry = feature.get("geometry")
        properties = feature.get("properties") or {}
        shape = geometry.get("type") if isinstance(geometry, dict) else None
        if not isinstance(properties, dict) or (geometry is not None and not isinstance(shape, str)):
            self.problems.add(where, "geometry", "expected an object with type and coordinates, and properties")
            return
        coordinates = geometry.get("coordinates") if isinstance(geometry, dict) else None
        readers: dict[str | None, Callable[[Any, Mapping[str, Any], str], None]] = {
            None: self._point,
            "Point": self._point,
            "LineString": self._line,
            "MultiLineString": self._lines,
            "Polygon": self._polygon,
            "MultiPolygon": self._polygons,
        }
        if shape not in readers:
            known = ", ".join(name for name in readers if name)
            self.problems.add(where, "geometry", f"expected {known} or none; found '{shape}'")
            return
        readers[shape](coordinates, properties, where)

    def _point(self, coordinates: object, properties: Mapping[str, Any], where: str) -> None:
        accepted = [name for name in self._form.columns if name not in ("lon", "lat")]
        self._only(properties, accepted, where)
        row = {key: value for key, value in properties.items() if key in accepted}
        if coordinates is not None:
            position = self._positions([coordinates], where)
            if not position:
                return
            row["lon"], row["lat"] = position[0]
        asset = self._form.read(row, where)
        if asset is not None:
            self._placed.append(Placed(where, asset))

    def _lines(self, coordinates: object, properties: Mapping[str, Any], where: str) -> None:
        if "permit" in properties:
            self.problems.add(where, "geometry", "a permit's route is one LineString")
            return
        for line in coordinates if isinstance(coordinates, list) else [None]:
            self._line(line, properties, where)

    def _line(self, coordinates: object, properties: Mapping[str, Any], where: str) -> None:
        line = self._positions(coordinates, where, least=2)
        if "permit" in properties:
            self._permit(line, properties, where)
        elif "road" in properties:
            self._road(line, properties, where)
        else:
            self.problems.add(
                where, "properties", "a line needs the property 'road' (its name) or 'permit' (its number)"
            )

    def _road(self, line: Points, properties: Mapping[str, Any], where: str) -> None:
        self._only(properties, ROAD_KEYS, where)
        name, rank = properties["road"], properties.get("rank") or "branch"
        if not isinstance(name, str) or not name.strip():
            self.problems.add(where, "road", "expected the road's name")
        elif rank not in RANKS:
            self.problems.add(where, "rank", f"expected one of {', '.join(RANKS)}; found '{rank}'")
        elif line:
            self.roads.append(Road(name.strip(), line, rank))

    def _permit(self, line: Points, properties: Mapping[str, Any], where: str) -> None:
        self._only(properties, PERMIT_KEYS, where)
        number, truck = str(properties["permit"] or "").strip(), str(properties.get("truck", ""))
        if not number or len(number) > 64:
            self.problems.add(where, "permit", "expected the permit's number, at most 64 letters")
        elif number in self._permits:
            self.problems.add(where, "permit", f"'{number}' stands at {self._permit_at[number]} already")
            return
        if not DEVICE_ID.fullmatch(truck):
            self.problems.add(where, "truck", f"expected the truck's device id: {DEVICE_ID_FORM}; found '{truck}'")
        hours = self._hours(properties.get("hours"), where)
        begin = self._moment(properties.get("valid_from"), "valid_from", where)
        end = self._moment(properties.get("valid_until"), "valid_until", where)
        if end and end <= begin:
            self.problems.add(where, "valid_until", "expected a time after valid_from")
        corridor = self._form.number(properties.get("corridor_m") or 0, "corridor_m", where) or 0.0
        if not 0 <= corridor <= CORRIDOR_MAX_M:
            text = f"expected 0 (the rule's own) to {CORRIDOR_MAX_M:g} metres, found {corridor:g}"
            self.problems.add(where, "corridor_m", text)
        self._permit_at[number] = where
        self._permits[number] = Permit(number, truck, line, (), hours, begin, end, corridor)

    def _polygon(self, coordinates: object, properties: Mapping[str, Any], where: str) -> None:
        self._polygons([coordinates], properties, where)

    def _polygons(self, coordinates: object, properties: Mapping[str, Any], where: str) -> None:
        if ("fence" in properties) == ("permit" in properties):
            text = "a polygon needs either the property 'fence' (a name) or 'permit' (the permit whose site it is)"
            self.problems.add(where, "properties", text)
            return
        if not isinstance(coordinates, list) or not coordinates:
            coordinates = [None]
        rings = [ring for polygon in coordinates if (ring := self._ring(polygon, where))]
        if "fence" in properties:
            self._fence(rings, properties, where)
        else:
            self._only(properties, ("permit",), where)
            self._sites += [(where, str(properties["permit"]).strip(), ring) for ring in rings]

    def _ring(self, polygon: object, where: str) -> Points:
        """Return the ring of a polygon, empty (and a problem) where it is none."""
        if not isinstance(polygon, list) or len(polygon) != 1:
            self.problems.add(where, "geometry", "expected a polygon of one ring, without holes")
            return ()
        ring = self._positions(polygon[0], where, least=4)
        if ring and ring[0] != ring[-1]:
            self.problems.add(where, "geometry", "expected a ring that ends where it begins")
            return ()
        if ring and len(set(ring)) < 3:
            self.problems.add(where, "geometry", "expected a ring of three places or more")
            return ()
        return ring

    def _fence(self, rings: Sequence[Points], properties: Mapping[str, Any], where: str) -> None:
        self._only(properties, FENCE_KEYS, where)
        name, kind = self._word(properties, "fence", where, least=1), self._word(properties, "kind", where)
        if name in self._fence_at:
            text = f"'{name}' stands at {self._fence_at[name]} already; several pieces are one MultiPolygon"
            self.problems.add(where, "fence", text)
        elif name:
            self._fence_at[name] = where
            hours = self._hours(properties.get("hours"), where)
            self.fences += [Fence(name, ring, hours, kind) for ring in rings]

    def _word(self, properties: Mapping[str, Any], key: str, where: str, least: int = 0) -> str:
        """Return a short text of the properties, empty where there is none, or a wrong one (and a problem)."""
        found = properties.get(key)
        text = found.strip() if isinstance(found, str) and found.isprintable() else ""
        if least <= len(text) <= NAME_MAX and (text or found in (None, "")):
            return text
        self.problems.add(where, key, f"expected text of at most {NAME_MAX} letters, found {found!r:.60}")
        return ""

    def _positions(self, coordinates: object, where: str, least: int = 1) -> Points:
        """Return positions as (lon, lat), empty (and a problem) where one of them is wrong."""
        if not isinstance(coordinates, list) or len(coordinates) < least:
            self.problems.add(where, "coordinates", f"expected a list of at least {least} positions [lon, lat]")
            return ()
        found: list[tuple[float, float]] = []
        for position in coordinates:
            numbers = position[:2] if isinstance(position, list) else []
            if len(numbers) != 2 or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
                self.problems.add(where, "coordinates", f"expected [lon, lat] in degrees, found {position!r:.60}")
                return ()
            lon, lat = float(numbers[0]), float(numbers[1])
            if not self._form.on_earth(lon, lat, where):
                return ()
            found.append((lon, lat) if self._shift is None else self._shift(lon, lat))
        return tuple(found)

    def _hours(self, value: object, where: str) -> tuple[int, int]:
        if value is None or value == "":
            return 0, 1440
        found = _HOURS.fullmatch(value.strip()) if isinstance(value, str) else None
        if found:
            h1, m1, h2, m2 = map(int, found.groups())
            begin, end = 60 * h1 + m1, 60 * h2 + m2
            if m1 < 60 and m2 < 60 and begin < 1440 and 0 <= end <= 1440 and begin != end:
                return begin, end
        self.problems.add(where, "hours", f"expected local times such as 22:00-06:00, found '{value}'")
        return 0, 1440

    def _moment(self, value: object, key: str, where: str) -> int:
        if value is None or value == "":
            return 0
        if isinstance(value, int) and not isinstance(value, bool) and 946_684_800_000 <= value <= 4_102_444_800_000:
            return value
        if isinstance(value, str):
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                pass
            else:
                if moment.tzinfo is not None:
                    return round(moment.timestamp() * 1000)
        self.problems.add(where, key, f"{MOMENT}; found '{value}'")
        return 0

    def _only(self, properties: Mapping[str, Any], accepted: Sequence[str], where: str) -> None:
        for name in unknown_columns(properties, accepted):
            self.problems.add(where, name, f"unknown property; accepted here: {', '.join(accepted)}")


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
