"""The command line: argument parsing only; each command says in plain words what it did or what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from devices.yamlfile import ConfigError
from lamplighter import __version__, policy_commands
from lamplighter.config_option import Config, settings_of, settings_path
from lamplighter.notify_commands import app as notify_app
from lamplighter.quarantine_commands import app as quarantine_app
from lamplighter.rules_commands import app as rules_app
from lamplighter.scenario_command import app as scenario_app

app = typer.Typer(
    name="lamplighter",
    help="Lamplighter 点灯人 watches streetlights, manhole covers, drainage pumps and muck trucks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
devices_app = typer.Typer(help="The registry: what the city owns.", no_args_is_help=True)
dashboards_app = typer.Typer(help="Grafana boards as code.", no_args_is_help=True)
app.add_typer(rules_app, name="rules")
app.add_typer(scenario_app, name="scenario")
app.add_typer(devices_app, name="devices")
app.add_typer(notify_app, name="notify")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(dashboards_app, name="dashboards")
policy_commands.register(app)

MENDABLE = (
    "SchemaTooNewError",
    "BrokerStartError",
    "JournalError",
)  # by name: their modules are heavy and most commands need neither


@app.command()
def demo(
    run_for: Annotated[str, typer.Option("--for", help="Stop by itself after this long, such as 60s or 5m.")] = "",
    seed: Annotated[int, typer.Option(help="The simulated city's seed.")] = 1,
    port: Annotated[int, typer.Option(help="Where the console listens; 0 takes a free port.")] = 8080,
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its data; emptied at the start.")] = Path(
        ".lamplighter/demo"
    ),
    broker: Annotated[str, typer.Option(help="auto, mosquitto or iotcore.")] = "auto",
) -> None:
    """Start a simulated city with everything running, on this machine alone."""
    from lamplighter.demo import run_demo
    from lamplighter.durations import seconds

    raise typer.Exit(run_demo(folder, seed, port, seconds(run_for) if run_for else None, broker))


@app.command()
def run(config: Config = None) -> None:
    """Watch the city that the settings describe, until stopped."""
    from lamplighter.service import run_service

    raise typer.Exit(run_service(settings_of(config)))


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="New folder for settings, credentials and data.")] = Path(),
    city: Annotated[str, typer.Option(help="City id, as in every topic.")] = "city",
    registry: Annotated[list[Path] | None, typer.Option(help="CSV or GeoJSON files of assets to import.")] = None,
    store: Annotated[str, typer.Option(help="sqlite or influxdb.")] = "sqlite",
) -> None:
    """Write a configuration, generate credentials and import a registry."""
    from lamplighter.init import write_house

    for line in write_house(folder, city, registry or [], store):
        typer.echo(line)


@app.command()
def rehearse(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to play.")] = 200,
    first: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="Play this one alone.", show_default=False)] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0 takes every core.")] = 0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="With --seed: tell every event.")] = False,
) -> None:
    """Play the house in virtual time on a stage where everything fails, each time as a seed says."""
    from lamplighter.rehearsal.command import run_many, run_one

    raise typer.Exit(run_many(first, seeds, jobs) if seed is None else run_one(seed, verbose=verbose))


@app.command()
def simulate(
    config: Config = None,
    seed: Annotated[int, typer.Option(help="The city's seed.")] = 1,
    speed: Annotated[float, typer.Option(min=0.01, help="City seconds a second.")] = 1.0,
    run_for: Annotated[str, typer.Option("--for", help="Stop after this long on the wall.")] = "",
    truth: Annotated[Path | None, typer.Option(help="Write the injected faults here, as JSON lines.")] = None,
    faults: Annotated[bool, typer.Option(help="Inject the faults of the first-light script.")] = True,
    registry_out: Annotated[
        Path | None, typer.Option(help="Write the simulated city's registry here (GeoJSON) and stop.")
    ] = None,
    scenario: Annotated[
        str, typer.Option(help="Play this scenario, a file or a shipped one's name, from now on; see 'scenario list'.")
    ] = "",
) -> None:
    """Play a simulated city to the broker of the settings."""
    from lamplighter.durations import seconds
    from lamplighter.play import run_scenario, run_simulation

    settings, wall_s = settings_of(config), seconds(run_for) if run_for else None
    if scenario:
        raise typer.Exit(run_scenario(settings, scenario, speed, wall_s, truth, registry_out))
    raise typer.Exit(run_simulation(settings, seed, speed, wall_s, truth, registry_out, faults=faults))


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="CSV (also .gz) or JSON lines.")],
    mapping: Annotated[Path, typer.Option(help="What the columns mean; see config/mappings.")],
    config: Config = None,
    speed: Annotated[
        float, typer.Option(min=0, help="Recorded seconds a second; 0 plays as fast as it is acknowledged.")
    ] = 0,
    adopt: Annotated[bool, typer.Option(help="Put the mapping's assets into the registry and stop.")] = False,
) -> None:
    """Play recorded data over MQTT."""
    from lamplighter.play import run_replay

    raise typer.Exit(run_replay(settings_of(config), file, mapping, speed, adopt=adopt))


@app.command()
def load(
    config: Config = None,
    rate: Annotated[float, typer.Option(min=0, help="Readings a second; 0 for as many as the broker takes.")] = 1000.0,
    run_for: Annotated[str, typer.Option("--for", help="Stop after this long, such as 60s or 10m.")] = "",
    count: Annotated[int, typer.Option(min=0, help="Stop after so many messages; 0 for no limit.")] = 0,
    connections: Annotated[
        int, typer.Option(min=0, help="Connections that carry all devices; 0 gives each one of its own.")
    ] = 4,
    devices: Annotated[int, typer.Option(min=0, help="Only so many of the registry's devices; 0 for all.")] = 0,
    qos: Annotated[int, typer.Option(min=0, max=1, help="0 or 1.")] = 1,
    readings: Annotated[
        list[str] | None, typer.Option(help="Readings in one message of a kind, as in streetlight=50.")
    ] = None,
    faults: Annotated[float, typer.Option(min=0, max=1, help="Share of the devices that go wrong.")] = 0.0,
    calm: Annotated[str, typer.Option(help="Nothing goes wrong before, such as 60s.")] = "",
    seed: Annotated[int, typer.Option(help="What values and faults are drawn from.")] = 1,
    told: Annotated[Path | None, typer.Option(help="Write the faults that were told here, as JSON lines.")] = None,
    summary: Annotated[Path | None, typer.Option(help="Write the numbers of the end here, as JSON.")] = None,
) -> None:
    """Let the registry's devices speak to the broker of the settings, as quickly as asked, to measure a house."""
    from lamplighter.durations import seconds
    from lamplighter.load_command import Wish, readings_by_kind, run_load

    wish = Wish(
        rate,
        seconds(run_for) if run_for else None,
        count or None,
        connections,
        devices,
        qos,
        readings_by_kind(readings or []),
        faults,
        seed,
        told,
        summary,
        seconds(calm) if calm else 0.0,
    )
    raise typer.Exit(run_load(settings_of(config), wish))


