"""The book of losses: what the broker says, what it forgot and what is missing become words for an operator."""

from __future__ import annotations

import json
from pathlib import Path
from zoneinfo import ZoneInfo

import mqtt5
import pytest

from devices.kinds import load_catalog
from devices.registry import Asset, Registry
from ingest.gaps import Gaps
from ingest.inbox import Delivery
from ingest.session import BrokerOptions, Session
from lamplighter.losses import BEHIND, RISE_MS, TOLD_MS, Loss, Losses

ZONE = ZoneInfo("Asia/Shanghai")
START_MS = 1_781_553_600_000
LAMP_MS = 900_000


class Life:
    """One life of a house's book beside a session that a test leads by hand."""

    def __init__(self, folder: Path, now_ms: int = START_MS, host: str = "broker") -> None:
        catalog = load_catalog()
        self.session = Session(BrokerOptions(host, 1883), ["#"])
        self.gaps = Gaps(Registry(catalog, [Asset("lamp-0001", "streetlight", "lamp")]))
        self.now_ms = now_ms
        self.book = Losses(folder, self.session, self.gaps, lambda: self.now_ms)

    def welcome(self, *, resumed: bool, dropped: int | None = None, uptime_s: int | None = None) -> None:
        self.session.on_welcome(mqtt5.ConnAckPacket(session_present=resumed))
        self.session.connected = True
        self.says(dropped, uptime_s)

    def says(self, dropped: int | None, uptime_s: int | None = None) -> None:
        self.session.says.dropped, self.session.says.uptime_s = dropped, uptime_s
        self.book.look()

    def wait(self, ms: int) -> None:
        """Let time pass, looking every second or so."""
        until = self.now_ms + ms
        while self.now_ms < until:
            self.now_ms = min(self.now_ms + 5000, until)
            self.book.look()

    def words(self) -> list[str]:
        return [loss.words(ZONE) for loss in self.book.found if loss.worth_telling]

    def grave(self) -> bool:
        return any(loss.grave(self.now_ms) for loss in self.book.found)


