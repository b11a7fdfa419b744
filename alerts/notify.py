"""The notifier empties the outbox: each notice to its receiver, once, in order, and again until it is through.

At least once: after a crash between sending and writing that down, the notice is sent again under the same key. Each
receiver has its own few sending threads and its own patience, so a slow or absent one holds up nobody else.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from alerts.delivery import DeliveryError, Receiver, send_within
from devices.transition import Transition
from devices.yamlfile import ConfigError

__all__ = ["Due", "Notifier", "Outbox", "Receiver"]

log = structlog.get_logger("notify")

AT_ONCE = 4  # notices on their way to one receiver; a notice that finds them all taken stays in the outbox
FETCH = 100  # notices looked at in one go
TIMEOUT_S = 15.0  # to wait for one notice before it counts as not delivered
PATIENCE_S = 0.25  # to wait for what was just started before the caller gets its turn back
LONGEST_COUNT = 6_000  # notices that a limit may allow
FIRST_RETRY_MS = 2_000
LONGEST_RETRY_MS = 300_000  # five minutes (docs/sources.md)
GIVE_UP_MS = 24 * 3_600_000  # a notice older than a day helps nobody


class Due(Protocol):
    """A notice owed, as the outbox keeps it."""

    @property
    def id(self) -> int:
        """Return its number in the outbox."""

    @property
    def transition(self) -> Transition:
        """Return what to tell."""

    @property
    def receiver(self) -> str:
        """Return whom to tell."""

    @property
    def created_ms(self) -> int:
        """Return when it was decided."""

    @property
    def attempts(self) -> int:
        """Return how often it has failed."""


class Outbox(Protocol):
    """Where notices wait; every call may block for a moment."""

    def outbox_due(self, now_ms: int, limit: int = ..., without: Collection[str] = ...) -> Sequence[Due]:
        """Return notices to try now, oldest first, of all receivers but ``without``."""

    def outbox_sent(self, number: int, now_ms: int) -> None:
        """Write down that a notice was delivered."""

    def outbox_failed(self, number: int, now_ms: int, retry_at_ms: int | None, error: str, pass_to: str = ...) -> None:
        """Write down that a notice was not delivered, and when to try again; None gives it up, or passes it on."""


@dataclass(slots=True)
class Tally:
    """What became of one receiver's notices since the start."""

    sent: int = 0
    retried: int = 0
    given_up: int = 0
    timeouts: int = 0
    last_error: str = ""


@dataclass(slots=True)
class _Desk:
    """One receiver's threads and patience."""

    receiver: Receiver
    tally: Tally = field(default_factory=Tally)
    busy: int = 0
    failures: int = 0  # in a row; several that were under way together count as one
    failed_ms: int = 0  # the latest
    rests_until_ms: int = 0
    begun: deque[float] = field(default_factory=lambda: deque(maxlen=LONGEST_COUNT))  # monotonic s, of the latest

    def shut(self, now_ms: int, at_s: float) -> bool:
        """Return whether it takes nothing now; a rest longer than any means that the clock was set back meanwhile."""
        if self.busy >= AT_ONCE or 0 < self.rests_until_ms - now_ms <= LONGEST_RETRY_MS:
            return True
        limits = self.receiver.limits
        return any(len(self.begun) >= most and at_s - self.begun[-most] < within_s for most, within_s in limits)


