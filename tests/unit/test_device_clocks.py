"""A device whose clock is wrong is marked, taken at its word or kept apart; nobody else's time is touched by it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devices.batch import MARK_FUTURE
from devices.payloads import Decoder
from devices.registry import Registry
from devices.topics import up
from ingest.inbox import Delivery
from ingest.sieve import Sieve
from lamplighter.clock import Clock
from lamplighter.settings import City, Settings
from lamplighter.wiring import House
from storage.operations import Operations
from tests.small_house import CATALOG, CITY, NIGHT_MS, RULES, ZONE, small_assets

MINUTE_MS = 60_000
DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
MENDED = 9  # minute from which the clock is right again
OPEN = (1, 2, 3, 10, 11)  # minutes at which the mad device says that its cover is open
SKEWS = {"a day ahead": DAY_MS, "a year ahead": YEAR_MS, "a year behind": -YEAR_MS, "in 1970": 5 - NIGHT_MS}


@dataclass
class Evening:
    """What was left of an evening.

    Attributes:
        alerts: entity, state and onset of every alert.
        points: times and values by device and field.
        counts: quarantined messages by reason.
    """

    alerts: list[tuple[str, str, int]]
    points: dict[tuple[str, str], list[tuple[int, float]]]
    counts: dict[str, int]

    def of(self, device: str) -> tuple[list[tuple[str, str, int]], dict[tuple[str, str], list[tuple[int, float]]]]:
        """Return the alerts and points of one device."""
        alerts = [alert for alert in self.alerts if alert[0] == f"device:{device}"]
        return alerts, {key: found for key, found in self.points.items() if key[0] == device}


ASKED = (
    ("manhole", "cover-0001", "cover_open"),
    ("manhole", "cover-0002", "cover_open"),
    ("pump", "station-01", "level_m"),
    ("streetlight", "lamp-0001", "power_w"),
)


def evening(folder: Path, skew_ms: int | None) -> Evening:
    """Play thirteen minutes through a whole house; cover-0001 has a wrong clock until MENDED, or is silent (None)."""
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    (folder / "data").mkdir()
    settings = Settings(city=City(id=CITY, timezone=ZONE), data=folder / "data", rules=folder / "rules.yaml")
    operations = Operations(settings.operations_url())
    operations.import_assets(small_assets())
    operations.close()
    clock = Clock(NIGHT_MS, None, 2.0)  # held: it shows what it is told
    house = House(settings, clock)
    house.recover()

    def told(minute: int) -> list[Delivery]:
        ts = NIGHT_MS + minute * MINUTE_MS
        said: list[tuple[str, str, dict[str, Any]]] = [
            ("manhole", "cover-0002", {"ts": ts, "cover_open": minute in (2, 3)}),
            ("pump", "station-01", {"ts": ts, "level_m": 3.5 if 2 <= minute <= 9 else 1.0}),
            ("streetlight", "lamp-0001", {"ts": ts, "power_w": 90 + minute}),
        ]
        if skew_ms is not None:
            wrong = 0 if minute >= MENDED else skew_ms
            said.insert(1, ("manhole", "cover-0001", {"ts": ts + wrong, "cover_open": minute in OPEN}))
        return [Delivery(up(CITY, kind, who), json.dumps(what).encode(), 1, 0) for kind, who, what in said]

    async def play() -> None:
        for minute in range(13):
            clock.origin_ms = NIGHT_MS + minute * MINUTE_MS + 500
            await house.watch.group(told(minute))
            await house.watch.group([])

    try:
        asyncio.run(play())
        house.journal.sync()
        house.shipper.drain()
        assert house.ledger().balance()
        points = {}
        for kind, device, name in ASKED:
            found = house.timeseries.history(kind, device, [name], 0, 1 << 50, 1000)
            values = zip(found.time_ms, found.values[name], strict=True)
            points[device, name] = [(at, value) for at, value in values if value is not None]
        alerts = sorted((row.entity, row.state, row.onset_ms) for row in house.operations.alerts())
        return Evening(alerts, points, house.operations.quarantine_counts())
    finally:
        house.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Evening:
    found = evening(tmp_path_factory.mktemp("undisturbed"), None)
    assert [alert[:2] for alert in found.alerts] == [
        ("device:cover-0002", "cleared"),
        ("device:station-01", "cleared"),
    ]
    return found


@pytest.mark.parametrize("name", SKEWS)
def test_a_wrong_clock_changes_nothing_for_anybody_else(tmp_path: Path, undisturbed: Evening, name: str) -> None:
    found = evening(tmp_path, SKEWS[name])
    for _, device, _ in ASKED[1:]:
        assert found.of(device) == undisturbed.of(device), device


def minute(number: int) -> int:
    return NIGHT_MS + number * MINUTE_MS


@pytest.mark.parametrize("name", ["a day ahead", "a year ahead"])
def test_a_clock_that_runs_ahead_is_judged_and_kept_at_the_arrival(tmp_path: Path, name: str) -> None:
    alerts, points = evening(tmp_path, SKEWS[name]).of("cover-0001")
    assert alerts == [
        ("device:cover-0001", "cleared", minute(1) + 500),
        ("device:cover-0001", "cleared", minute(10)),
    ]
    times = [at for at, _ in points["cover-0001", "cover_open"]]
    assert times == [minute(n) + (500 if n < MENDED else 0) for n in range(13)]


def test_a_clock_that_is_a_year_behind_is_taken_at_its_word_until_it_is_right(tmp_path: Path) -> None:
    alerts, points = evening(tmp_path, -YEAR_MS).of("cover-0001")
    assert alerts == [
        ("device:cover-0001", "cleared", minute(1) - YEAR_MS),
        ("device:cover-0001", "cleared", minute(10)),
    ]
    times = [at for at, _ in points["cover-0001", "cover_open"]]
    assert times == [minute(n) - (YEAR_MS if n < MENDED else 0) for n in range(13)]


def test_a_clock_that_was_never_set_puts_its_messages_apart_and_what_comes_after_it_is_set_is_judged(
    tmp_path: Path,
) -> None:
    found = evening(tmp_path, SKEWS["in 1970"])
    alerts, points = found.of("cover-0001")
    assert found.counts == {"clock": MENDED}
    assert alerts == [("device:cover-0001", "cleared", minute(10))]
    assert [at for at, _ in points["cover-0001", "cover_open"]] == [minute(n) for n in range(MENDED, 13)]


def test_a_clock_that_jumps_to_and_fro_never_loses_what_the_device_says_in_its_right_minutes(tmp_path: Path) -> None:
    """A day ahead in every other message: the right ones between are neither duplicates nor late."""
    registry = Registry(CATALOG, small_assets())
    decoder, sieve = Decoder(registry, CITY), Sieve(len(registry))
    topic = up(CITY, "manhole", "cover-0001")
    for number in range(10):
        sent = minute(number) + (DAY_MS if number % 2 == 0 else 0)
        delivery = Delivery(topic, json.dumps({"ts": sent, "cover_open": 1}).encode(), 1, 0)
        (batch,) = decoder.decode([delivery], minute(number)).batches
        kept, dropped = sieve.sift(batch)
        assert (len(kept), dropped) == (1, 0)
        assert kept.marks[0] == (MARK_FUTURE if number % 2 == 0 else 0)
        assert kept.time_ms[0] == minute(number)
