"""One device that talks without end is held back by its bucket; nobody else notices."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.kinds import load_catalog
from devices.payloads import Decoded, Decoder
from devices.registry import Asset, Registry
from devices.topics import up
from ingest.limiter import FURTHER, TOO_OFTEN, Limiter

NOW = 1_790_000_000_000
CATALOG = load_catalog()
KIND = CATALOG["streetlight"]


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes


def decoder(devices: int) -> Decoder:
    assets = [Asset(f"lamp-{n:04d}", "streetlight", "lamp", lon=121.4, lat=31.2) for n in range(devices)]
    return Decoder(Registry(CATALOG, assets), "c")


def lamp(number: int, at: int = 0, readings: int = 1) -> Message:
    told = [{"ts": NOW + at + n, "power_w": 80} for n in range(readings)]
    return Message(up("c", "streetlight", f"lamp-{number:04d}"), json.dumps(told if readings > 1 else told[0]).encode())


def heard(decoded: Decoded) -> dict[int, int]:
    """Return how many readings of each device got through."""
    rows = np.concatenate([np.zeros(0, int), *(batch.device for batch in decoded.batches)])
    return {int(row): int(n) for row, n in zip(*np.unique(rows, return_counts=True), strict=True)}


def test_who_keeps_to_the_limit_is_never_held_back() -> None:
    limiter = Limiter(decoder(3), per_s=10, burst=5)
    for step in range(1000):
        decoded = limiter.decode([lamp(0, step), lamp(1, step)], NOW, step / 10)
        assert heard(decoded) == {0: 1, 1: 1}
    assert limiter.held_back == 0


def test_a_burst_passes_and_what_comes_beyond_it_is_kept_whole_with_its_reason() -> None:
    limiter = Limiter(decoder(3), per_s=10, burst=5)
    flood = [lamp(0, n) for n in range(8)]
    decoded = limiter.decode([*flood[:4], lamp(1), *flood[4:], lamp(2)], NOW, 100.0)
    assert heard(decoded) == {0: 5, 1: 1, 2: 1}
    assert [(r.reason, r.payload, r.device_id, r.kind) for r in decoded.rejects] == [
        (TOO_OFTEN, message.payload, "lamp-0000", "streetlight") for message in flood[5:]
    ]
    assert decoded.received == {"streetlight": 10}
    assert "10 messages a second" in decoded.rejects[0].detail
    assert limiter.dry == ["lamp-0000"]


def test_a_flood_gets_through_at_its_rate_and_is_forgotten_when_it_has_calmed_down() -> None:
    limiter = Limiter(decoder(2), per_s=10, burst=20)
    through = sum(
        heard(limiter.decode([lamp(0, 50 * s + n) for n in range(50)], NOW, s / 20)).get(0, 0) for s in range(200)
    )
    assert through == pytest.approx(20 + 10 * 10, abs=2)
    assert limiter.held_back == 200 * 50 - through
    limiter.decode([lamp(1)], NOW, 10.5)
    assert limiter.dry == ["lamp-0000"]
    limiter.decode([lamp(1)], NOW, 11.5)
    assert limiter.dry == []
    assert heard(limiter.decode([lamp(0)], NOW, 11.5)) == {0: 1}


def test_a_back_fill_of_many_readings_is_one_message_and_a_little() -> None:
    limiter = Limiter(decoder(2), per_s=1, burst=10)
    back_fill = [lamp(0, 200 * n, readings=11) for n in range(5)]  # two tokens each
    assert heard(limiter.decode(back_fill, NOW, 0.0)) == {0: 55}
    more = limiter.decode([lamp(0, 5000)], NOW, 0.0)
    assert [r.reason for r in more.rejects] == [TOO_OFTEN]
    assert FURTHER == 0.1


def test_nonsense_costs_no_tokens_for_it_never_reaches_the_rules() -> None:
    limiter = Limiter(decoder(1), per_s=1, burst=2)
    nonsense = [Message(up("c", "streetlight", "lamp-0000"), b"{")] * 50
    decoded = limiter.decode([*nonsense, lamp(0)], NOW, 0.0)
    assert heard(decoded) == {0: 1}
    assert {r.reason for r in decoded.rejects} == {"unreadable"}


def test_a_limit_of_nothing_lets_everything_pass() -> None:
    limiter = Limiter(decoder(1), per_s=0, burst=1)
    assert heard(limiter.decode([lamp(0, n) for n in range(500)], NOW, 0.0)) == {0: 500}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 3), st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=30)),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([0.5, 2.0, 10.0]),
    st.integers(1, 12),
)
def test_the_arrays_agree_with_one_bucket_at_a_time(
    groups: list[tuple[float, list[tuple[int, int]]]], per_s: float, burst: int
) -> None:
    limiter = Limiter(decoder(4), per_s, burst)
    tokens, last, now, at = [float(burst)] * 4, [0.0] * 4, 0.0, 0
    for pause, messages in groups:
        now += pause
        sent = []
        wanted: dict[int, int] = {}
        at += 1000
        for device in range(4):
            tokens[device] = min(float(burst), tokens[device] + (now - last[device]) * per_s)
            last[device] = now
        allowed = {device: int(tokens[device] + 1e-6) for device in range(4)}
        costs = dict.fromkeys(range(4), 0.0)
        mine: dict[int, list[int]] = {}
        for device, readings in messages:
            at += readings
            sent.append(lamp(device, at, readings))
            mine.setdefault(device, []).append(readings)
        for device, each in mine.items():
            whole = sum(1 + (n - 1) * FURTHER for n in each)
            # A device that runs dry, or is on the list still, passes as many messages as it has whole tokens.
            held = limiter.decoder.registry.assets[device].id in limiter.dry
            run_dry = whole > tokens[device] + 1e-6
            taken = each[: allowed[device]] if held or run_dry else each
            wanted[device] = sum(taken)
            costs[device] = sum(1 + (n - 1) * FURTHER for n in taken)
            tokens[device] -= costs[device]
        got = heard(limiter.decode(sent, NOW, now))
        assert got == {device: n for device, n in wanted.items() if n}


def test_the_limiter_costs_a_fraction_of_the_decoding() -> None:
    """A thousand devices, one message each; CPU time of the check beside that of decoding, medians over many groups."""
    read = decoder(1000)
    group = [lamp(n) for n in range(1000)]
    limiter = Limiter(read, per_s=10, burst=10_000)
    plain, limited = [], []
    for step in range(40):
        began = time.process_time()
        read.decode(group, NOW)
        middle = time.process_time()
        limiter.decode(group, NOW, float(step))
        limited.append(time.process_time() - middle)
        plain.append(middle - began)
    assert np.median(limited) < 1.5 * np.median(plain)
