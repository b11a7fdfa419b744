"""Worker threads of which one at a time runs, and only while the loop waits for it: threads without their chance.

A blocking call on the stage does not block: it hands the baton back and says how long it takes, in virtual time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class KilledError(BaseException):
    """The process has ended while this thread waited; no handler of the program's own catches it."""


class Worker:
    """One thread with a baton.

    Attributes:
        result, trouble: what the job returned or raised, once it is done.
    """

    def __init__(self) -> None:
        self.result: Any = None
        self.trouble: BaseException | None = None
        self._job: Callable[[], Any] | None = None
        self._pause_s: float | None = None
        self._killed = False
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        threading.Thread(target=self._run, name="stage-worker", daemon=True).start()

    def begin(self, job: Callable[[], Any]) -> float | None:
        """Start a job; return for how many seconds it pauses, or None when it is done."""
        self._job, self._killed, self.result, self.trouble = job, False, None, None
        return self.go_on()

    def go_on(self) -> float | None:
        """Let the job run on to its next pause or its end."""
        self._go.release()
        self._back.acquire()
        return self._pause_s

    def kill(self) -> None:
        """End a job that pauses."""
        self._killed = True
        while self.go_on() is not None:
            pass

    def pause(self, seconds: float) -> None:
        """Called by the job: let this much virtual time pass."""
        self._hand_back(seconds)
        if self._killed:
            raise KilledError

    def _hand_back(self, pause_s: float | None) -> None:
        self._pause_s = pause_s
        self._back.release()
        self._go.acquire()

    def _run(self) -> None:
        _here.worker = self
        self._go.acquire()
        while True:
            job, self._job = self._job, None
            assert job is not None  # noqa: S101 - the baton comes with a job
            try:
                self.result = job()
            except BaseException as trouble:  # noqa: BLE001 - handed to whoever waits for the job
                self.trouble = trouble
            del job
            self._hand_back(None)


_here = threading.local()
_resting: list[Worker] = []


def hire() -> Worker:
    """Return a worker that rests, or a new one."""
    return _resting.pop() if _resting else Worker()


def dismiss(worker: Worker) -> None:
    """Let a worker whose job is done rest until the next."""
    worker.result = worker.trouble = None
    _resting.append(worker)


def at_once(job: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the job returns
    """Run a job here and now; its pauses take no time. Handing the baton to and fro is what costs most."""
    _here.hurries = True
    try:
        return job()
    finally:
        _here.hurries = False


def pause(seconds: float) -> None:
    """Let virtual time pass inside a blocking call. Raises AssertionError in a thread that is not the stage's."""
    worker: Worker | None = getattr(_here, "worker", None)
    if worker is not None:
        worker.pause(seconds)
    elif not getattr(_here, "hurries", False):
        raise AssertionError("a call that pauses is not among the loop's slow calls")
