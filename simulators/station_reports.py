"""What a pump station's meters show of what happens in it: level, flow, power, and the starter of every pump."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulators.ailments import Ailing
from simulators.machine import Column, Floats, Form, Ints, Mask, Rows
from simulators.weather import air_c
from simulators.wells import DESIGN_M, FRICTION, IDLE_SHARE, PUMPS, STATIC

NOISE_M = 0.003  # of a level meter over still water
WAVE_M, WAVE_OFTEN = 0.35, 0.04  # a wave under the meter, and in how many readings
FOAM_M = 0.12  # what foam does to an echo
DROPPED_M, DROP_OFTEN = 99.0, 0.8  # what a broken loop is read as, and how often
POWER_FACTOR, VOLTS = 0.86, 380.0
LOADED = 0.88  # of the rated current at the design point
ONE_PHASE_A, ONE_PHASE_PERCENT = 1.7, 100.0
FULL_HZ = 50.0
KPA_M = 9.81

_STATION = {
    "level_m": "%.3f", "pumps_on": "%d", "running_mask": "%d", "rain_mm": "%.2f", "pressure_kpa": "%.0f",
    "mains_ok": "%d", "power_kw": "%.2f", "current_a": "%.1f", "speed_hz": "%.1f",
}  # fmt: skip
PLAIN = Form("pump", **_STATION)
METERED = Form("pump", **_STATION, inflow_lps="%.2f", outflow_lps="%.1f")
INLET = Form("pump", level_m="%.3f", velocity_mps="%.2f")
PUMP = Form(
    "pump",
    running="%d",
    commanded="%d",
    fault="%d",
    mode="%d",
    current_a="%.1f",
    unbalance_percent="%.1f",
    power_kw="%.2f",
    speed_hz="%.1f",
    winding_temp_c="%.1f",
    bearing_temp_c="%.1f",
    run_h="%.2f",
    starts="%d",
    seal_leak="%d",
)


class Moments(NamedTuple):
    """How stations are at the moments of their reports.

    Attributes:
        station: (r,) number.
        time_ms: (r,).
        level_m, inflow_lps: (r,).
        flow_lps, running, waits, run_s, starts, warm: (r, p); ``waits`` for called pumps that do not run.
        rain_mm: (r,) since the report before.
    """

    station: Rows
    time_ms: Ints
    level_m: Floats
    inflow_lps: Floats
    flow_lps: Floats
    running: Mask
    waits: Mask
    run_s: Floats
    starts: Ints
    warm: Floats
    rain_mm: Floats


class Meters:
    """The meters of all stations.

    Args:
        rng: their noise.
        start_m, rate_lps: (n,) of the stations.
        rated_a: (n, p) of the pumps.
    """

    def __init__(self, rng: np.random.Generator, start_m: Floats, rate_lps: Floats, rated_a: Floats) -> None:
        self._rng, self._start_m, self._rate, self._rated_a = rng, start_m, rate_lps, rated_a
        self._stuck = np.full(len(start_m), np.nan)

    def station(self, m: Moments, ailing: Ailing) -> tuple[Floats, ...]:
        """Return the columns of METERED, (r,) each; those of PLAIN are the first of them."""
        noise = self._rng.normal(0.0, 1.0, (3, len(m.station)))
        on = m.running.sum(axis=1)
        flow = m.flow_lps.sum(axis=1)
        head = STATIC + ailing.condition.head[m.station] + FRICTION * (flow / self._rate[m.station]) ** 2
        pressure = np.where(on > 0, DESIGN_M * KPA_M * head + 0.5 * noise[1], 0.4 * DESIGN_M * KPA_M)
        mask = (m.running << np.arange(PUMPS)).sum(axis=1)
        current, power = self._electric(m, ailing)
        speed = (ailing.condition.speed[m.station] * m.running).max(axis=1) * FULL_HZ
        inflow = np.maximum(m.inflow_lps * (1 + 0.02 * noise[2]), 0.0)
        mains = ailing.mains[m.station].astype(np.float64)
        return (
            self._level(m, ailing, noise[0]), on, mask, m.rain_mm, pressure, mains,
            power.sum(axis=1), current.sum(axis=1), speed, inflow, flow,
        )  # fmt: skip

    def pump(self, m: Moments, ailing: Ailing, pump: int, minute: Floats) -> tuple[Column, ...]:
        """Return the columns of PUMP for the pump of that number; ``minute`` is of the local day, (r,)."""
        noise = self._rng.normal(0.0, 1.0, (2, len(m.station)))
        current, power = self._electric(m, ailing, pump)
        runs = m.running[:, pump]
        lame = ailing.one_phase[m.station, pump] & runs
        air, warm = air_c(minute), m.warm[:, pump]
        return (
            runs,
            runs | m.waits[:, pump],
            ailing.tripped[m.station, pump],
            ailing.manual[m.station, pump],
            np.where(lame, ONE_PHASE_A, 1.0) * current[:, 0],
            runs * np.where(lame, ONE_PHASE_PERCENT, 2.0 + 0.5 * np.abs(noise[0])),
            power[:, 0],
            FULL_HZ * ailing.condition.speed[m.station, pump] * runs,
            air + warm + 0.3 * noise[0],
            air + 0.5 * warm + 0.3 * noise[1],
            m.run_s[:, pump] / 3600.0,
            m.starts[:, pump],
            0.0,
        )

    def inlet(self, m: Moments, ailing: Ailing) -> tuple[Floats, Floats]:
        """Return what the inlet wells show: depth and velocity after the flow, (r,) each."""
        noise = self._rng.normal(0.0, 1.0, (2, len(m.station)))
        depth = 0.05 + 0.09 * (np.maximum(m.inflow_lps, 0.1) / self._rate[m.station]) ** 0.6
        speed = (0.45 + 0.8 * depth) * ailing.inlet_speed[m.station]
        return depth + ailing.inlet_m[m.station] + 0.002 * noise[0], speed + 0.02 * noise[1]

    def _electric(self, m: Moments, ailing: Ailing, pump: int | None = None) -> tuple[Floats, Floats]:
        """Return current (A) and power (kW) of all pumps or of one, (r, p).

        A centrifugal pump draws less the less it moves, and with the cube of its speed.
        """
        chosen = slice(None) if pump is None else slice(pump, pump + 1)
        condition, station = ailing.condition, m.station
        speed = condition.speed[station, chosen]
        share = m.flow_lps[:, chosen] / self._rate[station][:, np.newaxis] / condition.flow[station, chosen] / speed
        load = (IDLE_SHARE + (1 - IDLE_SHARE) * share) * speed**3 * condition.load[station, chosen]
        load = load * m.running[:, chosen] * (1 + 0.01 * self._rng.normal(0.0, 1.0, load.shape))
        current = LOADED * self._rated_a[station, chosen] * load
        return current, np.sqrt(3) * VOLTS / 1000.0 * POWER_FACTOR * current

    def _level(self, m: Moments, ailing: Ailing, noise: Floats) -> Floats:
        level = m.level_m + NOISE_M * noise
        if not ailing.meter:
            return level
        wrong = {name: size[m.station] for name, size in ailing.meter.items()}
        chance = self._rng.random((2, len(level)))
        if "level_bias" in wrong:
            level = level + wrong["level_bias"]
        if "waves" in wrong:
            level = level + np.where((wrong["waves"] > 0) & (chance[0] < WAVE_OFTEN), WAVE_M * (1 + chance[1]), 0.0)
        if "level_foam" in wrong:
            level = level + np.where(wrong["level_foam"] > 0, FOAM_M * self._rng.normal(0.4, 1.0, len(level)), 0.0)
        if "level_stuck" in wrong:
            level = self._frozen(m.station, level, wrong["level_stuck"] > 0)
        if "level_dropout" in wrong:
            level = np.where((wrong["level_dropout"] > 0) & (chance[1] < DROP_OFTEN), DROPPED_M, level)
        return level

    def _frozen(self, station: Rows, level: Floats, stuck: Mask) -> Floats:
        """Return the level with stuck meters at what they showed first."""
        free = np.ones(len(self._stuck), dtype=np.bool_)
        free[station[stuck]] = False
        self._stuck[free] = np.nan
        for at in np.flatnonzero(stuck & np.isnan(self._stuck[station])).tolist():
            if np.isnan(self._stuck[station[at]]):
                self._stuck[station[at]] = level[at]
        return np.where(stuck, self._stuck[station], level)
