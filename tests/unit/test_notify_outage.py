"""A receiver that is away for two hours, refuses, or is slow: nothing is lost, nobody else waits, somebody is told."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from alerts.notify import LONGEST_RETRY_MS, Notifier, Receiver
from devices.transition import ACTIVE, CLEARED, Transition, alert_id
from devices.yamlfile import ConfigError
from lamplighter.clock import held_clock
from lamplighter.health import examine_house
from lamplighter.settings import Receiver as Told
from lamplighter.settings import Settings
from lamplighter.wiring import House
from storage.operations import Operations
from tests.real.http_sink import HttpSink

pytestmark = pytest.mark.anyio
NOW = 1_772_370_000_000
HOUR_MS = 3_600_000


@pytest.fixture
def sinks() -> Iterator[list[HttpSink]]:
    made: list[HttpSink] = []
    yield made
    for sink in made:
        sink.close()


def receiver(name: str, sink: HttpSink, fallback: str = "") -> Receiver:
    return Receiver(name, f"json://127.0.0.1:{sink.port}/", allow_private=True, fallback=fallback)


def notice(number: int, state: str = ACTIVE) -> Transition:
    entity = f"device:cover-{number}"
    text = {"en": f"Cover {number}", "zh": f"{number} 号井盖"}
    return Transition(alert_id("cover_open", entity, NOW), "cover_open", entity, state, NOW, NOW, "critical", text)


async def test_two_hours_away_nothing_is_lost_and_it_is_asked_every_five_minutes(
    tmp_path: Path, sinks: list[HttpSink]
) -> None:
    back_at_ms = NOW + 2 * HOUR_MS
    now_ms = NOW
    away, other = HttpSink(lambda _: 503 if now_ms < back_at_ms else 200), HttpSink()
    sinks += [away, other]
    receivers = [receiver("away", away), receiver("other", other)]
    url = f"sqlite:///{tmp_path / 'operations.db'}"
    operations = Operations(url)
    notifier = Notifier(operations, receivers)
    asked: list[int] = []
    for minute in range(0, 135, 1):
        now_ms = NOW + minute * 60_000
        if minute < 120 and minute % 10 == 0:
            operations.commit([notice(minute)], receivers, now_ms)
        if minute == 60:  # a restart in the middle forgets no notice
            await notifier.close()
            operations.close()
            operations = Operations(url)
            notifier = Notifier(operations, receivers)
        before = len(away.got)
        await notifier.deliver_due(now_ms)
        if len(away.got) > before:
            asked.append(minute)
        if minute < 120:
            owed = minute // 10 + 1
            assert len(other.got) == owed, "who is there is told at once"
            assert operations.outbox_counts()["due"] == owed
    pauses = [b - a for a, b in itertools.pairwise(asked) if b <= 120]
    assert max(pauses) <= LONGEST_RETRY_MS / 60_000 + 1
    assert len([minute for minute in asked if minute < 120]) < 40, "not asked all the time"
    assert operations.outbox_counts() == {"due": 0, "sent": 24, "failed": 0}
    assert away.transitions() == {key: {f"{key[0]}:active:away"} for key in away.transitions()}
    assert len(away.transitions()) == 12
    operations.close()


async def test_what_one_refuses_for_good_the_fallback_is_told_once(tmp_path: Path, sinks: list[HttpSink]) -> None:
    refuses, instead, refuses_too = HttpSink(lambda _: 404), HttpSink(), HttpSink(lambda _: 410)
    sinks += [refuses, instead, refuses_too]
    receivers = [
        receiver("crew", refuses, fallback="office"),
        receiver("office", instead),
        receiver("a", refuses_too, fallback="b"),
        receiver("b", refuses_too, fallback="a"),
    ]
    operations = Operations(f"sqlite:///{tmp_path / 'o.db'}")
    operations.commit([notice(1)], receivers[:1], NOW)  # the office has not asked for it
    operations.commit([notice(2)], receivers[:2], NOW)  # for this it has
    operations.commit([notice(3)], receivers[2:3], NOW)  # neither wants it: it does not go round for ever
    notifier = Notifier(operations, receivers)
    with capture_logs() as logs:
        for second in range(3):
            await notifier.deliver_due(NOW + second * 1000)
    assert sorted(body["message"] for _, body in instead.got) == ["1 号井盖", "2 号井盖"]
    assert set(instead.keys) == {f"{notice(n).alert_id}:active:office" for n in (1, 2)}
    assert set(instead.keys.values()) == {1}
    assert operations.outbox_counts() == {"due": 0, "sent": 2, "failed": 4}
    given_up = {one.receiver: one for one in operations.outbox_given_up(NOW - 1)}
    assert {name: one.notices for name, one in given_up.items()} == {"crew": 2, "a": 1, "b": 1}
    assert "answered 404" in given_up["crew"].error
    assert operations.outbox_given_up(NOW + HOUR_MS) == []
    told = [entry for entry in logs if entry["event"] == "a notice is given up"]
    assert [(entry["receiver"], entry["passed_to"]) for entry in told if entry["receiver"] == "crew"] == [
        ("crew", "office")
    ] * 2
    operations.close()


async def test_an_end_is_passed_on_after_its_beginning(tmp_path: Path, sinks: list[HttpSink]) -> None:
    refuses, instead = HttpSink(lambda _: 404), HttpSink()
    sinks += [refuses, instead]
    receivers = [receiver("crew", refuses, fallback="office"), receiver("office", instead)]
    operations = Operations(f"sqlite:///{tmp_path / 'o.db'}")
    operations.commit([notice(1), notice(1, CLEARED)], receivers[:1], NOW)
    notifier = Notifier(operations, receivers)
    for second in range(4):
        await notifier.deliver_due(NOW + second * 1000)
    assert [body["state"] for _, body in instead.got] == [ACTIVE, CLEARED]
    operations.close()


def test_a_fallback_must_be_somebody_else(tmp_path: Path) -> None:
    operations = Operations(f"sqlite:///{tmp_path / 'o.db'}")
    for name in ("nobody", "crew"):
        with pytest.raises(
            ConfigError, match=rf"notify\.crew\.fallback: expected another receiver \(office\); .*{name}"
        ):
            Notifier(operations, [Receiver("crew", "log", fallback=name), Receiver("office", "log")])
    operations.close()


def test_the_health_names_who_was_not_told_and_why_for_two_days(tmp_path: Path) -> None:
    settings = Settings(
        data=tmp_path, notify=(Told(name="crew", url="log", fallback="office"), Told(name="office", url="log"))
    )
    house = House(settings, held_clock(NOW, 2.0))
    try:
        house.operations.commit([notice(1)], settings.notify[:1], NOW)
        (row,) = house.operations.outbox_due(NOW)
        house.operations.outbox_failed(row.id, NOW, None, "answered 404", "office")
        (part,) = (one for one in examine_house(house) if one.name == "notices")
        assert not part.well
        assert "1 for crew could not be delivered, passed on to office: answered 404" in part.says
        house.clock.origin_ms += 49 * HOUR_MS
        (part,) = (one for one in examine_house(house) if one.name == "notices")
        assert part.well
    finally:
        house.close()
