"""Any payload on any known topic: rows or one reject, the same numbers as another JSON reader sees, whole lines."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import numpy as np

from devices import topics
from devices.batch import pack, unpack
from devices.kinds import load_catalog
from devices.payloads import FUTURE_MS, REASONS, Decoder
from devices.registry import Asset, Registry
from storage.lines import LineWriter, parse_line

NOW = 1_760_000_000_000
CITY = "harbour"
CATALOG = load_catalog()
ASSETS = [Asset(f"{kind.name}-1", kind.name, kind.roles[0], road="North, by=the sea") for kind in CATALOG]
REGISTRY = Registry(CATALOG, ASSETS)
TOPICS = [topics.up(CITY, asset.kind, asset.id) for asset in ASSETS]
DECODER = Decoder(REGISTRY, CITY)
WRITER = LineWriter(REGISTRY)
GOOD = b'{"ts":%d}' % NOW


class Message(NamedTuple):
    topic: str
    payload: bytes


def check(data: bytes) -> None:
    """Decode a payload between two good ones; its first byte chooses the kind."""
    place, payload = (data[0] % len(TOPICS), bytes(data[1:])) if data else (0, b"")
    topic = TOPICS[place]
    decoded = DECODER.decode([Message(topic, GOOD), Message(topic, payload), Message(topic, GOOD)], NOW)
    rows = sum(len(batch) for batch in decoded.batches)
    assert sum(decoded.received.values()) == rows + len(decoded.rejects)
    assert len(decoded.rejects) <= 1
    if decoded.rejects:
        (reject,) = decoded.rejects
        assert rows == 2, "a neighbour was lost"
        assert reject.reason in REASONS
        assert reject.detail
        _apart(reject.reason, reject.detail)
        assert (reject.topic, reject.payload, reject.arrival_ms) == (topic, payload, NOW)
        return
    (batch,) = decoded.batches
    assert batch.device.tolist() == [place] * rows
    assert (batch.time_ms <= NOW + FUTURE_MS).all()
    again = unpack(pack(batch), CATALOG)
    assert np.array_equal(again.values, batch.values, equal_nan=True)
    assert np.array_equal(again.suspect, batch.suspect)
    for line in WRITER.lines(batch).lines:
        parsed = parse_line(line)
        assert parsed.measurement == ASSETS[place].kind
        assert parsed.tags["device"] == ASSETS[place].id
    _same_numbers(payload, batch.kind.field_names(), batch.values[:, 1:-1], batch.sent_ms[1:-1].tolist())


def _apart(reason: str, detail: str) -> None:
    """Take a branch of its own for each kind of refusal: the reader is C, and branches are what guides the search."""
    for word in REASONS:
        if reason == word:
            break
    for words in ("truncated", "trailing", "Expected `int", "Expected `float", "Expected `bool", "Expected `object",
                  "escape", "surrogate", "utf-8", "number", "char", "out of range", "missing", ">=", "<=", "recursion",
                  "$[", "keys", "control"):  # fmt: skip
        if words in detail:
            reason += words


def _same_numbers(payload: bytes, names: tuple[str, ...], values: np.ndarray[Any, Any], sent: list[int]) -> None:
    """Hold what was decoded to Python's own JSON reader, which knows nothing of kinds."""
    found = json.loads(payload.decode("utf-8", "replace"))  # what nobody asked for may be no text
    readings: list[dict[str, Any]] = found if isinstance(found, list) else [found]
    assert len(readings) == values.shape[1]
    for column, reading in enumerate(readings):
        assert sent[column] == reading["ts"]
        for name, held in zip(names, values[:, column].tolist(), strict=True):
            meant = reading.get(name)
            assert math.isnan(held) if meant is None else held == float(meant), (name, meant, held)
