"""``lamplighter run`` as a child that starts in a moment, so that one test can live through many lives.

The modules are imported once, in a nursery; each life is a process of its own, which ``crash_at`` may kill.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real import crash_at
from tests.real.service import Service


class Nursery:
    """The process from which lives are forked; it ends them when it ends, and ends when the tests do."""

    def __init__(self) -> None:
        program = [sys.executable, str(Path(crash_at.__file__)), "--nursery"]
        self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **what: Any) -> Any:  # noqa: ANN401 - whatever the answer holds
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Give the process from which the run's houses are forked."""
    one = Nursery()
    yield one
    one.close()


class ForkedHouse(Service):
    """A Service whose lives come from a nursery, with a file that arms the next kill."""

    look_s = 0.02
    nursery: Nursery
    pid = 0
    ended: int | None = None

    @property
    def alive(self) -> bool:
        if self.pid and self.ended is None:
            self.ended = self.nursery.ask(poll=self.pid)
        return self.pid != 0 and self.ended is None

    @property
    def armed(self) -> Path:
        """The file that says at which step the present life is killed."""
        return self.folder / "armed"

    def start(self) -> None:
        assert not self.alive
        self.armed.unlink(missing_ok=True)
        words = ["run", "-c", str(self.config)]
        self.ended = None
        self.pid = self.nursery.ask(words=words, log=str(self.folder / "log"), armed=str(self.armed))

    def get(self, path: str) -> bytes:
        assert self.pid == 0 or self.alive, self.log[-3000:]
        return super().get(path)

    def arm(self, point: str) -> None:
        """Have the present life killed at ``point`` (``STEP.before:N``), counted from the next message on."""
        draft = self.armed.with_suffix(".draft")
        draft.write_text(point)
        draft.rename(self.armed)

    def killed(self, within_s: float = 20) -> None:
        """Wait until the present life was killed, as it was armed to be."""
        eventually(lambda: not self.alive, within_s, "it lives on")
        assert self.ended == -signal.SIGKILL, (self.ended, self.log[-3000:])

    def kill(self, number: signal.Signals) -> None:
        assert self.alive, self.log[-3000:]
        os.kill(self.pid, number)
        eventually(lambda: not self.alive, 30, "it does not end")

    def close(self) -> None:
        if self.alive:
            self.kill(signal.SIGKILL)


def eventually(check: Any, within_s: float = 20, says: str = "") -> None:  # noqa: ANN401 - any question without arguments
    """Ask until the answer is yes."""
    until = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < until, says or "it did not come to that"
        time.sleep(0.02)
