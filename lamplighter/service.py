"""Runs a house: recovers what a crash left, starts every task, and stops them in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from typing import TextIO

import structlog
import uvicorn

from api.app import create_app
from devices.yamlfile import ConfigError
from lamplighter import heap
from lamplighter.clock import real_clock
from lamplighter.losses import LOOK_S
from lamplighter.own_series import write_own_series
from lamplighter.policy_repeat import Repeater
from lamplighter.settings import Settings
from lamplighter.wiring import House, receivers_of
from storage.operations import AWAY, in_words

log = structlog.get_logger("house")

NOTIFY_PAUSE_S = 0.5  # how often the outbox is looked into when nothing was decided
NOTIFY_REST_S = 0.1  # and how soon again when something was
OUTBOX_RETRY_S = 5.0  # how often an outbox that refuses is asked again
GARBAGE = 50_000  # new objects between looks of the collector; a group of messages makes fewer
STOP_S = 10.0  # what each part of a stop may take before it is cut short


def run_service(settings: Settings) -> int:
    """Run until SIGINT or SIGTERM; return the exit status."""
    heap.settle()
    gc.disable()  # until the house stands: nothing that a start makes is garbage
    configure_logging(sys.stderr)
    try:
        return asyncio.run(_serve(settings))
    finally:
        gc.enable()


def configure_logging(stream: TextIO) -> None:
    """Send log lines to ``stream``: for people on a terminal, as JSON elsewhere."""
    shown: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if stream.isatty() else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            shown,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(stream),
    )


async def _serve(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # a house that starts reads everything anyway
    house = House(settings, real_clock())
    loop.add_signal_handler(signal.SIGHUP, house.reloader.ask)
    try:
        async with running(house) as port:
            gc.enable()
            log.info("watching", devices=len(house.registry), rules=len(house.rules.rules))
            url = f"http://{settings.api.host}:{port}/"
            log.info("open the console in a browser", url=url, token=_token(settings))
            await stop.wait()
            log.info("stopping")
    finally:
        house.close()
    return 0


def _token(settings: Settings) -> str:
    return "asked for: api.token of the settings" if settings.api.token else "none asked for"


@contextlib.asynccontextmanager
async def running(house: House) -> AsyncIterator[int]:
    """Run a house's tasks while the block runs; yields the port of API and console.

    A task that fails is a bad program: the block is cancelled and the error raised, for the supervisor to start anew.
    """
    door = _open_door(house.settings.api.host, house.settings.api.port)
    judged = await asyncio.to_thread(house.recover)
    # The house that stands now stays: the collector need not look at a large registry again and again, and groups of
    # messages are freed without it.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)
    if judged:
        log.info("recovered", records=judged)
    server = _Server(uvicorn.Config(create_app(house), log_config=None, access_log=False, timeout_graceful_shutdown=3))
    async with asyncio.TaskGroup() as group:
        web = group.create_task(server.serve(sockets=[door]), name="web")
        watch = group.create_task(house.watch.run(), name="watch")
        others = [
            group.create_task(house.session.run(), name="session"),
            group.create_task(house.shipper.run(), name="ship"),
            group.create_task(house.watch.readmission.run(), name="readmission"),
            group.create_task(_notify(house), name="notify"),
            group.create_task(Repeater(house, receivers_of(house.settings)).run(), name="repeat"),
            group.create_task(write_own_series(house), name="own series"),
            group.create_task(_losses(house), name="losses"),
            group.create_task(house.reloader.run(), name="reload"),
        ]
        try:
            yield int(door.getsockname()[1])
        finally:
            house.watch.stop()
            await _ended(watch)
            house.session.close()
            for task in others:
                task.cancel()
                await _ended(task)
            await house.notifier.close()
            house.hub.close()
            server.should_exit = True
            await _ended(web)


async def _ended(task: asyncio.Task[None]) -> None:
    """Wait for a task to end, and cut it short after STOP_S; the task group tells of its error."""
    await asyncio.wait({task}, timeout=STOP_S)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=STOP_S)


async def _notify(house: House) -> None:
    decided = house.watch.decided
    while True:
        decided.clear()
        try:
            await asyncio.to_thread(house.policy.round, house.now_ms())
            await house.notifier.deliver_due(house.now_ms())
            house.policy.tell()
            if house.policy.due_switch(house.now_ms()):
                await house.reloader.reload()
        except AWAY as trouble:
            log.warning("outbox refuses: notices wait in it", why=in_words(trouble), retry_in_s=OUTBOX_RETRY_S)
            await asyncio.sleep(OUTBOX_RETRY_S)
        else:
            await asyncio.sleep(NOTIFY_REST_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(decided.wait(), NOTIFY_PAUSE_S - NOTIFY_REST_S)


async def _losses(house: House) -> None:
    try:
        while True:
            house.losses.look()
            await asyncio.sleep(LOOK_S)
    finally:
        house.losses.save()


def _open_door(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as trouble:
        why = os.strerror(trouble.errno) if trouble.errno else str(trouble)  # its own text repeats the address
        raise ConfigError([f"api.port: cannot listen on {host}:{port}: {why}; choose another"]) from None


class _Server(uvicorn.Server):
    """The web server without signal handlers of its own: the house decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
