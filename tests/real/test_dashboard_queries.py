"""Every query of every board finds rows in a real InfluxDB that holds an hour and more of a city."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from alerts.rules import load_rules
from api.house import LightingRate
from dashboards.build import house_board, kind_board
from dashboards.influxql import duration_ms, expand, interval_ms
from dashboards.provisioning import alarms
from dashboards.words import LANGUAGES, Words
from devices.kinds import Catalog
from lamplighter.own_series import ended, own_points
from lamplighter.pulse import Pulse
from lamplighter.settings import Receiver
from lamplighter.wiring import lighting_figures
from simulators import city as simulated
from simulators.faults import Fault
from simulators.world import DEMO, World
from storage.influx import InfluxStore
from storage.shipper import Shipper
from storage.timeseries import OwnPoint
from tests.real.influxdb_server import InfluxDatabase, QueryError
from tests.real.servers import Influx
from tests.shipped_rules import one_text
from tests.small_house import Sent, SmallHouse

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
ZONE = "Asia/Shanghai"
START_MS = 1_781_542_800_000  # 2026-06-16 01:00 in Shanghai: lamps burn
SPAN_MS = 2 * 3_600_000
STEP_MS = 60_000
# What the simulated city has no names for; "All" still includes such devices.
NOWHERE = {("lamplighter-pump", "road"), ("lamplighter-truck", "district")}
UNSENT_MAX = 12  # of about 80: fields that no simulated device sends


class Town(SmallHouse):
    """A small city's house whose readings and own series go to a real InfluxDB."""

    def __init__(self, folder: Path, database: InfluxDatabase, world: World, city: simulated.City) -> None:
        rules = one_text()
        super().__init__(
            folder, assets=city.assets, roads=city.roads, permits=city.permits, rules=rules, now_ms=START_MS
        )
        self.timeseries.close()
        self.database = database
        self.influx = InfluxStore(database.url, database.token, "lamplighter", database.bucket, self.catalog)
        self.shipper = Shipper(self.journal, self.influx, self.operations, self.registry)
        self.world = world
        self.watch = SimpleNamespace(pulse=Pulse())
        self.losses = SimpleNamespace(dropped=0)
        self.gaps = SimpleNamespace(counted=Counter(), estimated=Counter())
        self.settings = SimpleNamespace(city=SimpleNamespace(id=city.name))
        self.receivers = (Receiver(name="crew", url="log", min_severity="info"),)

    def lighting(self) -> list[LightingRate]:
        figures = lighting_figures(self.engine, self.clock_ms)
        return [LightingRate(**figure, time_ms=self.clock_ms) for figure in figures]  # type: ignore[arg-type]

    def live_through(self, span_ms: int) -> None:
        """Let the city live and report, each minute the whole way, own series included."""
        shown: list[OwnPoint] = []
        for _ in range(span_ms // STEP_MS):
            self.clock_ms += STEP_MS
            self.receive([Sent(m.topic, m.payload) for m in self.world.advance(self.clock_ms)])
            if self.clock_ms // STEP_MS % 5 == 0:
                self.ship()
                points = own_points(cast("Any", self))
                self.influx.write_own([*points, *ended(shown, points, self.clock_ms)])
                shown = points

    def send_the_rest(self) -> int:
        """Write one reading of every field that no simulated device sends, and return how many those are."""
        unsent = 0
        for kind in self.catalog:
            for role, declared in [(r, f) for r in kind.roles for f in kind.fields if not f.roles or r in f.roles]:
                asked = f"SELECT count(\"{declared.name}\") FROM {kind.name} WHERE role = '{role}'"
                if not self.database.query(asked):
                    asset = self.registry.assets[self.registry.rows_of(kind.name, role)[0]]
                    places = {"district": asset.district, "road": asset.road, "cabinet": asset.cabinet}
                    tags = {"device": asset.id, "role": role, **places}
                    point = OwnPoint(kind.name, tags, {declared.name: declared.low}, self.clock_ms - STEP_MS)
                    self.influx.write_own([point])
                    unsent += 1
        return unsent


@dataclass(frozen=True)
class Filled:
    """A database with a city in it, the range that a board would show, and the house that wrote it."""

    database: InfluxDatabase
    from_ms: int
    until_ms: int
    town: Town


def faults_of(city: simulated.City) -> list[Fault]:
    """Return one lasting fault of every kind of facility, and one that is mended."""

    def first(kind: str, role: str) -> str:
        return next(asset.id for asset in city.assets if (asset.kind, asset.role) == (kind, role))

    broken = [
        ("door_open", first("streetlight", "cabinet"), SPAN_MS),
        ("cover_open", first("manhole", "cover"), SPAN_MS),
        ("mains_lost", first("pump", "station"), SPAN_MS),
        ("pump_fault", first("pump", "pump"), SPAN_MS // 2),
        ("silent", first("truck", "truck"), SPAN_MS),
    ]
    return [
        Fault(
            f"f{n}",
            kind,
            "",
            f"device:{device}",
            START_MS + 600_000,
            START_MS + lasting,
            START_MS + SPAN_MS,
            60.0,
            (device,),
        )
        for n, (kind, device, lasting) in enumerate(broken)
    ]


@pytest.fixture(scope="module")
def filled(influx_server: Influx, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    city = simulated.build_city(7, lamps=80, covers=20, stations=2, trucks=6)
    world = World(city, catalog, ZONE, 7, START_MS, faults_of(city), intervals=DEMO)
    database = influx_server.database()
    town = Town(tmp_path_factory.mktemp("town"), database, world, city)
    town.live_through(SPAN_MS)
    assert town.send_the_rest() <= UNSENT_MAX
    assert not town.ledger().lines["manhole"].pending
    yield Filled(database, START_MS, START_MS + SPAN_MS, town)
    town.close()
    database.drop()


def boards_of(catalog: Catalog, language: str) -> dict[str, Json]:
    words, rules = Words(language), load_rules(ROOT / "config" / "rules.yaml", catalog)
    return {**{kind.name: kind_board(kind, words, rules) for kind in catalog}, "house": house_board(words)}


def panels_of(board: Json) -> Iterator[Json]:
    """Yield all panels that ask something, those of folded rows among them."""
    for panel in board["panels"]:
        yield from (inner for inner in [panel, *panel.get("panels", [])] if inner.get("targets"))


def asked(filled: Filled, panel: Json, query: str, variables: dict[str, list[str] | str]) -> list[Json]:
    """Run a panel's query as Grafana would, naming the panel where InfluxDB refuses it."""
    step = interval_ms(filled.from_ms, filled.until_ms, panel["maxDataPoints"], duration_ms(panel["interval"]))
    text = expand(query, filled.from_ms, filled.until_ms, step, variables)
    try:
        return filled.database.query(text)
    except QueryError as refused:
        raise AssertionError(f"{panel['title']}: {refused}\n{text}") from refused


def chosen(filled: Filled, board: Json) -> tuple[dict[str, list[str] | str], list[str]]:
    """Run the board's variables in order and choose "All" and the defaults; return the choice and all devices."""
    values: dict[str, list[str] | str] = {}
    devices: list[str] = []
    for variable in board["templating"]["list"]:
        name = variable["name"]
        if variable["type"] in ("textbox", "custom"):
            values[name] = variable["current"]["value"]
        else:
            text = expand(variable["query"], filled.from_ms, filled.until_ms, 60_000, values)
            found = [str(row["value"]) for row in filled.database.query(text)]
            assert found or (board["uid"], name) in NOWHERE, f"{board['title']}: no values for ${name}: {text}"
            values[name] = variable["allValue"] if variable["includeAll"] else found[0]
            devices = found if name == "device" else devices
    return values, devices


@pytest.mark.influxdb
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_query_of_every_panel_finds_rows(filled: Filled, catalog: Catalog, language: str) -> None:
    ran = 0
    for name, board in boards_of(catalog, language).items():
        values, devices = chosen(filled, board)
        for panel in panels_of(board):
            for target in panel["targets"]:
                choices = devices if "${device}" in target["query"] else [""]
                rows = [asked(filled, panel, target["query"], {**values, "device": one}) for one in choices]
                assert any(rows), f"{name}: {panel['title']} shows nothing: {target['query']}"
                ran += len(rows)
    assert ran > 150


@pytest.mark.influxdb
def test_all_includes_devices_without_a_district_or_road(filled: Filled, catalog: Catalog) -> None:
    tags = {"device": "lonely", "role": "cover"}
    filled.town.influx.write_own([OwnPoint("manhole", tags, {"tilt_deg": 1.0}, filled.from_ms + 1000)])
    _, devices = chosen(filled, kind_board(catalog["manhole"], Words("en")))
    assert "lonely" in devices
    assert len(devices) == 21


@pytest.mark.influxdb
def test_a_chosen_district_narrows_what_is_shown(filled: Filled, catalog: Catalog) -> None:
    board = kind_board(catalog["manhole"], Words("en"))
    values, _ = chosen(filled, board)
    panel = next(
        p
        for p in panels_of(board)
        if '("water_level_m")' in p["targets"][0]["query"] and "district" in p["targets"][0]["alias"]
    )
    query = panel["targets"][0]["query"]
    districts = {row["district"] for row in asked(filled, panel, query, values)}
    assert len(districts) >= 2
    for district in districts - {""}:
        rows = asked(filled, panel, query, {**values, "district": [district]})
        assert {row["district"] for row in rows} == {district}


@pytest.mark.influxdb
def test_a_chosen_station_shows_itself_and_what_it_holds(filled: Filled, catalog: Catalog) -> None:
    board = kind_board(catalog["pump"], Words("en"))
    values, devices = chosen(filled, board)
    registry = filled.town.registry
    station = next(asset.id for asset in registry.assets if (asset.kind, asset.role) == ("pump", "station"))
    variable = next(v for v in board["templating"]["list"] if v["name"] == "device")
    query = expand(variable["query"], filled.from_ms, filled.until_ms, 60_000, {**values, "cabinet": [station]})
    found = {str(row["value"]) for row in filled.database.query(query)}
    held = {asset.id for asset in registry.assets if asset.cabinet == station}
    assert len(found) > 1
    assert found == ({station} | held) & set(devices)


def figure(filled: Filled, board: Json, title: str) -> float:
    values, _ = chosen(filled, board)
    panel = next(p for p in panels_of(board) if p["title"] == title and p["type"] == "stat")
    rows = asked(filled, panel, panel["targets"][0]["query"], values)
    return float(rows[-1][title])


@pytest.mark.influxdb
def test_the_figures_are_those_of_the_ledger(filled: Filled) -> None:
    board, ledger = house_board(Words("en")), filled.town.ledger()
    assert ledger.balance()
    assert figure(filled, board, "Ledger imbalance (must be 0)") == 0
    assert figure(filled, board, "Pending") == sum(line.pending for line in ledger.lines.values())
    panel = next(p for p in panels_of(board) if p["type"] == "table")
    rows = {row["kind"]: row for row in asked(filled, panel, panel["targets"][0]["query"], {})}
    for kind, line in ledger.lines.items():
        assert (rows[kind]["received"], rows[kind]["stored"]) == (line.received, line.stored), kind
    assert min(row["received"] for kind, row in rows.items() if kind != "unknown") > 100


@pytest.mark.influxdb
def test_the_boards_show_exactly_the_alerts_that_are_open(filled: Filled, catalog: Catalog) -> None:
    cleared = filled.town.operations.alerts(state="cleared")
    assert cleared, "the mended pump has an alert that is over"
    for kind in catalog:
        open_now = filled.town.operations.alerts(state="open", kind=kind.name)
        assert open_now, f"no alert on any {kind.name}"
        board = kind_board(kind, Words("en"))
        assert figure(filled, board, "Active alerts") == len(open_now)
        panel = next(p for p in panels_of(board) if p["type"] == "geomap")
        values, _ = chosen(filled, board)
        rows = asked(filled, panel, panel["targets"][0]["query"], values)
        assert {(r["rule"], r["entity"], r["severity"]) for r in rows} == {
            (alert.rule, alert.entity, alert.severity) for alert in open_now
        }
        for row in rows:
            assert 121 < row["lon"] < 122
            assert 30 < row["lat"] < 32


@pytest.mark.influxdb
def test_grafanas_alarms_are_quiet_on_a_sound_house_and_ask_what_exists(filled: Filled) -> None:
    for rule in alarms(Words("en"))["groups"][0]["rules"]:
        query = expand(rule["data"][0]["model"]["query"], filled.until_ms - 300_000, filled.until_ms, 15_000, {})
        (row,) = filled.database.query(query)
        value = next(number for name, number in row.items() if name != "time")
        compare = rule["data"][2]["model"]["expression"].replace("$B", str(value))
        left, sign, right = compare.split(" ")
        fires = {"<": float(left) < float(right), ">": float(left) > float(right), "!=": float(left) != float(right)}
        assert not fires[sign], f"{rule['uid']}: {compare}"
