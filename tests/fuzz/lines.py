"""Any name and any number in line protocol: it comes back as it was, and never begins a tag or a line of its own."""

from __future__ import annotations

import math

import numpy as np

from devices.batch import make_batch
from devices.registry import Asset, Registry
from storage.lines import LineWriter, escape, own_line, parse_line, stored, unescape
from storage.timeseries import OwnPoint
from tests.fuzz.payloads import CATALOG, NOW

KIND = CATALOG["streetlight"]


def check(data: bytes) -> None:
    """Split bytes at their first half: names before, numbers behind."""
    data = bytes(data)
    half = len(data) // 2
    texts = [part.decode("utf-8", "replace") for part in data[:half].split(b"\xff", 3)]
    for text in texts:
        _name(text)
    numbers = np.frombuffer(data[half : half + (len(data) - half) // 8 * 8], "<f8")
    _point(texts, numbers.tolist())
    if len(numbers):
        _readings(texts[0], numbers[: len(KIND.fields) * 4])


def _name(text: str) -> None:
    wire = escape(text)
    assert not any(mark < " " or mark == "\x7f" for mark in wire)
    assert unescape(stored(text)) == text


def _point(texts: list[str], numbers: list[float]) -> None:
    tags = {f"tag{place}{text}": text for place, text in enumerate(texts)}
    fields = {f"f{place}{texts[place % len(texts)]}": number for place, number in enumerate(numbers)}
    line = own_line(OwnPoint("m" + texts[-1], tags, fields, NOW))
    finite = {name: number for name, number in fields.items() if math.isfinite(number)}
    if line is None:
        assert not finite
        return
    assert b"\n" not in line
    parsed = parse_line(line)
    assert parsed.measurement == "m" + texts[-1]
    assert parsed.tags == {name: value for name, value in tags.items() if value}
    assert parsed.fields == finite
    assert parsed.time_us == NOW * 1000


def _readings(road: str, numbers: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    values = np.full((len(KIND.fields), 4), np.nan)
    values.flat[: len(numbers)] = numbers
    registry = Registry(CATALOG, [Asset("lamp-0001", KIND.name, "lamp", road=road)])
    batch = make_batch(KIND, NOW, NOW + np.arange(4), [0] * 4, values)
    found = LineWriter(registry).lines(batch)
    assert sorted(found.rows.tolist()) == [0, 1, 2, 3]
    for line, row in zip(found.lines, found.rows.tolist(), strict=True):
        parsed = parse_line(line)
        assert parsed.tags.get("road", "") == road
        assert parsed.time_us == (NOW + row) * 1000
        held = {name: parsed.fields[name] for name in KIND.field_names() if name in parsed.fields}
        sent = zip(KIND.field_names(), values[:, row].tolist(), strict=True)
        assert held == {name: number for name, number in sent if math.isfinite(number)}
