"""Simulated muck trucks: they load, drive their permitted way, dump, come back, and sleep in the depot by day."""

from __future__ import annotations

import numpy as np

from devices.registry import Registry
from devices.sky import Sky
from simulators.driving import Tracks
from simulators.faults import Fault, FaultBook
from simulators.haulage import HOURS, LOAD_T, Haul, find_detour
from simulators.machine import Floats, Form, Reports
from simulators.network import Network, along, chainage, distance_to

STEP_S = 5
PARKED, LOADING, DUMPING, OUT, LOADED, EMPTY, HOME = range(7)
_WAY = np.array([0, 0, 0, 1, 1, -1, -1])  # along the line or against it
LAST_LOAD_MIN = 75  # a load taken up later would not be home when the permit's hours end
SLEEP = 4  # a parked truck's terminal reports this many times more seldom (JT/T 808 parameter 0x0027)
TURN_DEG = 25.0  # terminals report at once when they have turned this far (corner reports)
LANE_M = 3.0
OUTSIDE_M = 80.0  # from here on a truck is visibly off its way (docs/sources.md, routes)
_FORM = Form(
    "truck",
    lon_deg="%.6f",
    lat_deg="%.6f",
    altitude_m="%.0f",
    speed_kmh="%.1f",
    heading_deg="%.0f",
    hdop="%.1f",
    satellites="%d",
    odometer_km="%.1f",
    ignition="%d",
    cover_closed="%d",
    bed_angle_deg="%.0f",
    load_t="%.1f",
    load_state="%d",
    alarm_bits="%d",
    fuel_percent="%.1f",
)


