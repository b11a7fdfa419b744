"""One truck's shift, from noon to noon: where it is at every moment, what it does there and what it carries.

A shift is laid down leg by leg and asked afterwards, so that a whole night of a whole fleet is a few columns.
"""

from __future__ import annotations

import numpy as np

from simulators.driving import Tracks
from simulators.machine import Floats

DAY_S = 86_400.0
PARKED, LOADING, DUMPING, OUT, LOADED, EMPTY, HOME, STRANGE_TIP, STRANGE_LOAD, WASHING = range(10)
HALT_EVERY_S = 417.0  # driving between two red lights or queues
HALT_S = (10.0, 45.0)


class Shift:
    """A truck's way in the making; times are seconds from noon.

    Attributes:
        t, s: breakpoints, leg by leg: time, and place on its line.
        track, way: of each leg the line, and 1 or -1 for the direction driven in.
        phases: (time, phase) from which on.
        loads: (time, tonnes) between which the load changes evenly.
        spans: (name, from, until, value) of what else is true for a while.
        now, place, line: where the making stands.
    """

    def __init__(self, tracks: Tracks, rng: np.random.Generator, line: int, place: float, pace: float) -> None:
        self._tracks, self._rng, self._pace = tracks, rng, pace
        self.now, self.place, self.line, self.load = 0.0, place, line, 0.0
        self.t: list[Floats] = []
        self.s: list[Floats] = []
        self.track: list[int] = []
        self.way: list[float] = []
        self.phases: list[tuple[float, int]] = [(0.0, PARKED)]
        self.loads: list[tuple[float, float]] = [(0.0, 0.0)]
        self.corners: list[float] = []
        self.spans: list[tuple[str, float, float, float]] = []

    def phase(self, code: int) -> None:
        """Begin a phase."""
        self.phases.append((self.now, code))

    def _add(self, t: Floats, s: Floats, way: float) -> None:
        self.t.append(t)
        self.s.append(s)
        self.track.append(self.line)
        self.way.append(way)
        self.now, self.place = float(t[-1]), float(s[-1])

    def stay(self, seconds: float, load_t: float | None = None) -> None:
        """Stand, and load or unload evenly meanwhile where ``load_t`` says how much there is at the end."""
        way = self.way[-1] if self.way else 1.0
        if load_t is not None:
            self.loads += [(self.now, self.load), (self.now + seconds, load_t)]
            self.load = load_t
        self._add(np.array([self.now, self.now + seconds]), np.array([self.place, self.place]), way)

    def carry(self, load_t: float, seconds: float) -> None:
        """Let the load become ``load_t`` within so many seconds from now on, whatever else happens."""
        self.loads += [(self.now, self.load), (self.now + seconds, load_t)]
        self.load = load_t

    def drive(self, line: int, from_m: float, until_m: float, *, faster: float = 1.0) -> None:
        """Drive along a line, with red lights unless in haste; ``faster`` times the usual pace."""
        seconds, places = self._tracks.run(line, from_m, until_m)
        seconds = seconds / (self._pace if faster == 1.0 else faster)
        if faster == 1.0 and len(places) > 4:
            number = int(self._rng.poisson(seconds[-1] / HALT_EVERY_S))
            if number:
                at = np.array(sorted(set(self._rng.integers(1, len(places) - 1, number).tolist())))
                lasts = self._rng.uniform(*HALT_S, len(at))
                repeat = np.ones(len(places), dtype=np.intp)
                repeat[at] = 2
                wait = np.zeros(len(places) + len(at))
                wait[at + np.arange(1, len(at) + 1)] = lasts
                places = np.repeat(places, repeat)
                seconds = np.repeat(seconds, repeat) + np.cumsum(wait)
        self.line = line
        begin, way = self.now, 1.0 if until_m >= from_m else -1.0
        self._add(begin + seconds, places, way)
        corners = self._tracks.corners(line)
        passed = corners[(corners > min(from_m, until_m) + 8.0) & (corners < max(from_m, until_m) - 8.0)]
        if len(passed):
            self.corners += (begin + np.interp((passed + 8.0 * way) * way, places * way, seconds)).tolist()

    def span(self, name: str, from_s: float, until_s: float, value: float = 1.0) -> None:
        """Note that something is true for a while."""
        self.spans.append((name, from_s, until_s, value))

    def close(self) -> None:
        """Stand to the end of the day."""
        if not self.t:
            self._add(np.array([0.0, DAY_S]), np.array([self.place, self.place]), 1.0)
        elif self.now < DAY_S:
            self.stay(DAY_S - self.now)
        self.loads.append((DAY_S, self.load))
