"""A staged disk: real files, an ``os`` that knows what was brought to the disk, faults, and power cuts.

What was written and not fsynced may survive a power cut whole, in part, torn, or not at all; so may names in a folder
that was not fsynced. After the death of a process alone, everything written stays.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulators.stage.dice import Dice, Trace

WATCHED = ("journal/segment-*.log", "snapshots/snapshot-*")
TORN = 0.4  # share of power cuts in which the last bytes written are rubbish


class StagedDisk:
    """The disk under one data folder; stands in the place of the module ``os`` in those that write to it.

    Attributes:
        full: ENOSPC at writes.
        sick: how many calls of fsync fail with EIO.
        refused: how many calls have failed.
        step: called with the name of what is about to happen or has happened, for crashes inside.
    """

    def __init__(self, folder: Path, dice: Dice, trace: Trace) -> None:
        self.folder, self._dice, self._trace = folder, dice, trace
        self.full = False
        self.sick = 0
        self.refused = 0
        self.step: Callable[[str], None] = lambda _: None
        self._safe: dict[int, int] = {}  # bytes of a file that survive a power cut, by inode
        self._named: set[str] = set()  # names that survive it
        self._frozen: dict[Path, tuple[int, int]] | None = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - everything else is the real thing
        return getattr(os, name)

    # In the place of os.

    def pwrite(self, handle: int, data: bytes | memoryview, place: int) -> int:
        """Write, or part of it; what is written over is safe no longer."""
        inode = os.fstat(handle).st_ino
        if self._frozen is None and self._safe.get(inode, 0) > place:
            self._safe[inode] = place
        if self.full:
            self.refused += 1
            os.pwrite(handle, bytes(data)[: self._dice.whole(0, len(data) // 2)], place)
            raise OSError(errno.ENOSPC, "No space left on device")
        if self._dice.chance(0.01) and len(data) > 1:
            return os.pwrite(handle, bytes(data)[: self._dice.whole(1, len(data) - 1)], place)
        written = os.pwrite(handle, data, place)
        self.step("os.pwrite")
        return written

    def fdatasync(self, handle: int) -> None:
        """Bring a file to the disk."""
        self._sync(handle)

    def fsync(self, handle: int) -> None:
        """Bring a file, or the names in a folder, to the disk."""
        self._sync(handle)

    def _sync(self, handle: int) -> None:
        self.step("os.fsync begins")
        if self.full and self._dice.chance(0.3):
            self.refused += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.sick:
            self.sick -= 1
            self.refused += 1
            self._trace.note("fsync fails")
            raise OSError(errno.EIO, "Input/output error")
        if self._frozen is not None:
            return
        state = os.fstat(handle)
        if os.path.isdir(f"/proc/self/fd/{handle}"):  # noqa: PTH112 - a handle, not a path
            self._named.update(os.listdir(handle))
        else:
            self._safe[state.st_ino] = state.st_size
        self.step("os.fsync")

    # Death and life.

    def freeze(self) -> None:
        """The process has ended: nothing written from here on has happened."""
        if self._frozen is None:
            self._frozen = {path: (path.stat().st_ino, path.stat().st_size) for path in self._files()}

    def settle(self, *, power_cut: bool) -> None:
        """Leave on the disk what a death leaves, once nothing holds the files any more."""
        self.freeze()
        frozen, self._frozen = self._frozen or {}, None
        for path in self._files():
            if path not in frozen:
                path.unlink()
                continue
            inode, size = frozen[path]
            safe = min(self._safe.get(inode, 0), size)
            if power_cut and path.name not in self._named and self._dice.chance(0.5):
                path.unlink()
                self._trace.note(f"power cut: {path.name} gone")
                continue
            kept = self._dice.whole(safe, size) if power_cut and size > safe else size
            if path.stat().st_size > kept:
                os.truncate(path, kept)
            if power_cut and kept > safe and self._dice.chance(TORN):
                self._tear(path, self._dice.whole(safe, kept - 1), kept)
            if power_cut and size > safe:
                self._trace.note(f"power cut: {path.name} {safe} safe, {kept} of {size} kept")
        if power_cut:  # what is still there has survived
            self._safe = {path.stat().st_ino: path.stat().st_size for path in self._files()}
            self._named = {path.name for path in self._files()}

    def _tear(self, path: Path, start: int, end: int) -> None:
        with path.open("r+b") as file:
            file.seek(start)
            file.write(bytes(end - start))

    def _files(self) -> list[Path]:
        return sorted(path for pattern in WATCHED for path in self.folder.glob(pattern))
