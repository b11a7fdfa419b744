"""One physics, two ways: what a world plays in virtual time is what it tells a broker, reading by reading."""

from __future__ import annotations

import numpy as np
import pytest

from devices.batch import Batch
from devices.kinds import Catalog
from devices.payloads import Decoder
from simulators.city import build_city
from simulators.faults import Fault
from simulators.world import World

ZONE = "Asia/Shanghai"
START = 1_781_553_600_000
LENGTH_MS = 2 * 3_600_000
FAULTS = (
    Fault(
        "a", "silent", "lamp_offline", "device:lamp-0003", START + 60_000, START + 40 * 60_000, 0, 1.0, ("lamp-0003",)
    ),
    Fault(
        "b", "cover_open", "cover_open", "device:cover-001", START + 600_000, START + 1_800_000, 0, 60.0, ("cover-001",)
    ),
)


def rows(batches: list[Batch]) -> dict[str, dict[tuple[int, int], np.ndarray]]:
    """Return each kind's readings by device and time."""
    out: dict[str, dict[tuple[int, int], np.ndarray]] = {}
    for batch in batches:
        of = out.setdefault(batch.kind.name, {})
        for k in range(len(batch)):
            of[int(batch.device[k]), int(batch.time_ms[k])] = batch.values[:, k]
    return out


@pytest.fixture
def worlds(catalog: Catalog) -> tuple[World, World]:
    return tuple(World(build_city(7), catalog, ZONE, 7, START, FAULTS) for _ in range(2))  # type: ignore[return-value]


def test_virtual_time_gives_the_readings_that_a_broker_would_hear(worlds: tuple[World, World]) -> None:
    told, played = worlds
    decoder = Decoder(told.registry, "linjiang")
    heard = rows(decoder.decode(told.advance(START + LENGTH_MS), START + LENGTH_MS).batches)
    steps = list(played.steps(START + LENGTH_MS))
    seen = rows([batch for _, batches in steps for batch in batches])
    assert {kind: set(of) for kind, of in heard.items()} == {kind: set(of) for kind, of in seen.items()}
    assert sum(map(len, seen.values())) > 5_000
    for kind, of in heard.items():
        for key, values in of.items():
            np.testing.assert_allclose(seen[kind][key], values, rtol=0, atol=0.1000001, equal_nan=True)
            assert np.count_nonzero(seen[kind][key] != values) <= np.isnan(values).sum() + 3  # a tie in the last digit
    assert [fault.seen_ms for fault in told.truth()] == [fault.seen_ms for fault in played.truth()]
    assert all(fault.seen_ms for fault in played.truth())


def test_steps_come_in_the_order_of_time_and_each_batch_too(worlds: tuple[World, World]) -> None:
    before = START
    for now, batches in worlds[0].steps(START + LENGTH_MS, 60_000):
        assert now == before + 60_000
        for batch in batches:
            assert (np.diff(batch.time_ms) >= 0).all()
            assert before < batch.time_ms.min() <= batch.time_ms.max() <= now
        before = now
