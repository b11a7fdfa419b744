"""`lamplighter rules score`: plays the rules over labelled faults in virtual time and writes their report card."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from alerts.rules import RuleSet, load_rules, read_rules
from devices.kinds import load_catalog
from devices.yamlfile import ConfigError
from lamplighter.output import make_console
from lamplighter.score_play import play_all
from lamplighter.settings import Settings, shipped
from simulators.card.card import Miss
from simulators.card.floors import load_floors
from simulators.card.gains import Against
from simulators.card.kept import key_of
from simulators.card.page import page, rate, share
from simulators.card.page_gains import gain_cells
from simulators.card.page_words import Words
from simulators.card.pictures import pictures, told_s
from simulators.card.plan import ALL_FAMILIES, PLANS, SEEDS, Files, Job, has_course, jobs
from simulators.card.report import Report, make_report
from simulators.faults import KINDS
from simulators.own_faults import declare, load_own_faults

KEPT = "score"  # folder within the data folder, for courses of a card that is not finished


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wants to know.

    Attributes:
        seeds: ``A`` or ``B``.
        plan: ``full``, ``medium`` or ``small``.
        families: which, empty for all that have a course.
        processes: how many play at a time.
        out: folder of the page, the figures and the plots; None to write nothing.
        baselines: play naive and random alerts beside the rules.
        rules: the rules to score; None for those of the settings.
        against: rules to compare them with on the same courses; None for none.
        faults: file of faults of one's own, laid over the courses; None for none.
        keep: finished courses of a full card are kept until the card is written.
    """

    seeds: str
    plan: str
    families: tuple[str, ...]
    processes: int
    out: Path | None
    baselines: bool = True
    rules: Path | None = None
    against: Path | None = None
    faults: Path | None = None
    keep: bool = False


def run_score(settings: Settings, asked: Asked) -> int:
    """Play, write the card, print what is below its floor; return the exit status, 1 where something is."""
    if asked.plan == "full":
        told = "the full card takes hours (--medium takes minutes); broken off, the same command goes on where it was"
        Console(stderr=True, highlight=False).print(told, soft_wrap=True)
    report = make(settings, asked, progress=True)
    console = make_console()
    show(console, report)
    if report.against is not None:
        show_against(console, report.against)
    if asked.out is not None:
        write(report, asked.out)
        console.print(f"written to {asked.out}: report-card.md, .zh.md, .json, plots", markup=False, soft_wrap=True)
    return 1 if any(not miss.allowed for miss in report.card.misses) else 0


def make(settings: Settings, asked: Asked, *, progress: bool = False) -> Report:
    """Play the courses and work out the report. Raises ConfigError for what cannot be played."""
    strange = [name for name in asked.families if name not in ALL_FAMILIES]
    if strange:
        raise ConfigError([f"--family: expected one of {', '.join(ALL_FAMILIES)}; found '{strange[0]}'"])
    if asked.seeds not in SEEDS:
        raise ConfigError([f"--seeds: expected A or B; found '{asked.seeds}'"])
    catalog = load_catalog(*settings.kinds)
    named = (shipped("floors.yaml"), shipped("naive_rules.yaml"), asked.against, asked.faults)
    files = Files(asked.rules or settings.rules, *named)
    if files.faults is not None:
        declare(load_own_faults(files.faults, catalog))
    rules, floors = load_rules(files.rules, catalog), load_floors(files.floors)
    other = None if files.against is None else load_rules(files.against, catalog)
    known_kinds([(files.rules, rules), *([(files.against, other)] if files.against and other else [])])
    wanted = asked.families or tuple(name for name in ALL_FAMILIES if has_course(name))
    small = asked.plan == "small"
    dealing = jobs(PLANS[asked.plan], asked.seeds, wanted, every_baseline=small)
    if not asked.baselines:
        dealing = [replace(one, baselines=False) for one in dealing]
    if not dealing:
        raise ConfigError([f"--family: no course is written for {', '.join(wanted) or 'any family'}"])
    begun = time.monotonic()
    folder = kept_in(settings, files, dealing) if asked.keep and asked.plan == "full" else None
    try:
        dealt = play_all(settings, files, dealing, asked.processes, progress=progress, folder=folder)
    except KeyboardInterrupt:
        done = len(list(folder.glob("*.json"))) if folder is not None else 0
        if done:
            told = f"{done} of {len(dealing)} courses are kept in {folder}; the same command goes on from there"
            Console(stderr=True, highlight=False).print(told, markup=False, soft_wrap=True)
        raise
    report = make_report(
        dealt, rules, catalog, floors, seeds=asked.seeds, plan=asked.plan, machine=machine(),
        wall_s=time.monotonic() - begun, processes=min(asked.processes, len(dealing)),
        against=None if other is None else (named_as(files.against), other),
    )  # fmt: skip
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    return report


