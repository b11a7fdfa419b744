"""What the journal does with torn tails, flipped bytes, missing pieces, and disks that are full or refuse."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from devices.kinds import Catalog
from storage.journal import Journal, JournalError, JournalFullError, Record
from storage.records import FORMAT
from storage.segments import base_of, header_frames, read_header
from tests.unit.storage_city import T0, lamp_record


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of journals are opened here, and fsync takes its time."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def written(folder: Path, catalog: Catalog, count: int, **sizes: int) -> list[int]:
    """Write records 0 to ``count`` and return the position after each."""
    journal = Journal(folder, catalog, **sizes)
    ends = [journal.append(lamp_record(catalog, n)) for n in range(count)]
    journal.close()
    return ends


def numbers(journal: Journal) -> list[int]:
    return [(record.now_ms - T0) // 1000 for _, record in journal.read(0)]


def segment(folder: Path, place: int = 0) -> Path:
    return sorted(folder.glob("segment-*.log"))[place]


def test_every_prefix_of_the_last_record_recovers_to_the_record_before(tmp_path: Path, catalog: Catalog) -> None:
    ends = written(tmp_path, catalog, 4)
    whole = segment(tmp_path).read_bytes()
    for length in range(ends[2], ends[3]):
        segment(tmp_path).write_bytes(whole[:length])
        journal = Journal(tmp_path, catalog)
        assert numbers(journal) == [0, 1, 2]
        assert journal.totals["streetlight"].rows == 9
        assert bool(journal.damage) == (length > ends[2])
        journal.append(lamp_record(catalog, 9))
        journal.sync()
        assert numbers(journal) == [0, 1, 2, 9]
        journal.close()
        again = Journal(tmp_path, catalog)
        assert numbers(again) == [0, 1, 2, 9]
        assert again.damage == []
        again.close()
        for extra in tmp_path.glob("segment-*.log"):
            if base_of(extra):
                extra.unlink()


def test_a_flipped_byte_anywhere_is_found_and_costs_at_most_its_own_record(tmp_path: Path, catalog: Catalog) -> None:
    ends = written(tmp_path, catalog, 4)
    path = segment(tmp_path)
    whole = path.read_bytes()
    journal = Journal(tmp_path, catalog)
    first = journal._segments[0].first
    journal.close()
    starts = [first, *ends[:-1]]
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        journal = Journal(tmp_path, catalog)
        hit = [n for n in range(4) if starts[n] <= place < ends[n]]
        assert numbers(journal) == [n for n in range(4) if n not in hit]
        if hit:
            (told,) = journal.damage
            aside = tmp_path / told.rsplit(" ", 1)[1]
            assert aside.read_bytes()[place - starts[hit[0]]] == whole[place] ^ 0x10
            aside.unlink()
        else:
            assert "one of the two copies of its header is damaged" in journal.damage[0]
        journal.close()


def test_a_head_that_was_never_finished_costs_nothing(tmp_path: Path, catalog: Catalog) -> None:
    written(tmp_path, catalog, 3)
    head = segment(tmp_path).read_bytes()[: base_of(segment(tmp_path)) + 5000]
    first = head.index(b"LLR1")
    for length in range(0, first, 7):
        segment(tmp_path).write_bytes(head[:length])
        journal = Journal(tmp_path, catalog)
        assert numbers(journal) == []
        journal.append(lamp_record(catalog, 5))
        journal.sync()
        assert numbers(journal) == [5]
        journal.close()
        for extra in tmp_path.glob("segment-*.log"):
            if base_of(extra):
                extra.unlink()
        (tmp_path / "segment-00000000000000000000.log").touch()


def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path, catalog: Catalog) -> None:
    written(tmp_path, catalog, 1)
    header = read_header(segment(tmp_path)).header
    newer = header_frames(msgspec.structs.replace(header, format=FORMAT + 1))
    segment(tmp_path).write_bytes(newer)
    with pytest.raises(JournalError, match="start the newer one"):
        Journal(tmp_path, catalog)
    assert segment(tmp_path).read_bytes() == newer


def test_positions_are_never_given_twice_after_a_damaged_tail(tmp_path: Path, catalog: Catalog) -> None:
    ends = written(tmp_path, catalog, 3)
    path = segment(tmp_path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    journal = Journal(tmp_path, catalog)
    assert journal.end == ends[2]
    assert journal.append(lamp_record(catalog, 7)) > ends[2]
    journal.sync()
    assert [n for n, _ in journal.read(ends[2])] == [journal.end]
    journal.close()


def test_both_heads_damaged_set_the_whole_segment_aside_and_the_rest_is_read(tmp_path: Path, catalog: Catalog) -> None:
    written(tmp_path, catalog, 40, segment_bytes=4096)
    assert len(list(tmp_path.glob("segment-*.log"))) > 3
    path = segment(tmp_path, 1)
    lost = Journal(tmp_path, catalog)
    before = numbers(lost)
    held = [(r.now_ms - T0) // 1000 for _, r in lost._read_segment(lost._segments[1], lost._segments[1].first, 1 << 40)]
    lost.close()
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    data[len(data) // 2] ^= 1
    second = data.index(b"LLJ1", 1)
    data[second + 20] ^= 1
    path.write_bytes(data)
    journal = Journal(tmp_path, catalog, segment_bytes=4096)
    assert numbers(journal) == [n for n in before if n not in held]
    assert len(journal.damage) == 2
    assert path.name in journal.damage[0]
    assert "are missing" in journal.damage[1]
    assert list(tmp_path.glob("damaged-*.bin"))
    journal.append(lamp_record(catalog, 99))
    journal.sync()
    assert numbers(journal)[-1] == 99
    journal.close()


def test_a_missing_segment_is_told(tmp_path: Path, catalog: Catalog) -> None:
    written(tmp_path, catalog, 40, segment_bytes=4096)
    segment(tmp_path, 1).unlink()
    journal = Journal(tmp_path, catalog)
    assert "are missing" in journal.damage[0]
    assert numbers(journal)[-1] == 39
    journal.close()


def test_damage_of_the_newest_segments_head_does_not_stop_the_journal(tmp_path: Path, catalog: Catalog) -> None:
    written(tmp_path, catalog, 40, segment_bytes=4096)
    path = segment(tmp_path, -1)
    end = base_of(path) + path.stat().st_size
    path.write_bytes(b"\0" * path.stat().st_size)
    journal = Journal(tmp_path, catalog, segment_bytes=4096)
    assert journal.end == end
    journal.append(lamp_record(catalog, 99))
    journal.sync()
    assert numbers(journal)[-1] == 99
    journal.close()


def test_what_was_set_aside_does_not_grow_without_end(tmp_path: Path, catalog: Catalog) -> None:
    for _ in range(20):
        written(tmp_path, catalog, 1)
        path = segment(tmp_path, -1)
        path.write_bytes(path.read_bytes()[:-1])
    Journal(tmp_path, catalog).close()
    assert len(list(tmp_path.glob("damaged-*.bin"))) == 16


def test_at_its_size_limit_the_journal_refuses_and_goes_on_when_there_is_room(tmp_path: Path, catalog: Catalog) -> None:
    journal = Journal(tmp_path, catalog, limit_bytes=60_000)
    taken = 0
    while journal.bytes_used < 55_000:
        journal.append(lamp_record(catalog, taken))
        journal.sync()
        taken += 1
    with pytest.raises(JournalFullError, match="not acknowledged"):
        journal.append(lamp_record(catalog, taken, rows=[0] * 1000))
    assert sum(p.stat().st_size for p in tmp_path.glob("segment-*.log")) <= 60_000 + 4096
    assert numbers(journal) == list(range(taken))
    journal.release(journal.end)
    journal.append(lamp_record(catalog, taken))
    journal.sync()
    assert numbers(journal)[-1] == taken
    journal.close()


def test_a_full_disk_refuses_the_record_and_leaves_the_ones_before(tmp_path: Path, catalog: Catalog) -> None:
    """/dev/full stands in for the segment: every write to it meets ENOSPC, and it cannot be cut."""
    journal = Journal(tmp_path, catalog)
    journal.append(lamp_record(catalog, 0))
    journal.sync()
    handle = journal._handle
    assert handle is not None
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, handle)
    os.close(full)
    with pytest.raises(JournalFullError, match="No space left"):
        journal.append(lamp_record(catalog, 1))
    assert journal.end == journal.synced
    journal.append(lamp_record(catalog, 1))
    journal.sync()
    assert numbers(journal) == [0, 1]
    journal.close()
    again = Journal(tmp_path, catalog)
    assert numbers(again) == [0, 1]
    assert again.totals["streetlight"].rows == 6
    again.close()


LIMITED = textwrap.dedent("""
    import resource, sys
    from pathlib import Path
    from devices.kinds import load_catalog
    from storage.journal import Journal, JournalFullError
    from tests.unit.storage_city import lamp_record
    catalog = load_catalog()
    journal = Journal(Path(sys.argv[1]), catalog)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    taken = 0
    try:
        while True:
            journal.append(lamp_record(catalog, taken))
            journal.sync()
            taken += 1
    except JournalFullError as full:
        assert "File too large" in str(full), full
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))  # no room for the head of a new segment
    for _ in range(3):
        try:
            journal.append(lamp_record(catalog, taken))
        except JournalFullError:
            continue
        raise SystemExit("it took a record that does not fit")
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    journal.append(lamp_record(catalog, taken))  # in a file of its own
    journal.sync()
    assert len(list(Path(sys.argv[1]).glob("segment-*.log"))) == 2
    print(taken + 1)
