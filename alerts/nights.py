"""The night's least inflow, night by night, against the station's own dry nights: the core of the seepage rule.

Water that seeps in flows all night; people do not. The least quarter hours between two and five o'clock are close to
seepage alone, and a lasting rise over the dry nights of the month before is new seepage (docs/sources.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from devices.batch import Floats, Ints

Places = npt.NDArray[np.intp]
QUARTER_MIN = 15
DAYS = 64
BASE_KEPT_DAYS = 60  # a baseline older than this belongs to another season
IDLE, ALERTED = 0, 1
UNUSED, DRY, PASSED = 0, 1, 2  # a night not judged yet; counted as dry; judged and passed over


@dataclass(frozen=True, slots=True)
class NightParams:
    """Settings of the rule; config/rules.yaml names their sources.

    Attributes:
        from_min, until_min: the window, minutes of the local day.
        percentile: which of the window's quarter hours stands for the night.
        on_ratio, off_ratio: over the baseline, to raise and to end.
        major_ratio: from here on the alert is of severity major.
        excess_lps: the least rise over the baseline, L/s.
        nights, off_nights: dry nights in a row to raise, and to end.
        rain_mm, rain_days: a night is dry when neither its day nor so many days before had more rain than this.
        base_from, base_until: the baseline's dry nights lie so many days back.
        nights_min: fewer dry nights make no baseline.
        coverage: share of the window's time for which the inflow must be known.
        grace_ms: how long a silent station or gauge is waited for after the window.
        hold_ms: silent for so long with an alert open: it ends with reason ``data_lost``.
        gauge: device id of the gauge to go by; empty for the station's own and its district's.
        by_event: gauges report only when it rains.
        without_rain: judge stations for which no rain is known as though it were always dry.
    """

    from_min: int = 120
    until_min: int = 300
    percentile: float = 10.0
    on_ratio: float = 1.25
    off_ratio: float = 1.10
    major_ratio: float = 1.6
    excess_lps: float = 0.5
    nights: int = 3
    off_nights: int = 2
    rain_mm: float = 0.5
    rain_days: int = 3
    base_from: int = 35
    base_until: int = 8
    nights_min: int = 7
    coverage: float = 0.6
    grace_ms: int = 900_000
    hold_ms: int = 14 * 86_400_000
    gauge: str = ""
    by_event: bool = False
    without_rain: bool = False


class Night(NamedTuple):
    """One station's alert beginning or ending, decided at the end of a night.

    Attributes:
        station: row.
        active: begins (True) or ends.
        end_ms, onset_ms: end of that night's window, and of the first night of the run.
        q_lps, base_lps: the night's least inflow and the baseline, L/s.
        nights: how many dry nights in a row.
        reason: why it ended.
    """

    station: int
    active: bool
    end_ms: int
    onset_ms: int
    q_lps: float
    base_lps: float
    nights: int
    reason: str = ""


class Nights:
    """The nights of many stations.

    Attributes:
        state: arrays by name, (m,) or (m, DAYS) or (m, quarters).
        counts: nights ``dry``, ``wet``, ``rain_unknown``, ``thin`` (too little data), ``no_baseline``.
    """

    needs_base = True

    def __init__(self, stations: int, params: NightParams) -> None:
        self.params = params
        quarters = (params.until_min - params.from_min) // QUARTER_MIN
        self.state: dict[str, npt.NDArray[Any]] = {
            "litres": np.zeros((stations, quarters)),
            "seconds": np.zeros((stations, quarters)),
            "night": np.full(stations, -1, np.int64),  # local day of the night being gathered
            "end_ms": np.zeros(stations, np.int64),
            "day": np.full((stations, DAYS), -1, np.int64),
            "q": np.full((stations, DAYS), np.nan),
            "covered": np.zeros((stations, DAYS)),
            "ended_ms": np.zeros((stations, DAYS), np.int64),
            "use": np.zeros((stations, DAYS), np.int8),
            "waiting": np.zeros(stations, bool),  # has a finished night that is not judged yet
            "phase": np.zeros(stations, np.int8),
            "streak": np.zeros(stations, np.int64),
            "calm": np.zeros(stations, np.int64),
            "onset_ms": np.zeros(stations, np.int64),
            "base": np.full(stations, np.nan),
            "base_day": np.full(stations, -1, np.int64),
        }
        self.counts = dict.fromkeys(("dry", "wet", "rain_unknown", "thin", "no_baseline"), 0)

    def gather(
        self, row: Places, time_ms: Ints, day: Ints, minute: Ints, litres: Floats, seconds: Floats, *more: Floats
    ) -> None:
        """Take in what came in up to ``time_ms``, in the order of time; finishes nights that have passed.

        ``more`` columns are for those that gather more of a night than its inflow.
        """
        if not (self.state["night"][row] >= 0).any() and not self._inside(minute).any():
            return
        for one in np.unique(day).tolist():
            today = (day == one).nonzero()[0]
            columns = (column[today] for column in (litres, seconds, *more))
            self._of_day(row[today], time_ms[today], one, minute[today], *columns)

    def _inside(self, minute: Ints) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = (minute >= self.params.from_min) & (minute < self.params.until_min)
        return found

    def _of_day(
        self, row: Places, time_ms: Ints, day: int, minute: Ints, litres: Floats, seconds: Floats, *more: Floats
    ) -> None:
        p, s = self.params, self.state
        night = s["night"][row]
        over = np.unique(row[(night >= 0) & (night != day)])
        if len(over):
            self.finish(over)
        inside = self._inside(minute).nonzero()[0]
        if len(inside):
            at, when, now = row[inside], time_ms[inside], minute[inside]
            s["night"][at] = day
            # The later reading knows better: where the clocks are put back inside the window, it ends later.
            s["end_ms"][at] = when + (p.until_min - now) * 60_000 - when % 60_000
            quarter = (now - p.from_min) // QUARTER_MIN
            np.add.at(s["litres"], (at, quarter), litres[inside])
            np.add.at(s["seconds"], (at, quarter), seconds[inside])
            self._also(at, *(column[inside] for column in more))
        after = np.unique(row[(minute >= p.until_min) & (s["night"][row] == day)])
        if len(after):
            self.finish(after)

    def _also(self, row: Places, *more: Floats) -> None:
        """Take in what else was measured within the window; nothing here."""

    def finish(self, row: Places) -> None:
        """Turn what was gathered into each station's figure of the night, to be judged when the rain is known."""
        s = self.state
        for station in row.tolist():
            seconds = s["seconds"][station]
            known = seconds > 0
            cell = s["night"][station] % DAYS
            s["day"][station, cell] = s["night"][station]
            s["covered"][station, cell] = min(seconds.sum() / (60.0 * QUARTER_MIN * len(seconds)), 1.0)
            s["ended_ms"][station, cell] = s["end_ms"][station]
            s["use"][station, cell] = UNUSED
            means = np.maximum(s["litres"][station][known] / seconds[known], 0.0)
            s["q"][station, cell] = np.percentile(means, self.params.percentile) if len(means) else np.nan
            self._finished(station, cell)
        s["litres"][row] = 0.0
        s["seconds"][row] = 0.0
        s["night"][row] = -1
        s["waiting"][row] = True

    def _finished(self, station: int, cell: int) -> None:
        """Keep what else is known of a finished night; nothing here."""

    def unjudged(self, station: int) -> list[int]:
        """Return the finished nights of a station that wait to be judged, as local days in order."""
        s = self.state
        held = (s["use"][station] == UNUSED) & (s["day"][station] >= 0)
        return sorted(int(day) for day in s["day"][station][held])

    def judge(self, station: int, day: int, *, wet: bool | None) -> Night | None:
        """Judge one finished night; ``wet`` is None where the rain is not known."""
        p, s = self.params, self.state
        cell = day % DAYS
        q, covered = float(s["q"][station, cell]), float(s["covered"][station, cell])
        s["use"][station, cell] = PASSED
        s["waiting"][station] = bool(self.unjudged(station))
        if covered < p.coverage or np.isnan(q):
            self.counts["thin"] += 1
            return None
        if wet is not False:
            self.counts["wet" if wet else "rain_unknown"] += 1
            return None
        self.counts["dry"] += 1
        if s["phase"][station] == IDLE:
            self._renew_base(station, day)
        base = float(s["base"][station])
        if np.isnan(base):
            self.counts["no_baseline"] += 1
            s["use"][station, cell] = DRY
            if self.needs_base:
                return None
        return self._compare(station, cell, q, base)

    def _says(self, station: int, cell: int, q: float, base: float) -> tuple[bool | None, bool | None]:  # noqa: ARG002 - others ask for more
        """Return whether a dry night is high, and whether it is low enough to end an alert; None for unknown."""
        p = self.params
        return q > p.on_ratio * base and q - base >= p.excess_lps, q < p.off_ratio * base

    def _compare(self, station: int, cell: int, q: float, base: float) -> Night | None:
        p, s = self.params, self.state
        end_ms = int(s["ended_ms"][station, cell])
        high, low = self._says(station, cell, q, base)
        if s["phase"][station] == IDLE:
            s["use"][station, cell] = DRY
            if not high:
                s["streak"][station] = 0 if high is not None else s["streak"][station]
                return None
            s["streak"][station] += 1
            if s["streak"][station] == 1:
                s["onset_ms"][station] = end_ms
            if s["streak"][station] < p.nights:
                return None
            s["phase"][station], s["calm"][station] = ALERTED, 0
            return self._night(station, end_ms, q, active=True)
        s["streak"][station] += 1
        if low is not None:
            s["calm"][station] = s["calm"][station] + 1 if low else 0
        if s["calm"][station] < p.off_nights:
            return None
        return self._night(station, end_ms, q, active=False, reason="recovered")

    def _night(self, station: int, end_ms: int, q: float, *, active: bool, reason: str = "") -> Night:
        s = self.state
        found = (int(s["onset_ms"][station]), q, float(s["base"][station]), int(s["streak"][station]))
        if not active:
            s["phase"][station], s["streak"][station], s["calm"][station] = IDLE, 0, 0
        return Night(station, active, end_ms, *found, reason)

    def _renew_base(self, station: int, day: int) -> None:
        p, s = self.params, self.state
        back = day - s["day"][station]
        held = (s["use"][station] == DRY) & (back >= p.base_until) & (back <= p.base_from) & (s["day"][station] >= 0)
        if held.sum() >= p.nights_min:
            s["base"][station] = np.median(s["q"][station][held])
            s["base_day"][station] = day
            self._based(station, held)
        elif day - s["base_day"][station] > BASE_KEPT_DAYS:
            s["base"][station] = np.nan

    def _based(self, station: int, held: npt.NDArray[np.bool_]) -> None:
        """Work out what else the nights of a new baseline tell; nothing here."""

    def lost(self, station: int, now_ms: int) -> Night:
        """End the alert of a station of which nothing is known any more."""
        return self._night(station, now_ms, float("nan"), active=False, reason="data_lost")
