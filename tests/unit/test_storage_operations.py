"""The operations database: the registry's rows, decisions written once with their notices, quarantine, versions."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from devices.kinds import Catalog
from devices.registry import Asset, Permit, Road
from devices.transition import ACTIVE, CLEARED, Transition, alert_id
from devices.yamlfile import ConfigError
from storage import tables
from storage.database import Database
from storage.migrations import STEPS, SchemaTooNewError, migrate, version_of
from storage.operations import Limits, Operations
from tests.unit.storage_city import Crew, bad_message, lamps


@pytest.fixture
def operations(tmp_path: Path) -> Iterator[Operations]:
    opened = Operations(f"sqlite:///{tmp_path / 'operations.db'}")
    yield opened
    opened.close()


def begun(onset_ms: int = 1000, **changes: object) -> Transition:
    entity = str(changes.get("entity", "device:lamp-0001"))
    plain = Transition(
        alert_id("lamp_out", entity, onset_ms),
        "lamp_out",
        entity,
        ACTIVE,
        onset_ms + 60_000,
        onset_ms,
        "major",
        {"en": "Lamp out", "zh": "灯灭"},
        {"power_w": 0.0, "wild": math.nan},
        kind="streetlight",
        lon=116.3,
        lat=39.9,
        district="海淀",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def ended(start: Transition, at_ms: int = 500_000) -> Transition:
    return replace(start, state=CLEARED, at_ms=at_ms, reason="recovered", message={"en": "Lit", "zh": "亮"})


# The registry


def test_rows_are_given_once_and_stay_with_their_device(operations: Operations, catalog: Catalog) -> None:
    first = lamps(5)
    assert operations.import_assets(first) == (5, 0, 0)
    changed = [replace(first[3], road="北路"), first[1], replace(lamps(7)[6], facts={"rated_power_w": 60.0})]
    assert operations.import_assets(changed) == (1, 1, 1)
    registry = operations.load_registry(catalog)
    assert [a.id for a in registry.assets] == [*(a.id for a in first), "lamp-0006"]
    assert registry.row["lamp-0003"] == 3
    assert registry.assets[3].road == "北路"
    assert registry.fact("rated_power_w")[5] == 60
    assert math.isnan(registry.fact("rated_power_w")[0])


def test_roads_and_permits_come_back_as_imported(operations: Operations, catalog: Catalog) -> None:
    roads = [Road("a", ((1.0, 2.0), (3.0, 4.0)), "main"), Road("a", ((3.0, 4.0), (5.0, 6.0)))]
    truck = Asset("truck-01", "truck", "truck")
    ring = ((1.0, 1.0), (2.0, 1.0), (2.0, 2.0), (1.0, 1.0))
    permits = [Permit("P", "truck-01", roads[0].line, (ring,), (1320, 360), 5, 6, 40.0)]
    operations.import_assets([truck], roads, permits)
    operations.import_assets([], [Road("b", ((7.0, 8.0), (9.0, 9.0)))])
    registry = operations.load_registry(catalog)
    assert registry.roads[:2] == roads
    assert registry.roads[2].name == "b"
    assert registry.permits == permits
    assert math.isnan(registry.assets[0].lon)


def test_grid_cells_keep_their_names_when_the_city_grows(operations: Operations, catalog: Catalog) -> None:
    operations.import_assets(lamps(3))
    before = [a.grid for a in operations.load_registry(catalog).assets]
    operations.import_assets([Asset(f"far-{n:03d}", "manhole", "cover", lon=116.9, lat=39.5) for n in range(50)])
    assert [a.grid for a in operations.load_registry(catalog).assets][:3] == before


@pytest.mark.parametrize(
    ("assets", "permits", "told"),
    [
        ([replace(lamps(1)[0], kind="manhole", role="cover")], [], "is a streetlight in the registry, not a manhole"),
        ([Asset("new-1", "manhole", "cover"), Asset("new-1", "manhole", "cover")], [], "more than one asset"),
        ([Asset("new-1", "manhole", "cover")], [Permit("P", "no-truck", ((1.0, 1.0), (2.0, 2.0)))], "has no asset"),
    ],
)
def test_an_import_that_is_wrong_changes_nothing(
    operations: Operations, catalog: Catalog, assets: list[Asset], permits: list[Permit], told: str
) -> None:
    operations.import_assets(lamps(2))
    with pytest.raises(ConfigError, match=told):
        operations.import_assets(assets, [Road("r", ((1.0, 1.0), (2.0, 2.0)))], permits)
    registry = operations.load_registry(catalog)
    assert registry.assets[0].kind == "streetlight"
    assert (len(registry), registry.roads, registry.permits) == (2, [], [])


def test_a_registry_of_a_kind_that_is_not_declared_says_so(operations: Operations, catalog: Catalog) -> None:
    operations.import_assets(lamps(2))
    with pytest.raises(ConfigError, match="2 of 'streetlight'"):
        operations.load_registry(Catalog([kind for kind in catalog if kind.name != "streetlight"]))


# Alerts and notices


def test_a_transition_is_news_once_and_owes_one_notice_a_receiver(operations: Operations) -> None:
    crews = [
        Crew("crew"),
        Crew("boss", "critical"),
        Crew("pumps", "info", ("pump",)),
        Crew("lights", "minor", ("streetlight",)),
    ]
    start = begun()
    (row,) = operations.commit([start, start], crews, 70_000)
    assert (row.id, row.state, row.active_ms, row.cleared_ms) == (start.alert_id, "active", 61_000, None)
    assert row.values == {"power_w": 0.0}
    assert operations.commit([start], crews, 80_000) == []
    (row,) = operations.commit([ended(start)], crews, 510_000)
    assert (row.state, row.cleared_ms, row.reason) == ("cleared", 500_000, "recovered")
    assert (row.message_en, row.cleared_message["zh"]) == ("Lamp out", "亮")
    assert operations.commit([ended(start), start], crews, 520_000) == []
    keys = [notice.key for notice in operations.outbox_due(600_000)]
    a = start.alert_id
    assert keys == [f"{a}:active:crew", f"{a}:active:lights", f"{a}:cleared:crew", f"{a}:cleared:lights"]


def test_a_beginning_and_its_end_in_one_step_are_both_told(operations: Operations) -> None:
    start = begun()
    (row,) = operations.commit([start, ended(start)], [Crew("crew")], 70_000)
    assert row.state == "cleared"
    assert [n.state for n in operations.outbox_due(80_000)] == ["active", "cleared"]


def test_an_end_whose_beginning_is_not_known_is_kept(operations: Operations) -> None:
    (row,) = operations.commit([ended(begun())], [Crew("crew")], 70_000)
    assert (row.state, row.active_ms, row.begun_ms) == ("cleared", None, 500_000)
    assert operations.commit([begun()], [Crew("crew")], 80_000) == []
    assert [n.state for n in operations.outbox_due(90_000)] == ["cleared"]


def test_the_notice_carries_the_transition_as_it_was_decided(operations: Operations) -> None:
    operations.commit([begun(lon=math.nan, lat=math.nan)], [Crew("crew")], 70_000)
    (notice,) = operations.outbox_due(70_000)
    assert repr(notice.transition) == repr(begun(lon=math.nan, lat=math.nan, values={"power_w": 0.0}))


def test_alerts_are_found_by_state_rule_kind_entity_and_page(operations: Operations) -> None:
    starts = [begun(n * 1000, entity=f"device:lamp-{n:04d}", rule="a" if n % 2 else "b") for n in range(6)]
    operations.commit([replace(s, kind="pump") if n == 5 else s for n, s in enumerate(starts)], [], 0)
    operations.commit([ended(starts[0])], [], 1)
    operations.acknowledge(starts[1].alert_id, "li", "on my way", 5)
    ids = [s.alert_id for s in starts]
    assert [r.id for r in operations.alerts()] == ids[::-1]
    assert [r.id for r in operations.alerts("open", limit=3)] == ids[:2:-1]
    assert [r.id for r in operations.alerts("acknowledged")] == [ids[1]]
    assert [r.id for r in operations.alerts(rule="a")] == [ids[5], ids[3], ids[1]]
    assert [r.id for r in operations.alerts(kind="pump")] == [ids[5]]
    assert [r.id for r in operations.alerts(entity="device:lamp-0002")] == [ids[2]]
    page = operations.alerts(limit=2)
    assert [r.id for r in operations.alerts(limit=2, before_ms=page[-1].begun_ms)] == [ids[3], ids[2]]


def test_an_acknowledgement_stands_and_does_not_undo_a_clear(operations: Operations) -> None:
    start = begun()
    operations.commit([start], [], 0)
    row = operations.acknowledge(start.alert_id, "li", "on my way", 5)
    assert row is not None
    assert (row.state, row.acknowledged_by, row.note, row.acknowledged_ms) == ("acknowledged", "li", "on my way", 5)
    again = operations.acknowledge(start.alert_id, "wang", "me too", 6)
    assert again == row
    operations.commit([ended(start)], [], 7)
    late = operations.acknowledge(start.alert_id, "wang", "late", 8)
    assert late is not None
    assert (late.state, late.acknowledged_by) == ("cleared", "li")
    assert operations.acknowledge("nothing", "li", "", 9) is None


def test_a_notice_waits_is_tried_again_and_is_settled_once(operations: Operations) -> None:
    operations.commit([begun(), begun(2000)], [Crew("crew"), Crew("boss")], 100)
    first, second, third, fourth = operations.outbox_due(100)
    operations.outbox_failed(first.id, 110, 900, "busy")
    operations.outbox_failed(second.id, 110, None, "no such chat")
    operations.outbox_sent(third.id, 110)
    assert operations.outbox_counts() == {"due": 2, "sent": 1, "failed": 1}
    assert [n.id for n in operations.outbox_due(899)] == [fourth.id]
    assert [(n.id, n.attempts) for n in operations.outbox_due(900)] == [(first.id, 1), (fourth.id, 0)]
    assert [n.id for n in operations.outbox_due(900, without=("crew",))] == [fourth.id]
    operations.outbox_sent(first.id, 950)
    operations.outbox_failed(first.id, 960, 970, "a late answer")
    assert operations.outbox_counts() == {"due": 1, "sent": 2, "failed": 1}
    assert [n.id for n in operations.outbox_due(10_000)] == [fourth.id]


COMMITS = textwrap.dedent("""
    import sys
    from storage.operations import Limits, Operations
    from tests.unit.test_storage_operations import begun, Crew
    operations = Operations(sys.argv[1])
    for number in range(100_000):
        operations.commit([begun(number)], [Crew("crew"), Crew("boss")], number)
        print(number, flush=True)
