"""Any topic: the address of exactly one device of ours, or none; and never a device that nobody registered."""

from __future__ import annotations

from devices import topics
from storage.lines import escape
from tests.fuzz.payloads import CITY, DECODER, GOOD, NOW, REGISTRY, Message

ID_MARKS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")


def check(data: bytes) -> None:
    """Read bytes as a topic, as the session hands it over where they are not UTF-8."""
    topic = bytes(data).decode("utf-8", "backslashreplace")
    found = topics.parse(topic)
    decoded = DECODER.decode([Message(topic, GOOD)], NOW)
    assert sum(decoded.received.values()) == 1
    if found is None:
        (reject,) = decoded.rejects
        assert (reject.topic, reject.reason, reject.device_id, reject.kind) == (topic, "topic", "", "")
        return
    assert topics.up(*found) == topic, "an address that is not this topic's"
    assert set(found.device_id) <= ID_MARKS
    assert 3 <= len(found.device_id) <= 64
    assert escape(found.device_id) == found.device_id
    row = REGISTRY.row.get(found.device_id)
    ours = found.city == CITY and row is not None and REGISTRY.assets[row].kind == found.kind
    if not ours:
        (reject,) = decoded.rejects
        assert reject.reason in ("topic", "kind", "unknown_device")
        return
    assert not decoded.rejects
    assert decoded.batches[0].device.tolist() == [row]
