"""A TCP proxy on loopback that a test can make misbehave: reset, cut, go silent, delay."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """Carries bytes both ways; each method does to all present and coming connections what a bad network does.

    Args:
        target: loopback port of the server.

    Attributes:
        port: where clients connect.
        accepted: connections that came, also refused ones.
        cuts: connections ended by the test.
        silent: bytes are swallowed both ways and nobody is told: a line without FIN.
        closed_door: new connections are reset at once.
        delay_s: each piece is held back so long.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.accepted = self.cuts = 0
        self.silent = self.closed_door = False
        self.delay_s = 0.0
        self._lines: set[asyncio.StreamWriter] = set()

    @property
    def open(self) -> int:
        """Return how many clients are connected."""
        return len(self._lines)

    def cut(self, *, reset: bool = True) -> int:
        """End every connection: by a reset, or politely; return how many."""
        lines = list(self._lines)
        for line in lines:
            if reset:
                line.transport.abort()
            else:
                line.close()
        self.cuts += len(lines)
        return len(lines)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.closed_door:
            writer.transport.abort()
            return
        self._lines.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            self._lines.discard(writer)
            writer.transport.abort()
            return
        carrying = [asyncio.create_task(self._carry(reader, back)), asyncio.create_task(self._answer(there, writer))]
        try:
            await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in carrying:
                task.cancel()
            self._lines.discard(writer)
            back.transport.abort()
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry what the server says; that it hangs up gets no further than the rest while the line is silent."""
        await self._carry(reader, writer)
        while self.silent:  # noqa: ASYNC110 - whoever tests sets it
            await asyncio.sleep(0.05)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if not self.silent:
                    writer.write(data)
                    await writer.drain()


@asynccontextmanager
async def proxy(target: int) -> AsyncIterator[Proxy]:
    """Run a proxy for the length of a block."""
    between = Proxy(target)
    server = await asyncio.start_server(between.serve, "127.0.0.1", 0, backlog=4096)
    between.port = server.sockets[0].getsockname()[1]
    try:
        yield between
    finally:
        server.close()
        between.cut()
        await server.wait_closed()
        await asyncio.sleep(0.02)
