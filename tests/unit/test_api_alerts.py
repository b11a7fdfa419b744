"""Alerts over the API: listed, taken on once, told to open consoles; and who is let in at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api import live, schemas
from api.alerts import tell
from api.books import ledger_form
from api.heartbeat import Heartbeat
from api.live import Hub, Subscriber, TooManyClientsError, frame, stream
from api.view import View
from storage.operations import AlertRow
from tests.small_house import NIGHT_MS, SmallHouse, client_of

pytestmark = pytest.mark.anyio
MINUTE_MS = 60_000


async def listed(client: httpx.AsyncClient, query: str = "") -> schemas.AlertsForm:
    answer = await client.get(f"/api/alerts?{query}")
    assert answer.status_code == 200, answer.text
    return schemas.AlertsForm.model_validate(answer.json())


def open_cover(house: SmallHouse) -> AlertRow:
    (row,) = house.hear("cover-0001", cover_open=True)
    return row


async def test_an_alert_says_what_where_since_when_in_both_languages(
    house: SmallHouse, client: httpx.AsyncClient
) -> None:
    open_cover(house)
    (alert,) = (await listed(client)).alerts
    assert (alert.rule, alert.severity, alert.state, alert.kind) == ("cover_open", "critical", "active", "manhole")
    assert alert.message.zh == "雨水井 1 已打开"
    assert (alert.asset, alert.place, alert.district) == ("cover-0001", "解放街 · 雨水井 1", "西区")
    assert (alert.onset_ms, alert.cleared_ms, alert.acknowledged) == (NIGHT_MS, None, None)
    assert (alert.lon, alert.lat) == (121.465, 31.018)
    one = (await client.get(f"/api/alerts/{alert.id}")).json()
    assert schemas.AlertForm.model_validate(one) == alert


async def test_alerts_are_filtered_and_paged_without_gap(house: SmallHouse, client: httpx.AsyncClient) -> None:
    for minute in range(6):
        house.hear("cover-0001", at_ms=NIGHT_MS + minute * MINUTE_MS, cover_open=minute % 2 == 0)
    house.hear("cabinet-001", door_open=True)
    assert [a.rule for a in (await listed(client, "state=active")).alerts] == ["door_open"]
    assert len((await listed(client, "state=cleared&kind=manhole")).alerts) == 3
    assert not (await listed(client, "rule=door_open&state=cleared")).alerts
    seen: list[str] = []
    before = ""
    for _ in range(10):
        page = await listed(client, f"limit=2{before}")
        seen += [alert.id for alert in page.alerts]
        if page.next_before is None:
            break
        before = f"&before={page.next_before}"
    assert len(set(seen)) == 4


async def test_a_condition_that_has_not_held_long_enough_is_pending(
    house: SmallHouse, client: httpx.AsyncClient
) -> None:
    house.hear("station-01", level_m=3.5)
    found = await listed(client, "state=pending")
    assert [(p.rule, p.entity, p.severity, p.since_ms) for p in found.pending] == [
        ("well_high", "device:station-01", "major", NIGHT_MS)
    ]
    assert not (await listed(client, "state=pending&kind=manhole")).pending
    assert not (await listed(client)).alerts
    for minute in range(1, 7):
        house.hear("station-01", at_ms=NIGHT_MS + minute * MINUTE_MS, level_m=3.6)
    assert not (await listed(client, "state=pending")).pending
    assert [a.rule for a in (await listed(client, "state=open")).alerts] == ["well_high"]


async def take_on(client: httpx.AsyncClient, alert: str, **body: str) -> httpx.Response:
    return await client.post(f"/api/alerts/{alert}/acknowledge", json=body)


async def test_taking_an_alert_on_reaches_the_database_once(house: SmallHouse, client: httpx.AsyncClient) -> None:
    row = open_cover(house)
    house.clock_ms += 5000
    first = schemas.AlertForm.model_validate((await take_on(client, row.id, who=" 王 ", note="在路上")).json())
    assert first.state == "acknowledged"
    assert first.acknowledged == schemas.Acknowledgement(who="王", note="在路上", at_ms=NIGHT_MS + 5000)
    again = await take_on(client, row.id, who="Li")
    assert again.status_code == 200
    assert schemas.AlertForm.model_validate(again.json()) == first, "the first to take it on stays"
    kept = house.operations.alert(row.id)
    assert kept is not None
    assert (kept.state, kept.acknowledged_by) == ("acknowledged", "王")


async def test_an_alert_that_has_cleared_or_never_was_cannot_be_taken_on(
    house: SmallHouse, client: httpx.AsyncClient
) -> None:
    row = open_cover(house)
    house.hear("cover-0001", at_ms=NIGHT_MS + 60 * MINUTE_MS, cover_open=False)
    late = await take_on(client, row.id, who="Li")
    assert (late.status_code, late.headers["content-type"]) == (409, "application/problem+json")
    assert (await take_on(client, "0" * 20, who="Li")).status_code == 404
    assert (await take_on(client, row.id, who="")).status_code == 422
    assert "who: Field required" in (await take_on(client, row.id)).json()["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program
        ({"origin": "http://lamp", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "http://elsewhere"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
async def test_changes_are_taken_from_our_own_pages_only(
    house: SmallHouse, client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    row = open_cover(house)
    answer = await client.post(f"/api/alerts/{row.id}/acknowledge", json={"who": "Li"}, headers=headers)
    assert answer.status_code == status


async def test_a_change_too_long_to_be_one_is_not_read(client: httpx.AsyncClient) -> None:
    assert (await take_on(client, "0" * 20, who="Li", note="x" * 70_000)).status_code == 413

    async def endless() -> AsyncIterator[bytes]:
        yield b"{"

    assert (await client.post(f"/api/alerts/{'0' * 20}/acknowledge", content=endless())).status_code == 413


async def test_every_answer_carries_the_security_headers_and_no_cors(
    house: SmallHouse, client: httpx.AsyncClient
) -> None:
    for path in ("/", "/api/city", "/api/nothing", "/healthz"):
        headers = (await client.get(path, headers={"origin": "http://elsewhere"})).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


async def test_the_house_answers_only_to_its_own_names(house: SmallHouse) -> None:
    house.hosts = ("127.0.0.1", "lamp", "::1")
    async with client_of(house) as client:
        for host, status in (("lamp", 200), ("LAMP:8080", 200), ("[::1]:80", 200), ("rebound.example", 403)):
            assert (await client.get("/api/city", headers={"host": host})).status_code == status


async def test_with_a_token_nothing_is_told_without_it(house: SmallHouse) -> None:
    house.token = "s3cret"
    async with client_of(house) as client:
        refused = await client.get("/api/city")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        for path in ("/metrics", "/openapi.json", "/api/live"):
            assert (await client.get(path)).status_code == 401
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/api/city", headers={"authorization": "Bearer wrong"})).status_code == 401
        assert (await client.get("/api/city", headers={"authorization": "Bearer s3cret"})).status_code == 200

        assert (await client.post("/api/session", json={"token": "wrong"})).status_code == 401
        opened = await client.post("/api/session", json={"token": "s3cret"})
        assert opened.status_code == 204
        cookie = opened.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert (await client.get("/api/city")).status_code == 200, "the cookie stands for the token"


def events(frames: list[bytes]) -> list[tuple[str, Any]]:
    """Return event name and data of each frame."""
    found = []
    for each in frames:
        lines = dict(line.split(": ", 1) for line in each.decode().strip().split("\n"))
        found.append((lines["event"], json.loads(lines["data"])))
    return found


def drain(one: Subscriber) -> list[tuple[str, Any]]:
    frames = []
    while not one.queue.empty():
        data = one.queue.get_nowait()
        if data is not None:
            frames.append(data)
    return events(frames)


async def test_an_alert_and_its_acknowledgement_reach_every_open_stream(
    house: SmallHouse, client: httpx.AsyncClient
) -> None:
    first, second = house.hub.subscribe(), house.hub.subscribe()
    row = await asyncio.to_thread(open_cover, house)  # the loop commits in a worker thread
    await asyncio.sleep(0)
    await take_on(client, row.id, who="Li")
    for one in (first, second):
        told = drain(one)
        assert [event for event, _ in told] == ["alerts", "alerts"]
        alerts = [schemas.AlertForm.model_validate(each) for _, data in told for each in data["alerts"]]
        assert [(alert.id, alert.state) for alert in alerts] == [(row.id, "active"), (row.id, "acknowledged")]


async def test_a_storm_of_alerts_does_not_drop_clients_that_read(house: SmallHouse) -> None:
    row = open_cover(house)
    one = house.hub.subscribe()
    tell(house.hub, [row] * 20_000, house.registry)
    assert house.hub.dropped == 0
    assert sum(len(data["alerts"]) for _, data in drain(one)) == 20_000


async def test_a_beat_tells_only_what_changed_since_the_last(house: SmallHouse) -> None:
    house.hear("cover-0001", cover_open=False)
    house.hear("truck-001", lon_deg=121.47, lat_deg=31.02)
    heart = Heartbeat(house, View(house))
    one = house.hub.subscribe()
    ledger = ledger_form(house.ledger())
    heart.begin()
    heart.beat(ledger)
    assert [event for event, _ in drain(one)] == ["beat"]
    house.hear("cover-0001", at_ms=NIGHT_MS + 1000, cover_open=True)
    house.hear("truck-001", lon_deg=121.48, lat_deg=31.02)
    heart.beat(ledger)
    told = {event: data for event, data in drain(one) if event != "alerts"}
    row = house.registry.row
    assert (told["states"]["rows"], told["states"]["states"]) == ([row["cover-0001"]], [4])
    assert (told["moved"]["rows"], told["moved"]["lon"]) == ([row["truck-001"]], [121.48])
    assert told["beat"]["open"] == {"critical": 1, "major": 0, "minor": 0, "info": 0}
    assert told["beat"]["ledger"]["balanced"]
    heart.beat(ledger)
    assert [event for event, _ in drain(one)] == ["beat"]


async def test_a_client_that_reads_too_slowly_is_let_go_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "QUEUE_MAX", 3)
    hub = Hub()
    slow = hub.subscribe()
    quick = hub.subscribe()
    for number in range(5):
        hub.publish("beat", {"n": number})
        assert drain(quick) == [("beat", {"n": number})]
    assert drain(slow) == [("reconnect", {"why": "too slow"})]
    assert (hub.dropped, len(hub)) == (1, 1)


async def test_places_at_the_live_stream_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "CLIENTS_MAX", 1)
    hub = Hub()
    hub.subscribe()
    with pytest.raises(TooManyClientsError, match="1 live streams"):
        hub.subscribe()


async def test_a_stream_says_hello_keeps_alive_and_ends_with_the_house() -> None:
    hub = Hub()
    frames: list[bytes] = []

    async def read() -> None:
        frames.extend([each async for each in stream(hub, hub.subscribe(), frame("hello", {}, 0), heartbeat_s=0.05)])

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.2)
    hub.publish("beat", {"value": float("nan")})
    await asyncio.sleep(0.01)
    hub.close()
    await reading
    assert frames[0] == b"retry: 2000\n\n"
    assert b": still here\n\n" in frames
    told = events([each for each in frames[1:] if not each.startswith(b":")])
    assert told == [("hello", {}), ("beat", {"value": None}), ("reconnect", {"why": "closing"})]
    assert len(hub) == 0
