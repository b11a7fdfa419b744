"""A journal whose files were mutilated in any way: it opens, tells, and yields only what was written, in order."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

from devices.kinds import Catalog, Field, Kind
from storage.journal import Journal, Record
from storage.records import Reader, make_header
from storage.segments import DamagedHeaderError, NewerFormatError, base_of, frame, header_frames, read_header
from tests.fuzz.budget import memory_folder
from tests.unit.storage_city import T0, bad_message

RECORDS = 12
SEGMENT = 4096
KIND = Kind("well", "well", "井", ("any",), (Field("level_m", "m", "float", 0, 9, "level", "水位"),), (), (60.0,))
CATALOG = Catalog([KIND])


def record(number: int) -> Record:
    """Return a record that is like no other: its payload is long enough for several segments."""
    reject = bad_message(number)._replace(payload=bytes([number]) * 700)
    return Record(T0 + number, [], [reject], {"unknown": 1})


class Original:
    """A journal of several segments as it was written, and the files that it consists of."""

    def __init__(self) -> None:
        self.folder = memory_folder("fuzz-journal-")
        journal = Journal(self.folder, CATALOG, segment_bytes=SEGMENT)
        self.ends = [journal.append(record(number)) for number in range(RECORDS)]
        journal.close()
        self.end = self.ends[-1]
        self.files = {path.name: path.read_bytes() for path in sorted(self.folder.glob("segment-*.log"))}
        self.names = list(self.files)
        assert len(self.names) > 2


ORIGINAL = Original()


def check(data: bytes) -> None:
    """The first byte chooses: mutilate the files of a journal, or give its readers bodies with a right checksum."""
    data = bytes(data)
    if data[:1] > b"\xc0":
        _bodies(data[1:])
        return
    clear()
    files = mutilated(dict(ORIGINAL.files), data[1:])
    for name, content in files.items():
        (ORIGINAL.folder / name).write_bytes(content)
    known_end = ORIGINAL.end if data[:1] < b"\x60" else 0
    opened_as_it_should(ORIGINAL.folder, files, known_end)


def clear() -> None:
    """Take everything out of the folder."""
    for path in ORIGINAL.folder.iterdir():
        path.unlink()


def opened_as_it_should(folder: Path, files: dict[str, bytes], floor: int) -> list[int]:
    """Open what ``files`` were written to, hold it to what it promises, and return the numbers of its records."""
    journal = Journal(folder, CATALOG, segment_bytes=SEGMENT, floor=floor)
    found = _numbers(journal)
    assert found == sorted(set(found)), "records out of order, or twice"
    hole = bool(found) and found != list(range(found[0], found[-1] + 1))
    cut = floor == ORIGINAL.end and RECORDS - 1 not in found
    assert journal.damage or not (hole or cut), "records are missing, and nobody was told"
    before = journal.end
    assert before >= max([floor, *(base_of(Path(name)) + len(content) for name, content in files.items())])
    assert journal.append(record(RECORDS)) > before
    journal.sync()
    assert _numbers(journal) == [*found, RECORDS]
    journal.close()
    again = Journal(folder, CATALOG, segment_bytes=SEGMENT, floor=floor)
    assert _numbers(again) == [*found, RECORDS]
    again.close()
    return found


def mutilated(files: dict[str, bytes], orders: bytes) -> dict[str, bytes]:
    """Carry out orders of six bytes each: what, which file, where, and how much."""
    for at in range(0, len(orders) - 5, 6):
        what, which, where, size = struct.unpack_from("<BBHH", orders, at)
        names = sorted(files)
        if not names:
            break
        name = names[which % len(names)]
        other = names[size % len(names)]
        content = bytearray(files[name])
        place = where % (len(content) + 1)
        rest = orders[at + 6 :]
        match what % 9:
            case 0:
                if place < len(content):
                    content[place] ^= size % 255 + 1
            case 1:
                del content[place:]
            case 2:
                del files[name]
                continue
            case 3:
                files[name], files[other] = files[other], files[name]
                continue
            case 4:
                content += rest[: size % 512]
            case 5:
                content[place:place] = rest[: size % 512] or b"\0"
            case 6:
                content[place : place + size % 512] = bytes(len(content[place : place + size % 512]))
            case 7:
                content[place : place + size % 2048] = files[other][place : place + size % 2048]
            case _:
                del content[place : place + size % 512]
        files[name] = bytes(content)
    return files


def _bodies(body: bytes) -> None:
    """Give a record's reader and a header's reader bytes that their checksum does not protect them from."""
    header = make_header(0, 0, CATALOG, {})
    with suppress(ValueError):
        Reader(header, CATALOG).decode(body)
    clear()
    path = ORIGINAL.folder / "segment-00000000000000000000.log"
    first = frame(0, body, b"LLJ1")
    path.write_bytes(first + frame(len(first), body, b"LLJ1"))
    with suppress(DamagedHeaderError, NewerFormatError):
        read_header(path)
    path.write_bytes(header_frames(header) + frame(len(header_frames(header)), body))
    journal = Journal(ORIGINAL.folder, CATALOG)
    for _ in journal.read(0):
        pass
    journal.close()


def _numbers(journal: Journal) -> list[int]:
    """Return which records a journal yields; each must be as it was written."""
    found = []
    for position, read in journal.read(0):
        number = read.now_ms - T0
        written = record(number)
        assert (read.batches, read.rejects, read.received) == ([], written.rejects, written.received)
        assert number == RECORDS or position == ORIGINAL.ends[number], "a record in another's place"
        found.append(number)
    return found
