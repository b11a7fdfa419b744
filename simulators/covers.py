"""Simulated manhole covers: quiet sensors that wake on an event and report more often while something is wrong."""

from __future__ import annotations

import numpy as np

from devices.registry import Registry
from devices.sky import Sky
from simulators.faults import FaultBook
from simulators.machine import Floats, Form, Ints, Mask, Reports, Rows, Timetable
from simulators.weather import Rain, air_c

ALERTED_S = 60.0  # seconds between reports while something is wrong
SWITCH_DEG = 30.0  # a cover tilted further has left its frame and its switch
WAKE_MS = 4_000  # from the event to the first report; GB/T 41401 asks for 30 s at most
RISE_MS = 15 * 60_000  # time in which water and gas reach the magnitude of their fault
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
        self._sky, self._rain, self._book, self._rng = sky, rain, book, rng
        rows = registry.rows_of("manhole", "cover")
        ids = [registry.assets[row].id for row in rows]
        n = len(ids)
        self._rows = rows
        self._depth = np.nan_to_num(registry.fact("depth_m")[rows], nan=3.0)
        self._tilt = rng.uniform(0.1, 0.8, n)
        self._thermal = rng.uniform(0.01, 0.05, n)  # degrees of tilt a degree of temperature
        self._level = rng.uniform(0.05, 0.30, n)
        self._battery = rng.uniform(55.0, 99.0, n)
        self._signal = rng.uniform(-105.0, -75.0, n)
        self._gas = rng.uniform(0.0, 1.2, n)
        self._times = Timetable(rng, n, cover_s, start_ms)
        effects = ("cover_open", "water_rise", "gas_rise", "low_battery")
        self._faults = {effect: book.spells(effect, ids) for effect in effects}

    def tick(self, from_ms: int, until_ms: int) -> list[Reports]:
        """Live through (from, until]; a sensor wakes seconds after its fault begins."""
        next_ms = self._times.next_ms
        for spells in self._faults.values():
            for fault, touched in spells.starting(from_ms - WAKE_MS, until_ms - WAKE_MS):
                next_ms[touched] = np.minimum(next_ms[touched], fault.on_ms + WAKE_MS)
        out: list[Reports] = []
        for rows, times in self._times.rounds(until_ms):
            out.append(self._reports(rows, times, from_ms))
            wrong = self._wrong(from_ms)[rows]
            hurry = times + round(ALERTED_S * 1000)
            next_ms[rows] = np.where(wrong, np.minimum(next_ms[rows], hurry), next_ms[rows])
        return out

    def _wrong(self, now_ms: int) -> Mask:
        masks = [spells.active(now_ms) for effect, spells in self._faults.items() if effect != "low_battery"]
        return np.asarray(np.logical_or.reduce(masks))

    def _reports(self, rows: Rows, times: Ints, from_ms: int) -> Reports:
        rng, count = self._rng, len(rows)
        minute = int(self._sky.local_minute(from_ms))
        air = float(air_c(minute))
        for spells in self._faults.values():
            self._book.see_rows(spells, rows, times, from_ms)
        opened = self._faults["cover_open"].active(from_ms)[rows]
        passing = (rng.random(count) < 0.01) & ~opened  # a lorry rolls over it
        tilt = self._tilt[rows] + self._thermal[rows] * (air - 18.0) + rng.normal(0.0, 0.08, count)
        tilt = np.abs(tilt) + passing * rng.uniform(2.0, 5.0, count)
        tilt = np.where(opened, self._faults["cover_open"].magnitude(from_ms)[rows], tilt)
        apart = opened & (tilt > SWITCH_DEG)
        shake = np.abs(rng.normal(0.0, 0.01, count)) + passing * rng.uniform(0.1, 0.6, count)
        wet = 0.004 * self._rain.depth_mm(from_ms - 3 * 3_600_000, from_ms)  # metres: 4 mm of level a mm of rain
        day = 0.04 * np.sin(2 * np.pi * (minute - 480) / 1440)
        level = self._level[rows] + day + wet + rng.normal(0.0, 0.008, count)
        level = np.clip(level + self._rising("water_rise", rows, times), 0.0, self._depth[rows])
        h2s = self._gas[rows] + rng.normal(0.0, 0.15, count) + self._rising("gas_rise", rows, times)
        weak = self._faults["low_battery"].active(from_ms)[rows]
        battery = np.where(weak, 8.0, self._battery[rows])
        return _FORM.reports(
            self._rows[rows],
            times,
            np.clip(tilt, 0.0, 180.0),
            shake,
            apart,
            level,
            14.0 + 0.3 * (air - 18.0) + rng.normal(0.0, 0.1, count),
            np.clip(self._gas[rows] + rng.normal(0.0, 0.2, count), 0.0, 100.0),
            np.clip(h2s, 0.0, 1000.0),
            np.clip(2 * self._gas[rows] + rng.normal(0.0, 0.3, count), 0.0, 5000.0),
            20.7 + rng.normal(0.0, 0.05, count),
            battery,
            self._signal[rows] + rng.normal(0.0, 3.0, count),
            ~apart,
        )

    def _rising(self, effect: str, rows: Rows, times: Ints) -> Floats:
        """Return what a creeping fault adds at each report: a ramp of RISE_MS, then level."""
        spells = self._faults[effect]
        added = np.zeros(len(rows))
        for fault, touched in spells.items:
            since = times - fault.on_ms
            here = np.isin(rows, touched) & (since >= 0) & (times < fault.off_ms)
            added = np.where(here, fault.magnitude * np.clip(since / RISE_MS, 0.0, 1.0), added)
        return added
