"""Killed at every statement of a migration: one version whole, the old or the new, and a copy of the old beside it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from devices.transition import ACTIVE, Transition
from devices.yamlfile import ConfigError
from storage.database import Database
from storage.migrations import STEPS, SchemaTooNewError, migrate
from storage.operations import Operations
from tests.unit.storage_city import Crew

# One process imports everything and forks a life for each statement; each life is killed as it comes to its own.
LIVES = """
import json, os, signal, sys
from sqlalchemy import event
from storage.operations import Operations

def life(url, wanted):
    seen = 0
    def passes(*_):
        nonlocal seen
        seen += 1
        if seen == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
    from sqlalchemy.engine import Engine
    event.listen(Engine, "before_cursor_execute", passes)
    event.listen(Engine, "commit", passes)
    import storage.migrations as migrations
    copy = migrations.sync_folder
    migrations.sync_folder = lambda folder: (passes(), copy(folder), passes())
    Operations(url).close()

for number, folder in enumerate(json.load(sys.stdin), 1):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            life(f"sqlite:///{folder}/operations.db", number)
            status = 0
        finally:
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
OLD = 1  # the version that the tests begin with


def old_house(folder: Path) -> None:
    """Make a database of the first version with an alert, a notice and a quarantined message."""
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'operations.db'}")
    migrate(database, STEPS[:OLD])
    database.close()
    with closing(sqlite3.connect(folder / "operations.db")) as raw, raw:
        held = "INSERT INTO quarantine (arrival_ms, reason, detail, topic, kind, device, payload)"
        raw.execute(f"{held} VALUES (1, 'unreadable', 'x', 't', 'pump', 'pump-1', x'00ff')")
        raw.execute("INSERT INTO tallies VALUES ('stored:pump', 41), ('quarantine_rows', 1), ('quarantine_bytes', 2)")


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(raw.execute("SELECT version FROM schema_version").fetchone()[0])


def columns(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as raw:
        return {row[1] for row in raw.execute("PRAGMA table_info(quarantine)")}


def content(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as raw:
        rows = raw.execute("SELECT reason, device, payload FROM quarantine").fetchall()
        return [*rows, *raw.execute("SELECT number FROM tallies WHERE name = 'stored:pump'")]


def test_a_kill_at_any_statement_leaves_one_version_whole_and_the_next_start_goes_on(tmp_path: Path) -> None:
    old_house(tmp_path / "0")
    before = columns(tmp_path / "0" / "operations.db")
    expected = content(tmp_path / "0" / "operations.db")
    folders = [tmp_path / str(number) for number in range(1, 71)]
    for folder in folders:
        shutil.copytree(tmp_path / "0", folder)
    done = subprocess.run(
        [sys.executable, "-c", LIVES],
        input=json.dumps([str(folder) for folder in folders]),
        capture_output=True,
        text=True,
        check=True,
    )
    ends = [int(line) for line in done.stdout.split()]
    kills = ends.index(0)
    assert set(ends[:kills]) == {-9}
    assert set(ends[kills:]) == {0}, done.stderr
    assert kills > 15, "each statement of the step, its commit and the copy"
    found = []
    for folder in folders[: kills + 1]:
        path = folder / "operations.db"
        found.append(version(path))
        assert content(path) == expected
        assert (columns(path) == before) == (found[-1] == OLD), "never half"
        copies = list(folder.glob("*.backup"))
        if found[-1] > OLD:
            assert copies, "nothing is changed before the copy is there"
        for copy in copies:
            assert (version(copy), content(copy)) == (OLD, expected)
        operations = Operations(f"sqlite:///{path}")  # the next start
        operations.commit([Transition("a", "r", "device:x", ACTIVE, 1, 1, "minor", {"en": "x"})], [Crew("duty")], 1)
        assert len(operations.quarantine_list()) == 1
        operations.close()
        assert version(path) == len(STEPS)
        assert content(path) == expected
        reached = {OLD, *({found[-1]} if found[-1] < len(STEPS) else ())}  # each start copies what it found
        assert {one.name for one in folder.iterdir()} == {
            "operations.db",
            *(f"operations.db.v{n}.backup" for n in reached),
        }
    assert found == sorted(found)
    assert (found[0], found[-1]) == (OLD, len(STEPS))
    print(f"{kills} kills: {found.count(OLD)} left version {OLD}, {len(found) - found.count(OLD)} a newer one")


def test_an_older_program_says_what_to_do_and_the_copy_can_be_gone_back_to(tmp_path: Path) -> None:
    old_house(tmp_path / "house")
    path = tmp_path / "house" / "operations.db"
    expected = content(path)
    Operations(f"sqlite:///{path}").close()
    database = Database(f"sqlite:///{path}")
    with pytest.raises(SchemaTooNewError) as told:
        migrate(database, STEPS[:OLD])
    database.close()
    text = str(told.value)
    assert f"has version {len(STEPS)}, this Lamplighter knows versions up to {OLD}: start the newer" in text
    copy = Path(text.rpartition(": ")[2])
    assert copy == path.with_name(f"operations.db.v{OLD}.backup")
    shutil.copy(copy, path)
    database = Database(f"sqlite:///{path}")
    assert migrate(database, STEPS[:OLD]) == OLD
    database.close()
    assert content(path) == expected


def test_without_room_for_the_copy_nothing_is_changed(tmp_path: Path) -> None:
    old_house(tmp_path / "house")
    path = tmp_path / "house" / "operations.db"
    (tmp_path / "house" / f"operations.db.v{OLD}.draft").mkdir()  # where the copy would be written
    with pytest.raises(ConfigError, match=r"cannot be copied before it is changed: .*; make room beside it"):
        Operations(f"sqlite:///{path}")
    assert version(path) == OLD
