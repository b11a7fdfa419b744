"""Incidents in the operations database and over the API: written with their alerts, taken on whole, counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from api.incidents import IncidentDetail, IncidentForm, IncidentsForm
from devices.incident import IncidentChange, Mark
from devices.transition import ACTIVE, CLEARED, Transition
from storage.operations import Operations
from tests.small_house import NIGHT_MS, SmallHouse

pytestmark = pytest.mark.anyio
BOX, LAMP = "a" * 20, "b" * 20


@dataclass(frozen=True)
class Crew:
    name: str = "crew"
    min_severity: str = "info"
    kinds: tuple[str, ...] = ()


@pytest.fixture
def operations(tmp_path: Path) -> Iterator[Operations]:
    made = Operations(f"sqlite:///{tmp_path / 'operations.db'}")
    yield made
    made.close()


def alert(name: str, state: str, *, by: str = "", rule: str = "cabinet_dark") -> Transition:
    entity = "device:cabinet-001" if name == BOX else "device:lamp-0001"
    return Transition(
        name, rule, entity, state, NIGHT_MS, NIGHT_MS, "critical" if name == BOX else "minor", {"en": "x", "zh": "某"},
        kind="streetlight", district="东区", incident=BOX, suppressed_by=by, lon=121.4, lat=31.0,
    )  # fmt: skip


def change(
    *, open_: bool = True, notice: Transition | None = None, at_ms: int = NIGHT_MS, **more: object
) -> IncidentChange:
    plain = IncidentChange(
        BOX, "cabinet_dark", "device:cabinet-001", "streetlight", "东区", "一队", "critical", open_, NIGHT_MS, NIGHT_MS,
        at_ms, told=True, alerts=2, suppressed=1, devices=6, message={"en": "x", "zh": "某"}, lon=121.4, lat=31.0,
        reason="" if open_ else "recovered", notice=notice,
    )  # fmt: skip
    return replace(plain, **more)  # type: ignore[arg-type]


def storm(operations: Operations) -> None:
    box = alert(BOX, ACTIVE)
    operations.commit(
        [box, alert(LAMP, ACTIVE, by=BOX, rule="lamp_out")], [Crew()], NIGHT_MS, incidents=[change(notice=box)]
    )


def due(operations: Operations) -> list[str]:
    return [row.key for row in operations.outbox_due(NIGHT_MS + 100, 100)]


def test_an_incident_tells_and_its_alerts_do_not(operations: Operations) -> None:
    storm(operations)
    assert due(operations) == [f"{BOX}:active:crew"]
    rows = operations.alerts_of(BOX)
    assert [(row.id, row.incident, row.suppressed_by) for row in rows] == [(BOX, BOX, ""), (LAMP, BOX, BOX)]
    ended = alert(BOX, CLEARED)
    operations.commit(
        [ended], [Crew()], NIGHT_MS + 9, incidents=[change(open_=False, notice=ended, at_ms=NIGHT_MS + 9)]
    )
    (row,) = operations.incidents()
    assert (row.state, row.reason, row.told_ms, row.closed_ms, row.notices) == (
        "cleared",
        "recovered",
        NIGHT_MS,
        NIGHT_MS + 9,
        1,
    )
    assert due(operations) == [f"{BOX}:active:crew", f"{BOX}:cleared:crew"]


def test_judging_the_journal_again_tells_nothing_twice(operations: Operations) -> None:
    storm(operations)
    again = replace(alert(BOX, ACTIVE), turn=2)
    operations.commit([], [Crew()], NIGHT_MS + 5, incidents=[change(notice=again, devices=20, at_ms=NIGHT_MS + 5)])
    ended = alert(BOX, CLEARED)
    over = change(open_=False, notice=ended, at_ms=NIGHT_MS + 9, devices=20)
    operations.commit([ended], [Crew()], NIGHT_MS + 9, incidents=[over])
    before = (operations.incidents(), operations.alerts(), due(operations))
    assert due(operations) == [f"{BOX}:active:crew", f"{BOX}:active2:crew", f"{BOX}:cleared:crew"]
    storm(operations)
    operations.commit([], [Crew()], NIGHT_MS + 5, incidents=[change(notice=again, devices=20, at_ms=NIGHT_MS + 5)])
    operations.commit([ended], [Crew()], NIGHT_MS + 9, incidents=[over])
    assert (operations.incidents(), operations.alerts(), due(operations)) == before


def test_a_mark_moves_an_alert_and_is_news(operations: Operations) -> None:
    storm(operations)
    (row,) = operations.commit([], [Crew()], NIGHT_MS, marks=[Mark(LAMP, LAMP, "")])
    assert (row.id, row.incident, row.suppressed_by) == (LAMP, LAMP, "")


def test_an_incident_that_was_merged_opens_a_second_time_and_not_by_judging_again(operations: Operations) -> None:
    storm(operations)
    operations.commit([], [Crew()], NIGHT_MS, incidents=[change(open_=False, reason="merged", at_ms=NIGHT_MS + 5)])
    storm(operations)
    assert operations.incidents("open") == []
    second = replace(alert(BOX, ACTIVE), turn=2)
    operations.commit(
        [], [Crew()], NIGHT_MS, incidents=[change(notice=second, opened_ms=NIGHT_MS + 90, at_ms=NIGHT_MS + 90)]
    )
    (row,) = operations.incidents("open")
    assert (row.opened_ms, row.notices) == (NIGHT_MS + 90, 2)
    storm(operations)
    assert [one.opened_ms for one in operations.incidents("open")] == [NIGHT_MS + 90]


def test_that_it_lasts_is_told_until_somebody_takes_it_on(operations: Operations) -> None:
    storm(operations)
    operations.commit([], [Crew()], 1, incidents=[change(notice=replace(alert(BOX, ACTIVE), turn=2), again=True)])
    assert len(operations.acknowledge_incident(BOX, "王", "去了", NIGHT_MS + 3)) == 2
    operations.commit([], [Crew()], 1, incidents=[change(notice=replace(alert(BOX, ACTIVE), turn=3), again=True)])
    assert due(operations) == [f"{BOX}:active:crew", f"{BOX}:active2:crew"]
    (row,) = operations.incidents("open")
    assert (row.state, row.acknowledged_by) == ("acknowledged", "王"), "what people said stays"


def test_the_end_of_an_alert_that_nobody_remembers_is_told_if_its_beginning_was(operations: Operations) -> None:
    storm(operations)
    forgotten = [replace(alert(name, CLEARED), incident="", suppressed_by="") for name in (BOX, LAMP)]
    operations.commit(forgotten, [Crew()], NIGHT_MS + 9)
    assert due(operations) == [f"{BOX}:active:crew", f"{BOX}:cleared:crew"]


async def test_incidents_are_listed_shown_with_their_alerts_and_taken_on_whole(
    house: SmallHouse, client: httpx.AsyncClient
) -> None:
    storm(house.operations)
    page = IncidentsForm.model_validate((await client.get("/api/incidents?state=open&limit=1")).json())
    (one,) = page.incidents
    assert (one.cause, one.place, one.keeper, one.devices) == ("cabinet_dark", "人民路箱变", "一队", 6)
    assert page.next_before == NIGHT_MS
    detail = IncidentDetail.model_validate((await client.get(f"/api/incidents/{BOX}")).json())
    assert [(member.id, member.suppressed_by) for member in detail.members] == [(BOX, ""), (LAMP, BOX)]
    body = {"who": "王", "note": "去了"}
    taken = IncidentForm.model_validate((await client.post(f"/api/incidents/{BOX}/acknowledge", json=body)).json())
    assert (taken.state, taken.acknowledged and taken.acknowledged.who) == ("acknowledged", "王")
    assert {row.state for row in house.operations.alerts()} == {"acknowledged"}
    other = await client.post(f"/api/incidents/{BOX}/acknowledge", json={"who": "李", "note": ""})
    assert other.json()["acknowledged"]["who"] == "王"
    assert (await client.get(f"/api/incidents/{'f' * 20}")).status_code == 404
    assert (await client.get("/api/incidents?state=cleared")).json() == {"incidents": [], "next_before": None}


async def test_an_incident_that_is_over_cannot_be_taken_on(house: SmallHouse, client: httpx.AsyncClient) -> None:
    storm(house.operations)
    house.operations.commit([], [], NIGHT_MS, incidents=[change(open_=False)])
    answer = await client.post(f"/api/incidents/{BOX}/acknowledge", json={"who": "王", "note": ""})
    assert answer.status_code == 409


def test_incidents_are_counted_by_severity_and_notices_by_cause(operations: Operations) -> None:
    storm(operations)
    assert operations.incident_counts() == ({"critical": 1}, 1, {"cabinet_dark": 1})