""")


def test_killed_between_commits_every_alert_has_its_notices_and_none_has_half(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'operations.db'}"
    with subprocess.Popen([sys.executable, "-c", COMMITS, url], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(20)]
        writer.kill()
    operations = Operations(url)
    assert operations.commit([begun(int(line)) for line in lines], [Crew("crew"), Crew("boss")], 0) == []
    alerts = operations.alerts(limit=10_000)
    notices = operations.outbox_due(1_000_000, 100_000)
    assert len(alerts) >= 20
    assert len(notices) == 2 * len(alerts)
    operations.close()


def test_several_threads_may_use_it_at_once(operations: Operations) -> None:
    def work(place: int) -> None:
        for number in range(10):
            operations.commit([begun(place * 1000 + number)], [Crew("crew")], 0)
            operations.alerts("open")

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(operations.alerts(limit=1000)) == 40
    assert operations.outbox_counts()["due"] == 40


# Quarantine


def test_quarantine_keeps_messages_whole_and_finds_them(operations: Operations) -> None:
    rejects = [bad_message(n)._replace(reason="clock" if n % 2 else "topic", device_id=f"d{n}") for n in range(6)]
    operations.quarantine_add(rejects)
    newest = operations.quarantine_list(2)
    assert [row.payload for row in newest] == [rejects[5].payload, rejects[4].payload]
    assert [row.device for row in operations.quarantine_list(10, reason="clock")] == ["d5", "d3", "d1"]
    assert [row.reason for row in operations.quarantine_list(10, device="d2")] == ["topic"]
    assert operations.quarantine_counts() == {"clock": 3, "topic": 3}
    shown = operations.quarantine_show(newest[0].id)
    assert shown == newest[0]
    assert operations.quarantine_show(999) is None


def test_quarantine_holds_what_a_database_finds_hard(operations: Operations) -> None:
    operations.quarantine_add([bad_message(0)._replace(topic="a\0b\ud800", payload=b"")])
    assert operations.quarantine_list(1)[0].topic == "a\\0b\\ud800"


def test_a_full_quarantine_lets_the_oldest_go_and_counts_them(tmp_path: Path) -> None:
    limits = Limits(rows=10, size=100, reason_rows=10, reason_size=100)
    operations = Operations(f"sqlite:///{tmp_path / 'o.db'}", limits=limits)
    operations.quarantine_add([bad_message(n)._replace(detail=str(n)) for n in range(25)])
    assert [row.detail for row in operations.quarantine_list(99)] == [str(n) for n in range(24, 14, -1)]
    assert operations.quarantine_gone() == {"topic": 15}
    operations.quarantine_add([bad_message(99)._replace(payload=b"x" * 90)])
    assert len(operations.quarantine_list(99)) == 4
    assert operations.quarantine_gone() == {"topic": 22}
    operations.close()


# Shipping


def test_position_counts_and_rejects_move_together(operations: Operations) -> None:
    operations.ship(100, {"pump": 5, "truck": 0}, [bad_message(1)], {"pump": 5, "unknown": 1})
    operations.ship(200, {"pump": 2}, [bad_message(2)._replace(kind="pump")], {"pump": 8})
    shipped = operations.shipped()
    assert shipped.position == 200
    assert shipped.stored == {"pump": 7}
    assert shipped.quarantined == {"unknown": 1, "pump": 1}
    assert shipped.kept == {"pump": 8, "unknown": 1}
    assert sum(operations.quarantine_counts().values()) == 2


# Versions


def test_an_empty_file_is_brought_to_the_newest_version(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    path.touch()
    Operations(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT version FROM schema_version").fetchall() == [(len(STEPS),)]
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()


def test_a_newer_database_is_refused_with_what_to_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'o.db'}"
    operations = Operations(url)
    operations.close()
    with sqlite3.connect(tmp_path / "o.db") as raw:
        raw.execute("UPDATE schema_version SET version = 99")
    raw.close()
    with pytest.raises(
        SchemaTooNewError, match=r"version 99, this Lamplighter knows versions up to \d+: start the newer"
    ):
        Operations(url)


def test_every_table_and_upsert_can_be_said_to_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in tables.metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect)).startswith("\nCREATE TABLE")
    database = Database("sqlite://")
    database.is_sqlite = False
    upsert = database.insert(tables.tallies, update=("number",), conflict="name")
    assert "ON CONFLICT (name) DO UPDATE SET number = excluded.number" in str(upsert.compile(dialect=dialect))
    once = database.insert(tables.outbox, conflict="key")
    assert "ON CONFLICT (key) DO NOTHING" in str(once.compile(dialect=dialect))
    database.close()


def test_a_step_that_fails_half_way_leaves_the_version_before_it(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'o.db'}")

    def half(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half_done (x INTEGER)"))
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        migrate(database, (*STEPS, half))
    with database.reading() as connection:
        assert version_of(connection) == len(STEPS)
        assert connection.execute(text("SELECT count(*) FROM sqlite_schema WHERE name = 'half_done'")).scalar() == 0

    def whole(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half_done (x INTEGER)"))

    assert migrate(database, (*STEPS, whole)) == len(STEPS) + 1
    assert migrate(database, (*STEPS, whole)) == len(STEPS) + 1
    database.close()
