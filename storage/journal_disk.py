"""What the journal asks of the disk under it: a folder of its own, room, and whole writes."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SPARE_BYTES = 64 << 20  # left free on the disk for decisions and snapshots, without which nothing could be released
SPARE_SHARE = 16  # of a small disk no more than this part of it


class JournalError(RuntimeError):
    """The journal cannot write or make safe; what it has taken it keeps in mind, and writes once the disk is well."""


class JournalFullError(JournalError):
    """The size limit is reached or the disk is full; acknowledging stops until there is room."""


def check_free(folder: Path, size: int) -> None:
    """Raise JournalFullError where so many bytes more would leave others on the disk too little."""
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free - size < min(SPARE_BYTES, disk.f_blocks * disk.f_frsize // SPARE_SHARE):
        raise JournalFullError(
            f"no room for the journal in {folder}: {free >> 20} MB are free on its disk, and the operations "
            "database needs them; messages are not acknowledged until there is room"
        )


def write_all(handle: int, data: bytes, place: int) -> None:
    """Write all of the data at a place of a file, however often the disk takes only a part. Raises OSError."""
    view, done = memoryview(data), 0
    while done < len(data):
        done += os.pwrite(handle, view[done:], place + done)


def lock_folder(folder: Path) -> int:
    """Return a handle that keeps other processes from writing the folder, or raise JournalError."""
    guard = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as trouble:
        os.close(guard)
        raise JournalError(f"another Lamplighter is writing the journal in {folder}") from trouble
    return guard
