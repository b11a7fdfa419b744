"""Permits that a recorded drive breaks: a stretch taken out of the true route, or led aside by a kilometre.

The drive stays as it was recorded; what changes is what was permitted. Everything follows from the track and the
length, nothing is drawn by chance, so that a figure can be computed again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from alerts.corridor import Corridors
from devices.geometry import LocalProjection
from simulators.recorded import Line, Track

Floats = npt.NDArray[np.float64]

CENTRES = (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.1, 0.9)  # where along the route the stretch is tried, in this order
ENOUGH = 0.7  # of the stretch driven outside in one go: a route that doubles back permits part of it after all
ASIDE_M = 1000.0
BEYOND_M = 80.0


@dataclass(frozen=True, slots=True)
class Detour:
    """A track with a permit that it breaks.

    Attributes:
        track: with the cut route as its pieces.
        left_ms, back_ms: first fix of the longest run beyond ``BEYOND_M`` of the cut route, and first after it.
        driven_m: recorded way within that run.
    """

    track: Track
    left_ms: int
    back_ms: int
    driven_m: float


def cut(track: Track, length_m: float, *, aside: bool) -> Detour | None:
    """Take ``length_m`` out of the longest piece of the route; ``aside`` leads the permit around it instead.

    Around means: from the cut's beginning straight to the left (seen from its beginning to its end) by 1 km, parallel
    to the straight line between beginning and end, and back to the end. None where the route is shorter than 1.2
    times the stretch, or where no place along it leaves 300 m of the drive outside.
    """
    flat = LocalProjection(float(np.median(track.lon)), float(np.median(track.lat)))
    lines = [np.column_stack(flat.to_metres(*np.array(piece).T)) for piece in track.pieces if len(piece) > 1]
    longest = max(range(len(lines)), key=lambda k: _along(lines[k])[-1])
    total = float(_along(lines[longest])[-1])
    if total < 1.2 * length_m:
        return None
    best: Detour | None = None
    for centre in CENTRES:
        start = centre * (total - length_m)
        changed = _without(lines[longest], start, start + length_m, aside=aside)
        pieces = [line for k, line in enumerate(lines) if k != longest] + changed
        found = _driven(track, flat, pieces)
        if best is None or found.driven_m > best.driven_m + 1.0:
            best = found
        if best.driven_m >= ENOUGH * length_m:
            break
    return best if best is not None and best.driven_m >= 300.0 else None


def _along(line: Floats) -> Floats:
    steps = np.hypot(*np.diff(line, axis=0).T)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _without(line: Floats, start: float, end: float, *, aside: bool) -> list[Floats]:
    along = _along(line)
    first, last = (np.array([np.interp(at, along, line[:, axis]) for axis in (0, 1)]) for at in (start, end))
    before, after = np.vstack([line[along < start], first]), np.vstack([last, line[along > end]])
    if not aside:
        return [part for part in (before, after) if len(part) > 1 and _along(part)[-1] > 0]
    way = last - first
    left = np.array([-way[1], way[0]]) / np.hypot(*way) if np.hypot(*way) > 1.0 else np.array([0.0, 1.0])
    return [np.vstack([before, first + ASIDE_M * left, last + ASIDE_M * left, after])]


def _driven(track: Track, flat: LocalProjection, pieces: list[Floats]) -> Detour:
    east, north = flat.to_metres(track.lon, track.lat)
    distance = from_pieces(pieces, east, north)
    outside = np.concatenate([[False], distance > BEYOND_M, [False]])
    edges = np.flatnonzero(outside[1:] != outside[:-1])
    steps = np.concatenate([[0.0], np.hypot(np.diff(east), np.diff(north))])
    runs = [(float(steps[a + 1 : b].sum()), a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    driven, first, last = max(runs, default=(0.0, 0, 0))
    lines: tuple[Line, ...] = tuple(
        tuple(zip(*(c.tolist() for c in flat.to_degrees(*p.T)), strict=True)) for p in pieces
    )
    back_ms = int(track.time_ms[min(last, len(track.time_ms) - 1)])
    return Detour(replace(track, pieces=lines), int(track.time_ms[first]), back_ms, driven)


def from_pieces(pieces: list[Floats], east: Floats, north: Floats) -> Floats:
    """Return metres from each point to the nearest of several lines, each (k, 2) in local metres."""
    ways = Corridors([(piece[:, 0], piece[:, 1]) for piece in pieces])
    none = np.full(len(east), -1, dtype=np.int64)
    zero = np.zeros(len(east))
    found = [ways.nearest(np.full(len(east), k), east, north, none, zero)[0] for k in range(len(pieces))]
    least: Floats = np.minimum.reduce(found)
    return least


def moved_to(track: Track, other: Track) -> Track:
    """Return the track with another's route, moved as it is so that it begins where this track begins."""
    start = np.array(other.pieces[0][0])
    lon, lat = float(track.lon[0]), float(track.lat[0])
    stretch = np.cos(np.radians(start[1])) / np.cos(np.radians(lat))  # metres stay metres at another latitude
    pieces = tuple(
        tuple((lon + (x - start[0]) * stretch, lat + y - start[1]) for x, y in piece) for piece in other.pieces
    )
    return replace(track, pieces=pieces)
