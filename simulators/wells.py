"""The water balance of all wet wells at once, from one moment at which something switches to the next.

Between such moments inflow and pumps are steady and the level moves along a straight line. Every station goes its own
way in time: in each round all of them move to their own next moment, and what happened is kept as pieces of which
readings can be taken at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulators.machine import Floats, Mask

PUMPS = 2
LAG_M = 0.3  # each further pump starts this much higher
SPILL_M = 2.4  # above the start level the well spills over
# Heads over that of the design point: a curve H = SHUT - (SHUT - 1) q^2 of the pump against a static part and the
# rising main's friction, FRICTION (q1 + q2)^2. Two pumps together then give 1.41 times the flow of one.
SHUT, STATIC, FRICTION = 1.6, 0.7, 0.3
DESIGN_M = 18.0
WARM_S, WARM_C = 900.0, 45.0  # a motor's windings
IDLE_SHARE = 0.45  # of the rated power that a pump draws at no flow
MAIN_S = 50.0  # the rising main holds what one pump moves in so many seconds: no more can flow back
CLOSE = 1e-9

Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class Condition:
    """What is wrong with the wells and pumps at a time; all is well by default.

    Attributes:
        available: (n, p) the controller may call the pump: neither tripped nor switched off, and mains is there.
        starts: (n, p) its contactor closes when called.
        flow: (n, p) factor on its flow.
        load: (n, p) factor on its power.
        speed: (n, p) over the rated speed.
        head: (n,) added to the static head, over the design head.
        back: (n,) what flows back through the check valve when no pump runs, until the rising main has emptied itself,
            over the rated flow.
        band: (n,) factor on the switching band.
        area: (n,) factor on the well's area.
    """

    available: Mask
    starts: Mask
    flow: Floats
    load: Floats
    speed: Floats
    head: Floats
    back: Floats
    band: Floats
    area: Floats

    @staticmethod
    def fine(count: int) -> Condition:
        """Return the condition of ``count`` sound stations."""
        pumps = (count, PUMPS)
        yes = np.ones(pumps, dtype=np.bool_)
        plain = (np.ones(pumps), np.ones(pumps), np.ones(pumps))
        return Condition(yes, yes.copy(), *plain, np.zeros(count), np.zeros(count), np.ones(count), np.ones(count))


@dataclass(slots=True)
class Pieces:
    """What happened in a span of time: rounds by station, (k, n) and (k, n, p), each beginning at ``time_s``.

    Attributes:
        time_s: seconds since the span's beginning.
        level_m, rise: level at its beginning, and metres a second.
        inflow, flow: litres a second that come in, (k, n), and that each pump moves, (k, n, p).
        running, called: (k, n, p).
        run_s, starts, warm: totals and warmth of each pump at its beginning, (k, n, p).
    """

    time_s: Floats
    level_m: Floats
    rise: Floats
    inflow: Floats
    flow: Floats
    running: Mask
    called: Mask
    run_s: Floats
    starts: Ints
    warm: Floats

    def at(self, station: npt.NDArray[np.intp], time_s: Floats) -> npt.NDArray[np.intp]:
        """Return the piece in which each of ``station`` is at ``time_s``, (r,)."""
        found: npt.NDArray[np.intp] = (self.time_s[:, station] <= time_s + CLOSE).sum(axis=0) - 1
        return found


class Wells:
    """All wet wells with their pumps.

    Args:
        area_m2, start_m, stop_m, rate_lps: (n,) as in the registry; ``rate_lps`` is one pump's flow at mid-band.
        level_m: (n,) where the water stands.

    Attributes:
        level_m: (n,) now.
        running, called: (n, p) which pumps run, and which the controller has called.
        lead: (n,) the pump whose turn it is; they take turns.
        main_l: (n,) what stands in the rising main and can flow back.
        inflow_l, pumped_l, returned_l, spilt_l: (n,) totals; what came in or back is pumped, spilt, or still there.
        starts, run_s, warm: (n, p) totals of each pump, and its windings over the air, degrees.
    """

    def __init__(self, area_m2: Floats, start_m: Floats, stop_m: Floats, rate_lps: Floats, level_m: Floats) -> None:
        self.area_m2, self.start_m, self.stop_m, self.rate_lps = area_m2, start_m, stop_m, rate_lps
        self.level_m = level_m.astype(np.float64)
        count = len(area_m2)
        self.running = np.zeros((count, PUMPS), dtype=np.bool_)
        self.called = np.zeros((count, PUMPS), dtype=np.bool_)
        self.lead = np.zeros(count, dtype=np.intp)
        self.inflow_l, self.pumped_l, self.returned_l, self.spilt_l = (np.zeros(count) for _ in range(4))
        self.main_l = MAIN_S * rate_lps
        self.starts = np.zeros((count, PUMPS), dtype=np.int64)
        self.run_s, self.warm = np.zeros((count, PUMPS)), np.zeros((count, PUMPS))

    def live(self, knots_s: Floats, inflow_lps: Floats, condition: Condition) -> Pieces:
        """Let time pass and return what happened.

        Args:
            knots_s: (k + 1,) rising, the first 0: when inflow changes.
            inflow_lps: (k, n) between the knots.
            condition: what is wrong meanwhile.
        """
        count = len(self.level_m)
        stations, time, number = np.arange(count), np.zeros(count), np.zeros(count, dtype=np.intp)
        end, last = knots_s[-1], len(knots_s) - 2
        area = self.area_m2 * condition.area * 1000.0  # litres a metre
        stop = self.start_m - (self.start_m - self.stop_m) * condition.band
        middle = 0.5 * (self.start_m + self.stop_m)
        available = condition.available.sum(axis=1)
        self.called &= condition.available
        self._call(np.zeros(count, dtype=np.bool_), condition, available, stop, np.zeros(count))
        kept: list[tuple[npt.NDArray[np.generic], ...]] = []
        while True:
            inflow = inflow_lps[number, stations]
            calls = self.called.sum(axis=1)
            aim_up = self.start_m + LAG_M * calls
            flow = self._flow(condition, np.where(calls > 0, 0.5 * (self.level_m + stop), middle), middle)
            still = ~self.running.any(axis=1)
            back = np.where(still & (self.main_l > CLOSE), condition.back * self.rate_lps, 0.0)
            rise = (inflow + back - flow.sum(axis=1)) / area
            kept.append((
                time, self.level_m, rise, inflow, flow, self.running.copy(), self.called.copy(), self.run_s,
                self.starts.copy(), self.warm,
            ))  # fmt: skip
            if (time >= end - CLOSE).all():
                break
            away = np.full(count, np.inf)
            rising = (rise > 0) & (calls < available)
            falling = (rise < 0) & (calls > 0)
            away[rising] = np.maximum((aim_up - self.level_m)[rising] / rise[rising], 0.0)
            away[falling] = np.maximum((stop - self.level_m)[falling] / rise[falling], 0.0)
            left = knots_s[number + 1] - time
            empties = np.full(count, np.inf)
            leaking = back > 0
            empties[leaking] = self.main_l[leaking] / back[leaking]
            span = np.minimum(np.minimum(away, left), empties)
            self.main_l = np.where(still, np.maximum(self.main_l - back * span, 0.0), MAIN_S * self.rate_lps)
            self.main_l[empties <= span] = 0.0
            self._pass(span, inflow, back, flow, rise, area)
            time = time + span
            due = away <= span
            at_knot = (left <= span) & (number < last)
            number = number + at_knot
            self._call(due, condition, available, stop, rise)
        return Pieces(*(np.stack(column) for column in zip(*kept, strict=True)))

    def _flow(self, condition: Condition, level: Floats, middle: Floats) -> Floats:
        """Return what each pump moves at a level, litres a second, (n, p)."""
        together = self.running.sum(axis=1)
        static = STATIC + condition.head - (level - middle) / DESIGN_M
        lift = np.maximum(SHUT * condition.speed**2 - static[:, np.newaxis], 0.0)
        share = np.sqrt(lift / (SHUT - 1 + FRICTION * np.maximum(together, 1) ** 2)[:, np.newaxis])
        found: Floats = self.rate_lps[:, np.newaxis] * share * condition.flow * self.running
        return found

    def _pass(self, span: Floats, inflow: Floats, back: Floats, flow: Floats, rise: Floats, area: Floats) -> None:
        self.inflow_l += inflow * span
        self.returned_l += back * span
        self.pumped_l += flow.sum(axis=1) * span
        self.run_s = self.run_s + self.running * span[:, np.newaxis]
        settle = np.exp(-span / WARM_S)[:, np.newaxis]
        self.warm = settle * self.warm + (1 - settle) * WARM_C * self.running
        level = self.level_m + rise * span
        top = self.start_m + SPILL_M
        over = np.maximum(level - top, 0.0)
        self.spilt_l += over * area
        self.level_m = level - over

    def _call(self, due: Mask, condition: Condition, available: Ints, stop: Floats, rise: Floats) -> None:
        """Let the controllers call what the level asks for, and stop what it does not."""
        empty = (due & (rise < 0)) | (self.called.any(axis=1) & (self.level_m < stop - CLOSE))
        self.called[empty] = False
        self.lead[empty] = (self.lead[empty] + 1) % PUMPS
        calls = self.called.sum(axis=1)
        reached = (self.level_m >= self.start_m + LAG_M * calls - CLOSE) & (calls < available) & ~empty
        for station in reached.nonzero()[0].tolist():
            wanted = min(
                int(available[station]), 1 + int((self.level_m[station] - self.start_m[station] + CLOSE) / LAG_M)
            )
            for step in range(PUMPS):
                pump = (self.lead[station] + step) % PUMPS
                if self.called[station].sum() < wanted and condition.available[station, pump]:
                    self.called[station, pump] = True
        running = self.called & condition.starts
        self.starts += running & ~self.running
        self.running = running
