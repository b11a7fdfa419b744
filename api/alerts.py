"""Questions about alerts, and the one change that an operator may make here: taking one on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from starlette.concurrency import run_in_threadpool

from alerts.policy_stale import Staleness
from api import schemas
from api.house import House
from api.live import Hub
from api.problems import Problem
from api.view import number
from devices.registry import Registry
from storage.operations import AlertRow

PAGE_MAX = 1000
TOLD_MAX = 500  # alerts in one event of the live stream: half a megabyte

AskedState = Literal["active", "acknowledged", "latched", "open", "cleared", "pending"]
AlertId = Annotated[str, Path(description="The alert's id.", pattern=r"^[0-9a-f]{4,32}$")]


def alert_form(row: AlertRow, registry: Registry, flags: Sequence[str] = ()) -> dict[str, Any]:
    """Return an alert in the form that the API and the live stream show (schemas.AlertForm).

    Args:
        row: as the operations database holds it.
        registry: where names and places stand.
        flags: further ones, which the engine knows and the database does not.
    """
    scope, _, name = row.entity.partition(":")
    message = row.cleared_message if row.state in ("cleared", "latched") and row.cleared_message else row.message
    taken = row.acknowledged_ms is not None
    return {
        "id": row.id,
        "rule": row.rule,
        "entity": row.entity,
        "asset": name if scope == "device" else None,
        "place": place_of(scope, name, registry),
        "kind": row.kind,
        "severity": row.severity,
        "state": row.state,
        "message": {"en": message.get("en", ""), "zh": message.get("zh", "")},
        "onset_ms": row.onset_ms,
        "active_ms": row.active_ms,
        "cleared_ms": row.cleared_ms,
        "reason": row.reason,
        "values": {key: number(value) for key, value in row.values.items()},
        "lon": number(row.lon),
        "lat": number(row.lat),
        "district": row.district,
        "acknowledged": {"who": row.acknowledged_by or "", "note": row.note or "", "at_ms": row.acknowledged_ms}
        if taken
        else None,
        "flags": [*flags_of(row), *flags],
        "shelved": _shelved(row),
        "incident": row.incident,
        "suppressed_by": row.suppressed_by,
    }


def flags_of(row: AlertRow) -> list[str]:
    """Return what stands beside an open alert's state; a cleared one has no flags."""
    if row.state == "cleared":
        return []
    suppressed = ["suppressed"] if row.suppressed_by else []
    return [*suppressed, *(["shelved"] if _shelved(row) else []), *row.policy.marks]


def _shelved(row: AlertRow) -> dict[str, Any] | None:
    policy = row.policy
    if policy.shelved_until_ms is None or row.state == "cleared":
        return None
    return {"until_ms": policy.shelved_until_ms, "who": policy.shelved_by, "why": policy.shelved_why}


def place_of(scope: str, name: str, registry: Registry) -> str:
    """Return where an alert's entity is, as people call it."""
    row = registry.row.get(name) if scope in ("device", "cabinet") else None
    if row is None:
        return name
    asset = registry.assets[row]
    label, road = asset.name or asset.id, asset.road or asset.street
    return label if not road or road in label else f"{road} · {label}"


def tell(hub: Hub, rows: Sequence[AlertRow], registry: Registry) -> None:
    """Publish alerts that began, changed or ended to every open console; from any thread.

    Many go into one event, so that a storm of alerts does not fill the queues of clients that read well.
    """
    for start in range(0, len(rows), TOLD_MAX):
        hub.publish("alerts", {"alerts": [alert_form(row, registry) for row in rows[start : start + TOLD_MAX]]})


def open_of(house: House, entity: str) -> list[AlertRow]:
    """Return the open alerts on one entity; blocking."""
    return house.operations.alerts("open", entity=entity)


def routes(house: House) -> APIRouter:
    """Return the routes of this file for one house."""
    router = APIRouter(prefix="/api/alerts", tags=["alerts"])

    @router.get("", response_model=schemas.AlertsForm, summary="Alerts, newest first")
    async def alerts(
        state: Annotated[AskedState | None, Query(description="``open`` is all but cleared.")] = None,
        kind: Annotated[str | None, Query(description="Kind of facility.")] = None,
        rule: Annotated[str | None, Query(description="Rule id.")] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 200,
        before: Annotated[int | None, Query(description="Epoch ms: those that began before.")] = None,
    ) -> dict[str, Any]:
        """Return alerts that match; ``pending`` are conditions that hold but not yet for long enough."""
        if state == "pending":
            return {"alerts": [], "pending": _pending(house, kind, rule)[:limit], "next_before": None}
        asked = "standing" if state == "open" else state
        rows = await run_in_threadpool(house.operations.alerts, asked, rule, kind, limit, before)
        stale = Staleness(house.engine)
        return {
            "alerts": [alert_form(row, house.registry, _stale(stale, row, house.now_ms())) for row in rows],
            "pending": [],
            "next_before": _next_before(rows) if len(rows) == limit else None,
        }

    @router.get("/{alert_id}", response_model=schemas.AlertForm, summary="One alert")
    async def alert(alert_id: AlertId) -> dict[str, Any]:
        """Return one alert."""
        row = await run_in_threadpool(house.operations.alert, alert_id)
        if row is None:
            raise Problem(404, f"There is no alert '{alert_id}'.")
        return alert_form(row, house.registry, _stale(Staleness(house.engine), row, house.now_ms()))

    @router.post(
        "/{alert_id}/acknowledge",
        response_model=schemas.AlertForm,
        responses={409: {"model": schemas.ProblemForm}},
        summary="Take an alert on",
    )
    async def acknowledge(alert_id: AlertId, body: schemas.AcknowledgeForm) -> dict[str, Any]:
        """Note that somebody takes the alert on. Asked again, it changes nothing: the first to take it on stays."""
        row = await run_in_threadpool(house.operations.alert, alert_id)
        if row is None:
            raise Problem(404, f"There is no alert '{alert_id}'.")
        if row.state == "active":
            row = await run_in_threadpool(
                house.operations.acknowledge, alert_id, body.who.strip(), body.note.strip(), house.now_ms()
            )
            if row is None:
                raise Problem(404, f"There is no alert '{alert_id}'.")
            tell(house.hub, [row], house.registry)
        if row.state == "cleared" and row.acknowledged_ms is None:
            raise Problem(409, "The alert has cleared meanwhile; there is nothing left to take on.")
        return alert_form(row, house.registry)

    return router


def _stale(staleness: Staleness, row: AlertRow, now_ms: int) -> list[str]:
    return ["stale_held"] if row.state in ("active", "acknowledged") and staleness.holds(row, now_ms) else []


def _next_before(rows: Sequence[AlertRow]) -> int:
    """Return where the next page begins: alerts of the last millisecond come again, for some of them may be missing."""
    last = rows[-1].begun_ms
    return last if rows[0].begun_ms == last else last + 1


def _pending(house: House, kind: str | None, rule: str | None) -> list[dict[str, Any]]:
    rules = {each.id: each for each in house.engine.rules.rules}
    return [
        {
            "rule": each.rule,
            "entity": each.entity,
            "severity": rules[each.rule].severity,
            "since_ms": each.since_ms,
        }
        for each in house.engine.pending()
        if rule in (None, each.rule) and kind in (None, rules[each.rule].device)
    ]
