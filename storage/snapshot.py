"""Snapshots: the rule engine's state beside the journal position that it belongs to, so that a restart is short."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from storage.segments import sync_folder

Arrays = dict[str, npt.NDArray[np.generic]]

KEPT = 2  # the newest, and one to fall back on
_HEAD = struct.Struct("<4sQQI")  # mark, position, length, CRC32 of body, position and length
_MARK = b"LLS2"
_PIECE = 1 << 20


def save(folder: Path, position: int, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Write a snapshot so that a crash leaves the old one or the new one, never a mixture; keeps the newest two.

    Args:
        folder: made when absent.
        position: journal position up to which ``arrays`` have seen everything.
        arrays: by name; numbers or fixed-length text, no objects.

    Raises:
        OSError: the disk refused; the snapshots before stay as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"snapshot-{_number(folder) + 1:012d}.snap"
    draft = target.with_suffix(".draft")
    try:
        with draft.open("wb") as file:
            file.write(bytes(_HEAD.size))
            body = _Body(file)
            np.savez(body, allow_pickle=False, **dict(arrays))
            file.seek(0)
            file.write(_HEAD.pack(_MARK, position, body.length, _sealed(body.crc, position, body.length)))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
        sync_folder(folder)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    for old in sorted(folder.glob("snapshot-*.snap"))[:-KEPT]:
        old.unlink(missing_ok=True)


def load(folder: Path) -> tuple[int, Arrays] | None:
    """Return position and arrays of the newest whole snapshot, None where there is none.

    Its name is brought to the disk: a life that was killed may not have come to that, and the journal before it is let
    go from now on.

    Raises:
        OSError: the disk refuses.
    """
    for path in sorted(folder.glob("snapshot-*.snap"), reverse=True):
        found = _read(path)
        if found is not None:
            sync_folder(folder)
            return found
    return None


def _read(path: Path) -> tuple[int, Arrays] | None:
    try:
        with path.open("rb") as file:
            mark, position, length, checksum = _HEAD.unpack(file.read(_HEAD.size))
            crc = found = 0
            while piece := file.read(_PIECE):
                crc, found = zlib.crc32(piece, crc), found + len(piece)
            if mark != _MARK or found != length or _sealed(crc, position, length) != checksum:
                return None
            file.seek(_HEAD.size)
            with np.load(file, allow_pickle=False) as arrays:
                return position, {name: arrays[name] for name in arrays.files}
    except (OSError, struct.error, ValueError, zipfile.BadZipFile):
        return None


def _number(folder: Path) -> int:
    newest = max((path.stem for path in folder.glob("snapshot-*.snap")), default="snapshot-0")
    return int(newest.removeprefix("snapshot-"))


def _sealed(crc: int, position: int, length: int) -> int:
    return zlib.crc32(struct.pack("<QQ", position, length), crc)


class _Body:
    """Passes on what is written, with its length and checksum: a large city's state is not held in memory again."""

    def __init__(self, file: IO[bytes]) -> None:
        self.crc = self.length = 0
        self._file = file

    def write(self, data: bytes) -> int:
        self.crc = zlib.crc32(data, self.crc)
        self.length += memoryview(data).nbytes
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def read(self, _: int = -1) -> bytes:
        raise io.UnsupportedOperation("only written to")  # numpy asks whether there is a method, no more
