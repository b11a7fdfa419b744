"""Notices reach a real HTTP receiver through apprise and a real outbox: once, in order, and until they are through."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from alerts.delivery import failure, title_of
from alerts.notify import GIVE_UP_MS, LONGEST_RETRY_MS, Notifier, Receiver, retry_after_ms
from devices.transition import ACTIVE, CLEARED, Transition, alert_id
from devices.yamlfile import ConfigError
from storage.operations import AWAY, Operations

pytestmark = pytest.mark.anyio
NOW = 1_772_370_000_000
Answer = Callable[[int], int | float]  # from the number of the request: a status, or seconds (a float) of silence


@dataclass
class Webhook:
    """A receiver on the loopback that answers as it is told to, and remembers what it was sent.

    Attributes:
        answer: status of the n-th request, from 0; a float makes it wait so many seconds first.
        got: headers and JSON body of each request, in order.
    """

    answer: Answer
    got: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/alerts"

    @property
    def keys(self) -> list[str]:
        return [headers["idempotency-key"] for headers, _ in self.got]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = {
                n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head.split("\r\n")[1:] if line)
            }
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            status = self.answer(len(self.got))
            self.got.append((headers, body))
            if isinstance(status, float):
                await asyncio.sleep(status)
                status = 200
            moved = f"Location: http://127.0.0.1:{self.port}/elsewhere\r\n" if 300 <= status < 400 else ""
            writer.write(f"HTTP/1.1 {status} X\r\n{moved}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def webhook(answer: Answer = lambda _: 200) -> AsyncIterator[Webhook]:
    hook = Webhook(answer)
    server = await asyncio.start_server(hook.serve, "127.0.0.1", 0)
    hook.port = server.sockets[0].getsockname()[1]
    async with server:
        yield hook
        server.close()


@pytest.fixture
def operations(tmp_path: Path) -> Iterator[Operations]:
    with_file = Operations(f"sqlite:///{tmp_path / 'operations.db'}")
    yield with_file
    with_file.close()


def notice(number: int = 1, state: str = ACTIVE, severity: str = "critical") -> Transition:
    entity = f"device:cover-{number}"
    return Transition(
        alert_id("cover_open", entity, NOW), "cover_open", entity, state, NOW, NOW, severity,
        {"en": f"Cover {number} is open", "zh": f"{number} 号井盖打开"}, {"tilt_deg": 61.5}, kind="manhole",
        lon=120.5, district="东城区",
    )  # fmt: skip


def owe(operations: Operations, receivers: list[Receiver], *notices: Transition) -> None:
    operations.commit(list(notices), receivers, NOW)


async def test_a_webhook_gets_the_notice_once_with_its_key_and_its_facts(operations: Operations) -> None:
    async with webhook() as hook:
        receivers = [Receiver("duty", hook.url, "zh", allow_private=True)]
        owe(operations, receivers, notice())
        notifier = Notifier(operations, receivers)
        assert await notifier.deliver_due(NOW) == 1
        assert await notifier.deliver_due(NOW + 1000) == 0
        ((headers, body),) = hook.got
        key = f"{notice().alert_id}:active:duty"
        assert headers["idempotency-key"] == body["idempotency_key"] == key
        assert (body["title"], body["message"], body["type"]) == ("【紧急】点灯人告警", "1 号井盖打开", "failure")
        assert (body["rule"], body["entity"], body["state"]) == ("cover_open", "device:cover-1", "active")
        assert (body["lon"], body["lat"], body["values"]) == (120.5, None, {"tilt_deg": 61.5})
        assert operations.outbox_counts() == {"due": 0, "sent": 1, "failed": 0}


async def test_500_is_tried_again_later_under_the_same_key(operations: Operations) -> None:
    async with webhook(lambda n: 500 if n == 0 else 200) as hook:
        receivers = [Receiver("duty", hook.url, allow_private=True)]
        owe(operations, receivers, notice())
        notifier = Notifier(operations, receivers)
        assert await notifier.deliver_due(NOW) == 0
        assert await notifier.deliver_due(NOW + 1000) == 0  # too soon
        assert len(hook.got) == 1
        assert await notifier.deliver_due(NOW + 3000) == 1
        assert len(set(hook.keys)) == 1
        assert len(hook.keys) == 2
        tally = notifier.tallies["duty"]
        assert (tally.sent, tally.retried, tally.given_up) == (1, 1, 0)
        assert "answered 500" in tally.last_error


@pytest.mark.parametrize("status", [400, 404, 401, 302])
async def test_a_refusal_is_final_and_a_redirect_is_not_followed(operations: Operations, status: int) -> None:
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # somebody who wants it silent
    async with webhook(lambda _: status) as hook:
        receivers = [Receiver("duty", hook.url, allow_private=True)]
        owe(operations, receivers, notice())
        notifier = Notifier(operations, receivers)
        for second in (0, 10, 1000):
            assert await notifier.deliver_due(NOW + second * 1000) == 0
        assert len(hook.got) == 1
        assert operations.outbox_counts() == {"due": 0, "sent": 0, "failed": 1}
        assert notifier.tallies["duty"].given_up == 1


async def test_a_receiver_that_is_not_there_is_tried_again(operations: Operations) -> None:
    async with webhook() as hook:
        url = hook.url
    receivers = [Receiver("duty", url, allow_private=True)]
    owe(operations, receivers, notice())
    notifier = Notifier(operations, receivers)
    assert await notifier.deliver_due(NOW) == 0
    assert operations.outbox_counts() == {"due": 1, "sent": 0, "failed": 0}
    assert notifier.tallies["duty"].retried == 1


async def test_after_a_day_a_notice_is_given_up(operations: Operations) -> None:
    async with webhook(lambda _: 503) as hook:
        receivers = [Receiver("duty", hook.url, allow_private=True)]
        owe(operations, receivers, notice())
        notifier = Notifier(operations, receivers)
        await notifier.deliver_due(NOW + GIVE_UP_MS + 60_000)
        assert operations.outbox_counts()["failed"] == 1


async def test_a_slow_receiver_holds_up_nobody_else(operations: Operations) -> None:
    async with webhook(lambda _: 1.5) as slow, webhook() as quick:
        receivers = [Receiver("slow", slow.url, allow_private=True), Receiver("quick", quick.url, allow_private=True)]
        owe(operations, receivers, *(notice(n) for n in range(60)))
        notifier = Notifier(operations, receivers)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while len(quick.got) < 60 and loop.time() - began < 30:
            await notifier.deliver_due(NOW + round((loop.time() - began) * 1000))
        assert len(quick.got) == 60
        assert len(slow.got) < 60
        threads = [one for one in threading.enumerate() if one.name == "notify-slow"]
        assert 1 <= len(threads) <= 4
        assert all(one.daemon for one in threads)  # they keep nobody from stopping
        assert max(len(slow.got) - notifier.tallies["slow"].sent, 0) <= 4  # never more than four at a time
        await notifier.close()


async def test_no_answer_in_time_counts_as_not_delivered(operations: Operations) -> None:
    async with webhook(lambda n: 1.0 if n < 4 else 200) as hook:
        receivers = [Receiver("duty", hook.url, allow_private=True)]
        owe(operations, receivers, *(notice(n) for n in range(4)))
        notifier = Notifier(operations, receivers, timeout_s=0.3)
        await notifier.deliver_due(NOW)
        await notifier.drain()
        assert (notifier.tallies["duty"].timeouts, notifier.tallies["duty"].sent) == (4, 0)
        assert await notifier.deliver_due(NOW + 60_000) == 0  # all four threads still wait for their answers
        async with asyncio.timeout(10):
            while notifier.tallies["duty"].sent < 4:  # they end, and their places are free again
                await notifier.deliver_due(NOW + 60_000)
                await asyncio.sleep(0.02)
        assert len(hook.keys) == 8
        assert sorted(hook.keys[:4]) == sorted(hook.keys[4:])


async def test_after_a_crash_between_sending_and_writing_down_the_same_key_is_sent_again(tmp_path: Path) -> None:
    class Crashing(Operations):
        def outbox_sent(self, number: int, now_ms: int) -> None:
            raise SystemError("killed here")

    url = f"sqlite:///{tmp_path / 'operations.db'}"
    async with webhook() as hook:
        receivers = [Receiver("duty", hook.url, allow_private=True)]
        before = Crashing(url)
        owe(before, receivers, notice())
        with pytest.raises(SystemError):
            await Notifier(before, receivers).deliver_due(NOW)
        before.close()
        after = Operations(url)
        assert await Notifier(after, receivers).deliver_due(NOW + 1000) == 1
        after.close()
        assert len(hook.keys) == 2
        assert len(set(hook.keys)) == 1


async def test_what_the_outbox_cannot_write_down_is_not_sent_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.database.BUSY_S", 0)
    operations = Operations(f"sqlite:///{tmp_path / 'o.db'}")
    other = sqlite3.connect(tmp_path / "o.db", isolation_level=None)
    async with webhook() as hook:
        receivers = [Receiver("duty", hook.url, allow_private=True)]
        owe(operations, receivers, notice())
        notifier = Notifier(operations, receivers)
        other.execute("BEGIN IMMEDIATE")  # another process holds the one writer's place
        for second in range(3):
            with pytest.raises(AWAY):
                await notifier.deliver_due(NOW + second * 1000)
        other.execute("ROLLBACK")
        with pytest.raises(AWAY):  # the last trouble, told once
            await notifier.deliver_due(NOW + 3000)
        assert await notifier.deliver_due(NOW + 4000) == 1
        assert len(hook.got) == 1
        assert operations.outbox_counts() == {"due": 0, "sent": 1, "failed": 0}
    other.close()
    operations.close()


async def test_a_clock_that_is_set_back_holds_no_notice_up(operations: Operations) -> None:
    ahead = 8 * 3_600_000  # local time taken for UTC until the time server answered
    async with webhook(lambda n: 500 if n == 0 else 200) as hook:
        receivers = [Receiver("duty", hook.url, allow_private=True)]
        operations.commit([notice(1), notice(2)], receivers, NOW + ahead)
        notifier = Notifier(operations, receivers)
        await notifier.deliver_due(NOW + ahead)
        await notifier.deliver_due(NOW)
        await notifier.drain()
        assert operations.outbox_counts() == {"due": 0, "sent": 2, "failed": 0}


async def test_the_end_of_an_alert_waits_for_its_beginning_to_get_through(operations: Operations) -> None:
    async with webhook(lambda n: 500 if n == 0 else 200) as hook:
        receivers = [Receiver("duty", hook.url, allow_private=True)]
        owe(operations, receivers, notice(), notice(state=CLEARED))
        notifier = Notifier(operations, receivers)
        for second in range(0, 12, 3):
            await notifier.deliver_due(NOW + second * 1000)
        assert [body["state"] for _, body in hook.got] == ["active", "active", "cleared"]
        assert hook.got[-1][1]["type"] == "success"


async def test_a_dead_receiver_does_not_fill_the_view_of_the_outbox(operations: Operations) -> None:
    async with webhook() as gone:
        dead_url = gone.url
    async with webhook() as hook:
        dead, live = Receiver("dead", dead_url, allow_private=True), Receiver("live", hook.url, allow_private=True)
        owe(operations, [dead], *(notice(n) for n in range(500)))
        owe(operations, [dead, live], notice(777))
        notifier = Notifier(operations, [dead, live])
        for _ in range(3):
            await notifier.deliver_due(NOW)
        assert hook.keys == [f"{notice(777).alert_id}:active:live"]
        assert notifier.tallies["dead"].retried <= 8


async def test_a_notice_for_a_receiver_that_was_removed_is_given_up(operations: Operations) -> None:
    owe(operations, [Receiver("gone", "log")], notice())
    await Notifier(operations, [Receiver("log", "log")]).deliver_due(NOW)
    assert operations.outbox_counts() == {"due": 0, "sent": 0, "failed": 1}


async def test_the_log_receiver_writes_one_structured_line(operations: Operations) -> None:
    receivers = [Receiver("log", "log", "en")]
    owe(operations, receivers, notice())
    with structlog.testing.capture_logs() as lines:
        assert await Notifier(operations, receivers).deliver_due(NOW) == 1
    (line,) = [one for one in lines if one["event"] == "Cover 1 is open"]
    assert (line["log_level"], line["rule"], line["state"]) == ("warning", "cover_open", "active")


async def test_what_is_under_way_when_the_house_stops_is_sent_again(operations: Operations) -> None:
    async with webhook(lambda _: 0.6) as hook:
        receivers = [Receiver("duty", hook.url, allow_private=True)]
        owe(operations, receivers, notice())
        notifier = Notifier(operations, receivers)
        assert await notifier.deliver_due(NOW) == 0
        assert await notifier.deliver_due(NOW) == 0
        assert len(hook.got) == 1  # what is under way is not sent twice
        await notifier.close()
        assert operations.outbox_counts()["due"] == 1
        await asyncio.sleep(0.7)
        again = Notifier(operations, receivers)
        await again.deliver_due(NOW)
        await again.drain()
        assert len(set(hook.keys)) == 1
        assert operations.outbox_counts()["sent"] == 1


@pytest.mark.parametrize("url", ["nonsense", "ftp2://x", "dingtalk://", ""])
def test_an_address_that_cannot_be_sent_to_is_refused_at_the_start(operations: Operations, url: str) -> None:
    with pytest.raises(ConfigError, match=r"settings: notify\.duty\.url: not an address that apprise knows"):
        Notifier(operations, [Receiver("duty", url)])


def test_statuses_are_told_apart() -> None:
    def final(text: str) -> bool:
        return failure([text]).final

    assert [final(f"Failed to send JSON notification: error={code}.") for code in (400, 404, 410, 301)] == [True] * 4
    assert [final(f"x error={code}.") for code in (408, 425, 429, 500, 502, 503)] == [False] * 6
    assert not final("A Connection error occurred sending JSON notification to 10.0.0.1.")
    assert str(failure([])) == "not delivered"


def test_retries_double_from_two_seconds_to_five_minutes_each_a_little_apart() -> None:
    waits = [retry_after_ms(attempt, "duty:1") for attempt in range(12)]
    assert all(0.75 * 2000 * 2**n <= wait <= 2000 * 2**n for n, wait in enumerate(waits[:7]))
    assert max(waits) <= LONGEST_RETRY_MS
    assert waits[-1] >= 0.75 * LONGEST_RETRY_MS
    assert waits == [retry_after_ms(attempt, "duty:1") for attempt in range(12)]
    assert len({retry_after_ms(5, f"duty:{n}") for n in range(50)}) > 40


def test_headlines_say_how_grave_it_is_or_that_it_is_over() -> None:
    assert title_of(notice(severity="minor"), "zh") == "【一般】点灯人告警"
    assert title_of(notice(state=CLEARED), "en") == "Cleared · Lamplighter"
