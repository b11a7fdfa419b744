"""Messages leave quarantine by the same door as new ones; a crash on the way repeats them, and does no harm."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from devices.registry import Asset
from devices.topics import up
from ingest.inbox import Delivery
from lamplighter import abuse
from lamplighter.clock import real_clock
from lamplighter.service import running
from lamplighter.settings import Api, Broker, City, Intake, Receiver, Settings
from lamplighter.wiring import House
from storage.ledger import Ledger, Line
from storage.operations import Choice, Operations
from storage.quarantine import REFUSED
from tests.small_house import CITY, RULES, ZONE, small_assets
from tests.unit.storage_city import bad_message

pytestmark = pytest.mark.timeout(60)

STRANGER = Asset("cover-0009", "manhole", "cover", lon=121.4, lat=31.2)
T0 = 1_790_000_000_000


class CrashError(BaseException):
    """The end of a life at a chosen moment."""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("storage.database.BUSY_S", 1)
    monkeypatch.setattr("lamplighter.readmission.LOOK_S", 0.05)
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    (tmp_path / "data").mkdir()
    made = Settings(
        city=City(id=CITY, timezone=ZONE),
        data=tmp_path / "data",
        rules=tmp_path / "rules.yaml",
        broker=Broker(port=9),  # nobody listens there: messages are handed in
        api=Api(port=0),
        notify=(Receiver(name="crew", url="log"),),
    )
    operate(made, lambda operations: operations.import_assets(small_assets()))
    return made


def operate(settings: Settings, act: Callable[[Operations], Any]) -> Any:  # noqa: ANN401 - whatever the act returns
    """Do something with the operations database as another process would."""
    operations = Operations(settings.operations_url())
    try:
        return act(operations)
    finally:
        operations.close()


def live(settings: Settings, act: Callable[[House], Any]) -> Any:  # noqa: ANN401 - whatever the act returns
    """Open a house, bring it up to date, act, ship everything, close it."""
    house = House(settings, real_clock())
    try:
        house.recover()
        done = act(house)
        house.journal.sync()
        house.shipper.drain()
        return done
    finally:
        house.close()


def message(kind: str, device: str, told: object) -> Delivery:
    return Delivery(up(CITY, kind, device), json.dumps(told).encode(), 1, 0)


def stranger(*minutes: int) -> Delivery:
    return message("manhole", "cover-0009", [{"ts": T0 + 60_000 * m, "cover_open": m % 2} for m in minutes])


def hear(settings: Settings, *deliveries: Delivery) -> None:
    live(settings, lambda house: asyncio.run(house.watch.group(deliveries)))


def books(settings: Settings) -> Ledger:
    ledger: Ledger = live(settings, lambda house: house.ledger())
    return ledger


def test_a_mended_message_moves_from_quarantine_to_the_store_and_the_books_balance_all_the_way(
    settings: Settings,
) -> None:
    hear(settings, stranger(1, 2, 3), message("streetlight", "lamp-0001", "nonsense"))
    before = books(settings)
    assert before.lines["manhole"] == Line(received=1, quarantined=1)
    operate(settings, lambda operations: operations.import_assets([STRANGER]))
    between: list[Ledger] = []

    def act(house: House) -> int:
        operations: Any = house.operations
        settle = operations.quarantine_settle

        def watched(read: Sequence[int], still: Sequence[Any] = ()) -> None:
            house.journal.sync()
            house.shipper.drain()
            between.append(house.ledger())
            settle(read, still)

        operations.quarantine_settle = watched
        taken = asyncio.run(house.watch.readmission.at_start())
        assert house.ledger().lines["manhole"] == Line(received=3, stored=3, replayed=1)
        return taken

    assert live(settings, act) == 1
    (during,) = between
    assert during.lines["manhole"] == Line(received=4, stored=3, quarantined=1), "on both sides until it is let go"
    assert before.balance()
    assert during.balance()
    after = books(settings)
    assert after.balance()
    assert after.lines["manhole"] == Line(received=3, stored=3, replayed=1)
    assert after.lines["streetlight"] == Line(received=1, quarantined=1), "nobody asked for that one"
    assert [row.reason for row in operate(settings, lambda o: o.quarantine_list())] == ["wrong_form"]


@pytest.mark.parametrize(
    "step", ["journal.append", "journal.sync", "operations.commit", "operations.quarantine_settle"]
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_on_the_way_out_of_quarantine_repeats_the_message_and_nothing_comes_of_it(
    settings: Settings,
    step: str,
    after: bool,  # noqa: FBT001
) -> None:
    hear(settings, stranger(1, 2, 3))
    operate(settings, lambda operations: operations.import_assets([STRANGER]))

    def crashing(house: House) -> None:
        name, method = step.split(".")
        part = getattr(house, name)
        whole = getattr(part, method)

        def broken(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the step takes and gives
            setattr(part, method, whole)  # a life ends once; what follows is only the closing of files
            if after:
                whole(*args, **kwargs)
            raise CrashError

        setattr(part, method, broken)
        asyncio.run(house.watch.readmission.at_start())

    with pytest.raises(CrashError):
        live(settings, crashing)
    taken = live(settings, lambda house: asyncio.run(house.watch.readmission.at_start()))
    gone_already = step == "operations.quarantine_settle" and after
    assert taken == (0 if gone_already else 1)
    ledger = books(settings)
    line = ledger.lines["manhole"]
    assert ledger.balance()
    assert (line.stored, line.quarantined, line.pending, line.replayed) == (3, 0, 0, 1)
    assert line.received == 3 + line.duplicate
    assert line.duplicate in (0, 3)
    alerts = operate(settings, lambda o: [(row.entity, row.onset_ms) for row in o.alerts()])
    assert alerts == [("device:cover-0009", T0 + 180_000), ("device:cover-0009", T0 + 60_000)]


async def until(check: Callable[[], Any], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not check():  # noqa: ASYNC110 - databases are looked into
            await asyncio.sleep(0.02)


def in_a_running_house(settings: Settings, act: Callable[[House], Any]) -> None:
    """Run a whole house without a broker while ``act`` (a coroutine function) is under way."""

    async def whole() -> None:
        house = House(settings, real_clock())
        try:
            async with running(house):
                await act(house)
        finally:
            house.close()

    asyncio.run(whole())


def test_a_running_house_takes_what_is_asked_for_and_says_of_the_rest_what_is_still_wrong(settings: Settings) -> None:
    hear(settings, stranger(1), message("streetlight", "lamp-0001", "nonsense"))
    # The database is changed behind the watch's back, as when it was started with the registry but before the marks.
    operate(settings, lambda operations: operations.import_assets([STRANGER]))

    async def act(house: House) -> None:
        await until(lambda: house.operations.quarantine_counts() == {"wrong_form": 1})
        # The command, in another process:
        asked = await asyncio.to_thread(operate, settings, lambda o: o.quarantine_ask(Choice(), house.now_ms()))
        assert asked == 1
        await until(lambda: house.operations.quarantine_list()[0].attempts == 1)
        (row,) = house.operations.quarantine_list()
        assert (row.reason, row.payload, row.asked_ms) == ("wrong_form", b'"nonsense"', None)
        await until(lambda: (house.watch.readmission.read, house.watch.readmission.still) == (1, 1))
        assert house.ledger().balance()

    in_a_running_house(settings, act)


def test_a_message_that_fails_anew_shows_its_new_reason_and_the_counts_follow(settings: Settings) -> None:
    hear(settings, message("manhole", "cover-0009", {"ts": 5, "cover_open": 1}))
    assert operate(settings, lambda o: o.quarantine_counts()) == {"unknown_device": 1}
    operate(settings, lambda operations: operations.import_assets([STRANGER]))
    assert live(settings, lambda house: asyncio.run(house.watch.readmission.at_start())) == 0
    (row,) = operate(settings, lambda o: o.quarantine_list())
    assert (row.reason, row.attempts) == ("clock", 1)
    assert operate(settings, lambda o: o.quarantine_counts()) == {"clock": 1}
    assert books(settings).lines["manhole"] == Line(received=1, quarantined=1)


def test_a_locked_database_is_asked_again_and_the_message_goes_the_way_only_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear(settings, stranger(1, 2))

    async def act(house: House) -> None:
        readmission: Any = house.watch.readmission
        blocker = sqlite3.connect(settings.data / "operations.db", isolation_level=None)
        whole = readmission.group

        async def then_locked(deliveries: Sequence[Delivery], *, limited: bool = True) -> None:
            await whole(deliveries, limited=limited)
            blocker.execute("BEGIN IMMEDIATE")

        readmission.group = then_locked
        await asyncio.to_thread(operate, settings, lambda o: o.quarantine_ask(Choice(), house.now_ms()))
        await until(lambda: readmission.trouble)
        blocker.close()
        await until(lambda: not house.operations.quarantine_counts())
        await until(lambda: house.ledger().lines["manhole"] == Line(received=2, stored=2, replayed=1))

    operate(settings, lambda operations: operations.import_assets([STRANGER]))
    monkeypatch.setattr("lamplighter.readmission.Readmission.mark_adopted", _nothing)  # so that the house is asked
    in_a_running_house(settings, act)


async def _nothing(_self: object) -> None:
    return


def test_what_came_back_from_the_store_is_not_asked_for(settings: Settings) -> None:
    refused = bad_message(1)._replace(topic="", reason=REFUSED)
    operate(settings, lambda o: o.quarantine_add([refused, bad_message(2)]))
    assert operate(settings, lambda o: o.quarantine_ask(Choice(), 5)) == 1
    assert operate(settings, lambda o: [row.asked_ms for row in o.quarantine_list()]) == [5, None]


def test_health_and_metrics_tell_what_is_held_and_who_is_held_back(settings: Settings) -> None:
    settings = settings.model_copy(update={"intake": Intake(device_per_s=1, device_burst=2)})
    flood = [message("streetlight", "lamp-0001", {"ts": T0 + n, "power_w": n}) for n in range(5)]
    impostor = message("streetlight", "lamp-0002", {"ts": T0, "device_id": "lamp-0003"})

    def act(house: House) -> None:
        assert abuse.security(house).says == "nobody speaks out of turn"
        asyncio.run(house.watch.group([*flood, stranger(1), stranger(2), impostor]))
        house.journal.sync()
        house.shipper.drain()
        assert abuse.security(house).says == (
            "1 unknown device in the last hour (2 messages, 100% of them from 'manhole/cover-…'): adopt them, or find "
            "whose credential sends that; 1 message in the last hour with another device's name than the topic's; "
            "held back because they send too often: lamp-0001"
        )
        assert abuse.quarantine(house).says == "6 of 100,000 messages (256 MB at most)"
        numbers = {figure.name: figure.samples for figure in abuse.figures(house)}
        assert numbers["quarantine_held"] == {("too_often",): 3, ("unknown_device",): 2, ("identity",): 1}
        assert numbers["held_back"] == {(): 3}
        assert numbers["strangers"] == {(): 1}

    live(settings, act)
    assert books(settings).lines["streetlight"] == Line(received=6, stored=2, quarantined=4)
