"""A batch survives the journal's bytes unchanged, and bytes that are no batch are refused."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.batch import MARK_FUTURE, MARK_LATE, Batch, make_batch, pack, unpack
from devices.kinds import Catalog, load_catalog

CATALOG = load_catalog()
KINDS = list(CATALOG)
T = 1_700_000_000_000


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    kind = draw(st.sampled_from(KINDS))
    rows = draw(st.integers(0, 6))
    number = st.floats(allow_infinity=True, allow_nan=True, width=64)
    present = draw(st.lists(st.booleans(), min_size=len(kind.fields), max_size=len(kind.fields)))
    values = np.full((len(kind.fields), rows), np.nan)
    for column, wanted in enumerate(present):
        if wanted:
            values[column] = draw(st.lists(number, min_size=rows, max_size=rows))
    times = draw(st.lists(st.integers(-(2**62), 2**62), min_size=rows, max_size=rows))
    device = draw(st.lists(st.integers(0, 2**31 - 1), min_size=rows, max_size=rows))
    batch = make_batch(kind, draw(st.integers(0, 2**62)), times, device, values)
    batch.sent_ms = np.array(draw(st.lists(st.integers(-(2**62), 2**62), min_size=rows, max_size=rows)), dtype=np.int64)
    marks = draw(st.lists(st.sampled_from([0, MARK_LATE, MARK_FUTURE, 3]), min_size=rows, max_size=rows))
    batch.marks = np.array(marks, dtype=np.uint8)
    return batch


def same(one: Batch, other: Batch) -> bool:
    return (
        one.kind == other.kind
        and one.arrival_ms == other.arrival_ms
        and all(
            np.array_equal(getattr(one, name), getattr(other, name))
            and getattr(one, name).dtype == getattr(other, name).dtype
            for name in ("time_ms", "device", "sent_ms", "marks", "suspect")
        )
        and np.array_equal(one.values, other.values, equal_nan=True)
    )


@settings(max_examples=200, deadline=None)
@given(batches())
def test_what_is_packed_is_unpacked_the_same(batch: Batch) -> None:
    assert same(unpack(pack(batch), CATALOG), batch)


@settings(max_examples=25, deadline=None)
@given(batches())
def test_every_truncated_prefix_is_refused(batch: Batch) -> None:
    data = pack(batch)
    for cut in range(len(data)):
        with pytest.raises(ValueError, match="batch"):
            unpack(data[:cut], CATALOG)
    with pytest.raises(ValueError, match="length"):
        unpack(data + b"\x00", CATALOG)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_batch_or_a_value_error(data: bytes) -> None:
    try:
        batch = unpack(data, CATALOG)
    except ValueError:
        return
    assert len(batch.time_ms) == len(batch.device) == batch.values.shape[1]


def test_a_flipped_bit_in_the_head_never_reads_beyond_the_bytes() -> None:
    batch = make_batch(KINDS[0], T, [T, T + 1], [0, 1], np.ones((len(KINDS[0].fields), 2)))
    data = bytearray(pack(batch))
    for bit in range(8 * 16):
        data[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(ValueError):
            unpack(memoryview(data), CATALOG)
        data[bit // 8] ^= 1 << bit % 8
    assert same(unpack(memoryview(data), CATALOG), batch)


def test_a_kind_or_column_that_the_catalog_does_not_have_is_named() -> None:
    last = KINDS[-1]
    data = pack(make_batch(last, T, [T], [0], np.ones((len(last.fields), 1))))
    with pytest.raises(ValueError, match=f"names kind {last.index}"):
        unpack(data, Catalog(KINDS[:-1]))
    smaller = Catalog([*KINDS[:-1], type(last)(last.name, last.en, last.zh, last.roles, last.fields[:1], (), (60.0,))])
    with pytest.raises(ValueError, match=f"a column that {last.name} does not have"):
        unpack(data, smaller)


def test_values_outside_the_physical_range_are_kept_and_not_trusted() -> None:
    kind = CATALOG["streetlight"]
    number = kind.column("power_w")
    field = kind.fields[number]
    values = np.full((len(kind.fields), 4), np.nan)
    values[number] = [field.low, field.high, field.high + 1, np.nan]
    batch = make_batch(kind, T, [T] * 4, [0, 1, 2, 3], values)
    assert batch.column("power_w")[2] == field.high + 1
    assert np.isnan(batch.trusted("power_w")).tolist() == [False, False, True, True]
    assert batch.suspect[number].tolist() == [False, False, True, False]


def test_taking_rows_keeps_every_column_together() -> None:
    kind = CATALOG["truck"]
    values = np.arange(len(kind.fields) * 5, dtype=float).reshape(len(kind.fields), 5)
    batch = make_batch(kind, T, T + np.arange(5), np.arange(5, dtype=np.int32), values)
    batch.marks = np.arange(5, dtype=np.uint8)
    some = batch.take(np.array([4, 0]))
    assert some.device.tolist() == [4, 0]
    assert some.time_ms.tolist() == [T + 4, T]
    assert some.marks.tolist() == [4, 0]
    assert np.array_equal(some.values, values[:, [4, 0]])
    assert same(unpack(pack(some), CATALOG), some)
