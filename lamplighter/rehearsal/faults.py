"""What goes wrong in a rehearsal: drawn from the seed beforehand, so that it can be read before it happens.

To add a fault: one more line in ``FAULTS`` and one more branch in ``Mischief.begin`` or ``Mischief.end``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulators.stage import phone, store
from simulators.stage.broker import StagedBroker
from simulators.stage.dice import Dice, Trace
from simulators.stage.disk import StagedDisk
from simulators.stage.loop import VirtualLoop
from simulators.stage.phone import StagedPhones
from simulators.stage.store import StagedStore

# Name, weight, shortest and longest duration in seconds (0, 0: a moment).
FAULTS: tuple[tuple[str, float, float, float], ...] = (
    ("line reset", 3, 0, 0),
    ("line closed", 2, 0, 0),
    ("line torn", 2, 0, 0),
    ("line half open", 2, 0, 0),
    ("line storm", 1, 5, 20),
    ("taken over", 0.3, 0, 0),
    ("repeated", 2, 0, 0),
    ("broker refuses", 1, 1, 15),
    ("broker hangs", 1, 1, 15),
    ("broker answers late", 1, 5, 20),
    ("broker restarts", 2, 0.2, 10),
    ("broker killed", 1, 0.2, 10),
    ("broker forgets", 0.7, 0.2, 10),
    ("broker forgets subscriptions", 0.7, 0.2, 5),
    ("store", 5, 1, 25),
    ("store killed", 1.5, 0.5, 10),
    ("phone", 5, 1, 25),
    ("disk full", 1.5, 0.5, 15),
    ("disk sick", 1.5, 0, 0),
    ("operations away", 1.5, 0.5, 10),
    ("clock jumps", 1, 2, 30),
    ("house stops", 1, 0, 0),
)
STEPS = (
    "sieve.sift",
    "journal.append",
    "journal.sync",
    "engine.step",
    "operations.commit",
    "session.acknowledge",
    "timeseries.write",
    "operations.ship",
    "operations.outbox_due",
    "operations.outbox_sent",
    "operations.outbox_failed",
    "journal.release",
    "watch.save",
    "database.writing",
    "os.pwrite",
    "os.fsync begins",
    "os.fsync",
)
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, from when to when."""

    name: str
    at_s: float
    until_s: float


@dataclass(slots=True)
class Crash:
    """The end of a life: at a moment, or beside a step after it.

    Attributes:
        at_s: from when on.
        step: which step; empty for the moment itself.
        after: behind the step, rather than before it.
        spared: how often the step still goes well.
        power_cut: whether what was not brought to the disk may be gone.
        down_s: how long until the next life.
    """

    at_s: float
    step: str
    after: bool
    spared: int
    power_cut: bool
    down_s: float

    def __str__(self) -> str:
        """Say it in words."""
        where = f"{'after' if self.after else 'before'} {self.step}" if self.step else "at a moment"
        return f"{'power cut' if self.power_cut else 'kill'} {where}"


def draw_faults(dice: Dice, calm_s: float) -> list[Fault]:
    """Draw what goes wrong before ``calm_s``."""
    total = sum(weight for _, weight, _, _ in FAULTS)
    found = []
    for _ in range(dice.whole(1, 9)):
        draw = dice.between(0, total)
        for name, weight, shortest, longest in FAULTS:
            draw -= weight
            if draw < 0:
                at_s = dice.between(0.5, calm_s - 1)
                found.append(Fault(name, at_s, min(calm_s, at_s + dice.between(shortest, longest))))
                break
    return sorted(found, key=lambda fault: fault.at_s)


def draw_crashes(dice: Dice, calm_s: float) -> list[Crash]:
    """Draw when lives end."""
    count = dice.pick((0, 0, 1, 1, 1, 2, 2, 3, 5))
    return sorted(
        (
            Crash(
                dice.between(0.5, calm_s - 2),
                dice.pick(STEPS) if dice.chance(0.75) else "",
                dice.chance(0.5),
                dice.pick((0, 0, 0, 1, 2, 5)),
                dice.chance(0.6),
                dice.pick((0.1, 0.5, 2.0, 8.0)) * dice.between(0.5, 1),
            )
            for _ in range(count)
        ),
        key=lambda crash: crash.at_s,
    )


