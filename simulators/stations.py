"""Simulated pump stations: each reports its well, its rain gauge, its meters, and every pump."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from devices.registry import Asset, Registry
from devices.sky import Sky
from simulators.faults import FaultBook
from simulators.machine import Form, Reports, Timetable
from simulators.weather import DAY_MS, Rain, air_c
from simulators.wells import Catchment, Well

HEAD_M = 9.0  # lift of every station
Reading = tuple[float, ...]  # values in the order of a form's fields
READINGS_A_MESSAGE = 1700  # under the decoder's 2000, and under 256 kB at the length of a station's reading
_PLAIN = Form("pump", level_m="%.3f", pumps_on="%d", rain_mm="%.2f", pressure_kpa="%.0f", mains_ok="%d")
_METERED = Form(
    "pump",
    level_m="%.3f",
    pumps_on="%d",
    rain_mm="%.2f",
    pressure_kpa="%.0f",
    mains_ok="%d",
    inflow_lps="%.2f",
    outflow_lps="%.1f",
)
_INLET = Form("pump", level_m="%.3f", velocity_mps="%.2f")
_PUMP = Form(
    "pump",
    running="%d",
    fault="%d",
    mode="%d",
    current_a="%.1f",
    power_kw="%.2f",
    speed_hz="%.1f",
    winding_temp_c="%.1f",
    bearing_temp_c="%.1f",
    run_h="%.2f",
    starts="%d",
    seal_leak="%d",
)


class Station:
    """One station with its catchment, well and pumps.

    Attributes:
        asset: the station's file.
        metered: it has a flow meter; without one its inflow follows from level and pump runs.
        well, catchment: the water.
        time_ms: city time up to which it has lived.
    """

    def __init__(self, asset: Asset, number: int, rng: np.random.Generator, start_ms: int) -> None:
        facts = asset.facts
        self.asset = asset
        self.metered = number % 2 == 0
        rate = facts["pump_rate_lps"]
        share = rng.uniform(0.9, 1.1)
        storm = rng.uniform(0.8, 1.2) * rate
        self.catchment = Catchment(0.20 * rate * share, 0.10 * rate, 4_000.0 * storm / 60.0, 8_000.0 * storm / 60.0)
        level = float(rng.uniform(facts["stop_level_m"], facts["start_level_m"]))
        self.well = Well(facts["well_area_m2"], facts["start_level_m"], facts["stop_level_m"], rate, level)
        self.well.run_s = [float(h) * 3600 for h in rng.uniform(1500, 9000, 2)]
        self.well.starts = [int(n) for n in rng.integers(8_000, 60_000, 2)]
        self.time_ms = start_ms
        self.rate_lps = rate
        self._wave = 0.0
        self._rng = rng
        self._flow = 0.0
        self._rain = 0.0
        self._heat = [0.0, 0.0]

    def live(self, until_ms: int, minute: float, rain_mm: float, ground: float) -> None:
        """Live until ``until_ms``; ``minute`` is the local minute of the day at the interval's middle."""
        seconds = (until_ms - self.time_ms) / 1000
        keep = math.exp(-seconds / 1800.0)
        self._wave = keep * self._wave + math.sqrt(1 - keep * keep) * float(self._rng.normal(0.0, 0.05))
        inflow = self.catchment.inflow_lps(minute, ground, rain_mm, seconds) * math.exp(self._wave)
        self.well.live(seconds, inflow)
        self._flow, self._rain, self.time_ms = inflow, rain_mm, until_ms
        for pump, runs in enumerate(self.well.running):
            settle = math.exp(-seconds / 900.0)
            self._heat[pump] = settle * self._heat[pump] + (1 - settle) * 45.0 * runs

    @property
    def form(self) -> Form:
        """Return the fields of its readings."""
        return _METERED if self.metered else _PLAIN

    def reading(self, *, mains: bool = True) -> Reading:
        """Return what the station's meters show now."""
        noise = self._rng.normal(0.0, 1.0, 3)
        on = sum(self.well.running)
        values = (
            self.well.level_m + 0.003 * noise[0],
            on,
            self._rain,
            (HEAD_M * 9.81 + 6.0 * (on > 0) + 0.5 * noise[1]) if on else 0.4 * HEAD_M,
            mains,
        )
        if not self.metered:
            return values
        return (*values, self._flow * (1 + 0.02 * noise[2]), on * self.rate_lps)

    def pump_reading(self, pump: int, air: float, rated_a: float, *, tripped: bool) -> Reading:
        """Return what one pump's starter shows now."""
        runs, noise = self.well.running[pump], self._rng.normal(0.0, 1.0, 3)
        current = rated_a * (0.88 + 0.01 * noise[0]) * runs
        power = math.sqrt(3) * 0.38 * current * 0.86
        heat = self._heat[pump]
        return (
            runs,
            tripped,
            0,
            current,
            power,
            50.0 * runs,
            air + heat + 0.3 * noise[1],
            air + 0.5 * heat + 0.3 * noise[2],
            self.well.run_s[pump] / 3600.0,
            self.well.starts[pump],
            0,
        )

    def inlet_reading(self) -> Reading:
        """Return what the inlet well shows now: depth and velocity after the flow."""
        noise = self._rng.normal(0.0, 1.0, 2)
        depth = 0.05 + 0.09 * (max(self._flow, 0.1) / self.rate_lps) ** 0.6
        return (depth + 0.002 * noise[0], 0.45 + 0.8 * depth + 0.02 * noise[1])


