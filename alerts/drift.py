"""How far a position has come away from where speed and heading would have brought the vehicle.

What a position moved by, less what was driven, is added up with a memory of twenty minutes. A receiver's noise comes
and goes, and makes nothing; a position that is led away bit by bit adds up, however slowly it is led. What a change
of speed or heading explains is left out, for nobody knows when in the interval it came.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]

LEAP_M = 60.0  # a difference above this, and what a change of speed explains, is a leap: it stands by itself
CALM_M = 60.0  # below this nothing has come together that noise does not explain
_MEMORY_S = 1_200.0
_SCALE = 0.02  # of the way: what a speedometer may err by
_GAP_S = 90.0  # after so long without a fix nothing is known of the way between
_ONE_TURN_S = 15.0  # an interval up to the usual report holds one turn; a longer one may hold several
_KMH = 3.6
_STANDING_KMH = 3.0
NAMES = ("drift_e", "drift_n", "leap_e", "leap_n", "vel_e", "vel_n")


class Drift:
    """The differences of every vehicle.

    Attributes:
        state: (m,) by name: ``drift_e drift_n`` what small differences have come to, ``leap_e leap_n`` large ones,
            metres; ``vel_e vel_n`` m/s at the last fix, NaN unknown; ``calm_ms`` when the drift was last within noise.
    """

    def __init__(self, vehicles: int) -> None:
        self.state: dict[str, npt.NDArray[Any]] = {name: np.zeros(vehicles) for name in NAMES[:4]}
        self.state |= {name: np.full(vehicles, np.nan) for name in NAMES[4:]}
        self.state["calm_ms"] = np.zeros(vehicles, np.int64)

    def add(
        self, vehicle: Places, time_ms: Ints, dt: Floats, step: tuple[Floats, Floats], speed: Floats, heading: Floats
    ) -> tuple[Floats, Floats]:
        """Add what fixes show, one a vehicle; return metres of drift, and of drift and leaps together.

        Args:
            vehicle, time_ms: which and when.
            dt: seconds since its last fix, NaN where there was none.
            step: metres east and north since that fix.
            speed: km/h.
            heading: degrees clockwise from north; NaN where not reported.
        """
        s = self.state
        moving = np.where(speed < _STANDING_KMH, 0.0, speed / _KMH)
        angle = np.radians(np.where(moving == 0.0, 0.0, heading))
        new_e, new_n = moving * np.sin(angle), moving * np.cos(angle)
        old_e, old_n = s["vel_e"][vehicle], s["vel_n"][vehicle]
        s["vel_e"][vehicle], s["vel_n"][vehicle] = new_e, new_n
        off_e = step[0] - (old_e + new_e) / 2 * dt
        off_n = step[1] - (old_n + new_n) / 2 * dt
        off = np.sqrt(off_e * off_e + off_n * off_n)
        pace = (np.sqrt(old_e * old_e + old_n * old_n) + moving) / 2
        turned = np.sqrt((new_e - old_e) ** 2 + (new_n - old_n) ** 2)
        slack = turned * dt / 2 + np.maximum(dt - _ONE_TURN_S, 0.0) * pace / 2 + _SCALE * pace * dt
        known = ~np.isnan(slack) & (dt <= _GAP_S)
        leaps = known & (off > LEAP_M + slack)
        left = np.exp(-np.where(np.isnan(dt), 0.0, dt) / _MEMORY_S)
        small = np.where(known & ~leaps, np.maximum(0.0, 1.0 - slack / np.maximum(off, 1e-9)), 0.0)
        for name, part, share in (("drift", (off_e, off_n), small), ("leap", (off_e, off_n), leaps.astype(np.float64))):
            for axis, more in zip("en", part, strict=True):
                column = s[f"{name}_{axis}"]
                column[vehicle] = column[vehicle] * left + np.where(share > 0, more, 0.0) * share
        drift = np.sqrt(s["drift_e"][vehicle] ** 2 + s["drift_n"][vehicle] ** 2)
        both_e, both_n = (s[f"drift_{axis}"][vehicle] + s[f"leap_{axis}"][vehicle] for axis in "en")
        calm = drift < CALM_M
        s["calm_ms"][vehicle[calm]] = time_ms[calm]
        return drift, np.sqrt(both_e * both_e + both_n * both_n)
