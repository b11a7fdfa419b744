"""Recordings as arrays: the readings that a mapping made of a file, as tracks of vehicles and as batches for rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from devices.batch import Batch, make_batch
from devices.registry import Permit, Registry
from simulators.recording import Reading, Recording

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Line = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Track:
    """One vehicle's recorded way.

    Attributes:
        device: its id.
        time_ms: (n,) epoch milliseconds, rising.
        lon, lat: (n,) degrees.
        pieces: the permitted route, one line a piece; gaps between pieces are not permitted.
    """

    device: str
    time_ms: Ints
    lon: Floats
    lat: Floats
    pieces: tuple[Line, ...]

    def thinned(self, seconds: float) -> Track:
        """Return the track as a device would send it that reports every so many seconds."""
        kept, last = [], -(1 << 62)
        for at, time in enumerate(self.time_ms.tolist()):
            if time - last >= seconds * 1000:
                kept.append(at)
                last = time
        return replace(self, time_ms=self.time_ms[kept], lon=self.lon[kept], lat=self.lat[kept])

    def permits(self, device: str = "") -> list[Permit]:
        """Return one permit for every piece of the route, for this vehicle or for one of another name."""
        name = device or self.device
        return [Permit(f"{name}-{k}", name, line) for k, line in enumerate(self.pieces, 1) if len(line) > 1]


def tracks(recording: Recording) -> list[Track]:
    """Return the way of every vehicle of a recording, in the order of their names."""
    fixes: dict[str, list[tuple[int, float, float]]] = {}
    for reading in recording.readings:
        if "lon_deg" in reading.values and "lat_deg" in reading.values:
            place = float(reading.values["lon_deg"]), float(reading.values["lat_deg"])
            fixes.setdefault(reading.device, []).append((reading.time_ms, *place))
    found = []
    for device, rows in sorted(fixes.items()):
        table = np.array(rows)
        pieces = tuple(p.route for p in recording.permits if p.truck == device)
        found.append(Track(device, table[:, 0].astype(np.int64), table[:, 1], table[:, 2], pieces))
    return found


def track_batches(registry: Registry, ways: Iterable[Track], size: int = 4096) -> Iterator[Batch]:
    """Yield the fixes of all vehicles in the order of time, ``size`` at once."""
    given = list(ways)
    kind = registry.catalog["truck"]
    device = np.concatenate([np.full(len(way.time_ms), registry.row[way.device]) for way in given])
    time_ms = np.concatenate([way.time_ms for way in given])
    values = np.full((len(kind.fields), len(time_ms)), np.nan)
    values[kind.column("lon_deg")] = np.concatenate([way.lon for way in given])
    values[kind.column("lat_deg")] = np.concatenate([way.lat for way in given])
    order = np.argsort(time_ms, kind="stable")
    for at in range(0, len(order), size):
        part = order[at : at + size]
        yield make_batch(kind, int(time_ms[part[-1]]), time_ms[part], device[part], values[:, part])


def batches(registry: Registry, readings: Sequence[Reading], size: int = 4096) -> Iterator[Batch]:
    """Yield readings of any kinds as batches, in the order of time, ``size`` of one kind at most."""
    for at in range(0, len(readings), size):
        part = readings[at : at + size]
        for kind in registry.catalog:
            mine = [reading for reading in part if reading.kind == kind.name]
            if not mine:
                continue
            values = np.full((len(kind.fields), len(mine)), np.nan)
            for row, reading in enumerate(mine):
                for name, value in reading.values.items():
                    values[kind.column(name), row] = value
            device = [registry.row[reading.device] for reading in mine]
            times = [reading.time_ms for reading in mine]
            yield make_batch(kind, part[-1].time_ms, times, device, values)
