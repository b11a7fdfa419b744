"""The commands of rule authors: check a rules file, test its rules, try them on what was measured."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devices.yamlfile import ConfigError, read_yaml
from lamplighter.config_option import Config, settings_of

if TYPE_CHECKING:
    from rich.console import Console

    from alerts.rules import RuleSet
    from alerts.ruletest import RuleTest
    from alerts.ruletest_verdict import Verdict
    from devices.kinds import Catalog

app = typer.Typer(help="Check rules, test them, and try them on what was measured.", no_args_is_help=True)
TESTS = "rule_tests"  # folder beside the rules file


@app.command("check")
def check(
    files: Annotated[list[Path] | None, typer.Argument(help="Rules files; default the one of the settings.")] = None,
    config: Config = None,
) -> None:
    """Read rules and name everything that is wrong with them, also what can be read and makes no sense."""
    from alerts.ruledoubts import examine
    from alerts.rules import read_rules
    from devices.kinds import load_catalog

    settings = settings_of(config)
    catalog = load_catalog(*settings.kinds)
    errors: list[str] = []
    for path in files or [settings.rules]:
        number, doubts = examine(read_rules(path)[0], catalog)
        wrong = [one.text for one in doubts if one.error]
        warnings = [one.text for one in doubts if not one.error]
        errors += wrong
        for text in warnings:
            typer.echo(text)
        if not wrong:
            told = "1 warning" if len(warnings) == 1 else f"{len(warnings)} warnings" if warnings else "all in order"
            typer.echo(f"{path}: {number} rules, {told}")
    if not files:
        for text in explained_amiss(settings.inhibition, settings.rules, catalog):
            typer.echo(text)
    if errors:
        raise ConfigError(errors)


def explained_amiss(inhibition: Path, rules: Path, catalog: Catalog) -> list[str]:
    """Return a line for each name in the inhibition matrix that fits no rule; raises ConfigError for a wrong matrix."""
    from alerts.inhibition import load_inhibition
    from alerts.rules import load_rules

    matrix = load_inhibition(inhibition, catalog)
    try:
        return matrix.unknown(load_rules(rules, catalog))
    except ConfigError:
        return []  # the rules' own mistakes are told already


@app.command("list")
def list_rules(
    files: Annotated[list[Path] | None, typer.Argument(help="Rules files; default the one of the settings.")] = None,
    config: Config = None,
) -> None:
    """List rules: what each is called, whom it watches, how grave it is, and how long it waits."""
    from alerts.rules import parse_rules, read_rules
    from alerts.ruletest_reader import all_rules
    from alerts.ruletest_series import shown
    from devices.kinds import load_catalog
    from lamplighter.output import make_console

    settings, console = settings_of(config), make_console()
    catalog = load_catalog(*settings.kinds)
    for path in files or [settings.rules]:
        root = read_rules(path)[0]
        used = {rule.id for rule in parse_rules(root, catalog)}
        for rule in all_rules(root, catalog):
            whom = f"{rule.device}/{rule.role}" if rule.role else rule.device
            off = "" if rule.id in used else "  (switched off)"
            wait = shown(rule.for_ms) if rule.for_ms else ""
            titles = " ".join(dict.fromkeys(rule.title.values()))
            text = f"{rule.id:24s} {rule.kind:16s} {whom:20s} {rule.severity:8s} {wait:>7s}  {titles}{off}"
            console.print(text, markup=False, soft_wrap=True)


@app.command("test")
def play_tests(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Test files or folders of them; default rule_tests beside the settings' rules."),
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="Rules to test instead of those that the files name.")] = None,
    only: Annotated[str, typer.Option(help="Only tests whose rule or name holds this text.")] = "",
    config: Config = None,
) -> None:
    """Play the unit tests of rules on a virtual clock; exit status 1 where one fails."""
    from alerts.ruletest_verdict import judge
    from devices.kinds import load_catalog
    from lamplighter.output import make_console

    settings = settings_of(config)
    catalog = load_catalog(*settings.kinds)
    started, console = time.perf_counter(), make_console()
    usual = settings.rules.parent / TESTS
    if not files and not usual.is_dir():
        raise ConfigError([f"{usual}: no tests there yet; make the folder, or name test files"])
    found = read_tests(files or [usual], rules, settings.rules, catalog)
    wanted = [one for one in found if only in one.name or any(only in rule.id for rule in one.rules)]
    if not wanted:
        raise ConfigError([f"--only: no test's rule or name holds '{only}'"])
    failed = 0
    for one in wanted:
        verdict = judge(one)
        failed += not verdict.ok
        show(console, verdict)
    took = time.perf_counter() - started
    console.print(
        f"{len(wanted) - failed} of {len(wanted)} tests ok, {took:.1f} s", style="bold red" if failed else "bold green"
    )
    raise typer.Exit(1 if failed else 0)


@app.command("backtest")
def backtest(
    since: Annotated[str, typer.Option(help="From when: so long ago, as in 7d, or a moment, as in 2026-03-01T20:00.")],
    until: Annotated[str, typer.Option(help="Until when; default now.", show_default=False)] = "",
    rules: Annotated[Path | None, typer.Option(help="Rules to try; default those of the settings.")] = None,
    against: Annotated[Path | None, typer.Option(help="Other rules to compare with on the same readings.")] = None,
    only: Annotated[str, typer.Option(help="Only rules whose id holds this text.")] = "",
    tick: Annotated[
        str, typer.Option(help="Between two looks at the clock; left out: 30s, or 2m for more than two days.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines instead of a table.")] = False,
    config: Config = None,
) -> None:
    """Run rules over stored readings and list what would have been told."""
    from lamplighter.backtest_command import Asked, run_backtest
    from lamplighter.durations import seconds

    tick_ms = round(seconds(tick) * 1000) if tick else 0
    asked = Asked(since, until, rules, against, only, tick_ms, as_json)
    raise typer.Exit(run_backtest(settings_of(config), asked, round(time.time() * 1000)))


@app.command("score")
def score(
    seeds: Annotated[str, typer.Option(help="A to tune on, B to report on.")] = "A",
    family: Annotated[list[str] | None, typer.Option(help="Only this family; may be given more than once.")] = None,
    small: Annotated[bool, typer.Option("--small", help="A small card, in seconds.")] = False,
    medium: Annotated[
        bool, typer.Option("--medium", help="A card in minutes; left out: the full one, a night.")
    ] = False,
    rules: Annotated[Path | None, typer.Option(help="Rules to score; default those of the settings.")] = None,
    against: Annotated[
        str,
        typer.Option(
            help="Rules to compare with, a file, 'shipped' or 'none'; with --rules it is the shipped ones.",
            show_default=False,
        ),
    ] = "",
    faults: Annotated[Path | None, typer.Option(help="Faults of your own to play as well.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Courses played at a time, each in a process.")] = 2,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report-card.md, .json and plots; left out: print only.")
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Play naive and random alerts beside the rules.")] = True,
    config: Config = None,
) -> None:
    """Play the rules over faults whose truth is known; exit status 1 where one falls below its floor."""
    from lamplighter.score_command import Asked, run_score
    from lamplighter.settings import shipped

    if small and medium:
        raise ConfigError(["--small, --medium: one of them"])
    size = "small" if small else "medium" if medium else "full"
    named = against or ("shipped" if rules is not None else "none")
    other = {"none": None, "shipped": shipped("rules.yaml")}.get(named, Path(named))
    asked = Asked(seeds, size, tuple(family or ()), jobs, out, baselines, rules, other, faults, keep=True)
    raise typer.Exit(run_score(settings_of(config), asked))


def read_tests(places: list[Path], rules: Path | None, usual: Path, catalog: Catalog) -> list[RuleTest]:
    """Read test files, with the rules that each names; raises one ConfigError with every problem of all of them.

    Args:
        places: files, or folders whose ``*.yaml`` are read.
        rules: rules file to test instead of those that the files name, or None.
        usual: rules file for test files that name none.
        catalog: the kinds.
    """
    from alerts.rules import read_rules
    from alerts.ruletest_reader import all_rules, parse_rule_tests

    known: dict[Path, RuleSet] = {}
    out: list[RuleTest] = []
    problems: list[str] = []
    for path in [one for place in places for one in (sorted(place.glob("*.yaml")) if place.is_dir() else [place])]:
        try:
            root = read_yaml(path)
            named = root.get("rules")
            source = rules or (usual if named is None else path.parent / named.text())
            if source not in known:
                known[source] = all_rules(read_rules(source)[0], catalog)
            out += parse_rule_tests(root, known[source], catalog)
        except ConfigError as trouble:
            problems.extend(trouble.problems)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    if not out:
        raise ConfigError([f"{', '.join(map(str, places))}: no tests there"])
    return out


def show(console: Console, verdict: Verdict) -> None:
    """Print what came of one test: a line where all is well, else the differences and the readings about them."""
    rules = ", ".join(rule.id for rule in verdict.test.rules)
    sign, style = ("ok  ", "green") if verdict.ok else ("FAIL", "bold red")
    console.print(sign, style=style, end=" ")
    console.print(f"{rules}: {verdict.test.name}", markup=False, soft_wrap=True)
    for failure in verdict.failures:
        console.print(f"     {failure.place}: {failure.about}, expected - and got +", markup=False, soft_wrap=True)
        for line in failure.lines:
            colour = {"-": "red", "+": "green"}.get(line[0])
            console.print(f"       {line}", style=colour, markup=False, soft_wrap=True)
        if failure.around:
            console.print("     readings about that time", style="dim")
        for line in failure.around:
            console.print(f"       {line}", style="dim", markup=False, soft_wrap=True)
    for hint in verdict.hints:
        console.print(f"     perhaps: {hint}", style="yellow", markup=False, soft_wrap=True)
