"""Simulated lamps: what each draws, and what its controller says of it. Worked out anew only when something changes."""

from __future__ import annotations

import numpy as np

from devices.registry import Registry
from devices.sky import Sky
from simulators.cabinets import FULL, MINUTE_MS, Cabinets
from simulators.faults import FaultBook
from simulators.machine import Column, Floats, Ints, Mask, Rows
from simulators.weather import air_c

STANDBY_W = 0.5  # a controller's own draw while its lamp is dark
DIM_PERCENT = 70.0  # secondary and branch roads from midnight to five
DIM_UNTIL_MIN = 300
DISCHARGE_IN = 4  # one cabinet in so many still feeds discharge lamps, of those on roads of 150 W and more
DISCHARGE_W = 150.0
AGEING = 0.004  # power lost in 1000 hours
STRING_LEFT = 0.67  # of the power, when one of three strings is dark
WORN_FACTOR = 0.55  # power factor without the compensating capacitor
EFFECTS = (
    "lamp_out",
    "day_burn",
    "cycling",
    "capacitor_loss",
    "string_loss",
    "pole_leak",
    "rain_leakage",
    "cable_cut",
    "lamp_silent",
    "packet_loss",
)
IDLE_MA, LIT_MA, WET = 0.4, 0.3, 0.8  # a driver's filter leaks so much; rain adds this share


