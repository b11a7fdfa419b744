"""The seepage course: pump stations over a year and more, with what takes weeks and months to show.

Each station has one slow fault or what looks like one, or none. The year before the course is the stations' own logs,
close at night; in the course itself stations and wells report, their pumps do not: what slow rules go by stands there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from alerts.rules import RuleSet
from devices.batch import Batch
from devices.kinds import Catalog
from simulators.ailments import ON_PUMPS
from simulators.city import build_city
from simulators.course import Size, WorldCourse
from simulators.courses.drainage import ZONE, logged
from simulators.faults import NEVER_MS, Fault
from simulators.injectors.drainage import SLOW
from simulators.injectors.form import Injector
from simulators.weather import DAY_MS, seeded_rain
from simulators.world import Intervals, World

PAST_DAYS = 400.0  # of logs: the same season a year ago
TICK_MS = 3_600_000
REPORT_S = 120.0
ALWAYS_DAYS = 365.0  # a fault that lasts longer has always been there
LEARN_SHARE = 0.4  # of the course, before storms bring more: where no meter is, storms of the past are not known


@dataclass(slots=True)
class SeasonCourse(WorldCourse):
    """A world whose past is played as it is made: a year of it would fill the memory.

    Attributes:
        catalog: the kinds.
        past_days: of logs.
    """

    catalog: Catalog | None = None
    past_days: float = PAST_DAYS

    def steps(self) -> Iterator[tuple[int, list[Batch]]]:
        """Yield (now, batches since the step before) up to the end; once."""
        assert self.catalog is not None  # noqa: S101 - build gives it
        yield from logged(list(self.world.logs(self.past_days)), self.catalog)
        yield from self.world.steps(self.end_ms, self.tick_ms)


def build(
    seed: int,
    size: Size,
    catalog: Catalog,
    rules: RuleSet,
    *,
    report_s: float = REPORT_S,
    past_days: float = PAST_DAYS,
) -> SeasonCourse:
    """Return the course: ``size.devices`` stations for ``size.days``, ``size.each`` slow faults of each kind.

    Where there are fewer stations than faults there are fewer faults.
    """
    city = build_city(seed, lamps=0, covers=0, stations=size.devices, trucks=0, name="seasons")
    start_ms = int(datetime(2026, 1 + seed % 12, 3, 12, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
    end_ms = start_ms + round(size.days * DAY_MS)
    begin_ms = start_ms - round(past_days * DAY_MS)
    rain = seeded_rain(seed, begin_ms - 20 * DAY_MS, end_ms)
    known = {rule.id for rule in rules}
    kinds = [one for one in SLOW if one.confounder or one.rules[0] in known]
    held = [a.id for a in city.assets if a.role == "station"]
    wells = {a.cabinet: a.id for a in city.assets if a.role == "well"}
    faults = draw(np.random.default_rng([seed, 31]), size, held, wells, (begin_ms, start_ms, end_ms), kinds)
    pace = Intervals(station_s=report_s, pumps=False)
    world = World(city, catalog, ZONE, seed, start_ms, faults, rain=rain, schedule=rules.lighting, intervals=pace)
    return SeasonCourse("seepage", world, end_ms, TICK_MS, catalog=catalog, past_days=past_days)


def draw(
    rng: np.random.Generator,
    size: Size,
    stations: list[str],
    wells: dict[str, str],
    span: tuple[int, int, int],
    kinds: list[Injector],
) -> list[Fault]:
    """Return the faults, at most one of a station.

    Args:
        rng: what they are drawn from.
        size: how many of each kind.
        stations: ids.
        wells: by station its inlet well.
        span: when the past, the course, and its end are.
        kinds: of faults.
    """
    begin_ms, start_ms, end_ms = span
    free = [stations[k] for k in rng.permutation(len(stations)).tolist()]
    out: list[Fault] = []
    for number in range(size.each):
        for kind in sorted(kinds, key=lambda one: not _by_well(one)):
            station = next((one for one in free if one in wells or not _by_well(kind)), None)
            if station is None:
                continue
            free.remove(station)
            lasts = round(float(rng.uniform(*kind.lasts_min)) * 60_000)
            lasts_ms = min(lasts, round(0.9 * (end_ms - start_ms)))
            first_ms = start_ms
            if kind.effect == "roof_drains":
                first_ms += round(LEARN_SHARE * (end_ms - start_ms))
                lasts_ms = min(lasts_ms, end_ms - first_ms - DAY_MS)
            on_ms = int(rng.integers(first_ms, end_ms - lasts_ms))
            if lasts > ALWAYS_DAYS * DAY_MS:
                on_ms, lasts_ms = begin_ms, end_ms - begin_ms
            entity = station
            if kind.effect.startswith("well_"):
                entity = wells[station]
            elif kind.effect in ON_PUMPS:
                entity = f"{station}-pump-{1 + int(rng.integers(2))}"
            rule = kind.rules[0] if kind.rules else ""
            much = float(rng.uniform(*kind.magnitude))
            about = (f"{kind.kind}-{number}", kind.kind, rule, f"device:{entity}", on_ms, on_ms + lasts_ms, NEVER_MS)
            out.append(Fault(*about, much, (entity,)))
    return sorted(out, key=lambda fault: fault.on_ms)


def _by_well(kind: Injector) -> bool:
    """Return whether a fault belongs to a station with an inlet well and without a meter.

    Of a fault that was always there a metered station's own logs tell before the course begins.
    """
    return kind.effect.startswith("well_") or kind.lasts_min[0] > ALWAYS_DAYS * 1440
