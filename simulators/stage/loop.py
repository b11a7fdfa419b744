"""An asyncio event loop whose time is virtual: nobody waits, time jumps to the next timer.

The unmodified program runs on it. There are no sockets (connections are made to the staged network) and no threads
that run beside the loop: what goes to a thread runs at a drawn moment and its result arrives at a later one, so that
interleavings vary from seed to seed and repeat with it.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection
from typing import Any, Protocol

from simulators.stage import workers
from simulators.stage.dice import Dice

PAUSING = 0.15  # share of the calls that may pause and do so although nothing is slow


MOMENT_S = 1e-9  # sums of times are equal when they differ by less


class Network(Protocol):
    """Where connections lead."""

    async def connect(self, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
        """Return a transport with ``protocol`` at this end of it. Raises OSError."""


class StillError(RuntimeError):
    """Nothing is left that could ever happen."""


class _Jumps:
    """In a selector's place: instead of waiting, moves the time on."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise StillError("every task waits for something that never comes")
        if timeout > 0:
            self._loop.now_s += timeout
        return []

    def close(self) -> None:
        return


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module.

    Args:
        dice: where delays of threads are drawn.
        slow_calls: names of functions that may pause in the middle (see workers.pause).

    Attributes:
        now_s: virtual seconds since the rehearsal began.
        dead: the process has ended: nothing that it still does has an effect.
        life: number of the process; what an earlier one had begun never happens.
        network: where connections lead.
        slowness: says whether calls that may pause certainly do just now; otherwise some do and some do not.
        troubles: what the loop's exception handler was told.
    """

    slowness: Callable[[], bool]
    _selector: _Jumps
    _clock_resolution: float

    def __init__(self, dice: Dice, slow_calls: Collection[str] = ()) -> None:
        super().__init__()
        self.now_s = 0.0
        self.dead = False
        self.life = 0
        self.network: Network | None = None
        self.troubles: list[str] = []
        self._dice = dice
        self._slow_calls = frozenset(slow_calls)
        self._paused: dict[workers.Worker, asyncio.Future[Any]] = {}
        self._living: dict[asyncio.Task[Any], None] = {}
        self.slowness = lambda: False
        self._selector = _Jumps(self)
        self._clock_resolution = MOMENT_S
        self.set_task_factory(self._task)
        self.set_exception_handler(self._note_trouble)

    # What asyncio asks of a loop.

    def time(self) -> float:
        """Return virtual seconds."""
        return self.now_s

    def _process_events(self, event_list: list[Any]) -> None:  # noqa: ARG002 - there are never any
        return

    def _write_to_self(self) -> None:
        return

    async def create_connection(  # type: ignore[override]  # the stage needs no more of it
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str = "",
        port: int = 0,
        **_: object,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect to the staged network."""
        del host, port
        if self.network is None or self.dead:
            raise ConnectionRefusedError("there is no network")
        protocol = protocol_factory()
        return await self.network.connect(protocol), protocol

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: object) -> asyncio.Future[Any]:
        """Run a function at a drawn moment and deliver its result at a later one."""
        del executor
        future: asyncio.Future[Any] = self.create_future()
        job = functools.partial(func, *args)
        if not self.dead:
            slow = _name(job) in self._slow_calls
            begin = self._begin_slow if slow and self._takes_time() else self._do_at_once
            if slow and begin == self._do_at_once:
                job = functools.partial(workers.at_once, job)
            self.call_later(self._dice.lag_s(), begin, self.life, job, future)
        return future

    # What the stage asks.

    def start_thread(self, target: Callable[[], object]) -> None:
        """Run ``target`` as a thread of its own, which may pause."""
        if self.dead:
            return
        future: asyncio.Future[Any] = self.create_future()
        if self._takes_time():
            self.call_later(self._dice.lag_s(), self._begin_slow, self.life, target, future)
        else:
            job = functools.partial(workers.at_once, target)
            self.call_later(self._dice.lag_s(), self._do_at_once, self.life, job, future)

    def live(self) -> None:
        """Let a new process begin."""
        self.dead = False
        self.life += 1

    def kill(self) -> None:
        """End the process: threads that pause end there, tasks are cancelled and their last words go unheard."""
        self.dead = True
        for worker in list(self._paused):
            worker.kill()
            workers.dismiss(worker)
        self._paused.clear()
        for _ in range(20):
            tasks = [task for task in self._living if not task.done()]
            self._living = dict.fromkeys(tasks)
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            self.call_soon(self.stop)
            self.run_forever()
        raise AssertionError(f"tasks that cannot be cancelled: {[task.get_name() for task in self._living]}")

    def run_to(self, until_s: float) -> None:
        """Run until a moment."""
        self.call_at(until_s, self.stop)
        while self.now_s < until_s - MOMENT_S:
            self.run_forever()

    # Threads.

    def _do_at_once(self, life: int, job: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        if self.dead or life != self.life:
            return
        try:
            result, trouble = job(), None
        except BaseException as caught:  # noqa: BLE001 - handed to whoever waits for it
            result, trouble = None, caught
        self.call_later(self._dice.lag_s(), _deliver, future, result, trouble)

    def _begin_slow(self, life: int, job: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        if self.dead or life != self.life:
            return
        worker = workers.hire()
        self._after(worker, future, worker.begin(job))

    def _go_on(self, worker: workers.Worker, future: asyncio.Future[Any]) -> None:
        if self._paused.get(worker) is future:  # not what a worker did in an earlier life
            del self._paused[worker]
            self._after(worker, future, worker.go_on())

    def _after(self, worker: workers.Worker, future: asyncio.Future[Any], pause_s: float | None) -> None:
        if pause_s is None:
            result, trouble = worker.result, worker.trouble
            workers.dismiss(worker)
            self.call_later(self._dice.lag_s(), _deliver, future, result, trouble)
            return
        self._paused[worker] = future
        self.call_later(pause_s, self._go_on, worker, future)

    def _takes_time(self) -> bool:
        return self._dice.chance(PAUSING) or self.slowness()

    def _task(self, loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:  # noqa: ANN401
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **more)
        self._living[task] = None
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._living.pop(task, None)

    def _note_trouble(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        del loop
        if not self.dead:
            self.troubles.append(f"{context.get('message')}: {context.get('exception')!r}")


def _deliver(future: asyncio.Future[Any], result: object, trouble: BaseException | None) -> None:
    if future.done():
        return
    if trouble is None:
        future.set_result(result)
    else:
        future.set_exception(trouble)
        future.exception()  # nobody may be waiting any more


def _name(job: functools.partial[Any]) -> str:
    """Return the name of what asyncio.to_thread was given: it wraps it in the context's run."""
    inner: Any = job
    while isinstance(inner, functools.partial):
        wrapped = getattr(inner.func, "__name__", "") == "run" and inner.args
        inner = inner.args[0] if wrapped else inner.func
    return str(getattr(inner, "__name__", ""))
