"""Recorded data of real cities, read into arrays: vehicle traces with true routes, a lighting feeder, a sewer survey.

The files lie beside the checkout (``../shared/data``) and are never copied into the project; see its SOURCES.md.
"""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Line = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Trace:
    """One vehicle's recorded way and the roads that it truly drove (Kubička et al. 2015).

    Attributes:
        id: number of the track.
        time_ms: (n,) milliseconds from the track's beginning.
        lon, lat: (n,) degrees.
        route: pieces of the true route, each a list of (lon, lat); gaps lie where no road is mapped.
    """

    id: str
    time_ms: Ints
    lon: Floats
    lat: Floats
    route: list[Line]


def kubicka(folder: Path, half: str = "open") -> list[Trace]:
    """Read the traces and true routes of ``gps/kubicka``."""
    collection = json.loads((folder / f"true_routes.{half}.geojson").read_text(encoding="utf-8"))
    routes: dict[str, list[Line]] = {}
    for feature in collection["features"]:
        shape = feature["geometry"]
        pieces = shape["coordinates"] if shape["type"] == "MultiLineString" else [shape["coordinates"]]
        routes[feature["properties"]["track_id"]] = [[(float(x), float(y)) for x, y, *_ in piece] for piece in pieces]
    rows: dict[str, list[tuple[float, float, float]]] = {}
    with gzip.open(folder / f"tracks.{half}.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            rows.setdefault(row["track_id"], []).append((float(row["t_s"]), float(row["lon"]), float(row["lat"])))
    traces = []
    for track, points in sorted(rows.items()):
        table = np.array(points)
        order = np.argsort(table[:, 0], kind="stable")
        time_ms = np.rint(table[order, 0] * 1000).astype(np.int64)
        fresh = np.flatnonzero(np.diff(time_ms, prepend=time_ms[0] - 1) > 0)
        traces.append(Trace(track, time_ms[fresh], table[order[fresh], 1], table[order[fresh], 2], routes[track]))
    return traces
