"""Slow twins of lighting rate and seepage: one evaluation, one night at a time, plain ifs, exact fractions.

Tests hold the columns of ``alerts/`` to them; people read them to see what a rule means. That of route deviation
stands in ``simulators/oracle_route.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from simulators.oracle_route import Event


def lamps_out_that_alert(known: int, normal: Fraction, alpha: Fraction) -> int:
    """Return the least number out of ``known`` whose chance is below ``alpha``, in exact fractions."""
    tail = Fraction(0)
    least = known + 1
    for out in range(known, -1, -1):
        tail += math.comb(known, out) * normal**out * (1 - normal) ** (known - out)
        if tail >= alpha:
            return least
        least = out
    return least


@dataclass
class RateTwin:
    """Lighting rate of one road, cabinet or cell, evaluation by evaluation."""

    normal: Fraction
    alpha: Fraction
    off_p: Fraction
    coverage: float
    for_ms: int
    keep_ms: int
    bad_since: int | None = None
    good_since: int | None = None
    onset_ms: int = 0
    active: bool = False

    def tick(self, now_ms: int, expected: int, known: int, lit: int) -> Event | None:
        """Take in one evaluation's counts."""
        if expected == 0:
            return self._dark(now_ms)
        if known == 0 or known < self.coverage * expected:
            return None
        out = known - lit
        bad = out >= lamps_out_that_alert(known, self.normal, self.alpha)
        good = out < lamps_out_that_alert(known, self.normal, self.off_p)
        self.bad_since = (now_ms if self.bad_since is None else self.bad_since) if bad else None
        if not self.active:
            if bad and self.bad_since is not None and now_ms - self.bad_since >= self.for_ms:
                self.active, self.onset_ms, self.good_since = True, self.bad_since, None
                return Event(active=True, at_ms=now_ms, onset_ms=self.onset_ms)
            return None
        self.good_since = (now_ms if self.good_since is None else self.good_since) if good else None
        if self.good_since is not None and now_ms - self.good_since >= self.keep_ms:
            self.active, self.good_since = False, None
            return Event(active=False, at_ms=now_ms, onset_ms=self.onset_ms, reason="recovered")
        return None

    def _dark(self, now_ms: int) -> Event | None:
        self.bad_since = self.good_since = None
        ended, self.active = self.active, False
        return Event(active=False, at_ms=now_ms, onset_ms=self.onset_ms, reason="schedule_off") if ended else None


@dataclass
class SeepTwin:
    """Seepage of one station, night by night, once the night's figure and its weather are known."""

    nights: list[tuple[int, float]] = field(default_factory=list)  # dry nights of no alert: local day and L/s
    base: float = math.nan
    base_day: int = -1000
    run: int = 0
    calm: int = 0
    onset_day: int = 0
    active: bool = False

    def night(self, day: int, q_lps: float, *, dry: bool) -> Event | None:
        """Take in one night; times are local days."""
        if not dry:
            return None
        if not self.active:
            held = sorted(q for when, q in self.nights if 8 <= day - when <= 35)
            if len(held) >= 7:
                half = len(held) // 2
                self.base = held[half] if len(held) % 2 else (held[half - 1] + held[half]) / 2
                self.base_day = day
            elif day - self.base_day > 60:
                self.base = math.nan
        if self.active:
            self.calm = self.calm + 1 if q_lps < 1.10 * self.base else 0
            if self.calm == 2:
                self.active, self.run, self.calm = False, 0, 0
                return Event(active=False, at_ms=day, onset_ms=self.onset_day, reason="recovered")
            return None
        self.nights.append((day, q_lps))
        if math.isnan(self.base) or q_lps <= 1.25 * self.base or q_lps - self.base < 0.5:
            self.run = 0
            return None
        self.run += 1
        if self.run == 1:
            self.onset_day = day
        if self.run < 3:
            return None
        self.active, self.calm = True, 0
        return Event(active=True, at_ms=day, onset_ms=self.onset_day)
