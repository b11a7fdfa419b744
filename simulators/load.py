"""The load generator: a whole city speaking, at a given rate, over few connections or one a device.

It keeps the rate by the clock and sleeps in between. When the broker is slow it waits and then catches up, and says how
far behind it was. What the broker accepted is counted by its own answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from simulators.load_frames import Group, Ints
from simulators.load_lanes import Door, Lane, Tally
from simulators.load_plan import FINEST, Queue, Sent, Target, Turn
from simulators.load_solo import Solo

TICK_S = 0.005  # between looks at the clock
SOLO_TICK_S = 0.02  # the same where every device has its own connection, and answers are asked for one by one
LOOK_S = 1.0  # between calls of progress, and looks whether lamps burn
PATIENCE_S = 20.0  # to wait in the end for the broker's last answers
MISSES = 3  # devices without an answer in a row, after which no more are asked until the next tick
CONNECT_S = 30.0  # for a connection to be let in
AT_ONCE = 200  # connections that are being made at the same time
RETRY_S = 1.0  # after a connection broke


class Load:
    """Sends what groups of devices say.

    Args:
        groups: who speaks; see simulators.load_frames.groups_of.
        shares: (groups,) of the messages; the devices' numbers by default.
        target: where to.
        now_ms: the clock that readings are dated by.
        lit: whether the city's lamps are meant to burn at a time; asked once a second.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        target: Target,
        now_ms: Callable[[], int],
        *,
        shares: Sequence[float] | None = None,
        lit: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self.groups, self.target, self.now_ms, self.lit = list(groups), target, now_ms, lit
        self.tally = Tally(len(self.groups))
        self.shares = np.array(shares if shares is not None else [len(each) for each in groups], dtype=np.float64)
        self._last = [np.zeros(len(each), np.int64) for each in self.groups]
        self._lanes: list[Lane | None] = [None] * target.connections
        self._queues: list[list[Queue]] = []
        self._turns: list[Turn] = []
        self._solos: list[list[Solo | None]] = []
        self._waiting: list[deque[Solo]] = []
        self._debts = [0.0] * max(1, target.connections)
        self._lit = True
        self._sending = False
        self._handed = 0
        self._left: int | None = None
        self._out = Sent()

    def sent(self) -> Sent:
        """Return what was done so far."""
        tally, out = self.tally, self._out
        out.messages, out.accepted = int(tally.sent.sum()), int(tally.accepted.sum())
        out.refused, out.unanswered = int(tally.refused.sum()), int(tally.unanswered.sum())
        out.readings = {}
        for number, group in enumerate(self.groups):
            accepted = int(tally.accepted[number]) * group.readings
            out.readings[group.kind] = out.readings.get(group.kind, 0) + accepted
        out.connects, out.losses, out.trouble = tally.connects, tally.losses, tally.trouble
        out.faults = [fault for group in self.groups for fault in group.told()]
        return out

    async def run(
        self,
        stop: asyncio.Event,
        *,
        seconds: float | None = None,
        count: int | None = None,
        progress: Callable[[Sent], None] | None = None,
    ) -> Sent:
        """Send until stopped, for so long, or so many messages; then wait for the broker's last answers.

        Args:
            stop: ends it.
            seconds, count: when it ends by itself, None for never.
            progress: called when all connections stand, and then about once a second.

        Raises:
            ConnectionError: the broker cannot be had at the start.
        """
        self._left = count
        self._lit = self.lit(self.now_ms())
        keepers = await self._connect()
        if progress is not None:
            progress(self.sent())
        try:
            await self._pace(stop, seconds, progress)
            self._sending = False
            await self._answers()
        finally:
            self._sending = False
            for keeper in keepers:
                keeper.cancel()
            for line in self._lines():
                line.leave()
            await asyncio.gather(*keepers, *(line.lost for line in self._lines()), return_exceptions=True)
        return self.sent()

    # The clock.

    async def _pace(self, stop: asyncio.Event, seconds: float | None, progress: Callable[[Sent], None] | None) -> None:
        loop, rate = asyncio.get_running_loop(), self.target.rate
        began = loop.time()
        looked = began
        self._sending = True
        turn = 0
        while not stop.is_set() and self._left != 0:
            now = loop.time()
            self._out.seconds = now - began
            if seconds is not None and now - began >= seconds:
                break
            if rate:
                due = int((now - began) * rate) - self._handed
                self._handed += due
                self._debts[turn] += due
            else:
                self._debts = [float("inf")] * len(self._debts)
            self._wake()
            self._pump(turn)
            turn = (turn + 1) % len(self._debts)
            if rate:
                self._out.behind = max(self._out.behind, int(sum(self._debts)))
            if now - looked >= LOOK_S:
                looked = now
                self._lit = self.lit(self.now_ms())
                if progress is not None:
                    progress(self.sent())
            await asyncio.sleep(SOLO_TICK_S if self._solos else TICK_S)

    def _wake(self) -> None:
        for lane in self._lanes:
            if lane is not None:
                lane.wake()

    def _pump(self, number: int) -> None:
        """Send what one lane owes, as far as there is room; all solos are one lane."""
        if not self._sending:
            return
        if self._solos:
            self._pump_solos()
            return
        lane, turn, queues = self._lanes[number], self._turns[number], self._queues[number]
        while lane is not None and self._left != 0 and (count := self._count(lane, number)) > 0:
            group = turn.choose(count)
            ids = lane.packet_ids(min(count, self.groups[group].chunk))
            if not len(ids):
                break
            rows = queues[group].take(len(ids))
            ids = ids[: len(rows)]
            lane.send(self._frames(group, rows, ids), group, ids)
            turn.took(group, len(rows))
            self._settle(number, len(rows))

    def _settle(self, number: int, count: int) -> None:
        self._debts[number] -= count
        if self._left is not None:
            self._left -= count

    def _count(self, lane: Lane, number: int) -> int:
        """Return how many a lane may and should send now: little room is left until it is worth a write."""
        debt, room = self._debts[number], lane.room
        if self._left is not None:
            debt = min(debt, self._left)
        if room < debt and room < lane.window // 8:
            return 0
        return int(min(debt, room))

    def _frames(self, group: int, rows: Ints, ids: Ints) -> bytes:
        speakers, last, now = self.groups[group], self._last[group], self.now_ms()
        ts_ms = max(now, int(last[rows].max()) + speakers.span_ms)
        self._out.ahead_ms = max(self._out.ahead_ms, ts_ms - now)
        last[rows] = ts_ms
        return speakers.frames(rows, ids, ts_ms, lit=self._lit)

    def _pump_solos(self) -> None:
        """Give the devices that have been answered their turn, the longest waiting first."""
        turn = self._turns[0]
        able = np.array([len(waiting) > 0 for waiting in self._waiting])
        lap = sum(map(len, self._waiting))  # once round, then the clock is looked at again
        while able.any() and (debt := min(self._debts[0], lap, np.inf if self._left is None else self._left)) >= 1:
            group = turn.choose(int(min(debt, FINEST)), able)
            speakers = self.groups[group]
            solos = self._free_solos(group, int(min(debt, speakers.chunk)))
            if not solos:
                able[group] = False
                continue
            rows = np.array([solo.row for solo in solos])
            frames, length = memoryview(self._frames(group, rows, np.ones(len(rows), np.int64))), speakers.frame_bytes
            for place, solo in enumerate(solos):
                solo.send(frames[place * length : (place + 1) * length])
            self._waiting[group].extend(solos)
            turn.took(group, len(solos))
            lap -= len(solos)
            self._settle(0, len(solos))

    def _free_solos(self, group: int, count: int) -> list[Solo]:
        """Return devices whose last message is answered; where several in a row are not, the others are not either."""
        waiting, found, missed = self._waiting[group], [], 0
        for _ in range(min(count, len(waiting))):
            solo = waiting.popleft()
            if solo.free():
                found.append(solo)
                continue
            if not solo.lost.done():
                waiting.append(solo)
            missed += 1
            if missed >= MISSES:
                break
        return found

    # Connections.

    async def _connect(self) -> list[asyncio.Task[None]]:
        lanes = self.target.connections
        readings = np.array([group.readings for group in self.groups])
        if lanes:
            for number in range(lanes):
                bounds = [(len(g) * number // lanes, len(g) * (number + 1) // lanes) for g in self.groups]
                own = np.array([high - low for low, high in bounds]) / [len(group) for group in self.groups]
                self._queues.append([Queue(*each) for each in bounds])
                self._turns.append(Turn(self.shares * own, readings))
                await self._lane(number)
            return [asyncio.create_task(self._keep_lane(number)) for number in range(lanes)]
        self._turns.append(Turn(self.shares, readings))
        self._waiting = [deque() for _ in self.groups]
        self._solos = [[None] * len(group) for group in self.groups]
        gate = asyncio.Semaphore(AT_ONCE)
        places = [(number, row) for number, group in enumerate(self.groups) for row in range(len(group))]
        await asyncio.gather(*(self._solo(*place, gate) for place in places))
        return [asyncio.create_task(self._keep_solo(*place, gate)) for place in places]

    async def _lane(self, number: int) -> None:
        target = self.target
        door = Door(f"{target.client_prefix}-{number}", target.username, target.password)
        lane = Lane(door, self.tally, target.qos, lambda: self._pump(number))
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().create_connection(lambda: lane, target.host, target.port, ssl=target.tls)
            await lane.welcomed
        self._lanes[number] = lane

    async def _solo(self, group: int, row: int, gate: asyncio.Semaphore) -> None:
        target = self.target
        name = self.groups[group].ids[row].decode()
        door = Door(f"{target.client_prefix}-{name}", target.username, target.password)
        async with gate:
            solo = Solo(self.tally, target.qos, group, row)
            async with asyncio.timeout(CONNECT_S):
                await solo.open((target.host, target.port), door)
            self._solos[group][row] = solo
            self._waiting[group].append(solo)

    async def _keep_lane(self, number: int) -> None:
        while (lane := self._lanes[number]) is not None:
            await asyncio.shield(lane.lost)
            await self._again(lambda: self._lane(number))

    async def _keep_solo(self, group: int, row: int, gate: asyncio.Semaphore) -> None:
        while (solo := self._solos[group][row]) is not None:
            await asyncio.shield(solo.lost)
            await self._again(lambda: self._solo(group, row, gate))

    async def _again(self, connect: Callable[[], object]) -> None:
        """Connect anew until the broker lets us in."""
        while True:
            await asyncio.sleep(RETRY_S)
            try:
                await connect()  # type: ignore[misc]
            except (OSError, TimeoutError) as trouble:
                self.tally.trouble = str(trouble) or "the broker does not answer"
            else:
                return

    def _lines(self) -> list[Lane | Solo]:
        lines: list[Lane | Solo | None] = [*self._lanes, *(solo for group in self._solos for solo in group)]
        return [line for line in lines if line is not None]

    async def _answers(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_S
        while loop.time() < until:
            tally = self.tally
            self._wake()
            for solos in self._solos:
                for solo in solos:
                    if solo is not None and solo.busy:
                        solo.free()
            if int((tally.sent - tally.accepted - tally.refused - tally.unanswered).sum()) == 0:
                return
            await asyncio.sleep(TICK_S)