@dashboards_app.command("build")
def dashboards_build(
    out: Annotated[Path, typer.Option(help="Folder for the JSON files.")] = Path("dashboards-out"),
    language: Annotated[str, typer.Option(help="zh or en.")] = "zh",
    tiles: Annotated[str, typer.Option(help="Address of map tiles with {x}, {y}, {z}; none is a plain ground.")] = "",
    config: Config = None,
) -> None:
    """Write the Grafana boards with the rules' limits on them, and what Grafana is provisioned with."""
    from alerts.rules import load_rules
    from dashboards.build import build_all
    from dashboards.words import LANGUAGES
    from devices.kinds import load_catalog

    if language not in LANGUAGES:
        raise ConfigError([f"--language: expected one of {', '.join(LANGUAGES)}; found '{language}'"])
    settings = settings_of(config)
    catalog = load_catalog(*settings.kinds)
    rules = load_rules(settings.rules, catalog)
    for path in build_all(catalog, out, language, rules=rules, tiles=tiles, timezone=settings.city.timezone):
        typer.echo(path)


@devices_app.command("import")
def devices_import(
    files: Annotated[list[Path], typer.Argument(help="CSV or GeoJSON files.")],
    config: Config = None,
    crs: Annotated[str, typer.Option(help="What the positions of GeoJSON files are in: wgs84 or gcj02.")] = "wgs84",
) -> None:
    """Take assets, roads, permits and fences into the registry, all or nothing."""
    from lamplighter.registry_commands import import_files

    typer.echo(import_files(settings_of(config), files, crs))


@devices_app.command("fences")
def devices_fences(
    config: Config = None,
    drop: Annotated[list[str] | None, typer.Option(help="Let the fence of this name go; may be repeated.")] = None,
) -> None:
    """List the areas that vehicles must keep out of, or let some of them go."""
    from lamplighter.registry_commands import drop_fences, list_fences

    if drop:
        typer.echo(drop_fences(settings_of(config), drop))
    else:
        list_fences(settings_of(config))


@devices_app.command("list")
def devices_list(
    config: Config = None,
    kind: Annotated[str, typer.Option(help="Only this kind.")] = "",
    road: Annotated[str, typer.Option(help="Only on this road.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.")] = 50,
) -> None:
    """List the registry."""
    from lamplighter.registry_commands import list_devices

    list_devices(settings_of(config), kind, road, limit)


@devices_app.command("show")
def devices_show(device_id: str, config: Config = None) -> None:
    """Show one device: its file, its last values, its open alerts."""
    from lamplighter.registry_commands import show_device

    raise typer.Exit(show_device(settings_of(config), device_id))


@app.command()
def reload(config: Config = None) -> None:
    """Have the running house take up changed rules and newly imported devices."""
    from lamplighter.asking import ask_to_reload

    raise typer.Exit(ask_to_reload(settings_of(config)))


@app.command()
def doctor(
    config: Config = None,
    broker_config: Annotated[
        Path | None, typer.Option(help="Mosquitto's own configuration, to be checked too: mosquitto.conf.")
    ] = None,
) -> None:
    """Check settings, broker, database, clock and disk, and say what to do."""
    from lamplighter.doctor import examine

    raise typer.Exit(examine(settings_path(config), broker_config))


def _version(value: bool) -> None:
    if value:
        typer.echo(f"lamplighter {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run a command; what a person can mend ends with exit status 2 and one line each, not with a traceback."""
    try:
        app()
    except ConfigError as trouble:
        for problem in trouble.problems:
            print(problem, file=sys.stderr)
        sys.exit(2)
    except OSError as trouble:
        if not trouble.filename:
            raise
        print(f"{trouble.filename}: {trouble.strerror}", file=sys.stderr)
        sys.exit(2)
    except Exception as trouble:
        if type(trouble).__name__ not in MENDABLE:
            raise
        print(trouble, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
