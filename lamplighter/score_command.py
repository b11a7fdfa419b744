"""`lamplighter rules score`: plays the rules over labelled faults in virtual time and writes their report card."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from ctypes import c_double
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from alerts.incidents import Incidents
from alerts.inhibition import load_inhibition
from alerts.rules import RuleSet, load_rules
from devices.kinds import Catalog, load_catalog
from devices.registry import Registry
from devices.sky import Sky
from devices.yamlfile import ConfigError
from lamplighter.output import make_console
from lamplighter.settings import Settings, shipped
from simulators.card.floors import load_floors
from simulators.card.page import page, rate, share
from simulators.card.pictures import pictures
from simulators.card.plan import ALL_FAMILIES, PLANS, SEEDS, Dealt, Files, Job, Stages, deal, has_course, jobs
from simulators.card.play import Stage
from simulators.card.report import Report, make_report

_shares: Any = None  # of each course, how much has been played: shared between the processes


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wants to know.

    Attributes:
        seeds: ``A`` or ``B``.
        plan: ``full`` or ``small``.
        families: which, empty for all that have a course.
        processes: how many play at a time.
        out: folder of the page, the figures and the plots; None to write nothing.
        baselines: play naive and random alerts beside the rules.
    """

    seeds: str
    plan: str
    families: tuple[str, ...]
    processes: int
    out: Path | None
    baselines: bool = True


def run_score(settings: Settings, asked: Asked) -> int:
    """Play, write the card, print what is below its floor; return the exit status, 1 where something is."""
    report = make(settings, asked, progress=True)
    console = make_console()
    show(console, report)
    if asked.out is not None:
        write(report, asked.out)
        console.print(f"written to {asked.out}/report-card.md and .json", markup=False, soft_wrap=True)
    return 1 if any(not miss.allowed for miss in report.card.misses) else 0


def make(settings: Settings, asked: Asked, *, progress: bool = False) -> Report:
    """Play the courses and work out the report. Raises ConfigError for what cannot be played."""
    strange = [name for name in asked.families if name not in ALL_FAMILIES]
    if strange:
        raise ConfigError([f"--family: expected one of {', '.join(ALL_FAMILIES)}; found '{strange[0]}'"])
    if asked.seeds not in SEEDS:
        raise ConfigError([f"--seeds: expected A or B; found '{asked.seeds}'"])
    catalog = load_catalog(*settings.kinds)
    rules, floors = load_rules(settings.rules, catalog), load_floors(shipped("floors.yaml"))
    wanted = asked.families or tuple(name for name in ALL_FAMILIES if has_course(name))
    small = asked.plan == "small"
    dealing = jobs(PLANS[asked.plan], asked.seeds, wanted, every_baseline=small)
    if not asked.baselines:
        dealing = [replace(one, baselines=False) for one in dealing]
    if not dealing:
        raise ConfigError([f"--family: no course is written for {', '.join(wanted) or 'any family'}"])
    begun = time.monotonic()
    dealt = play_all(settings, dealing, asked.processes, progress=progress)
    return make_report(
        dealt, rules, catalog, floors, seeds=asked.seeds, plan=asked.plan, machine=machine(),
        wall_s=time.monotonic() - begun, processes=min(asked.processes, len(dealing)),
    )  # fmt: skip


def play_all(settings: Settings, dealing: Sequence[Job], processes: int, *, progress: bool) -> list[Dealt]:
    """Play courses, one with its seed in each process, and show how far they are."""
    weights = [one.cost for one in dealing]
    with _bar(sum(weights), show=progress) as tell:
        if processes <= 1:
            out: list[Dealt] = []
            for number, job in enumerate(dealing):
                before, weight = sum(weights[:number]), weights[number]
                out.append(_play(settings, job, _Part(tell, before, weight)))
            return out
        context = multiprocessing.get_context("spawn")
        shares = context.Array(c_double, len(dealing), lock=False)
        with ProcessPoolExecutor(processes, context, _begin, (shares,)) as pool:
            waiting: set[Future[Dealt]] = {pool.submit(_work, settings, k, job) for k, job in enumerate(dealing)}
            futures = list(waiting)
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for one in done:
                    one.result()  # a course that cannot be played is told at once
                tell(sum(shares[k] * weight for k, weight in enumerate(weights)))
            return [one.result() for one in futures]


