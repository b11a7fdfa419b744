"""The house's own series say when an alert is over, so that no board shows it for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lamplighter.own_series import ended, own_points
from lamplighter.pulse import Pulse
from storage.timeseries import OwnPoint
from tests.small_house import CITY, NIGHT_MS, SmallHouse


class WatchedHouse(SmallHouse):
    """A small house with the few things that own_points asks for beside the API's face."""

    watch = SimpleNamespace(pulse=Pulse())
    settings = SimpleNamespace(city=SimpleNamespace(id=CITY))
    losses = SimpleNamespace(dropped=0)
    gaps = SimpleNamespace(counted=Counter(), estimated=Counter())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[WatchedHouse]:
    built = WatchedHouse(tmp_path)
    yield built
    built.close()


def alerts_of(house: WatchedHouse) -> list[OwnPoint]:
    return [point for point in own_points(cast("Any", house)) if point.measurement == "alert"]


def test_an_open_alert_is_told_with_its_place_and_a_cleared_one_at_the_moment_it_cleared(house: WatchedHouse) -> None:
    house.hear("cover-0001", at_ms=NIGHT_MS, cover_open=True)
    (point,) = alerts_of(house)
    assert point.tags["rule"] == "cover_open"
    assert point.tags["entity"] == "device:cover-0001"
    assert point.fields == {"active": 1.0, "lat": 31.018, "lon": 121.465}
    house.hear("cover-0001", at_ms=NIGHT_MS + 600_000, cover_open=False)
    house.clock_ms += 3_600_000
    (point,) = alerts_of(house)
    assert point.fields["active"] == 0.0
    assert point.time_ms == NIGHT_MS + 600_000
    assert alerts_of(house) == [point], "told again it is the same point"


def test_an_alert_that_is_no_longer_open_gets_a_last_point(house: WatchedHouse) -> None:
    house.hear("cover-0001", at_ms=NIGHT_MS, cover_open=True)
    house.hear("cover-0002", at_ms=NIGHT_MS, cover_open=True)
    before = own_points(cast("Any", house))
    house.hear("cover-0002", at_ms=NIGHT_MS + 60_000, cover_open=False)
    now = own_points(cast("Any", house))
    (last,) = ended(before, now, NIGHT_MS + 61_000)
    assert last.tags["entity"] == "device:cover-0002"
    assert last.fields["active"] == 0.0
    assert ended(now, now, NIGHT_MS + 62_000) == [], "only once"


def test_every_kind_has_its_line_of_the_ledger(house: WatchedHouse) -> None:
    house.hear("cover-0001", at_ms=NIGHT_MS, tilt_deg=1)
    house.hear("cover-0001", topic="lamplighter/v1/linjiang/manhole/nobody/up", at_ms=NIGHT_MS + 1000, tilt_deg=1)
    house.ship()
    lines = {p.tags["kind"]: p.fields for p in own_points(cast("Any", house)) if p.measurement == "ledger"}
    assert lines["manhole"] == {"received": 2, "stored": 1, "quarantined": 1, "duplicate": 0, "pending": 0}
