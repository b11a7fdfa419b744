"""How bytes are read: a buffer that is used again and again, and a pace that lets small reads gather."""

from __future__ import annotations

BUFFER_BYTES = 256 * 1024
NAP_S = 0.004  # after a small read: let the socket gather, so that the cost of waking is shared by many messages
NAP_BUSY_S = 0.02  # the same while many come; it would slow a broker that waits for credit after 20 messages
BUSY = 2000.0  # messages a second from which on it is many: more than such a broker can bring with the short nap
PACE = 0.1  # weight of the newest read in the pace
NAP_BYTES = 32 * 1024  # larger reads are worth their waking


class Buffer:
    """Bytes that came and were not yet read; grows to hold one whole packet, never shrinks."""

    def __init__(self) -> None:
        self._bytes = memoryview(bytearray(BUFFER_BYTES))
        self._start = self._end = 0

    def free(self) -> memoryview:
        """Return the free end, at least a quarter of the first size; what is unread is moved to the front first."""
        if self._start == self._end:
            self._start = self._end = 0
        elif len(self._bytes) - self._end < BUFFER_BYTES // 4:
            unread = bytes(self.unread())
            if len(unread) > len(self._bytes) // 2:
                self._bytes = memoryview(bytearray(2 * len(self._bytes)))
            self._bytes[: len(unread)] = unread
            self._start, self._end = 0, len(unread)
        return self._bytes[self._end :]

    def filled(self, count: int) -> None:
        """Say that ``count`` bytes of the free end were written."""
        self._end += count

    def unread(self) -> memoryview:
        """Return what came and was not yet read."""
        return self._bytes[self._start : self._end]

    def read(self, count: int) -> None:
        """Say that ``count`` of the unread bytes are done with."""
        self._start += count


class Pace:
    """How many messages a second have come of late, and how long to wait before the next read.

    Attributes:
        heard: time of the last read, as the event loop counts it, seconds.
    """

    def __init__(self, now: float) -> None:
        self.heard = now
        self._a_second = 0.0

    def nap(self, now: float, count: int) -> float:
        """Return the seconds to let the socket gather after a read of ``count`` messages."""
        self._a_second += PACE * (count / max(now - self.heard, 1e-4) - self._a_second)
        self.heard = now
        return NAP_BUSY_S if self._a_second > BUSY else NAP_S
