"""No receiver gets more than its service allows: what is over waits, in order; and places are shown where they are."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alerts import delivery
from alerts.delivery import DeliveryError, Receiver
from alerts.maps import gcj02, map_link
from alerts.notify import Notifier
from devices.transition import ACTIVE, Transition
from devices.yamlfile import ConfigError
from lamplighter.__main__ import app
from lamplighter.settings import load_settings
from lamplighter.wiring import receivers_of

pytestmark = pytest.mark.anyio


@dataclass
class Row:
    id: int
    receiver: str
    created_ms: int = 0
    attempts: int = 0

    @property
    def transition(self) -> Transition:
        return Transition(f"a{self.id}", "r", "device:d", ACTIVE, 1, 1, "major", {"en": str(self.id)})


@dataclass
class Box:
    """An outbox in memory."""

    rows: list[Row]
    told: list[int] = field(default_factory=list)

    def outbox_due(self, now_ms: int, limit: int = 100, without: Collection[str] = ()) -> list[Row]:
        return [row for row in self.rows if row.id not in self.told and row.receiver not in without][:limit]

    def outbox_sent(self, number: int, now_ms: int) -> None:
        self.told.append(number)

    def outbox_failed(self, number: int, now_ms: int, retry_at_ms: int | None, error: str, pass_to: str = "") -> None:
        raise AssertionError(error)


async def test_what_is_over_the_limit_waits_in_the_outbox_and_holds_up_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[tuple[str, str]] = []
    monkeypatch.setattr(delivery, "send", lambda who, what, _now_ms: order.append((who.name, what.message["en"])))
    wecom = Receiver("wecom", "wecom+https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=k")
    quick = Receiver("quick", "jsons://duty.example/")
    box = Box([Row(number, "wecom") for number in range(30)] + [Row(100 + number, "quick") for number in range(30)])
    notifier = Notifier(box, [wecom, quick])
    loop = asyncio.get_running_loop()
    began, real = loop.time(), loop.time
    for _ in range(3):
        await notifier.deliver_due(0)
        await notifier.drain()
    assert real() - began < 50, "the machine is too slow for this test to mean anything"
    assert sum(who == "quick" for who, _ in order) == 30
    assert sorted(int(text) for who, text in order if who == "wecom") == list(range(20)), "the first twenty, no more"
    monkeypatch.setattr(loop, "time", lambda: real() + 61)
    for _ in range(3):
        await notifier.deliver_due(0)
        await notifier.drain()
    assert sorted(int(text) for who, text in order if who == "wecom") == list(range(30)), (
        "and the others a minute later"
    )


def test_limits_are_those_of_the_service_unless_the_settings_are_stricter() -> None:
    feishu, wecom = "feishu+https://open.feishu.cn/hook/x", "wecom+https://qyapi.weixin.qq.com/send?key=k"
    assert [most for most, _ in Receiver("a", feishu).limits] == [100, 5]
    assert Receiver("a", feishu, per_minute=7).limits[0] == (7, 60.0)
    assert [most for most, _ in Receiver("a", feishu, per_minute=7).limits] == [7, 5]
    assert [most for most, _ in Receiver("a", wecom).limits] == [20]
    assert Receiver("a", "jsons://duty.example/").limits == ()
    assert Receiver("a", "jsons://duty.example/", per_minute=3).limits == ((3, 60.0),)


@pytest.mark.parametrize(
    ("wgs", "expected"),
    [
        ((116.404, 39.915), (116.41024449916938, 39.91640428150164)),  # as the tests of wandergis/coordtransform say
        ((116.391275, 39.906217), (116.39751600497861, 39.907618208170675)),
        ((121.0917077, 30.6107779), (121.09626935575027, 30.608604331756705)),
    ],
)
def test_chinese_maps_count_some_hundred_metres_aside(wgs: tuple[float, float], expected: tuple[float, float]) -> None:
    assert gcj02(*wgs) == pytest.approx(expected, abs=1e-7)


def test_outside_china_all_maps_agree() -> None:
    assert gcj02(2.2945, 48.8584) == (2.2945, 48.8584)


def test_a_map_is_one_of_ours_or_an_address_of_its_own() -> None:
    assert map_link("none", 1.0, 2.0) == map_link("osm", float("nan"), 2.0) == ""
    assert map_link("https://gis.example/?x={lon}&y={lat}", 1.0, 2.0) == "https://gis.example/?x=1.000000&y=2.000000"
    shown = map_link("amap", 121.0917077, 30.6107779)
    assert shown.startswith("https://uri.amap.com/marker?position=121.096269,30.608604&coordinate=gaode")


@pytest.mark.parametrize(
    "choice",
    ["google", "javascript:{lat}", "https://x/{lat", "https://x/", "https://x/{lat.real}", "https://x/{lat}) [a](b"],
)
def test_a_wrong_map_is_refused_at_the_start(choice: str) -> None:
    with pytest.raises(ConfigError, match=r"notify\.crew\.map: .*expected osm, amap, none"):
        Receiver("crew", "log", map=choice).check()


def test_settings_reach_the_receivers(tmp_path: Path) -> None:
    path = tmp_path / "lamplighter.yaml"
    path.write_text(
        "api: {public_url: https://lamps.city.example/}\n"
        "notify:\n  - {name: crew, url: log, map: amap, per_minute: 5}\n",
        encoding="utf-8",
    )
    (crew,) = receivers_of(load_settings(path))
    assert (crew.map, crew.per_minute, crew.console) == ("amap", 5, "https://lamps.city.example/")
    path.write_text("api: {public_url: 'https://x/) [a](http://evil'}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="public_url"):
        load_settings(path)


def test_a_test_notice_is_marked_and_what_came_back_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lamplighter.yaml"
    path.write_text(
        "notify:\n"
        "  - {name: crew, url: 'jsons://duty.example/', fallback: chief}\n"
        "  - {name: chief, url: 'jsons://chief.example/', language: en}\n"
        "  - {name: away, url: 'jsons://away.example/', language: en}\n",
        encoding="utf-8",
    )
    told: dict[str, Transition] = {}

    def send(who: Receiver, what: Transition, now_ms: int) -> None:
        told[who.name] = what
        if who.name != "chief":
            raise DeliveryError("it says no", final=who.name == "crew")

    monkeypatch.setattr(delivery, "send", send)
    ran = CliRunner().invoke(app, ["notify", "test", "-c", str(path)])
    lines = ran.output.splitlines()
    assert ran.exit_code == 1
    assert lines[0] == "crew: not delivered for good, a real notice would be passed on to 'chief': it says no"
    assert lines[1].startswith("chief: delivered in ")
    assert lines[2] == "away: not delivered, a real notice would be tried again: it says no"
    assert told["crew"].message["zh"].startswith("这是一条测试通知")
    assert CliRunner().invoke(app, ["notify", "test", "chief", "-c", str(path)]).exit_code == 0
    ran = CliRunner().invoke(app, ["notify", "test", "nobody", "-c", str(path)])
    assert isinstance(ran.exception, ConfigError)
    assert "no receiver 'nobody' (crew, chief, away)" in str(ran.exception)
