"""Simulated manhole covers: quiet sensors that wake on an event and report more often while something is wrong.

Vectorised over covers; noise is drawn for those that report only, so that twenty thousand covers cost little more than
twenty.
"""

from __future__ import annotations

import numpy as np

from devices.registry import Registry
from devices.sky import Sky
from simulators.cover_faults import CODE_M, EFFECTS, SLOW, WAVES, Round
from simulators.faults import NEVER_MS, FaultBook
from simulators.machine import Floats, Form, Ints, Mask, Reports, Rows, Timetable
from simulators.sewers import Sewers
from simulators.touches import Touches
from simulators.weather import DAY_MS, HOUR_MS, Rain, air_c

ALERTED_S = 60.0  # seconds between reports while something is wrong
SWITCH_DEG = 30.0  # a cover tilted further has left its frame and its switch
WAKE_MS = 4_000  # from the event to the first report; GB/T 41401 asks for 30 s at most
# Share of a road's reports that catch a lorry on the cover, at an average hour, and its daily shape.
_LORRIES = {"main": 0.02, "secondary": 0.012, "branch": 0.004}
_HOURS = np.array([2, 2, 2, 2, 3, 5, 8, 14, 16, 14, 13, 12, 11, 12, 13, 13, 14, 16, 14, 10, 8, 6, 4, 3]) / 9.0
_FORM = Form(
    "manhole",
    tilt_deg="%.2f",
    vibration_g="%.3f",
    cover_open="%d",
    water_level_m="%.2f",
    temperature_c="%.1f",
    ch4_lel_percent="%.1f",
    h2s_ppm="%.1f",
    co_ppm="%.1f",
    o2_percent="%.1f",
    battery_percent="%.1f",
    rsrp_dbm="%.0f",
    locked="%d",
)


