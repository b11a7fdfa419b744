"""Simulated cabinets: what feeds the lamps, what their clocks say, and where contactors stand."""

from __future__ import annotations

import numpy as np

from devices.registry import Registry
from devices.sky import Sky
from simulators.faults import FaultBook
from simulators.machine import Floats, Ints, Mask

MINUTE_MS = 60_000
VOLTS_TAU_MS = 292_000.0  # how slowly the mains wander about their usual value
RAMP_MS = 30 * MINUTE_MS  # within which water finds its way into a joint
EFFECTS = (
    "cabinet_out",
    "contactor_stuck",
    "breaker_trip",
    "door_open",
    "neutral_lost",
    "brown_out",
    "phase_loss",
    "clock_drift",
    "feeder_leak",
    "tapped",
    "dimmed",
    "mains_dip",
    "day_test",
    "gateway_reboot",
    "day_silence",
)
FULL = 100.0
OTHERS_RISE = 0.55  # of what one phase loses without a neutral, the others gain: they share 400 V


class Cabinets:
    """All cabinets of a city: supply, clocks and contactors, (m,) each.

    Args:
        registry, sky: who they are and when they should burn; a clock is up to 40 s off.
        book: faults.
        rng: their own random numbers.
        start_ms: city time at which they begin.
        discharge: (m,) whether they feed discharge lamps.

    Attributes:
        rows: registry rows.
        of: when each effect holds on which cabinet.
        volts: (m, 3) at the cabinet; 0 where a phase is dead.
        live: mains behind the breaker.
        closed, wanted: where contactors stand, and where clock and command want them.
        proper: where the city's schedule wants them.
        switched: times that contactors have moved since the beginning.
        closed_ms: when each was closed last.
        dark_until_ms: discharge lamps that a dip put out strike again then.
        dips: how many there were.
    """

    def __init__(
        self, registry: Registry, sky: Sky, book: FaultBook, rng: np.random.Generator, start_ms: int, discharge: Mask
    ) -> None:
        self._sky, self._rng = sky, rng
        self.rows = registry.rows_of("streetlight", "cabinet")
        self.discharge = discharge
        m = len(self.rows)
        ids = [registry.assets[row].id for row in self.rows]
        self.of = {effect: book.spells(effect, ids) for effect in EFFECTS}
        self._skew: Ints = rng.integers(-40_000, 40_001, m)
        self._aim = rng.uniform(224.0, 229.0, (m, 3))
        self._usual = self._aim.copy()
        self.volts = self._aim.copy()
        self.live: Mask = np.ones(m, dtype=np.bool_)
        self.closed: Mask = sky.expected_on(self.rows, start_ms - self._skew)
        self.wanted = self.proper = self.closed
        on_for = sky.switched_on_for_ms(self.rows, np.full(m, start_ms))
        self.closed_ms: Ints = np.where(on_for >= 0, start_ms - on_for, start_ms)
        self.dark_until_ms = np.zeros(m, dtype=np.int64)
        self.switched = np.zeros(m, dtype=np.int64)
        self.dips = np.zeros(m, dtype=np.int64)

    def move(self, at_ms: int, dt_ms: int) -> None:
        """Let ``dt_ms`` pass from ``at_ms`` on: mains wander, contactors follow their clocks."""
        self._switch(at_ms)
        keep = float(np.exp(-dt_ms / VOLTS_TAU_MS))
        spread = 0.15 * np.sqrt((1 - keep**2) / (1 - 0.95**2))
        self._usual = self._aim + keep * (self._usual - self._aim) + self._rng.normal(0.0, spread, self._aim.shape)
        self.live = ~self.of["breaker_trip"].active(at_ms)
        volts = self._usual * self.live[:, None]
        if self.of["brown_out"].active(at_ms).any():
            volts = (
                volts
                + np.where(self.of["brown_out"].active(at_ms), self.of["brown_out"].magnitude(at_ms), 0.0)[:, None]
            )
        lost = self.of["neutral_lost"].active(at_ms)
        if lost.any():
            fall = np.where(lost, self.of["neutral_lost"].magnitude(at_ms), 0.0)
            volts = volts + fall[:, None] * np.array([-1.0, OTHERS_RISE, OTHERS_RISE * 0.6])
        dead = self.of["phase_loss"].active(at_ms)
        if dead.any():
            volts = volts.copy()
            gone = np.flatnonzero(dead)
            volts[gone, np.round(self.of["phase_loss"].magnitude(at_ms)[gone]).astype(np.intp)] = 0.0
        self.volts = volts
        for fault, touched in self.of["mains_dip"].starting(at_ms, at_ms + dt_ms):
            self.dips[touched] += 1
            self.dark_until_ms[touched] = at_ms + round(fault.magnitude * MINUTE_MS)

    def _switch(self, at_ms: int) -> None:
        drift = self.of["clock_drift"]
        late = self._skew
        if drift.active(at_ms).any():
            slow = (drift.magnitude(at_ms) * MINUTE_MS).astype(np.int64)
            late = np.where(drift.active(at_ms), slow, late)
        self.proper = self._sky.expected_on(self.rows, at_ms - self._skew)
        self.wanted = self._sky.expected_on(self.rows, at_ms - late) | self.of["day_test"].active(at_ms)
        closed = (self.wanted | self.of["contactor_stuck"].active(at_ms)) & ~self.of["cabinet_out"].active(at_ms)
        self.closed_ms[closed & ~self.closed] = at_ms
        self.switched += closed != self.closed
        self.closed = closed

    def leak_ma(self, at_ms: int) -> Floats:
        """Return what leaks from the feeder itself, mA, (m,)."""
        spells = self.of["feeder_leak"]
        if not spells.active(at_ms).any():
            return np.zeros(len(self.rows))
        share = np.clip(spells.since_ms(at_ms) / RAMP_MS, 0.0, 1.0)
        return np.where(spells.active(at_ms), spells.magnitude(at_ms) * share, 0.0)

    def warm(self, at_ms: int) -> Floats:
        """Return what lamps draw at ``at_ms`` against what they draw when warm, (m,).

        LED drivers draw 5 % more while they are cold; discharge lamps run up within 5 minutes from a third, and stay
        dark after a dip until they have cooled down enough to strike again.
        """
        began = np.maximum(self.closed_ms, np.where(self.discharge, self.dark_until_ms, 0))
        since = (at_ms - began).astype(np.float64)
        led = 1.0 + 0.05 * np.exp(-since / 240_000.0)
        lit = 1.0 - 0.65 * np.exp(-np.maximum(since, 0.0) / 110_000.0)
        return np.where(self.discharge, np.where(since < 0, 0.0, lit), led)
