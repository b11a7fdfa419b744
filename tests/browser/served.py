"""A small house behind a real web server in a thread of its own, driven from the test's thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import uvicorn

from api.app import create_app
from api.live import Hub
from tests.real.processes import free_port
from tests.small_house import SmallHouse

T = TypeVar("T")
START_S = 20.0


class Served:
    """Serves a house while the block runs.

    Attributes:
        house: the house; call :meth:`do` to touch it, for the engine belongs to the server's loop.
        url: where it listens.
    """

    def __init__(self, house: SmallHouse) -> None:
        self.house = house
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Served:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start, or start again on the same port."""
        self.house.hub = Hub()
        app = create_app(self.house)
        self._server = server = uvicorn.Server(
            uvicorn.Config(app, port=self.port, log_level="critical", timeout_graceful_shutdown=2)
        )

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await server.serve()

        self._thread = threading.Thread(target=asyncio.run, args=(serve(),), name="served")
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not server.started:
            assert self._thread.is_alive(), "the web server ended while starting"
            assert time.monotonic() < deadline, "the web server does not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """End open streams, then the server."""
        if self._server is None or self._thread is None:
            return
        self.do(self.house.hub.close)
        self._server.should_exit = True
        self._thread.join(START_S)
        assert not self._thread.is_alive(), "the web server does not stop"
        self._server = self._thread = None

    def do(self, act: Callable[[], T]) -> T:
        """Run ``act`` on the server's event loop and return what it returns."""
        assert self._loop is not None

        async def run() -> T:
            return act()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)
