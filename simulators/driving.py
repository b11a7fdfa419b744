"""Lines that simulated trucks drive on: where they lead, how fast bends and stops allow, what stands beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from simulators.machine import Floats, Rows
from simulators.network import Points, along, chainage

CRUISE_MPS = 12.5  # 45 km/h
TURN_MPS = 4.5  # through a corner
STOP_MPS = 1.4  # into a site
BRAKE_MPS2 = 0.6
CORNER_DEG = 30.0
_CELL_M = 10.0
_RUNS_KEPT = 20_000  # drives whose times are kept at hand: trucks of one site drive the same way night after night
Setting = Callable[[Points], Rows]


@dataclass(slots=True)
class _Track:
    line: Points
    cum: Floats
    allowed: Floats  # m/s by 10 m of the way
    places: Floats  # where the pace changes, and every 100 m
    needed: Floats  # s from the line's beginning to each of these places
    corners: Floats
    setting: Rows


class Tracks:
    """All lines of a fleet, side by side, so that positions of many trucks are looked up at once.

    Args:
        setting: what stands beside places (n, 2), as numbers: what receivers suffer from it is theirs.
    """

    def __init__(self, setting: Setting | None = None) -> None:
        self._setting = setting or (lambda places: np.zeros(len(places), dtype=np.intp))
        self._tracks: list[_Track] = []
        self._packed = False
        self._runs: dict[tuple[int, float, float], tuple[Floats, Floats]] = {}

    def add(self, line: Points, stops_m: Sequence[float]) -> int:
        """Take in a line that has stops at the given distances, and return its number."""
        cum = chainage(line)
        cells = np.arange(0.0, cum[-1] + _CELL_M, _CELL_M)
        allowed = np.full(len(cells), CRUISE_MPS)
        step = np.diff(line, axis=0)
        bearing = np.arctan2(step[:, 1], step[:, 0])
        turn = np.abs((np.diff(bearing) + np.pi) % (2 * np.pi) - np.pi)
        corners = cum[1:-1][turn > np.radians(CORNER_DEG)]
        for place, speed in [*((c, TURN_MPS) for c in corners), *((s, STOP_MPS) for s in stops_m)]:
            away = np.maximum(np.abs(cells - place) - _CELL_M, 0.0)
            allowed = np.minimum(allowed, np.sqrt(speed**2 + 2 * BRAKE_MPS2 * away))
        middle = (allowed[:-1] + allowed[1:]) / 2
        needed = np.concatenate([[0.0], np.cumsum(_CELL_M / middle)])
        setting = self._setting(along(line, np.minimum(cells, cum[-1])))
        steady = np.abs(np.diff(allowed)) < 1e-9
        knots = np.flatnonzero(
            ~(np.append(False, steady) & np.append(steady, False)) | (np.arange(len(cells)) % 10 == 0)
        )
        self._tracks.append(_Track(line, cum, allowed, cells[knots], needed[knots], corners, setting))
        self._packed = False
        return len(self._tracks) - 1

    def length(self, track: int) -> float:
        """Return a line's length, metres."""
        return float(self._tracks[track].cum[-1])

    def line(self, track: int) -> Points:
        """Return a line, (n, 2) metres."""
        return self._tracks[track].line

    def corners(self, track: int) -> Floats:
        """Return where on a line the corners are, metres."""
        return self._tracks[track].corners

    def straight(self, track: int, first_m: float, last_m: float) -> tuple[float, float]:
        """Return the longest stretch between two places of a line on which nothing makes a truck slow down."""
        t = self._tracks[track]
        cells = np.arange(len(t.allowed)) * _CELL_M
        free = (t.allowed >= CRUISE_MPS - 1e-9) & (cells >= first_m) & (cells <= last_m)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], free, [False]])))
        runs = [(float(cells[a]), float(cells[b - 1])) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        return max(runs, key=lambda run: run[1] - run[0], default=(first_m, first_m))

    def run(self, track: int, from_m: float, until_m: float) -> tuple[Floats, Floats]:
        """Return seconds from the start and places in between, driving from one place to another, either way."""
        key = track, from_m, until_m
        found = self._runs.get(key)
        if found is None:
            if len(self._runs) >= _RUNS_KEPT:
                self._runs.clear()
            found = self._runs[key] = self._run(self._tracks[track], from_m, until_m)
        return found

    @staticmethod
    def _run(t: _Track, from_m: float, until_m: float) -> tuple[Floats, Floats]:
        low, high = min(from_m, until_m), max(from_m, until_m)
        first, last = np.searchsorted(t.places, low, side="right"), np.searchsorted(t.places, high)
        places = np.concatenate([[low], t.places[first:last], [high]])
        seconds = np.interp(places, t.places, t.needed)
        if until_m < from_m:
            return (seconds[-1] - seconds)[::-1], places[::-1]
        return seconds - seconds[0], places

    def at(self, track: Rows, s: Floats) -> tuple[Points, Points]:
        """Return positions at distance ``s`` of each track and unit vectors along it, each (n, 2)."""
        self._pack()
        common = self._base[track] + np.clip(s, 0.01, self._length[track] - 0.01)
        here = np.searchsorted(self._cum, common, side="right") - 1
        return self._points[here] + self._unit[here] * (common - self._cum[here])[:, None], self._unit[here]

    def settings(self, track: Rows, s: Floats) -> Rows:
        """Return what stands beside each track at distance ``s``, (n,)."""
        self._pack()
        cell = np.clip((s / _CELL_M).astype(np.intp), 0, self._count[track] - 1)
        return np.asarray(self._settings[self._cells[track] + cell])

    def _pack(self) -> None:
        if self._packed:
            return
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
        self._cum = np.concatenate([t.cum + start for t, start in zip(self._tracks, starts, strict=True)])
        self._points = np.concatenate([t.line for t in self._tracks])
        self._settings = np.concatenate([t.setting for t in self._tracks])
        step = np.diff(self._points, axis=0, append=self._points[-1:])
        self._unit = step / np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-6)[:, None]
        self._packed = True
