"""Journals and snapshots after any mutilation: they open, say what is missing, and give back only what was put in."""

from __future__ import annotations

import asyncio
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from lamplighter.clock import Clock
from lamplighter.settings import Settings
from lamplighter.wiring import House
from storage import snapshot
from storage.journal import Journal
from tests.fuzz import journal as harness
from tests.fuzz.budget import memory_folder, within_limit
from tests.small_house import NIGHT_MS
from tests.unit.test_watch_crashes import evening, settings_in

EXAMPLES = int(os.environ.get("LAMPLIGHTER_FUZZ_EXAMPLES", "200"))
many = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
FLIP, CUT, DELETE, SWAP, APPEND, INSERT, BLANK, COPY, REMOVE = range(9)
WORDS = ("flip", "cut", "delete", "swap", "append", "insert", "blank", "copy", "remove")
ORDER = st.tuples(st.integers(0, 8), st.integers(0, 3), st.integers(0, 4500), st.integers(0, 3000))
KNOWN, UNKNOWN, BODIES = b"\x00", b"\x70", b"\xf0"  # with the highest position known from elsewhere, without, readers


def orders(*each: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("<BBHH", *order) for order in each)


@pytest.fixture
def original() -> Iterator[harness.Original]:
    """The journal as it was written, in its folder."""
    harness.clear()
    for name, content in harness.ORIGINAL.files.items():
        (harness.ORIGINAL.folder / name).write_bytes(content)
    yield harness.ORIGINAL
    harness.clear()


@many
@given(st.sampled_from([KNOWN, UNKNOWN]), st.lists(ORDER, max_size=6), st.binary(max_size=200))
@example(KNOWN, [(SWAP, 0, 0, 1)], b"")
@example(KNOWN, [(SWAP, 0, 0, 2), (DELETE, 1, 0, 0)], b"")
@example(KNOWN, [(DELETE, 0, 0, 0)] * 3, b"")
@example(KNOWN, [(COPY, 0, 0, 1), (COPY, 1, 0, 2)], b"")
@example(KNOWN, [(APPEND, 0, 0, 300)], b"LLR1" * 60)
def test_a_mutilated_journal_yields_what_was_written_in_order_and_tells_what_is_missing(
    known: bytes, chosen: list[tuple[int, int, int, int]], rest: bytes
) -> None:
    for what, *_ in chosen:
        event(WORDS[what])
    within_limit(harness.check, known + orders(*chosen) + rest)


@many
@given(st.binary(max_size=300))
def test_a_body_whose_checksum_is_right_and_that_is_no_record_keeps_no_journal_from_opening(body: bytes) -> None:
    within_limit(harness.check, BODIES + body)


def test_whole_files_give_every_record(original: harness.Original) -> None:
    found = harness.opened_as_it_should(original.folder, original.files, original.end)
    assert found == list(range(harness.RECORDS))


def test_each_byte_flipped_costs_one_record_at_most_and_is_told(original: harness.Original) -> None:
    """Every byte of the middle segment's frames and heads; a flip in one copy of a head costs nothing."""
    name = original.names[1]
    whole = original.files[name]
    for place in range(0, len(whole), 13):
        harness.clear()
        files = harness.mutilated(dict(original.files), orders((FLIP, 1, place, 7)))
        assert files[name] != whole
        for each, content in files.items():
            (original.folder / each).write_bytes(content)
        found = harness.opened_as_it_should(original.folder, files, original.end)
        assert len(found) >= harness.RECORDS - 1


def test_a_damaged_stretch_is_kept_beside_the_journal_as_it_was(original: harness.Original) -> None:
    files = harness.mutilated(dict(original.files), orders((BLANK, 1, 900, 300)))
    (original.folder / original.names[1]).write_bytes(files[original.names[1]])
    journal = Journal(original.folder, harness.CATALOG, segment_bytes=harness.SEGMENT)
    list(journal.read(0))
    (told,) = journal.damage
    aside = original.folder / told.rsplit(" ", 1)[1]
    assert aside.read_bytes() in files[original.names[1]]
    assert bytes(300) in aside.read_bytes()
    journal.close()


@pytest.mark.parametrize("name", ["segment-copy.log", "segment-1.log", f"segment-{1 << 63:020d}.log", "segment-.log"])
def test_a_strange_file_in_the_folder_is_told_and_left_alone(original: harness.Original, name: str) -> None:
    (original.folder / name).write_bytes(original.files[original.names[0]])
    journal = Journal(original.folder, harness.CATALOG, segment_bytes=harness.SEGMENT)
    assert [read.now_ms - harness.T0 for _, read in journal.read(0)] == list(range(harness.RECORDS))
    assert journal.end == original.end
    assert name in journal.damage[0]
    assert (original.folder / name).exists()
    journal.close()


