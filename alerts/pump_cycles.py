"""Pump cycles: what each run moved, for how much power, and what came back, against the pump's own past.

A cycle is a run of one pump between two fills. Qp = Qin - A dh/dt while it runs, Qin from the fills before and after
(S30). Runs of several pumps together, in the rain, or with a level that cannot be right tell nothing about a pump.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alerts.station_runs import DENSE_MS, NOTHING, State
from devices.batch import Floats

Places = npt.NDArray[np.intp]
Completed = tuple[Places, npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], dict[str, Floats]]

PUMPS = 4  # pumps of a station that are told apart
REFERENCE, REFERENCE_LEAST = 30, 8  # cycles of a reference, and how few will do
SPACED_MS = 3 * 3_600_000  # between two cycles of a reference: it then spans four days
WORN = 0.1  # a first cycle that takes so much more energy than the others is not taken into the reference either
SOUND = (0.8, 1.25)  # a cycle outside this of its reference is not taken into it
MIN_S, LATE_S = 60.0, 120.0  # shorter stretches give no slope
WET_MM = 0.2  # rain during a cycle from which on it is not judged
STEADY = 0.25  # share by which the fills before and after may differ
SWING_M, KNOWN, SMOOTH = 0.05, 0.7, 0.2  # least swing, share of known levels, most of rough ones, of a level to trust
SPEED = 0.03  # a drive that turns by so much otherwise than in the reference is another pump
TREND = 0.1  # weight of the newest cycle in the trend of energy
FIGURES: dict[str, str] = {
    "pump_lps": "what the pump moved, L/s",
    "rate_ratio": "the same over the median of its last cycles",
    "power_ratio": "power over the median of its last cycles",
    "energy_ratio": "energy a cubic metre and metre of head over that of the pump's first cycles",
    "energy_trend": "the same, smoothed over the last cycles",
    "back_ratio": "what flowed back after the stop, over what the pump moves",
    "starts_ratio": "starts an hour over what the band and the inflow would make",
    "starts_per_h": "starts an hour",
    "inflow_lps": "inflow before and after the run, L/s",
    "low_m": "lowest level over the stop level, m",
    "high_m": "highest level over the start level, m",
    "swing_m": "highest less lowest level, m",
    "known_share": "share of readings with a level",
    "rough_share": "share of readings at which the level bends as water does not",
    "wet": "rain fell (yes or no)",
}
_RINGS = ("rate", "power", "speed")
_FIRST = ("energy",)


class Cycles:
    """The cycles of all stations.

    Args:
        area_m2, start_m, stop_m, rate_lps: (m,) facts, NaN where unknown.

    Attributes:
        state: arrays (m,), (m, PUMPS) or (m, PUMPS, REFERENCE).
    """

    def __init__(self, area_m2: Floats, start_m: Floats, stop_m: Floats, rate_lps: Floats) -> None:
        self.area, self.start_m, self.stop_m, self.rate_lps = area_m2 * 1000.0, start_m, stop_m, rate_lps
        m = len(area_m2)
        self.state: dict[str, npt.NDArray[Any]] = {
            "fill_lps": np.full(m, np.nan),
            "waits": np.zeros(m, np.bool_),  # a run has ended and the fill after it is under way
            "filled": np.zeros(m, np.bool_),  # the stretch before was a fill, without a gap since
            "kept_ms": np.zeros((m, PUMPS), np.int64),  # when a cycle was taken into the reference last
            "next": np.zeros((m, PUMPS), np.int64),
            "trend": np.full((m, PUMPS), np.nan),
            **{name: np.full((m, PUMPS, REFERENCE), np.nan) for name in (*_RINGS, *_FIRST)},
            **{
                f"run_{name}": np.zeros(m, np.int64)
                for name in ("begin_ms", "readings", "levels", "bends", "rough", "pump")
            },
            **{
                f"run_{name}": np.full(m, np.nan)
                for name in ("before_lps", "slope_lps", "power", "speed", "pressure", "low_m", "high_m", "rain_mm")
            },
        }

    def take(self, ended: State) -> Completed:
        """Take in ended stretches, at most one a station, and return the cycles that they complete.

        Returns:
            Stations, pumps (0 for the first; -1 where it is not known which), begin and end of each cycle (ms), and
            its figures by name.
        """
        at, s = ended["station"], self.state
        lps = self._inflow(ended)
        fills, runs = ended["on"] == 0, ended["on"] == 1
        done = np.flatnonzero(fills & s["waits"][at])
        found = self._complete(ended, done, lps[done])
        s["waits"][at] = False
        s["fill_lps"][at[fills]] = lps[fills]
        self._remember(ended, np.flatnonzero(runs & ended["whole"] & s["filled"][at]))
        s["filled"][at] = fills & ended["joined"]
        broken = at[~ended["joined"]]
        s["waits"][broken], s["fill_lps"][broken] = False, np.nan
        return found

    def _inflow(self, e: State) -> Floats:
        """Return what level and area tell of each stretch: inflow of a fill, less the pump of a run; L/s."""
        area = self.area[e["station"]]
        late, plain = (_slope(e, name, least) for name, least in (("late", LATE_S), ("guard", MIN_S)))
        found: Floats = area * np.where((e["on"] == 0) & ~np.isnan(late), late, plain)
        return found

    def _remember(self, e: State, runs: Places) -> None:
        """Keep the runs that have ended until the fills after them have."""
        s, at = self.state, e["station"][runs]
        s["waits"][at] = True
        s["run_begin_ms"][at] = e["begin_ms"][runs]
        s["run_before_lps"][at] = s["fill_lps"][at]
        s["run_slope_lps"][at] = self._inflow(e)[runs]
        for name in ("readings", "levels", "bends", "rough"):
            s[f"run_{name}"][at] = e[name][runs]
        for name in ("low_m", "high_m", "rain_mm"):
            s[f"run_{name}"][at] = e[name][runs]
        with np.errstate(invalid="ignore", divide="ignore"):
            for name in ("power", "speed", "pressure"):
                s[f"run_{name}"][at] = e[name][runs] / e[f"{name}_n"][runs]
        mask = e["mask"][runs]
        single = (mask >= 1) & (np.log2(np.maximum(mask, 1)) % 1 == 0) & (mask < 1 << PUMPS)
        s["run_pump"][at] = np.where(single, np.log2(np.maximum(mask, 1)), NOTHING).astype(np.int64)

    def _complete(self, e: State, done: Places, after_lps: Floats) -> Completed:
        s, at = self.state, e["station"][done]
        run = {name[4:]: column[at] for name, column in s.items() if name.startswith("run_")}
        readings = run["readings"] + e["readings"][done]
        bends = run["bends"] + e["bends"][done]
        with np.errstate(invalid="ignore", divide="ignore"):
            low = np.minimum(run["low_m"], e["low_m"][done])
            high = np.maximum(run["high_m"], e["high_m"][done])
            swing = np.where(np.isfinite(low) & np.isfinite(high), high - low, np.nan)
            known_share = (run["levels"] + e["levels"][done]) / readings
            rough = np.where(bends >= 3, (run["rough"] + e["rough"][done]) / bends, np.nan)
            wet = run["rain_mm"] + e["rain_mm"][done] > WET_MM
            sound = (swing >= SWING_M) & (known_share >= KNOWN) & ~(rough > SMOOTH)
            steady = np.abs(after_lps - run["before_lps"]) <= STEADY * np.maximum(after_lps, run["before_lps"]) + 1.0
            inflow = np.where(sound, 0.5 * (after_lps + run["before_lps"]), np.nan)
            inflow = np.where(np.isnan(inflow) & sound, after_lps, inflow)
            back = self._back(e, done)
            pump_lps = np.where(steady & ~wet, inflow - run["slope_lps"], np.nan)
            pump_lps = np.where(pump_lps > 0, pump_lps, np.nan)
            figures = {
                "pump_lps": pump_lps, "inflow_lps": inflow, "wet": wet.astype(np.float64),
                "low_m": np.where(sound, low - self.stop_m[at], np.nan),
                "high_m": np.where(sound, high - self.start_m[at], np.nan),
                "swing_m": np.where(known_share >= KNOWN, swing, np.nan),
                "known_share": known_share, "rough_share": rough,
            }  # fmt: skip
            length_s = (e["closed_ms"][done] - run["begin_ms"]) / 1000.0
            pump = run["pump"]
            self._against(figures, at, pump, run, e["closed_ms"][done])
            dense = (length_s * 1000.0 <= DENSE_MS * readings) & sound & ~wet
            figures["back_ratio"] = np.where(dense, back / self._usual_lps(at, pump), np.nan)
            self._starts(figures, at, pump, length_s, np.where(dense, inflow, np.nan))
        return at, pump, run["begin_ms"], e["closed_ms"][done], figures

    def _back(self, e: State, done: Places) -> Floats:
        """Return how much faster the well filled just after the stop than later in the same fill, L/s."""
        early, late = _slope(e, "early", MIN_S, since="first"), _slope(e, "late", LATE_S)
        found: Floats = (self.area[e["station"]] * (early - late))[done]
        return found

    def _usual_lps(self, at: Places, pump: npt.NDArray[np.int64]) -> Floats:
        """Return what a pump usually moves: the median of its reference, or its rated flow."""
        held = _median(self.state["rate"][at, np.maximum(pump, 0)])
        found: Floats = np.where(np.isnan(held) | (pump < 0), self.rate_lps[at], held)
        return found

    def _starts(
        self, figures: dict[str, Floats], at: Places, pump: npt.NDArray[np.int64], length_s: Floats, inflow: Floats
    ) -> None:
        """Compare the cycle's length with that of the band, T = V / Qin + V / (Qp - Qin)."""
        volume = self.area[at] * (self.start_m - self.stop_m)[at]
        net = self._usual_lps(at, pump) - inflow
        usual_s = np.where((inflow > 0) & (net > 0), volume / inflow + volume / net, np.nan)
        figures["starts_per_h"] = 3600.0 / length_s
        figures["starts_ratio"] = usual_s / length_s

    def _against(
        self,
        figures: dict[str, Floats],
        at: Places,
        pump: npt.NDArray[np.int64],
        run: State,
        end_ms: npt.NDArray[np.int64],
    ) -> None:
        """Compare a cycle with its pump's reference, then take it in."""
        s, of = self.state, np.maximum(pump, 0)
        now = {"rate": figures["pump_lps"], "power": run["power"], "speed": run["speed"]}
        now["energy"] = run["power"] / (figures["pump_lps"] * run["pressure"])
        usual = {name: _median(s[name][at, of]) for name in (*_RINGS, *_FIRST)}
        same_speed = ~(np.abs(now["speed"] / usual["speed"] - 1) > SPEED) & (pump >= 0)
        ratio = {name: np.where(same_speed, now[name] / usual[name], np.nan) for name in now}
        figures |= {"rate_ratio": ratio["rate"], "power_ratio": ratio["power"], "energy_ratio": ratio["energy"]}
        trend = s["trend"][at, of]
        # A pump that clogs moves too little for another reason: wear shows in cycles of its usual flow.
        step = np.where((ratio["rate"] < SOUND[0]) | (ratio["rate"] > SOUND[1]), np.nan, np.log(ratio["energy"]))
        trend = np.where(np.isnan(step), trend, np.where(np.isnan(trend), step, trend + TREND * (step - trend)))
        figures["energy_trend"] = np.where(np.isnan(step), np.nan, np.exp(trend))
        usable = ~np.isnan(now["rate"]) & (pump >= 0) & same_speed
        fits = np.isnan(usual["rate"]) | ((ratio["rate"] > SOUND[0]) & (ratio["rate"] < SOUND[1]))
        fits &= ~((ratio["power"] < SOUND[0]) | (ratio["power"] > SOUND[1]))
        due = usable & fits & (end_ms - s["kept_ms"][at, of] >= SPACED_MS)
        s["trend"][at[usable], of[usable]] = trend[usable]
        a, p = at[due], of[due]
        place = s["next"][a, p]
        for name in _RINGS:
            s[name][a, p, place % REFERENCE] = now[name][due]
        # The first cycles are what wear is measured against, for good.
        early = (place < REFERENCE) & ~(np.abs(ratio["energy"][due] - 1) > WORN)
        s["energy"][a[early], p[early], place[early]] = now["energy"][due][early]
        s["next"][a, p] = place + 1
        s["kept_ms"][a, p] = end_ms[due]


def _median(held: Floats) -> Floats:
    """Return the median of each row of references, NaN where they are too few."""
    ranked = np.sort(held, axis=1)  # what is unknown comes last
    count = (~np.isnan(held)).sum(axis=1)
    rows = np.arange(len(held))
    middle = 0.5 * (ranked[rows, np.maximum(count - 1, 0) // 2] + ranked[rows, np.maximum(count, 1) // 2])
    found: Floats = np.where(count >= REFERENCE_LEAST, middle, np.nan)
    return found


def _slope(e: State, name: str, least_s: float, since: str = "") -> Floats:
    """Return metres a second from the level ``name`` to the last, or from ``since`` to ``name``; NaN if too short."""
    begin, end = (since, name) if since else (name, "last")
    span = (e[f"{end}_ms"] - e[f"{begin}_ms"]) / 1000.0
    with np.errstate(invalid="ignore", divide="ignore"):
        rise = (e[f"{end}_m"] - e[f"{begin}_m"]) / span
    found: Floats = np.where((e[f"{begin}_ms"] > 0) & (span >= least_s), rise, np.nan)
    return found