class Stations:
    """All pump stations of a city, with their pumps and inlet wells.

    Args:
        registry, sky, rain: who they are, and the weather over them.
        book: faults.
        rng: their own random numbers.
        start_ms: city time at which they begin to report.
        station_s: seconds between reports of a station and of its pumps and well.
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
        station_s: float,
    ) -> None:
        self._sky, self._rain, self._book = sky, rain, book
        assets = [registry.assets[row] for row in registry.rows_of("pump", "station")]
        self.stations = [Station(asset, k, child, start_ms) for k, (asset, child) in enumerate(_pairs(assets, rng))]
        self._ids = [asset.id for asset in assets]
        self._rows = registry.row
        self._pumps = [_of(registry, asset.id, "pump") for asset in assets]
        self._wells = [_of(registry, asset.id, "well") for asset in assets]
        pump_ids = [pump.id for pumps in self._pumps for pump in pumps]
        self._place = {device: number for number, device in enumerate(pump_ids)}
        self._times = Timetable(rng, len(assets), station_s, start_ms)
        self._trips = book.spells("pump_fault", pump_ids)
        self._seeps = book.spells("seepage", self._ids)
        self._mains = book.spells("mains_lost", self._ids)

    def tick(self, from_ms: int, until_ms: int) -> list[Reports]:
        """Live through (from, until]; faults hold as they stand at ``from_ms``."""
        out: list[Reports] = []
        for rows, times in self._times.rounds(until_ms):
            for spells in (self._seeps, self._mains):
                self._book.see_rows(spells, rows, times, from_ms)
            for number, time_ms in zip(rows.tolist(), times.tolist(), strict=True):
                out += self._report(number, time_ms, from_ms)
        return out

    def history(self, days: float, start_ms: int, *, day_s: int, night_s: int) -> Iterator[Reports]:
        """Yield the stations' own logs of the past ``days``, as many readings of one station as a message holds.

        The stations then live on from where their logs end. They log every ``day_s`` seconds by day, and at night, from
        half past one to half past five, every ``night_s`` seconds: often enough for the inflow to follow from level
        and pump runs where there is no flow meter. A station with a meter logs a third as often at night.
        """
        for number, station in enumerate(self.stations):
            station.time_ms = start_ms - round(days * DAY_MS)
            log: list[tuple[int, Reading]] = []
            while True:
                minute = int(self._sky.local_minute(station.time_ms))
                often = night_s * (3 if station.metered else 1)
                step = (often if 90 <= minute < 330 else day_s) * 1000
                until = station.time_ms + step - station.time_ms % step
                if until >= start_ms:
                    break
                self._live(number, until, until)
                log.append((station.time_ms, station.reading()))
                if len(log) == READINGS_A_MESSAGE:
                    yield self._log(number, log)
                    log = []
            self._live(number, start_ms, start_ms)
            if log:
                yield self._log(number, log)

    def _log(self, number: int, log: list[tuple[int, Reading]]) -> Reports:
        times, readings = zip(*log, strict=True)
        devices = np.full(len(log), self._rows[self._ids[number]])
        columns = [np.array(column) for column in zip(*readings, strict=True)]
        return self.stations[number].form.reports(devices, np.array(times), *columns)

    def _one(self, form: Form, device: str, time_ms: int, reading: Reading) -> Reports:
        return form.reports(np.array([self._rows[device]]), np.array([time_ms]), *reading)

    def _live(self, number: int, until_ms: int, fault_ms: int) -> None:
        station = self.stations[number]
        ground = float(self._seeps.magnitude(fault_ms)[number])
        tripped = self._trips.active(fault_ms)
        mains = not bool(self._mains.active(fault_ms)[number])
        station.well.usable = [mains and not bool(tripped[self._place[pump.id]]) for pump in self._pumps[number]]
        middle = (station.time_ms + until_ms) // 2
        rain = self._rain.depth_mm(station.time_ms, until_ms)
        station.live(until_ms, self._minute(middle), rain, ground)

    def _minute(self, time_ms: int) -> float:
        return float(self._sky.local_minute(time_ms)) + time_ms % 60_000 / 60_000

    def _report(self, number: int, time_ms: int, fault_ms: int) -> list[Reports]:
        self._live(number, time_ms, fault_ms)
        station = self.stations[number]
        mains = not bool(self._mains.active(fault_ms)[number])
        out = [self._one(station.form, self._ids[number], time_ms, station.reading(mains=mains))]
        air = float(air_c(self._minute(time_ms)))
        tripped = self._trips.active(fault_ms)
        for pump, asset in enumerate(self._pumps[number]):
            place = self._place[asset.id]
            rated = asset.facts["rated_current_a"]
            reading = station.pump_reading(pump, air, rated, tripped=bool(tripped[place]))
            out.append(self._one(_PUMP, asset.id, time_ms, reading))
            if tripped[place]:
                self._book.see_rows(self._trips, np.array([place]), np.array([time_ms]), fault_ms)
        wells = [(asset.id, station.inlet_reading()) for asset in self._wells[number]]
        return out + [self._one(_INLET, device, time_ms, reading) for device, reading in wells]


def _pairs(assets: list[Asset], rng: np.random.Generator) -> Iterator[tuple[Asset, np.random.Generator]]:
    return zip(assets, rng.spawn(len(assets)), strict=True)


def _of(registry: Registry, station: str, role: str) -> list[Asset]:
    rows = registry.rows_of("pump", role)
    return [registry.assets[row] for row in rows if registry.assets[row].cabinet == station]
