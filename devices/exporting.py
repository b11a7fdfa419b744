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
from devices.registry import Asset, Permit, Road

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
    path: Path, assets: Iterable[Asset] = (), roads: Iterable[Road] = (), permits: Iterable[Permit] = ()
) -> None:
    """Write assets, roads and permits with their sites as one FeatureCollection."""
    features = [*map(_asset, assets), *map(_road, roads)]
    for permit in permits:
        features += _permit(permit)
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
    features = [_feature(route, properties)]
    for site in permit.sites:
        ring = [list(point) for point in (site if site[0] == site[-1] else (*site, site[0]))]
        features.append(_feature({"type": "Polygon", "coordinates": [ring]}, {"permit": permit.id}))
    return features


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
