"""Defects that the rehearsal found, each in the smallest scene that shows it, with the seed that found it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import mqtt5
import pytest

from alerts import delivery
from alerts.delivery import DeliveryError, Receiver
from alerts.notify import Notifier
from devices.topics import up
from devices.transition import ACTIVE, CLEARED, Transition, alert_id
from ingest.inbox import Delivery
from ingest.session import BrokerOptions, Session
from ingest.sieve import Sieve
from lamplighter.clock import Clock
from lamplighter.settings import City, Settings
from lamplighter.settings import Receiver as Told
from lamplighter.wiring import House
from storage import snapshot
from storage.alertbook import AlertRow
from storage.journal import Journal, Record
from storage.operations import Operations, OutboxRow
from tests.small_house import CATALOG, CITY, RULES, ZONE, Sent, SmallHouse, small_assets

NOW = 1_781_553_600_000
HOUR_MS = 3_600_000
CREW = Receiver("crew", "log", "en", "info")
NOBODY = Told(name="nobody", url="log")


@pytest.fixture
def operations(tmp_path: Path) -> Iterator[Operations]:
    opened = Operations(f"sqlite:///{tmp_path / 'operations.db'}")
    yield opened
    opened.close()


def notice(number: int, state: str = ACTIVE) -> Transition:
    entity = f"device:cover-{number:03d}"
    return Transition(
        alert_id("open", entity, NOW), "open", entity, state, NOW, NOW, "critical", {"en": "open"}, kind="manhole"
    )


def test_that_an_alert_is_over_waits_for_its_beginning_also_after_a_restart(operations: Operations) -> None:
    """Seed 6: the beginning waited for another try, the house began anew, and told the end first."""
    operations.commit([notice(1)], [CREW], NOW)
    (row,) = operations.outbox_due(NOW)
    operations.outbox_failed(row.id, NOW, NOW + 4000, "busy")
    operations.commit([notice(1, CLEARED), notice(2)], [CREW], NOW + 1000)
    assert [(one.transition.entity, one.state) for one in operations.outbox_due(NOW + 2000)] == [
        ("device:cover-002", ACTIVE)
    ]
    assert [one.state for one in operations.outbox_due(NOW + 4000)] == [ACTIVE, CLEARED, ACTIVE]
    operations.outbox_sent(row.id, NOW + 5000)
    assert [one.state for one in operations.outbox_due(NOW + 5000)] == [CLEARED, ACTIVE]


def sending(monkeypatch: pytest.MonkeyPatch, answer: Callable[[Transition], None]) -> None:
    monkeypatch.setattr(delivery, "send", lambda _, one, _now_ms: answer(one))


def test_notices_that_fail_together_are_one_failure(operations: Operations, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed 25: four failed at once, and the receiver rested for two minutes after fifteen seconds of trouble."""

    def refuse(_: Transition) -> None:
        raise DeliveryError("503")

    sending(monkeypatch, refuse)
    operations.commit([notice(n) for n in range(4)], [CREW], NOW)
    notifier = Notifier(operations, [CREW])

    async def once(now_ms: int) -> None:
        await notifier.deliver_due(now_ms)
        await notifier.drain()

    asyncio.run(once(NOW))
    desk = notifier._desks["crew"]
    assert notifier.tallies["crew"].retried == 4
    assert desk.failures == 1
    assert desk.rests_until_ms - NOW < 4000
    asyncio.run(once(NOW + 10_000))
    assert desk.failures == 2


