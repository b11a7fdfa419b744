"""Questions about incidents, and the one change that an operator may make here: taking one on with all its alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from api import schemas
from api.alerts import alert_form, place_of, tell
from api.house import House
from api.problems import Problem
from api.view import number
from devices.registry import Registry
from storage.operations import IncidentRow

PAGE_MAX = 1000
MEMBERS_MAX = 1000  # alerts of one incident in one answer

AskedState = Literal["active", "acknowledged", "open", "cleared"]
IncidentId = Annotated[str, Path(description="The incident's id.", pattern=r"^[0-9a-f]{4,32}$")]


class IncidentForm(schemas.Form):
    """Alerts under one cause, for one crew."""

    id: str = Field(description="Of the alert that leads it.")
    cause: str = Field(description="The leading alert's rule, or the cause that was found among lamps.")
    node: str = Field(examples=["device:cabinet-003", "district:东区"], description="What the leading alert is about.")
    place: str
    kind: str
    district: str
    keeper: str = Field(description="Whose work it is.")
    severity: schemas.Severity
    state: Literal["active", "acknowledged", "cleared"]
    message: schemas.Words
    onset_ms: int
    opened_ms: int
    told_ms: int | None = Field(description="When people were first told; null while it waits for its cause.")
    closed_ms: int | None
    reason: str = Field(description="``recovered``, ``merged``, ``brief``, ``data_lost``; empty while open.")
    alerts: int
    suppressed: int = Field(description="How many of its alerts others explain.")
    devices: int
    notices: int = Field(description="Beginnings and changes worth telling.")
    lon: float | None
    lat: float | None
    acknowledged: schemas.Acknowledgement | None


class IncidentsForm(schemas.Form):
    """A page of incidents, newest first."""

    incidents: list[IncidentForm]
    next_before: int | None = Field(description="Ask for the next page with ``before``; null on the last.")


class IncidentDetail(IncidentForm):
    """One incident with its alerts, those that stand for themselves first."""

    members: list[schemas.AlertForm]


def incident_form(row: IncidentRow, registry: Registry) -> dict[str, Any]:
    """Return an incident in the form that the API shows."""
    taken = {"who": row.acknowledged_by or "", "note": row.note or "", "at_ms": row.acknowledged_ms}
    scope, _, name = row.node.partition(":")
    plain = ("id", "cause", "node", "kind", "district", "keeper", "severity", "state", "reason")
    times = ("onset_ms", "opened_ms", "told_ms", "closed_ms", "alerts", "suppressed", "devices", "notices")
    return {
        **{each: getattr(row, each) for each in (*plain, *times)},
        "place": place_of(scope, name, registry),
        "message": {"en": row.message.get("en", ""), "zh": row.message.get("zh", "")},
        "lon": number(row.lon),
        "lat": number(row.lat),
        "acknowledged": taken if row.acknowledged_ms is not None else None,
    }


def routes(house: House) -> APIRouter:
    """Return the routes of this file for one house."""
    router = APIRouter(prefix="/api/incidents", tags=["incidents"])

    @router.get("", response_model=IncidentsForm, summary="Incidents, newest first")
    async def incidents(
        state: Annotated[AskedState | None, Query(description="``open`` is active or acknowledged.")] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 200,
        before: Annotated[int | None, Query(description="Epoch ms: those that were opened before.")] = None,
    ) -> dict[str, Any]:
        """Return incidents that match."""
        rows = await run_in_threadpool(house.operations.incidents, state, limit, before)
        return {
            "incidents": [incident_form(row, house.registry) for row in rows],
            "next_before": _next_before(rows) if len(rows) == limit else None,
        }

    @router.get("/{incident_id}", response_model=IncidentDetail, summary="One incident with its alerts")
    async def incident(incident_id: IncidentId) -> dict[str, Any]:
        """Return one incident with its alerts."""
        row = await run_in_threadpool(house.operations.incident, incident_id)
        if row is None:
            raise Problem(404, f"There is no incident '{incident_id}'.")
        members = await run_in_threadpool(house.operations.alerts_of, incident_id, MEMBERS_MAX)
        return {
            **incident_form(row, house.registry),
            "members": [alert_form(each, house.registry) for each in members],
        }

    @router.post(
        "/{incident_id}/acknowledge",
        response_model=IncidentForm,
        responses={409: {"model": schemas.ProblemForm}},
        summary="Take an incident on with all its alerts",
    )
    async def acknowledge(incident_id: IncidentId, body: schemas.AcknowledgeForm) -> dict[str, Any]:
        """Note that somebody takes the incident on. Asked again, it changes nothing: the first to take it on stays."""
        taken = await run_in_threadpool(
            house.operations.acknowledge_incident, incident_id, body.who.strip(), body.note.strip(), house.now_ms()
        )
        tell(house.hub, taken, house.registry)
        row = await run_in_threadpool(house.operations.incident, incident_id)
        if row is None:
            raise Problem(404, f"There is no incident '{incident_id}'.")
        if row.state == "cleared" and row.acknowledged_ms is None:
            raise Problem(409, "The incident is over meanwhile; there is nothing left to take on.")
        return incident_form(row, house.registry)

    return router


def _next_before(rows: Sequence[IncidentRow]) -> int:
    """Return where the next page begins: those of the last millisecond come again, for some of them may be missing."""
    last = rows[-1].opened_ms
    return last if rows[0].opened_ms == last else last + 1
