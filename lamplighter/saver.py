"""Snapshots in their time: written down between two groups, and brought to the disk while others go on."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import structlog

from lamplighter.pulse import Pulse
from storage import snapshot
from storage.journal import Journal, JournalError
from storage.shipper import Shipper

log = structlog.get_logger("watch")

SNAPSHOT_S = 60.0  # host seconds between snapshots: bounds how much journal a restart reads again
SNAPSHOT_RETRY_S = 10.0  # a snapshot that could not be written is tried again so soon, and the health is red no longer

Remembered = Callable[[], Iterator[tuple[str, npt.NDArray[np.generic]]]]


class Saver:
    """Writes snapshots, one at a time.

    Args:
        folder: where they go.
        journal: made safe before each.
        shipper: told up to where the newest reaches, so that what lies before may be released.
        pulse: told of trouble.

    Attributes:
        due_s: when the next is due, by the loop's clock; infinity while one is on its way.
    """

    def __init__(self, folder: Path, journal: Journal, shipper: Shipper, pulse: Pulse) -> None:
        self._folder, self._journal, self._shipper, self._pulse = folder, journal, shipper, pulse
        self.due_s = 0.0
        self._on_its_way: asyncio.Task[None] | None = None

    def rest(self, seconds: float | None = None) -> None:
        """Let the next one be due in so many seconds, by default in as many as lie between two."""
        self.due_s = asyncio.get_running_loop().time() + (SNAPSHOT_S if seconds is None else seconds)

    async def begin(self, position: Callable[[], int], remembered: Remembered) -> None:
        """Write down what is remembered now, and let it find its way to the disk while others go on.

        The journal is made safe first: where it cannot be, what it took is written again at other positions, and a
        snapshot beyond the safe ones would hide what is written there next.

        Args:
            position: gives the journal position up to which everything has been judged.
            remembered: gives the state that belongs to it.
        """
        if self._on_its_way is not None:
            await self._on_its_way
        try:
            await asyncio.to_thread(self._journal.sync)
            reached = position()
            draft = snapshot.Draft(self._folder, reached, remembered())
        except (JournalError, OSError) as trouble:
            self._ended(str(trouble))
        else:
            self.due_s = math.inf
            self._on_its_way = asyncio.create_task(self._finish(draft, reached), name="snapshot")

    async def save(self, position: Callable[[], int], remembered: Remembered) -> None:
        """Do the same, and wait until it is on the disk."""
        await self.begin(position, remembered)
        if self._on_its_way is not None:
            await self._on_its_way

    def cancel(self) -> None:
        """Let go of one that is on its way; the one before stays the newest."""
        if self._on_its_way is not None:
            self._on_its_way.cancel()

    async def _finish(self, draft: snapshot.Draft, reached: int) -> None:
        try:
            await asyncio.to_thread(draft.finish)
        except OSError as trouble:
            self._ended(str(trouble))
        else:
            self._shipper.judged = reached
            self._ended("")
        finally:
            self._on_its_way = None

    def _ended(self, trouble: str) -> None:
        if trouble and not self._pulse.snapshot_trouble:
            log.warning("no snapshot can be written: the one before stays", why=trouble)
        self._pulse.snapshot_trouble = trouble
        self.rest(SNAPSHOT_RETRY_S if trouble else None)
