"""Journal segments as files: frames with a checksum each, and how to find the next whole frame after damage.

A frame is ``LLR1``, the length of its body, a CRC32 over its position, its length and its body, then the body. The
position is part of the checksum, so that bytes that ended up in the wrong place are not taken for a record.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from storage.records import FORMAT, Header

MAGIC = b"LLR1"
HEADER_MAGIC = b"LLJ1"
FRAME = struct.Struct("<4sII")
_NAME = re.compile(r"segment-([0-9]{20})\.log")
_PLACE = struct.Struct("<QI")
HEADERS_MAX = 1 << 20  # bytes among which the second copy of a header is sought
WINDOW = 1 << 16  # bytes among which the next frame is sought at a time
POSITION_MAX = 1 << 62  # no journal comes so far
BODY_MAX = 1 << 30  # a longer frame was never written: its length is damaged


class Damage(NamedTuple):
    """A stretch of journal positions that cannot be read."""

    start: int
    end: int
    reason: str


class Frame(NamedTuple):
    """A whole frame: where it begins, where the next one does, and its body."""

    start: int
    end: int
    body: bytes


def crc(position: int, body: bytes | memoryview) -> int:
    """Return the checksum of a body that stands at ``position``."""
    return zlib.crc32(body, zlib.crc32(_PLACE.pack(position, len(body))))


def frame(position: int, body: bytes, magic: bytes = MAGIC) -> bytes:
    """Return ``body`` as the frame that stands at ``position``."""
    return FRAME.pack(magic, len(body), crc(position, body)) + body


def segment_path(folder: Path, base: int) -> Path:
    """Return the file of the segment whose first byte has position ``base``."""
    return folder / f"segment-{base:020d}.log"


def is_segment(path: Path) -> bool:
    """Say whether a file is named as a segment is; people leave copies and other things in a folder."""
    number = _NAME.fullmatch(path.name)
    return number is not None and int(number[1]) < POSITION_MAX and path.is_file()


def base_of(path: Path) -> int:
    """Return the position of the first byte of a segment's file."""
    return int(path.stem.removeprefix("segment-"))


def header_frames(header: Header) -> bytes:
    """Return a segment's head: its header twice, so that one damaged byte does not cost a segment."""
    body = msgspec.msgpack.encode(header)
    first = frame(header.base, body, HEADER_MAGIC)
    return first + frame(header.base + len(first), body, HEADER_MAGIC)


class DamagedHeaderError(ValueError):
    """The head of a segment cannot be read, so neither can its records."""


class NewerFormatError(RuntimeError):
    """A segment was written by a newer Lamplighter, whose records this one cannot read."""


class Head(NamedTuple):
    """A segment's header, the position of its first record, and whether both copies of the header are whole."""

    header: Header
    first: int
    whole: bool


def read_header(path: Path) -> Head:
    """Return a segment's header from whichever copy is whole. Raises DamagedHeaderError, NewerFormatError."""
    base, size = base_of(path), path.stat().st_size
    with path.open("rb") as file:
        found = _frame_at(file, base, HEADER_MAGIC, size)
        second = found.end if found else _next_frame(file, base, base, base + min(size, HEADERS_MAX), HEADER_MAGIC)
        file.seek(second - base)
        copy = _frame_at(file, second, HEADER_MAGIC, base + size - second)
    whole = found is not None and copy is not None
    first = copy.end if copy else 2 * second - base
    found = found or copy
    if found is None:
        raise DamagedHeaderError("neither copy of its header is whole")
    if first > base + size:
        raise DamagedHeaderError("its header was never finished")
    try:
        header = msgspec.msgpack.decode(found.body, type=Header)
    except msgspec.MsgspecError as trouble:
        raise DamagedHeaderError(f"its header cannot be read: {trouble}") from trouble
    if header.format > FORMAT:
        raise NewerFormatError(
            f"{path.name} has format {header.format}, this Lamplighter reads up to {FORMAT}: start the newer one"
        )
    if header.base != base:
        raise DamagedHeaderError(f"it belongs at position {header.base}, its name says {base}")
    return Head(header, first, whole)


def frames(path: Path, start: int, limit: int) -> Iterator[Frame | Damage]:
    """Yield the frames of a segment from position ``start`` up to ``limit``, and the stretches between that are none.

    Args:
        path: the segment's file.
        start: position of a frame, or anywhere inside damage.
        limit: position to stop at; a frame that passes it is damage.
    """
    base = base_of(path)
    with path.open("rb", buffering=1 << 18) as file:
        at = start
        file.seek(at - base)
        while at < limit:
            found = _frame_at(file, at, MAGIC, limit - at)
            if found is None:
                resumed = _next_frame(file, base, at, limit, MAGIC)
                yield Damage(at, resumed, "checksum does not match")
                at = resumed
                file.seek(at - base)
                continue
            yield found
            at = found.end


def _frame_at(file: BinaryIO, position: int, magic: bytes, room: int) -> Frame | None:
    head = file.read(FRAME.size)
    if len(head) < FRAME.size:
        return None
    mark, length, checksum = FRAME.unpack(head)
    if mark != magic or length > BODY_MAX or FRAME.size + length > room:
        return None
    body = file.read(length)
    if len(body) < length or crc(position, body) != checksum:
        return None
    return Frame(position, position + FRAME.size + length, body)


def _next_frame(file: BinaryIO, base: int, after: int, limit: int, magic: bytes) -> int:
    """Return the position of the first whole frame behind ``after``, or ``limit`` when there is none.

    What looks like the head of a frame may stand in a payload, put there by whoever sent it, with any length. A large
    one is therefore only read through where another frame, or the end, follows it.
    """
    at = after + 1
    while at < limit:
        file.seek(at - base)
        window = file.read(min(WINDOW, limit - at))
        place = window.find(magic)
        while place >= 0:
            file.seek(at + place - base)
            if _worth_reading(file, base, at + place, limit) and _frame_at(file, at + place, magic, limit - at - place):
                return at + place
            place = window.find(magic, place + 1)
        if at + len(window) >= limit or not window:
            return limit
        at += len(window) - len(magic) + 1
    return limit


def _worth_reading(file: BinaryIO, base: int, position: int, limit: int) -> bool:
    """Return whether a frame may begin at ``position``, where ``file`` stands and stays."""
    head = file.read(FRAME.size)
    end = position + FRAME.size + (FRAME.unpack(head)[1] if len(head) == FRAME.size else BODY_MAX)
    if end < limit and end - position > WINDOW:
        file.seek(end - base)
        follows = file.read(len(MAGIC)) == MAGIC
    else:
        follows = end <= limit
    file.seek(position - base)
    return follows


def sync_folder(folder: Path) -> None:
    """Make names in a folder as durable as the files they name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