""")


def test_where_the_system_lets_no_file_grow_nothing_is_half_written(tmp_path: Path, catalog: Catalog) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    arguments = [sys.executable, "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    journal = Journal(tmp_path, catalog)
    assert numbers(journal) == list(range(int(done.stdout)))
    assert journal.damage == []
    journal.close()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_what_a_disk_refused_to_make_safe_is_written_again_in_another_segment(tmp_path: Path, catalog: Catalog) -> None:
    """A pipe stands in for the segment: fdatasync on it fails, as on a disk that lost the page."""
    journal = Journal(tmp_path, catalog)
    journal.append(lamp_record(catalog, 0))
    journal.sync()
    journal.append(lamp_record(catalog, 1))
    journal.append(Record(T0))
    handle = journal._handle
    assert handle is not None
    reader, writer = os.pipe()
    os.dup2(writer, handle)
    with pytest.raises(JournalError, match="cannot be made safe"):
        journal.sync()
    os.close(reader)
    os.close(writer)
    assert journal.end == journal.synced
    assert numbers(journal) == [0]
    assert journal.totals["streetlight"].rows == 3
    assert journal._handle is None
    journal.sync()
    assert numbers(journal) == [0, 1, 0]
    assert [len(record.batches) for _, record in journal.read(0)] == [1, 1, 0]  # the tick has come back too
    assert journal.before < journal.end == journal.synced
    assert len(list(tmp_path.glob("segment-*.log"))) == 2
    journal.close()
    again = Journal(tmp_path, catalog)
    assert numbers(again) == [0, 1, 0]
    assert again.damage == []
    again.close()
