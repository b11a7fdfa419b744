"""The API over a small real house: what it answers, what it refuses, and in which words."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from api import quarantine_forms, schemas
from api.house import LightingRate, Part
from devices.topics import up
from storage.timeseries import StoreAway
from tests.small_house import CITY, NIGHT_MS, Sent, SmallHouse

pytestmark = pytest.mark.anyio
MINUTE_MS = 60_000
Ask = Callable[..., Any]


async def told(client: httpx.AsyncClient, path: str, status: int = 200) -> Any:  # noqa: ANN401 - JSON
    answer = await client.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_the_city_tells_its_kinds_with_their_fields_in_both_languages(client: httpx.AsyncClient) -> None:
    city = schemas.CityForm.model_validate(await told(client, "/api/city"))
    assert city.name.zh == "临江市"
    assert [kind.name for kind in city.kinds] == ["streetlight", "manhole", "pump", "truck"]
    power = city.kinds[0].fields[0]
    assert (power.name, power.unit, power.name_zh, power.roles) == ("power_w", "W", "有功功率", ["lamp"])
    assert [kind.assets for kind in city.kinds] == [7, 2, 1, 1]
    assert city.bounds == (121.461, 31.018, 121.47, 31.024)
    assert city.rules[0].title.zh == "井盖打开"


async def test_roads_are_geojson_lines(client: httpx.AsyncClient) -> None:
    roads = await told(client, "/api/roads")
    assert roads["type"] == "FeatureCollection"
    first = roads["features"][0]
    assert first["properties"] == {"name": "人民路", "rank": "main"}
    assert first["geometry"] == {"type": "LineString", "coordinates": [[121.46, 31.02], [121.47, 31.02]]}


async def test_the_map_shows_states_by_row_and_the_newest_place_of_what_moves(
    house: SmallHouse, client: httpx.AsyncClient
) -> None:
    house.hear("cover-0001", cover_open=True)
    house.hear("cover-0002", cover_open=False)
    house.hear("truck-001", lon_deg=121.4712345, lat_deg=31.0198765, speed_kmh=30)
    columns = schemas.MapForm.model_validate(await told(client, "/api/map"))
    row = {device: number for number, device in enumerate(columns.id)}
    assert columns.state[row["cover-0001"]] == 4
    assert columns.state[row["cover-0002"]] == 0
    assert columns.state[row["lamp-0001"]] == -1
    assert (columns.lon[row["truck-001"]], columns.lat[row["truck-001"]]) == (121.4712345, 31.0198765)
    assert columns.lon[row["lamp-0001"]] == 121.461


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("kind=manhole", ["cover-0001", "cover-0002"]),
        ("role=cabinet", ["cabinet-001"]),
        ("road=解放街&kind=pump", ["station-01"]),
        ("road=nowhere", []),
        ("find=泵站", ["station-01"]),
        ("find=COVER-0002", ["cover-0002"]),
        ("state=critical", ["cover-0001"]),
        ("state=fine", ["cover-0002"]),
        ("state=silent&kind=manhole", []),
    ],
)
async def test_assets_are_found_by_kind_role_place_state_and_part_of_a_name(
    house: SmallHouse, client: httpx.AsyncClient, query: str, found: list[str]
) -> None:
    house.hear("cover-0001", cover_open=True)
    house.hear("cover-0002", cover_open=False)
    page = schemas.AssetsForm.model_validate(await told(client, f"/api/assets?{query}"))
    assert [asset.id for asset in page.assets] == found
    assert page.total == len(found)


async def test_pages_of_assets_follow_one_another_without_gap_or_repeat(client: httpx.AsyncClient) -> None:
    seen: list[str] = []
    after = -1
    while True:
        page = schemas.AssetsForm.model_validate(await told(client, f"/api/assets?limit=4&after={after}"))
        seen += [asset.id for asset in page.assets]
        if page.next_after is None:
            break
        after = page.next_after
    assert len(seen) == len(set(seen)) == page.total == 11


async def test_one_asset_shows_facts_trusted_values_age_and_open_alerts(
    house: SmallHouse, client: httpx.AsyncClient
) -> None:
    house.hear("lamp-0002", power_w=99.5, voltage_v=9000.0)  # 9 kV lies outside the physical range
    house.clock_ms += 90_000
    lamp = schemas.AssetDetail.model_validate(await told(client, "/api/assets/lamp-0002"))
    values = {each.field: each.value for each in lamp.values}
    assert values["power_w"] == 99.5
    assert values["voltage_v"] is None
    assert "phase_a_v" not in values, "a field of cabinets"
    assert (lamp.facts["rated_power_w"], lamp.road, lamp.pole_index) == (100.0, "人民路", 2)
    assert (lamp.age_ms, lamp.state) == (90_000, 0)

    house.hear("cover-0001", cover_open=True)
    cover = schemas.AssetDetail.model_validate(await told(client, "/api/assets/cover-0001"))
    assert [alert.rule for alert in cover.alerts] == ["cover_open"]
    never = schemas.AssetDetail.model_validate(await told(client, "/api/assets/lamp-0001"))
    assert (never.seen_ms, never.age_ms, never.state) == (None, None, -1)


async def test_history_comes_from_the_store_with_the_span_that_was_asked(
    house: SmallHouse, client: httpx.AsyncClient
) -> None:
    for minute in range(10):
        house.hear("station-01", at_ms=NIGHT_MS + minute * MINUTE_MS, level_m=1.0 + minute / 10, pumps_on=minute % 2)
    house.ship()
    query = f"fields=level_m,pumps_on&from={NIGHT_MS + 2 * MINUTE_MS}&until={NIGHT_MS + 5 * MINUTE_MS}"
    found = schemas.HistoryForm.model_validate(await told(client, f"/api/assets/station-01/history?{query}"))
    assert found.time_ms == [NIGHT_MS + minute * MINUTE_MS for minute in (2, 3, 4)]
    assert found.values == {"level_m": [1.2, 1.3, 1.4], "pumps_on": [0, 1, 0]}
    day = schemas.HistoryForm.model_validate(await told(client, "/api/assets/station-01/history?fields=level_m"))
    assert len(day.time_ms) == 10, "without a span, the day until now"
    whole = f"from={NIGHT_MS}&until={NIGHT_MS + 10 * MINUTE_MS}"
    thin = await told(client, f"/api/assets/station-01/history?fields=level_m&points=4&{whole}")
    assert 2 <= len(thin["time_ms"]) <= 4


async def test_last_values_of_a_kind_are_columns(house: SmallHouse, client: httpx.AsyncClient) -> None:
    house.hear("cover-0002", tilt_deg=3.5)
    last = schemas.LastForm.model_validate(await told(client, "/api/last?kind=manhole"))
    assert last.id == ["cover-0001", "cover-0002"]
    assert last.values["tilt_deg"] == [None, 3.5]
    assert last.time_ms == [None, NIGHT_MS]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/assets/lamp-9999", 404, "The registry has no asset 'lamp-9999'."),
        ("/api/assets?kind=tram", 400, "No kind 'tram'; known: streetlight, manhole, pump, truck."),
        ("/api/assets?state=purple", 400, "'state' is one of silent, fine, info, minor, major, critical"),
        ("/api/assets?limit=0", 422, "limit: Input should be greater than or equal to 1"),
        ("/api/last?kind=tram", 400, "No kind 'tram'"),
        ("/api/assets/lamp-0001/history?fields=level_m", 400, "A streetlight has no field 'level_m'; it has power_w"),
        ("/api/assets/lamp-0001/history?fields=,", 400, "'fields' names no field"),
        ("/api/assets/lamp-0001/history?fields=power_w&from=9&until=9", 400, "'from' must lie before 'until'"),
        ("/api/assets/lamp-0001/history?fields=power_w&from=0&until=99999999999", 400, "at most 400 days"),
        ("/api/assets/lamp-0001/history?fields=power_w&points=100000", 422, "points: Input should be less than"),
        ("/api/alerts?state=sleeping", 422, "state: Input should be 'active'"),
        ("/api/alerts/00000000000000000000", 404, "There is no alert"),
        ("/api/quarantine/12345", 404, "There is no message 12345 in quarantine"),
        ("/api/nothing", 404, "/openapi.json lists what can be asked"),
    ],
)
async def test_a_question_that_cannot_be_answered_is_told_why_in_a_sentence(
    client: httpx.AsyncClient, path: str, status: int, words: str
) -> None:
    answer = await client.get(path)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == status
    assert words in schemas.ProblemForm.model_validate(answer.json()).detail


async def test_an_absent_store_is_told_with_the_time_to_come_again(
    house: SmallHouse, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreAway("connection refused", 7.0)

    monkeypatch.setattr(house.timeseries, "history", away)
    answer = await client.get("/api/assets/lamp-0001/history?fields=power_w")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert "readings wait in the journal" in answer.json()["detail"]


async def test_lighting_rates_are_shown_as_the_house_computes_them(
    house: SmallHouse, client: httpx.AsyncClient
) -> None:
    house.rates = [
        LightingRate("road", "人民路", "东区", 0.5, 0.2, 0.8, 1.0, 3, 6, 6, NIGHT_MS),
        LightingRate("cabinet", "cabinet-001", "东区", float("nan"), 0.0, 1.0, 0.0, 0, 0, 6, NIGHT_MS),
    ]
    both = [schemas.LightingForm.model_validate(each) for each in await told(client, "/api/lighting")]
    assert [(each.scope, each.rate, each.lit) for each in both] == [("road", 0.5, 3), ("cabinet", None, 0)]
    assert len(await told(client, "/api/lighting?scope=cabinet")) == 1


async def test_the_ledger_balances_before_and_after_shipping(house: SmallHouse, client: httpx.AsyncClient) -> None:
    house.hear("lamp-0001", power_w=100)
    house.receive([Sent(up(CITY, "streetlight", "lamp-0001"), b"{broken")])
    house.receive([Sent("elsewhere/x", b"1")])
    before = schemas.LedgerForm.model_validate(await told(client, "/api/ledger"))
    assert (before.total.received, before.total.pending, before.balanced) == (3, 3, True)
    house.ship()
    after = schemas.LedgerForm.model_validate(await told(client, "/api/ledger"))
    lights = next(row for row in after.kinds if row.kind == "streetlight")
    assert (lights.received, lights.stored, lights.quarantined, lights.pending) == (2, 1, 1, 0)
    assert after.balanced


async def test_quarantine_shows_what_could_not_be_read_whole(house: SmallHouse, client: httpx.AsyncClient) -> None:
    topic = up(CITY, "streetlight", "lamp-0001")
    house.receive([Sent(topic, b"{broken"), Sent(topic, b"\xff\xfe"), Sent(up(CITY, "manhole", "stranger"), b"{}")])
    house.ship()
    found = quarantine_forms.QuarantineForm.model_validate(await told(client, "/api/quarantine"))
    assert found.counts == {"unreadable": 2, "unknown_device": 1}
    assert found.messages[0].device == "stranger", "newest first"
    broken = (await told(client, "/api/quarantine?reason=unreadable&device=lamp-0001"))["messages"]
    shown = [
        quarantine_forms.QuarantineDetail.model_validate(await told(client, f"/api/quarantine/{m['id']}"))
        for m in broken
    ]
    assert [each.payload_text for each in shown] == [None, "{broken"]
    assert base64.b64decode(shown[0].payload_base64) == b"\xff\xfe"


async def test_health_is_503_with_words_when_a_part_is_not_well(house: SmallHouse, client: httpx.AsyncClient) -> None:
    assert schemas.HealthForm.model_validate(await told(client, "/healthz")).well
    house.parts = [Part("broker", well=False, says="not connected: refused"), Part("disk", well=True, says="fine")]
    ill = schemas.HealthForm.model_validate(await told(client, "/healthz", 503))
    assert [part.says for part in ill.parts if not part.well] == ["not connected: refused"]


async def test_metrics_tell_ledger_fleet_alerts_and_the_houses_own_numbers(
    house: SmallHouse, client: httpx.AsyncClient
) -> None:
    house.hear("cover-0001", cover_open=True)
    house.ship()
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    for expected in (
        'lamplighter_readings_stored_total{kind="manhole"} 1.0',
        'lamplighter_ledger_difference{kind="manhole"} 0.0',
        'lamplighter_assets{kind="manhole",state="critical"} 1.0',
        'lamplighter_assets{kind="streetlight",state="silent"} 7.0',
        'lamplighter_alerts_open{rule="cover_open"} 1.0',
        "lamplighter_live_clients 0.0",
    ):
        assert expected in lines
    assert any(line.startswith("lamplighter_journal_bytes ") for line in lines)


async def test_openapi_describes_every_route_and_parameter(client: httpx.AsyncClient) -> None:
    described = await told(client, "/openapi.json")
    assert "/api/{rest}" not in described["paths"]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary"), (method, path)
            assert operation.get("description"), (method, path)
    page = (await client.get("/docs")).text
    for path in described["paths"]:
        assert path in page
    assert "<script" not in page
    assert "://" not in page, "the page asks nobody outside"
