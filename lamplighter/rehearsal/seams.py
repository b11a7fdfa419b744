"""Where the stage meets the house: the few names in its modules that stand for the world outside, and nothing else.

The house itself is not changed. Its disk is ``os`` in the modules that write the journal and snapshots, its store is
what ``make_store`` returns, its phones are what ``send`` does, its threads and its web server are the stage's.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import structlog
from sqlalchemy import URL, Engine, create_engine

from alerts import delivery
from alerts.delivery import Receiver, failure, key_of
from alerts.rules import RuleSet, load_rules
from devices.kinds import Catalog, load_catalog
from devices.transition import Transition
from lamplighter import service, wiring
from simulators.stage.disk import StagedDisk
from simulators.stage.loop import VirtualLoop
from simulators.stage.phone import StagedPhones
from simulators.stage.store import StagedStore
from storage import arrayfile, database, journal, journal_disk, recovery, segments, shipper
from storage.shipper import wait_s


@functools.cache
def catalog_once() -> Catalog:
    """Return the shipped kinds, read once a process: reading YAML would be most of a rehearsal's time."""
    return load_catalog()


@functools.cache
def rules_once(path: Path) -> RuleSet:
    """Return a file's rules, read once a process."""
    return load_rules(path, catalog_once())


def engine_once(url: URL, **options: Any) -> Engine:  # noqa: ANN401 - as create_engine takes them
    """Return an engine that shares its compiled statements with all others of the process.

    Compiling them anew in every life would be a quarter of a rehearsal's time.
    """
    made: Any = create_engine(url, **options)
    first = _engines.setdefault("first", made)
    made.dialect = made.pool._dialect = first.dialect  # noqa: SLF001 - statements are kept by dialect
    made._compiled_cache = first._compiled_cache  # noqa: SLF001
    engine: Engine = made
    return engine


_engines: dict[str, Any] = {}


@contextmanager
def on_stage(
    loop: VirtualLoop, disk: StagedDisk, store: StagedStore, phones: StagedPhones, life: Callable[[], int], *, log: bool
) -> Iterator[None]:
    """Put the stage in the world's place while the block runs."""

    def send(receiver: Receiver, notice: Transition, _now_ms: int) -> None:
        key = key_of(notice, receiver)
        status = phones.ring(receiver.name, key, notice.alert_id, notice.state, life(), loop.now_s)
        if status != 200:
            raise failure([f"Failed to send JSON POST notification: staged, error={status}."])

    def thread(target: Callable[[], object], **_: object) -> SimpleNamespace:
        return SimpleNamespace(start=lambda: loop.start_thread(target))

    places: list[tuple[Any, Mapping[str, Any]]] = [
        (journal, {"os": disk}),
        (journal_disk, {"os": disk}),
        (segments, {"os": disk}),
        (arrayfile, {"os": disk}),
        (recovery, {"os": disk}),
        (database, {"create_engine": engine_once}),
        (shipper, {"wait_s": lambda attempt, asked_s, _: wait_s(attempt, asked_s, "stage")}),  # not the folder's name
        (delivery, {"send": send, "threading": SimpleNamespace(Thread=thread)}),
        (
            wiring,
            {
                "load_catalog": lambda *_: catalog_once(),
                "load_rules": lambda path, _: rules_once(path),
                "make_store": lambda *_: store,
            },
        ),
        (
            service,
            {
                "_open_door": lambda *_: SimpleNamespace(getsockname=lambda: ("", 0)),
                "_Server": _NoServer,
                "create_app": lambda _: None,
                "uvicorn": SimpleNamespace(Config=lambda *_, **__: None),
                "gc": SimpleNamespace(collect=_nothing, freeze=_nothing, set_threshold=_nothing),
            },
        ),
    ]
    with ExitStack() as undo:
        for module, names in places:
            for name, stand_in in names.items():
                undo.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, stand_in)
        if not log:
            undo.callback(structlog.configure, **structlog.get_config())
            quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
            structlog.configure(wrapper_class=quiet, logger_factory=structlog.ReturnLoggerFactory())
        yield


class _NoServer:
    """In the web server's place: serves nobody until it should end."""

    def __init__(self, config: object) -> None:
        del config
        self._end = asyncio.Event()

    async def serve(self, sockets: object) -> None:
        """Wait for the end."""
        del sockets
        await self._end.wait()

    @property
    def should_exit(self) -> bool:
        """Return whether it is to end."""
        return self._end.is_set()

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if value:
            self._end.set()


def _nothing(*_: object) -> None:
    return
