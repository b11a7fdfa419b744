"""The journal keeps what it was given: order, columns, counts, through segments, restarts, kills and new catalogs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from devices.kinds import Catalog, Kind, load_catalog, parse_kind
from devices.yamlfile import parse_yaml
from storage.journal import Journal, JournalError, Record
from storage.records import Counts
from tests.unit.storage_city import T0, lamp_record


def same(left: Record, right: Record) -> bool:
    pairs = list(zip(left.batches, right.batches, strict=True))
    return (
        left.now_ms == right.now_ms
        and left.rejects == right.rejects
        and left.received == right.received
        and left.duplicates == right.duplicates
        and all(a.kind.name == b.kind.name and a.arrival_ms == b.arrival_ms for a, b in pairs)
        and all(np.array_equal(a.values, b.values, equal_nan=True) for a, b in pairs)
        and all(np.array_equal(a.time_ms, b.time_ms) and np.array_equal(a.device, b.device) for a, b in pairs)
        and all(np.array_equal(a.marks, b.marks) and np.array_equal(a.sent_ms, b.sent_ms) for a, b in pairs)
    )


def test_records_come_back_in_order_with_their_positions(tmp_path: Path, catalog: Catalog) -> None:
    journal = Journal(tmp_path, catalog)
    given = [lamp_record(catalog, n) for n in range(20)] + [Record(T0)]
    ends = [journal.append(record) for record in given]
    journal.sync()
    read = list(journal.read(journal.start))
    assert [position for position, _ in read] == ends
    assert all(same(a, b) for (_, a), b in zip(read, given, strict=True))
    assert [p for p, _ in journal.read(ends[4])] == ends[5:]
    assert journal.damage == []
    journal.close()


def test_what_is_not_yet_safe_is_not_read(tmp_path: Path, catalog: Catalog) -> None:
    journal = Journal(tmp_path, catalog)
    journal.append(lamp_record(catalog, 1))
    assert list(journal.read(0)) == []
    assert journal.synced < journal.end
    journal.sync()
    journal.append(lamp_record(catalog, 2))
    assert len(list(journal.read(0))) == 1
    journal.close()


def test_reading_goes_on_while_segments_come_and_go(tmp_path: Path, catalog: Catalog) -> None:
    journal = Journal(tmp_path, catalog, segment_bytes=4096)
    seen, position = 0, 0
    for number in range(200):
        journal.append(lamp_record(catalog, number))
        journal.sync()
        if number % 7 == 0:
            for after, record in journal.read(position):
                assert record.now_ms == T0 + seen * 1000 + 7
                seen, position = seen + 1, after
            journal.release(position)
    assert seen == 197
    assert journal.start > 0
    assert len(list(tmp_path.glob("segment-*.log"))) < 4
    journal.close()


def test_a_restart_knows_where_it_was_and_what_it_has_counted(tmp_path: Path, catalog: Catalog) -> None:
    journal = Journal(tmp_path, catalog, segment_bytes=4096)
    for number in range(30):
        journal.append(lamp_record(catalog, number))
    journal.sync()
    end, totals = journal.end, journal.totals
    assert totals["streetlight"] == Counts(received=100, duplicates=10, rows=90, rejects=0)
    assert totals["unknown"] == Counts(received=10, duplicates=0, rows=0, rejects=10)
    journal.release(end)
    journal.close()
    again = Journal(tmp_path, catalog, segment_bytes=4096)
    assert (again.end, again.synced, again.totals) == (end, end, totals)
    again.append(lamp_record(catalog, 31))
    assert again.totals["streetlight"].rows == 93
    assert again.damage == []
    again.close()


def test_the_record_says_what_was_counted_at_its_end(tmp_path: Path, catalog: Catalog) -> None:
    journal = Journal(tmp_path, catalog)
    for number in range(4):
        journal.append(lamp_record(catalog, number))
    journal.sync()
    totals = [record.totals["streetlight"].kept for _, record in journal.read(0)]
    assert totals == [3, 6, 9, 12]
    assert [record.totals for _, record in journal.read(0)][-1] == journal.totals
    journal.close()


def test_the_tail_begins_at_a_segment_and_is_long_enough(tmp_path: Path, catalog: Catalog) -> None:
    journal = Journal(tmp_path, catalog, segment_bytes=4096)
    assert journal.tail(1000) == journal.start
    for number in range(50):
        journal.append(lamp_record(catalog, number))
    journal.sync()
    for size in (0, 1, 5000, 10_000, 1 << 40):
        begin = journal.tail(size)
        assert begin == journal.start or journal.end - begin >= size
        assert [r.now_ms for _, r in journal.read(begin)][-1] == T0 + 49_007
    assert journal.tail(5000) > journal.start
    journal.close()


def test_a_second_writer_is_refused(tmp_path: Path, catalog: Catalog) -> None:
    journal = Journal(tmp_path, catalog)
    with pytest.raises(JournalError, match="another Lamplighter"):
        Journal(tmp_path, catalog)
    journal.close()
    Journal(tmp_path, catalog).close()


def test_positions_go_on_beyond_the_floor_where_the_journal_was_lost(tmp_path: Path, catalog: Catalog) -> None:
    journal = Journal(tmp_path, catalog, floor=1_000_000)
    assert journal.end == 1_000_000
    assert "1000000 was reached before" in journal.damage[0]
    journal.append(lamp_record(catalog, 1))
    journal.sync()
    assert len(list(journal.read(1_000_000))) == 1
    journal.close()
    assert len(list(Journal(tmp_path, catalog, floor=10).read(0))) == 1


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from devices.kinds import load_catalog
    from storage.journal import Journal
    from tests.unit.storage_city import lamp_record
    catalog = load_catalog()
    journal = Journal(Path(sys.argv[1]), catalog, segment_bytes=20_000)
    number = journal.totals.get("streetlight").rows // 3 if journal.totals else 0
    while True:
        for _ in range(3):
            journal.append(lamp_record(catalog, number))
            number += 1
        journal.sync()
        print(number, flush=True)
""")


