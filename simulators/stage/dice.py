"""Every chance of a rehearsal, drawn from its one seed, and the trace of what happened, whose hash two runs share."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Dice:
    """Random numbers for one part of the stage; each part has its own, so that one does not disturb another.

    Args:
        seed: the rehearsal's number.
        part: name of the part that draws.
    """

    def __init__(self, seed: int, part: str) -> None:
        self._rng = np.random.default_rng([seed, zlib.crc32(part.encode())])
        self._pool: list[float] = []

    def number(self) -> float:
        """Return a number from 0 to below 1."""
        if not self._pool:
            self._pool = self._rng.random(256).tolist()
        return self._pool.pop()

    def between(self, low: float, high: float) -> float:
        """Return a number from ``low`` to below ``high``."""
        return low + (high - low) * self.number()

    def whole(self, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``, both among them."""
        return low + int(self.number() * (high - low + 1))

    def chance(self, share: float) -> bool:
        """Return True in this share of cases."""
        return self.number() < share

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of several."""
        return choices[int(self.number() * len(choices))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return items in any order."""
        return [items[place] for _, place in sorted((self.number(), place) for place in range(len(items)))]

    def lag_s(self) -> float:
        """Return how long a small thing takes: mostly a millisecond or two, sometimes much longer."""
        draw = self.number()
        if draw < 0.9:
            return 0.002 * self.number()
        return 0.05 * self.number() if draw < 0.99 else 0.5 * self.number()


class Trace:
    """What happened, in order, as a running hash and, where somebody listens, as lines.

    Attributes:
        count: events so far.
    """

    def __init__(self, clock: Callable[[], float], tell: Callable[[str], None] | None = None) -> None:
        self._clock, self._tell = clock, tell
        self._hash = hashlib.blake2s(digest_size=16)
        self.count = 0

    def note(self, what: str) -> None:
        """Write an event down."""
        line = f"{self._clock():.6f} {what}"
        self._hash.update(line.encode())
        self._hash.update(b"\n")
        self.count += 1
        if self._tell is not None:
            self._tell(line)

    def digest(self) -> str:
        """Return the hash of everything so far."""
        return self._hash.hexdigest()
