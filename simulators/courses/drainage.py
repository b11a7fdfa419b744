"""The drainage course: pump stations over weeks or years of weather, with every fault of the family and its like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from alerts.rules import RuleSet
from devices.batch import Batch
from devices.kinds import Catalog
from simulators.ailments import ON_PUMPS
from simulators.city import City, build_city
from simulators.course import Diary, Size, WorldCourse
from simulators.faults import NEVER_MS, Fault
from simulators.injectors.drainage import INJECTORS
from simulators.injectors.form import Injector
from simulators.machine import Reports
from simulators.weather import DAY_MS, HOUR_MS, seeded_rain
from simulators.world import Intervals, World, batches

ZONE = "Asia/Shanghai"
PAST_DAYS = 44.0  # of the stations' own logs, for rules that learn from past nights
LEARN_DAYS = 6.0  # at full pace before the first fault, for rules that learn from past pump cycles
CALM_MS = DAY_MS  # between two faults of one station
SHORT_COURSE_DAYS = 10
TICK_MS = 600_000
REPORT_S = 60.0  # as the catalog has it
ALL_PUMPS = ("well_high",)


def build(seed: int, size: Size, catalog: Catalog, rules: RuleSet, *, report_s: float = REPORT_S) -> WorldCourse:
    """Return the course: ``size.devices`` stations, LEARN_DAYS without faults, then ``size.days`` with them.

    Where there is no room for ``size.each`` of a kind there are fewer. Slow faults have a course of their own.

    Args:
        seed: what everything is drawn from.
        size: how large.
        catalog, rules: as loaded.
        report_s: seconds between reports.
    """
    city = build_city(seed, lamps=0, covers=0, stations=size.devices, trucks=0, name="course")
    rng = np.random.default_rng([seed, 23])
    start = datetime(2026, 1 + seed % 12, 3, 12, tzinfo=ZoneInfo(ZONE))
    start_ms = int(start.timestamp() * 1000)
    end_ms = start_ms + round((LEARN_DAYS + size.days) * DAY_MS)
    rain = seeded_rain(seed, start_ms - round((PAST_DAYS + 20) * DAY_MS), end_ms)
    known = {rule.id for rule in rules}
    kinds = [one for one in INJECTORS if one.confounder or one.rules[0] in known]  # what a rule can say, and their like
    faults = draw(rng, size, city, (start_ms + round(LEARN_DAYS * DAY_MS), end_ms), kinds)
    pace = Intervals(station_s=report_s)
    world = World(city, catalog, ZONE, seed, start_ms, faults, rain=rain, schedule=rules.lighting, intervals=pace)
    past = list(logged(list(world.logs(PAST_DAYS)), catalog))
    return WorldCourse("drainage", world, end_ms, TICK_MS, past)


def draw(
    rng: np.random.Generator, size: Size, city: City, span: tuple[int, int], kinds: Sequence[Injector] = INJECTORS
) -> list[Fault]:
    """Return faults and confounders, ``size.each`` of each kind where there is room, one of a station at a time."""
    stations = [a.id for a in city.assets if a.role == "station"]
    pumps = {name: tuple(a.id for a in city.assets if a.role == "pump" and a.cabinet == name) for name in stations}
    diary, out = Diary(CALM_MS), list[Fault]()
    # One of each kind in turn, so that a course without room for all has some of each; the longest first, for the short
    # ones find room between them. In a very short course there is room only for short ones.
    turn = -1 if size.days >= SHORT_COURSE_DAYS else 1
    for number in range(size.each):
        for kind in sorted(kinds, key=lambda one: turn * one.lasts_min[1]):
            lasts = round(float(rng.uniform(*kind.lasts_min)) * 60_000)
            found = diary.place(rng, stations, span, lasts) if lasts < span[1] - span[0] else None
            if found is not None:
                out += _faults(rng, kind, number, (found[0], found[1], found[1] + lasts), pumps[found[0]])
    return sorted(out, key=lambda fault: fault.on_ms)


def _faults(
    rng: np.random.Generator, kind: Injector, number: int, place: tuple[str, int, int], pumps: tuple[str, ...]
) -> list[Fault]:
    """Return a fault; where it trips all pumps, each pump's own fault beside it."""
    station, on_ms, off_ms = place
    size, name = float(rng.uniform(*kind.magnitude)), f"{kind.kind}-{number}"
    span = (on_ms, off_ms, NEVER_MS, size)
    rule = kind.rules[0] if kind.rules else ""
    if kind.kind in ALL_PUMPS:
        each = [
            Fault(f"{name}-{k}", "pump_fault", "pump_fault", f"device:{pump}", *span, (pump,), parent=name)
            for k, pump in enumerate(pumps)
        ]
        return [Fault(name, kind.kind, rule, f"device:{station}", *span, pumps), *each]
    entity = pumps[int(rng.integers(len(pumps)))] if kind.effect in ON_PUMPS else station
    return [Fault(name, kind.kind, rule, f"device:{entity}", *span, (entity,))]


def logged(logs: Sequence[Reports], catalog: Catalog) -> Iterator[tuple[int, list[Batch]]]:
    """Yield the stations' logs six hours at a time."""
    if not logs:
        return
    begin = min(int(log.time_ms[0]) for log in logs)
    end = max(int(log.time_ms[-1]) for log in logs)
    for first in range(begin, end + 1, 6 * HOUR_MS):
        until = min(first + 6 * HOUR_MS, end + 1)
        part = [log.take((log.time_ms >= first) & (log.time_ms < until)) for log in logs]
        yield until, batches(part, catalog, until)
