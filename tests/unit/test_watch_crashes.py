"""The watch ends between any two of its steps and starts anew: every reading is stored once, every alert told once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from devices.topics import up
from ingest.inbox import Delivery
from lamplighter.clock import Clock
from lamplighter.settings import City, Receiver, Settings
from lamplighter.wiring import House
from storage.operations import Operations
from tests.small_house import CITY, NIGHT_MS, RULES, ZONE, small_assets

STEPS = (
    "sieve.sift",
    "journal.append",
    "journal.sync",
    "engine.step",
    "operations.commit",
    "session.acknowledge",
    "timeseries.write",
    "operations.ship",
    "journal.release",
)


class CrashError(BaseException):
    """The end of a life at a chosen moment; no handler of the program's own catches it."""


def settings_in(folder: Path) -> Settings:
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    (folder / "data").mkdir()
    settings = Settings(
        city=City(id=CITY, timezone=ZONE),
        data=folder / "data",
        rules=folder / "rules.yaml",
        notify=(Receiver(name="crew", url="log", min_severity="info"),),
    )
    operations = Operations(settings.operations_url())
    operations.import_assets(small_assets())
    operations.close()
    return settings


def evening() -> list[list[Delivery]]:
    """Return groups of messages: a cover opens and closes, another stays open, lamps report, one talks nonsense."""
    groups = []
    for minute in range(6):
        ts = NIGHT_MS + minute * 60_000
        told: list[tuple[str, str, Any]] = [
            ("manhole", "cover-0001", {"ts": ts, "cover_open": 1 <= minute <= 3}),
            ("manhole", "cover-0002", {"ts": ts, "cover_open": minute >= 2}),
            ("streetlight", "lamp-0001", [{"ts": ts, "power_w": 90.0}, {"ts": ts + 1, "voltage_v": None}]),
            ("streetlight", "lamp-0002", "nonsense"),
        ]
        groups.append([Delivery(up(CITY, kind, who), json.dumps(what).encode(), 1, 0) for kind, who, what in told])
    return groups


def wrap(house: House, step: str, crash: Callable[[], None], *, after: bool) -> None:
    """Let ``crash`` be asked before or after one step of the way through."""
    name, method = step.split(".")
    part = house.watch.sieve if name == "sieve" else getattr(house, name)
    whole = getattr(part, method)

    def broken(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the step takes and gives
        if not after:
            crash()
        result = whole(*args, **kwargs)
        if after:
            crash()
        return result

    setattr(part, method, broken)


def live(settings: Settings, groups: Sequence[Sequence[Delivery]], prepare: Callable[[House], None]) -> int:
    """Take groups the whole way in one life; return how many were acknowledged before it ended."""
    house = House(settings, Clock(NIGHT_MS + 400_000, None, 2.0))
    acknowledged: list[Sequence[Delivery]] = []
    session: Any = house.session
    session.acknowledge = acknowledged.append
    prepare(house)

    async def walk() -> None:
        for group in groups:
            await house.watch.group(group)
            await house.watch.group([])
            await asyncio.to_thread(house.shipper.ship_once)
        await house.watch.save()

    try:
        house.recover()
        asyncio.run(walk())
        house.journal.sync()
        house.shipper.drain()
    except CrashError:
        pass
    finally:
        house.close()
    return len(acknowledged)


def outcome(settings: Settings) -> dict[str, Any]:
    """Return what is known in the end: alerts, notices, readings stored and the ledger."""
    house = House(settings, Clock(NIGHT_MS + 400_000, None, 2.0))
    try:
        house.recover()
        opened = house.engine.open_alerts()
        points = {
            (device, name): house.timeseries.history(kind, device, [name], 0, 1 << 50, 1000).values[name]
            for kind, device, name in (
                ("manhole", "cover-0001", "cover_open"),
                ("manhole", "cover-0002", "cover_open"),
                ("streetlight", "lamp-0001", "power_w"),
            )
        }
        ledger = house.ledger()
        assert ledger.balance(), ledger
        return {
            "alerts": sorted((row.entity, row.state, row.onset_ms) for row in house.operations.alerts()),
            "open": {rule: dict(found) for rule, found in opened.items()},
            "notices": house.operations.outbox_counts()["due"],
            "points": points,
            "stored": ledger.total.stored,
            "pending": ledger.total.pending,
        }
    finally:
        house.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    settings = settings_in(tmp_path_factory.mktemp("undisturbed"))
    assert live(settings, evening(), lambda _: None) == len(evening())
    found = outcome(settings)
    assert [(entity, state) for entity, state, _ in found["alerts"]] == [
        ("device:cover-0001", "cleared"),
        ("device:cover-0002", "active"),
    ]
    assert (found["notices"], found["stored"], found["pending"]) == (3, 24, 0)
    return found


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_beside_any_step_ends_as_if_nothing_had_happened(
    tmp_path: Path,
    undisturbed: dict[str, Any],
    step: str,
    after: bool,  # noqa: FBT001
) -> None:
    settings, left = settings_in(tmp_path), evening()
    crashes = 0
    for spared in (0, 1, 4, 2):
        calls = 0

        def crash(spared: int = spared) -> None:
            nonlocal calls
            calls += 1
            if calls == spared + 1:
                raise CrashError

        done = live(settings, left, lambda house: wrap(house, step, crash, after=after))
        crashes += calls > spared
        left = left[done:]  # the broker delivers again what was not acknowledged
    live(settings, left, lambda _: None)
    assert crashes >= 2
    assert outcome(settings) == undisturbed
