"""Errors as problem JSON (RFC 9457), each with one plain sentence on what was wrong and what would be accepted."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from storage.operations import AWAY, in_words
from storage.timeseries import StoreAway

TITLES = {
    400: "This cannot be asked",
    401: "A token is needed",
    403: "Not from here",
    404: "Not found",
    405: "Not that way",
    409: "Too late for that",
    413: "Too much at once",
    422: "This cannot be asked",
    500: "A fault in the program",
    503: "Not just now",
}


class Problem(HTTPException):
    """An error with the sentence that the caller gets to read."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an error as application/problem+json."""
    body = {"type": "about:blank", "title": TITLES.get(status, "Error"), "status": status, "detail": detail}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Make every error of ``app`` a problem."""

    @app.exception_handler(HTTPException)
    async def told(_request: Request, trouble: HTTPException) -> JSONResponse:
        return problem(trouble.status_code, str(trouble.detail), dict(trouble.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, trouble: RequestValidationError) -> JSONResponse:
        return problem(422, "; ".join(_sentence(error["loc"], error["msg"]) for error in trouble.errors()))

    @app.exception_handler(StoreAway)
    async def store_away(_request: Request, trouble: StoreAway) -> JSONResponse:
        detail = f"The time-series store does not answer; readings wait in the journal. ({trouble})"
        return problem(503, detail, {"Retry-After": str(max(1, round(trouble.retry_after_s)))})

    async def operations_away(_request: Request, trouble: Exception) -> JSONResponse:
        detail = f"The operations database refuses just now; nothing was changed. ({in_words(trouble)})"
        return problem(503, detail, {"Retry-After": "5"})

    for kind in AWAY:
        app.add_exception_handler(kind, operations_away)


def _sentence(place: Sequence[str | int], text: str) -> str:
    name = ".".join(str(part) for part in place[1:]) or "body"
    return f"{name}: {text.removeprefix('Value error, ')}"
