"""Rehearsals by the thousand: on all cores, with progress, and for each that fails the one command that repeats it."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lamplighter.rehearsal.play import Outcome, rehearse

CHUNK = 10  # seeds handed to a process at once
SHOWN = 20  # failures told in full
TOLD_EVERY = 500  # seeds, where nobody watches the bar
LONGEST = 3000  # letters of one failure


def run_one(seed: int, *, verbose: bool) -> int:
    """Play one seed and tell how it went; return the exit status."""
    outcome = rehearse(seed, typer.echo if verbose else None, log=verbose)
    counted = ", ".join(f"{number} {name}" for name, number in outcome.counts.items())
    typer.echo(
        f"seed {seed}: {outcome.lives} lives in {outcome.virtual_s:.1f} virtual s, {counted}; "
        f"well {outcome.well_after_s:.1f} s after the last fault; trace {outcome.digest} of {outcome.events} events"
    )
    if outcome.failures:
        typer.echo(_told(outcome))
    return 1 if outcome.failures else 0


def run_many(first: int, count: int, jobs: int) -> int:
    """Play ``count`` seeds from ``first`` on; return the exit status."""
    jobs = jobs or os.cpu_count() or 1
    console = Console()
    began, sums = time.monotonic(), Counter[str]()
    failed: list[int] = []
    columns = (
        TextColumn("rehearsing"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=count, rate="")
        for done, outcome in enumerate(_played(range(first, first + count), jobs), start=1):
            sums.update(outcome.counts, lives=outcome.lives)
            rate = f"{done / (time.monotonic() - began):.1f} seeds/s, {len(failed)} failed"
            progress.update(task, advance=1, rate=rate)
            if not console.is_terminal and done % TOLD_EVERY == 0:
                typer.echo(f"{done:,} of {count:,} seeds, {rate}")
            if outcome.failures:
                failed.append(outcome.seed)
                if len(failed) <= SHOWN:
                    console.print(_told(outcome), markup=False, highlight=False, soft_wrap=True)
    took_s = time.monotonic() - began
    counted = ", ".join(f"{number} {name}" for name, number in sorted(sums.items()))
    typer.echo(
        f"{count} seeds from {first} on, {len(failed)} failed, in {took_s:.0f} s ({count / took_s:.1f} a second, "
        f"{jobs} processes; {_machine()}): {counted}"
    )
    if failed:
        typer.echo(f"failed: {' '.join(map(str, sorted(failed)))}; repeat one with: make rehearse SEED={min(failed)}")
    return 1 if failed else 0


def _played(seeds: Sequence[int], jobs: int) -> Iterator[Outcome]:
    """Yield outcomes as they come."""
    chunks = iter([seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)])
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting: set[Future[list[Outcome]]] = {pool.submit(_play, chunk) for chunk in islice(chunks, 2 * jobs)}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            waiting |= {pool.submit(_play, chunk) for chunk in islice(chunks, len(done))}
            for future in done:
                yield from future.result()


def _play(seeds: Sequence[int]) -> list[Outcome]:
    return [_safely(seed) for seed in seeds]


def _safely(seed: int) -> Outcome:
    try:
        return rehearse(seed)
    except Exception:  # noqa: BLE001 - a stage that breaks is a failed seed, and the others are played
        return Outcome(seed, [f"the stage broke: {traceback.format_exc()}"])


def _told(outcome: Outcome) -> str:
    words = "\n  ".join(sentence[:LONGEST] for sentence in outcome.failures)
    return f"seed {outcome.seed} FAILED:\n  {words}\n  repeat it with: make rehearse SEED={outcome.seed}"


def _machine() -> str:
    """Return what the processor calls itself, and how many cores there are."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model n")]
        model = names[0] if names else model
    return f"{os.cpu_count()} × {model}, Python {platform.python_version()}"
