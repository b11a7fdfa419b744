"""Snapshots: the rule engine's state beside the journal position that it belongs to, so that a restart is short."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from storage import arrayfile
from storage.arrayfile import Array, Arrays
from storage.segments import sync_folder

KEPT = 2  # the newest, and one to fall back on
_MARK = b"LLS3"


class Draft:
    """A snapshot that is being written: a crash leaves the old one or the new one, never a mixture.

    All of it is in the file, though not yet on the disk, when this returns: what is remembered may change again.

    Args:
        folder: made when absent.
        position: journal position up to which ``arrays`` have seen everything.
        arrays: by name; numbers or fixed-length text, no objects.

    Raises:
        OSError: the disk refused; the snapshots before stay as they are.
    """

    def __init__(self, folder: Path, position: int, arrays: Iterable[tuple[str, Array]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._target = _target(folder)
        self._path = self._target.with_suffix(".draft")
        try:
            self._file = arrayfile.Draft(self._path, _MARK, position, arrays)
        except OSError:
            self._path.unlink(missing_ok=True)
            raise

    def finish(self) -> None:
        """Bring it to the disk, slowly, and make it the newest; two are kept. Raises OSError as above."""
        try:
            self._file.finish()
            self._path.replace(self._target)
            sync_folder(self._folder)
        except OSError:
            self._path.unlink(missing_ok=True)
            raise
        old = sorted(self._folder.glob("snapshot-*.snap"))[:-KEPT]
        for path in old[:-1]:
            path.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            for path in old[-1:]:  # its pages are at hand: the next one is written over it, in a fraction of the time
                path.rename(_target(self._folder).with_suffix(".draft"))


def save(folder: Path, position: int, arrays: Arrays) -> None:
    """Write a snapshot at once. Raises OSError."""
    Draft(folder, position, arrays.items()).finish()


def load(folder: Path) -> tuple[int, Arrays] | None:
    """Return position and arrays of the newest whole snapshot, to be relied on. Raises OSError."""
    return relied_on(folder, newest(folder))


def newest(folder: Path) -> tuple[int, Arrays] | None:
    """Return position and arrays of the newest whole snapshot, None where there is none."""
    found = (arrayfile.read(path, _MARK) for path in sorted(folder.glob("snapshot-*.snap"), reverse=True))
    return next((one for one in found if one is not None), None)


def relied_on(folder: Path, found: tuple[int, Arrays] | None) -> tuple[int, Arrays] | None:
    """Return what :func:`newest` found, its name on the disk.

    A life that was killed may not have come to that, and the journal before it is let go from now on.

    Raises:
        OSError: the disk refuses.
    """
    if found is not None:
        sync_folder(folder)
    return found


def _target(folder: Path) -> Path:
    """Return what the next one is to be called."""
    newest = max((path.stem for path in folder.glob("snapshot-*.snap")), default="snapshot-0")
    return folder / f"snapshot-{int(newest.removeprefix('snapshot-')) + 1:012d}.snap"
