"""A running house takes up changed rules and new devices; a wrong file changes nothing, a crash in between neither."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.registry import Asset
from storage.operations import Operations
from tests.real.cover_scene import Scene
from tests.real.forked_house import Nursery, eventually
from tests.real.servers import Mosquitto

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(120)]


@pytest.fixture
def scene(tmp_path: Path, mosquitto: Mosquitto, nursery: Nursery) -> Iterator[Scene]:
    conditions = {"warm": "temperature_c > 40; for: 1h", "slow": "tilt_deg > 10; for: 6s"}
    with_house = Scene(tmp_path, mosquitto, nursery, "reload", open_cover="cover_open == 1", **conditions)
    try:
        with_house.start()
        yield with_house
    finally:
        with_house.close()


def test_a_reload_keeps_what_is_the_same_clears_what_is_gone_and_refuses_what_is_wrong(scene: Scene) -> None:
    scene.hear("cover-0", cover_open=True)
    scene.hear("cover-1", temperature_c=50.0)
    scene.hear("cover-2", tilt_deg=20.0)
    eventually(lambda: scene.open() == {("open_cover", "cover-0"): "active"})
    eventually(lambda: scene.pending() == {"warm", "slow"})

    # Wrong files, by API, by signal and by command: the old set stays, and where the mistake is can be read.
    scene.write(open_cover="cover_open == 1", warm="temprature_c > 40")
    status, told = scene.ask()
    assert status == 422
    assert f"{scene.rules}:" in told["detail"]
    assert "temprature_c" in told["detail"]
    assert "temperature_c" in told["detail"], "the known names are told"
    part = scene.health("rules")
    assert not part["well"]
    assert f"{scene.rules}:" in part["says"]
    scene.rules.write_text("rules: [", encoding="utf-8")
    os.kill(scene.house.pid, signal.SIGHUP)
    eventually(lambda: "not YAML" in scene.health("rules")["says"])
    scene.rules.write_text("rules:\n" + "- {}\n" * 1_000_000, encoding="utf-8")
    status, told = scene.ask()
    assert status == 422
    assert "at most" in told["detail"]
    with pytest.raises(AssertionError, match="at most"):
        scene.house.command("reload")
    assert scene.house.log.count("reload refused") == 4
    assert scene.pending() == {"warm", "slow"}
    scene.hear("cover-3", cover_open=True)
    eventually(lambda: scene.open() == {("open_cover", "cover-0"): "active", ("open_cover", "cover-3"): "active"})

    # A right one: 'warm' has kept its waiting, 'open_cover' its alerts, 'slow' is gone and 'level' is new.
    scene.write(open_cover="cover_open == 1", warm="temperature_c > 40; for: 1h", level="water_level_m > 1; keep: 10m")
    assert "3 rules judge 4 devices" in scene.house.command("reload")
    assert scene.health("rules")["well"]
    assert scene.pending() == {"warm"}
    scene.hear("cover-1", water_level_m=2.0)
    eventually(lambda: ("level", "cover-1") in scene.open())
    assert scene.open()["open_cover", "cover-0"] == "active"

    # Without the rule its alerts are cleared.
    scene.write(warm="temperature_c > 40; for: 1h", level="water_level_m > 1; keep: 10m")
    assert scene.ask()[1]["changes"] == ["open_cover: gone, its open alerts are cleared"]
    eventually(lambda: scene.open()["open_cover", "cover-0"] == "cleared")
    assert scene.ask() == (200, {"says": "nothing has changed", "changes": []})
    assert scene.pending() == {"warm"}
    line = scene.house.settled("manhole", scene.count, 20)
    assert (line["stored"], line["duplicate"]) == (scene.count, 0)


def test_a_lamp_that_was_imported_is_heard_after_a_reload_and_its_messages_leave_quarantine(scene: Scene) -> None:
    scene.hear("cover-0", cover_open=True)
    scene.hear("cover-9", cover_open=True)
    eventually(lambda: scene.house.line("manhole").get("quarantined") == 1)
    operations = Operations(scene.house.operations_url)
    operations.import_assets([Asset("cover-9", "manhole", "cover", lon=120.1, lat=30.2)])
    operations.close()
    os.kill(scene.house.pid, signal.SIGHUP)
    eventually(lambda: ("open_cover", "cover-9") in scene.open())
    assert scene.health("rules")["says"] == "3 rules judge 5 devices"
    scene.hear("cover-9", tilt_deg=30.0)
    eventually(lambda: "slow" in scene.pending())
    eventually(lambda: scene.house.stored("manhole") == 3)
    assert len(json.loads(scene.house.get("/api/map"))["id"]) == 5
    # A kill directly after: the next start has the new device, its reading and its alert, told once.
    scene.house.kill(signal.SIGKILL)
    scene.house.start()
    scene.house.connected()
    scene.house.settled("manhole", 3, 20)
    assert scene.house.stored("manhole") == 3
    assert sorted(scene.open()) == [("open_cover", "cover-0"), ("open_cover", "cover-9")]


@pytest.mark.parametrize("point", ["snapshot.before", "snapshot.after"])
def test_a_kill_during_a_reload_leaves_one_set_of_rules_and_every_alert(scene: Scene, point: str) -> None:
    scene.hear("cover-0", cover_open=True)
    scene.hear("cover-1", temperature_c=50.0)
    eventually(lambda: scene.pending() == {"warm"})
    scene.write(open_cover="cover_open == 1; for: 0s", warm="temperature_c > 40; for: 1h", cold="temperature_c < 60")
    scene.house.arm(f"{point}:1")
    scene.hear("cover-2", cover_open=True)  # from now on the next snapshot kills
    os.kill(scene.house.pid, signal.SIGHUP)
    scene.house.killed()
    scene.house.start()
    scene.house.connected()
    eventually(lambda: scene.pending() == {"warm"})
    scene.hear("cover-1", temperature_c=51.0)
    eventually(lambda: ("cold", "cover-1") in scene.open())
    assert {name for rule, name in scene.open() if rule == "open_cover"} == {"cover-0", "cover-2"}
    scene.house.settled("manhole", scene.count, 20)
