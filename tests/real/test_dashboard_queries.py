"""Every query of every board finds rows in a real InfluxDB that holds an hour and more of a city."""

from __future__ import annotations

import math
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from dashboards.build import house_board, kind_board
from dashboards.influxql import duration_ms, expand, interval_ms
from dashboards.words import LANGUAGES, Words
from devices.kinds import Catalog, Field, Kind
from tests.real.influxdb_server import InfluxDatabase, QueryError
from tests.real.servers import Influx

Json = dict[str, Any]

START_MS = 1_760_000_000_000
SPAN_MS = 3 * 3_600_000
DISTRICTS = ("东区", "West (old town)")


@dataclass(frozen=True)
class Filled:
    """A database with a city in it, and the range that a board would show."""

    database: InfluxDatabase
    from_ms: int
    until_ms: int


def value_of(declared: Field, step: int) -> float:
    middle = declared.low + (declared.high - declared.low) * (0.5 + 0.1 * math.sin(step / 5))
    return float(step % 2) if declared.type == "bool" else float(round(middle))


def readings_of(kind: Kind) -> Iterator[str]:
    for role, report_s in zip(kind.roles, kind.report_s, strict=True):
        fields = [f for f in kind.fields if not f.roles or role in f.roles]
        for number in range(3):
            district = DISTRICTS[number % 2].replace(" ", "\\ ")
            tags = f"device={kind.name}-{role}-{number},role={role},district={district}"
            if kind.name != "truck":
                tags += ",road=中山路"
            period_ms = int(max(report_s, 60) * 1000)
            for step in range(SPAN_MS // period_ms):
                values = ",".join(f"{f.name}={value_of(f, step)}" for f in fields)
                yield f"{kind.name},{tags} {values} {START_MS + step * period_ms}"


def own_points(catalog: Catalog) -> Iterator[str]:
    for minute in range(SPAN_MS // 60_000):
        at = START_MS + minute * 60_000
        yield f"house lag_ms=40,batch_rows=200,rss_mb=210,outbox_due=1,journal_bytes=1000000 {at}"
        for kind in [k.name for k in catalog]:
            counts = f"received={minute * 10},stored={minute * 10 - 4},quarantined=1,duplicate=1,pending=2"
            yield f"ledger,kind={kind} {counts} {at}"
            for rule, severity, active in (("r1", "critical", 1), ("r2", "minor", minute % 2)):
                tags = f"rule={rule},severity={severity},kind={kind},district={DISTRICTS[0]},entity=device:{kind}-0"
                yield f"alert,{tags} active={active},lat=31.02,lon=121.46 {at}"
        if minute % 15 == 0:
            for scope, name in (("road", "中山路"), ("cabinet", "cab-1"), ("grid", "e1n1")):
                numbers = "rate=0.97,rate_low=0.9,rate_high=0.99,coverage=0.95,lit=97,known=100,expected=105"
                yield f"lighting_rate,scope={scope},name={name},district={DISTRICTS[0]} {numbers} {at}"


@pytest.fixture(scope="module")
def filled(influx_server: Influx, catalog: Catalog) -> Iterator[Filled]:
    database = influx_server.database()
    lines = [line for kind in catalog for line in readings_of(kind)] + list(own_points(catalog))
    url = f"{database.url}/api/v2/write?bucket={database.bucket}&precision=ms"
    request = urllib.request.Request(url, "\n".join(lines).encode(), {"Authorization": f"Token {database.token}"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        assert answer.status == 204
    yield Filled(database, START_MS, START_MS + SPAN_MS)
    database.drop()


def boards_of(catalog: Catalog, language: str) -> dict[str, Json]:
    words = Words(language)
    return {**{kind.name: kind_board(kind, words) for kind in catalog}, "house": house_board(words)}


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
            assert found, f"{board['title']}: no values for ${name}: {text}"
            values[name] = variable["allValue"] if variable["includeAll"] else found[0]
            devices = found if name == "device" else devices
    return values, devices


@pytest.mark.influxdb
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_query_of_every_panel_finds_rows(filled: Filled, catalog: Catalog, language: str) -> None:
    ran = 0
    for name, board in boards_of(catalog, language).items():
        values, devices = chosen(filled, board)
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                choices = devices if "${device}" in target["query"] else [""]
                rows = [asked(filled, panel, target["query"], {**values, "device": one}) for one in choices]
                assert any(rows), f"{name}: {panel['title']} shows nothing: {target['query']}"
                ran += len(rows)
    assert ran > 150


@pytest.mark.influxdb
def test_all_includes_devices_without_a_district_or_road(filled: Filled, catalog: Catalog) -> None:
    line = f"manhole,device=lonely,role=cover tilt_deg=1.0 {filled.from_ms + 1000}"
    url = f"{filled.database.url}/api/v2/write?bucket={filled.database.bucket}&precision=ms"
    request = urllib.request.Request(url, line.encode(), {"Authorization": f"Token {filled.database.token}"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10):
        pass
    _, devices = chosen(filled, kind_board(catalog["manhole"], Words("en")))
    assert "lonely" in devices


@pytest.mark.influxdb
def test_a_chosen_district_narrows_what_is_shown(filled: Filled, catalog: Catalog) -> None:
    board = kind_board(catalog["manhole"], Words("en"))
    values, _ = chosen(filled, board)
    panel = next(p for p in board["panels"] if p["title"] == "Water level")
    both = asked(filled, panel, panel["targets"][0]["query"], values)
    one = asked(filled, panel, panel["targets"][0]["query"], {**values, "district": [DISTRICTS[1]]})
    assert {row["district"] for row in both} >= set(DISTRICTS)
    assert {row["district"] for row in one} == {DISTRICTS[1]}


@pytest.mark.influxdb
def test_the_figures_are_the_newest_counts(filled: Filled, catalog: Catalog) -> None:
    board = house_board(Words("en"))
    figures = {}
    for panel in board["panels"]:
        if panel["type"] == "stat":
            rows = asked(filled, panel, panel["targets"][0]["query"], {})
            figures[panel["title"]] = rows[-1][panel["title"]]
    kinds = len(catalog)
    assert figures["Pending"] == 2 * kinds
    assert figures["Quarantined"] == kinds
    assert figures["Ledger imbalance (must be 0)"] == 0
    active = kind_board(catalog["pump"], Words("en"))
    values, _ = chosen(filled, active)
    panel = next(p for p in active["panels"] if p["type"] == "stat" and p["title"] == "Active alerts")
    rows = asked(filled, panel, panel["targets"][0]["query"], values)
    assert rows[-1]["Active alerts"] == 2, "r1, and r2 which is active in odd minutes, the last being 179"
    where = next(p for p in active["panels"] if p["type"] == "geomap")
    found = asked(filled, where, where["targets"][0]["query"], values)
    assert {(row["rule"], row["lat"], row["lon"]) for row in found} == {("r1", 31.02, 121.46), ("r2", 31.02, 121.46)}
