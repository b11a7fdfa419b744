"""The panels that grafanalib lacks or writes in forms that current Grafana no longer reads.

grafanalib 0.7.1 gives the dashboard, variables and layout. Its gauge, table, alert list and threshold still have the
shapes of Grafana 7, and it has no geomap; :class:`NPanel` is one native panel for all of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attr
from grafanalib._gen import DashboardEncoder
from grafanalib.core import Dashboard, Panel, Target

DATASOURCE = {"type": "influxdb", "uid": "lamplighter-influx"}
SCHEMA_VERSION = 39  # Grafana 11; newer ones migrate from here in a few steps, from grafanalib's 12 in thirty
POINTS_MAX = 600  # points a series asked for: about a pixel each; grafanalib's 100 would blur six hours to 216 s steps
PANEL_TYPES = ("stat", "gauge", "table", "timeseries", "state-timeline", "alertlist", "geomap", "row", "text")

_DEAD_PANEL = ("cacheTimeout", "editable", "error", "height", "hideTimeOverride", "minSpan", "span", "timeShift")
_DEAD_DASHBOARD = ("__inputs", "gnetId", "hideControls", "rows", "sharedCrosshair", "style")
_DEAD_VARIABLE = ("useTags", "tagsQuery", "tagValuesQuery", "auto", "auto_min", "auto_count")

Json = dict[str, Any]


@attr.s
class InfluxTarget(Target):
    """One InfluxQL query; ``format`` is ``time_series`` or ``table``, ``alias`` names the series."""

    alias: str = attr.ib(default="")

    def to_json_data(self) -> Json:
        """Return the query as Grafana's InfluxDB data source reads it."""
        return {
            "refId": self.refId,
            "datasource": self.datasource or DATASOURCE,
            "query": self.expr,
            "rawQuery": True,
            "resultFormat": self.format,
            "alias": self.alias,
            "hide": self.hide,
        }


@attr.s
class NPanel(Panel):
    """A panel in Grafana's present form: everything of its kind lies in ``options`` and ``defaults``.

    Attributes:
        kind: one of PANEL_TYPES.
        options: the panel kind's own options.
        defaults: unit, thresholds, mappings and custom settings of all its fields.
        overrides: the same for chosen fields.
    """

    kind: str = attr.ib(default="timeseries", validator=attr.validators.in_(PANEL_TYPES))
    options: Json = attr.ib(factory=dict)
    defaults: Json = attr.ib(factory=dict)
    overrides: list[Json] = attr.ib(factory=list)

    def to_json_data(self) -> Json:
        """Return the panel without the keys that Grafana no longer knows."""
        data: Json = self.panel_json({"type": self.kind, "options": self.options})  # type: ignore[no-untyped-call]
        data["fieldConfig"] = {"defaults": self.defaults, "overrides": self.overrides}
        return data


def thresholds(*steps: tuple[float | None, str]) -> Json:
    """Return threshold steps, lowest first; the base step's value is None, which Grafana reads as minus infinity."""
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}


def value_mapping(texts: dict[int, tuple[str, str]]) -> list[Json]:
    """Return a mapping from numbers to (text, colour)."""
    options = {
        str(number): {"text": text, "color": color, "index": place}
        for place, (number, (text, color)) in enumerate(texts.items())
    }
    return [{"type": "value", "options": options}]


def geomap_options(layers: Sequence[Json], tiles: str) -> Json:
    """Return the options of a map that fits its points.

    Args:
        layers: data layers, lowest first.
        tiles: address of raster tiles with {x}, {y} and {z}; empty for none. Grafana's own default is a server on the
            internet, which a city's network may not reach and should not tell where its crews look.
    """
    return {
        "view": {"id": "fit", "lat": 0, "lon": 0, "zoom": 15, "allLayers": False, "lastOnly": False, "shared": False},
        "controls": {"showZoom": True, "mouseWheelZoom": True, "showScale": True, "showAttribution": True},
        "basemap": {"type": "xyz", "name": "Tiles", "config": {"url": tiles or _NO_TILE, "attribution": ""}},
        "layers": list(layers),
        "tooltip": {"mode": "details"},
    }


# One transparent pixel, drawn for every tile: an empty address would make Grafana fall back on a public server.
_NO_TILE = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def marker_layer(name: str, lat: str, lon: str, color_field: str) -> Json:
    """Return a layer of points whose columns ``lat`` and ``lon`` are in degrees, coloured by a field's thresholds."""
    return {
        "type": "markers",
        "name": name,
        "tooltip": True,
        "location": {"mode": "coords", "latitude": lat, "longitude": lon},
        "config": {
            "showLegend": False,
            "style": {
                "size": {"fixed": 7, "min": 2, "max": 15},
                "color": {"field": color_field, "fixed": "red"},
                "opacity": 0.8,
                "symbol": {"fixed": "img/icons/marker/circle.svg", "mode": "fixed"},
            },
        },
    }


def dashboard_json(dashboard: Dashboard) -> Json:
    """Return a dashboard as plain data, without dead keys and without empty values that Grafana would have to guess."""
    numbered = dashboard.auto_panel_ids()  # type: ignore[no-untyped-call]
    data: Json = json.loads(json.dumps(numbered, cls=DashboardEncoder))
    _drop(data, _DEAD_DASHBOARD)
    for panel in data["panels"]:
        for inner in [panel, *panel.get("panels", [])]:
            _drop(inner, _DEAD_PANEL)
    for variable in data["templating"]["list"]:
        _drop(variable, _DEAD_VARIABLE)
    _drop_nulls(data)
    return data


def _drop(data: Json, keys: Sequence[str]) -> None:
    for key in keys:
        data.pop(key, None)


def _drop_nulls(data: Json) -> None:
    """Remove empty settings at any depth, but keep the base threshold, whose null means minus infinity."""
    for key, value in list(data.items()):
        if value is None:
            del data[key]
        elif isinstance(value, dict):
            _drop_nulls(value)
        elif isinstance(value, list) and key != "steps":
            for one in value:
                if isinstance(one, dict):
                    _drop_nulls(one)
