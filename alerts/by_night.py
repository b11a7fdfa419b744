"""Alerts whose end shows by night only: lamps that are dark by day may be well or not, and nobody can tell.

Once what explained such an alert is over it is given time to clear by itself; by day that time stands still.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alerts.causes_settings import Watched
from alerts.expressions import Condition
from alerts.rules import Rule
from devices.sky import Sky

DAY_MS = 86_400_000
KINDS = ("common_cause", "loop")  # about lamps, though no rule of lamps


def shows_by_night(rule: Rule, entity: str, lamp: Watched) -> bool:
    """Return whether an alert of a rule ends by what lamps do while they are meant to burn.

    By day many have no supply and say nothing; only a rule about burning by day is judged then.
    """
    if rule.kind in KINDS or (rule.kind == "source_silent" and entity.startswith("cabinet:")):
        return True
    on = getattr(rule.params, "on", None)
    by_day = isinstance(on, Condition) and "not expected_on" in on.text
    return rule.device == lamp.device and rule.role == lamp.role and not by_day


def settled_ms(sky: Sky, rows: npt.NDArray[np.intp], from_ms: int, settle_ms: int) -> int:
    """Return when so much time has passed by night, epoch milliseconds.

    Args:
        sky: when lamps are meant to burn.
        rows: (n,) registry rows of the lamps; the first stands for all.
        from_ms: since when.
        settle_ms: how much.
    """
    began, ended = _night(sky, rows, from_ms)
    burns = began <= from_ms < ended
    if burns and from_ms + settle_ms < ended:
        return from_ms + settle_ms
    off_ms = ended if burns else from_ms
    following, _ = _night(sky, rows, off_ms + DAY_MS)
    return max(following, off_ms) + settle_ms - (off_ms - from_ms)


def _night(sky: Sky, rows: npt.NDArray[np.intp], at_ms: int) -> tuple[int, int]:
    """Return switch-on and switch-off of the latest night that had begun."""
    began, ended, _ = sky.nights(rows[:1], np.array([at_ms], dtype=np.int64))
    return int(np.ravel(began)[0]), int(np.ravel(ended)[0])
