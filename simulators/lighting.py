"""Simulated streetlights: lamps that draw what they should, and the cabinets that feed and meter them.

Cabinets (simulators/cabinets.py) have mains, a clock and a contactor; lamps (simulators/lamps.py) hang on them in two
circuits, phases in turn. Here both live through time and report.
"""

from __future__ import annotations

import numpy as np

from devices.registry import Registry
from devices.sky import Sky
from simulators.cabinets import RAMP_MS, Cabinets
from simulators.faults import FaultBook
from simulators.lamps import STANDBY_W, WET, Lamps
from simulators.machine import Floats, Form, Ints, Mask, Reports, Rows, Timetable
from simulators.sightings import Sightings, next_edge
from simulators.weather import Rain

HOUR_MS = 3_600_000
DRY_OUT_MS = 3 * HOUR_MS  # within which two thirds of the wetness is gone
SOAKED_MM = 3.0
LIMIT_MA = 300.0  # what leaks below it, and is still rising, is not yet a fault
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
# What the reports of each role show, of faults that hold.
_SEEN_AT_LAMPS = (
    "lamp_out",
    "day_burn",
    "cycling",
    "capacitor_loss",
    "string_loss",
    "pole_leak",
    "rain_leakage",
    "cable_cut",
)
_SEEN_AT_CABINETS = (
    "cabinet_out", "contactor_stuck", "breaker_trip", "door_open", "neutral_lost", "brown_out", "phase_loss",
    "clock_drift", "feeder_leak", "tapped", "dimmed", "mains_dip", "day_test", "day_silence",
)  # fmt: skip


