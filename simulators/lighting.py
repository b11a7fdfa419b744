"""Simulated streetlights: lamps that draw what they should, and the cabinets that feed and meter them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from devices.registry import Registry
from devices.sky import Sky
from simulators.faults import FaultBook
from simulators.machine import Floats, Form, Ints, Mask, Reports, Rows, Timetable
from simulators.weather import air_c

STANDBY_W = 0.5  # a controller's own draw while its lamp is dark
DIM_PERCENT = 70.0  # secondary and branch roads from midnight to five
_LAMP = Form(
    "streetlight",
    power_w="%.1f",
    voltage_v="%.1f",
    current_a="%.3f",
    power_factor="%.2f",
    dim_percent="%.0f",
    command_percent="%.0f",
    energy_kwh="%.3f",
    operating_h="%.1f",
    switch_count="%d",
    driver_temp_c="%.1f",
    leakage_ma="%.2f",
    tilt_deg="%.1f",
    lamp_failure="%d",
)
_CABINET = Form(
    "streetlight",
    phase_a_v="%.1f",
    phase_b_v="%.1f",
    phase_c_v="%.1f",
    phase_a_a="%.2f",
    phase_b_a="%.2f",
    phase_c_a="%.2f",
    feeder_power_w="%.0f",
    energy_kwh="%.2f",
    leakage_ma="%.1f",
    contactor_on="%d",
    door_open="%d",
    breaker_tripped="%d",
    work_mode="%d",
)


class _Now(NamedTuple):
    """How the lights stand during one tick: cabinets with mains; lamps with supply, their watts, what was commanded."""

    at_ms: int
    live: Mask
    fed: Mask
    power: Floats
    command: Floats


class Streetlights:
    """All lamps and cabinets of a city.

    Args:
        registry, sky: who they are and when they should burn; a cabinet's clock is up to 40 s off.
        book: faults.
        rng: their own random numbers.
        start_ms: city time at which they begin to report.
        lamp_s, cabinet_s: seconds between reports.
    """

    def __init__(
        self,
        registry: Registry,
        sky: Sky,
        book: FaultBook,
        rng: np.random.Generator,
        *,
        start_ms: int,
        lamp_s: float,
        cabinet_s: float,
    ) -> None:
        self._sky, self._book, self._rng = sky, book, rng
        self._cabinet_rows = registry.rows_of("streetlight", "cabinet")
        lamp_rows = registry.rows_of("streetlight", "lamp")
        cabinets = [registry.assets[row] for row in self._cabinet_rows]
        lamps = [registry.assets[row] for row in lamp_rows]
        self._lamp_rows = lamp_rows
        place = {cabinet.id: number for number, cabinet in enumerate(cabinets)}
        self._feeds = np.array([place[lamp.cabinet] for lamp in lamps], dtype=np.intp)
        self._phase = np.maximum(registry.pole_index[lamp_rows], 0) % 3
        self._rated = registry.fact("rated_power_w")[lamp_rows]
        m, n = len(cabinets), len(lamps)
        self._skew = rng.integers(-40_000, 40_001, m)
        self._bias = 1.0 + rng.normal(0.0, 0.012, n)
        self._dims = self._rated < 200.0  # main roads burn at full power all night, the plaza's lamps dim too
        self._drop = 0.0012 * np.maximum(registry.pole_index[lamp_rows], 0)  # voltage lost along the circuit
        self._tilt = rng.uniform(0.1, 1.2, n)
        self._energy = rng.uniform(200.0, 4000.0, n)
        self._hours = rng.uniform(500.0, 16_000.0, n)
        self._switches = rng.integers(100, 3000, n)
        self._meter = rng.uniform(5_000.0, 90_000.0, m)
        self._volts_aim = rng.uniform(224.0, 229.0, (m, 3))
        self._volts = self._volts_aim.copy()
        self._closed = self._wanted = sky.expected_on(self._cabinet_rows, start_ms - self._skew)
        on_for = sky.switched_on_for_ms(self._cabinet_rows, np.full(m, start_ms))
        self._closed_ms = np.where(on_for >= 0, start_ms - on_for, start_ms)
        self._lamp_times = Timetable(rng, n, lamp_s, start_ms)
        self._cabinet_times = Timetable(rng, m, cabinet_s, start_ms)
        ids = [lamp.id for lamp in lamps]
        cabinet_ids = [cabinet.id for cabinet in cabinets]
        self._out, self._burns = book.spells("lamp_out", ids), book.spells("day_burn", ids)
        effects = ("cabinet_out", "contactor_stuck", "breaker_trip", "door_open")
        self._of_cabinet = {effect: book.spells(effect, cabinet_ids) for effect in effects}

    def tick(self, from_ms: int, until_ms: int) -> list[Reports]:
        """Live through (from, until]; faults hold as they stand at ``from_ms``."""
        now = self._now(from_ms)
        hours = (until_ms - from_ms) / 3_600_000
        self._energy += now.power * hours / 1000
        self._hours += (now.power > 5.0) * hours
        self._meter += np.bincount(self._feeds, now.power, len(self._skew)) * hours / 1000
        self._volts += 0.05 * (self._volts_aim - self._volts) + self._rng.normal(0.0, 0.15, self._volts.shape)
        lamps = [self._lamp_reports(rows, times, now) for rows, times in self._lamp_times.rounds(until_ms)]
        return lamps + [self._cabinet_reports(rows, times, now) for rows, times in self._cabinet_times.rounds(until_ms)]

    def _now(self, at_ms: int) -> _Now:
        """Switch what is to be switched, and return how the lights stand."""
        self._switch(at_ms)
        live = ~self._of_cabinet["breaker_trip"].active(at_ms)
        fed = (live & ~self._of_cabinet["cabinet_out"].active(at_ms))[self._feeds]
        minute = int(self._sky.local_minute(at_ms))
        dim = np.where(self._dims & (minute < 300), DIM_PERCENT, 100.0)
        lit = fed & (self._closed[self._feeds] | self._burns.active(at_ms)) & ~self._out.active(at_ms)
        cold = np.exp(-(at_ms - self._closed_ms[self._feeds]) / 240_000.0)
        full = self._rated * (0.03 + 0.97 * dim / 100) * self._bias * (1.0 + 0.05 * cold)
        power = np.where(lit, full, np.where(fed, STANDBY_W, 0.0))
        return _Now(at_ms, live, fed, power, np.where(self._wanted[self._feeds], dim, 0.0))

    def _switch(self, at_ms: int) -> None:
        """Open and close contactors."""
        wanted = self._sky.expected_on(self._cabinet_rows, at_ms - self._skew)
        stuck, failed = self._of_cabinet["contactor_stuck"], self._of_cabinet["cabinet_out"]
        self._wanted = wanted
        closed = (wanted | stuck.active(at_ms)) & ~failed.active(at_ms)
        self._closed_ms[closed & ~self._closed] = at_ms
        self._switches += (closed != self._closed)[self._feeds]
        self._closed = closed

    def _lamp_reports(self, rows: Rows, times: Ints, now: _Now) -> Reports:
        rng, count = self._rng, len(rows)
        power, command, feeds = now.power[rows], now.command[rows], self._feeds[rows]
        watts = np.maximum(power * (1.0 + rng.normal(0.0, 0.005, count)) + rng.normal(0.0, 0.1, count), 0.0)
        lit = power > 5.0
        volts = self._volts[feeds, self._phase[rows]] * (1.0 - self._drop[rows] * lit) * now.fed[rows]
        factor = np.where(lit, 0.90 + 0.0006 * command, 0.4)
        amps = np.where(volts > 1.0, watts / np.maximum(volts, 1.0) / factor, 0.0)
        air = float(air_c(self._sky.local_minute(now.at_ms)))
        self._book.see_rows(self._out, rows, times, now.at_ms)
        self._book.see_rows(self._burns, rows, times, now.at_ms)
        return _LAMP.reports(
            self._lamp_rows[rows],
            times,
            watts,
            volts,
            amps,
            factor,
            np.where(lit & (command == 0.0), 100.0, command * now.fed[rows]),
            command,
            self._energy[rows],
            self._hours[rows],
            self._switches[rows],
            air + 22.0 * power / self._rated[rows] + rng.normal(0.0, 0.4, count),
            0.4 + 0.3 * lit + rng.uniform(0.0, 0.15, count),
            self._tilt[rows] + rng.uniform(0.0, 0.2, count),
            0,
        )

    def _cabinet_reports(self, rows: Rows, times: Ints, now: _Now) -> Reports:
        m = len(self._skew)
        phases = np.bincount(self._feeds * 3 + self._phase, now.power, 3 * m).reshape(m, 3)[rows]
        volts = self._volts[rows] * now.live[rows, None]
        amps = np.where(volts > 1.0, phases / np.maximum(volts, 1.0) / 0.95, 0.0)
        amps *= 1.0 + self._rng.normal(0.0, 0.004, amps.shape)
        for spells in self._of_cabinet.values():
            self._book.see_rows(spells, rows, times, now.at_ms)
        return _CABINET.reports(
            self._cabinet_rows[rows],
            times,
            *volts.T,
            *amps.T,
            phases.sum(axis=1) * (1.0 + self._rng.normal(0.0, 0.004, len(rows))),
            self._meter[rows],
            3.0 + 0.4 * np.bincount(self._feeds, minlength=m)[rows] + self._rng.uniform(0.0, 1.0, len(rows)),
            self._closed[rows] & now.live[rows],
            self._of_cabinet["door_open"].active(now.at_ms)[rows],
            ~now.live[rows],
            0,
        )
