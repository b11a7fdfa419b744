"""What every test may ask for: the shipped catalog, the recorded data, and the rule about skipping."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.kinds import Catalog, load_catalog

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The recorded data beside the checkout; the test is skipped, saying so, where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the recorded data sets (../shared/data) are not here")
    return SHARED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where servers are required (.ci/run), a skipped real-server test is a failure."""
    report = yield
    real = any(item.get_closest_marker(name) for name in ("mosquitto", "influxdb", "browser"))
    if real and report.skipped and os.environ.get("LAMPLIGHTER_REQUIRE_SERVERS") == "1":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped although servers are required: {report.longrepr}"
    return report
