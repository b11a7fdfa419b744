"""Questions about the city itself: what it is called, what it owns, how its roads run, how its clock stands."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter
from fastapi.responses import Response

from api import schemas
from api.house import House
from api.view import View, json
from devices.kinds import Field, Kind


def routes(house: House, view: View) -> APIRouter:
    """Return the routes of this file for one house."""
    router = APIRouter(prefix="/api", tags=["city"])

    @router.get("/city", response_model=schemas.CityForm, summary="The city, its kinds and its clock")
    async def city() -> Response:
        """Return everything that a page needs to begin: names, kinds with their fields, rules, clock."""
        return json(_city(house, view))

    @router.get("/roads", summary="Roads as GeoJSON lines", response_model=None)
    async def roads() -> Response:
        """Return the registry's roads as a FeatureCollection of LineStrings with ``name`` and ``rank``."""
        return json(_roads(house))

    return router


def _city(house: House, view: View) -> dict[str, Any]:
    registry, city = house.registry, house.city
    here = ~(np.isnan(registry.lon) | np.isnan(registry.lat))
    centre = (registry.projection.lon0, registry.projection.lat0) if here.any() else None
    lon, lat = registry.lon[here], registry.lat[here]
    return {
        "id": city.id,
        "name": {"en": city.name_en, "zh": city.name_zh},
        "timezone": city.timezone,
        "language": city.language,
        "centre": centre,
        "bounds": [float(f) for f in (lon.min(), lat.min(), lon.max(), lat.max())] if centre else None,
        "now_ms": house.now_ms(),
        "speed": house.speed,
        "version": house.version,
        "revision": view.revision(),
        "districts": sorted(registry.group("district").names),
        "streets": sorted(registry.group("street").names),
        "roads": sorted(registry.group("road").names),
        "kinds": [_kind(kind, len(registry.rows_of(kind.name))) for kind in registry.catalog],
        "rules": [
            {
                "id": rule.id,
                "title": {language: rule.title.get(language, rule.id) for language in ("en", "zh")},
                "device": rule.device,
                "severity": rule.severity,
                "kind": rule.kind,
            }
            for rule in house.engine.rules.rules
        ],
    }


def _kind(kind: Kind, count: int) -> dict[str, Any]:
    return {
        "name": kind.name,
        "name_en": kind.en,
        "name_zh": kind.zh,
        "roles": kind.roles,
        "report_s": kind.report_s,
        "fields": [_field(each) for each in kind.fields],
        "facts": [_field(each) for each in kind.facts],
        "assets": count,
    }


def _field(field: Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "unit": field.unit,
        "type": field.type,
        "low": field.low,
        "high": field.high,
        "name_en": field.en,
        "name_zh": field.zh,
        "roles": field.roles,
        "codes": {str(code): text for code, text in field.codes.items()},
    }


def _roads(house: House) -> dict[str, Any]:
    features = [
        {
            "type": "Feature",
            "id": index,
            "properties": {"name": road.name, "rank": road.rank},
            "geometry": {"type": "LineString", "coordinates": road.line},
        }
        for index, road in enumerate(house.registry.roads)
    ]
    return {"type": "FeatureCollection", "features": features}
