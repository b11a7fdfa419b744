"""Questions about the books: the ledger of readings, what could not be read, and the lighting rates."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from starlette.concurrency import run_in_threadpool

from api import schemas
from api.house import House
from api.problems import Problem
from api.view import number
from devices.payloads import REASONS
from storage.ledger import Ledger, Line
from storage.operations import QuarantineRow

PAGE_MAX = 500


def ledger_form(ledger: Ledger) -> dict[str, Any]:
    """Return the ledger in the form that the API and the live stream show (schemas.LedgerForm)."""
    return {
        "kinds": [_line(name, line) for name, line in ledger.lines.items()],
        "total": _line("total", ledger.total),
        "balanced": ledger.balance(),
    }


def _line(name: str, line: Line) -> dict[str, Any]:
    return {
        "kind": name,
        "received": line.received,
        "stored": line.stored,
        "quarantined": line.quarantined,
        "duplicate": line.duplicate,
        "pending": line.pending,
        "balanced": line.balanced,
    }


def routes(house: House) -> APIRouter:
    """Return the routes of this file for one house."""
    router = APIRouter(prefix="/api", tags=["books"])

    @router.get("/ledger", response_model=schemas.LedgerForm, summary="What became of every reading")
    async def ledger() -> dict[str, Any]:
        """Return the ledger by kind: received = stored + quarantined + duplicate + pending."""
        return ledger_form(await run_in_threadpool(house.ledger))

    @router.get("/lighting", response_model=list[schemas.LightingForm], summary="Lighting rates just now")
    async def lighting(
        scope: Annotated[Literal["road", "cabinet", "grid"] | None, Query(description="One scope only.")] = None,
    ) -> list[dict[str, Any]]:
        """Return how many of the lamps that should burn do burn; empty by day and where no rule asks for it."""
        return [
            {
                "scope": rate.scope,
                "name": rate.name,
                "district": rate.district,
                "rate": number(rate.rate),
                "rate_low": number(rate.rate_low),
                "rate_high": number(rate.rate_high),
                "coverage": number(rate.coverage),
                "lit": rate.lit,
                "known": rate.known,
                "expected": rate.expected,
                "time_ms": rate.time_ms,
            }
            for rate in house.lighting()
            if scope in (None, rate.scope)
        ]

    @router.get("/quarantine", response_model=schemas.QuarantineForm, summary="Messages that could not be read")
    async def quarantine(
        reason: Annotated[str | None, Query(description=f"One of {', '.join((*REASONS, 'refused'))}.")] = None,
        device: Annotated[str | None, Query(description="Device id.")] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
    ) -> dict[str, Any]:
        """Return the newest messages in quarantine without their payloads, and how many there are by reason."""
        rows = await run_in_threadpool(house.operations.quarantine_list, limit, reason, device)
        counts = await run_in_threadpool(house.operations.quarantine_counts)
        return {"counts": counts, "messages": [_message(row) for row in rows]}

    @router.get("/quarantine/{number}", response_model=schemas.QuarantineDetail, summary="One message, whole")
    async def message(number: Annotated[int, Path(ge=0, description="Its number.")]) -> dict[str, Any]:
        """Return one message in quarantine with its payload as received."""
        row = await run_in_threadpool(house.operations.quarantine_show, number)
        if row is None:
            raise Problem(404, f"There is no message {number} in quarantine; the oldest go when it is full.")
        encoded = base64.b64encode(row.payload).decode()
        return {**_message(row), "payload_text": _text(row.payload), "payload_base64": encoded}

    return router


def _message(row: QuarantineRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "arrival_ms": row.arrival_ms,
        "reason": row.reason,
        "detail": row.detail,
        "topic": row.topic,
        "kind": row.kind,
        "device": row.device,
        "bytes": len(row.payload),
    }


def _text(payload: bytes) -> str | None:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None
