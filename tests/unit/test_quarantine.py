"""Quarantine as a place: sizes by device, reason and whole; what a person may find, look at, and throw away."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.payloads import Reject
from devices.topics import up
from storage.database import Database
from storage.migrations import STEPS, migrate
from storage.operations import Choice, Limits, Operations, Still
from storage.plainly import dump, plainly, visible
from storage.quarantine import NUMBERS_MAX

SMALL = Limits(rows=100, size=10_000, reason_rows=60, reason_size=6000, source_rows=10, source_size=1000)


@pytest.fixture
def operations(tmp_path: Path) -> Iterator[Operations]:
    opened = Operations(f"sqlite:///{tmp_path / 'operations.db'}", limits=SMALL)
    yield opened
    opened.close()


def reject(
    device: str, number: int = 0, reason: str = "unreadable", payload: bytes = b"{", kind: str = "pump"
) -> Reject:
    return Reject(up("c", kind, device), payload, reason, f"no. {number}", device, kind, 1000 + number)


def held(operations: Operations, **choice: str) -> list[str]:
    rows = operations.quarantine_list(10_000, choice=Choice(**choice))
    return [row.detail for row in reversed(rows)]


def test_one_bad_device_pushes_out_its_own_oldest_messages_and_nobody_elses(operations: Operations) -> None:
    operations.quarantine_add([reject("quiet", n) for n in range(3)])
    for start in range(0, 500, 50):
        operations.quarantine_add([reject("loud", n) for n in range(start, start + 50)])
    assert held(operations, device="quiet") == ["no. 0", "no. 1", "no. 2"]
    assert held(operations, device="loud") == [f"no. {n}" for n in range(490, 500)]
    assert operations.quarantine_gone() == {"unreadable": 490}
    assert operations.quarantine_counts() == {"unreadable": 13}


def test_a_device_may_not_hold_more_bytes_than_its_part_and_a_giant_goes_at_once(operations: Operations) -> None:
    operations.quarantine_add([reject("loud", n, payload=b"x" * 400) for n in range(5)])
    assert held(operations, device="loud") == ["no. 3", "no. 4"]
    operations.quarantine_add([reject("giant", 9, payload=b"x" * 1001)])
    assert held(operations, device="giant") == []
    assert operations.quarantine_gone() == {"unreadable": 4}


def test_strange_topics_without_a_device_are_counted_topic_by_topic(operations: Operations) -> None:
    nameless = [Reject(f"else/where/{n % 2}", b"x", "topic", f"no. {n}", "", "", n) for n in range(30)]
    operations.quarantine_add([*nameless, Reject("else/other", b"x", "topic", "other", "", "", 31)])
    assert held(operations, text="where/0") == [f"no. {n}" for n in range(10, 30, 2)]
    assert held(operations, text="other") == ["other"]


def test_a_reason_takes_its_share_at_most_and_the_largest_makes_room_for_the_others(operations: Operations) -> None:
    operations.quarantine_add([reject(f"bomb-{n}", n, reason="unknown_device") for n in range(500)])
    assert held(operations) == [f"no. {n}" for n in range(440, 500)]
    operations.quarantine_add([reject(f"odd-{n}", n, reason="wrong_form") for n in range(300)])
    operations.quarantine_add([reject(f"late-{n}", n, reason="clock") for n in range(20)])
    assert operations.quarantine_counts() == {"unknown_device": 40, "wrong_form": 40, "clock": 20}
    assert held(operations, reason="clock") == [f"no. {n}" for n in range(20)]
    assert operations.quarantine_gone() == {"unknown_device": 460, "wrong_form": 260}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 6), st.sampled_from(["unreadable", "clock", "topic"]), st.integers(0, 700)),
            max_size=80,
        ),
        max_size=6,
    )
)
def test_limits_always_hold_and_every_message_is_held_or_counted(groups: list[list[tuple[int, str, int]]]) -> None:
    operations = Operations("sqlite://", limits=SMALL)
    sent = 0
    for group in groups:
        operations.quarantine_add([reject(f"d-{d}", sent, reason, b"x" * size) for d, reason, size in group])
        sent += len(group)
        rows = operations.quarantine_list(10_000)
        counts = operations.quarantine_counts()
        assert len(rows) + sum(operations.quarantine_gone().values()) == sent
        assert len(rows) <= SMALL.rows
        assert sum(len(row.payload) for row in rows) <= SMALL.size
        for reason in ("unreadable", "clock", "topic"):
            mine = [row for row in rows if row.reason == reason]
            assert len(mine) == counts.get(reason, 0) <= SMALL.reason_rows
            assert sum(len(row.payload) for row in mine) <= SMALL.reason_size
        for device in range(7):
            mine = [row for row in rows if row.device == f"d-{device}"]
            assert len(mine) <= SMALL.source_rows
            assert sum(len(row.payload) for row in mine) <= SMALL.source_size
    operations.close()


def test_messages_are_found_by_every_filter_and_page_by_page(operations: Operations) -> None:
    operations.quarantine_add([reject(f"d-{n % 3}", n, "clock" if n % 2 else "topic") for n in range(12)])
    operations.quarantine_add([reject("cover-1", 50, kind="manhole"), reject("c%_\\x", 51)])
    assert held(operations, reason="clock", device="d-1") == ["no. 1", "no. 7"]
    assert held(operations, kind="manhole") == ["no. 50"]
    assert held(operations, text="MANHOLE/cov") == ["no. 50"]
    assert held(operations, text="%_\\") == ["no. 51"], "signs of the database's own are text like any other"
    assert held(operations, text="_") == ["no. 51"]
    spans = operations.quarantine_list(99, choice=Choice(since_ms=1002, until_ms=1004))
    assert [row.detail for row in spans] == ["no. 3", "no. 2"]
    assert operations.quarantine_number(Choice(reason="topic")) == 6
    assert operations.quarantine_number(Choice()) == 14
    pages: list[str] = []
    before = None
    while page := operations.quarantine_list(5, before=before):
        pages += [row.detail for row in page]
        before = page[-1].id
    assert pages == list(reversed(held(operations)))
    numbers = tuple(row.id for row in operations.quarantine_list(2))
    assert operations.quarantine_number(Choice(numbers=numbers)) == 2
    assert operations.quarantine_number(Choice(numbers=())) == 0
    with pytest.raises(ValueError, match="at most 500"):
        operations.quarantine_number(Choice(numbers=tuple(range(NUMBERS_MAX + 1))))


def test_what_is_purged_is_gone_and_counted_and_its_place_is_free(operations: Operations) -> None:
    operations.quarantine_add([reject(f"d-{n}", n, "clock" if n % 2 else "topic") for n in range(10)])
    assert operations.quarantine_purge(Choice(reason="clock")) == 5
    assert operations.quarantine_purge(Choice(reason="clock")) == 0
    assert operations.quarantine_counts() == {"topic": 5}
    assert operations.quarantine_purged() == {"clock": 5}
    assert operations.quarantine_gone() == {}


def test_a_message_that_went_meanwhile_is_not_counted_as_read(operations: Operations) -> None:
    operations.quarantine_add([reject("d-1", 1), reject("d-2", 2)])
    first, second = (row.id for row in reversed(operations.quarantine_list()))
    operations.quarantine_purge(Choice(numbers=(first,)))
    operations.quarantine_settle([first], [Still(second, "clock", "worse"), Still(first, "clock", "gone")])
    assert operations.shipped().replayed == {}
    assert operations.quarantine_counts() == {"clock": 1}
    assert [(row.reason, row.detail, row.attempts) for row in operations.quarantine_list()] == [("clock", "worse", 1)]


def test_a_database_of_the_first_version_keeps_its_messages_and_learns_to_count_them(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    database = Database(f"sqlite:///{path}")
    migrate(database, STEPS[:1])
    database.close()
    with sqlite3.connect(path) as raw:
        old = "INSERT INTO quarantine (arrival_ms, reason, detail, topic, kind, device, payload) VALUES (?,?,?,?,?,?,?)"
        raw.executemany(
            old, [(1, "clock", "", "t", "pump", "d-1", b"12345")] * 3 + [(2, "topic", "", "x", "", "", b"")]
        )
        raw.executemany(
            "INSERT OR REPLACE INTO tallies VALUES (?, ?)", [("quarantine_rows", 4), ("quarantine_bytes", 15)]
        )
    raw.close()
    operations = Operations(f"sqlite:///{path}", limits=Limits(source_rows=3))
    assert operations.quarantine_counts() == {"clock": 3, "topic": 1}
    operations.quarantine_add([reject("d-1", 7)])
    assert operations.quarantine_counts() == {"clock": 2, "topic": 1, "unreadable": 1}
    assert operations.quarantine_gone() == {"clock": 1}
    operations.close()


def test_json_is_laid_out_as_it_was_sent_and_not_as_it_was_understood() -> None:
    form, text = plainly(b'{"ts":1,"ts":2,"n":1e999,"long":12345678901234567890.00,"a":[1,{"b":null}]}')
    assert form == "json"
    assert text.count('"ts"') == 2
    assert "1e999" in text
    assert "12345678901234567890.00" in text
    assert text.splitlines()[0] == "{"


@pytest.mark.parametrize(
    ("payload", "form", "text"),
    [
        (b"\x1b[2J\x07plain", "text", "\\x1b[2J\\x07plain"),
        ('{"a": "\u202etxt"}'.encode(), "json", '{\n  "a": "\\u202etxt"\n}'),
        (b"{\r\nhalf", "text", "{\\x0d\nhalf"),
        (b'{"a": "much"} \xff', "text", '{"a": "much"} \\xff'),
        ("灯 ok".encode(), "text", "灯 ok"),
        (b"", "text", ""),
    ],
)
def test_nothing_in_a_payload_can_act_on_who_looks_at_it(payload: bytes, form: str, text: str) -> None:
    assert plainly(payload) == (form, text)


def test_bytes_are_shown_as_a_dump() -> None:
    form, text = plainly(bytes(range(0xF0, 0x100)) + b"lamp")
    assert form == "binary"
    assert text.splitlines() == [
        "00000000  f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 fa fb fc fd fe ff  ................",
        "00000010  6c 61 6d 70                                      lamp",
    ]
    assert dump(b"") == ""


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda t: t.encode("utf-8", "replace")))
def test_whatever_is_shown_prints(payload: bytes) -> None:
    form, text = plainly(payload)
    assert all(each.isprintable() or each == "\n" for each in text)
    assert form in ("json", "text", "binary")
    assert visible(text) == text


def test_a_deep_payload_is_shown_as_text_and_not_tripped_over() -> None:
    form, text = plainly(b"[" * 100_000 + b"]" * 100_000)
    assert len(text) >= 200_000
    assert form in ("json", "text")


def test_a_bomb_of_strangers_fills_the_share_of_its_reason_and_leaves_the_others_alone(tmp_path: Path) -> None:
    limits = Limits(rows=10_000, reason_rows=5_000)
    operations = Operations(f"sqlite:///{tmp_path / 'o.db'}", limits=limits)
    operations.quarantine_add([reject("lamp-9", n, "wrong_form") for n in range(50)])
    for start in range(0, 60_000, 20_000):  # as the shipper brings them, ROWS_MAX at a time
        bomb = [reject(f"bomb-{n:07d}", n, "unknown_device", b'{"ts":1}') for n in range(start, start + 20_000)]
        operations.quarantine_add(bomb)
    assert operations.quarantine_counts() == {"wrong_form": 50, "unknown_device": 5_000}
    assert operations.quarantine_gone() == {"unknown_device": 55_000}
    operations.close()
