"""Plays a simulated city, or recorded data, to the broker of the settings; shows progress and says what was sent."""

from __future__ import annotations

import asyncio
import errno
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from alerts.rules import load_rules
from devices.importing import write_geojson
from devices.kinds import load_catalog
from lamplighter.clock import fast_clock, real_clock
from lamplighter.output import make_console
from lamplighter.settings import Settings
from lamplighter.wiring import broker_options
from simulators.city import build_city
from simulators.mapping import load_mapping
from simulators.publish import Broker, Counts
from simulators.recording import Recording, read_recording
from simulators.replay import Played, replay
from simulators.run import Summary, run
from simulators.scripts import first_light
from simulators.world import Intervals, World
from storage.operations import Operations

HISTORY_DAYS = 36.0  # what the seepage rule's baseline looks back on


def run_simulation(
    settings: Settings,
    seed: int,
    speed: float,
    run_for_s: float | None,
    truth: Path | None,
    registry_out: Path | None,
    *,
    faults: bool,
) -> int:
    """Play a city until stopped; 0 when the broker has acknowledged everything."""
    console = make_console()
    city = build_city(seed, name=settings.city.id)
    if registry_out is not None:
        write_geojson(registry_out, city.assets, city.roads, city.permits)
        console.print(f"{registry_out}: {len(city.assets)} devices; take them in with 'lamplighter devices import'")
        return 0
    clock = fast_clock(real_clock().now_ms(), speed) if speed != 1 else real_clock()
    start_ms = clock.now_ms()
    catalog = load_catalog(*settings.kinds)
    rules, zone = load_rules(settings.rules, catalog), settings.city.timezone
    script = first_light(city, catalog, rules, zone, start_ms, speed=speed, intervals=Intervals()) if faults else []
    world = World(city, catalog, zone, seed, start_ms, script, schedule=rules.lighting)
    until_ms = None if run_for_s is None else start_ms + int(run_for_s * 1000 * speed)
    summary = asyncio.run(_simulate(console, settings, world, clock.now_ms, until_ms, truth))
    console.print(f"sent {_by_kind(summary.readings)}; {len(script)} faults in the script")
    return _told_all(console, summary.unsent, summary.refused)


def run_scenario(
    settings: Settings, name: str, speed: float, run_for_s: float | None, truth: Path | None, registry_out: Path | None
) -> int:
    """Play a scenario from now on, until it ends or is stopped; 0 when the broker has acknowledged everything."""
    from lamplighter.scenario_command import find
    from simulators.scenario import load_scenario
    from simulators.scenario_play import city_of, world_of

    console = make_console()
    catalog = load_catalog(*settings.kinds)
    rules, zone = load_rules(settings.rules, catalog), settings.city.timezone
    scenario = load_scenario(find(name), [*(rule.id for rule in rules), *rules.disabled])
    city = city_of(scenario, settings.city.id)
    if registry_out is not None:
        write_geojson(registry_out, city.assets, city.roads, city.permits)
        console.print(f"{registry_out}: {len(city.assets)} devices; take them in with 'lamplighter devices import'")
        return 0
    clock = fast_clock(real_clock().now_ms(), speed) if speed != 1 else real_clock()
    start_ms = clock.now_ms()
    world = world_of(scenario, city, catalog, rules, zone, start_ms)
    console.print(
        f"{scenario.name}: {scenario.title['en']} · {scenario.title['zh']}; it is written for "
        f"{scenario.local_start:%H:%M} and plays from {world.sky.local_time(start_ms):%H:%M} on",
        markup=False,
    )
    length_ms = scenario.lasts_ms if run_for_s is None else min(scenario.lasts_ms, int(run_for_s * 1000 * speed))
    history = scenario.history_days
    summary = asyncio.run(
        _simulate(console, settings, world, clock.now_ms, start_ms + length_ms, truth, history_days=history)
    )
    console.print(f"sent {_by_kind(summary.readings)}; {len(world.truth())} faults in the scenario")
    return _told_all(console, summary.unsent, summary.refused)


