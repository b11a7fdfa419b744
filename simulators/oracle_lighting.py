"""Slow twins of the rules that streetlights are judged by together: one look, one lamp at a time, in plain ifs.

Tests hold the columns of ``alerts/`` to them; people read them to see what a rule means. The lighting rate's twin
stands in ``simulators/oracle_special.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from simulators.oracle_route import Event


@dataclass
class StandingTwin:
    """How one alert stands: bad for long enough, then good for long enough (alerts/standing.py)."""

    for_ms: int
    keep_ms: int
    since_ms: int | None = None
    good_ms: int | None = None
    bad_ms: int | None = None
    was_bad: bool = False
    onset_ms: int = 0
    active: bool = False

    def look(self, now_ms: int, *, bad: bool, good: bool) -> Event | None:
        """Take in how it stands; neither bad nor good is not known."""
        event = self._over(now_ms, bad=bad, good=good) if self.active else self._begun(now_ms, bad=bad, good=good)
        if bad:
            self.bad_ms = now_ms
        self.was_bad = bad
        return event

    def _begun(self, now_ms: int, *, bad: bool, good: bool) -> Event | None:
        if good:
            self.since_ms = None
        if not bad:
            return None
        gap = self.bad_ms is not None and not self.was_bad and now_ms - self.bad_ms > self.for_ms
        if self.since_ms is None or gap:
            self.since_ms = now_ms
        if now_ms - self.since_ms < self.for_ms:
            return None
        self.active, self.onset_ms, self.since_ms, self.good_ms = True, self.since_ms, None, None
        return Event(active=True, at_ms=now_ms, onset_ms=self.onset_ms)

    def _over(self, now_ms: int, *, bad: bool, good: bool) -> Event | None:
        if bad:
            self.good_ms = None
        if not good:
            return None
        if self.good_ms is None:
            self.good_ms = now_ms
        if now_ms - self.good_ms < self.keep_ms:
            return None
        self.active = False
        return Event(active=False, at_ms=now_ms, onset_ms=self.onset_ms)


def longest_row(poles: Sequence[bool | None], unknown_most: int) -> int:
    """Return the longest row of dark poles of a circuit.

    Args:
        poles: in order: True for dark, False for lit, None where nothing is known.
        unknown_most: so many of which nothing is known may lie between two of a row.
    """
    longest = length = unknown = 0
    for dark in poles:
        if dark is None:
            unknown += 1
            continue
        if not dark:
            length = 0
        elif unknown > unknown_most:
            length = 1
        else:
            length += 1
        unknown = 0
        longest = max(longest, length)
    return longest


@dataclass
class UsualTwin:
    """What is usual for one thing: the median of its past nights' means (alerts/baselines.py)."""

    nights: int
    least_nights: int
    least_readings: int
    night: int | None = None
    values: list[float] = field(default_factory=list)
    means: list[float] = field(default_factory=list)

    def turn(self, night: int) -> float | None:
        """Begin a night if it is a new one; return what is usual, None where too few nights are known."""
        if self.night is not None and night != self.night:
            if len(self.values) >= self.least_readings:
                self.means.append(sum(self.values) / len(self.values))
            self.values = []
        self.night = night
        held = sorted(self.means[-self.nights :])
        if len(self.means) < self.least_nights:
            return None
        half = len(held) // 2
        return held[half] if len(held) % 2 else (held[half - 1] + held[half]) / 2

    def learn(self, value: float) -> None:
        """Take a reading into the present night."""
        self.values.append(value)


def changes_within(counts: Sequence[tuple[int, float]], now_ms: int, within_ms: int, slots: int) -> float:
    """Return how many changes fall into the window before ``now_ms``, which is kept to a slot of it.

    Args:
        counts: (time, changes) of each reading.
        now_ms: of the newest reading.
        within_ms: the window, cut into ``slots``.
    """
    slot_ms = within_ms // slots
    return sum(changes for time_ms, changes in counts if 0 <= now_ms // slot_ms - time_ms // slot_ms <= slots)
