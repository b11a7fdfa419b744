"""The manholes course: the covers of a city under lorries, sun and rain, and all that befalls them and their sewers."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from alerts.rules import RuleSet
from devices.kinds import Catalog
from devices.registry import Registry
from simulators.city import build_city
from simulators.course import Diary, Size, WorldCourse
from simulators.faults import Fault
from simulators.injectors.form import Injector
from simulators.injectors.manholes import INJECTORS
from simulators.injectors.system import INJECTORS as SYSTEM
from simulators.sewers import WAVE_MPS, along_roads
from simulators.weather import DAY_MS, HOUR_MS
from simulators.world import World

ZONE = "Asia/Shanghai"
MIN_MS = 60_000
TICK_MS = 60_000
CALM_MS = 3 * HOUR_MS  # between two faults of one cover: the first must have cleared
QUIET_MS = 2 * HOUR_MS  # before the first fault: everybody is heard
WAVE_COVERS = 4  # covers in a row that one surcharge reaches
SILENT_MIN = (150.0, 480.0)  # a cover that says nothing: longer than its three report intervals
LOST_MIN = (20.0, 40.0)
_BESIDE = tuple(one for one in SYSTEM if one.kind in ("silent", "reports_lost"))


def build(seed: int, size: Size, catalog: Catalog, rules: RuleSet) -> WorldCourse:
    """Return the course: ``size.devices`` covers for ``size.days``, ``size.each`` faults and confounders of each kind.

    Where the course is too small for as many there are fewer.
    """
    city = build_city(seed, lamps=0, covers=size.devices, stations=0, trucks=0)
    registry = Registry(catalog, city.assets, city.roads, city.permits, city.centre)
    start_ms = int(datetime(2026, 5, 1 + seed % 28, 12, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
    end_ms = start_ms + round(size.days * DAY_MS)
    script = _Script(np.random.default_rng([seed, 41]), size, registry, (start_ms + QUIET_MS, end_ms))
    world = World(city, catalog, ZONE, seed, start_ms, script.write(), schedule=rules.lighting)
    return WorldCourse("manholes", world, end_ms, TICK_MS)


class _Script:
    """Draws what goes wrong, and writes it down."""

    def __init__(self, rng: np.random.Generator, size: Size, registry: Registry, span: tuple[int, int]) -> None:
        self._rng, self._size, self._span = rng, size, span
        rows = registry.rows_of("manhole", "cover")
        self._covers = registry.ids_of(rows)
        self._along = along_roads(registry, rows)
        self._road = registry.group("road").code[rows]
        self._diary = Diary(CALM_MS)
        self._faults: list[Fault] = []

    def write(self) -> list[Fault]:
        """Return all faults."""
        for number in range(self._size.each):
            for kind in (*INJECTORS, *_BESIDE):
                if kind.effect != "surcharge":
                    self._single(kind, number)
                elif number % WAVE_COVERS == 0:
                    self._wave(kind, number)
        return self._faults

    def _lasts_ms(self, kind: Injector) -> int:
        low, high = SILENT_MIN if kind.kind == "silent" else kind.lasts_min
        longest = 0.8 * (self._span[1] - self._span[0])
        return round(min(self._rng.uniform(low, high) * MIN_MS, longest))

    def _single(self, kind: Injector, number: int) -> None:
        found = self._diary.place(self._rng, self._covers, self._span, self._lasts_ms(kind))
        if found is not None:
            self._add(kind, f"{number + 1}", found[0], (found[1], found[2]), float(self._rng.uniform(*kind.magnitude)))

    def _wave(self, kind: Injector, number: int) -> None:
        """Let a sewer fill: cover after cover of one road, each reached by its distance."""
        lasts_ms, size = self._lasts_ms(kind), float(self._rng.uniform(*kind.magnitude))
        found = self._diary.place(self._rng, self._covers, self._span, lasts_ms + HOUR_MS)
        if found is None:
            return
        head = self._covers.index(found[0])
        below = np.flatnonzero((self._road == self._road[head]) & (self._along >= self._along[head]))
        order = below[np.argsort(self._along[below], kind="stable")][:WAVE_COVERS]
        for place in order.tolist():
            on_ms = found[1] + round(float(self._along[place] - self._along[head]) / WAVE_MPS * 1000)
            span = (on_ms, on_ms + lasts_ms)
            cover = self._covers[place]
            if place != head and not self._diary.free(cover, *span):
                continue
            if place != head:
                self._diary.take(cover, *span)
            self._add(kind, f"{number + 1}-{cover}", cover, span, size)

    def _add(self, kind: Injector, name: str, cover: str, span: tuple[int, int], size: float) -> None:
        rule = "cover_offline" if kind.kind == "silent" else kind.rules[0] if kind.rules else ""
        entity = f"device:{cover}"
        self._faults.append(Fault(f"{kind.kind}-{name}", kind.kind, rule, entity, *span, span[1], size, (cover,)))