def test_killed_at_any_moment_everything_that_was_synced_is_there(tmp_path: Path, catalog: Catalog) -> None:
    safe = 0
    rng = np.random.default_rng(7)
    for _ in range(6):
        arguments = [sys.executable, "-c", WRITER, str(tmp_path)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as writer:
            assert writer.stdout is not None
            for _ in range(int(rng.integers(1, 40))):
                safe = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split()
            safe = int(rest[-1]) if rest else safe
        journal = Journal(tmp_path, catalog, segment_bytes=20_000)
        times = [record.now_ms for _, record in journal.read(0)]
        assert times == [T0 + n * 1000 + 7 for n in range(len(times))]
        assert len(times) >= safe
        assert journal.totals["streetlight"].rows == 3 * len(times)
        journal.close()
    assert safe > 10


def a_kind(name: str, *fields: str) -> Kind:
    declared = "\n".join(f"  {f}: {{range: [0, 10], en: {f}, zh: {f}}}" for f in fields)
    return parse_kind(parse_yaml(f"kind: {name}\nen: x\nzh: x\nroles: {{only: 60}}\nfields:\n{declared}\n"))


def gauge_record(catalog: Catalog) -> Record:
    from devices.batch import make_batch

    kind = catalog["gauge"]
    values = np.arange(2.0 * len(kind.fields)).reshape(len(kind.fields), 2)
    return Record(5, [make_batch(kind, 5, [1, 2], [0, 1], values)], received={"gauge": 2})


def test_records_survive_fields_that_are_added_moved_and_removed(tmp_path: Path) -> None:
    before = Catalog([a_kind("other", "x"), a_kind("gauge", "level", "flow", "old")])
    journal = Journal(tmp_path, before)
    journal.append(gauge_record(before))
    journal.close()
    after = Catalog([a_kind("gauge", "new", "flow", "level"), a_kind("other", "x")])
    journal = Journal(tmp_path, after)
    journal.append(gauge_record(after))
    journal.sync()
    (_, old), (_, new) = journal.read(0)
    assert old.batches[0].kind is after["gauge"]
    assert np.isnan(old.batches[0].column("new")).all()
    assert old.batches[0].column("level").tolist() == [0, 1]
    assert old.batches[0].column("flow").tolist() == [2, 3]
    assert new.batches[0].column("level").tolist() == [4, 5]
    assert journal.totals["gauge"] == Counts(received=4, rows=4)
    journal.close()


def test_readings_of_a_kind_that_is_no_longer_declared_become_rejects_and_stay_counted(tmp_path: Path) -> None:
    before = Catalog([a_kind("gauge", "level"), a_kind("other", "x")])
    journal = Journal(tmp_path, before)
    journal.append(gauge_record(before))
    journal.close()
    journal = Journal(tmp_path, Catalog([a_kind("other", "x")]))
    ((_, record),) = journal.read(0)
    assert record.batches == []
    assert [r.kind for r in record.rejects] == ["gauge", "gauge"]
    assert record.rejects[1].payload == b'{"ts": 2, "registry_row": 1, "level": 1.0}'
    journal.append(Record(9))
    journal.sync()
    assert [r.totals["gauge"] for _, r in journal.read(0)] == [Counts(received=2, rows=2)] * 2
    journal.close()


def test_limits_of_the_present_catalog_decide_what_is_suspect(tmp_path: Path) -> None:
    before = Catalog([a_kind("gauge", "level")])
    journal = Journal(tmp_path, before)
    record = gauge_record(before)
    record.batches[0].values[0] = [5, 50]
    journal.append(record)
    journal.sync()
    ((_, read),) = journal.read(0)
    assert read.batches[0].suspect.tolist() == [[False, True]]
    journal.close()


def test_the_shipped_catalog_is_the_same_after_a_restart(tmp_path: Path) -> None:
    journal = Journal(tmp_path, load_catalog())
    journal.append(lamp_record(load_catalog(), 1))
    journal.close()
    journal = Journal(tmp_path, load_catalog())
    journal.append(lamp_record(load_catalog(), 2))
    journal.sync()
    assert len(list(tmp_path.glob("segment-*.log"))) == 1
    assert len(list(journal.read(0))) == 2
    journal.close()
