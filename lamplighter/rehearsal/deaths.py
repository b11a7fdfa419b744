"""Deaths beside the house's own steps: which step, before or after, and what the stage has to see of the house."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from lamplighter.rehearsal.faults import Crash
from lamplighter.wiring import House

if TYPE_CHECKING:
    from lamplighter.rehearsal.play import Rehearsal

OWN_STEPS = ("os.", "database.")  # crashes that the stage brings about itself


class CrashError(BaseException):
    """The end of a life at a chosen step; no handler of the program's own catches it."""


class Deaths:
    """Waits beside the steps of each life for the crashes that were drawn.

    Attributes:
        crashes: those still to come.
    """

    def __init__(self, play: Rehearsal, crashes: Sequence[Crash]) -> None:
        self._play = play
        self.crashes = list(crashes)

    def instrument(self, house: House) -> None:
        """Let crashes happen beside the house's steps, and its operations database be away."""
        steps = {crash.step for crash in self.crashes if crash.step and not crash.step.startswith(OWN_STEPS)}
        for step in sorted(steps):
            name, method = step.split(".")
            part: Any = house.watch.sieve if name == "sieve" else getattr(house, name)
            setattr(part, method, self._wrapped(step, getattr(part, method)))
        self._keep_released(house)
        database: Any = house.operations._database  # noqa: SLF001 - the one place where a statement meets the file
        whole = database.writing

        @contextmanager
        def writing() -> Iterator[Connection]:
            if self._play.mischief.operations_away:
                raise OperationalError("staged", None, Exception("database or disk is full"))
            self._may_crash("database.writing", after=False)
            with whole() as connection:
                yield connection
            self._may_crash("database.writing", after=True)

        database.writing = writing

    def _keep_released(self, house: House) -> None:
        journal: Any = house.journal
        whole = journal.release

        def release(before: int) -> None:
            if journal.start < before:
                for position, record in journal.read(journal.start):
                    if position > before:
                        break
                    self._play.released[position] = record
            whole(before)

        journal.release = release

    def _wrapped(self, step: str, whole: Callable[..., Any]) -> Callable[..., Any]:
        if asyncio.iscoroutinefunction(whole):

            @functools.wraps(whole)
            async def around_later(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the step takes
                self._may_crash(step, after=False)
                result = await whole(*args, **kwargs)
                self._may_crash(step, after=True)
                return result

            return around_later

        @functools.wraps(whole)
        def around(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            self._may_crash(step, after=False)
            result = whole(*args, **kwargs)
            self._may_crash(step, after=True)
            return result

        return around

    def disk_step(self, step: str) -> None:
        """Let a crash happen beside what the disk does."""
        self._may_crash(step, after=True)
        self._may_crash(step, after=False)

    def _may_crash(self, step: str, *, after: bool) -> None:
        now_s = self._play.loop.now_s
        if self._play.loop.dead or now_s >= self._play.calm_s:
            return
        for crash in self.crashes:
            if crash.step == step and crash.after is after and crash.at_s <= now_s:
                crash.spared -= 1
                if crash.spared < 0:
                    self.crashes.remove(crash)
                    self._play.die(str(crash), min(crash.down_s, max(0.1, self._play.calm_s - now_s)), crash.power_cut)
                    raise CrashError
