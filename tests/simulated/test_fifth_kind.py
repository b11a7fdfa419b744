"""A fifth kind of facility is one declaration and its rules: nothing else is touched, and every room knows it.

The whole house runs here on what pip provides: the embedded broker, SQLite, the API.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from dashboards.build import build_all
from dashboards.fields import fields_page
from devices.kinds import load_catalog
from devices.registry import Asset
from devices.topics import up
from lamplighter.clock import real_clock
from lamplighter.embedded_broker import EmbeddedBroker
from lamplighter.service import running
from lamplighter.settings import Api, Broker, City, Settings
from lamplighter.wiring import House
from storage.operations import Operations

KIND = """\
kind: water_gauge
en: Water-level gauge
zh: 水位计
roles: {gauge: 300}
fields:
  level_m: {unit: m, range: [-2, 30], en: Level, zh: 水位}
facts:
  warning_level_m: {unit: m, range: [-2, 30], en: Warning level, zh: 警戒水位}
"""
RULES = """\
rules:
  - id: river_high
    kind: expression
    device: water_gauge
    severity: critical
    on: level_m > warning_level_m
    off: level_m < warning_level_m - 0.1
    title: {en: River high, zh: 河道高水位}
    message:
      en: "{place} {name}: level {level_m} m above {threshold} m since {since}"
      zh: "{place} {name}：水位 {level_m} 米，超过 {threshold} 米，{since} 起"
"""
GAUGE = Asset("gauge-01", "water_gauge", "gauge", "East bridge", 121.4, 31.2, "Xingang", facts={"warning_level_m": 3.5})


def _house(folder: Path, port: int) -> House:
    (folder / "water_gauge.yaml").write_text(KIND, encoding="utf-8")
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    (folder / "data").mkdir()
    settings = Settings(
        city=City(id="fifth"),
        data=folder / "data",
        rules=folder / "rules.yaml",
        kinds=(folder / "water_gauge.yaml",),
        broker=Broker(port=port, counts=False),
        api=Api(port=0),
    )
    operations = Operations(settings.operations_url())
    operations.import_assets([GAUGE])
    operations.close()
    return House(settings, real_clock())


def _get(port: int, path: str) -> Any:  # noqa: ANN401 - any JSON
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return json.load(answer)


async def _tell(port: int, level_m: float, ts_ms: int) -> None:
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        payload = json.dumps({"ts": ts_ms, "level_m": level_m})
        await client.publish(up("fifth", "water_gauge", "gauge-01"), payload, qos=1)


async def _until(port: int, state: str) -> Mapping[str, Any]:
    for _ in range(100):
        found = (await asyncio.to_thread(_get, port, f"/api/alerts?state={state}"))["alerts"]
        if found:
            first: Mapping[str, Any] = found[0]
            return first
        await asyncio.sleep(0.1)
    raise AssertionError(f"no alert is {state}")


async def _scene(folder: Path) -> None:
    async with EmbeddedBroker(folder / "broker", prefer_mosquitto=False) as broker:
        house = _house(folder, broker.port)
        try:
            async with running(house) as port:
                await asyncio.wait_for(house.session.ready.wait(), 20)
                now_ms = time.time_ns() // 1_000_000
                await _tell(broker.port, 3.9, now_ms - 2000)
                alert = await _until(port, "active")
                assert alert["rule"] == "river_high"
                assert "East bridge" in alert["message"]["en"]
                assert "3.9" in alert["message"]["zh"]
                await _tell(broker.port, 3.0, now_ms - 1000)
                assert (await _until(port, "cleared"))["id"] == alert["id"]
                for _ in range(100):
                    if house.ledger().lines["water_gauge"].stored == 2:
                        break
                    await asyncio.sleep(0.1)
                line = house.ledger().lines["water_gauge"]
                assert (line.received, line.stored, line.pending) == (2, 2, 0)
                asked = f"/api/assets/gauge-01/history?fields=level_m&from={now_ms - 10_000}&until={now_ms + 10_000}"
                history = await asyncio.to_thread(_get, port, asked)
                assert [value for value in history["values"]["level_m"] if value is not None] == [3.9, 3.0]
                kinds = (await asyncio.to_thread(_get, port, "/api/city"))["kinds"]
                assert "water_gauge" in [kind["name"] for kind in kinds]
        finally:
            house.close()


@pytest.mark.timeout(120)
def test_a_declaration_and_a_rule_carry_a_fifth_kind_the_whole_way(tmp_path: Path) -> None:
    asyncio.run(_scene(tmp_path))


def test_a_fifth_kind_gets_its_board_and_its_page_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "water_gauge.yaml"
    path.write_text(KIND, encoding="utf-8")
    catalog = load_catalog(path)
    boards = build_all(catalog, tmp_path / "boards", "zh")
    assert any("water_gauge" in board.name for board in boards)
    assert "warning_level_m" in fields_page(catalog)
