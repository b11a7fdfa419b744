"""The clock: the host's time, or in a demo a city's time that runs faster. The only place that reads it."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """City time as a straight line over the host's monotonic time.

    Attributes:
        origin_ms: city time, epoch milliseconds, at ``origin_s``.
        origin_s: monotonic seconds at the origin; every process of one machine shares this clock.
        speed: city seconds a host second; 1 for the real thing.
    """

    origin_ms: int
    origin_s: float
    speed: float = 1.0

    def now_ms(self) -> int:
        """Return the city's time in epoch milliseconds."""
        if self.speed == 1.0:
            return time.time_ns() // 1_000_000  # the real thing follows the host's clock, corrections and all
        return self.origin_ms + int((time.monotonic() - self.origin_s) * 1000 * self.speed)

    def host_s(self, city_ms: float) -> float:
        """Return how many host seconds ``city_ms`` milliseconds of city time last."""
        return city_ms / 1000 / self.speed


def real_clock() -> Clock:
    """Return a clock that shows the host's time."""
    return Clock(time.time_ns() // 1_000_000, time.monotonic())


def fast_clock(start_ms: int, speed: float, origin_s: float | None = None) -> Clock:
    """Return a clock that shows ``start_ms`` now (or at ``origin_s``) and runs ``speed`` times as fast."""
    return Clock(start_ms, time.monotonic() if origin_s is None else origin_s, speed)
