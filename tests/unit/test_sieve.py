"""What was kept already is dropped, once and only then; what is late is marked."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.batch import MARK_FUTURE, MARK_LATE, Batch, make_batch, pack, unpack
from devices.kinds import load_catalog
from ingest.sieve import Sieve

CATALOG = load_catalog()
LAMP = CATALOG["streetlight"]
POWER = LAMP.column("power_w")
T = 1_700_000_000_000


def readings(*rows: tuple[int, int, float]) -> Batch:
    """Batch of (device row, seconds after T, watts)."""
    values = np.full((len(LAMP.fields), len(rows)), np.nan)
    values[POWER] = [watts for _, _, watts in rows]
    return make_batch(LAMP, T, [T + 1000 * s for _, s, _ in rows], [device for device, _, _ in rows], values)


def seconds(batch: Batch) -> list[tuple[int, int]]:
    return [(int(d), int(t - T) // 1000) for d, t in zip(batch.device, batch.time_ms, strict=True)]


def test_a_reading_that_comes_again_is_dropped_and_counted() -> None:
    sieve = Sieve(5)
    first = readings((0, 0, 80), (1, 0, 80))
    assert sieve.sift(first)[1] == 0
    kept, dropped = sieve.sift(readings((0, 0, 80), (1, 60, 80), (1, 0, 80)))
    assert dropped == 2
    assert seconds(kept) == [(1, 60)]
    assert sieve.duplicates == 2
    assert sieve.late == 0


def test_a_reading_twice_in_one_group_is_kept_once() -> None:
    kept, dropped = Sieve(5).sift(readings((3, 0, 80), (3, 0, 80), (3, 60, 80), (3, 0, 80)))
    assert (seconds(kept), dropped) == ([(3, 0), (3, 60)], 2)


def test_the_same_moment_with_other_values_is_no_duplicate() -> None:
    sieve = Sieve(5)
    sieve.sift(readings((0, 0, 80)))
    kept, dropped = sieve.sift(readings((0, 0, 81)))
    assert (len(kept), dropped) == (1, 0)
    assert not kept.marks.any(), "not older than the newest, so not late"


def test_values_in_exchanged_fields_are_no_duplicate() -> None:
    values = np.full((len(LAMP.fields), 2), np.nan)
    values[POWER], values[POWER + 1] = [1.0, 2.0], [2.0, 1.0]
    kept, dropped = Sieve(1).sift(make_batch(LAMP, T, [T, T], [0, 0], values))
    assert (len(kept), dropped) == (2, 0)


def test_a_reading_older_than_what_was_judged_is_kept_and_marked_late() -> None:
    sieve = Sieve(5)
    sieve.sift(readings((0, 60, 80), (1, 0, 80)))
    kept, dropped = sieve.sift(readings((0, 30, 80), (1, 30, 80)))
    assert dropped == 0
    assert [bool(mark & MARK_LATE) for mark in kept.marks] == [True, False]
    assert sieve.late == 1


def test_disorder_within_one_group_is_put_in_order_and_nothing_is_late() -> None:
    kept, _ = Sieve(5).sift(readings((2, 50, 1), (2, 40, 2), (1, 7, 3), (2, 45, 4)))
    assert [row for row in seconds(kept) if row[0] == 2] == [(2, 40), (2, 45), (2, 50)]
    assert len(kept) == 4
    assert not kept.marks.any()


def test_a_reading_judged_as_of_its_arrival_is_not_late_nor_is_what_follows_it() -> None:
    sieve = Sieve(5)
    sieve.sift(readings((0, 60, 80)))
    ahead = readings((0, 90, 80))
    ahead.time_ms = np.array([T], dtype=np.int64)
    ahead.marks = np.array([MARK_FUTURE], dtype=np.uint8)
    assert int(sieve.sift(ahead)[0].marks[0]) == MARK_FUTURE
    assert int(sieve.sift(readings((0, 30, 81)))[0].marks[0]) == 0
    assert sieve.late == 0


def test_a_clamped_future_reading_sent_again_is_still_a_duplicate() -> None:
    sieve = Sieve(5)
    for arrival, expected in ((T, 0), (T + 5000, 1)):
        ahead = readings((0, 999, 80))
        ahead.time_ms = np.array([arrival], dtype=np.int64)
        ahead.marks = np.array([MARK_FUTURE], dtype=np.uint8)
        assert sieve.sift(ahead)[1] == expected


def test_readings_dated_ahead_are_never_one_point_however_close_they_come() -> None:
    """An hour ahead, in groups a few milliseconds apart, with a restart between: each has a time of its own."""
    sieve, points, kept = Sieve(5), set(), 0
    for group, arrival in enumerate((T, T + 2, T + 2, T + 3, T + 60_000)):
        ahead = readings(*((device, 3600 + 10 * group + n, 80 + n) for n in range(4) for device in (0, 3)))
        ahead.time_ms = np.full(8, arrival, dtype=np.int64)
        ahead.marks = np.full(8, MARK_FUTURE, dtype=np.uint8)
        found, _ = sieve.sift(ahead)
        assert not (found.marks & MARK_LATE).any()
        points |= set(zip(found.device.tolist(), found.time_ms.tolist(), strict=True))
        kept += len(found)
        by_device = found.take(np.argsort(found.device, kind="stable"))
        assert (np.diff(by_device.time_ms)[np.diff(by_device.device) == 0] > 0).all()
        assert (np.diff(by_device.sent_ms)[np.diff(by_device.device) == 0] > 0).all(), "in the order they were sent"
        if group == 1:
            sieve = Sieve(5)
            sieve.remember(unpack(pack(found), CATALOG))
    assert len(points) == kept == 40
    assert max(time for _, time in points) < T + 60_010, "and near its arrival"


def test_one_moment_in_several_messages_dated_ahead_stays_one_moment() -> None:
    ahead = readings((0, 3600, 80), (0, 3600, 81), (0, 3601, 82))
    ahead.time_ms = np.full(3, T, dtype=np.int64)
    ahead.marks = np.full(3, MARK_FUTURE, dtype=np.uint8)
    assert Sieve(5).sift(ahead)[0].time_ms.tolist() == [T, T, T + 1]


def test_what_the_journal_gives_back_after_a_restart_is_recognised() -> None:
    before = readings((0, 0, 80.25), (1, 5, -0.0), (1, 6, 1e-9))
    sieve = Sieve(2)
    sieve.remember(unpack(pack(before), CATALOG))
    assert sieve.sift(before)[1] == 3
    assert int(sieve.sift(readings((1, 3, 1)))[0].marks[0]) == MARK_LATE


def test_a_registry_that_grew_needs_no_new_sieve() -> None:
    sieve = Sieve(1)
    sieve.sift(readings((0, 0, 1)))
    assert sieve.sift(readings((70_000, 0, 1)))[1] == 0
    assert sieve.sift(readings((70_000, 0, 1), (0, 0, 1)))[1] == 2


def test_an_empty_batch_passes() -> None:
    assert Sieve(0).sift(readings())[1] == 0


def test_at_least_the_last_million_readings_are_remembered_and_memory_is_bounded() -> None:
    sieve = Sieve(50_000, remembered=1 << 20)
    rounds = [
        make_batch(
            LAMP,
            T,
            np.full(50_000, T + 1000 * r),
            np.arange(50_000, dtype=np.int32),
            np.zeros((len(LAMP.fields), 50_000)),
        )
        for r in range(70)
    ]
    for batch in rounds:
        assert sieve.sift(batch)[1] == 0
    held = sum(len(run) for run in (*sieve._memory._old, *sieve._memory._runs, *sieve._memory._loose))
    assert 1 << 20 <= held <= (2 << 20) + (1 << 17)
    for batch in rounds[-20:]:
        assert sieve.sift(batch)[1] == 50_000


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12), st.integers(0, 2)), max_size=12),
        max_size=12,
    )
)
def test_the_columns_agree_with_one_reading_at_a_time(groups: list[list[tuple[int, int, int]]]) -> None:
    sieve = Sieve(3)
    seen: set[tuple[int, int, int]] = set()
    newest: dict[int, int] = {}
    for group in groups:
        kept, dropped = sieve.sift(readings(*[(d, s, float(w)) for d, s, w in group]))
        fresh = list(dict.fromkeys(row for row in group if row not in seen))
        seen |= set(fresh)
        got = [
            (int(d), int(t - T) // 1000, int(w))
            for d, t, w in zip(kept.device, kept.time_ms, kept.values[POWER], strict=True)
        ]
        assert sorted(got) == sorted(fresh)
        assert dropped == len(group) - len(fresh)
        late = [bool(mark & MARK_LATE) for mark in kept.marks]
        assert late == [s < newest.get(d, -1) for d, s, _ in got]
        for device in {d for d, _, _ in got}:
            times = [s for d, s, _ in got if d == device]
            assert times == sorted(times)
            newest[device] = max(newest.get(device, -1), *times)
