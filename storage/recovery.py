"""Opening a journal after whatever happened to it: find the segments, cut the torn tail, set damage aside, say so."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from devices.kinds import Catalog
from storage.records import Header, Reader, Totals
from storage.segments import Damage, DamagedHeaderError, Frame, base_of, frames, is_segment, read_header

ASIDE_MAX = 16  # damaged stretches kept as evidence; the oldest goes first
TORN = "a torn tail, cut"  # what a kill leaves of a record under way
REPORTS_MAX = 100  # sentences kept; later ones say nothing new


@dataclass(slots=True)
class Segment:
    """One file of the journal.

    Attributes:
        path: the file.
        base: position of its first byte.
        first: position of its first record.
        end: position behind its last record, or where it is written to.
        header: its head.
    """

    path: Path
    base: int
    first: int
    end: int
    header: Header

    def physical_end(self) -> int:
        """Return the position behind the last byte that the file has."""
        return self.base + self.path.stat().st_size


class Aside:
    """What could not be read: copies of it beside the journal, and one sentence each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports: list[str] = []
        self._known: set[tuple[int, int]] = set()

    def keep(self, path: Path, damage: Damage) -> None:
        """Copy a damaged stretch of a segment to a file of its own and report it, once."""
        if (damage.start, damage.end) in self._known:
            return
        self._known.add((damage.start, damage.end))
        target = self._target(damage.start, damage.end)
        where = f"positions {damage.start} to {damage.end}: {damage.reason}"
        try:
            with path.open("rb") as file:
                file.seek(damage.start - base_of(path))
                target.write_bytes(file.read(damage.end - damage.start))
        except OSError as trouble:
            target.unlink(missing_ok=True)
            self.report(f"{where}; no copy was kept: {trouble}")
        else:
            self.report(f"{where}; set aside as {target.name}")

    def move(self, path: Path, reason: str) -> None:
        """Set a whole segment aside whose head cannot be read."""
        base = base_of(path)
        target = self._target(base, base + path.stat().st_size)
        path.replace(target)
        self.report(f"segment {path.name}: {reason}; set aside as {target.name}")

    def report(self, sentence: str) -> None:
        """Remember a sentence about what was found."""
        if len(self.reports) < REPORTS_MAX:
            self.reports.append(sentence)

    def _target(self, start: int, end: int) -> Path:
        kept = sorted(self.folder.glob("damaged-*.bin"))
        for oldest in kept[: max(0, len(kept) - ASIDE_MAX + 1)]:
            oldest.unlink(missing_ok=True)
        return self.folder / f"damaged-{start:020d}-{end:020d}.bin"


@dataclass(slots=True)
class Recovered:
    """A journal as it was found.

    Attributes:
        segments: in order of position.
        whole: position behind the last whole record.
        end: position at which writing goes on; beyond ``whole`` where a torn tail was cut, so that no position is
            ever given to two records.
        totals: counts at ``whole``.
    """

    segments: list[Segment]
    whole: int
    end: int
    totals: Totals


def recover(folder: Path, catalog: Catalog, aside: Aside) -> Recovered:
    """Return what a folder's segments hold; only the newest is read through, older ones when someone reads them."""
    found = Recovered([], 0, 0, {})
    for path in sorted(folder.glob("segment-*.log")):
        if not is_segment(path):
            aside.report(f"{path.name} is no segment; it was left alone")
            continue
        size = path.stat().st_size
        found.end = max(found.end, base_of(path) + size)
        try:
            head = read_header(path)
        except DamagedHeaderError as trouble:
            if size:
                aside.move(path, str(trouble))
            else:
                path.unlink()  # the process ended between making the file and writing its head
            continue
        if not head.whole:
            aside.report(f"segment {path.name}: one of the two copies of its header is damaged; the other was read")
        found.segments.append(Segment(path, base_of(path), head.first, base_of(path) + size, head.header))
    for earlier, later in zip(found.segments, found.segments[1:], strict=False):
        if earlier.physical_end() < later.header.after:
            aside.report(f"positions {earlier.physical_end()} to {later.header.after} are missing")
        earlier.end = min(later.base, later.header.after)
    if found.segments:
        _cut_tail(found, catalog, aside)
    return found


def _cut_tail(found: Recovered, catalog: Catalog, aside: Aside) -> None:
    last = found.segments[-1]
    limit, whole, newest = last.physical_end(), last.first, b""
    for item in frames(last.path, last.first, limit):
        if isinstance(item, Frame):
            whole, newest = item.end, item.body
        elif item.end < limit:
            aside.keep(last.path, item)
    if whole < limit:
        aside.keep(last.path, Damage(whole, limit, TORN))
        os.truncate(last.path, whole - last.base)
    last.end = found.whole = whole
    reader = Reader(last.header, catalog)
    found.totals = last.header.starting_totals()
    try:
        found.totals = reader.totals(newest) if newest else found.totals
    except ValueError:  # its checksum is right and it is no record: what reads it sets it aside
        for item in frames(last.path, last.first, whole):
            with suppress(ValueError):
                found.totals = reader.totals(item.body) if isinstance(item, Frame) else found.totals
