"""Rain by day at every gauge: whether a day is known to have been dry, known to have been wet, or not known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from devices.batch import Floats, Ints

DAYS = 64  # days kept: the seepage baseline looks back 35
KNOWN_SHARE = 0.75  # of a day's hours that need a report
SILENT_DAYS = 14  # a gauge that reports only rain and has not for so long may be broken


class Rain:
    """Daily rain of many gauges.

    Args:
        gauges: how many.
        night_until_min: minute of the local day at which nights end; rain later that day is not the night's.
        by_event: gauges report only when it rains: their silence is dry weather, for up to SILENT_DAYS.

    Attributes:
        state: ``day`` (m, DAYS) which day each cell holds; ``total_mm``; ``early_mm`` up to the night's end;
            ``hours`` bits of the hours with a report; ``last_ms`` (m,) time of the last reading.
    """

    def __init__(self, gauges: int, night_until_min: int, *, by_event: bool) -> None:
        self.until_min = night_until_min
        self.by_event = by_event
        self.state: dict[str, npt.NDArray[Any]] = {
            "day": np.full((gauges, DAYS), -1, np.int64),
            "total_mm": np.zeros((gauges, DAYS)),
            "early_mm": np.zeros((gauges, DAYS)),
            "hours": np.zeros((gauges, DAYS), np.int32),
            "last_ms": np.zeros(gauges, np.int64),
        }

    def take(self, row: npt.NDArray[np.intp], time_ms: Ints, day: Ints, minute: Ints, rain_mm: Floats) -> None:
        """Take in readings in the order of time; ``rain_mm`` is the rain since the last report, NaN where none."""
        s = self.state
        s["last_ms"][row] = time_ms
        wanted = (~np.isnan(rain_mm)).nonzero()[0]
        if not len(wanted):
            return
        row, day, minute, rain_mm = row[wanted], day[wanted], minute[wanted], rain_mm[wanted]
        for one in np.unique(day).tolist():
            today = (day == one).nonzero()[0]
            self._of_day(row[today], one, minute[today], rain_mm[today])

    def _of_day(self, row: npt.NDArray[np.intp], day: int, minute: Ints, rain_mm: Floats) -> None:
        s, cell = self.state, day % DAYS
        stale = row[s["day"][row, cell] != day]
        if len(stale):
            for name in ("total_mm", "early_mm", "hours"):
                s[name][stale, cell] = 0
        s["day"][row, cell] = day
        np.add.at(s["total_mm"][:, cell], row, rain_mm)
        # A report at the very minute of the night's end covers time before it.
        np.add.at(s["early_mm"][:, cell], row, np.where(minute <= self.until_min, rain_mm, 0.0))
        np.bitwise_or.at(s["hours"][:, cell], row, np.left_shift(1, minute // 60).astype(np.int32))

    def before(self, gauge: int, day: int, days_back: int, limit_mm: float) -> bool | None:
        """Return whether it rained on ``day`` up to the night's end or on the ``days_back`` days before.

        None when the gauge's reports are too few to say that it did not.
        """
        s = self.state
        known = self.watches(gauge, day, SILENT_DAYS)
        for back in range(days_back + 1):
            cell = (day - back) % DAYS
            held = s["day"][gauge, cell] == day - back
            amount = s["early_mm" if back == 0 else "total_mm"][gauge, cell] if held else 0.0
            if amount > limit_mm:
                return True
            if self.by_event:
                continue
            hours = int(s["hours"][gauge, cell]) if held else 0
            span = self.until_min // 60 if back == 0 else 24
            heard = (hours & ((1 << span) - 1)).bit_count()
            known &= heard >= KNOWN_SHARE * span
        return False if known else None

    def watches(self, gauge: int, day: int, days_back: int) -> bool:
        """Return whether the gauge reported any rain figure, zero included, in those days."""
        cells = np.arange(day - days_back, day + 1)
        found: bool = bool((self.state["day"][gauge, cells % DAYS] == cells).any())
        return found