def test_what_was_told_while_the_outbox_was_asked_is_not_told_again(
    operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 41: the outbox answered with a notice that was told and written down before its answer was looked at."""
    told: list[str] = []
    sending(monkeypatch, lambda one: told.append(one.entity))
    operations.commit([notice(1)], [CREW], NOW)
    notifier = Notifier(operations, [CREW])
    (row,) = operations.outbox_due(NOW)

    class Slow:
        """An outbox whose answer is as old as a delivery takes."""

        outbox_sent, outbox_failed = operations.outbox_sent, operations.outbox_failed

        answers: ClassVar = [[row], []]

        def outbox_due(self, *_: object) -> list[OutboxRow]:
            answer = self.answers.pop(0)
            while answer and not operations.outbox_counts()["sent"]:
                time.sleep(0.01)
            time.sleep(0.2)
            return answer

    async def scene() -> None:
        notifier._outbox = Slow()
        started = await notifier._start(row, NOW)
        assert started is not None
        await notifier.deliver_due(NOW)
        await notifier.drain()

    asyncio.run(scene())
    assert told == ["device:cover-001"]


def test_a_host_clock_set_back_by_an_hour_blinds_no_rule(tmp_path: Path) -> None:
    """Seed 148: what was heard before the correction lay in the future after it, and an hour of readings was late."""
    house = SmallHouse(tmp_path, now_ms=NOW)
    try:
        sieve = Sieve(len(house.registry))

        def hear(now_ms: int, device_ms: int, **fields: float) -> list[str]:
            sent = Sent(up(CITY, "manhole", "cover-0001"), json.dumps({"ts": device_ms, **fields}).encode())
            batches = [sieve.sift(batch)[0] for batch in house.decoder.decode([sent], now_ms).batches]
            return [change.state for change in house.engine.step(batches, now_ms)]

        assert hear(NOW + HOUR_MS, NOW + HOUR_MS, cover_open=0) == []
        assert hear(NOW + 1_000, NOW + HOUR_MS + 1_000, cover_open=1) == [ACTIVE]
        assert hear(NOW + 2_000, NOW + HOUR_MS + 2_000, cover_open=0) == [CLEARED]
        assert sieve.late == 0
    finally:
        house.close()


def test_nor_is_it_blind_when_it_begins_anew_with_a_wrong_clock(tmp_path: Path) -> None:
    """Seed 23: a new life knew nothing of the correction, and judged readings by their arrival that seemed old."""
    house = SmallHouse(tmp_path, now_ms=NOW)
    try:
        assert house.hear("cover-0001", at_ms=NOW, cover_open=0) == []
        sent = Sent(up(CITY, "manhole", "cover-0001"), json.dumps({"ts": NOW + 1000, "cover_open": 1}).encode())
        (batch,) = house.decoder.decode([sent], NOW - HOUR_MS).batches
        assert [change.state for change in house.engine.step([batch], NOW + 1000)] == [ACTIVE]
    finally:
        house.close()


def test_an_alert_that_waits_begins_to_wait_anew_when_the_clock_is_set_back(tmp_path: Path) -> None:
    house = SmallHouse(tmp_path, now_ms=NOW)
    try:
        assert house.hear("station-01", at_ms=NOW + HOUR_MS, level_m=4.0) == []
        told = [house.hear("station-01", at_ms=NOW + minute * 60_000, level_m=4.0) for minute in range(7)]
        assert [minute for minute, rows in enumerate(told) if rows] == [5]
    finally:
        house.close()


@contextmanager
def small_house(folder: Path, clock: Clock) -> Iterator[House]:
    """A whole house of the small town, without its tasks."""
    (folder / "rules.yaml").write_text(RULES.replace("for: 5m", "for: 10s"), encoding="utf-8")
    settings = Settings(
        city=City(id=CITY, timezone=ZONE), data=folder / "data", rules=folder / "rules.yaml", notify=(NOBODY,)
    )
    settings.data.mkdir()
    registry = Operations(settings.operations_url())
    registry.import_assets(small_assets())
    registry.close()
    house = House(settings, clock)
    try:
        house.recover()
        yield house
    finally:
        house.close()


def test_a_tick_with_consequences_is_on_the_disk_before_they_are_written_down(tmp_path: Path) -> None:
    """Seed 12: a power cut took the tick back that had closed an alert; the engine held it open, the books did not."""
    clock = Clock(NOW, None, 2.0)
    safe: list[tuple[int, bool]] = []

    def committing(
        changes: Sequence[Transition],
        receivers: Sequence[Receiver],
        now_ms: int,
        **more: Any,  # noqa: ANN401 - as commit takes them
    ) -> list[AlertRow]:
        safe.append((len(changes), house.journal.synced == house.journal.end))
        return commit(changes, receivers, now_ms, **more)

    async def scene() -> None:
        payload = json.dumps({"ts": NOW, "level_m": 4.0}).encode()
        await house.watch.group([Delivery(up(CITY, "pump", "station-01"), payload, None, 0)])
        for _ in range(3):
            clock.origin_ms += 5000
            await house.watch.group([])

    with small_house(tmp_path, clock) as house:
        commit = house.operations.commit
        house.operations.commit = committing  # type: ignore[method-assign]
        asyncio.run(scene())
    assert safe == [(1, True)]


def test_a_snapshot_that_found_no_room_is_tried_again_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed 591: the disk had room again, and the health was red for as long as snapshots are apart."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async def scene(house: House) -> list[float]:
        now_s = asyncio.get_running_loop().time()
        with monkeypatch.context() as patch:
            patch.setattr(snapshot, "Draft", full)
            await house.watch.save()
        waits = [house.watch.saver.due_s - now_s]
        assert house.watch.pulse.snapshot_trouble
        await house.watch.save()
        assert not house.watch.pulse.snapshot_trouble
        return [*waits, house.watch.saver.due_s - now_s]

    with small_house(tmp_path, Clock(NOW, None, 2.0)) as house:
        soon_s, later_s = asyncio.run(scene(house))
    assert soon_s < 30 < later_s


def test_a_queue_that_the_broker_forgot_is_told_though_the_line_breaks_before_the_subscription() -> None:
    """A restarted broker says that there is no queue, hears the SUBSCRIBE and is gone: the next time there is one."""
    there, not_there = (mqtt5.ConnAckPacket(session_present=one).write() for one in (True, False))
    granted = mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]).write()
    scripts = iter([(not_there, granted), (not_there, b""), (there, granted)])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        welcome, answer = next(scripts, (there, granted))
        await reader.read(4096)
        writer.write(welcome)
        await reader.read(4096)
        writer.write(answer)
        await asyncio.sleep(0.1)
        writer.close()

    async def scene() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        session = Session(BrokerOptions("127.0.0.1", server.sockets[0].getsockname()[1], retry_first_s=0.01), ["a/#"])
        running = asyncio.create_task(session.run())
        async with asyncio.timeout(20):
            while session.counters["connects"] < 2:  # noqa: ASYNC110 - a counter cannot be waited for
                await asyncio.sleep(0.01)
        session.close()
        await running
        server.close()
        assert session.counters["session_lost"] == 1

    asyncio.run(scene())


@pytest.mark.parametrize("torn", [b"", b"LLR1 half a record"], ids=["whole", "torn"])
def test_a_journal_that_is_opened_again_is_on_the_disk_before_it_counts_as_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bytes
) -> None:
    """Seed 842: a life was killed before its first sync, the next relied on its segment, a power cut took the name."""
    first = Journal(tmp_path, CATALOG)
    first.append(Record(NOW))
    monkeypatch.setattr(first, "sync", lambda: first.end)  # it is killed: nothing more is brought to the disk
    first.close()
    (segment,) = tmp_path.glob("segment-*.log")
    with segment.open("ab") as file:
        file.write(torn)
    synced: set[int] = set()

    def note(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)

    monkeypatch.setattr(os, "fdatasync", note)
    monkeypatch.setattr(os, "fsync", note)
    second = Journal(tmp_path, CATALOG)
    try:
        assert [record.now_ms for _, record in second.read(0)] == [NOW]
        assert {segment.stat().st_ino, tmp_path.stat().st_ino} <= synced
    finally:
        second.close()


def test_a_snapshot_that_is_relied_on_has_its_name_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the journal: killed between renaming and making the folder safe, and the journal before it let go."""
    snapshot.save(tmp_path, 77, {})
    synced: list[Path] = []
    monkeypatch.setattr(snapshot, "sync_folder", synced.append)
    assert snapshot.load(tmp_path) == (77, {})
    assert synced == [tmp_path]
