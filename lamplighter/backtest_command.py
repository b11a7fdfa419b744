"""`lamplighter rules backtest`: runs rules over stored readings, lists what would have been told, and compares."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table

from alerts.backtest import TICK_MS, Backtest, Difference, Raised, changes, compare, fields_of
from alerts.rules import RuleSet, load_rules
from alerts.ruletest_series import time_ms
from devices.kinds import Catalog, load_catalog
from devices.registry import Registry
from devices.yamlfile import ConfigError
from lamplighter.output import make_console
from lamplighter.progress import progress
from lamplighter.settings import Settings
from storage.operations import Operations
from storage.past import InfluxPast, Past, SqlitePast, replay
from storage.timeseries import StoreAway

LONG_MS = 2 * 86_400_000  # more than this is looked at every two minutes, unless somebody says otherwise
SIGNS = {
    "-": ("only before", "red"),
    "+": ("only now", "green"),
    "<": ("moved from", "dim"),
    ">": ("moved to", "yellow"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wants to know.

    Attributes:
        since, until: as written: a moment, or a length of time before now; no until is now.
        rules: rules file, or None for that of the settings.
        against: older rules to compare with, or None.
        only: rules whose id holds this text.
        tick_ms: between two looks at the clock; 0 for what suits the length.
        json: print JSON lines instead of a table.
    """

    since: str
    until: str
    rules: Path | None
    against: Path | None
    only: str
    tick_ms: int
    json: bool


def run_backtest(settings: Settings, asked: Asked, now_ms: int) -> int:
    """Run rules over the past, print what came of it, and return the exit status."""
    catalog, zone = load_catalog(*settings.kinds), ZoneInfo(settings.city.timezone)
    until_ms = moment(asked.until, "--until", now_ms, zone) if asked.until else now_ms
    from_ms = moment(asked.since, "--since", now_ms, zone)
    asked = replace(asked, tick_ms=asked.tick_ms or usual_tick_ms(until_ms - from_ms))
    from_ms = from_ms // asked.tick_ms * asked.tick_ms
    if from_ms >= until_ms:
        raise ConfigError([f"--since: {asked.since} does not lie before --until"])
    files = [asked.rules or settings.rules, *([asked.against] if asked.against else [])]
    sets = [_chosen(load_rules(path, catalog), asked.only) for path in files]
    registry = _registry(settings, catalog)
    console, past = make_console(), open_past(settings)
    tests = [Backtest(rules, registry, settings.city.timezone, from_ms, asked.tick_ms) for rules in sets]
    try:
        spent = _run(tests, past, registry, fields_of(sets, catalog), until_ms, asked.tick_ms)
    except StoreAway as trouble:
        print(trouble, file=sys.stderr)
        return 1
    finally:
        past.close()
    strangers = getattr(past, "strangers", 0)
    found = [test.alerts() for test in tests]
    if asked.json:
        _print_json(found, until_ms)
        return 0
    if len(found) > 1:
        show_difference(console, compare(found[1], found[0]), zone)
    elif found[0]:
        show_alerts(console, found[0], zone)
    if not tests[0].readings:
        span = f"{_clock(from_ms, zone)} and {_clock(until_ms, zone)}"
        console.print(f"between {span} the store holds no reading that these rules ask for", soft_wrap=True)
    elif not any(found):
        console.print("nothing would have been told")
    console.print(_summary(tests[0].readings, len(found[0]), spent, strangers), markup=False, soft_wrap=True)
    return 0


def usual_tick_ms(span_ms: int) -> int:
    """Return how often the clock is looked at: half a minute, two minutes where more than two days are read."""
    return TICK_MS if span_ms <= LONG_MS else 4 * TICK_MS


def open_past(settings: Settings) -> Past:
    """Open the store of the settings for reading back. Raises ConfigError where there is none yet."""
    store = settings.store
    if store.kind == "sqlite":
        path = settings.data / "readings.db"
        if not path.exists():
            raise ConfigError([f"{path}: no readings are stored there yet"])
        return SqlitePast(path)
    if not store.token:
        raise ConfigError(["store.token: InfluxDB needs a token; set it, or LAMPLIGHTER_STORE__TOKEN"])
    return InfluxPast(store.url, store.token, store.bucket)


def moment(text: str, option: str, now_ms: int, zone: tzinfo) -> int:
    """Return epoch milliseconds of ``7d`` (so long ago) or of a date or time. Raises ConfigError for other forms."""
    ago = time_ms(text)
    if ago is not None:
        return now_ms - ago
    try:
        found = datetime.fromisoformat(text)
    except ValueError as trouble:
        form = "expected so long ago, such as 7d, or a moment such as 2026-03-01 or 2026-03-01T20:00"
        raise ConfigError([f"{option}: {form}; found '{text}'"]) from trouble
    return round((found if found.tzinfo is not None else found.replace(tzinfo=zone)).timestamp() * 1000)


