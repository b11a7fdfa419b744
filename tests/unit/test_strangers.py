"""Unknown devices are counted in memory that does not grow with them, and told with where they claim to belong."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import dataclass

import pytest

from devices.kinds import load_catalog
from devices.payloads import Decoder, Reject
from devices.registry import Asset, Registry
from devices.topics import up
from ingest.limiter import Limiter
from ingest.strangers import MANY, PREFIXES, SLOT_MS, Strangers, prefix_of

NOW = 1_790_000_000_000
CATALOG = load_catalog()


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes


def stranger(device: str, kind: str = "streetlight") -> Reject:
    return Reject(up("c", kind, device), b"{}", "unknown_device", "", device, kind, NOW)


def test_distinct_ids_and_their_commonest_beginning_are_told() -> None:
    strangers = Strangers()
    strangers.note([stranger(f"bomb-{n:04d}") for n in range(900)] * 3, NOW)
    strangers.note([stranger(f"pole{n}", "manhole") for n in range(100)], NOW + SLOT_MS)
    found = strangers.report(NOW + SLOT_MS)
    assert found.devices == pytest.approx(1000, rel=0.02)
    assert (found.messages, found.prefix) == (2800, "streetlight/bomb-")
    assert found.share == pytest.approx(2700 / 2800)


def test_what_is_over_an_hour_old_is_forgotten_and_a_clock_set_back_does_no_harm() -> None:
    strangers = Strangers()
    strangers.note([stranger("abc-1")], NOW)
    assert strangers.report(NOW + 11 * SLOT_MS).devices == 1
    assert strangers.report(NOW + 12 * SLOT_MS).devices == 0
    strangers.note([stranger("abc-2")], NOW - 100 * SLOT_MS)
    assert strangers.report(NOW - 100 * SLOT_MS).devices == 1
    assert strangers.report(NOW).devices == 0


def test_other_rejects_are_passed_over_and_impostors_counted_apart() -> None:
    strangers = Strangers()
    strangers.note([stranger("abc-1")._replace(reason=reason) for reason in ("clock", "topic", "identity")], NOW)
    found = strangers.report(NOW)
    assert (found.devices, found.messages, found.impostors) == (0, 0, 1)


def test_the_commonest_beginning_is_found_among_more_of_them_than_are_remembered() -> None:
    strangers = Strangers()
    letters = "abcdefghijklmnopqrstuvwxyz"
    rare = [stranger(f"{a}{b}{c}-1") for a in letters for b in letters[:6] for c in letters[:6]]
    assert len({prefix_of(each) for each in rare}) > 10 * PREFIXES
    common = [stranger(f"zz-{n}") for n in range(len(rare))]
    strangers.note([each for pair in zip(rare, common, strict=True) for each in pair], NOW)
    assert strangers.report(NOW).prefix == "streetlight/zz-"


def test_a_bomb_of_two_hundred_thousand_ids_and_topics_leaves_no_memory_behind_and_is_counted() -> None:
    lamp = Asset("lamp-0001", "streetlight", "lamp", lon=121.4, lat=31.2)
    decoder = Decoder(Registry(CATALOG, [lamp]), "c")
    limiter, strangers = Limiter(decoder, 10, 10_000), Strangers()
    good = Message(up("c", "streetlight", "lamp-0001"), json.dumps({"ts": NOW, "power_w": 80}).encode())
    read = 0

    def burst(start: int, size: int) -> None:
        nonlocal read
        bomb = [Message(up("c", "streetlight", f"bomb-{n:07d}"), b'{"ts":1}') for n in range(start, start + size)]
        strange = [Message(f"lamplighter/v1/c/x{n}/y/up", b"{}") for n in range(start, start + size // 10)]
        decoded = limiter.decode([*bomb, good, *strange], NOW, start / 1000)
        strangers.note(decoded.rejects, NOW)
        read += sum(len(batch) for batch in decoded.batches)

    for start in range(0, 184_000, 4000):
        burst(start, 4000)
    tracemalloc.start()  # the last 16,000 add less than a byte each
    for start in range(184_000, 200_000, 4000):
        burst(start, 4000)
    left, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert left < 16_000, "bytes"
    assert read == 50, "the lamp was heard every time"
    assert strangers.report(NOW).devices == pytest.approx(200_000, rel=0.02)


def test_many_are_told_once_in_five_minutes() -> None:
    strangers = Strangers()
    one = [stranger("abc-1")]
    told = [strangers.note(one, NOW + (SLOT_MS if n >= 500 else 0)) for n in range(1000)]
    assert [n for n, many in enumerate(told) if many] == [MANY - 1, 500 + MANY - 1]
