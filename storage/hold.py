"""The hold: what the store took in the last seconds stays in the journal until the store must have it for good.

A store may say yes before a reading is on its disk: VictoriaMetrics forgets the last seconds when it is killed, and so
does InfluxDB where its ``wal-fsync-delay`` is set. So the store is asked now and then since when it runs. As long as
that is the same moment, what it took longer than the hold ago is confirmed; where it is another one, everything behind
the confirmed position is written once more. A store that does not tell is taken to have restarted whenever it was away.
"""

from __future__ import annotations

import math
from collections import deque

ASKED_EACH = 3  # times a hold that the store is asked


class Hold:
    """Knows which of the shipped positions the store may still forget. Times are seconds of a clock that only grows.

    Args:
        seconds: how long after its yes a store may still forget; 0 for never.
        position: shipped up to here.
        confirmed: the store surely has everything up to here.
        started_ms: since when the store ran when it was last asked, epoch milliseconds; 0 where it never told.

    Attributes:
        confirmed, started_ms: as above, as they are now.
        replaying: position from which is written once more, None where that is not needed.
    """

    def __init__(self, seconds: float, position: int, confirmed: int = 0, started_ms: int = 0) -> None:
        self.seconds = seconds
        self.confirmed = min(confirmed, position)
        self.started_ms = started_ms
        self.replaying: int | None = None
        self._position = position
        self._marks: deque[tuple[float, int]] = deque()
        self._doubt = (
            seconds > 0 and self.confirmed < position
        )  # an earlier life cannot say what the store did meanwhile
        self._asked_s = -math.inf

    def shipped(self, now_s: float, position: int) -> None:
        """Remember that the store has said yes to everything before ``position``, at ``now_s`` at the latest."""
        self._position = position
        if self.seconds:
            self._marks.append((now_s, position))

    def failed(self) -> None:
        """Remember that the store was away, which may have been a restart."""
        self._doubt = self.seconds > 0

    def due(self, now_s: float) -> bool:
        """Return whether to ask the store now since when it runs: before it takes anything, and now and then."""
        if self._doubt or (self.seconds > 0 and self._asked_s == -math.inf):
            return True
        return bool(self._marks) and now_s - self._asked_s >= self.seconds / ASKED_EACH

    def told(self, now_s: float, started_ms: int | None) -> bool:
        """Take the store's answer to a question asked at ``now_s``; None where it does not tell.

        Returns:
            whether the confirmed position or the start has changed, which is then worth writing down. Not so while
            anything is to be written once more: the old start has to stand until that is done.
        """
        self._asked_s = now_s
        before = (self.confirmed, self.started_ms)
        if self._restarted(started_ms):
            self.replaying = self.confirmed if self.confirmed < self._position else None
            self._marks.clear()
        elif self.replaying is None and not self._marks and self.confirmed < self._position:
            self._marks.append((now_s, self._position))  # it was taken in an earlier life of ours
        self._doubt = False
        self.started_ms = self.started_ms if started_ms is None else started_ms
        while self._marks and self._marks[0][0] <= now_s - self.seconds:
            self.confirmed = self._marks.popleft()[1]
        return self.replaying is None and before != (self.confirmed, self.started_ms)

    def replayed(self, now_s: float, position: int) -> None:
        """Remember that everything before ``position`` is written once more."""
        self.replaying = position if position < self._position else None
        if self.replaying is None:
            self._marks.append((now_s, self._position))

    def _restarted(self, started_ms: int | None) -> bool:
        if started_ms is None or (not self.started_ms and not self._doubt):
            return self._doubt
        return started_ms != self.started_ms