def _chosen(rules: RuleSet, only: str) -> RuleSet:
    kept = tuple(rule for rule in rules if only in rule.id)
    if not kept:
        raise ConfigError([f"--only: no rule's id holds '{only}'"])
    return RuleSet(kept, rules.lighting)


def _registry(settings: Settings, catalog: Catalog) -> Registry:
    operations = Operations(settings.operations_url())
    try:
        return operations.load_registry(catalog)
    finally:
        operations.close()


def _run(
    tests: Sequence[Backtest],
    past: Past,
    registry: Registry,
    fields: dict[str, tuple[str, ...]],
    until_ms: int,
    tick_ms: int,
) -> dict[str, float]:
    """Feed every slice of the past to each set of rules; return CPU seconds spent reading and judging."""
    spent, from_ms = {"reading": 0.0, "judging": 0.0}, tests[0].now_ms
    with progress("reading and judging", until_ms - from_ms) as tell:
        begun = time.process_time()
        for part in replay(past, registry, fields, from_ms, until_ms, tick_ms):
            read = time.process_time()
            for test in tests:
                test.feed(part.batches, part.until_ms)
            judged = time.process_time()
            spent["reading"] += read - begun
            spent["judging"] += judged - read
            tell(part.until_ms - from_ms)
            begun = judged
    return spent


def _summary(readings: int, alerts: int, spent: dict[str, float], strangers: int) -> str:
    each = readings / max(spent["judging"], 1e-9)
    many = f"{each / 1e6:.1f} M" if each >= 1e5 else f"{each:,.0f}"
    rate = f", {many} readings a CPU second" if spent["judging"] > 0.1 else ""
    left = f"; {strangers:,} readings of devices that the registry does not know were left out" if strangers else ""
    return (
        f"{readings:,} readings, {alerts:,} alerts; reading took {spent['reading']:.1f} s of CPU, "
        f"judging {spent['judging']:.1f} s{rate}{left}"
    )


def show_alerts(console: Console, alerts: Sequence[Raised], zone: tzinfo) -> None:
    """Print alerts as a table."""
    table = Table("rule", "entity", "place", "since", "told", "until", "value", "limit")
    for one in alerts:
        table.add_row(*_cells(one, zone))
    console.print(table)


def show_difference(console: Console, found: Difference, zone: tzinfo) -> None:
    """Print how two sets of rules differ, and how many alerts both tell alike."""
    table = Table("", "rule", "entity", "place", "since", "told", "until", "value", "limit")
    for sign, one in changes(found):
        words, colour = SIGNS[sign]
        table.add_row(words, *_cells(one, zone), style=colour)
    console.print(table)
    console.print(
        f"{len(found.gone)} only before, {len(found.new)} only now, {len(found.moved)} moved, {found.same} the same"
    )


def _cells(one: Raised, zone: tzinfo) -> list[str]:
    until = _clock(one.until_ms, zone, one.since_ms) + ("" if one.reason in ("", "recovered") else f" {one.reason}")
    entity = one.entity.removeprefix("device:")
    times = (_clock(one.since_ms, zone), _clock(one.told_ms, zone, one.since_ms), until)
    return [one.rule, entity, one.place, *times, _number(one.value), _number(one.threshold)]


def _clock(moment_ms: int | None, zone: tzinfo, after_ms: int | None = None) -> str:
    """Return a moment by the city's clock; the day is left out where it is that of ``after_ms``."""
    if moment_ms is None:
        return "open"
    found = datetime.fromtimestamp(moment_ms / 1000, zone)
    same = after_ms is not None and datetime.fromtimestamp(after_ms / 1000, zone).date() == found.date()
    return found.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M:%S")


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"


def _print_json(found: Sequence[Sequence[Raised]], until_ms: int) -> None:
    for line in _json_lines(found, until_ms):
        print(json.dumps(line, ensure_ascii=False))


def _json_lines(found: Sequence[Sequence[Raised]], until_ms: int) -> Iterator[dict[str, object]]:
    words = {"-": "only_before", "+": "only_now", "<": "moved_from", ">": "moved_to"}
    if len(found) > 1:
        for sign, one in changes(compare(found[1], found[0])):
            yield {"change": words[sign]} | _plain(one, until_ms)
        return
    for one in found[0]:
        yield _plain(one, until_ms)


def _plain(one: Raised, until_ms: int) -> dict[str, object]:
    told = (("value", one.value), ("threshold", one.threshold))
    numbers = {name: None if math.isnan(value) else value for name, value in told}
    return one._asdict() | numbers | {"open_at_ms": until_ms if one.until_ms is None else None}
