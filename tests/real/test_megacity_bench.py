"""The megacity in small: its bench runs whole, and every reading that the broker accepted stands in the store once."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from bench.megacity import run

SMALL = {
    "rate": 800.0,
    "minutes": 0.1,
    "warm": 0.02,
    "scale": 0.002,
    "readings": ["streetlight=10"],
    "connections": 2,
    "faults": 0.02,
    "restarts": 1,
    "seed": 1,
}


@pytest.mark.mosquitto
@pytest.mark.influxdb
def test_a_small_megacity_loses_nothing_and_tells_of_every_cover(tmp_path: Path) -> None:
    rows = run(tmp_path, argparse.Namespace(**SMALL, store="influxdb"))
    found = {row["name"]: row["median"] for row in rows}
    accepted = found["readings accepted by the broker"]
    assert accepted > 3000
    assert found["readings counted in the store"] == found["ledger: stored"] == accepted
    assert found["ledger: received"] == accepted + found["ledger: duplicate"]
    assert found["notices of immediate rules that came"] == found["faults of immediate rules"] > 5
    assert found["alerts that no fault explains"] == 0
    assert found["publish to notice, p50"] > 0
