"""Named arrays in one file with a number that says what they belong to, and a checksum over all of it.

Written array by array and read array by array, so that a large city's state is not held in memory again: what is
written stands in the file's pages until :meth:`Draft.finish` brings it to the disk, piece by piece.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Arrays = Mapping[str, Array]

_HEAD = struct.Struct("<4sQQQI")  # mark, number, length of the arrays, length of the table, CRC32 of all of it
_PIECE = 8 << 20  # brought to the disk at once: a journal's fsync waits behind no more of it; a multiple of a page


class Draft:
    """A file that is being written: quickly what it holds, then slowly its way to the disk.

    Args:
        path: written over where it is there, unless somebody still reads it: then a new file takes its name.
        mark, number: of the file.
        arrays: taken one after the other; none is kept. Of those that cannot be written to, one that comes again is
            written once.

    Raises:
        OSError: the disk refused.
        TypeError: an array of objects.
    """

    def __init__(self, path: Path, mark: bytes, number: int, arrays: Iterable[tuple[str, Array]]) -> None:
        self._mark, self._number = mark, number
        self._file = _open(path)
        try:
            table, self._length = self._put(arrays)
            self._table = len(table)
            _write(self._file.fileno(), memoryview(table), _HEAD.size + self._length)
            self._file.truncate(_HEAD.size + self._length + self._table)
        except BaseException:
            self._file.close()
            raise

    def finish(self) -> None:
        """Seal what was written and bring it to the disk; may be called in another thread. Raises OSError."""
        with self._file as file:
            head = (self._mark, self._number, self._length, self._table)
            total = _HEAD.size + self._length + self._table
            crc = zlib.crc32(_HEAD.pack(*head, 0))
            for place in range(0, total, _PIECE):
                with mmap.mmap(file.fileno(), min(_PIECE, total - place), offset=place) as piece:
                    crc = zlib.crc32(memoryview(piece)[_HEAD.size :] if not place else piece, crc)
                    piece.flush()
            _write(file.fileno(), memoryview(_HEAD.pack(*head, crc)), 0)
            os.fsync(file.fileno())

    def _put(self, arrays: Iterable[tuple[str, Array]]) -> tuple[bytes, int]:
        table: dict[str, tuple[int, str, tuple[int, ...]]] = {}
        shared: dict[int, tuple[Array, str]] = {}
        length = 0
        for name, array in arrays:
            if array.dtype.hasobject:
                raise TypeError(f"{name}: an array of objects cannot be written")
            if not array.flags.writeable and shared.setdefault(id(array), (array, name))[1] != name:
                table[name] = table[shared[id(array)][1]]
                continue
            table[name] = (length, array.dtype.str, array.shape)
            if array.nbytes:
                place = _HEAD.size + length
                for piece in _pieces(array):
                    data = np.ascontiguousarray(piece).reshape(-1).view(np.uint8)
                    _write(self._file.fileno(), data.data, place)
                    place += data.nbytes
            length += array.nbytes
        return json.dumps(table).encode(), length


def write(path: Path, mark: bytes, number: int, arrays: Arrays) -> None:
    """Write arrays and bring them to the disk. Raises OSError; what was written so far is no whole file then."""
    Draft(path, mark, number, arrays.items()).finish()


def read(path: Path, mark: bytes) -> tuple[int, Arrays] | None:
    """Return number and arrays, None where the file is absent, of another mark, or not as it was written.

    The file is held open until the arrays are let go: it may be replaced meanwhile.
    """
    try:
        with path.open("rb", buffering=0) as file:
            found_mark, number, length, table, checksum = _HEAD.unpack(file.read(_HEAD.size))
            if found_mark != mark or os.fstat(file.fileno()).st_size != _HEAD.size + length + table:
                return None
            crc = zlib.crc32(_HEAD.pack(found_mark, number, length, table, 0))
            while piece := file.read(_PIECE):
                crc = zlib.crc32(piece, crc)
            if crc != checksum:
                return None
            names = json.loads(os.pread(file.fileno(), table, _HEAD.size + length))
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return number, _Kept(os.dup(file.fileno()), names)
    except (OSError, struct.error, ValueError):
        return None


def number_of(path: Path, mark: bytes) -> int | None:
    """Return the number that a file says it has, without reading it all; None where it is none of ours."""
    try:
        with path.open("rb") as file:
            found_mark, number, *_ = _HEAD.unpack(file.read(_HEAD.size))
    except (OSError, struct.error):
        return None
    return int(number) if found_mark == mark else None


class _Kept(Mapping[str, Array]):
    """The arrays of a file, each read when it is asked for; what was written once for several names is read once."""

    def __init__(self, handle: int, table: Mapping[str, tuple[int, str, list[int]]]) -> None:
        self._handle, self._table = handle, table
        often = Counter((place, kind, tuple(shape)) for place, kind, shape in table.values())
        self._shared: dict[Any, Array | None] = {key: None for key, times in often.items() if times > 1 and key[2]}

    def __del__(self) -> None:
        os.close(self._handle)

    def __getitem__(self, name: str) -> Array:
        place, kind, shape = self._table[name]
        key = (place, kind, tuple(shape))
        if (shared := self._shared.get(key)) is not None:
            return shared
        array: npt.NDArray[Any] = np.empty(shape, dtype=kind)
        view, done = array.reshape(-1).view(np.uint8).data if array.nbytes else memoryview(b""), 0
        while done < array.nbytes:
            got = os.preadv(self._handle, [view[done:]], _HEAD.size + place + done)
            if not got:
                raise OSError(f"{name}: the file has become shorter")
            done += got
        if key in self._shared:
            array.setflags(write=False)
            self._shared[key] = array
        return array

    def __contains__(self, name: object) -> bool:
        return name in self._table

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


def _pieces(array: Array) -> Iterator[Array]:
    """Yield an array as it is, or row by row, so many together, where it must be copied to be written."""
    if array.flags.c_contiguous:
        yield array
        return
    rows = max(1, len(array) * (1 << 20) // array.nbytes)
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def _open(path: Path) -> FileIO:
    if path.exists():
        file = path.open("r+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            path.unlink()
        else:
            return file
    return path.open("w+b", buffering=0)


def _write(handle: int, data: memoryview, place: int) -> None:
    while data:
        written = os.pwrite(handle, data, place)
        data, place = data[written:], place + written
