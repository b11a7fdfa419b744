"""A house without a broker: real registry, engine, journal, databases and API over a temporary folder.

Tests hand it MQTT payloads with the time at which they arrive; from there everything is the real way through.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from alerts.budget import Budget
from alerts.engine import Engine
from alerts.policy import Policy, Shelving
from alerts.rules import parse_rules
from api.alerts import tell
from api.app import create_app
from api.house import City, Figure, LightingRate, Part
from api.live import Hub
from devices.kinds import load_catalog
from devices.payloads import Decoder
from devices.registry import Asset, Permit, Road
from devices.sky import Sky
from devices.topics import up
from devices.yamlfile import parse_yaml
from lamplighter.policy_budget import budget_of
from storage.journal import Journal, Record
from storage.ledger import Ledger, read_ledger
from storage.operations import AlertRow, Operations
from storage.outbox import ReceiverLike
from storage.shipper import Shipper
from storage.sqlite import SqliteStore

CITY = "linjiang"
ZONE = "Asia/Shanghai"
CATALOG = load_catalog()
NIGHT_MS = 1_781_553_600_000  # 2026-06-16 04:00 in Shanghai: lamps burn

RULES = """
rules:
  - id: cover_open
    device: manhole
    on: cover_open == 1
    severity: critical
    title: {en: Cover open, zh: 井盖打开}
    message: {en: "{name} is open", zh: "{name} 已打开"}
  - id: door_open
    device: streetlight
    role: cabinet
    on: door_open == 1
    severity: minor
    title: {en: Cabinet door open, zh: 箱门打开}
    message: {en: "{name} stands open", zh: "{name} 箱门打开"}
  - id: well_high
    device: pump
    role: station
    on: level_m > 3
    for: 5m
    severity: major
    title: {en: Level high, zh: 水位过高}
    message: {en: "{name}: {value} m", zh: "{name}:{value} 米"}
"""

ROADS = (
    Road("人民路", ((121.460, 31.020), (121.470, 31.020)), "main"),
    Road("解放街", ((121.465, 31.015), (121.465, 31.025)), "secondary"),
)


def small_assets() -> list[Asset]:
    """Return six lamps, their cabinet, two covers, a pump station and a truck."""
    lamps = [
        Asset(
            f"lamp-{n:04d}",
            "streetlight",
            "lamp",
            f"人民路 {n} 号灯",
            121.460 + n * 0.001,
            31.0201,
            "东区",
            road="人民路",
            cabinet="cabinet-001",
            circuit="1",
            pole_index=n,
            facts={"rated_power_w": 100.0},
        )
        for n in range(1, 7)
    ]
    return [
        *lamps,
        Asset("cabinet-001", "streetlight", "cabinet", "人民路箱变", 121.4630, 31.0203, "东区", road="人民路"),
        Asset("cover-0001", "manhole", "cover", "雨水井 1", 121.4650, 31.0180, "西区", road="解放街"),
        Asset("cover-0002", "manhole", "cover", "雨水井 2", 121.4650, 31.0220, "西区", road="解放街"),
        Asset("station-01", "pump", "station", "解放泵站", 121.4660, 31.0240, "西区", road="解放街"),
        Asset("truck-001", "truck", "truck", "沪A·10001", 121.4700, 31.0200, "东区"),
    ]


@dataclass
class Sent:
    """One MQTT message as the broker would hand it over."""

    topic: str
    payload: bytes


class SmallHouse:
    """What ``api.house.House`` asks for, over real parts in ``folder``."""

    def __init__(
        self,
        folder: Path,
        *,
        assets: Sequence[Asset] | None = None,
        roads: Sequence[Road] = ROADS,
        permits: Sequence[Permit] = (),
        rules: str = RULES,
        token: str | None = None,
        hosts: Sequence[str] = (),
        now_ms: int = NIGHT_MS,
    ) -> None:
        self.version = "0.0.1"
        self.city = City(CITY, "Linjiang", "临江市", ZONE, "zh")
        self.speed = 1.0
        self.token = token
        self.hosts = hosts
        self.clock_ms = now_ms
        self.agreed = Policy(shelving=Shelving(supervisors=("wang",)))
        self.parts = [Part("broker", well=True, says="connected"), Part("disk", well=True, says="12 GB free")]
        self.rates: list[LightingRate] = []
        self.receivers: Sequence[ReceiverLike] = ()  # who is told
        self.hub = Hub()
        self.catalog = CATALOG
        self.operations = Operations(f"sqlite:///{folder / 'operations.db'}")
        self.operations.import_assets(small_assets() if assets is None else assets, roads, permits)
        self.registry = self.operations.load_registry(self.catalog)
        self.rules = parse_rules(parse_yaml(rules, "rules.yaml"), self.catalog, rules)
        self.engine = Engine(self.rules, self.registry, Sky(self.registry, ZONE, self.rules.lighting))
        self.journal = Journal(folder / "journal", self.catalog)
        self.timeseries = SqliteStore(folder / "readings.db", self.catalog)
        self.shipper = Shipper(self.journal, self.timeseries, self.operations, self.registry)
        self.decoder = Decoder(self.registry, CITY)

    def now_ms(self) -> int:
        return self.clock_ms

    def budget(self, length_ms: int) -> Budget:
        return budget_of(self.operations.policy, self.agreed.flood, self.clock_ms, length_ms)

    def profiles(self) -> Sequence[str]:
        return ()

    def ledger(self) -> Ledger:
        return read_ledger(self.journal, self.operations)

    def lighting(self) -> Sequence[LightingRate]:
        return self.rates

    def health(self) -> Sequence[Part]:
        return self.parts

    def figures(self) -> Sequence[Figure]:
        return [Figure("journal_bytes", "Bytes of journal on disk.", {(): self.journal.end - self.journal.start})]

    def hear(
        self, device: str, *, at_ms: int | None = None, topic: str | None = None, **fields: float
    ) -> list[AlertRow]:
        """Take one reading of a device the whole way but for shipping; the clock moves on to ``at_ms``."""
        self.clock_ms = self.clock_ms if at_ms is None else at_ms
        asset = self.registry.assets[self.registry.row[device]] if device in self.registry.row else None
        where = topic or up(CITY, asset.kind if asset else "streetlight", device)
        return self.receive([Sent(where, json.dumps({"ts": self.clock_ms, **fields}).encode())])

    def receive(self, messages: Sequence[Sent]) -> list[AlertRow]:
        """Take messages the whole way but for shipping, and return the alerts that changed."""
        decoded = self.decoder.decode(messages, self.clock_ms)
        self.journal.append(Record(self.clock_ms, decoded.batches, decoded.rejects, decoded.received))
        changes = self.engine.step(decoded.batches, self.clock_ms)
        rows = self.operations.commit(changes, self.receivers, self.clock_ms)
        tell(self.hub, rows, self.registry)
        return rows

    def ship(self) -> None:
        """Bring everything that the journal holds into the databases."""
        self.journal.sync()
        self.shipper.drain()

    def close(self) -> None:
        self.timeseries.close()
        self.journal.close()
        self.operations.close()


def client_of(house: SmallHouse) -> httpx.AsyncClient:
    """A client of the house's API, without a socket in between."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(house)), base_url="http://lamp")
