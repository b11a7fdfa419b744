"""Named arrays in one file with a number that says what they belong to, and a checksum over all of it.

Written piece by piece and read piece by piece, so that a large city's state is not held in memory again.
"""

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

Arrays = dict[str, npt.NDArray[np.generic]]

_HEAD = struct.Struct("<4sQQI")  # mark, number, length, CRC32 of body, number and length
_PIECE = 1 << 20


def write(path: Path, mark: bytes, number: int, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Write arrays and bring them to the disk. Raises OSError; what was written so far is no whole file then."""
    with path.open("wb") as file:
        file.write(bytes(_HEAD.size))
        body = _Body(file)
        np.savez(body, allow_pickle=False, **dict(arrays))
        file.seek(0)
        file.write(_HEAD.pack(mark, number, body.length, _sealed(body.crc, number, body.length)))
        file.flush()
        os.fsync(file.fileno())


def read(path: Path, mark: bytes) -> tuple[int, Arrays] | None:
    """Return number and arrays, None where the file is absent, of another mark, or not as it was written."""
    try:
        with path.open("rb") as file:
            found_mark, number, length, checksum = _HEAD.unpack(file.read(_HEAD.size))
            if found_mark != mark:
                return None
            crc = found = 0
            while piece := file.read(_PIECE):
                crc, found = zlib.crc32(piece, crc), found + len(piece)
            if found != length or _sealed(crc, number, length) != checksum:
                return None
            file.seek(_HEAD.size)
            with np.load(file, allow_pickle=False) as arrays:
                return number, {name: arrays[name] for name in arrays.files}
    except (OSError, struct.error, ValueError, zipfile.BadZipFile):
        return None


def number_of(path: Path, mark: bytes) -> int | None:
    """Return the number that a file says it has, without reading it all; None where it is none of ours."""
    try:
        with path.open("rb") as file:
            found_mark, number, _, _ = _HEAD.unpack(file.read(_HEAD.size))
    except (OSError, struct.error):
        return None
    return int(number) if found_mark == mark else None


def _sealed(crc: int, number: int, length: int) -> int:
    return zlib.crc32(struct.pack("<QQ", number, length), crc)


class _Body:
    """Passes on what is written, with its length and checksum."""

    def __init__(self, file: IO[bytes]) -> None:
        self.crc = self.length = 0
        self._file = file

    def write(self, data: bytes) -> int:
        """Write on."""
        self.crc = zlib.crc32(data, self.crc)
        self.length += memoryview(data).nbytes
        return self._file.write(data)

    def flush(self) -> None:
        """Hand on what is waiting."""
        self._file.flush()

    def read(self, _: int = -1) -> bytes:
        """Refuse; numpy asks whether there is such a method, no more."""
        raise io.UnsupportedOperation("only written to")
