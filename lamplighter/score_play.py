"""Plays the courses of a report card, several processes at a time, tells how far they are, and keeps what is done."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from ctypes import c_double
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from alerts.incidents import Incidents
from alerts.inhibition import load_inhibition
from alerts.rules import RuleSet
from devices.kinds import Catalog, load_catalog
from devices.registry import Registry
from devices.sky import Sky
from lamplighter.settings import Settings
from simulators.card.kept import keep, kept
from simulators.card.plan import Dealt, Files, Job, Stages, deal
from simulators.card.play import Stage

LINE_S = 60.0  # between two lines about the progress where there is no terminal
SURE_S = 5.0  # before so much has been played nothing is said of the time that is left
Tell = Callable[[float], None]

_shares: Any = None  # of each course, how much has been played: shared between the processes


def play_all(
    settings: Settings,
    files: Files,
    dealing: Sequence[Job],
    processes: int,
    *,
    progress: bool,
    folder: Path | None = None,
) -> list[Dealt]:
    """Play courses, one with its seed in each process, and show how far they are.

    Args:
        settings: kinds, inhibition matrix.
        files: rules and floors.
        dealing: courses; those that ``folder`` holds already are not played again.
        processes: at a time.
        progress: whether to show it.
        folder: where finished courses are kept; None to keep none.
    """
    found = {k: one for k, job in enumerate(dealing) if folder is not None and (one := kept(folder, job)) is not None}
    left = [k for k in range(len(dealing)) if k not in found]
    before = sum(dealing[k].cost for k in found)
    with _bar(sum(job.cost for job in dealing), before, len(dealing), show=progress) as tell:
        if processes <= 1 or len(left) <= 1:
            done = before
            for k in left:
                found[k] = _play(settings, files, dealing[k], _part(tell, done, dealing[k].cost))
                done += dealing[k].cost
                _keep(folder, found[k])
        elif left:
            _play_together(settings, files, dealing, left, processes, found, folder, tell)
    return [found[k] for k in range(len(dealing))]


def _play_together(
    settings: Settings, files: Files, dealing: Sequence[Job], left: Sequence[int], processes: int,
    found: dict[int, Dealt], folder: Path | None, tell: Tell,
) -> None:  # fmt: skip
    context = multiprocessing.get_context("spawn")
    shares = context.Array(c_double, len(dealing), lock=False)
    for k in found:
        shares[k] = 1.0
    with ProcessPoolExecutor(processes, context, _begin, (shares,)) as pool:
        try:
            number = {pool.submit(_work, settings, files, k, dealing[k]): k for k in left}
            waiting: set[Future[Dealt]] = set(number)
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for one in done:
                    found[number[one]] = one.result()  # a course that cannot be played is told at once
                    _keep(folder, one.result())
                tell(sum(shares[k] * job.cost for k, job in enumerate(dealing)))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _keep(folder: Path | None, dealt: Dealt) -> None:
    if folder is not None:
        keep(folder, dealt)


def _part(tell: Tell, before: float, weight: float) -> Tell:
    """Return what tells how far one course of several has been played."""
    return lambda share: tell(before + share * weight)


def _begin(shares: Any) -> None:  # noqa: ANN401 - a shared array of ctypes
    global _shares  # noqa: PLW0603 - each process has its own
    _shares = shares


def _work(settings: Settings, files: Files, number: int, job: Job) -> Dealt:
    def tell(share: float) -> None:
        _shares[number] = share

    dealt = _play(settings, files, job, tell)
    _shares[number] = 1.0
    return dealt


def _play(settings: Settings, files: Files, job: Job, tell: Tell) -> Dealt:
    catalog = load_catalog(*settings.kinds)
    return deal(job, files, catalog, time.process_time, stages(settings, catalog), tell)


def stages(settings: Settings, catalog: Catalog) -> Stages:
    """Return what makes the root-cause stage of the settings for a course."""
    inhibition = load_inhibition(settings.inhibition, catalog)

    def make_stage(rules: RuleSet, registry: Registry, sky: Sky) -> Stage:
        return Incidents(rules, registry, inhibition, sky=sky)

    return make_stage


@contextmanager
def _bar(total: float, before: float, courses: int, *, show: bool) -> Iterator[Tell]:
    """Yield a function that is told how much has been played, and shows it: a bar, or a line now and then in a log."""
    if not show:
        yield lambda _: None
        return
    begun, error = time.monotonic(), Console(stderr=True)
    words = f"playing {courses} course{'s' if courses != 1 else ''}"
    if not error.is_terminal:
        yield _lines(error, words, total, before, begun)
        return
    columns = (TextColumn(words), BarColumn(), TextColumn("{task.percentage:>3.0f} %  {task.fields[words]}"))
    with Progress(*columns, console=error, transient=True) as progress:
        task = progress.add_task("", total=total, words="")
        progress.update(task, completed=before)

        def tell(done: float) -> None:
            text = left_words(total, before, done, time.monotonic() - begun)
            progress.update(task, completed=done, words=text)

        yield tell


def _lines(error: Console, words: str, total: float, before: float, begun: float) -> Tell:
    last = begun

    def tell(done: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_S:
            last = now
            error.print(f"{words}: {done / total:.0%}, {left_words(total, before, done, now - begun)}", soft_wrap=True)

    return tell


def left_words(total: float, before: float, done: float, elapsed_s: float) -> str:
    """Return how long it has taken and about how long it will take yet, in words.

    Args:
        total, before, done: work in all, that was done by an earlier call, and that is done now.
        elapsed_s: since this call began.
    """
    said = f"{_span(elapsed_s)} so far"
    if done - before <= 0 or elapsed_s < SURE_S:
        return said
    return f"{said}, about {_span(elapsed_s / (done - before) * max(0.0, total - done))} left"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
