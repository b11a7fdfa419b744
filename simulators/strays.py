"""Where a truck has no business: the way beside its own, a yard off the road, a compound closed to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from alerts.corridor import Sites
from devices.geometry import LocalProjection
from devices.registry import Fence
from simulators.haulage import Haul, degrees
from simulators.network import Points, along, chainage, distance_to

FENCE_EDGE_M = 25.0  # from the middle of the road
FENCE_DEEP_M = 200.0
FENCE_WIDE_M = 200.0
_CLEAR_M = 60.0  # between a compound and every other way
_BENT_M = 20.0
_BESIDE_M = 15.0  # a compound begins 25 m from the middle of its own road


def beside(line: Points, from_m: float, until_m: float, aside_m: float) -> Points:
    """Return the way from one place of a line to another, driven ``aside_m`` to its right all along."""
    places = np.arange(from_m, until_m, 25.0)
    return np.concatenate(
        [
            along(line, [from_m]),
            along(line, np.maximum(places, from_m + 1.0), aside_m),
            along(line, [until_m - 1.0], aside_m),
            along(line, [until_m]),
        ]
    )


def spur(line: Points, place_m: float, aside_m: float) -> Points:
    """Return the short way from a place of a line straight off the road."""
    return np.concatenate([along(line, [place_m]), along(line, [place_m], aside_m)])


@dataclass(frozen=True, slots=True)
class Compound:
    """A fenced compound beside a haul's line: where along it, and on which side (1 right, -1 left)."""

    place_m: float
    side: float
    ring: Points


def compounds(hauls: Sequence[Haul], away_m: float) -> dict[int, Compound]:
    """Return a compound for each line (by ``id``), ``away_m`` at least from the centre; without room there is none."""
    lines = list({id(haul.line): haul for haul in hauls}.values())
    found: dict[int, Compound] = {}
    for haul in lines:
        end = float(chainage(haul.line)[-1])
        for share in (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8):
            made = _compound(haul, haul.site_m + share * (end - haul.site_m), lines, away_m, list(found.values()))
            if made is not None:
                found[id(haul.line)] = made
                break
    return found


def _compound(
    haul: Haul, place_m: float, lines: Sequence[Haul], away_m: float, others: Sequence[Compound]
) -> Compound | None:
    along_m = place_m + np.array([-FENCE_WIDE_M / 2, FENCE_WIDE_M / 2])
    for side in (1.0, -1.0):
        near = along(haul.line, along_m, side * FENCE_EDGE_M)
        far = along(haul.line, along_m, side * (FENCE_EDGE_M + FENCE_DEEP_M))
        ring = np.array([near[0], near[1], far[1], far[0], near[0]])
        middle = ring[:4].mean(axis=0)
        heart = along(haul.line, [place_m], side * (FENCE_EDGE_M + FENCE_DEEP_M / 2))[0]
        if np.hypot(*(heart - middle)) > _BENT_M:
            continue  # the road bends: who turns off it straight would miss the compound
        edge = np.concatenate([ring[k] + (ring[k + 1] - ring[k]) * np.linspace(0, 1, 9)[:, None] for k in range(4)])
        if np.hypot(*middle) < away_m or (distance_to(haul.line, edge) < FENCE_EDGE_M - 8.0).any():
            continue
        if any(float(np.hypot(*(other.ring[:4].mean(axis=0) - middle))) < 2 * FENCE_WIDE_M for other in others):
            continue
        if all(_clear(other.line, edge, haul.line) for other in lines):
            return Compound(place_m, side, ring)
    return None


def _clear(line: Points, edge: Points, own: Points) -> bool:
    """Return whether a line keeps away from a compound, except where it is the same road as the compound's own."""
    near = distance_to(line, edge)
    return bool(near.min() > _CLEAR_M or abs(near.min() - distance_to(own, edge).min()) < 2.0)


def keeps_out(line: Points, found: Iterable[Compound]) -> bool:
    """Return whether a way keeps clear of all compounds: a truck on it is in no forbidden area."""
    places = along(line, np.arange(0.0, float(chainage(line)[-1]) + 10.0, 10.0))
    sites = Sites([[(one.ring[:, 0], one.ring[:, 1]) for one in found]])
    none = np.zeros(len(places), dtype=np.int64)
    return not sites.holds(none, places[:, 0], places[:, 1], _BESIDE_M).any()


def fences(found: dict[int, Compound], projection: LocalProjection) -> tuple[Fence, ...]:
    """Return the compounds as forbidden areas of a registry."""
    return tuple(
        Fence(f"compound-{number:02d}", degrees(projection, one.ring)) for number, one in enumerate(found.values(), 1)
    )
