"""Lit, out or unknown: what each lamp's last report says, and the lighting rate of roads, cabinets and cells.

rate = lit / known among the lamps that are meant to burn; a silent lamp is unknown, never out: it lowers the coverage,
and the rate is told with the bounds that the unknown ones leave open (docs/sources.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alerts.fleet import NEVER, Fleet
from alerts.lightgroups import Groups
from devices.batch import Floats, Mask

UNRATED_W = 5.0  # a lamp whose rated power nobody entered burns above this; drivers in standby draw 0.5 to 2 W
LIT_A = 0.05  # where only the current is measured: about 10 W at 220 V
FULL = 100.0


@dataclass(frozen=True, slots=True)
class Lamps:
    """Every lamp at one moment, (m,) each.

    Attributes:
        expected: meant to burn: by sun, schedule and the last command.
        due: expected, and switched on long enough ago to be counted against the rate.
        known: expected, heard lately and since the switch-on, and telling whether it burns.
        lit: known and burning.
    """

    expected: Mask
    due: Mask
    known: Mask
    lit: Mask


@dataclass(frozen=True, slots=True)
class Rates:
    """Counts and rates of groups of lamps, (groups,) each; NaN where nothing is expected or nothing known."""

    expected: Floats
    known: Floats
    lit: Floats

    @property
    def rate(self) -> Floats:
        """Return the share lit of the known."""
        return _share(self.lit, self.known)

    @property
    def rate_low(self) -> Floats:
        """Return the share lit if every unknown lamp were out."""
        return _share(self.lit, self.expected)

    @property
    def rate_high(self) -> Floats:
        """Return the share lit if every unknown lamp burned."""
        return _share(self.lit + self.expected - self.known, self.expected)

    @property
    def coverage(self) -> Floats:
        """Return the share known of the expected."""
        return _share(self.known, self.expected)


class Sight:
    """What each lamp was last seen to do; worked out anew only for lamps heard since the look before.

    Nothing here has to be remembered over a restart: it all follows from the fleet.

    Args:
        fleet_kind: catalog kind of the lamps.
        lamps: (m,) registry rows.
        lit_share: of the power due at its dimming level, above which a lamp burns.
    """

    def __init__(self, fleet_kind: str, lamps: npt.NDArray[np.intp], lit_share: float) -> None:
        self._kind, self._lamps, self._share = fleet_kind, lamps, lit_share
        self._burning, self._out, self._off = (np.zeros(len(lamps), dtype=np.bool_) for _ in range(3))
        self._looked_ms: int = NEVER
        self._resumed_ms: int = NEVER

    def look(self, fleet: Fleet, now_ms: int, fresh_ms: npt.NDArray[np.int64], settle_ms: int) -> Lamps:
        """Return what is known of the lamps at ``now_ms``.

        Args:
            fleet: last values and sky.
            now_ms: host time, epoch milliseconds.
            fresh_ms: (m,) a lamp silent for longer is unknown.
            settle_ms: after switching on, before a lamp counts.
        """
        live = fleet.live[self._kind]
        on_for = fleet.sky.switched_on_for_ms(self._lamps, now_ms)
        if not (on_for >= 0).any():
            return Lamps(*(np.zeros(len(on_for), dtype=np.bool_) for _ in range(4)))
        at = live.local[self._lamps]
        seen, told = live.seen_ms[at], live.time_ms[at]
        self._take_in(fleet, at, seen, now_ms)
        heard = (seen != NEVER) & (now_ms - seen < fresh_ms)
        expected = (on_for >= 0) & ~(heard & self._off)
        since_on = now_ms - np.maximum(told, now_ms - on_for - 1)  # of a reading before the switch-on: over on_for
        known = expected & heard & (since_on <= on_for) & (self._burning | self._out)
        return Lamps(expected, expected & (on_for >= settle_ms), known, known & self._burning)

    def _take_in(self, fleet: Fleet, at: npt.NDArray[np.int32], seen: npt.NDArray[np.int64], now_ms: int) -> None:
        """Work out what the lamps do that were heard since the look before; all of them after a pause."""
        paused = self._looked_ms == NEVER or fleet.resumed_ms != self._resumed_ms
        new = np.arange(len(at)) if paused else np.flatnonzero(seen >= self._looked_ms)
        self._looked_ms, self._resumed_ms = now_ms, fleet.resumed_ms
        command = _column(fleet, self._kind, "command_percent", at[new])
        self._burning[new], self._out[new] = _evidence(fleet, self._kind, at[new], command, self._share)
        self._off[new] = command == 0.0


def _evidence(
    fleet: Fleet, kind: str, at: npt.NDArray[np.int32], command: Floats, lit_share: float
) -> tuple[Mask, Mask]:
    """Return which lamps are seen to burn and which are seen to be out; neither where nothing was measured."""
    power = _column(fleet, kind, "power_w", at)
    dim = _column(fleet, kind, "dim_percent", at)
    level = np.where(command > 0, command, np.where(dim > 0, dim, FULL)) / FULL
    rated = fleet.live[kind].fact("rated_power_w")[at]
    due = np.where(rated > 0, lit_share * rated * level, UNRATED_W)
    current = _column(fleet, kind, "current_a", at)
    failed = _column(fleet, kind, "lamp_failure", at)
    by_current = np.isnan(power) & ~np.isnan(current)
    by_flag = np.isnan(power) & np.isnan(current) & ~np.isnan(failed)
    burning = (power >= due) | (by_current & (current >= LIT_A)) | (by_flag & (failed == 0.0))
    out = (power < due) | (by_current & (current < LIT_A)) | (by_flag & (failed != 0.0))
    return burning, out


def count(groups: Groups, lamps: Lamps, *, due_only: bool) -> Rates:
    """Return the counts of every group, of all lamps expected or only of those long enough on."""
    chosen = lamps.due if due_only else lamps.expected
    size, inside = len(groups.names), groups.member >= 0

    def of(mask: Mask) -> Floats:
        return np.bincount(groups.member[mask & inside], minlength=size).astype(np.float64)

    return Rates(of(chosen), of(chosen & lamps.known), of(chosen & lamps.lit))


def _column(fleet: Fleet, kind: str, name: str, at: npt.NDArray[np.int32]) -> Floats:
    live = fleet.live[kind]
    if name not in live.kind.field_names():
        return np.full(len(at), np.nan)
    return live.column(name)[at]


def _share(part: Floats, whole: Floats) -> Floats:
    found: Floats = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return found
