"""The web application of one house: its questions, its live stream, and the console's pages."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import Body, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Scope

from api import (
    alerts,
    assets,
    books,
    city,
    health,
    incidents,
    policy,
    problems,
    quarantine,
    reference,
    reloading,
    schemas,
)
from api.guard import COOKIE, Guard
from api.heartbeat import Heartbeat
from api.house import House
from api.live import TooManyClientsError, frame, stream
from api.problems import Problem
from api.view import View

HERE = Path(__file__).resolve().parent
YEAR_S = 31_536_000
NOT_BUILT = (
    "<!doctype html><meta charset=utf-8><title>Lamplighter</title>"
    "<p>The console is not built. Run <code>make console</code>, then start again."
    "<p>控制台尚未构建。请运行 <code>make console</code> 后重新启动。"
)


def console_folder() -> Path | None:
    """Return the folder of the built console: in an installed package, or in a checkout; None where it is not built."""
    for folder in (HERE / "console", HERE.parent / "console" / "dist"):
        if (folder / "index.html").is_file():
            return folder
    return None


def create_app(house: House) -> FastAPI:
    """Return the application. Close ``house.hub`` before stopping the server: it waits for open streams to end."""
    view = View(house)
    heart = Heartbeat(house, view)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        beating = asyncio.create_task(heart.run(), name="heartbeat")
        yield
        beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beating
        house.hub.close()

    app = FastAPI(
        title="Lamplighter 点灯人",
        version=house.version,
        description="Readings, alerts and the ledger of one city's streetlights, manhole covers, pumps and trucks.",
        lifespan=lifespan,
        docs_url=None,  # the stock pages fetch their scripts from outside; see reference.py
        redoc_url=None,
        responses={code: {"model": schemas.ProblemForm} for code in (400, 404, 503)},
    )
    problems.install(app)
    app.add_middleware(GZipMiddleware, minimum_size=2048, compresslevel=4)
    app.add_middleware(Guard, token=house.token, hosts=tuple(house.hosts))  # outermost: also dresses errors
    for part in (city, assets, health):
        app.include_router(part.routes(house, view))
    for part in (alerts, incidents, books, quarantine, reloading, policy):
        app.include_router(part.routes(house))
    _live(app, house, view, heart)
    _session(app, house)
    reference.install(app)
    _pages(app)
    return app


def _live(app: FastAPI, house: House, view: View, heart: Heartbeat) -> None:
    @app.get("/api/live", tags=["live"], summary="Live stream (server-sent events)", response_class=StreamingResponse)
    async def live() -> StreamingResponse:
        """Follow the house: ``hello`` at once, then ``alerts``, ``states``, ``moved``, ``registry`` and ``beat``.

        The stream tells changes only. A client that connects, or connects again (``Last-Event-ID`` is not needed),
        asks ``/api/map`` and ``/api/alerts`` after ``hello``. A client that reads too slowly is sent ``reconnect`` and
        let go.
        """
        try:
            one = house.hub.subscribe()
        except TooManyClientsError as trouble:
            raise Problem(503, f"{trouble}; close one or come again.", {"Retry-After": "10"}) from trouble
        heart.begin()
        about = {"now_ms": house.now_ms(), "speed": house.speed, "version": house.version, "revision": view.revision()}
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        body = stream(house.hub, one, frame("hello", about, 0))
        return StreamingResponse(body, media_type="text/event-stream", headers=headers)


def _session(app: FastAPI, house: House) -> None:
    @app.post("/api/session", tags=["session"], status_code=204, summary="Give the token once, get a cookie")
    async def session(request: Request, token: Annotated[str, Body(embed=True, max_length=512)]) -> Response:
        """Set the cookie that stands for the token in this browser; needed only where a token is asked."""
        if house.token is not None and not hmac.compare_digest(token.encode(), house.token.encode()):
            raise Problem(401, "That is not this house's token.")
        answer = Response(status_code=204)
        if house.token is not None:
            secure = request.url.scheme == "https"
            answer.set_cookie(COOKIE, token, max_age=30 * 86400, httponly=True, samesite="strict", secure=secure)
        return answer


class _Console(StaticFiles):
    """The built pages: names with a hash are kept for a year, the page itself is asked for each time."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        kept = path.startswith("assets/")
        answer.headers["Cache-Control"] = f"public, max-age={YEAR_S}, immutable" if kept else "no-cache"
        return answer


def _pages(app: FastAPI) -> None:
    @app.api_route("/api/{rest:path}", methods=["GET", "POST"], include_in_schema=False)
    async def unknown(rest: str) -> JSONResponse:
        return problems.problem(404, f"There is nothing at /api/{rest}; /openapi.json lists what can be asked.")

    folder = console_folder()
    if folder is not None:
        app.mount("/", _Console(directory=folder, html=True), name="console")
        return

    @app.get("/", include_in_schema=False)
    async def not_built() -> HTMLResponse:
        return HTMLResponse(NOT_BUILT)
