"""Operators over HTTP: silences and windows, shelves, resets, the audit trail, budget, warning and flags."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.small_house import NIGHT_MS, SmallHouse

pytestmark = pytest.mark.anyio
HOUR = 3_600_000


async def post(client: httpx.AsyncClient, path: str, status: int = 200, **body: Any) -> Any:  # noqa: ANN401 - JSON
    answer = await client.post(f"/api/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def get(client: httpx.AsyncClient, path: str) -> Any:  # noqa: ANN401 - JSON
    answer = await client.get(f"/api/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_silence_is_previewed_made_and_ended_and_all_of_it_is_written_down(
    house: SmallHouse, client: httpx.AsyncClient
) -> None:
    house.hear("cover-0001", cover_open=True)
    house.hear("cabinet-001", door_open=True)
    preview = await post(client, "quiets/preview", kind="manhole")
    assert (preview["matches"], [one["rule"] for one in preview["alerts"]]) == (1, ["cover_open"])
    made = await post(
        client, "quiets", sort="maintenance", matchers={"kind": "manhole"}, until_ms=NIGHT_MS + HOUR, who="li", why="x"
    )
    assert (made["sort"], made["holds"], made["matchers"]) == ("maintenance", True, {"kind": "manhole"})
    assert await get(client, "quiets") == [made]
    await post(client, f"quiets/{made['id']}/end?sort=silence", 409, who="wang")
    ended = await post(client, f"quiets/{made['id']}/end?sort=maintenance", who="wang")
    assert (ended["holds"], ended["ended_by"]) == (False, "wang")
    assert await get(client, "quiets") == []
    assert [one["id"] for one in await get(client, "quiets?all=true")] == [made["id"]]
    assert [(one["who"], one["what"]) for one in await get(client, "audit")] == [
        ("wang", "maintenance_end"),
        ("li", "maintenance"),
    ]


async def test_what_cannot_be_silenced_is_refused_in_words(house: SmallHouse, client: httpx.AsyncClient) -> None:
    late = {"until_ms": NIGHT_MS + HOUR, "who": "li", "why": "x"}
    nothing = await post(client, "quiets", 422, matchers={}, **late)
    assert "needs at least one of rule" in nothing["detail"]
    past = await post(client, "quiets", 422, matchers={"rule": "*"}, until_ms=NIGHT_MS - 1, who="li", why="x")
    assert "after now" in past["detail"]


async def test_an_alert_is_shelved_for_a_time_only_and_longer_by_a_supervisor(
    house: SmallHouse, client: httpx.AsyncClient
) -> None:
    (row,) = house.hear("cover-0001", cover_open=True)
    refused = await post(client, f"alerts/{row.id}/shelve", 422, who="li", why="x", until_ms=NIGHT_MS + 9 * HOUR)
    assert "at most 8 h" in refused["detail"]
    shelved = await post(client, f"alerts/{row.id}/shelve", who="wang", why="known", until_ms=NIGHT_MS + 9 * HOUR)
    assert shelved["flags"] == ["shelved"]
    assert shelved["shelved"] == {"until_ms": NIGHT_MS + 9 * HOUR, "who": "wang", "why": "known"}
    await post(client, f"alerts/{row.id}/unshelve", who="li")
    await post(client, f"alerts/{row.id}/unshelve", 409, who="li")
    await post(client, "alerts/abcdef/shelve", 409, who="li", why="x")


async def test_only_a_latched_alert_can_be_reset(house: SmallHouse, client: httpx.AsyncClient) -> None:
    (row,) = house.hear("cover-0001", cover_open=True)
    refused = await post(client, f"alerts/{row.id}/reset", 409, who="li")
    assert "not latched" in refused["detail"]


async def test_budget_duty_and_profiles_answer(house: SmallHouse, client: httpx.AsyncClient) -> None:
    house.hear("cover-0001", cover_open=True)
    budget = await get(client, "budget?hours=1")
    assert (budget["standing"], budget["desks"]) == (1, [])
    assert await get(client, "duty") == []
    assert await get(client, "profiles") == {"warning": "none", "profiles": []}
    assert (await post(client, "warning", level="orange", who="li"))["warning"] == "orange"
    assert (await get(client, "profiles"))["warning"] == "orange"
    await post(client, "warning", 422, level="purple", who="li")


async def test_an_alert_whose_device_is_silent_for_longer_than_its_rule_holds_is_stale(
    house: SmallHouse, client: httpx.AsyncClient
) -> None:
    house.hear("cabinet-001", door_open=True)
    (alert,) = (await get(client, "alerts?state=open"))["alerts"]
    assert alert["flags"] == []
    house.clock_ms += 48 * HOUR
    (alert,) = (await get(client, "alerts?state=open"))["alerts"]
    assert alert["flags"] == ["stale_held"]