class Mischief:
    """Lets faults begin and end on the stage.

    Attributes:
        jumped_ms: how far the host's clock is off.
        operations_away: the operations database refuses.
        taken_over: another process came with our client id.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        dice: Dice,
        trace: Trace,
        broker: StagedBroker,
        readings: StagedStore,
        phones: StagedPhones,
        disk: StagedDisk,
        stop_house: Callable[[], None],
    ) -> None:
        self._loop, self._dice, self._trace = loop, dice, trace
        self._broker, self._store, self._phones, self._disk = broker, readings, phones, disk
        self._stop_house = stop_house
        self.jumped_ms = 0
        self.operations_away = False
        self.taken_over = False
        self._storm_until_s = 0.0

    def begin(self, fault: Fault) -> None:  # noqa: C901, PLR0912 - one branch a fault is the table's other half
        """Let a fault begin."""
        self._trace.note(f"fault: {fault.name} until {fault.until_s:.3f}")
        broker, dice = self._broker, self._dice
        match fault.name:
            case "line reset" | "line closed" | "line torn":
                broker.cut(fault.name.removeprefix("line "))
            case "line half open":
                broker.darken()
            case "line storm":
                self._storm_until_s = fault.until_s
                self._storm()
            case "taken over":
                self.taken_over = True
                broker.take_over()
            case "repeated":
                broker.repeat()
            case "broker refuses":
                broker.weather.refuses = True
            case "broker hangs":
                broker.weather.hangs = True
                broker.cut("reset")
            case "broker answers late":
                broker.weather.answer_s = dice.between(0.5, 12)
            case "broker restarts" | "broker forgets" | "broker forgets subscriptions":
                broker.stop("orderly")
            case "broker killed":
                broker.stop("killed")
            case "store":
                self._store.mood = dice.pick(store.MOODS)
            case "store killed":
                self._store.kill()
            case "phone":
                self._phones.moods[dice.pick(("crew", "office"))] = dice.pick(phone.MOODS)
            case "disk full":
                self._disk.full = True
            case "disk sick":
                self._disk.sick = dice.pick((1, 1, 2, 5))
            case "operations away":
                self.operations_away = True
            case "clock jumps":
                self.jumped_ms = dice.pick((HOUR_MS, -HOUR_MS, dice.whole(-500, 500)))
            case "house stops":
                self._stop_house()

    def end(self, fault: Fault) -> None:
        """Let a fault end."""
        broker = self._broker
        match fault.name:
            case "broker refuses":
                broker.weather.refuses = False
            case "broker hangs":
                broker.weather.hangs = False
            case "broker answers late":
                broker.weather.answer_s = 0.0
            case "broker restarts" | "broker killed":
                broker.start()
            case "broker forgets":
                broker.start(forgets="session")
            case "broker forgets subscriptions":
                broker.start(forgets="subscription")
            case "store" | "store killed":
                self._store.mood = ""
            case "phone":
                self._phones.moods.clear()
            case "disk full":
                self._disk.full = False
            case "operations away":
                self.operations_away = False
            case "clock jumps":
                self.jumped_ms = 0

    def calm(self) -> None:
        """End everything that is still under way."""
        self._broker.weather.refuses = self._broker.weather.hangs = False
        self._broker.weather.answer_s = 0.0
        self._broker.start()
        self._store.mood = ""
        self._phones.moods.clear()
        self._disk.full, self._disk.sick = False, 0
        self.operations_away = False
        if self._dice.chance(0.5):  # otherwise it stays wrong, and all is to be well nevertheless
            self.jumped_ms = 0
        self._storm_until_s = 0.0

    def _storm(self) -> None:
        if self._loop.now_s < self._storm_until_s:
            self._broker.cut(self._dice.pick(("reset", "closed", "torn")))
            self._loop.call_later(self._dice.between(0.1, 1.5), self._storm)
