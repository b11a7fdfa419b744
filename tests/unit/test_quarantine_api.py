"""The quarantine over the API: found by every filter, paged, read again and purged; never by another site."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from api import quarantine_forms as forms
from devices.topics import up
from storage.operations import Still
from tests.small_house import CITY, NIGHT_MS, Sent, SmallHouse

pytestmark = pytest.mark.anyio


def fill(house: SmallHouse) -> None:
    for minute in range(4):
        house.clock_ms = NIGHT_MS + minute * 60_000
        house.receive(
            [
                Sent(up(CITY, "streetlight", f"lamp-000{minute + 1}"), b"{broken"),
                Sent(up(CITY, "manhole", "stranger"), b'{"ts": 1}'),
            ]
        )
    house.ship()


async def listed(client: httpx.AsyncClient, query: str) -> forms.QuarantineForm:
    answer = await client.get(f"/api/quarantine?{query}")
    assert answer.status_code == 200, answer.text
    return forms.QuarantineForm.model_validate(answer.json())


async def post(client: httpx.AsyncClient, what: str, status: int = 200, **body: Any) -> dict[str, Any]:  # noqa: ANN401
    answer = await client.post(f"/api/quarantine/{what}", json=body)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_filters_and_pages_choose_messages(house: SmallHouse, client: httpx.AsyncClient) -> None:
    fill(house)
    assert (await listed(client, "")).matching == 8
    assert [m.device for m in (await listed(client, "device=lamp-0002")).messages] == ["lamp-0002"]
    assert (await listed(client, "kind=manhole&reason=unknown_device")).matching == 4
    assert (await listed(client, "topic=LAMP-000")).matching == 4
    span = await listed(client, f"since={NIGHT_MS + 60_000}&until={NIGHT_MS + 120_000}")
    assert {m.arrival_ms for m in span.messages} == {NIGHT_MS + 60_000}
    first = await listed(client, "limit=5")
    rest = await listed(client, f"limit=5&before={first.next_before}")
    assert [len(first.messages), len(rest.messages), rest.next_before] == [5, 3, None]
    assert len({m.id for m in first.messages + rest.messages}) == 8


async def test_a_topic_cannot_turn_the_page_round(house: SmallHouse, client: httpx.AsyncClient) -> None:
    house.receive([Sent("lamplighter/v1/\u202ex\x1b/y/z/up", b"{}")])
    house.ship()
    (message,) = (await listed(client, "")).messages
    assert "\\u202ex\\x1b" in message.topic


async def test_replay_marks_what_matches_and_the_list_says_what_became_of_it(
    house: SmallHouse, client: httpx.AsyncClient
) -> None:
    fill(house)
    assert await post(client, "replay", who="Wang", kind="manhole") == {"asked": 4}
    waiting = [m.id for m in (await listed(client, "")).messages if m.asked_ms is not None]
    assert len(waiting) == 4
    house.operations.quarantine_settle(waiting[:3], [Still(waiting[3], "clock", "worse")])
    after = await listed(client, "kind=manhole")
    assert (after.replayed, after.matching, after.messages[0].attempts, after.messages[0].reason) == (3, 1, 1, "clock")
    ledger = (await client.get("/api/ledger")).json()
    assert ledger["balanced"]
    assert ledger["total"]["replayed"] == 3
    metrics = (await client.get("/metrics")).text
    assert 'lamplighter_messages_replayed_total{kind="manhole"} 3.0' in metrics
    assert 'lamplighter_readings_received_total{kind="manhole"} 4.0' in metrics, "a counter that never shrinks"


async def test_purging_asks_for_the_number_that_was_looked_at(house: SmallHouse, client: httpx.AsyncClient) -> None:
    fill(house)
    refused = await post(client, "purge", 409, who="Wang", reason="unreadable", expected=3)
    assert refused["detail"] == "4 messages match just now, not 3; look again before they go."
    assert await post(client, "purge", who="Wang", reason="unreadable", expected=4) == {"purged": 4}
    number = (await listed(client, "")).messages[0].id
    assert await post(client, "purge", who="Wang", numbers=[number], expected=1) == {"purged": 1}
    left = await listed(client, "")
    assert (left.matching, left.purged) == (3, {"unreadable": 4, "unknown_device": 1})


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("replay", {}),
        ("replay", {"who": ""}),
        ("purge", {"who": "Wang"}),
        ("replay", {"who": "Wang", "numbers": list(range(501))}),
        ("replay", {"who": "Wang", "everything": True}),
    ],
)
async def test_a_wish_that_is_not_whole_is_refused(
    house: SmallHouse, client: httpx.AsyncClient, what: str, body: dict[str, Any]
) -> None:
    fill(house)
    await post(client, what, 422, **body)
    assert (await listed(client, "")).matching == 8
    assert house.operations.quarantine_asked() == []


async def test_another_site_can_neither_replay_nor_purge(house: SmallHouse, client: httpx.AsyncClient) -> None:
    fill(house)
    for what in ("replay", "purge"):
        answer = await client.post(
            f"/api/quarantine/{what}", json={"who": "x", "expected": 8}, headers={"Origin": "http://evil.example"}
        )
        assert answer.status_code == 403
    assert (await listed(client, "")).matching == 8
