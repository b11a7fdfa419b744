"""What an alert has waited survives a kill, to the second; late readings do not open it again nor rewrite it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devices.transition import alert_id
from tests.real.cover_scene import Scene
from tests.real.forked_house import Nursery, eventually
from tests.real.servers import Mosquitto

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]


@pytest.fixture
def scene(tmp_path: Path, mosquitto: Mosquitto, nursery: Nursery) -> Iterator[Scene]:
    with_house = Scene(tmp_path, mosquitto, nursery, "pending", warm="temperature_c > 40; for: 5m")
    try:
        with_house.start()
        yield with_house
    finally:
        with_house.close()


def alerts(scene: Scene) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(scene.house.get("/api/alerts"))["alerts"]
    return found


@pytest.mark.parametrize("with_snapshot", [True, False], ids=["snapshot", "journal"])
def test_killed_at_four_minutes_fifty_it_tells_at_five_and_late_readings_change_nothing(
    scene: Scene, *, with_snapshot: bool
) -> None:
    begun_ms = time.time_ns() // 1_000_000 - 1_200_000

    def hear(second: int, temperature_c: float) -> None:
        scene.hear("cover-0", at_ms=begun_ms + second * 1000, temperature_c=temperature_c)
        scene.house.settled("manhole", scene.count, 20)

    for second in (0, 60, 120, 180, 240, 290):
        hear(second, 50.0)
    if with_snapshot:  # else the next life judges the journal again
        snapshots = scene.house.folder / "data" / "snapshots"
        before = {path.name for path in snapshots.glob("*.snap")}
        eventually(lambda: {path.name for path in snapshots.glob("*.snap")} - before)
    scene.house.kill(signal.SIGKILL)
    scene.start()
    assert scene.pending() == {"warm"}
    assert alerts(scene) == [], "no instant fire"
    hear(299, 50.0)
    assert alerts(scene) == []
    hear(301, 50.0)
    eventually(lambda: len(alerts(scene)) == 1)
    (one,) = alerts(scene)
    assert (one["state"], one["onset_ms"]) == ("active", begun_ms), "no reset"
    assert one["id"] == alert_id("warm", "device:cover-0", begun_ms)

    hear(400, 20.0)
    eventually(lambda: alerts(scene)[0]["state"] == "cleared")
    (cleared,) = alerts(scene)
    for second in (310, 320, 390):  # a concentrator fills a gap, after the end and across another kill
        hear(second, 60.0)
    scene.house.kill(signal.SIGKILL)
    scene.start()
    for second in (330, 380):
        hear(second, 60.0)
    time.sleep(0.3)
    assert alerts(scene) == [cleared], "neither opened again nor rewritten"
    assert scene.pending() == set()
    points = json.loads(scene.house.get(f"/api/assets/cover-0/history?fields=temperature_c&from={begun_ms}"))
    known = [value for value in points["values"]["temperature_c"] if value is not None]
    assert known.count(60.0) == 5, "but kept: the history is whole"
    hear(500, 50.0)
    hear(560, 50.0)
    hear(620, 50.0)
    hear(680, 50.0)
    hear(740, 50.0)
    hear(801, 50.0)
    eventually(lambda: len(alerts(scene)) == 2)
    assert alerts(scene)[0]["onset_ms"] == begun_ms + 500_000, "the next one counts from its own beginning"
