"""Questions about the books: the ledger of readings, and the lighting rates."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from api import schemas
from api.house import House
from api.view import number
from storage.ledger import Ledger, Line


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
        "replayed": line.replayed,
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

    return router
