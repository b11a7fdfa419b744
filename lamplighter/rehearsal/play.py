"""One rehearsal: a house lives, dies and lives again on the stage while everything goes wrong, then nothing does.

First safety: whatever happens, nothing that was acknowledged is missing, the ledger balances, no notice is made up.
Then liveness: the faults stop, and within a minute everything is delivered, stored, judged and told (checks.py).
"""

from __future__ import annotations

import asyncio
import functools
import shutil
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lamplighter import service
from lamplighter.rehearsal import checks, scene, seams, verdict
from lamplighter.rehearsal.deaths import Deaths
from lamplighter.rehearsal.faults import Crash, Mischief, draw_crashes, draw_faults
from lamplighter.wiring import House
from simulators.stage import town
from simulators.stage.broker import StagedBroker
from simulators.stage.dice import Dice, Trace
from simulators.stage.disk import StagedDisk
from simulators.stage.loop import VirtualLoop
from simulators.stage.phone import StagedPhones
from simulators.stage.store import StagedStore
from storage.journal import JournalError, Record
from storage.operations import AWAY

CALM_S = 60.0  # within this everything must be well after the last fault (reliability: I7)
TAKEN_OVER_S = 300.0  # how long a session stands back that another process has thrown out
LOOK_S = 2.7  # between looks at the ledger and the queues
WELL_S = 1.0  # between looks whether all is well, once the faults have ended
RESTART_S = 2.0  # what a supervisor waits before it starts a house that could not start


@dataclass
class Outcome:
    """How a rehearsal went.

    Attributes:
        seed: its number.
        failures: what was wrong, one sentence each; empty when all was well.
        digest: hash of everything that happened; the same for every run of the seed.
        events: how many things happened.
        lives: how often the house was started.
        virtual_s: how long it lasted, in virtual seconds.
        well_after_s: from the last fault until all was well.
        counts: what was exercised.
    """

    seed: int
    failures: list[str] = field(default_factory=list)
    digest: str = ""
    events: int = 0
    lives: int = 0
    virtual_s: float = 0.0
    well_after_s: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)