class Trucks:
    """All muck trucks of a city.

    Args:
        registry, sky: whose projection and whose clocks.
        network, hauls: streets and each truck's work.
        book: faults.
        rng: their own random numbers.
        start_ms: city time at which they begin to report; within the permit's hours they are found at work.
        truck_s: seconds between reports, a multiple of 5.
    """

    def __init__(
        self,
        registry: Registry,
        sky: Sky,
        network: Network,
        hauls: tuple[Haul, ...],
        book: FaultBook,
        rng: np.random.Generator,
        *,
        start_ms: int,
        truck_s: float,
    ) -> None:
        if truck_s < STEP_S or truck_s % STEP_S:
            raise ValueError(f"trucks report every {STEP_S}, {2 * STEP_S}, {3 * STEP_S} … seconds, not {truck_s}")
        n = len(hauls)
        self._sky, self._network, self._hauls, self._book, self._rng = sky, network, hauls, book, rng
        self._projection = registry.projection
        self._rows = np.array([registry.row[haul.truck] for haul in hauls], dtype=np.intp)
        self._tracks = Tracks()
        lines: dict[int, int] = {}
        for haul in hauls:
            stops = [0.0, haul.site_m, float(chainage(haul.line)[-1])]
            if id(haul.line) not in lines:
                lines[id(haul.line)] = self._tracks.add(haul.line, stops)
        self._base = np.array([lines[id(haul.line)] for haul in hauls], dtype=np.intp)
        self._track = self._base.copy()
        self._site = np.array([haul.site_m for haul in hauls])
        self._end = np.array([self._tracks.length(track) for track in self._base])
        self._every = round(truck_s / STEP_S)
        self._turn = rng.integers(0, self._every * SLEEP, n)
        self._shift = rng.integers(1, STEP_S * 1000, n)  # each terminal's own second
        self._sigma = rng.uniform(5.0, 12.0, n) / np.sqrt(2.0)  # metres an axis
        self._noise = rng.normal(0.0, 1.0, (n, 2)) * self._sigma[:, None]
        self._pace = rng.uniform(0.85, 1.1, n)
        self._load = np.zeros(n)
        self._full = rng.uniform(0.80, 0.98, n) * LOAD_T
        self._speed = np.zeros(n)
        self._wait = np.zeros(n)
        self._odometer = rng.uniform(10_000.0, 300_000.0, n)
        self._fuel = rng.uniform(40.0, 95.0, n)
        self._told = np.zeros((n, 2))  # heading at the last report
        self._tick = 0
        self._leave = rng.uniform(0.0, 20.0, n)  # minutes after the permit's hours begin
        self._phase, self._s = self._begin(start_ms)
        ids = [haul.truck for haul in hauls]
        self._detours, self._uncovered = book.spells("detour", ids), book.spells("uncovered", ids)
        self._away: dict[int, tuple[Fault, float, float, float]] = {}  # truck -> fault, return, added, first outside

    def _begin(self, start_ms: int) -> tuple[np.ndarray, Floats]:
        n = len(self._hauls)
        if self._minutes_left(start_ms) < LAST_LOAD_MIN or n == 0:
            return np.full(n, PARKED), np.zeros(n)
        phase = self._rng.choice([LOADED, EMPTY], n)
        self._load = np.where(phase == LOADED, self._full, 0.0)
        return phase, self._rng.uniform(self._site + 50.0, self._end - 50.0)

    def _minutes_left(self, now_ms: int) -> float:
        """Return minutes until the permit's hours end, -1 outside them."""
        minute = int(self._sky.local_minute(now_ms))
        begin, end = HOURS
        inside = minute >= begin or minute < end
        return float((end - minute) % 1440) if inside else -1.0

    def tick(self, from_ms: int, until_ms: int) -> list[Reports]:
        """Live through (from, until] in steps of 5 s; faults hold as they stand at each step's beginning."""
        out: list[Reports] = []
        for begin in range(from_ms, until_ms, STEP_S * 1000):
            out += self._step(begin) if len(self._hauls) else []
        return out

    def _step(self, now_ms: int) -> list[Reports]:
        rng, n = self._rng, len(self._hauls)
        draws = rng.random((3, n))
        jitter = rng.normal(0.0, 1.0, (4, n))
        if self._minutes_left(now_ms) >= 0 or (self._phase != PARKED).any():
            self._follow(now_ms)
            self._drive(draws)
            self._work(now_ms, draws[2])
        keep = 0.983  # a fix's error lasts some minutes: 0.95 from one 15 s report to the next
        fresh = np.sqrt(1 - keep**2) * jitter[:2].T * self._sigma[:, None]
        limit = 3.5 * self._sigma[:, None]
        self._noise = np.clip(keep * self._noise + fresh, -limit, limit)
        self._tick += 1
        return self._reports(now_ms, jitter[2:])

    def _drive(self, draws: Floats) -> None:
        way = _WAY[self._phase]
        moving = (way != 0) & (self._wait <= 0)
        ahead = self._s + way * self._speed * STEP_S
        allowed = np.minimum(self._tracks.allowed(self._track, self._s), self._tracks.allowed(self._track, ahead))
        halt = moving & (draws[0] < 0.012) & (self._speed > 3.0)  # a red light, a queue
        self._wait = np.where(halt, 10.0 + 35.0 * draws[1], np.maximum(self._wait - STEP_S, 0.0) * (way != 0))
        faster = np.minimum(self._speed + 0.8 * STEP_S, allowed * self._pace)
        self._speed = np.where(moving & ~halt, faster, 0.0)
        self._s = self._s + way * self._speed * STEP_S
        self._odometer += self._speed * STEP_S / 1000.0
        self._fuel = np.maximum(self._fuel - self._speed * STEP_S / 1000.0 * 0.12, 5.0)

    def _work(self, now_ms: int, draw: Floats) -> None:
        """Load, dump, set off and arrive."""
        left = self._minutes_left(now_ms)
        phase = self._phase.copy()
        begin = (phase == PARKED) & (left > LAST_LOAD_MIN) & (480.0 - left >= self._leave)
        self._fuel = np.where(begin, 95.0, self._fuel)
        self._phase[begin] = OUT
        home = 0.0 < left < LAST_LOAD_MIN or left < 0
        at_site = (phase == OUT) & (self._s >= self._site - 3.0)
        back = (phase == EMPTY) & (self._s <= self._site + 3.0)
        self._phase[at_site | back] = HOME if home else LOADING
        filling, tipping = phase == LOADING, phase == DUMPING
        step = self._full * STEP_S / np.where(filling, 420 + 240 * draw, 160 + 120 * draw)
        self._load = np.clip(self._load + step * filling - step * tipping, 0.0, self._full)
        self._phase[filling & (self._load >= self._full - 0.01)] = LOADED
        self._phase[(phase == LOADED) & (self._s >= self._end - 3.0)] = DUMPING
        self._phase[tipping & (self._load <= 0.01)] = EMPTY
        self._phase[(phase == HOME) & (self._s <= 3.0)] = PARKED
        arrived = _WAY[self._phase] == 0
        self._speed[arrived] = 0.0
        self._s = np.clip(self._s, 0.0, self._end)

    def _follow(self, now_ms: int) -> None:
        """Lead a truck onto its detour when its fault has begun, and back onto its way at the end."""
        for fault, touched in self._detours.items:
            if not fault.on_ms <= now_ms < fault.off_ms:
                continue
            for k in touched.tolist():
                if k not in self._away and self._phase[k] == LOADED and fault.seen_ms == 0:
                    self._turn_off(fault, k)
        for k, (_, back_m, added, _) in list(self._away.items()):
            if self._s[k] >= back_m:
                self._s[k] -= added
                self._track[k], self._end[k] = self._base[k], self._end[k] - added
                self._away[k] = (self._away[k][0], np.inf, 0.0, np.inf)

    def _turn_off(self, fault: Fault, k: int) -> None:
        haul = self._hauls[k]
        detour = find_detour(self._network, haul)
        if self._s[k] >= detour.leave_m:
            return
        cum = chainage(haul.line)
        rest = haul.line[cum > detour.return_m + 0.5]
        line = np.concatenate([haul.line[cum < detour.leave_m - 0.5], detour.line, rest])
        cum_new = chainage(line)
        added = float(cum_new[-1] - cum[-1])
        stops = [0.0, haul.site_m, float(cum_new[-1])]
        places = np.arange(detour.leave_m, detour.return_m + added, 10.0)
        outside = places[distance_to(haul.line, along(line, places)) > OUTSIDE_M]
        self._track[k] = self._tracks.add(line, stops)
        self._end[k] += added
        self._away[k] = (fault, detour.return_m + added, added, float(outside[0]))

    def _reports(self, now_ms: int, jitter: Floats) -> list[Reports]:
        way = np.where(_WAY[self._phase] < 0, -1.0, 1.0)[:, None]
        place, unit = self._tracks.at(self._track, self._s)
        heading = unit * way
        asleep = self._phase == PARKED
        every = np.where(asleep, self._every * SLEEP, self._every)
        turned = (heading * self._told).sum(axis=1) < np.cos(np.radians(TURN_DEG))
        due = ((self._tick + self._turn) % every == 0) | (turned & (self._speed > 1.0))
        rows = np.flatnonzero(due)
        if not len(rows):
            return []
        self._told[rows] = heading[rows]
        place = place + np.column_stack([heading[:, 1], -heading[:, 0]]) * LANE_M * (_WAY[self._phase] != 0)[:, None]
        seen = (place + self._noise)[rows]
        lon, lat = self._projection.to_degrees(seen[:, 0], seen[:, 1])
        times = now_ms + self._shift[rows]
        speed = np.maximum(self._speed[rows] * 3.6 + 0.4 * jitter[0, rows], 0.0) * (self._speed[rows] > 0)
        degrees = np.degrees(np.arctan2(heading[rows, 0], heading[rows, 1])) + 2.0 * jitter[1, rows]
        phase, load = self._phase[rows], self._load[rows]
        bare = self._uncovered.active(now_ms)[rows] & (phase == LOADED)
        self._note(rows, times, now_ms, bare & (speed > 20.0))
        tipping = phase == DUMPING
        return [
            _FORM.reports(
                self._rows[rows],
                times,
                lon,
                lat,
                12.0,
                speed,
                degrees % 360.0,
                0.8 + 0.1 * np.abs(jitter[0, rows]) + 0.02 * self._sigma[rows],
                14 + np.round(jitter[1, rows]),
                self._odometer[rows],
                ~asleep[rows],
                ~(bare | tipping | (phase == LOADING)),
                np.where(tipping, 45.0 * np.clip(3.0 * load / self._full[rows], 0.2, 1.0), 0.0),
                load,
                np.where(load > 0.8 * self._full[rows], 3, np.where(load > 2.0, 1, 0)),
                0,
                self._fuel[rows],
            )
        ]

    def _note(self, rows: np.ndarray, times: np.ndarray, now_ms: int, bare: np.ndarray) -> None:
        """Tell the book what these reports show."""
        self._book.see_rows(self._uncovered, rows[bare], times[bare], now_ms)
        for row, time in zip(rows.tolist(), times.tolist(), strict=True):
            away = self._away.get(row)
            if away and self._s[row] >= away[3]:
                self._book.see(away[0], time)