def test_a_first_life_and_a_quiet_reconnect_leave_nothing_in_the_book(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.welcome(resumed=False, dropped=17, uptime_s=100)
    life.wait(60_000)
    life.session.connected = False
    life.wait(20_000)
    life.welcome(resumed=True, dropped=17)
    assert life.words() == []
    life.wait(2 * LAMP_MS + 10_000)
    assert life.book.found == []
    assert life.gaps.absence is None


def test_what_the_broker_dropped_while_the_house_was_away_is_told_and_stays_told(tmp_path: Path) -> None:
    first = Life(tmp_path)
    first.welcome(resumed=False, dropped=17, uptime_s=100)
    first.wait(30_000)
    first.book.save()
    second = Life(tmp_path, first.now_ms + 600_000)
    second.welcome(resumed=True)
    second.wait(10_000)
    second.says(4017, 710)
    assert second.book.dropped == 4000
    assert second.grave()
    (words,) = second.words()
    assert words.startswith("away 06-16 04:00:30 to 04:10:30: it dropped 4,000 messages (of all its clients)")
    third = Life(tmp_path, second.now_ms + 5000)
    assert third.words() == second.words()
    third.welcome(resumed=True, dropped=4017, uptime_s=730)
    third.wait(2 * LAMP_MS + 60_000)
    assert third.book.dropped == 0, "told once"
    assert "no reading is found missing" in third.words()[0]
    assert not third.grave(), "it was another client's"


@pytest.mark.parametrize(
    ("dropped", "uptime_s", "rise"),
    [(40, 5, 40), (120, 5, 120), (120, 700, 20), (100, 700, 0), (0, 5, 0), (30, None, 30), (120, None, 20)],
)
def test_the_count_of_a_broker_that_was_started_anew_begins_at_zero(
    tmp_path: Path, dropped: int, uptime_s: int | None, rise: int
) -> None:
    life = Life(tmp_path)
    life.welcome(resumed=False, dropped=100, uptime_s=100)
    life.wait(590_000)
    life.session.connected = False
    life.now_ms += 10_000
    life.welcome(resumed=True, dropped=dropped, uptime_s=uptime_s)
    assert life.book.dropped == rise
    assert life.book.restarted == (uptime_s == 5)


def test_drops_while_we_keep_up_are_other_clients_and_drops_while_we_do_not_may_be_ours(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.welcome(resumed=False, dropped=0)
    life.wait(2 * RISE_MS)
    life.says(5)
    life.says(7)
    assert not life.grave()
    assert life.words() == ["until 06-16 04:01:00: it dropped 7 messages (of all its clients)"]
    inbox = life.session.inbox
    inbox.items = [Delivery("a", b"", 1, 1)] * round(inbox.size * BEHIND)
    life.wait(5000)
    inbox.items = []
    life.says(9)
    assert life.grave()
    life.wait(TOLD_MS + 10_000)
    assert not life.grave()


def test_a_forgotten_queue_is_told_at_once_and_what_is_missing_when_it_is_known(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.welcome(resumed=False)
    life.session.connected = False
    life.now_ms += 1_800_000
    life.session.on_welcome(mqtt5.ConnAckPacket(session_present=False))
    assert life.gaps.absence is not None, "before the first message after it, not at the next look"
    assert (life.gaps.absence.from_ms, life.gaps.absence.until_ms) == (START_MS, life.now_ms)
    life.session.connected = True
    life.book.look()
    (words,) = life.words()
    assert words == "away 06-16 04:00:00 to 04:30:00: the broker had forgotten our queue; still counting"
    assert life.grave()
    assert life.gaps.absence is not None
    life.gaps.absence.counted, life.gaps.absence.estimated, life.gaps.absence.devices = 2000, 40, 30
    life.wait(2 * LAMP_MS + 5000)
    (words,) = life.words()
    assert words.split("; ") == [
        "away 06-16 04:00:00 to 04:30:00: the broker had forgotten our queue",
        "2,000 readings are missing by the devices' own counters",
        "about 40 reports are missing by the devices' intervals",
        "30 devices concerned",
    ]
    assert life.grave()
    life.wait(TOLD_MS)
    assert not life.grave()
    assert life.words(), "the words stay"


def test_another_broker_is_not_compared_with_and_a_damaged_book_begins_anew(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.welcome(resumed=False, dropped=5)
    life.book.save()
    other = Life(tmp_path, START_MS + 60_000, host="another")
    other.welcome(resumed=False, dropped=900)
    assert other.words() == []
    (tmp_path / "losses.json").write_text('{"found": 3')
    again = Life(tmp_path)
    again.welcome(resumed=False, dropped=1)
    assert again.words() == []
    again.book.save()
    assert json.loads((tmp_path / "losses.json").read_text())["dropped"] == 1


def test_a_disk_that_refuses_the_book_stops_nothing(tmp_path: Path) -> None:
    life = Life(tmp_path / "absent")
    life.welcome(resumed=False, dropped=1)
    life.wait(60_000)
    assert life.book.found == []


def test_an_unfinished_loss_is_counted_on_after_a_restart_without_a_snapshot(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.welcome(resumed=False)
    life.session.connected = False
    life.now_ms += 600_000
    life.welcome(resumed=False)
    assert life.gaps.absence is not None
    life.gaps.absence.counted, life.gaps.absence.devices = 12, 3
    life.wait(10_000)
    life.book.save()
    after = Life(tmp_path, life.now_ms + 5000)
    after.welcome(resumed=True)
    assert after.gaps.absence is not None
    assert (after.gaps.absence.counted, after.gaps.absence.devices) == (12, 3)
    assert after.book.found[-1].until_ms == after.now_ms


def test_a_loss_below_the_radios_own_is_not_worth_a_word() -> None:
    assert not Loss(0, 1, estimated=4, devices=4).worth_telling
    assert Loss(0, 1, estimated=5, devices=4).worth_telling