class Rehearsal:
    """Everything of one rehearsal, from its seed.

    Args:
        seed: its number.
        folder: where the house keeps its data; must be empty.
        tell: gets a line for every event.
        log: let the house's own log lines through.
    """

    def __init__(
        self, seed: int, folder: Path, tell: Callable[[str], None] | None = None, *, log: bool = False
    ) -> None:
        self.seed, self.folder, self._log = seed, folder, log
        dice = functools.partial(Dice, seed)
        plan = dice("plan")
        self.settings = scene.draw_settings(folder, plan)
        self.calm_s = plan.between(6, 26)
        self.loop = VirtualLoop(dice("loop"), slow_calls=("_counted", "write_own"))
        self.trace = Trace(self.loop.time, tell)
        self.broker = StagedBroker(
            self.loop,
            dice("broker"),
            self.trace,
            queue_limit=plan.pick((20, 100, 1000, 1000)),
            window=plan.pick((1, 5, 20, 1000)),
        )
        self.loop.network = self.broker
        self.store = StagedStore(self.loop, dice("store"), self.trace)
        self.phones = StagedPhones(dice("phones"), self.trace)
        self.disk = StagedDisk(folder, dice("disk"), self.trace)
        self.mischief = Mischief(
            self.loop, dice("faults"), self.trace, self.broker, self.store, self.phones, self.disk, self._stop_house
        )
        self.loop.slowness = lambda: self.store.mood == "slow" or bool(self.phones.moods)
        self.store.forgets_s = 0.8 * self.settings.store.hold_s
        self.faults = draw_faults(plan, self.calm_s)
        names = {fault.name for fault in self.faults}
        until_s = self.calm_s + CALM_S + ("taken over" in names) * TAKEN_OVER_S
        self.town = town.write_script(dice("town"), self.calm_s, until_s, ahead="clock jumps" not in names)
        self.deaths_due = Deaths(self, draw_crashes(plan, self.calm_s))
        self.clock = scene.StagedClock(lambda: town.START_MS + int(self.loop.now_s * 1000) + self.mischief.jumped_ms)
        self.said: dict[int, town.Spoken] = {}  # by the broker's number
        self.house: House | None = None
        self.lives = 0
        self.deaths: list[float] = []
        self.failures: list[str] = []
        self.released: dict[int, Record] = {}  # records that the journal has let go, by position
        self.sessions_lost = 0  # in the present life, and told to it
        self.calm_number = 1 << 60  # the broker's number of the first message of the calm
        self.heard_from = 1 << 60  # and of the first that nothing can keep from being heard
        self.well = False
        self.missing: list[str] = []
        self._leave: asyncio.Event | None = None
        self._restart_s = 0.0
        self._power_cut = False
        self._refused_before = 0

    # The play.

    def play(self) -> Outcome:
        """Play it and say how it went."""
        asyncio.set_event_loop(None)
        self.broker.on_new_session = self._new_session
        self.disk.step = self.deaths_due.disk_step
        scene.set_up(self.settings)
        with seams.on_stage(self.loop, self.disk, self.store, self.phones, lambda: self.lives, log=self._log):
            self._schedule()
            try:
                while not (self.well or self.failures):
                    self._live()
            finally:
                self._die_quietly()
        self.failures += [
            f"the loop was told: {trouble}" for trouble in self.loop.troubles if "CrashError" not in trouble
        ]
        return Outcome(
            self.seed, self.failures, self.trace.digest(), self.trace.count, self.lives, self.loop.now_s,
            max(0.0, self.loop.now_s - self.calm_s), checks.counts(self),
        )  # fmt: skip

    def fail(self, sentence: str) -> None:
        """Write down what is wrong, and end."""
        self.trace.note(f"FAILED: {sentence}")
        self.failures.append(f"at {self.loop.now_s:.3f} s: {sentence}")
        self.loop.stop()

    def _schedule(self) -> None:
        for spoken in self.town.spoken:
            self.loop.call_at(spoken.at_s, self._speak, spoken)
        for fault in self.faults:
            self.loop.call_at(fault.at_s, self.mischief.begin, fault)
            if fault.at_s < fault.until_s < self.calm_s:
                self.loop.call_at(fault.until_s, self.mischief.end, fault)
        for crash in self.deaths_due.crashes:
            if not crash.step:
                self.loop.call_at(crash.at_s, self._crash_at_a_moment, crash)
        self.loop.call_at(self.calm_s, self._calm)
        self.loop.call_later(LOOK_S, self._look)
        self.loop.call_later(5.0, self._autosave)

    def _speak(self, spoken: town.Spoken) -> None:
        number = self.broker.publish(spoken.topic, spoken.payload)
        if number is None:
            self.loop.call_later(1.0 + spoken.at_s % 1.0, self._speak, spoken)
            return
        self.said[number] = spoken

    # Lives.

    def _live(self) -> None:
        """Let the house live until it dies, stops, or all is well."""
        self.loop.live()
        self.lives += 1
        self.trace.note(f"life {self.lives} begins")
        self._refused_before = self.disk.refused
        self.sessions_lost = 0
        life = self.loop.create_task(self._life(), name=f"life {self.lives}")
        life.add_done_callback(lambda _: self.loop.stop())
        self.loop.run_forever()
        if self.loop.dead:
            self._bury()
        elif life.done():
            self._stopped(life)
        else:  # the end of the play
            self.die("the curtain", 0.0, power_cut=False)
            self._bury()
            return
        self.loop.run_to(self.loop.now_s + self._restart_s)

    async def _life(self) -> None:
        self._leave = asyncio.Event()
        house = House(self.settings, self.clock)
        try:
            self.deaths_due.instrument(house)
            self.house = house
            async with service.running(house):
                checks.after_start(self)
                await self._leave.wait()
        finally:
            if not self.loop.dead:
                self.house = None
                house.close()

    def _stopped(self, life: asyncio.Task[None]) -> None:
        trouble = life.exception()
        self._restart_s = RESTART_S
        self.deaths.append(self.loop.now_s)
        self.house = None
        for line in self.broker.lines:
            line.close()
        self.disk.freeze()
        self.loop.kill()
        if trouble is None:
            self.trace.note("the house has stopped in order")
        elif isinstance(trouble, (OSError, JournalError, *AWAY)) and self.disk.refused > self._refused_before:
            self.trace.note(f"the house cannot start: {type(trouble).__name__}")
        else:
            text = "".join(traceback.format_exception(trouble))
            self.fail(f"the house ended by itself: {text}")
        self.disk.settle(power_cut=False)

    def _new_session(self) -> None:
        if self.house is not None and self.house.session.ready.is_set():  # it had one before
            self.sessions_lost += 1

    def _stop_house(self) -> None:
        if self._leave is not None and not self.loop.dead:
            self.trace.note("the house is told to stop")
            self._leave.set()

    def _crash_at_a_moment(self, crash: Crash) -> None:
        if not self.loop.dead and self.house is not None:
            self.die(str(crash), crash.down_s, crash.power_cut)

    def die(self, why: str, down_s: float, power_cut: bool) -> None:
        """End the present life at once; the next one begins ``down_s`` seconds later."""
        if self.loop.dead:
            return
        self._restart_s = down_s
        self.trace.note(f"death: {why}")
        self.disk.freeze()
        self.deaths.append(self.loop.now_s)
        self._power_cut = power_cut
        self.loop.dead = True
        self.loop.stop()

    def _bury(self) -> None:
        """Take away what a dead process leaves in memory, and leave on the disk what it leaves there."""
        for line in self.broker.lines:
            if self._power_cut:
                line.vanish()
            else:
                line.close()
        self.loop.kill()
        house, self.house, self._leave = self.house, None, None
        if house is not None:
            house.close()
        self.disk.settle(power_cut=self._power_cut)

    def _die_quietly(self) -> None:
        """Leave nothing behind, however the play ended."""
        if not self.loop.dead:
            self.disk.freeze()
        self._bury()
        self.loop.close()

    # Looking.

    def _calm(self) -> None:
        self.trace.note("calm")
        self.mischief.calm()
        self.calm_number = len(self.broker.messages)
        self.loop.call_later(WELL_S, self._look_if_well)

    def _look(self) -> None:
        checks.at_any_time(self)
        self.loop.call_later(LOOK_S, self._look)

    def _look_if_well(self) -> None:
        deadline_s = self.calm_s + CALM_S
        self.missing = checks.not_yet_well(self)
        house = self.house
        if not self.missing and house is not None and house.watch.under_way:
            self.loop.call_later(0.01, self._look_if_well)  # in the middle of a group: its decisions are on their way
        elif not self.missing:
            self.well = True
            self.trace.note("all is well")
            for sentence in verdict.at_the_end(self):
                self.fail(sentence)
            self.loop.stop()
        elif self.loop.now_s >= deadline_s + self._excused_s():
            self.fail(f"not well {CALM_S:g} s after the last fault: {'; '.join(self.missing)}")
        else:
            self.loop.call_later(WELL_S, self._look_if_well)

    def _excused_s(self) -> float:
        """Return how much longer it may take: a session that is thrown out by another process stands back."""
        return TAKEN_OVER_S if self.mischief.taken_over else 0.0

    def _autosave(self) -> None:
        if self.broker.up:
            self.broker.save()
        self.loop.call_later(5.0, self._autosave)


def rehearse(seed: int, tell: Callable[[str], None] | None = None, *, log: bool = False) -> Outcome:
    """Play the rehearsal of one seed in a folder of its own, in memory where the machine has such a place."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of ours is made in it
    folder = Path(tempfile.mkdtemp(prefix=f"rehearsal-{seed}-", dir=memory if memory.is_dir() else None))
    try:
        return Rehearsal(seed, folder, tell, log=log).play()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
