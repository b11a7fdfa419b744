"""The commands of testers: list scenarios, and play them in virtual time through the real engine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from devices.yamlfile import ConfigError
from lamplighter.config_option import Config, settings_of

if TYPE_CHECKING:
    from rich.console import Console

    from simulators.scenario import Scenario
    from simulators.scenario_play import Performance

app = typer.Typer(
    help="Play what a city may go through, and see whether the right things are told.", no_args_is_help=True
)
FOLDER = "scenarios"


@app.command("list")
def list_scenarios(
    folder: Annotated[Path | None, typer.Argument(help="A folder of scenarios; default the shipped ones.")] = None,
) -> None:
    """List scenarios with their titles."""
    from simulators.scenario import load_scenario

    where = folder or _shipped()
    found = sorted(where.glob("*.yaml")) if where.is_dir() else []
    if not found:
        raise ConfigError([f"{where}: no scenario files (*.yaml) here"])
    for path in found:
        one = load_scenario(path)
        typer.echo(f"{one.name:28s} {one.title['en']} · {one.title['zh']}")


@app.command("play")
def play_scenarios(
    files: Annotated[list[str], typer.Argument(help="Scenario files, or names of shipped ones.")],
    config: Config = None,
    rules: Annotated[Path | None, typer.Option(help="Rules to play with instead of those of the settings.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what other alerts explain, too.")] = False,
) -> None:
    """Play scenarios in virtual time and compare what was told with what was expected; status 1 where it differs."""
    from alerts.rules import load_rules
    from devices.kinds import load_catalog
    from lamplighter.output import make_console
    from lamplighter.score_play import stages
    from simulators.scenario import load_scenario
    from simulators.scenario_play import play

    settings, console = settings_of(config), make_console()
    catalog = load_catalog(*settings.kinds)
    rule_set = load_rules(rules or settings.rules, catalog)
    known = [*(rule.id for rule in rule_set), *rule_set.disabled]
    scenarios = [load_scenario(find(name), known) for name in files]
    wrong = 0
    for scenario in scenarios:
        begun = time.monotonic()
        with console.status(f"playing {scenario.name}"):
            done = play(scenario, catalog, rule_set, settings.city.timezone, stages(settings, catalog))
        show(console, scenario, done, time.monotonic() - begun, verbose=verbose)
        wrong += bool(done.differences)
    raise typer.Exit(1 if wrong else 0)


@app.command("record")
def record_scenario(
    scenario: Annotated[str, typer.Argument(help="A scenario file, or the name of a shipped one.")],
    out: Annotated[Path, typer.Option(help="A new folder, which becomes a house with the scenario's city.")],
    faults: Annotated[Path | None, typer.Option(help="Faults of your own to lay over it.")] = None,
    config: Config = None,
) -> None:
    """Play a scenario in virtual time into a new house: a past to try rules on, without a broker."""
    from lamplighter.scenario_record import record

    raise typer.Exit(record(settings_of(config), scenario, out, faults))


def find(name: str) -> Path:
    """Return the file of a scenario: a path, or the name of a shipped one. Raises ConfigError naming the known ones."""
    path = Path(name)
    if path.is_file():
        return path
    packaged = _shipped() / f"{name.removesuffix('.yaml')}.yaml"
    if packaged.is_file():
        return packaged
    known = ", ".join(sorted(each.stem for each in _shipped().glob("*.yaml")))
    raise ConfigError([f"{name}: no such file, and no shipped scenario of that name; shipped: {known}"])


def show(console: Console, scenario: Scenario, done: Performance, wall_s: float, *, verbose: bool) -> None:
    """Print what was told beside what was expected."""
    from simulators.scenario_play import clock

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    line(f"{scenario.name}: {scenario.title['en']} · {scenario.title['zh']}")
    for one in done.told:
        end = f", over at {clock(one.until_ms - done.start_ms)}" if one.until_ms < 2**62 else ", still open"
        line(f"  {clock(one.told_ms - done.start_ms):>9s}  {one.severity:8s} {one.rule} of {one.entity}{end}")
    if verbose:
        for one in done.explained:
            line(f"  {clock(one.told_ms - done.start_ms):>9s}  explained {one.rule} of {one.entity}")
    for difference in done.differences:
        line(
            f"  - {difference.place}: {difference.text}" if difference.place else f"  + not expected: {difference.text}"
        )
    verdict = "as expected" if not done.differences else f"{len(done.differences)} differences"
    line(
        f"  {verdict}: {len(done.told)} told, {len(done.explained)} explained by others; "
        f"{clock(scenario.lasts_ms)}, {done.readings:,} readings in {wall_s:.1f} s"
    )


def _shipped() -> Path:
    from lamplighter.settings import shipped

    return shipped(FOLDER)
