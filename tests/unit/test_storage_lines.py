"""Line protocol: what is written is read back exactly, every number a float, no name begins a line of its own."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from devices.batch import MARK_FUTURE, MARK_LATE, make_batch
from devices.kinds import Catalog, load_catalog
from devices.registry import Asset, Registry
from storage.lines import LineWriter, escape, own_line, parse_line, stored, unescape
from storage.timeseries import OwnPoint
from tests.unit.storage_city import T0, lamp_batch, registry_of

CATALOG = load_catalog()
numbers = st.one_of(st.just(math.nan), st.floats(allow_infinity=False, allow_nan=False), st.integers(-9, 9).map(float))


def test_a_reading_is_one_line_of_tags_in_order_present_fields_and_milliseconds(catalog: Catalog) -> None:
    asset = Asset(
        "lamp-0001",
        "streetlight",
        "lamp",
        district="海淀",
        road="Main Street, North",
        cabinet="cab=1",
        street="not a tag",
    )
    found = LineWriter(Registry(catalog, [asset])).lines(lamp_batch(catalog, [0]))
    tags = r"cabinet=cab\=1,device=lamp-0001,district=海淀,road=Main\ Street\,\ North,role=lamp"
    assert [line.decode() for line in found.lines] == [f"streetlight,{tags} power_w=60.0,voltage_v=230.5 {T0}000"]


def test_switches_counts_and_codes_go_as_floats(catalog: Catalog) -> None:
    kind = catalog["pump"]
    values = np.full((len(kind.fields), 1), np.nan)
    for name in ("pumps_on", "running", "mode"):
        values[kind.column(name)] = 1
    line = (
        LineWriter(Registry(catalog, [Asset("stn-1", "pump", "station")]))
        .lines(make_batch(kind, T0, [T0], [0], values))
        .lines[0]
    )
    assert line.decode() == f"pump,device=stn-1,role=station pumps_on=1.0,running=1.0,mode=1.0 {T0}000"


COLUMNS = len(CATALOG["streetlight"].fields)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.lists(numbers, min_size=COLUMNS, max_size=COLUMNS)), min_size=1, max_size=12
    ),
    st.integers(1, COLUMNS),
)
def test_whatever_was_measured_is_read_back_from_its_line(rows: list[tuple[int, list[float]]], width: int) -> None:
    kind = CATALOG["streetlight"]
    table = np.array([values for _, values in rows]).T.copy()
    table[width:] = np.nan
    devices = [device for device, _ in rows]
    batch = make_batch(kind, T0, T0 + np.arange(len(rows)), devices, table)
    registry = registry_of(CATALOG)
    found = LineWriter(registry).lines(batch)
    assert sorted(found.rows.tolist()) == list(range(len(rows)))
    for line, row in zip(found.lines, found.rows.tolist(), strict=True):
        parsed = parse_line(line)
        fields = {k: v for k, v in parsed.fields.items() if k not in ("heard", "suspect")}
        expected = {n: v for n, v in zip(kind.field_names(), table[:, row], strict=True) if not math.isnan(v)}
        assert fields == expected
        assert parsed.fields.get("heard", 0) == (not expected)
        assert parsed.fields.get("suspect", 0) == batch.suspect[:, row].sum()
        assert parsed.tags["device"] == registry.assets[devices[row]].id
        assert parsed.time_us == (T0 + row) * 1000


def test_infinite_values_are_absent_and_flags_stand_beside(catalog: Catalog) -> None:
    kind = catalog["streetlight"]
    values = np.full((len(kind.fields), 4), np.nan)
    values[0] = [math.inf, -math.inf, 5, 6]
    batch = make_batch(kind, T0, [T0] * 4, [0, 1, 2, 3], values)
    batch.marks = np.array([0, 0, MARK_LATE, MARK_FUTURE], np.uint8)
    batch.sent_ms = np.array([T0, T0, T0, T0 + 10**9])
    found = LineWriter(registry_of(catalog)).lines(batch)
    fields = {parse_line(line).tags["device"]: parse_line(line).fields for line in found.lines}
    assert fields == {
        "lamp-0000": {"heard": 1},
        "lamp-0001": {"heard": 1},
        "lamp-0002": {"power_w": 5, "marks": MARK_LATE},
        "lamp-0003": {"power_w": 6, "marks": MARK_FUTURE, "sent_ms": T0 + 10**9},
    }


@settings(max_examples=300)
@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("a,b c=d\\")
@example("\\,")
@example("x\ninj2 v=1 1")
@example('"quoted" %5C 井盖')
def test_any_name_comes_back_and_stays_in_its_place(name: str) -> None:
    wire = escape(name)
    assert not any(mark < " " or mark == "\x7f" for mark in wire)
    kept = wire.replace("\\,", ",").replace("\\ ", " ").replace("\\=", "=")
    assert kept == stored(name)
    assert unescape(kept) == name
    line = own_line(OwnPoint("house", {"name": name, "other": "x"}, {"v": 1.0}, 5))
    assert line is not None
    parsed = parse_line(line)
    assert parsed.tags == ({"name": name, "other": "x"} if name else {"other": "x"})
    assert parsed.fields == {"v": 1.0}


def test_a_point_without_a_number_is_no_line() -> None:
    assert own_line(OwnPoint("house", {}, {"v": math.nan}, 5)) is None
    assert own_line(OwnPoint("house", {}, {"b": 2, "a": 1e-7}, 5)) == b"house a=1e-07,b=2.0 5000"
