"""The clock: the host's time, or in a demo a city's time that runs faster. The only place that reads it."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(slots=True)
class Clock:
    """City time as a straight line over the host's monotonic time.

    Attributes:
        origin_ms: city time, epoch milliseconds, at ``origin_s``.
        origin_s: monotonic seconds at the origin, the same for every process of a machine; None while the clock is
            held, and shows ``origin_ms``.
        speed: city seconds a host second; 1 for the real thing.
    """

    origin_ms: int
    origin_s: float | None
    speed: float = 1.0

    def now_ms(self) -> int:
        """Return the city's time in epoch milliseconds."""
        if self.speed == 1.0:
            return time.time_ns() // 1_000_000  # the real thing follows the host's clock, corrections and all
        if self.origin_s is None:
            return self.origin_ms
        return self.origin_ms + int((time.monotonic() - self.origin_s) * 1000 * self.speed)

    def start(self) -> float:
        """Let a held clock run from now on; return its origin in monotonic seconds."""
        self.origin_s = time.monotonic()
        return self.origin_s

    def host_s(self, city_ms: float) -> float:
        """Return how many host seconds ``city_ms`` milliseconds of city time last."""
        return city_ms / 1000 / self.speed


class SetBack:
    """Notices that the host's clock was set back, by comparing it with the time that has passed.

    Devices whose clocks are right then seem to run ahead. Were their readings clamped to the host's new time, they
    would be older than those before, and nobody would judge them until the host has caught up.
    """

    def __init__(self) -> None:
        self._reached_ms = 0.0
        self._at_s = 0.0

    def look(self, now_ms: int, at_s: float) -> int:
        """Return by how many milliseconds the clock is behind where it would be, had it never been set back.

        Args:
            now_ms: the clock, epoch milliseconds.
            at_s: seconds that never jump, running as fast as the clock.
        """
        self._reached_ms = max(self._reached_ms + (at_s - self._at_s) * 1000, now_ms)
        self._at_s = at_s
        return int(self._reached_ms - now_ms)


def real_clock() -> Clock:
    """Return a clock that shows the host's time."""
    return Clock(time.time_ns() // 1_000_000, time.monotonic())


def fast_clock(start_ms: int, speed: float) -> Clock:
    """Return a clock that shows ``start_ms`` now and runs ``speed`` times as fast as the host's."""
    return Clock(start_ms, time.monotonic(), speed)


def held_clock(start_ms: int, speed: float) -> Clock:
    """Return a clock that shows ``start_ms`` until it is started."""
    return Clock(start_ms, None, speed)