class Streetlights:
    """All lamps and cabinets of a city.

    Args:
        registry, sky: who they are and when they should burn.
        book: faults.
        rng: their own random numbers.
        start_ms: city time at which they begin to report.
        lamp_s, cabinet_s: seconds between reports.
        rain: what wets poles and joints; none where it is left out.
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
        rain: Rain | None = None,
    ) -> None:
        self._rng, self._rain, self._soaked = rng, rain, 0.0
        self._sky, self._day = sky, False
        self._lamps = Lamps(registry, sky, book, rng)
        self._cabinets = Cabinets(registry, sky, book, rng, start_ms, self._lamps.discharge_fed)
        m, n = len(self._cabinets.rows), len(self._lamps.rows)
        self._load = np.bincount(self._lamps.feeds, self._lamps.rated, m)
        self._meter = rng.uniform(5_000.0, 90_000.0, m)
        self._lamp_times = Timetable(rng, n, lamp_s, start_ms)
        self._cabinet_times = Timetable(rng, m, cabinet_s, start_ms)
        lamps, boxes = self._lamps.of, self._cabinets.of
        self._edges = next_edge([*lamps.values(), *boxes.values()])
        self._edge = 0
        self._stood: tuple[bytes, ...] = ()
        self._at_lamps = Sightings(book, [(effect, lamps[effect]) for effect in _SEEN_AT_LAMPS], n)
        self._at_cabinets = Sightings(book, [(effect, boxes[effect]) for effect in _SEEN_AT_CABINETS], m)
        self._unheard = Sightings(book, [(effect, lamps[effect]) for effect in ("lamp_silent", "packet_loss")], n)
        self._beyond = Sightings(book, [("gateway_reboot", boxes["gateway_reboot"])], m)
        self._dark = Sightings(book, [("cable_cut", lamps["cable_cut"])], n)  # seen by the cabinet's meter

    def tick(self, from_ms: int, until_ms: int) -> list[Reports]:
        """Live through (from, until]; faults hold as they stand at ``from_ms``."""
        self._cabinets.move(from_ms, until_ms - from_ms)
        self._settle(from_ms)
        self._day = bool(self._sky.sun_altitude_deg(np.array([from_ms]))[0] > 0.0)  # in the dusk nobody sees it burn
        wet = self._wetness(from_ms, until_ms)
        watts = self._watts(from_ms)
        self._meter += watts.sum(axis=1) * (until_ms - from_ms) / HOUR_MS / 1000
        told = [self._lamp_reports(rows, times, from_ms, wet) for rows, times in self._lamp_times.rounds(until_ms)]
        for rows, times in self._cabinet_times.rounds(until_ms):
            told.append(self._cabinet_reports(rows, times, from_ms, wet, watts))
        return told

    def _settle(self, at_ms: int) -> None:
        """Work the lamps out anew where anything has changed since they were."""
        passed = False
        while self._edges[self._edge] <= at_ms:
            self._edge += 1
            passed = True
        boxes = self._cabinets
        dim = self._lamps.dimming(at_ms, boxes)
        stands = (boxes.closed.tobytes(), boxes.wanted.tobytes(), bytes([bool((dim < 100.0).any())]))
        if passed or stands != self._stood:
            self._lamps.settle(at_ms, boxes, dim)
            self._stood = stands

    def _wetness(self, from_ms: int, until_ms: int) -> float:
        if self._rain is None:
            return 0.0
        fallen = self._rain.depth_mm(from_ms, until_ms)
        self._soaked = self._soaked * float(np.exp(-(until_ms - from_ms) / DRY_OUT_MS)) + fallen
        return 1.0 - float(np.exp(-self._soaked / SOAKED_MM))

    def _watts(self, at_ms: int) -> Floats:
        """Return what each cabinet feeds into each phase, (m, 3)."""
        boxes, lamps = self._cabinets, self._lamps
        tapped = boxes.of["tapped"].active(at_ms)
        watts = lamps.sums * np.where(boxes.closed, boxes.warm(at_ms), 1.0)[:, None]
        if tapped.any():
            taken = np.where(tapped, boxes.of["tapped"].magnitude(at_ms), 0.0) * self._load
            watts = watts + taken[:, None] / 3.0 * (boxes.volts > 0)
        return watts

    def _lamp_reports(self, rows: Rows, times: Ints, at_ms: int, wet: float) -> Reports:
        boxes, lamps = self._cabinets, self._lamps
        sent = self._sent(rows, times, at_ms)
        rows, times = rows[sent], times[sent]
        columns = lamps.columns(rows, at_ms, times, boxes, wet)
        proper = boxes.proper[lamps.feeds]
        due = proper & lamps.called
        lit = lamps.lit & lamps.called
        nobody = np.zeros(len(lamps.rows), dtype=np.bool_)
        shows = {
            "lamp_out": due,
            "cable_cut": due,
            "cycling": lit,
            "capacitor_loss": lit,
            "string_loss": lit,
            "day_burn": ~proper & lamps.lit if self._day else nobody,
            "pole_leak": lamps.fed,
        }
        self._at_lamps.look(at_ms, rows, times, shows)
        return _LAMP.reports(lamps.rows[rows], times, *columns)

    def _sent(self, rows: Rows, times: Ints, at_ms: int) -> Mask:
        """Return whose reports reach the gateway."""
        boxes, lamps = self._cabinets, self._lamps
        feeds = lamps.feeds[rows]
        silent = lamps.of["lamp_silent"].active(at_ms)[rows]
        lossy = lamps.of["packet_loss"].active(at_ms)
        if lossy.any():
            dice = self._rng.random(len(rows))
            silent = silent | (lossy[rows] & (dice < lamps.of["packet_loss"].magnitude(at_ms)[rows]))
        if silent.any():
            due = {"lamp_silent": boxes.proper[lamps.feeds]}
            self._unheard.look(at_ms, rows[silent], times[silent], due)
        unpowered = boxes.of["day_silence"].active(at_ms)[feeds] & ~lamps.fed[rows]
        sent: Mask = ~(silent | unpowered | boxes.of["gateway_reboot"].active(at_ms)[feeds])
        return sent

    def _cabinet_reports(self, rows: Rows, times: Ints, at_ms: int, wet: float, watts: Floats) -> Reports:
        boxes, lamps, rng = self._cabinets, self._lamps, self._rng
        mute = boxes.of["gateway_reboot"].active(at_ms)[rows]
        if mute.any():
            self._beyond.look(at_ms, rows[mute], times[mute], {})
            rows, times = rows[~mute], times[~mute]
        volts = boxes.volts[rows]
        phases = watts[rows]
        amps = np.where(volts > 1.0, phases / np.maximum(volts, 1.0) / 0.95, 0.0)
        amps *= 1.0 + rng.normal(0.0, 0.004, amps.shape)
        (usual, more), leaks = lamps.leak_sums, boxes.leak_ma(at_ms)
        shows = {
            "cabinet_out": boxes.proper & boxes.wanted,
            "contactor_stuck": ~boxes.proper & ~boxes.wanted & self._day,
            "clock_drift": boxes.wanted != boxes.proper,
            "mains_dip": boxes.closed & boxes.discharge,
            "feeder_leak": (usual + leaks >= LIMIT_MA) | (boxes.of["feeder_leak"].since_ms(at_ms) >= RAMP_MS),
            "dimmed": boxes.closed,
        }
        self._at_cabinets.look(at_ms, rows, times, shows)
        self._look_behind(rows, times, at_ms)
        leak = 3.0 + usual[rows] * (1.0 + WET * wet) + more[rows] + leaks[rows]
        return _CABINET.reports(
            boxes.rows[rows],
            times,
            *volts.T,
            *amps.T,
            phases.sum(axis=1) * (1.0 + rng.normal(0.0, 0.004, len(rows))),
            self._meter[rows],
            leak + rng.uniform(0.0, 1.0, len(rows)),
            boxes.closed[rows] & boxes.live[rows],
            boxes.of["door_open"].active(at_ms)[rows],
            ~boxes.live[rows],
            0,
        )

    def _look_behind(self, rows: Rows, times: Ints, at_ms: int) -> None:
        """Note cables that carry nothing, of lamps that cannot say so themselves."""
        boxes, lamps = self._cabinets, self._lamps
        if not lamps.of["cable_cut"].active(at_ms).any():
            return
        when = np.full(len(boxes.rows), -1, dtype=np.int64)
        when[rows] = times
        mine = (when[lamps.feeds] >= 0) & lamps.of["cable_cut"].active(at_ms)
        mine &= boxes.of["day_silence"].active(at_ms)[lamps.feeds] & (boxes.closed & boxes.proper)[lamps.feeds]
        here = np.flatnonzero(mine)
        if len(here):
            self._dark.look(at_ms, here, when[lamps.feeds[here]], {})


__all__ = ["STANDBY_W", "Streetlights"]