class Lamps:
    """All lamps of a city, (n,) each.

    Args:
        registry, sky, book, rng: as for :class:`~simulators.lighting.Streetlights`.

    Attributes:
        rows: registry rows.
        feeds, phase: place of each one's cabinet among the cabinets, and phase 0 to 2 of it, in turn along the circuit.
        of: when each effect holds on which lamp.
        fed, lit, called: have supply, burn, are commanded to.
        steady: watts when warm, of which ``sums`` are the sums a cabinet and phase, (m, 3).
    """

    def __init__(self, registry: Registry, sky: Sky, book: FaultBook, rng: np.random.Generator) -> None:
        self._sky, self._rng = sky, rng
        self.rows = registry.rows_of("streetlight", "lamp")
        cabinets = registry.rows_of("streetlight", "cabinet")
        place = {registry.assets[row].id: number for number, row in enumerate(cabinets)}
        lamps = [registry.assets[row] for row in self.rows]
        self.feeds: Rows = np.array([place[lamp.cabinet] for lamp in lamps], dtype=np.intp)
        self.phase = np.maximum(registry.pole_index[self.rows], 0) % 3
        self.rated = registry.fact("rated_power_w", self.rows)
        n = len(lamps)
        self._hours = rng.uniform(500.0, 16_000.0, n)
        self._bias = (1.0 + rng.normal(0.0, 0.012, n)) * (1.0 - AGEING * self._hours / 1000)
        self._dims = self.rated < 200.0  # main roads burn at full power all night, the plaza's lamps dim too
        self._drop = 0.0012 * np.maximum(registry.pole_index[self.rows], 0)  # voltage lost along the circuit
        self._tilt = rng.uniform(0.1, 1.2, n)
        self._energy = rng.uniform(200.0, 4000.0, n)
        self._switches = rng.integers(100, 3000, n)
        self._on_ms = rng.uniform(3.0, 8.0, n) * MINUTE_MS
        self._period_ms = self._on_ms + rng.uniform(1.0, 3.0, n) * MINUTE_MS
        ids = [lamp.id for lamp in lamps]
        self.of = {effect: book.spells(effect, ids) for effect in EFFECTS}
        heaviest = np.zeros(len(cabinets))
        np.maximum.at(heaviest, self.feeds, self.rated)
        self.discharge_fed: Mask = (np.arange(len(cabinets)) % DISCHARGE_IN == 2) & (heaviest >= DISCHARGE_W)
        self.discharge = self.discharge_fed[self.feeds]
        self.fed = self.lit = self.called = np.zeros(n, dtype=np.bool_)
        self.steady = self._level = np.zeros(n)
        self.sums: Floats = np.zeros((len(cabinets), 3))
        self._cycling_since = np.full(n, -1, dtype=np.int64)
        self._cycled = np.zeros(n, dtype=np.int64)
        self._turns = np.zeros(n, dtype=np.int64)
        self._cycled_in = np.full(n, -2, dtype=np.int64)
        self._counted_ms = np.full(n, -1, dtype=np.int64)
        self._leaks = self._leak_more = np.zeros(n)
        self._worn = self._rainy = self.fed
        self.leak_sums: tuple[Floats, Floats] = (np.zeros(len(cabinets)), np.zeros(len(cabinets)))

    def settle(self, at_ms: int, cabinets: Cabinets, dim: Floats) -> None:
        """Work out who has supply and who burns, after something has changed; ``dim`` per cent is (n,)."""
        feeds, of = self.feeds, self.of
        supply = (cabinets.volts > 0.0) & ~cabinets.of["cabinet_out"].active(at_ms)[:, None]
        supply &= (~cabinets.of["day_silence"].active(at_ms) | cabinets.closed)[:, None]
        self.fed = supply[feeds, self.phase] & ~of["cable_cut"].active(at_ms)
        self.called = cabinets.wanted[feeds]
        relay = cabinets.closed[feeds] | of["day_burn"].active(at_ms)
        self.lit = self.fed & relay & ~of["lamp_out"].active(at_ms)
        self._level = np.where(self.called, dim, 0.0)
        level = np.where(self.called, dim, FULL)
        full = self.rated * (0.03 + 0.97 * level / FULL) * self._bias
        full = np.where(of["string_loss"].active(at_ms), STRING_LEFT * full, full)
        self.steady = np.where(self.lit, full, np.where(self.fed, STANDBY_W, 0.0))
        m = len(self.sums)
        self.sums = np.bincount(feeds * 3 + self.phase, self.steady, 3 * m).astype(np.float64).reshape(m, 3)
        self._leaks = IDLE_MA * self.fed + LIT_MA * self.lit
        self._leak_more = np.where(of["pole_leak"].active(at_ms) & self.fed, of["pole_leak"].magnitude(at_ms), 0.0)
        usual, more = (np.bincount(feeds, leaks, m).astype(np.float64) for leaks in (self._leaks, self._leak_more))
        self.leak_sums = usual, more
        since = of["cycling"].since_ms(at_ms)
        self._cycling_since = np.where(since >= 0, at_ms - since, -1)
        self._worn, self._rainy = of["capacitor_loss"].active(at_ms), of["rain_leakage"].active(at_ms)

    def dimming(self, at_ms: int, cabinets: Cabinets) -> Floats:
        """Return the level that is commanded while the lamps are on, per cent, (n,)."""
        night = int(self._sky.local_minute(at_ms)) < DIM_UNTIL_MIN
        dim = np.where(self._dims & night, DIM_PERCENT, FULL)
        deep = cabinets.of["dimmed"].active(at_ms)
        if deep.any():
            dim = np.where(deep[self.feeds], cabinets.of["dimmed"].magnitude(at_ms)[self.feeds], dim)
        return dim

    def columns(self, rows: Rows, at_ms: int, times: Ints, cabinets: Cabinets, wet: float) -> tuple[Column, ...]:
        """Return what the lamps at places ``rows`` report, in the order of the form."""
        rng, count, feeds = self._rng, len(rows), self.feeds[rows]
        power = self._power(rows, times, feeds, cabinets)
        watts = np.maximum(power * (1.0 + rng.normal(0.0, 0.005, count)) + rng.normal(0.0, 0.1, count), 0.0)
        watts = np.where(self.fed[rows], watts, 0.0)
        lit = power > 5.0
        volts = cabinets.volts[feeds, self.phase[rows]] * (1.0 - self._drop[rows] * lit) * self.fed[rows]
        command = self._level[rows]
        factor = np.where(
            lit, np.where(self.discharge[rows], 0.95, 0.90 + 0.0006 * np.where(command > 0, command, 100.0)), 0.4
        )
        factor = np.where(self._worn[rows] & lit, WORN_FACTOR, factor) + rng.normal(0.0, 0.004, count)
        amps = np.where(volts > 1.0, watts / np.maximum(volts, 1.0) / factor, 0.0)
        passed = np.where(self._counted_ms[rows] >= 0, times - self._counted_ms[rows], 0) / 3_600_000
        self._counted_ms[rows] = times
        self._energy[rows] += power * passed / 1000
        self._hours[rows] += lit * passed
        leak = self._leaks[rows] * (1.0 + WET * wet) + self._leak_more[rows]
        leak += np.where(self._rainy[rows], 4.5 + 13.0 * wet, 0.0) + rng.uniform(0.0, 0.15, count)
        air = float(air_c(self._sky.local_minute(at_ms)))
        moved = cabinets.switched[feeds] + cabinets.dips[feeds] * self.discharge[rows]
        return (
            watts,
            volts,
            amps,
            factor,
            np.where(lit & (command == 0.0), FULL, command * self.fed[rows]),
            command,
            self._energy[rows],
            self._hours[rows],
            self._switches[rows] + moved + self._cycled[rows],
            air + 22.0 * power / self.rated[rows] + rng.normal(0.0, 0.4, count),
            leak,
            self._tilt[rows] + rng.uniform(0.0, 0.2, count),
            0,
        )

    def _power(self, rows: Rows, times: Ints, feeds: Rows, cabinets: Cabinets) -> Floats:
        """Return watts at ``times``; lamps that are cold, or have just been put out by a dip, draw otherwise."""
        began = np.maximum(cabinets.closed_ms[feeds], np.where(self.discharge[rows], cabinets.dark_until_ms[feeds], 0))
        since = np.maximum((times - began).astype(np.float64), -1.0)
        hot = np.where(
            self.discharge[rows],
            np.where(since < 0, 0.0, 1.0 - 0.65 * np.exp(-since / 110_000.0)),
            1.0 + 0.05 * np.exp(-since / 240_000.0),
        )
        power = self.steady[rows] * np.where(self.lit[rows], hot, 1.0)
        ill = self._cycling_since[rows] >= 0
        if ill.any():
            here = np.flatnonzero(ill & self.lit[rows])
            at = rows[here]
            turns, within = np.divmod(times[here] - self._cycling_since[at], self._period_ms[at].astype(np.int64))
            fresh = np.where(self._cycled_in[at] == self._cycling_since[at], np.maximum(turns - self._turns[at], 0), 0)
            self._cycled[at] += fresh
            self._turns[at], self._cycled_in[at] = turns, self._cycling_since[at]
            power[here] = np.where(within < self._on_ms[at], power[here], STANDBY_W)
        return power
