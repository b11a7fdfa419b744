"""Slow twins of pump cycles and of verdicts: one reading, one event at a time, plain ifs.

Tests hold the columns of ``alerts/station_runs.py``, ``alerts/pump_cycles.py`` and ``alerts/verdicts.py`` to them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

NAN = math.nan


class Reading(NamedTuple):
    """One reading of a station; NaN for what it lacks."""

    time_ms: int
    pumps_on: float
    running_mask: float
    level_m: float
    power_kw: float
    current_a: float
    speed_hz: float
    pressure_kpa: float
    rain_mm: float


class Cycle(NamedTuple):
    """One cycle with its figures."""

    pump: int
    begin_ms: int
    end_ms: int
    figures: dict[str, float]


@dataclass
class Stretch:
    """Readings between two changes of the pumps."""

    whole: bool
    readings: list[Reading]

    def levels(self) -> list[tuple[int, float]]:
        """Return times and levels of readings that have one."""
        return [(one.time_ms, one.level_m) for one in self.readings if not math.isnan(one.level_m)]

    def since(self, ms: int) -> list[tuple[int, float]]:
        """Return the levels from so long after the begin on."""
        return [pair for pair in self.levels() if pair[0] - self.readings[0].time_ms >= ms]

    def until(self, ms: int) -> list[tuple[int, float]]:
        """Return the levels up to so long after the begin."""
        return [pair for pair in self.levels() if pair[0] - self.readings[0].time_ms <= ms]

    def mean(self, name: str) -> float:
        """Return the mean of a field, NaN where no reading has it."""
        known = [getattr(one, name) for one in self.readings if not math.isnan(getattr(one, name))]
        return sum(known) / len(known) if known else NAN

    def bends(self) -> tuple[int, int]:
        """Return how many bends of the level can be looked at, and how many are rough."""
        seen, rough, pairs = 0, 0, self.levels()
        for (t0, h0), (t1, h1), (t2, h2) in zip(pairs, pairs[1:], pairs[2:], strict=False):
            if t2 - t1 <= 150_000 and abs((t2 - t1) - (t1 - t0)) <= 0.2 * (t2 - t1):
                seen += 1
                rough += abs(h2 - 2 * h1 + h0) > 0.05
        return seen, rough


def slope(pairs: list[tuple[int, float]], least_s: float) -> float:
    """Return metres a second from the first to the last level."""
    if not pairs or pairs[-1][0] - pairs[0][0] < least_s * 1000:
        return NAN
    return (pairs[-1][1] - pairs[0][1]) / ((pairs[-1][0] - pairs[0][0]) / 1000.0)


@dataclass
class Pump:
    """What is remembered of one pump."""

    rate: list[float] = field(default_factory=list)
    power: list[float] = field(default_factory=list)
    speed: list[float] = field(default_factory=list)
    energy: dict[int, float] = field(default_factory=dict)
    taken: int = 0
    kept_ms: int = 0
    trend: float = NAN


def usual(held: list[float]) -> float:
    """Return the median of the last thirty, NaN with fewer than eight known ones."""
    known = [one for one in held[-30:] if not math.isnan(one)]
    return median(known) if len(known) >= 8 else NAN


def off(value: float, low: float, high: float) -> bool:
    """Return whether a value is surely outside."""
    return value < low or value > high


@dataclass
class CycleTwin:
    """The cycles of one station."""

    area_m2: float
    start_m: float
    stop_m: float
    rate_lps: float
    stretch: Stretch | None = None
    fill: tuple[float, bool] = (NAN, False)  # inflow of the last fill; whether it came just before
    run: tuple[Stretch, float] | None = None
    pumps: dict[int, Pump] = field(default_factory=dict)

    def take(self, reading: Reading) -> Cycle | None:
        """Take in a reading; return the cycle that it completes."""
        if math.isnan(reading.pumps_on):
            return None
        now, out = self.stretch, None
        if now is not None:
            last = now.readings[-1]
            apart = reading.time_ms - last.time_ms > 600_000
            if not apart and (reading.pumps_on, reading.running_mask) == (last.pumps_on, last.running_mask):
                now.readings.append(reading)
                return None
            out = self._ended(now, reading.time_ms, joined=not apart)
            self.stretch = Stretch(whole=not apart, readings=[reading])
            return out
        self.stretch = Stretch(whole=False, readings=[reading])
        return None

    def _lps(self, stretch: Stretch) -> float:
        late = slope(stretch.since(300_000), 120.0)
        if stretch.readings[0].pumps_on == 0 and not math.isnan(late):
            return self.area_m2 * 1000.0 * late
        return self.area_m2 * 1000.0 * slope(stretch.since(30_000), 60.0)

    def _ended(self, stretch: Stretch, closed_ms: int, *, joined: bool) -> Cycle | None:
        on, out = stretch.readings[0].pumps_on, None
        lps = self._lps(stretch)
        if on == 0 and self.run is not None:
            out = self._complete(*self.run, stretch, lps, closed_ms)
        self.run = None
        if on == 0:
            self.fill = (lps if joined else NAN, joined)
        else:
            if on == 1 and stretch.whole and self.fill[1] and joined:
                self.run = (stretch, self.fill[0])
            self.fill = (self.fill[0] if joined else NAN, False)
        return out

    def _complete(self, run: Stretch, before: float, fill: Stretch, after: float, end_ms: int) -> Cycle:
        both = Stretch(whole=True, readings=[*run.readings, *fill.readings])
        heights = [level for _, level in both.levels()]
        swing = max(heights) - min(heights) if heights else NAN
        share = len(heights) / len(both.readings)
        (seen_a, rough_a), (seen_b, rough_b) = run.bends(), fill.bends()
        rough = (rough_a + rough_b) / (seen_a + seen_b) if seen_a + seen_b >= 3 else NAN
        wet = sum(one.rain_mm for one in run.readings) + sum(one.rain_mm for one in fill.readings) > 0.2
        sound = swing >= 0.05 and share >= 0.7 and not rough > 0.2
        steady = abs(after - before) <= 0.25 * max(after, before) + 1.0
        inflow = NAN
        if sound:
            inflow = after if math.isnan(before) else 0.5 * (after + before)
        moved = inflow - self._lps(run) if steady and not wet else NAN
        moved = moved if moved > 0 else NAN
        mask = int(run.readings[0].running_mask)
        pump = {1: 0, 2: 1, 4: 2, 8: 3}.get(mask, -1)
        figures = {
            "pump_lps": moved, "inflow_lps": inflow, "wet": float(wet), "known_share": share, "rough_share": rough,
            "low_m": min(heights) - self.stop_m if sound else NAN,
            "high_m": max(heights) - self.start_m if sound else NAN,
            "swing_m": swing if share >= 0.7 else NAN,
        }  # fmt: skip
        self._against(figures, pump, run, end_ms)
        rate = usual(self.pumps[pump].rate) if pump in self.pumps else NAN
        rate = self.rate_lps if math.isnan(rate) else rate
        early, late = slope(fill.until(180_000), 60.0), slope(fill.since(300_000), 120.0)
        length_s = (end_ms - run.readings[0].time_ms) / 1000.0
        dry = sound and not wet and length_s <= 150.0 * len(both.readings)
        figures["back_ratio"] = self.area_m2 * 1000.0 * (early - late) / rate if dry else NAN
        figures["starts_per_h"] = 3600.0 / length_s
        figures["starts_ratio"] = NAN
        if dry and inflow > 0 and rate > inflow:
            volume = self.area_m2 * 1000.0 * (self.start_m - self.stop_m)
            figures["starts_ratio"] = (volume / inflow + volume / (rate - inflow)) / length_s
        return Cycle(pump, run.readings[0].time_ms, end_ms, figures)

    def _against(self, figures: dict[str, float], pump: int, run: Stretch, end_ms: int) -> None:
        figures |= dict.fromkeys(("rate_ratio", "power_ratio", "energy_ratio", "energy_trend"), NAN)
        if pump < 0:
            return
        held = self.pumps.setdefault(pump, Pump())
        moved, power, speed = figures["pump_lps"], run.mean("power_kw"), run.mean("speed_hz")
        energy = power / (moved * run.mean("pressure_kpa"))
        if abs(speed / usual(held.speed) - 1) > 0.03:
            return
        figures["rate_ratio"], figures["power_ratio"] = moved / usual(held.rate), power / usual(held.power)
        first = [held.energy.get(k, NAN) for k in range(30)]
        ratio = figures["energy_ratio"] = energy / usual(first)
        trend = held.trend
        if not math.isnan(ratio) and not off(figures["rate_ratio"], 0.8, 1.25):
            trend = math.log(ratio) if math.isnan(trend) else trend + 0.1 * (math.log(ratio) - trend)
            figures["energy_trend"] = math.exp(trend)
        if math.isnan(moved):
            return
        held.trend = trend
        fits = not off(figures["rate_ratio"], 0.8, 1.25) and figures["rate_ratio"] not in (0.8, 1.25)
        if not fits or off(figures["power_ratio"], 0.8, 1.25) or end_ms - held.kept_ms < 3 * 3_600_000:
            return
        held.rate.append(moved)
        held.power.append(power)
        held.speed.append(speed)
        if held.taken < 30 and not abs(ratio - 1) > 0.1:
            held.energy[held.taken] = energy
        held.taken += 1
        held.kept_ms = end_ms


@dataclass
class VerdictTwin:
    """The alerts of one entity."""

    hits: int
    of: int
    off_hits: int
    for_ms: int
    keep_ms: int
    said: list[bool] = field(default_factory=list)
    onset_ms: int = 0
    active: bool = False
    calm: int = 0
    calm_ms: int = 0

    def take(self, begin_ms: int, end_ms: int, truth: bool | None) -> tuple[bool, int] | None:  # noqa: FBT001 - yes, no or unknown
        """Take in an event; return (begins or ends, onset) where that changes anything."""
        if truth is None:
            return None
        if self.active:
            return self._burn(end_ms, over=not truth)
        in_a_row = self.hits == self.of
        if truth and not any(self.said if in_a_row else self.said[-(self.of - 1) :]):
            self.onset_ms = begin_ms
        self.said.append(truth)
        if in_a_row and not truth:
            self.said = []
        if not truth or sum(self.said[-self.of :]) < self.hits or end_ms - self.onset_ms < self.for_ms:
            return None
        self.active, self.calm = True, 0
        return True, self.onset_ms

    def _burn(self, end_ms: int, *, over: bool) -> tuple[bool, int] | None:
        if over and self.calm == 0:
            self.calm_ms = end_ms
        self.calm = self.calm + 1 if over else 0
        if self.calm < self.off_hits or end_ms - self.calm_ms < self.keep_ms:
            return None
        self.active, self.said, self.calm = False, [], 0
        return False, self.onset_ms
