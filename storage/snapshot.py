"""Snapshots: the rule engine's state beside the journal position that it belongs to, so that a restart is short."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from storage.segments import sync_folder

Arrays = dict[str, npt.NDArray[np.generic]]

KEPT = 2  # the newest, and one to fall back on
_HEAD = struct.Struct("<4sQQI")  # mark, position, length, CRC32 of position, length and body
_MARK = b"LLS1"


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
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    body = buffer.getvalue()
    head = _HEAD.pack(_MARK, position, len(body), _crc(position, body))
    target = folder / f"snapshot-{_number(folder) + 1:012d}.snap"
    draft = target.with_suffix(".draft")
    try:
        with draft.open("wb") as file:
            file.write(head)
            file.write(body)
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
    """Return position and arrays of the newest whole snapshot, None where there is none."""
    for path in sorted(folder.glob("snapshot-*.snap"), reverse=True):
        found = _read(path)
        if found is not None:
            return found
    return None


def _read(path: Path) -> tuple[int, Arrays] | None:
    try:
        data = path.read_bytes()
        mark, position, length, checksum = _HEAD.unpack_from(data)
        body = data[_HEAD.size :]
        if mark != _MARK or len(body) != length or _crc(position, body) != checksum:
            return None
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            return position, {name: arrays[name] for name in arrays.files}
    except (OSError, struct.error, ValueError, zipfile.BadZipFile):
        return None


def _number(folder: Path) -> int:
    newest = max((path.stem for path in folder.glob("snapshot-*.snap")), default="snapshot-0")
    return int(newest.removeprefix("snapshot-"))


def _crc(position: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(struct.pack("<QQ", position, len(body))))