class _Part:
    """Tells how far one course of several has been played."""

    def __init__(self, tell: Any, before: float, weight: float) -> None:  # noqa: ANN401 - a bar, or nothing
        self._tell, self._before, self._weight = tell, before, weight

    def __call__(self, share: float) -> None:
        self._tell(self._before + share * self._weight)


def _begin(shares: Any) -> None:  # noqa: ANN401 - a shared array of ctypes
    global _shares  # noqa: PLW0603 - each process has its own
    _shares = shares


def _work(settings: Settings, number: int, job: Job) -> Dealt:
    def tell(share: float) -> None:
        _shares[number] = share

    dealt = _play(settings, job, tell)
    _shares[number] = 1.0
    return dealt


def _play(settings: Settings, job: Job, tell: Any) -> Dealt:  # noqa: ANN401 - one of two ways to tell
    catalog = load_catalog(*settings.kinds)
    files = Files(settings.rules, shipped("floors.yaml"), shipped("naive_rules.yaml"))
    return deal(job, files, catalog, time.process_time, stages(settings, catalog), tell)


def stages(settings: Settings, catalog: Catalog) -> Stages:
    """Return what makes the root-cause stage of the settings for a course."""
    inhibition = load_inhibition(getattr(settings, "inhibition", shipped("inhibition.yaml")), catalog)

    def make_stage(rules: RuleSet, registry: Registry, sky: Sky) -> Stage:
        return Incidents(rules, registry, inhibition, sky=sky)

    return make_stage


@contextmanager
def _bar(total: float, *, show: bool) -> Iterator[Any]:
    """Yield a function that is told how much has been played."""
    if not show:
        yield lambda _: None
        return
    columns = (TextColumn("playing"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    error = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=error, transient=True) as progress:
        task = progress.add_task("playing", total=total)
        yield lambda done: progress.update(task, completed=done)


def show(console: Console, report: Report) -> None:
    """Print the card in short: families, and what is below its floor."""
    table = Table("family", "faults", "recall", "precision", "false in 10,000 device-days", "incidents a fault")
    for one in [*report.card.families, report.card.total]:
        pieces = "–" if one.fragmentation is None else f"{one.fragmentation:.2f}"
        table.add_row(
            one.name, str(one.recall.of), share(one.recall), share(one.precision), rate(one.false_alarms), pieces
        )
    console.print(table)
    for miss in report.card.misses:
        reason = f" ({miss.reason})" if miss.reason else ""
        sign, style = ("known", "yellow") if miss.allowed else ("BELOW", "bold red")
        console.print(sign, style=style, end=" ")
        console.print(
            f"{miss.about}: {miss.figure} {miss.found:.3g}, floor {miss.floor:.3g}{reason}",
            markup=False,
            soft_wrap=True,
        )
    if not report.card.misses:
        console.print("every rule and every kind of fault reaches its floor", style="bold green")


def write(report: Report, folder: Path) -> None:
    """Write page, figures and plots."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "report-card.json").write_text(report.as_json(), encoding="utf-8")
    (folder / "report-card.md").write_text(page(report), encoding="utf-8")
    floors = load_floors(shipped("floors.yaml"))
    for name, svg in pictures(report.card, report.baselines, floors).items():
        (folder / "images" / name).write_text(svg, encoding="utf-8")


def machine() -> str:
    """Return processor, cores, kernel and Python in one line."""
    model = platform.processor() or "unknown processor"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{model}, {cores} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
