"""Writes a registry as the files that :mod:`devices.importing` reads; what is read back is the same."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from devices.assetform import BASE
from devices.kinds import Catalog
from devices.registry import Asset, Fence, Permit, Road

NO_POLE = ("pole_index", -1)


def write_assets_csv(path: Path, assets: Sequence[Asset], catalog: Catalog) -> None:
    """Write assets as CSV, UTF-8 with the byte order mark by which Excel knows it; only the facts that are known."""
    facts = dict.fromkeys(fact.name for kind in catalog for fact in kind.facts)
    used = [name for name in facts if any(name in asset.facts for asset in assets)]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*BASE, *used])
        for asset in assets:
            cells = [_cell(getattr(asset, name), name) for name in BASE]
            writer.writerow([*cells, *(_cell(asset.facts.get(name, math.nan), name) for name in used)])


def write_geojson(
    path: Path,
    assets: Iterable[Asset] = (),
    roads: Iterable[Road] = (),
    permits: Iterable[Permit] = (),
    fences: Iterable[Fence] = (),
) -> None:
    """Write assets, roads, permits with their sites, and fences as one FeatureCollection."""
    features = [*map(_asset, assets), *map(_road, roads)]
    for permit in permits:
        features += _permit(permit)
    features += _fences(fences)
    text = ",\n".join(json.dumps(feature, ensure_ascii=False, allow_nan=False) for feature in features)
    path.write_text(f'{{"type": "FeatureCollection", "features": [\n{text}\n]}}\n', encoding="utf-8")


def _cell(value: object, name: str) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return "" if (name, value) == NO_POLE else str(value)


def _feature(geometry: dict[str, Any] | None, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _asset(asset: Asset) -> dict[str, Any]:
    known = {name: getattr(asset, name) for name in BASE if name not in ("lon", "lat")}
    properties = {name: value for name, value in known.items() if value != "" and (name, value) != NO_POLE}
    properties |= {name: value for name, value in asset.facts.items() if not math.isnan(value)}
    if math.isnan(asset.lon):
        return _feature(None, properties)
    return _feature({"type": "Point", "coordinates": [asset.lon, asset.lat]}, properties)


def _road(road: Road) -> dict[str, Any]:
    geometry = {"type": "LineString", "coordinates": [list(point) for point in road.line]}
    return _feature(geometry, {"road": road.name, "rank": road.rank})


def _permit(permit: Permit) -> list[dict[str, Any]]:
    begin, end = permit.hours
    properties: dict[str, Any] = {"permit": permit.id, "truck": permit.truck, "hours": f"{_clock(begin)}-{_clock(end)}"}
    for name, moment in (("valid_from", permit.valid_from_ms), ("valid_until", permit.valid_until_ms)):
        if moment:
            properties[name] = datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds")
    if permit.corridor_m:
        properties["corridor_m"] = permit.corridor_m
    route = {"type": "LineString", "coordinates": [list(point) for point in permit.route]}
    shapes = ({"type": "Polygon", "coordinates": [_ring(site)]} for site in permit.sites)
    return [_feature(route, properties), *(_feature(shape, {"permit": permit.id}) for shape in shapes)]


def _fences(fences: Iterable[Fence]) -> list[dict[str, Any]]:
    """Return a feature for each fence; several pieces of one name are one."""
    pieces: dict[str, list[Fence]] = {}
    for fence in fences:
        pieces.setdefault(fence.id, []).append(fence)
    features = []
    for name, parts in pieces.items():
        properties = {"fence": name, **({"kind": parts[0].kind} if parts[0].kind else {})}
        if parts[0].hours != (0, 1440):
            properties["hours"] = "-".join(map(_clock, parts[0].hours))
        rings = [[_ring(part.ring)] for part in parts]
        many = len(rings) > 1
        geometry = {"type": "MultiPolygon" if many else "Polygon", "coordinates": rings if many else rings[0]}
        features.append(_feature(geometry, properties))
    return features


def _ring(points: Sequence[tuple[float, float]]) -> list[list[float]]:
    """Return a ring that ends where it begins."""
    return [list(point) for point in (points if points[0] == points[-1] else (*points, points[0]))]


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
