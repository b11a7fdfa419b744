"""`lamplighter scenario record`: plays a scenario in virtual time into a new house, as a past to try rules on."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from alerts.rules import load_rules
from devices.batch import Batch
from devices.importing import write_geojson
from devices.kinds import load_catalog
from devices.payloads import Decoder
from lamplighter.init import write_house
from lamplighter.output import make_console
from lamplighter.progress import progress
from lamplighter.scenario_command import find
from lamplighter.settings import Settings, load_settings
from simulators.card.play import together
from simulators.course import WorldCourse
from simulators.faults import write_truth
from simulators.own_faults import Overlaid, declare, load_own_faults
from simulators.scenario import load_scenario
from simulators.scenario_play import TICK_MS, city_of, world_of
from storage.sqlite import SqliteStore

GROUP_MS = 6 * 3_600_000  # written at a time


def record(settings: Settings, name: str, out: Path, faults: Path | None) -> int:
    """Make a house at ``out`` whose registry is the scenario's city, and store what its devices report.

    Args:
        settings: kinds, and the rules that say when lamps burn.
        name: a scenario file, or the name of a shipped one.
        out: a folder in which no house stands.
        faults: faults of one's own to lay over it, or None.

    Raises:
        ConfigError: for a scenario or faults that cannot be played, or where a house stands already.
    """
    catalog, console = load_catalog(*settings.kinds), make_console()
    scenario = load_scenario(find(name))
    own = () if faults is None else load_own_faults(faults, catalog)
    declare(own)
    city, rules = city_of(scenario), load_rules(settings.rules, catalog)
    world = world_of(scenario, city, catalog, rules, settings.city.timezone)
    plain = WorldCourse(scenario.name, world, world.start_ms + scenario.lasts_ms, TICK_MS)
    course = Overlaid(plain, own, scenario.seed, 1)
    with tempfile.TemporaryDirectory() as folder:
        registry = Path(folder) / "city.geojson"
        write_geojson(registry, city.assets, city.roads, city.permits)
        list(write_house(out, city.name, [registry], "sqlite"))
    house = load_settings(out / "lamplighter.yaml")
    house.data.mkdir(parents=True, exist_ok=True)
    store, past = SqliteStore(house.data / "readings.db", catalog), list[Batch]()
    if scenario.history_days:
        messages = list(world.history(scenario.history_days))
        past = list(Decoder(world.registry, city.name).decode(messages, world.start_ms).batches)
    try:
        count = _store(store, course, past)
    finally:
        store.close()
    write_truth(out / "truth.jsonl", course.truth())
    begin = f"{scenario.local_start:%Y-%m-%dT%H:%M}"
    until = f"{world.sky.local_time(course.end_ms):%Y-%m-%dT%H:%M}"
    console.print(
        f"{out}: {len(city.assets)} devices, {count:,} readings from {begin} to {until}; truth.jsonl says what went "
        f"wrong ({len(course.truth())} faults)\nnext: cd {out} && lamplighter rules backtest --since {begin} "
        f"--until {until}",
        markup=False,
        soft_wrap=True,
    )
    return 0


def _store(store: SqliteStore, course: Overlaid, past: Sequence[Batch]) -> int:
    """Store everything, some hours at a time, and show how far it is; return how many readings."""
    count, waiting, since = 0, list(past), course.start_ms
    with progress("recording", course.end_ms - course.start_ms) as tell:
        for now, batches in course.steps():
            waiting += batches
            if now - since >= GROUP_MS:
                count += _write(store, waiting, course, now)
                waiting, since = [], now
                tell(now - course.start_ms)
        return count + _write(store, waiting, course, course.end_ms)


def _write(store: SqliteStore, batches: list[Batch], course: Overlaid, now_ms: int) -> int:
    whole = together(batches, now_ms)
    store.write(whole, course.registry)
    return sum(len(batch) for batch in whole)