class Covers:
    """All manhole covers of a city.

    Args:
        registry, sky, rain: who they are, and the weather over them.
        book: faults.
        rng: their own random numbers.
        start_ms: city time at which they begin to report.
        cover_s: seconds between reports while all is well.
    """

    def __init__(
        self,
        registry: Registry,
        sky: Sky,
        rain: Rain,
        book: FaultBook,
        rng: np.random.Generator,
        *,
        start_ms: int,
        cover_s: float,
    ) -> None:
        self._sky, self._rain, self._rng, self._start_ms = sky, rain, rng, start_ms
        rows = registry.rows_of("manhole", "cover")
        ids = registry.ids_of(rows)
        n = len(ids)
        self._rows = rows
        self._depth = np.nan_to_num(registry.fact("depth_m", rows), nan=3.0)
        self._tilt = rng.uniform(0.1, 0.8, n)
        self._thermal = rng.uniform(0.01, 0.05, n)  # degrees of tilt a degree of temperature
        self._settles = rng.normal(0.0, 0.004, n)  # degrees a day: the frame works loose and finds its place again
        self._lorries = _lorries(registry, rows)
        self._battery = rng.uniform(55.0, 99.0, n)
        self._drains = rng.uniform(0.01, 0.03, n)  # per cent a day: three years and more from a full one
        self._signal = rng.uniform(-105.0, -75.0, n)
        self._gas = rng.uniform(0.0, 1.2, n)
        self.sewers = Sewers(registry, rows, rain, rng, start_ms)
        self._times = Timetable(rng, n, cover_s, start_ms)
        self._wake_ms = np.full(n, NEVER_MS, dtype=np.int64)  # of what happens within a tick
        lags = dict.fromkeys(WAVES, self.sewers.lag_ms)
        self._touches = {name: Touches(book, name, ids, lags.get(name)) for name in EFFECTS}

    def tick(self, from_ms: int, until_ms: int) -> list[Reports]:
        """Live through (from, until]; a sensor wakes seconds after its fault begins."""
        next_ms, wake_ms = self._times.next_ms, self._wake_ms
        woken: list[Rows] = []
        for effect, touches in self._touches.items():
            if effect not in SLOW:
                for rows, times in touches.wakes(from_ms, until_ms, WAKE_MS):
                    wake_ms[rows] = np.minimum(wake_ms[rows], times)
                    next_ms[rows] = np.minimum(next_ms[rows], times)
                    woken.append(rows)
        out: list[Reports] = []
        for rows, times in self._times.rounds(until_ms):
            reports, wrong, heard = self._reports(rows, times, from_ms)
            out.append(reports if heard.all() else reports.take(heard))
            soon = times[wrong] + round(ALERTED_S * 1000)
            next_ms[rows[wrong]] = np.minimum(next_ms[rows[wrong]], soon)
            if woken:  # the usual report came first, and the event is still ahead
                ahead = wake_ms[rows] > times
                next_ms[rows[ahead]] = np.minimum(next_ms[rows[ahead]], wake_ms[rows[ahead]])
        for rows in woken:
            wake_ms[rows] = NEVER_MS
        return out

    def _reports(self, rows: Rows, times: Ints, from_ms: int) -> tuple[Reports, Mask, Mask]:
        """Return the reports, where something is wrong, and which of them are heard at all."""
        rng, count = self._rng, len(rows)
        minute = float(self._sky.local_minute(from_ms))
        warm = float(air_c(minute)) - 18.0
        days = (from_ms - self._start_ms) / DAY_MS
        passing = rng.random(count) < self._lorries[rows] * _HOURS[int(minute) // 60 % 24]
        noise = rng.standard_normal((8, count))
        r = Round(count)
        r.random = rng.random(count)
        r.tilt = np.abs(self._tilt[rows] + self._thermal[rows] * warm + self._settles[rows] * days + 0.08 * noise[0])
        r.shake = np.abs(0.01 * noise[1])
        if passing.any():
            r.tilt += passing * rng.uniform(3.0, 6.0, count)
            r.shake += passing * rng.uniform(0.1, 0.6, count)
        r.level = self.sewers.level_m(rows, times, minute) + 0.008 * noise[2]
        stale = 1.0 + 0.3 * np.sin(2 * np.pi * (minute - 120.0) / 1440.0) - 0.5 * min(1.0, self._washed(from_ms))
        gas = self._gas[rows] * max(0.2, float(stale)) * 1.07 ** (0.3 * warm)  # bacteria: 7 % a degree
        r.h2s, r.ch4, r.co = gas + 0.15 * noise[3], gas + 0.2 * noise[4], 2.0 * gas + 0.3 * noise[5]
        r.o2 = 20.7 + 0.05 * noise[6]
        cold = 0.3 * max(0.0, 5.0 - (warm + 18.0))
        r.battery = self._battery[rows] - self._drains[rows] * days - cold
        wrong = np.zeros(count, dtype=np.bool_)
        for effect, touches in self._touches.items():
            for touch in touches.of(rows, times):
                shown = EFFECTS[effect](r, touch.at, touch.since_ms, touch.fault)
                touches.see(touch, times, shown)
                if effect not in SLOW:
                    wrong[touch.at] = True
        apart = r.opened & (r.tilt > SWITCH_DEG)
        reports = _FORM.reports(
            self._rows[rows],
            times,
            np.clip(r.tilt, 0.0, 180.0),
            r.shake,
            apart,
            np.where(r.level >= CODE_M, CODE_M, np.clip(r.level, 0.0, self._depth[rows])),
            14.0 + 0.3 * warm + 0.1 * noise[7],
            np.clip(r.ch4, 0.0, 100.0),
            np.clip(r.h2s, 0.0, 1000.0),
            np.clip(r.co, 0.0, 5000.0),
            np.clip(r.o2, 0.0, 30.0),
            np.clip(r.battery, 0.0, 100.0),
            self._signal[rows] + rng.normal(0.0, 3.0, count),
            ~((apart & ~r.forced) | r.unlocked),
        )
        return reports, wrong, r.heard

    def _washed(self, now_ms: int) -> float:
        """Return how well rain has washed the sewers of late; 1 after 5 mm in six hours."""
        return self._rain.depth_mm(now_ms - 6 * HOUR_MS, now_ms) / 5.0


def _lorries(registry: Registry, rows: Rows) -> Floats:
    """Return the share of each cover's reports that catch a lorry on it, by its road's rank."""
    rank = {road.name: road.rank for road in registry.roads}
    roads = registry.group("road")
    by_road = np.array([_LORRIES.get(rank.get(name, ""), 0.004) for name in roads.names] + [0.004])
    return np.asarray(by_road[roads.code[rows]])
