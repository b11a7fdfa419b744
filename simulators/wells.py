"""The water balance of one pump station: what flows in, what the pumps take, and the level between."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

# Share of a day's mean sewage by the hour of the day: least at four in the morning, most at eight and at twenty.
DAY_SHAPE = (
    0.55, 0.42, 0.34, 0.29, 0.28, 0.42, 0.88, 1.42, 1.58, 1.40, 1.20, 1.12,
    1.18, 1.12, 1.02, 0.98, 1.02, 1.14, 1.34, 1.50, 1.54, 1.38, 1.08, 0.80,
)  # fmt: skip
FAST_S, SLOW_S = 2_700.0, 10 * 3_600.0  # rain that runs in at once, and rain that seeps in (two linear reservoirs)
LAG_M = 0.3  # the second pump starts this much higher
SPILL_M = 2.4  # above the start level the well spills over


@dataclass(slots=True)
class Catchment:
    """What flows towards a station.

    Attributes:
        sewage_lps: a day's mean of sewage, litres a second.
        ground_lps: groundwater that seeps in.
        fast_l_mm, slow_l_mm: litres that a millimetre of rain brings by the fast and by the slow way.
        fast_l, slow_l: litres on their way.
    """

    sewage_lps: float
    ground_lps: float
    fast_l_mm: float
    slow_l_mm: float
    fast_l: float = 0.0
    slow_l: float = 0.0

    def inflow_lps(self, minute: float, ground: float, rain_mm: float, seconds: float) -> float:
        """Return the mean inflow over an interval and let its rain run in.

        Args:
            minute: minute of the local day at the interval's middle.
            ground: factor on the groundwater; 1 while the sewers are as tight as ever.
            rain_mm: rain during the interval.
            seconds: its length.
        """
        hour, part = divmod(minute / 60.0 - 0.5, 1.0)
        shape = DAY_SHAPE[int(hour) % 24] * (1 - part) + DAY_SHAPE[int(hour + 1) % 24] * part
        self.fast_l += rain_mm * self.fast_l_mm
        self.slow_l += rain_mm * self.slow_l_mm
        fast = self.fast_l * -math.expm1(-seconds / FAST_S)
        slow = self.slow_l * -math.expm1(-seconds / SLOW_S)
        self.fast_l -= fast
        self.slow_l -= slow
        return self.sewage_lps * shape + self.ground_lps * ground + (fast + slow) / seconds


@dataclass(slots=True)
class Well:
    """A wet well with its pumps, exact between the moments at which a pump starts or stops.

    Attributes:
        area_m2, start_m, stop_m, rate_lps: as in the registry; every pump takes ``rate_lps``.
        level_m: water level.
        usable: which pumps can run.
        running: which do.
        lead: the pump whose turn it is; they take turns.
        inflow_l, pumped_l, spilt_l: totals since the beginning; what came in is pumped, spilt, or still there.
        starts, run_s: totals of each pump.
    """

    area_m2: float
    start_m: float
    stop_m: float
    rate_lps: float
    level_m: float
    usable: list[bool] = field(default_factory=lambda: [True, True])
    running: list[bool] = field(default_factory=lambda: [False, False])
    lead: int = 0
    inflow_l: float = 0.0
    pumped_l: float = 0.0
    spilt_l: float = 0.0
    starts: list[int] = field(default_factory=lambda: [0, 0])
    run_s: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def live(self, seconds: float, inflow_lps: float) -> None:
        """Let ``seconds`` pass at a steady inflow."""
        for pump, usable in enumerate(self.usable):
            self.running[pump] = self.running[pump] and usable
        self._start_due()
        while seconds > 1e-9:
            on = sum(self.running)
            rise = (inflow_lps - on * self.rate_lps) / 1000.0 / self.area_m2  # metres a second
            aim = self._next_level(rise, on)
            span = seconds if aim is None else min(seconds, (aim - self.level_m) / rise)
            self._pass(span, inflow_lps, on, rise)
            seconds -= span
            if aim is not None and abs(self.level_m - aim) < 1e-9:
                self.level_m = aim
                self._arrive(aim)

    def _pass(self, span: float, inflow_lps: float, on: int, rise: float) -> None:
        self.inflow_l += inflow_lps * span
        self.pumped_l += on * self.rate_lps * span
        for pump, runs in enumerate(self.running):
            self.run_s[pump] += span * runs
        self.level_m += rise * span
        top = self.start_m + SPILL_M
        if self.level_m > top:
            self.spilt_l += (self.level_m - top) * self.area_m2 * 1000.0
            self.level_m = top

    def _next_level(self, rise: float, on: int) -> float | None:
        """Return the level at which something switches next, None when nothing will."""
        if rise > 0 and on < sum(self.usable):
            aim = self.start_m + LAG_M * on
            return aim if aim > self.level_m else None
        if rise < 0 and on > 0:
            return self.stop_m if self.stop_m < self.level_m else None
        return None

    def _arrive(self, aim: float) -> None:
        if aim <= self.stop_m:
            self.running = [False] * len(self.running)
            self.lead = (self.lead + 1) % len(self.running)
        else:
            self._start_due()

    def _start_due(self) -> None:
        """Start the pumps that the level asks for, the lead first."""
        due = 0 if self.level_m < self.start_m else 1 if self.level_m < self.start_m + LAG_M else 2
        for step in range(len(self.running)):
            pump = (self.lead + step) % len(self.running)
            if sum(self.running) >= due:
                return
            if self.usable[pump] and not self.running[pump]:
                self.running[pump] = True
                self.starts[pump] += 1
