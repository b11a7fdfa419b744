"""Snapshots: the rule engine's state beside the journal position that it belongs to, so that a restart is short."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from storage import arrayfile
from storage.arrayfile import Arrays
from storage.segments import sync_folder

KEPT = 2  # the newest, and one to fall back on
_MARK = b"LLS2"


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
        arrayfile.write(draft, _MARK, position, arrays)
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
        found = arrayfile.read(path, _MARK)
        if found is not None:
            sync_folder(folder)
            return found
    return None


def _number(folder: Path) -> int:
    newest = max((path.stem for path in folder.glob("snapshot-*.snap")), default="snapshot-0")
    return int(newest.removeprefix("snapshot-"))