async def _simulate(
    console: Console,
    settings: Settings,
    world: World,
    now_ms: Callable[[], int],
    until_ms: int | None,
    truth: Path | None,
    *,
    history_days: float = HISTORY_DAYS,
) -> Summary:
    where, known = f"{settings.broker.host}:{settings.broker.port}", ""
    stop = _stop_on_signals()

    with console.status(f"connecting to {where}") as shown:

        def progress(counts: Counts) -> None:
            nonlocal known
            shown.update(f"{sum(counts.readings.values()):,} readings acknowledged by {where}; Ctrl-C stops")
            if counts.trouble not in ("", known):
                console.print(escape(f"{where}: {counts.trouble}; trying again"), soft_wrap=True)
            known = counts.trouble
            if counts.refused:
                stop.set()

        return await run(
            world,
            _broker(settings),
            now_ms,
            stop=stop,
            until_ms=until_ms,
            history_days=history_days if world.truth() else 0.0,
            truth=truth,
            progress=progress,
        )


def run_replay(settings: Settings, file: Path, mapping: Path, speed: float, *, adopt: bool) -> int:
    """Play a recording; 0 when the broker has acknowledged everything."""
    console = make_console()
    sources = load_mapping(mapping, load_catalog(*settings.kinds))
    recording = read_recording(file, sources)
    console.print(f"{file}: {recording.rows:,} rows, {len(recording.readings):,} readings to play")
    for reason, count in recording.passed_over.items():
        console.print(f"  passed over, {reason}: {count:,}")
    if recording.first_trouble:
        console.print(f"  the first unreadable row: {recording.first_trouble}")
    if not recording.readings:
        console.print("nothing to play: is this the file that the mapping describes?")
        return 1
    if adopt:
        settings.data.mkdir(parents=True, exist_ok=True)
        operations = Operations(settings.operations_url())
        summary = operations.import_assets(recording.assets, (), recording.permits)
        operations.close()
        console.print(f"registry: {summary.added} added, {summary.changed} changed, {summary.unchanged} as before")
        return 0
    if speed == 0 and (many := _too_many(settings, recording)):
        console.print(many, soft_wrap=True)
    bars = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*bars, console=console) as shown:
        task = shown.add_task("acknowledged", total=len(recording.readings))

        async def play() -> Played:
            stop = _stop_on_signals()

            def progress(counts: Counts) -> None:
                shown.update(task, completed=sum(counts.readings.values()))
                if counts.refused:
                    stop.set()

            broker = _broker(settings)
            return await replay(recording.readings, settings.city.id, broker, speed=speed, stop=stop, progress=progress)

        played = asyncio.run(play())
    console.print(f"sent {_by_kind(played.readings)}")
    return _told_all(console, played.unsent, played.refused)


def _too_many(settings: Settings, recording: Recording) -> str:
    """Return what to say of devices with more readings than a house takes of one device at once, empty for none."""
    intake = settings.intake
    over = [
        device for device, count in Counter(r.device for r in recording.readings).items() if count > intake.device_burst
    ]
    if not over or not intake.device_per_s:
        return ""
    return (
        f"{len(over)} of its devices have more than {intake.device_burst:g} readings. A house with these settings "
        f"holds back what comes quicker than {intake.device_per_s:g} a second: "
        "give it 'intake: {device_per_s: 0}' while this plays"
    )


def _told_all(console: Console, unsent: int, refused: int) -> int:
    if unsent:
        console.print(f"{unsent:,} messages were not acknowledged; 'lamplighter doctor' looks at the broker")
    if refused:
        console.print(
            f"{refused:,} messages were refused: the broker's access list lets each device speak for itself alone. "
            "Rehearse at a broker of its own (docs/operating.md)",
            soft_wrap=True,
        )
    return 1 if unsent or refused else 0


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.set_exception_handler(_pass_over_broken_connections)
    return stop


def _pass_over_broken_connections(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Print no traceback where aiomqtt touches a socket that is closed already; its connection is made again."""
    trouble = context.get("exception")
    if not (isinstance(trouble, OSError) and trouble.errno == errno.EBADF):
        loop.default_exception_handler(context)


def _broker(settings: Settings) -> Broker:
    broker = settings.broker
    options = broker_options(settings)
    tls = options.tls.context() if options.tls else None
    return Broker(broker.host, broker.port, broker.username, broker.password, tls)


def _by_kind(readings: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} of {kind}" for kind, count in sorted(readings.items())) or "nothing"
