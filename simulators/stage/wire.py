"""A line between the house and the staged broker: bytes take their time, are split and merged, and lines break."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from simulators.stage.dice import Dice
from simulators.stage.loop import VirtualLoop

APART_S = 1e-6  # between two arrivals, so that bytes never overtake each other


class Line(asyncio.Transport):
    """One connection. The house holds it as its transport, the broker as its line.

    Args:
        loop: virtual time.
        dice: how bytes travel.
        protocol: the house's end.

    Attributes:
        heard: called with what the house said; set by the broker.
        hung_up: called when the house's end has gone; set by the broker.
        dark: half open: nothing arrives on either side, and nobody is told.
        gone: over, for the house's end.
    """

    def __init__(self, loop: VirtualLoop, dice: Dice, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._loop, self._dice = loop, dice
        self._protocol = cast("asyncio.BufferedProtocol", protocol)
        self.heard: Callable[[bytes], None] = lambda _: None
        self.hung_up: Callable[[], None] = lambda: None
        self.dark = False
        self.gone = False
        self._closing = False
        self._paused = False
        self._up_s = self._down_s = 0.0
        self._waiting = bytearray()  # arrived while the house does not read

    # The house's end.

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send bytes to the broker."""
        if not self._closing and not self._loop.dead:
            self._up_s = max(self._up_s + APART_S, self._loop.now_s + self._dice.lag_s())
            self._loop.call_at(self._up_s, self._arrive_up, bytes(data))

    def is_closing(self) -> bool:
        """Return whether the house has closed it."""
        return self._closing

    def close(self) -> None:
        """Hang up; what was written before still arrives."""
        self._end(None)

    def abort(self) -> None:
        """Hang up at once."""
        self._end(None)

    def pause_reading(self) -> None:
        """Let bytes wait."""
        self._paused = True

    def resume_reading(self) -> None:
        """Read on."""
        self._paused = False
        if self._waiting:
            self._loop.call_soon(self._hand_over)

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as asyncio declares it
        """Return nothing: there is no socket."""
        del name
        return default

    # The broker's end.

    def send(self, data: bytes) -> None:
        """Send bytes to the house, sometimes in pieces."""
        if self.gone or self._closing:
            return
        while data:
            size = self._dice.whole(1, len(data)) if self._dice.chance(0.1) else len(data)
            piece, data = data[:size], data[size:]
            self._down_s = max(self._down_s + APART_S, self._loop.now_s + self._dice.lag_s())
            self._loop.call_at(self._down_s, self._arrive_down, piece)

    def hang_up(self, trouble: Exception | None = None, last: bytes = b"") -> None:
        """End it from the broker's side: after what was sent, or at once with the beginning of ``last``."""
        if trouble is None:
            self._down_s = max(self._down_s + APART_S, self._loop.now_s + self._dice.lag_s())
            self._loop.call_at(self._down_s, self._end, None)
            return
        if last and not self.gone and not self.dark and self._down_s < self._loop.now_s:  # nothing is on its way
            self._waiting += last
            if not self._paused:
                self._hand_over()
        self._end(trouble)

    def vanish(self) -> None:
        """Let the house's end disappear without a word, as in a power cut."""
        self._closing = self.gone = True
        self.dark = True

    # On the way.

    def _arrive_up(self, data: bytes) -> None:
        if not self.dark:
            self.heard(data)

    def _arrive_down(self, data: bytes) -> None:
        if self.gone or self.dark:
            return
        self._waiting += data
        if not self._paused:
            self._hand_over()

    def _hand_over(self) -> None:
        while self._waiting and not self._paused and not self.gone and not self._loop.dead:
            place = memoryview(self._protocol.get_buffer(-1))
            size = min(len(place), len(self._waiting))
            place[:size] = self._waiting[:size]
            del self._waiting[:size]
            self._protocol.buffer_updated(size)

    def _end(self, trouble: Exception | None) -> None:
        if self.gone:
            return
        self.gone = self._closing = True
        self._loop.call_soon(self._told, trouble)
        self._up_s = max(self._up_s + APART_S, self._loop.now_s + self._dice.lag_s())
        self._loop.call_at(self._up_s, self._broker_told)

    def _told(self, trouble: Exception | None) -> None:
        if not self._loop.dead:
            self._protocol.connection_lost(trouble)

    def _broker_told(self) -> None:
        if not self.dark:
            self.hung_up()
