"""Where on a map: a link that a crew's telephone opens, in the coordinates that the map counts in."""

from __future__ import annotations

import math
import string

MAPS = {
    "osm": "https://www.openstreetmap.org/?mlat={lat}&mlon={lon}#map=18/{lat}/{lon}",
    "amap": "https://uri.amap.com/marker?position={gcj_lon},{gcj_lat}&coordinate=gaode&src=lamplighter&callnative=1",
    "none": "",
}
NAMES = ("lat", "lon", "gcj_lat", "gcj_lon")
FORM = f"osm, amap, none, or an http(s) address with {{{'}, {'.join(NAMES)}}} in it"
_AXIS_M = 6_378_245.0  # Krasovsky 1940, which the formula is written for
_FLATNESS = 0.006_693_421_622_965_943  # its eccentricity, squared


def map_template(choice: str) -> str:
    """Return the address that a setting means, with names in braces. Raises ValueError with the accepted form."""
    template = MAPS.get(choice, choice)
    if not template:
        return ""
    try:
        named = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as trouble:
        raise ValueError(f"{trouble}; expected {FORM}") from None
    plain = template.isascii() and template.isprintable() and not set(template) & set(" \"'<>()\\`")
    if not template.startswith(("https://", "http://")) or not named or not plain or set(named) - set(NAMES):
        raise ValueError(f"expected {FORM}")
    return template


def map_link(choice: str, lon: float, lat: float) -> str:
    """Return where a place (degrees, WGS-84) is shown; empty where the place or the map is not known."""
    template = map_template(choice)
    if not template or not (math.isfinite(lon) and math.isfinite(lat)):
        return ""
    gcj_lon, gcj_lat = gcj02(lon, lat)
    numbers = {"lat": lat, "lon": lon, "gcj_lat": gcj_lat, "gcj_lon": gcj_lon}
    return template.format(**{name: f"{value:.6f}" for name, value in numbers.items()})


def gcj02(lon: float, lat: float) -> tuple[float, float]:
    """Return a WGS-84 place (degrees) as Chinese maps count it (GCJ-02); outside China they are alike.

    The public approximation of the official shift, good to a metre or two (docs/sources.md, "Notices").
    """
    if not (72.004 <= lon <= 137.8347 and 0.8293 <= lat <= 55.8271):
        return lon, lat
    x, y = lon - 105.0, lat - 35.0
    wave = 20 * math.sin(6 * x * math.pi) + 20 * math.sin(2 * x * math.pi)
    north = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * math.sqrt(abs(x))
    north += (wave + 20 * math.sin(y * math.pi) + 40 * math.sin(y / 3 * math.pi)) * 2 / 3
    north += (160 * math.sin(y / 12 * math.pi) + 320 * math.sin(y / 30 * math.pi)) * 2 / 3
    east = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * math.sqrt(abs(x))
    east += (wave + 20 * math.sin(x * math.pi) + 40 * math.sin(x / 3 * math.pi)) * 2 / 3
    east += (150 * math.sin(x / 12 * math.pi) + 300 * math.sin(x / 30 * math.pi)) * 2 / 3
    bend = 1 - _FLATNESS * math.sin(math.radians(lat)) ** 2
    meridian_m = _AXIS_M * (1 - _FLATNESS) / bend**1.5  # radius of curvature north and south, then east and west
    parallel_m = _AXIS_M / math.sqrt(bend) * math.cos(math.radians(lat))
    return lon + math.degrees(east / parallel_m), lat + math.degrees(north / meridian_m)


def wgs84(lon: float, lat: float) -> tuple[float, float]:
    """Return the WGS-84 place (degrees) that Chinese maps count as this one (GCJ-02): :func:`gcj02` the other way."""
    at = (lon, lat)
    for _ in range(8):  # the shift changes by a millimetre in a few metres: each turn leaves a thousandth of the error
        there = gcj02(*at)
        at = (at[0] + lon - there[0], at[1] + lat - there[1])
    return at