def test_what_a_payload_pretends_to_be_is_no_record_and_costs_little(original: harness.Original) -> None:
    """A payload full of heads of frames, of every length, behind a damaged byte: nothing of it is believed."""
    harness.clear()
    journal = Journal(original.folder, harness.CATALOG)
    fake = b"".join(b"LLR1" + struct.pack("<II", length, 7) for length in range(200, 70_000, 3))
    record = harness.record(1)
    record.rejects[0] = record.rejects[0]._replace(payload=fake)
    start = journal.append(harness.record(0))
    journal.append(record)
    for number in range(2, 6):
        journal.append(harness.record(number))
    journal.close()
    path = next(original.folder.glob("segment-*.log"))
    data = bytearray(path.read_bytes())
    data[start + 30] ^= 1
    path.write_bytes(data)
    journal = Journal(original.folder, harness.CATALOG)
    assert [read.now_ms - harness.T0 for _, read in journal.read(0)] == [0, 2, 3, 4, 5]
    assert len(journal.damage) == 1
    journal.close()


def evening_house(settings: Settings) -> House:
    house = House(settings, Clock(NIGHT_MS + 400_000, None, 2.0))
    session: Any = house.session
    session.acknowledge = lambda _: None
    house.recover()
    return house


@pytest.mark.parametrize("shipped", [True, False], ids=["shipped before", "not yet shipped"])
def test_a_house_with_a_damaged_journal_and_snapshot_runs_says_so_and_the_ledger_shows_what_is_lost(
    tmp_path: Path, *, shipped: bool
) -> None:
    wanted = settings_in(tmp_path)
    house = evening_house(wanted)

    async def walk() -> None:
        for group in evening():
            await house.watch.group(group)
        await house.watch.save()

    asyncio.run(walk())
    if shipped:
        house.shipper.drain()
    house.close()
    path = next((wanted.data / "journal").glob("segment-*.log"))
    data = bytearray(path.read_bytes())
    records = [found.start() for found in re.finditer(b"LLR1", data)]
    data[records[2] + 40] ^= 0x20
    path.write_bytes(data)
    saved = max((wanted.data / "snapshots").iterdir())
    saved.write_bytes(saved.read_bytes()[:-9])
    house = evening_house(wanted)
    asyncio.run(house.watch.group(evening()[5]))
    house.journal.sync()
    house.shipper.drain()
    parts = {part.name: part for part in house.health()}
    assert not parts["journal"].well
    assert "set aside as damaged-" in parts["journal"].says
    lost = {name: line.difference for name, line in house.ledger().lines.items() if line.difference}
    assert lost == ({} if shipped else {"manhole": 2, "streetlight": 3})
    told = {row.rule for row in house.operations.alerts(limit=10)}
    assert told == {"cover_open"}
    house.close()


FOLDER = memory_folder("fuzz-snapshot-")


@many
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3000), st.binary(min_size=1, max_size=9)), min_size=1, max_size=4
    )
)
def test_a_mutilated_snapshot_gives_way_to_the_one_before(changes: list[tuple[int, int, bytes]]) -> None:
    for path in FOLDER.iterdir():
        path.unlink()
    for number in (1, 2):
        snapshot.save(FOLDER, number, {"onset_ms": np.arange(number * 10), "names": np.array(["lamp-1", "灯"])})
    newest = max(FOLDER.iterdir())
    data = bytearray(newest.read_bytes())
    whole = bytes(data)
    for what, where, put in changes:
        place = where % (len(data) + 1)
        match what:
            case 0:
                del data[place:]
            case 1:
                data[place : place + len(put)] = put
            case 2:
                data[place:place] = put
            case _:
                data += put
    newest.write_bytes(data)
    found = snapshot.load(FOLDER)
    assert found is not None
    position, arrays = found
    assert position == (2 if bytes(data) == whole else 1)
    assert arrays["onset_ms"].tolist() == list(range(position * 10))


def test_each_byte_of_a_snapshots_head_is_watched_over(tmp_path: Path) -> None:
    for number in (1, 2):
        snapshot.save(tmp_path, number, {"onset_ms": np.arange(number * 10)})
    newest = max(tmp_path.iterdir())
    whole = newest.read_bytes()
    for place in range(40):
        newest.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = snapshot.load(tmp_path)
        assert found is not None
        assert found[0] == 1


def test_no_snapshot_at_all_is_no_snapshot(tmp_path: Path) -> None:
    for number in range(1, 4):
        (tmp_path / f"snapshot-{number:012d}.snap").write_bytes(b"LLS1" * number)
    assert snapshot.load(tmp_path) is None
