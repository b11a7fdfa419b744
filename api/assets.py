"""Questions about assets: where they are, how they are, what they last said, what they said before."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from alerts.fleet import NEVER
from api import alerts, schemas
from api.house import House
from api.problems import Problem
from api.view import View, json, known, number
from devices.kinds import Kind

DAY_MS = 86_400_000
SPAN_MS_MAX = 400 * DAY_MS
POINTS_MAX = 5000
FIELDS_MAX = 8
PAGE_MAX = 1000

DeviceId = Annotated[str, Path(description="Device id, as in its topic.", examples=["lamp-0001"])]


def routes(house: House, view: View) -> APIRouter:
    """Return the routes of this file for one house."""
    router = APIRouter(prefix="/api", tags=["assets"])

    @router.get("/map", response_model=schemas.MapForm, summary="All assets as columns, for drawing")
    async def columns() -> Response:
        """Return ids, positions and states of all assets; follow changes with ``/api/live``."""
        return json(view.columns())

    @router.get("/assets", response_model=schemas.AssetsForm, summary="Assets, filtered, by pages")
    async def assets(
        kind: Annotated[str | None, Query(description="Kind name.")] = None,
        role: Annotated[str | None, Query(description="Role name.")] = None,
        district: Annotated[str | None, Query()] = None,
        road: Annotated[str | None, Query()] = None,
        grid: Annotated[str | None, Query(description="Grid cell.")] = None,
        state: Annotated[str | None, Query(description=f"One of {', '.join(schemas.STATES)}.")] = None,
        find: Annotated[str | None, Query(max_length=64, description="Part of an id or a name.")] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
        after: Annotated[int, Query(ge=-1, description="Row after which the page begins.")] = -1,
    ) -> Response:
        """Return assets as objects, in registry order."""
        wanted = {"kind": kind, "role": role, "district": district, "road": road, "grid": grid}
        return json(_page(house, view, {k: v for k, v in wanted.items() if v}, state, find, limit, after))

    @router.get("/assets/{device_id}", response_model=schemas.AssetDetail, summary="One asset with its newest values")
    async def asset(device_id: DeviceId) -> Response:
        """Return facts, place, newest trusted values with their age, and open alerts."""
        row = _row(house, device_id)
        body = _detail(house, view, row)
        rows = await run_in_threadpool(alerts.open_of, house, f"device:{device_id}")
        body["alerts"] = [alerts.alert_form(each, house.registry) for each in rows]
        return json(body)

    @router.get("/assets/{device_id}/history", response_model=schemas.HistoryForm, summary="Readings over time")
    async def history(
        device_id: DeviceId,
        fields: Annotated[str, Query(description=f"Field names by commas, at most {FIELDS_MAX}.")],
        from_ms: Annotated[int | None, Query(alias="from", description="Epoch ms; a day before ``until``.")] = None,
        until_ms: Annotated[int | None, Query(alias="until", description="Epoch ms; now.")] = None,
        points: Annotated[int, Query(ge=2, le=POINTS_MAX, description="At most so many a field.")] = 600,
    ) -> Response:
        """Return readings of one asset, thinned evenly where there are more than ``points``."""
        row = _row(house, device_id)
        kind = house.registry.catalog[house.registry.assets[row].kind]
        names = _fields(kind, fields)
        until = house.now_ms() + 1 if until_ms is None else until_ms
        since = until - DAY_MS if from_ms is None else from_ms
        if not 0 < until - since <= SPAN_MS_MAX:
            raise Problem(400, f"'from' must lie before 'until' by at most {SPAN_MS_MAX // DAY_MS} days.")
        found = await run_in_threadpool(house.timeseries.history, kind.name, device_id, names, since, until, points)
        head = {"id": device_id, "kind": kind.name, "from_ms": since, "until_ms": until}
        return json({**head, "time_ms": found.time_ms, "values": found.values})

    @router.get("/last", response_model=schemas.LastForm, summary="Newest values of a kind, as columns")
    async def last(kind: Annotated[str, Query(description="Kind name.")]) -> Response:
        """Return the newest trusted value of every field of every asset of one kind."""
        return json(_last(house, kind))

    return router


def _row(house: House, device_id: str) -> int:
    row = house.registry.row.get(device_id)
    if row is None:
        raise Problem(404, f"The registry has no asset '{device_id}'.")
    return row


def _fields(kind: Kind, text: str) -> list[str]:
    names = list(dict.fromkeys(part for part in text.split(",") if part))
    strange = [name for name in names if name not in kind.field_names()]
    if strange or not names:
        told = f"A {kind.name} has no field '{strange[0]}'" if strange else "'fields' names no field"
        raise Problem(400, f"{told}; it has {', '.join(kind.field_names())}.")
    if len(names) > FIELDS_MAX:
        raise Problem(400, f"At most {FIELDS_MAX} fields are read at once; {len(names)} were asked for.")
    return names


def _asset(house: House, view: View, row: int, state: int) -> dict[str, Any]:
    asset = house.registry.assets[row]
    lon, lat = view.positions()
    return {
        "row": row,
        "id": asset.id,
        "kind": asset.kind,
        "role": asset.role,
        "name": asset.name,
        "lon": number(lon[row]),
        "lat": number(lat[row]),
        "state": state,
        "district": asset.district,
        "street": asset.street,
        "road": asset.road,
        "cabinet": asset.cabinet,
        "circuit": asset.circuit,
        "pole_index": asset.pole_index if asset.pole_index >= 0 else None,
        "grid": asset.grid,
        "owner": asset.owner,
        "keeper": asset.keeper,
    }


def _page(
    house: House, view: View, wanted: dict[str, str], state: str | None, find: str | None, limit: int, after: int
) -> dict[str, Any]:
    states = view.states()
    chosen = _chosen(house, wanted)
    if state is not None:
        if state not in schemas.STATES:
            raise Problem(400, f"'state' is one of {', '.join(schemas.STATES)}; found '{state}'.")
        chosen = chosen[states[chosen] == schemas.STATES.index(state) - 1]
    if find:
        chosen = np.intersect1d(chosen, house.registry.columns.holding(find))
    page = chosen[chosen > after][:limit]
    more = len(page) > 0 and page[-1] != chosen[-1]
    return {
        "total": len(chosen),
        "assets": [_asset(house, view, int(row), int(states[row])) for row in page],
        "next_after": int(page[-1]) if more else None,
    }


def _chosen(house: House, wanted: dict[str, str]) -> npt.NDArray[np.intp]:
    registry = house.registry
    kind, role = wanted.pop("kind", None), wanted.pop("role", None)
    if kind is not None and kind not in registry.catalog.kinds:
        raise Problem(400, f"No kind '{kind}'; known: {', '.join(registry.catalog.kinds)}.")
    chosen = np.ones(len(registry), dtype=bool)
    if kind is not None:
        chosen &= registry.kind == registry.catalog[kind].index
    if role is not None:
        roles = registry.columns.coded["role"]
        chosen &= roles.code == (roles.names.index(role) if role in roles.names else -2)
    for place, name in wanted.items():
        group = registry.group(place)
        chosen &= group.code == (group.names.index(name) if name in group.names else -2)
    return np.flatnonzero(chosen)


def _detail(house: House, view: View, row: int) -> dict[str, Any]:
    asset = house.registry.assets[row]
    kind = house.registry.catalog[asset.kind]
    live = house.engine.fleet.live[asset.kind]
    at = int(live.local[row])
    seen = known(live.seen_ms[at])
    values = [
        {"field": field.name, "value": number(live.values[column, at])}
        for column, field in enumerate(kind.fields)
        if not field.roles or asset.role in field.roles
    ]
    return {
        **_asset(house, view, row, int(view.states()[row])),
        "facts": {fact.name: number(asset.facts.get(fact.name, math.nan)) for fact in kind.facts},
        "time_ms": known(live.time_ms[at]),
        "seen_ms": seen,
        "age_ms": None if seen is None else max(0, house.now_ms() - seen),
        "values": values,
    }


def _last(house: House, name: str) -> dict[str, Any]:
    if name not in house.registry.catalog.kinds:
        raise Problem(400, f"No kind '{name}'; known: {', '.join(house.registry.catalog.kinds)}.")
    live = house.engine.fleet.live[name]
    return {
        "kind": name,
        "id": house.registry.ids_of(live.rows),
        "time_ms": [None if each == NEVER else each for each in live.time_ms.tolist()],
        "seen_ms": [None if each == NEVER else each for each in live.seen_ms.tolist()],
        "values": {field.name: live.values[column].tolist() for column, field in enumerate(live.kind.fields)},
    }
