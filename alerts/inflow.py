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
    ) -> tuple[Floats, Floats, Floats]:
        """Return the water that came in since each reading's station was last heard, and for how long that is known.

        Args:
            row: (n,) station, rising; those of one station in the order of time, and later than its last.
            time_ms: (n,) device time.
            metered: (n,) metered inflow L/s, NaN where none: wins over the level.
            level: (n,) metres.
            pumps: (n,) number of pumps running.

        Returns:
            Litres and seconds, (n,) each, zero seconds where the inflow is not known; and for how many of these seconds
            it was seen, by a meter or by a well that fills, and not reckoned from what the pump used to move.
        """
        litres, seconds, seen = np.zeros(len(row)), np.zeros(len(row)), np.zeros(len(row))
        given = (~(np.isnan(level) | np.isnan(pumps) | np.isnan(self.area_m2[row]))).nonzero()[0]
        if len(given):
            litres[given], seconds[given] = self._risen(row[given], time_ms[given], level[given], pumps[given])
            seen[given] = np.where(pumps[given] == 0, seconds[given], 0.0)
        has = (~np.isnan(metered)).nonzero()[0]
        if len(has):
            at, when = row[has], time_ms[has]
            last = _before(at, when, self.state["metered_ms"])
            seconds[has] = np.where(last == 0, FIRST_MS, np.minimum(when - last, METER_GAP_MS)) / 1000.0
            litres[has] = metered[has] * seconds[has]
            seen[has] = seconds[has]
            self.state["metered_ms"][at] = when
        return litres, seconds, seen

    def _risen(self, row: npt.NDArray[np.intp], time_ms: Ints, level: Floats, pumps: Floats) -> tuple[Floats, Floats]:
        """Return litres and seconds as told by the well's level."""
        s, area = self.state, self.area_m2[row]
        last_ms, before = _before(row, time_ms, s["level_ms"]), _before(row, pumps, s["pumps"])
        passed = time_ms - last_ms
        joined = (last_ms > 0) & (passed <= LEVEL_GAP_MS)
        same = joined & (pumps == before)
        begins = np.r_[True, row[1:] != row[:-1]] | ~same
        stretch = np.cumsum(begins) - 1  # of readings between two turns of a pump
        head = begins.nonzero()[0]
        changed = np.where(same[head], s["changed_ms"][row[head]], time_ms[head])
        span = passed / 1000.0
        steady = same & (last_ms >= changed[stretch] + GUARD_MS)
        rise_l = np.where(steady, area * (level - _before(row, level, s["level"])) * 1000.0, 0.0)
        off, on = steady & (pumps == 0), steady & (pumps == 1)
        sums = {name: np.where(same[head], s[name][row[head]], 0.0) for name in ("fill_l", "fill_s", "run_l", "run_s")}
        for name, mask in (("fill", off), ("run", on)):
            np.add.at(sums[f"{name}_l"], stretch[mask], rise_l[mask])
            np.add.at(sums[f"{name}_s"], stretch[mask], span[mask])
        rate = self._rates(row[head], joined[head] & ~same[head], before[head], sums)[stretch]
        s["changed_ms"][row[head]] = changed
        s["level"][row], s["pumps"][row], s["level_ms"][row] = level, pumps, time_ms
        drawn = np.greater(on, np.isnan(rate))  # its rate is known
        known = off | drawn  # several pumps together give less than their sum: not guessed at
        litres = np.where(known, rise_l + np.where(drawn, rate * span, 0.0), 0.0)
        return litres, np.where(known, span, 0.0)

    def _rates(self, row: npt.NDArray[np.intp], ended: Mask, before: Floats, sums: dict[str, Floats]) -> Floats:
        """Return the pump's rate in each stretch; where the one before has ended, its fill or run is learned from."""
        s = self.state
        rates = np.empty(len(row))
        for k, station in enumerate(row.tolist()):
            if ended[k]:
                first = k == 0 or row[k - 1] != station
                past = {name: s[name][station] if first else sums[name][k - 1] for name in sums}
                self._learn(station, float(before[k]), past)
            rates[k] = s["pump_lps"][station]
        for name, column in sums.items():
            s[name][row] = column
        return rates

    def _learn(self, station: int, pumps: float, past: dict[str, Any]) -> None:
        """Take in a run or a fill that has just ended."""
        s = self.state
        if pumps == 0 and past["fill_s"] >= RUN_S:
            s["fill_lps"][station] = past["fill_l"] / past["fill_s"]
        if pumps != 1 or past["run_s"] < RUN_S or np.isnan(s["fill_lps"][station]):
            return
        found, rated = s["fill_lps"][station] - past["run_l"] / past["run_s"], self.rate_lps[station]
        if found > 0 and not (found < PLAUSIBLE[0] * rated or found > PLAUSIBLE[1] * rated):
            old = s["pump_lps"][station]
            s["pump_lps"][station] = found if np.isnan(old) else old + LEARN * (found - old)


def _before(row: npt.NDArray[np.intp], column: npt.NDArray[Any], kept: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return what a column held one reading of the same station earlier; of the first what is kept of it."""
    first = np.r_[True, row[1:] != row[:-1]]
    found: npt.NDArray[Any] = np.where(first, kept[row], np.r_[column[:1], column[:-1]])
    return found
