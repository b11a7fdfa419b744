"""Lines that simulated trucks drive on, with the speed that bends and stops allow at every place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulators.machine import Floats, Rows
from simulators.network import Points, chainage

CRUISE_MPS = 12.5  # 45 km/h
TURN_MPS = 4.5  # through a corner
STOP_MPS = 1.4  # into a site
BRAKE_MPS2 = 0.6
_CELL_M = 10.0


@dataclass(slots=True)
class _Track:
    line: Points
    cum: Floats
    allowed: Floats  # m/s by 10 m of the way


class Tracks:
    """All lines of a fleet, side by side, so that positions of many trucks are looked up at once."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._pack()

    def add(self, line: Points, stops_m: list[float]) -> int:
        """Take in a line that has stops at the given distances, and return its number."""
        cum = chainage(line)
        cells = np.arange(0.0, cum[-1] + _CELL_M, _CELL_M)
        allowed = np.full(len(cells), CRUISE_MPS)
        step = np.diff(line, axis=0)
        bearing = np.arctan2(step[:, 1], step[:, 0])
        turn = np.abs((np.diff(bearing) + np.pi) % (2 * np.pi) - np.pi)
        corners = cum[1:-1][turn > np.radians(30)]
        for place, speed in [*((c, TURN_MPS) for c in corners), *((s, STOP_MPS) for s in stops_m)]:
            away = np.maximum(np.abs(cells - place) - _CELL_M, 0.0)
            allowed = np.minimum(allowed, np.sqrt(speed**2 + 2 * BRAKE_MPS2 * away))
        self._tracks.append(_Track(line, cum, allowed))
        self._pack()
        return len(self._tracks) - 1

    def length(self, track: int) -> float:
        """Return a line's length, metres."""
        return float(self._tracks[track].cum[-1])

    def line(self, track: int) -> Points:
        """Return a line, (n, 2) metres."""
        return self._tracks[track].line

    def _pack(self) -> None:
        gap = 1_000.0  # between two lines on the common scale
        base, starts, cells = 0.0, [], [0]
        for track in self._tracks:
            starts.append(base)
            base += float(track.cum[-1]) + gap
            cells.append(cells[-1] + len(track.allowed))
        self._base = np.array(starts)
        self._length = np.array([t.cum[-1] for t in self._tracks])
        self._cells = np.array(cells[:-1], dtype=np.intp)
        self._count = np.array([len(t.allowed) for t in self._tracks], dtype=np.intp)
        if self._tracks:
            self._cum = np.concatenate([t.cum + start for t, start in zip(self._tracks, starts, strict=True)])
            self._points = np.concatenate([t.line for t in self._tracks])
            self._allowed = np.concatenate([t.allowed for t in self._tracks])

    def allowed(self, track: Rows, s: Floats) -> Floats:
        """Return the speed allowed at distance ``s`` of each track, m/s."""
        cell = np.clip((s / _CELL_M).astype(np.intp), 0, self._count[track] - 1)
        return np.asarray(self._allowed[self._cells[track] + cell])

    def at(self, track: Rows, s: Floats) -> tuple[Points, Points]:
        """Return positions at distance ``s`` of each track and unit vectors along it, each (n, 2)."""
        common = self._base[track] + np.clip(s, 0.01, self._length[track] - 0.01)
        here = np.searchsorted(self._cum, common, side="right") - 1
        step = self._points[here + 1] - self._points[here]
        size = np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-6)[:, None]
        unit = step / size
        return self._points[here] + unit * (common - self._cum[here])[:, None], unit
