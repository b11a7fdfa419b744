"""Messages that could not be read, and what a person may do with them: look, have them read again, purge them."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Path, Query
from starlette.concurrency import run_in_threadpool

from api import quarantine_forms as forms
from api import schemas
from api.house import House
from api.problems import Problem
from devices.payloads import REASONS
from storage.operations import Choice, QuarantineRow
from storage.plainly import plainly, visible
from storage.quarantine import REFUSED

PAGE_MAX = 500
KNOWN_REASONS = (*REASONS, REFUSED)

log = structlog.get_logger("quarantine")


def _asked(
    reason: Annotated[str | None, Query(description=f"One of {', '.join(KNOWN_REASONS)}.", max_length=32)] = None,
    device: Annotated[str | None, Query(description="Device id.", max_length=64)] = None,
    kind: Annotated[str | None, Query(description="Kind of facility.", max_length=48)] = None,
    topic: Annotated[str | None, Query(description="Part of the topic.", max_length=256)] = None,
    since: Annotated[int | None, Query(ge=0, le=1 << 53, description="Epoch ms: arrived then or later.")] = None,
    until: Annotated[int | None, Query(ge=0, le=1 << 53, description="Epoch ms: arrived before.")] = None,
) -> Choice:
    return Choice(reason, device, kind, topic, since, until)


def routes(house: House) -> APIRouter:
    """Return the routes of this file for one house."""
    router = APIRouter(prefix="/api/quarantine", tags=["quarantine"])

    @router.get("", response_model=forms.QuarantineForm, summary="Messages that could not be read")
    async def quarantine(
        choice: Annotated[Choice, Depends(_asked)],
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
        before: Annotated[int | None, Query(ge=0, le=1 << 53, description="Number: older ones only.")] = None,
    ) -> dict[str, Any]:
        """Return the newest messages that match, without their payloads, and the books of the quarantine by reason."""
        return await run_in_threadpool(_page, house, choice, limit, before)

    @router.post(
        "/replay",
        response_model=forms.ReplayedForm,
        responses={422: {"model": schemas.ProblemForm}},
        summary="Read messages again",
    )
    async def replay(body: forms.ReplayForm) -> dict[str, Any]:
        """Mark the messages that match; the house takes them within seconds, or at its next start.

        What can be read now moves to the store; what cannot stays, with its new reason and one attempt more.
        """
        asked = await run_in_threadpool(house.operations.quarantine_ask, _choice(body), house.now_ms())
        log.info("messages are to be read again", who=body.who.strip(), messages=asked)
        return {"asked": asked}

    @router.post(
        "/purge",
        response_model=forms.PurgedForm,
        responses={409: {"model": schemas.ProblemForm}, 422: {"model": schemas.ProblemForm}},
        summary="Delete messages for good",
    )
    async def purge(body: forms.PurgeForm) -> dict[str, Any]:
        """Delete the messages that match, provided that they are as many as ``expected``: what was looked at goes."""
        choice = _choice(body)
        found = await run_in_threadpool(house.operations.quarantine_number, choice)
        if found != body.expected:
            raise Problem(409, f"{found} messages match just now, not {body.expected}; look again before they go.")
        purged = await run_in_threadpool(house.operations.quarantine_purge, choice)
        log.warning("messages purged from quarantine", who=body.who.strip(), messages=purged)
        return {"purged": purged}

    @router.get("/{number}", response_model=forms.QuarantineDetail, summary="One message, whole")
    async def message(number: Annotated[int, Path(ge=0, le=1 << 53, description="Its number.")]) -> dict[str, Any]:
        """Return one message in quarantine with its payload as received, and as a person may look at it."""
        row = await run_in_threadpool(house.operations.quarantine_show, number)
        if row is None:
            raise Problem(404, f"There is no message {number} in quarantine; the oldest go when it is full.")
        form, shown = plainly(row.payload)
        encoded = base64.b64encode(row.payload).decode()
        whole = {"payload_text": _text(row.payload), "payload_base64": encoded, "form": form, "shown": shown}
        return {**_message(row), **whole}

    return router


def _page(house: House, choice: Choice, limit: int, before: int | None) -> dict[str, Any]:
    operations = house.operations
    rows = operations.quarantine_list(limit, choice=choice, before=before)
    return {
        "counts": operations.quarantine_counts(),
        "let_go": operations.quarantine_gone(),
        "purged": operations.quarantine_purged(),
        "replayed": sum(operations.shipped().replayed.values()),
        "matching": operations.quarantine_number(choice),
        "messages": [_message(row) for row in rows],
        "next_before": rows[-1].id if len(rows) == limit else None,
    }


def _choice(body: forms.ChoiceForm) -> Choice:
    numbers = None if body.numbers is None else tuple(body.numbers)
    return Choice(body.reason, body.device, body.kind, body.topic, body.since_ms, body.until_ms, numbers)


def _message(row: QuarantineRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "arrival_ms": row.arrival_ms,
        "reason": row.reason,
        "detail": visible(row.detail),
        "topic": visible(row.topic, keep=""),
        "kind": row.kind,
        "device": row.device,
        "bytes": len(row.payload),
        "attempts": row.attempts,
        "asked_ms": row.asked_ms,
        "replayable": row.replayable,
    }


def _text(payload: bytes) -> str | None:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None