class Notifier:
    """Delivers what the outbox holds.

    Args:
        outbox: where notices wait.
        receivers: whom they may be for.
        timeout_s: to wait for one notice before it counts as not delivered.

    Attributes:
        tallies: by receiver, what became of its notices.

    Raises:
        ConfigError: when a receiver's address cannot be sent to.
    """

    def __init__(self, outbox: Outbox, receivers: Sequence[Receiver], timeout_s: float = TIMEOUT_S) -> None:
        for receiver in receivers:
            receiver.check()
            _check_fallback(receiver, receivers)
        self._outbox = outbox
        self._timeout_s = timeout_s
        self._desks = {receiver.name: _Desk(receiver) for receiver in receivers}
        self._under_way: dict[int, asyncio.Task[bool]] = {}
        self._trouble: BaseException | None = None  # of the outbox, met after the caller had its turn back
        self._told: set[int] = set()  # notices delivered, which the outbox has refused to write down
        self._first: dict[tuple[str, str], int] = {}  # the notice that others of the same alert have to wait for

    @property
    def tallies(self) -> dict[str, Tally]:
        """Return what became of each receiver's notices since the start."""
        return {name: desk.tally for name, desk in self._desks.items()}

    async def deliver_due(self, now_ms: int) -> int:
        """Send what is due and can be sent without waiting; return how many notices got through during the call.

        What takes longer than a moment goes on by itself and is settled when it ends. Trouble with the outbox itself
        is raised, at the latest by the next call; what was sent and not written down is sent
        again after a restart only.
        """
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            raise trouble
        loop = asyncio.get_running_loop()
        began = loop.time()
        delivered = 0
        while True:
            now = now_ms + round((loop.time() - began) * 1000)
            shut = [name for name, desk in self._desks.items() if desk.shut(now, loop.time())]
            busy = set(self._under_way)  # may have been told by the time that the outbox has answered
            rows = await asyncio.to_thread(self._outbox.outbox_due, now, FETCH, shut)
            fresh = [row for row in rows if row.id not in busy]
            started = [task for row in fresh if (task := await self._start(row, now)) is not None]
            if not started:
                return delivered
            done, _ = await asyncio.wait(started, timeout=PATIENCE_S)
            delivered += sum(task.result() for task in done)
            if not done:
                return delivered

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.wait(list(self._under_way.values()))

    async def close(self) -> None:
        """Stop waiting for what is under way; it stays in the outbox and is sent again under the same key."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _start(self, row: Due, now_ms: int) -> asyncio.Task[bool] | None:
        if row.id in self._under_way:
            return None
        desk = self._desks.get(row.receiver)
        if desk is None:
            text = f"no receiver '{row.receiver}' in the settings"
            await asyncio.to_thread(self._outbox.outbox_failed, row.id, now_ms, None, text)
            return None
        alert = (row.receiver, row.transition.alert_id)
        at_s = asyncio.get_running_loop().time()
        if desk.shut(now_ms, at_s) or self._first.setdefault(alert, row.id) != row.id:
            return None
        desk.busy += 1
        desk.begun.append(at_s)
        task = asyncio.create_task(self._deliver(desk, row, now_ms), name=f"notice-{row.id}")
        self._under_way[row.id] = task
        task.add_done_callback(lambda ended: self._ended(row.id, ended))
        return task

    def _ended(self, number: int, task: asyncio.Task[bool]) -> None:
        self._under_way.pop(number, None)
        if not task.cancelled() and task.exception() is not None:
            self._trouble = task.exception()

    async def _deliver(self, desk: _Desk, row: Due, now_ms: int) -> bool:
        loop = asyncio.get_running_loop()
        began = loop.time()
        trouble: DeliveryError | None = None
        if row.id in self._told:
            desk.busy -= 1
            await self._written(row, now_ms)
            return True
        ended = await send_within(desk.receiver, row.transition, self._timeout_s, now_ms)
        if ended.done():
            desk.busy -= 1
            caught = ended.exception()
            trouble = caught if isinstance(caught, DeliveryError) else None
        else:
            ended.add_done_callback(lambda late: self._free(desk, late))
            desk.tally.timeouts += 1
            trouble = DeliveryError(f"no answer within {self._timeout_s:g} s")
        await self._settle(desk, row, trouble, now_ms, now_ms + round((loop.time() - began) * 1000))
        return trouble is None

    async def _settle(self, desk: _Desk, row: Due, trouble: DeliveryError | None, began_ms: int, now_ms: int) -> None:
        alert = (row.receiver, row.transition.alert_id)
        if trouble is None:
            desk.failures, desk.rests_until_ms = 0, 0
            desk.tally.sent += 1
            self._told.add(row.id)
            await self._written(row, now_ms)
            return
        desk.tally.last_error = str(trouble)
        if trouble.final or now_ms - row.created_ms > GIVE_UP_MS:
            desk.tally.given_up += 1
            other = desk.receiver.fallback
            log.warning("a notice is given up", receiver=row.receiver, why=str(trouble), passed_to=other or None)
            await asyncio.to_thread(self._outbox.outbox_failed, row.id, now_ms, None, str(trouble), other)
            self._first.pop(alert, None)
            return
        if began_ms > desk.failed_ms or not desk.failures:
            desk.failures += 1
        desk.failed_ms = now_ms
        desk.tally.retried += 1
        desk.rests_until_ms = now_ms + retry_after_ms(desk.failures - 1, desk.receiver.name)
        retry_at_ms = now_ms + retry_after_ms(row.attempts, f"{row.receiver}:{row.id}")
        await asyncio.to_thread(self._outbox.outbox_failed, row.id, now_ms, retry_at_ms, str(trouble))

    async def _written(self, row: Due, now_ms: int) -> None:
        await asyncio.to_thread(self._outbox.outbox_sent, row.id, now_ms)
        self._told.discard(row.id)
        self._first.pop((row.receiver, row.transition.alert_id), None)

    @staticmethod
    def _free(desk: _Desk, ended: asyncio.Future[None]) -> None:
        desk.busy -= 1
        if not ended.cancelled():
            ended.exception()  # it came too late to matter


def _check_fallback(receiver: Receiver, receivers: Sequence[Receiver]) -> None:
    """Raise ConfigError when whoever is to be told instead is not somebody else."""
    others = [one.name for one in receivers if one.name != receiver.name]
    if receiver.fallback and receiver.fallback not in others:
        known = ", ".join(others) or "there is none"
        found = f"expected another receiver ({known}); found '{receiver.fallback}'"
        raise ConfigError([f"settings: notify.{receiver.name}.fallback: {found}"])


def retry_after_ms(attempts: int, key: str) -> int:
    """Return how long to wait after so many failures: doubling from 2 s to 5 min, three quarters to all of it.

    The spread keeps receivers that failed together from being tried together; it follows from the key, so that a run
    can be repeated exactly.
    """
    longest = min(FIRST_RETRY_MS << min(attempts, 20), LONGEST_RETRY_MS)
    digest = hashlib.blake2s(f"{key}|{attempts}".encode(), digest_size=4).digest()
    return round(longest * (0.75 + 0.25 * int.from_bytes(digest) / 2**32))
