"""The wheel of due times gives back what is due, whenever it was filed, and what is not due stays."""

from __future__ import annotations

import numpy as np

from alerts.fleet import NEVER_AGAIN
from alerts.wheel import Wheel


def test_what_is_filed_comes_back_when_its_second_has_come_and_only_once() -> None:
    wheel = Wheel()
    rng = np.random.default_rng(4)
    due = rng.integers(1_000_000, 1_100_000, 500)
    for part in np.array_split(np.arange(500), 7):
        wheel.put(part, due[part])
    assert wheel.next_ms == due.min()
    seen: list[int] = []
    for now in range(1_000_000, 1_102_000, 700):
        got = wheel.take(now).tolist()
        assert all(due[one] < now + 1024 for one in got)
        seen += got
        assert all(one in seen for one in np.flatnonzero(due <= now))
        assert wheel.next_ms <= min(due[[one for one in range(500) if one not in seen]], default=NEVER_AGAIN)
    assert sorted(seen) == list(range(500))
    assert wheel.next_ms == NEVER_AGAIN


def test_an_empty_wheel_holds_nothing_and_never_turns() -> None:
    wheel = Wheel()
    assert len(wheel.take(10**15)) == 0
    wheel.put(np.array([3, 4]), np.array([5_000, 90_000]))
    wheel.clear()
    assert (wheel.nbytes, wheel.next_ms, len(wheel.take(10**15))) == (0, NEVER_AGAIN, 0)