def named_as(path: Path | None) -> str:
    """Return what people call a rules file: ``shipped``, or its path as they wrote it."""
    return "shipped" if path == shipped("rules.yaml") else str(path)


def kept_in(settings: Settings, files: Files, dealing: Sequence[Job]) -> Path:
    """Return the folder of the finished courses of this very card: same plan, rules, floors and code."""
    read = [one for one in (files.rules, files.against) if one is not None]
    others = [one for one in (files.faults, settings.inhibition, files.floors, files.naive) if one is not None]
    key = key_of(dealing, others, [read_rules(one)[1] for one in read])
    return settings.data / KEPT / key


def known_kinds(rule_sets: Sequence[tuple[Path, RuleSet]]) -> None:
    """Raise ConfigError where a rule finds a kind of fault that the simulators do not know."""
    problems = [
        f"{path}: rule '{rule.id}': finds: no kind of fault '{kind}'; known: {', '.join(sorted(KINDS))}"
        for path, rules in rule_sets
        for rule in rules
        for kind in rule.finds
        if kind not in KINDS or KINDS[kind].confounder
    ]
    if problems:
        raise ConfigError(problems)


def show(console: Console, report: Report) -> None:
    """Print the card in short: families, and what is below its floor."""
    table = Table("family", "faults", "recall", "precision", "false in 10,000 device-days", "incidents a fault")
    for one in [*report.card.families, report.card.total]:
        pieces = "–" if one.fragmentation is None else f"{one.fragmentation:.2f}"
        table.add_row(
            one.name, str(one.recall.of), share(one.recall), share(one.precision), rate(one.false_alarms), pieces
        )
    console.print(table)
    mute = {f"kind {kind}" for kind in report.made.mute}
    if mute:
        told = f"none of these rules may say: {', '.join(report.made.mute)}"
        console.print("BELOW", style="bold red", end=" ")
        console.print(told, markup=False, soft_wrap=True)
    for miss in report.card.misses:
        if miss.about in mute:
            continue
        reason = f" ({miss.reason})" if miss.reason else ""
        sign, style = ("known", "yellow") if miss.allowed else ("BELOW", "bold red")
        console.print(sign, style=style, end=" ")
        console.print(f"{miss.about}: {_figures(miss)}{reason}", markup=False, soft_wrap=True)
    if not report.card.misses:
        console.print("every rule and every kind of fault reaches its floor", style="bold green")


def _figures(miss: Miss) -> str:
    """Return a floor and what was found, as people say them: a share, a rate, or a length of time."""
    if miss.figure == "delay":
        return f"delay {told_s(miss.found)}, floor {told_s(miss.floor)}"
    return f"{miss.figure} {miss.found:.3g}, floor {miss.floor:.3g}"


def show_against(console: Console, against: Against) -> None:
    """Print what the rules gain over the others: a line for each rule that differs, and the kinds of faults."""
    console.print(f"\nagainst {against.name}, {against.rules} rules, on the same courses", markup=False, soft_wrap=True)
    if not against.gains and not against.kinds:
        console.print("no difference: both say the same of every fault, at the same time")
        return
    table = Table(
        "rule", "", "true alerts", "false alarms", "false in 10,000 device-days", "found now", "lost", "sooner"
    )
    for one in against.gains:
        table.add_row(one.rule, one.state, *gain_cells(one, Words("en")))
    console.print(table)
    if against.kinds:
        kinds = Table("kind of fault", "recall before", "now", "delay 95 % before", "now", "incidents before", "now")
        for before, now in against.kinds:
            pieces = ["–" if one.fragmentation is None else f"{one.fragmentation:.2f}" for one in (before, now)]
            spans = [told_s(one.delay.p95_s) for one in (before, now)]
            kinds.add_row(now.kind, share(before.recall), share(now.recall), *spans, *pieces)
        console.print(kinds)


def write(report: Report, folder: Path) -> None:
    """Write the page in both languages, figures and plots."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "report-card.json").write_text(report.as_json(), encoding="utf-8")
    for name, language in (("report-card.md", "en"), ("report-card.zh.md", "zh")):
        (folder / name).write_text(page(report, language), encoding="utf-8")
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
