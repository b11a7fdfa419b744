"""The sieve may forget, but it never takes a new reading for an old one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.batch import make_batch
from devices.kinds import load_catalog
from ingest.sieve import Sieve

LAMP = load_catalog()["streetlight"]
T = 1_700_000_000_000
GROUPS = st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), min_size=1, max_size=10), max_size=30)


@settings(max_examples=100, deadline=None)
@given(GROUPS, st.integers(1, 16))
def test_a_small_memory_lets_repetitions_pass_and_never_drops_what_is_new(
    groups: list[list[tuple[int, int]]], remembered: int
) -> None:
    sieve = Sieve(4, remembered=remembered)
    seen: list[tuple[int, int]] = []
    for group in groups:
        values = np.full((len(LAMP.fields), len(group)), 1.5)
        times = [T + 1000 * second for _, second in group]
        kept, dropped = sieve.sift(make_batch(LAMP, T, times, [device for device, _ in group], values))
        got = {(int(d), int(t - T) // 1000) for d, t in zip(kept.device, kept.time_ms, strict=True)}
        gone = set(group) - got
        assert gone <= set(seen), "only what was kept before may be dropped altogether"
        recent = set(seen[-remembered:])
        assert not got & recent, "the last readings are always remembered"
        assert dropped == len(group) - len(kept)
        seen += [(int(d), int(t - T) // 1000) for d, t in zip(kept.device, kept.time_ms, strict=True)]
