"""Water coming in: from the station's meter, or from how its well fills and how its pump draws it down.

Pump off, Qin = A dh/dt. Pump on, Qin = Qp + A dh/dt, with Qp from earlier cycles: Qp = A (h_on - h_off) / t_on + Qin of
the fill before (docs/sources.md). Only sums are kept, no samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

GUARD_MS = 30_000  # around a start or stop the level swings and the pump is neither off nor on (S31)
LEVEL_GAP_MS = 600_000  # between level readings further apart a pump may have run unseen
METER_GAP_MS = 1_800_000  # a meter's reading stands for at most half an hour
FIRST_MS = 60_000  # what a meter's first reading stands for
RUN_S = 60.0  # a shorter run or fill tells nothing about its rate
LEARN = 0.2  # weight of the newest cycle in the estimate of the pump's rate
PLAUSIBLE = (0.3, 3.0)  # a cycle's pump rate over the rated one, outside which it is not believed


class Inflow:
    """Inflow of many stations, interval by interval.

    Args:
        area_m2: (m,) plan area of each wet well, NaN where unknown.
        rate_lps: (m,) rated flow of one pump, NaN where unknown.

    Attributes:
        state: arrays (m,); ``pump_lps`` is the present estimate of one pump's flow in L/s.
    """

    def __init__(self, area_m2: Floats, rate_lps: Floats) -> None:
        count = len(area_m2)
        self.area_m2, self.rate_lps = area_m2, rate_lps
        self.state: dict[str, npt.NDArray[Any]] = {
            **{name: np.zeros(count, np.int64) for name in ("metered_ms", "level_ms", "changed_ms")},
            **{name: np.zeros(count) for name in ("fill_l", "fill_s", "run_l", "run_s")},
            **{name: np.full(count, np.nan) for name in ("level", "pumps", "fill_lps")},
            "pump_lps": rate_lps.copy(),
        }

    def take(
        self, row: npt.NDArray[np.intp], time_ms: Ints, metered: Floats, level: Floats, pumps: Floats
    ) -> tuple[Floats, Floats]:
        """Return the water that came in since each station's last reading, and for how long that is known.

        Args:
            row: (n,) station, each at most once.
            time_ms: (n,) device time, later than the station's last.
            metered: (n,) metered inflow L/s, NaN where none: wins over the level.
            level: (n,) metres.
            pumps: (n,) number of pumps running.

        Returns:
            Litres and seconds, (n,) each; zero seconds where the inflow is not known.
        """
        derived_l, derived_s = self._derived(row, time_ms, level, pumps)
        has = ~np.isnan(metered)
        if not np.count_nonzero(has):
            return derived_l, derived_s
        last = self.state["metered_ms"][row]
        span = np.where(last == 0, FIRST_MS, np.minimum(time_ms - last, METER_GAP_MS)) / 1000.0
        self.state["metered_ms"][row] = np.where(has, time_ms, last)
        return np.where(has, metered * span, derived_l), np.where(has, span, derived_s)

    def _derived(self, row: npt.NDArray[np.intp], time_ms: Ints, level: Floats, pumps: Floats) -> tuple[Floats, Floats]:
        """Return litres and seconds as told by the well's level."""
        litres, seconds = np.zeros(len(row)), np.zeros(len(row))
        area = self.area_m2[row]
        given = (~(np.isnan(level) | np.isnan(pumps) | np.isnan(area))).nonzero()[0]
        if not len(given):
            return litres, seconds
        if len(given) == len(row):
            return self._risen(row, time_ms, level, pumps, area)
        known = row[given], time_ms[given], level[given], pumps[given], area[given]
        litres[given], seconds[given] = self._risen(*known)
        return litres, seconds

    def _risen(
        self, row: npt.NDArray[np.intp], time_ms: Ints, level: Floats, pumps: Floats, area: Floats
    ) -> tuple[Floats, Floats]:
        s = self.state
        last_ms = s["level_ms"][row]
        passed = time_ms - last_ms
        span = passed / 1000.0
        joined = (last_ms > 0) & (passed <= LEVEL_GAP_MS)
        same = joined & (pumps == s["pumps"][row])
        steady = same & (last_ms >= s["changed_ms"][row] + GUARD_MS)
        if np.count_nonzero(same) < len(row):
            self._turn(row, time_ms, ~same, joined)
        rise_l = np.where(steady, area * (level - s["level"][row]) * 1000.0, 0.0)
        off, on = steady & (pumps == 0), steady & (pumps == 1)
        for name, mask in (("fill", off), ("run", on)):
            here = mask.nonzero()[0]
            if len(here):
                s[f"{name}_l"][row[here]] += rise_l[here]
                s[f"{name}_s"][row[here]] += span[here]
        s["level"][row], s["pumps"][row], s["level_ms"][row] = level, pumps, time_ms
        rate = s["pump_lps"][row]
        drawn = np.greater(on, np.isnan(rate))  # its rate is known
        known = off | drawn  # several pumps together give less than their sum: not guessed at
        litres = np.where(known, rise_l + np.where(drawn, rate * span, 0.0), 0.0)
        return litres, np.where(known, span, 0.0)

    def _turn(self, row: npt.NDArray[np.intp], time_ms: Ints, turned: Mask, joined: Mask) -> None:
        """A pump has started or stopped, or may have unseen: what ran until now has ended."""
        s = self.state
        self._learn(row[turned & joined])
        for name in ("fill_l", "fill_s", "run_l", "run_s"):
            s[name][row[turned]] = 0.0
        s["changed_ms"][row[turned]] = time_ms[turned]

    def _learn(self, row: npt.NDArray[np.intp]) -> None:
        """Take in the run or the fill that has just ended."""
        if not len(row):
            return
        s = self.state
        filled = row[(s["pumps"][row] == 0) & (s["fill_s"][row] >= RUN_S)]
        s["fill_lps"][filled] = s["fill_l"][filled] / s["fill_s"][filled]
        run = row[(s["pumps"][row] == 1) & (s["run_s"][row] >= RUN_S) & ~np.isnan(s["fill_lps"][row])]
        found = s["fill_lps"][run] - s["run_l"][run] / s["run_s"][run]
        rated = self.rate_lps[run]
        sound = (found > 0) & ~(found < PLAUSIBLE[0] * rated) & ~(found > PLAUSIBLE[1] * rated)
        run, found = run[sound], found[sound]
        old = s["pump_lps"][run]
        s["pump_lps"][run] = np.where(np.isnan(old), found, old + LEARN * (found - old))
