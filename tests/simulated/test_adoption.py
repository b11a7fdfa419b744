"""A device that nobody registered is kept apart until it is adopted; then its messages are read after all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiomqtt
import pytest

from devices.registry import Asset
from devices.topics import up
from lamplighter.clock import real_clock
from lamplighter.embedded_broker import EmbeddedBroker
from lamplighter.service import running
from lamplighter.settings import Api, Broker, City, Settings
from lamplighter.wiring import House
from storage.ledger import Line
from storage.operations import Operations

KNOWN = Asset("lamp-0001", "streetlight", "lamp", lon=121.4, lat=31.2)
STRANGER = Asset("lamp-0002", "streetlight", "lamp", lon=121.4, lat=31.2)
READINGS = b'[{"ts": 1790000000000, "power_w": 80}, {"ts": 1790000060000, "power_w": 81}]'


def _import(settings: Settings, asset: Asset) -> None:
    operations = Operations(settings.operations_url())
    operations.import_assets([asset])
    operations.close()


async def _line(house: House, wanted: Callable[[Line], bool]) -> Line:
    """Wait for the lamps' line of the ledger; a broker that loses a connection delivers the message more than once."""
    for _ in range(100):
        line = house.ledger().lines.get("streetlight")
        if line is not None and wanted(line):
            assert line.balanced
            return line
        await asyncio.sleep(0.1)
    raise AssertionError(house.ledger())


async def _scene(folder: Path) -> None:
    (folder / "data").mkdir()
    async with EmbeddedBroker(folder / "broker", prefer_mosquitto=False) as broker:
        settings = Settings(
            city=City(id="adopt"), data=folder / "data", broker=Broker(port=broker.port, counts=False), api=Api(port=0)
        )
        _import(settings, KNOWN)
        house = House(settings, real_clock())
        async with running(house):
            await asyncio.wait_for(house.session.ready.wait(), 20)
            async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
                await client.publish(up("adopt", "streetlight", "lamp-0002"), READINGS, qos=1)
            await _line(house, lambda line: line.quarantined > 0)
            kept = house.operations.quarantine_list(10)
            assert {(row.reason, row.payload) for row in kept} == {("unknown_device", READINGS)}
        house.close()

        _import(settings, STRANGER)
        house = House(settings, real_clock())
        async with running(house):
            line = await _line(house, lambda line: line.stored > 0 and not line.quarantined and not line.pending)
            assert (line.stored, line.duplicate) == (2, 2 * (line.replayed - 1))
            assert line.received == 2 * line.replayed
            assert house.operations.quarantine_list(10) == []
            history = house.timeseries.history(
                "streetlight", "lamp-0002", ["power_w"], 1789999999000, 1790000070000, 10
            )
            assert [value for value in history.values["power_w"] if value is not None] == [80, 81]
        house.close()


@pytest.mark.timeout(120)
def test_messages_of_a_stranger_wait_in_quarantine_and_are_read_once_it_is_adopted(tmp_path: Path) -> None:
    asyncio.run(_scene(tmp_path))
