"""The trucks course: a fleet on the roads of a city with open sky, streets and canyons, and all that befalls it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from alerts.rules import RuleSet
from devices.batch import Batch
from devices.geometry import LocalProjection
from devices.kinds import Catalog
from devices.registry import Registry
from devices.sky import Sky
from simulators.city import CENTRE
from simulators.course import TRIES, Diary, Size
from simulators.faults import Fault, FaultBook
from simulators.haulage import Haul, build_hauls
from simulators.injectors.form import Injector
from simulators.injectors.trucks import INJECTORS
from simulators.network import build_network
from simulators.receiver import CITY_AIR
from simulators.strays import Compound, compounds, fences
from simulators.trucks import Trucks
from simulators.weather import DAY_MS, HOUR_MS
from simulators.world import batches

ZONE = "Asia/Shanghai"
MIN_MS = 60_000
BLOCKS = (12, 10)  # of the city: hauls of some ten kilometres
LEARN_DAYS = 2  # before the course proper: rules that learn from past trips see some without faults
SHORT_DAYS = 1  # the same before a course of less than LEARN_DAYS
CALM_MS = 3 * HOUR_MS  # between two faults of one truck
STEP_MS = 30_000
SLEEP = 40  # parked trucks report every ten minutes
AREA = ("diversion", "congestion", "gps_jam")  # what befalls all trucks of one way
FENCED = ("fence_incursion", "fence_graze")
_WORK = (10.4, 16.4)  # hours after noon in which trips begin: 22:24 to 04:24


@dataclass(slots=True)
class TruckCourse:
    """A fleet's nights, played without a broker; ``tick_ms`` is how often they are handed out."""

    name: str
    registry: Registry
    sky: Sky
    start_ms: int
    end_ms: int
    trucks: Trucks
    book: FaultBook
    tick_ms: int = STEP_MS

    def steps(self) -> Iterator[tuple[int, list[Batch]]]:
        """Yield (now, batches since the step before) up to the end; once."""
        for now in range(self.start_ms, self.end_ms, self.tick_ms):
            until = min(now + self.tick_ms, self.end_ms)
            told = self.trucks.tick(now, until)
            yield until, batches(told, self.registry.catalog, until)

    def truth(self) -> Sequence[Fault]:
        """Return faults and confounders; after the steps, with ``seen_ms``."""
        return [fault for fault in self.book.faults.values() if fault.confounder or fault.seen_ms]


def build(seed: int, size: Size, catalog: Catalog, rules: RuleSet) -> TruckCourse:
    """Return the course: ``size.devices`` trucks, one or two quiet nights, then ``size.days`` with faults.

    A fault that nobody could see (a trip that the night was too short for) is left out of the truth.
    """
    rng = np.random.default_rng([seed, 31])
    projection = LocalProjection(*CENTRE)
    network = build_network(rng, *BLOCKS)
    assets, permits, hauls = build_hauls(rng, network, size.devices, projection)
    yards = compounds(hauls, CITY_AIR.canyon_m)
    registry = Registry(catalog, assets, (), permits, CENTRE, fences(yards, projection))
    sky = Sky(registry, ZONE, rules.lighting)
    start_ms = int(datetime(2026, 4, 1 + seed % 25, 12, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
    faults = _Script(np.random.default_rng([seed, 32]), size, hauls, yards, start_ms).write()
    book = FaultBook(faults)
    own = np.random.default_rng([seed, 33])
    trucks = Trucks(
        registry, sky, network, tuple(hauls), book, own,
        start_ms=start_ms, truck_s=15.0, air=CITY_AIR, compounds=yards, sleep=SLEEP,
    )  # fmt: skip
    end_ms = start_ms + round((_learning(size) + size.days) * DAY_MS)
    return TruckCourse("trucks", registry, sky, start_ms, end_ms, trucks, book)


def _learning(size: Size) -> int:
    """Return how many nights without faults come first."""
    return LEARN_DAYS if size.days >= LEARN_DAYS else SHORT_DAYS


class _Script:
    """Draws what goes wrong, and writes it down."""

    def __init__(
        self, rng: np.random.Generator, size: Size, hauls: Sequence[Haul], yards: dict[int, Compound], start_ms: int
    ) -> None:
        self._rng, self._size, self._hauls = rng, size, hauls
        self._first_ms = start_ms + _learning(size) * DAY_MS
        self._fenced = [haul for haul in hauls if id(haul.line) in yards]
        self._sharing: dict[int, tuple[str, ...]] = {}
        for haul in hauls:
            self._sharing[id(haul.line)] = (*self._sharing.get(id(haul.line), ()), haul.truck)
        self._diary = Diary(CALM_MS)
        self._faults: list[Fault] = []

    def write(self) -> list[Fault]:
        """Return all faults; where the course is too small for ``size.each`` of a kind there are fewer."""
        for number in range(self._size.each):
            for kind in INJECTORS:
                self._draw(kind, number)
        return self._faults

    def _draw(self, kind: Injector, number: int) -> None:
        rng = self._rng
        among = self._fenced if kind.kind in FENCED else self._hauls
        for _ in range(TRIES if among else 0):
            haul = among[int(rng.integers(len(among)))]
            span = self._span(kind)
            shared = self._sharing[id(haul.line)]
            targets: tuple[str, ...] = (haul.truck,)
            if kind.kind in AREA:
                targets = (haul.truck, *(truck for truck in shared if truck != haul.truck))
            elif kind.kind == "gps_copy":
                other = self._hauls[int(rng.integers(len(self._hauls)))]
                if other.line is haul.line:
                    continue
                targets = (haul.truck, other.truck)
            if all(self._diary.free(target, *span) for target in targets):
                for target in targets:
                    self._diary.take(target, *span)
                self._add(kind, number, span, targets)
                return

    def _add(self, kind: Injector, number: int, span: tuple[int, int], targets: tuple[str, ...]) -> None:
        size = float(self._rng.uniform(*kind.magnitude))
        rule = kind.rules[0] if kind.rules else ""
        name = f"{kind.kind}-{number + 1}"
        if kind.kind in AREA and not kind.confounder:  # every truck that it catches is one that must be told of
            for target in targets:
                about = (f"{name}-{target}", kind.kind, rule, f"device:{target}")
                self._faults.append(Fault(*about, *span, span[1], size, (target,)))
            return
        self._faults.append(Fault(name, kind.kind, rule, f"device:{targets[0]}", *span, span[1], size, targets))

    def _span(self, kind: Injector) -> tuple[int, int]:
        """Draw from when to when a fault may happen."""
        rng = self._rng
        noon = self._first_ms + int(rng.integers(max(1, round(self._size.days)))) * DAY_MS
        if kind.kind == "off_hours":
            return noon + round(18.5 * HOUR_MS), noon + 20 * HOUR_MS
        lasts = round(rng.uniform(*kind.lasts_min) * MIN_MS)
        hours = (0.5, 5.0) if kind.kind == "ignition_cut" else _WORK
        begin = noon + round(rng.uniform(*hours) * HOUR_MS)
        return begin, begin + lasts
