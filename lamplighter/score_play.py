"""Plays the courses of a report card, several processes at a time, tells how far they are, and keeps what is done."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from ctypes import c_double
from pathlib import Path
from typing import Any

from alerts.incidents import Incidents
from alerts.inhibition import load_inhibition
from alerts.rules import RuleSet
from devices.kinds import Catalog, load_catalog
from devices.registry import Registry
from devices.sky import Sky
from lamplighter.progress import Tell
from lamplighter.progress import progress as shown_progress
from lamplighter.settings import Settings
from simulators.card.kept import keep, kept
from simulators.card.plan import Dealt, Files, Job, Stages, deal
from simulators.card.play import Stage

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
    words = f"playing {len(dealing)} course{'s' if len(dealing) != 1 else ''}"
    with shown_progress(words, sum(job.cost for job in dealing), before, show=progress) as tell:
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
