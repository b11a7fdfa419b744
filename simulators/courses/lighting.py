"""The lighting course: a city of lamps and cabinets over some nights, with every fault of the family and its like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from alerts.binomial import Critical
from alerts.rules import RuleSet
from devices.kinds import Catalog
from devices.registry import Registry
from devices.sky import Sky
from simulators.city import build_city
from simulators.course import TRIES, Diary, Size, WorldCourse
from simulators.faults import NEVER_MS, Fault
from simulators.injectors.form import Injector
from simulators.injectors.lighting import INJECTORS
from simulators.lamps import DISCHARGE_IN, DISCHARGE_W
from simulators.weather import DAY_MS, HOUR_MS
from simulators.world import World

ZONE = "Asia/Shanghai"
MIN_MS = 60_000
LEARN_DAYS = 4  # before the course proper: rules that learn from past nights see some without faults
CIRCUIT_FED = 0.3  # share of cabinets whose lamps' controllers fall silent with their circuit
FOR_LAMPS = 0.35  # share of cabinets in which single lamps fail; in the others the cabinet does
CALM_MS = 30 * HOUR_MS  # between two faults of one cabinet: alerts of the first have ended by then
SPARE_MS = 45 * MIN_MS  # a night's fault begins so long after the switch-on, and ends before the switch-off
TOGETHER = 2  # lamps of one cabinet that fail at a time: more would be a fault of the cabinet's lighting rate


def build(seed: int, size: Size, catalog: Catalog, rules: RuleSet) -> WorldCourse:
    """Return the course: ``size.devices`` lamps, ``LEARN_DAYS`` quiet days, then ``size.days`` with faults.

    Faults of one cabinet, or of lamps of one cabinet beyond TOGETHER, never overlap. Where the city is too small for
    ``size.each`` of a kind there are fewer.
    """
    city = build_city(seed, lamps=size.devices, covers=0, stations=0, trucks=0, name="course")
    start = datetime(2026, 3, 10 + seed % 10, 12, tzinfo=ZoneInfo(ZONE))
    start_ms = int(start.timestamp() * 1000)
    registry = Registry(catalog, city.assets, city.roads, city.permits, city.centre)
    script = _Script(seed, size, registry, Sky(registry, ZONE, rules.lighting), start_ms)
    faults = script.write()
    world = World(city, catalog, ZONE, seed, start_ms, faults, schedule=rules.lighting)
    return WorldCourse("lighting", world, start_ms + round((LEARN_DAYS + size.days) * DAY_MS))


@dataclass(frozen=True, slots=True)
class _Box:
    """A cabinet with its lamps, in the order of their poles by circuit."""

    id: str
    lamps: tuple[str, ...]
    circuits: dict[str, tuple[str, ...]]
    discharge: bool
    silent: bool


class _Script:
    """Draws what goes wrong, and writes it down."""

    def __init__(self, seed: int, size: Size, registry: Registry, sky: Sky, start_ms: int) -> None:
        self._rng = np.random.default_rng([seed, 21])
        self._size, self._sky, self._registry = size, sky, registry
        self._from_ms = start_ms + LEARN_DAYS * DAY_MS
        self._until_ms = self._from_ms + round(size.days * DAY_MS)
        self._start_ms = start_ms
        boxes = _boxes(registry, self._rng)
        order = self._rng.permutation(len(boxes))
        cut = max(1, round(FOR_LAMPS * len(boxes)))
        self._lampwise = [boxes[k] for k in order[:cut] if boxes[k].lamps]
        self._whole = [boxes[k] for k in order[cut:] if boxes[k].lamps] or self._lampwise
        self._boxes = boxes
        self._diary = Diary(CALM_MS)
        self._busy: dict[str, list[tuple[int, int]]] = {}
        self._nights = self._all_nights()
        self._faults: list[Fault] = []
        self._count: dict[str, int] = {}

    def write(self) -> list[Fault]:
        """Return all faults."""
        silent = tuple(box.id for box in self._boxes if box.silent)
        if silent:
            quiet = Fault("day_silence-0", "day_silence", "", "city:*", self._start_ms, NEVER_MS, NEVER_MS, 1.0, silent)
            self._faults.append(quiet)
        kinds = [one for one in INJECTORS if one.kind != "day_silence"]
        for _ in range(self._size.each):
            for kind in kinds:
                self._draw(kind)
        return self._faults

    def _draw(self, kind: Injector) -> None:
        if kind.effect in ("cycling", "mains_dip"):
            self._place(kind, lambda box: box.discharge)
        elif kind.kind == "day_burn":
            self._place(kind, lambda box: not box.silent)
        else:
            self._place(kind, lambda _: True)

    def _place(self, kind: Injector, suits: Callable[[_Box], bool]) -> None:
        single = kind.kind in _SINGLE
        boxes = [box for box in (self._lampwise if single else self._whole) if suits(box)]
        for _ in range(TRIES if boxes else 0):
            box = boxes[int(self._rng.integers(len(boxes)))]
            span = self._span(kind)
            if span is None:
                return
            if single:
                lamp = box.lamps[int(self._rng.integers(len(box.lamps)))]
                if self._diary.free(lamp, *span) and self._together(box.id, span) < TOGETHER:
                    self._diary.take(lamp, *span)
                    self._busy.setdefault(box.id, []).append(span)
                    self._add(kind, f"device:{lamp}", span, (lamp,))
                    return
            elif self._diary.free(box.id, *span):
                self._diary.take(box.id, *span)
                self._befall(kind, box, span)
                return

    def _together(self, box: str, span: tuple[int, int]) -> int:
        """Return how many lamps of a cabinet fail within a day of ``span``."""
        return sum(1 for on, off in self._busy.get(box, ()) if on < span[1] + DAY_MS and off > span[0] - DAY_MS)

    def _befall(self, kind: Injector, box: _Box, span: tuple[int, int]) -> None:
        """Write down what befalls a whole cabinet, or many of its lamps."""
        own = f"device:{box.id}"
        if kind.kind == "lamps_out":
            count = int(Critical(0.02, 1e-3)(np.array([len(box.lamps)]))[0]) + 2
            lost = tuple(box.lamps[k] for k in sorted(self._rng.permutation(len(box.lamps))[:count]))
            cause = self._add(kind, f"cabinet:{box.id}", span, lost)
            one = next(one for one in INJECTORS if one.kind == "lamp_out")
            for lamp in lost:
                self._add(one, f"device:{lamp}", span, (lamp,), parent=cause)
        elif kind.effect == "cable_cut":
            name = sorted(box.circuits)[int(self._rng.integers(len(box.circuits)))]
            poles = box.circuits[name]
            first = 0 if kind.kind == "cable_theft" else int(self._rng.integers(0, max(1, len(poles) // 2)))
            self._add(kind, f"circuit:{box.id}/{name}", span, poles[first:], rule="loop_current" if box.silent else "")
        elif kind.effect in ("packet_loss", "rain_leakage"):
            self._add(kind, own, span, box.lamps)
        else:
            self._add(kind, own, span, (box.id,))

    def _add(
        self,
        kind: Injector,
        entity: str,
        span: tuple[int, int],
        targets: Sequence[str],
        *,
        parent: str = "",
        rule: str = "",
    ) -> str:
        number = self._count[kind.kind] = self._count.get(kind.kind, 0) + 1
        name = f"{kind.kind}-{number}"
        size = float(self._rng.uniform(*kind.magnitude)) if kind.kind != "phase_loss" else float(self._rng.integers(3))
        said = rule or (kind.rules[0] if kind.rules else "")
        self._faults.append(Fault(name, kind.kind, said, entity, *span, NEVER_MS, size, tuple(targets), 0, parent))
        return name

    def _span(self, kind: Injector) -> tuple[int, int] | None:
        """Draw when a fault of that kind begins and ends: such that it can be seen at all."""
        rng = self._rng
        lasts = int(rng.uniform(*kind.lasts_min) * MIN_MS)
        if kind.kind in _NIGHTLY:
            on, off = self._nights[int(rng.integers(len(self._nights)))]
            latest = off - SPARE_MS - max(lasts // 2 if kind.effect == "cable_cut" else lasts, 60 * MIN_MS)
            begin = int(rng.integers(on + SPARE_MS, max(latest, on + SPARE_MS + 1)))
            return begin, begin + lasts
        if kind.kind == "early_switch":
            on, _ = self._nights[int(rng.integers(len(self._nights)))]
            return on - lasts, on + 2 * MIN_MS
        if kind.kind in ("day_test", "storm_dark"):
            noon = self._from_ms + int(rng.integers(max(1, round(self._size.days)))) * DAY_MS
            begin = noon + int(rng.integers(-150 if noon > self._from_ms else 5, 180)) * MIN_MS
            return begin, begin + lasts
        if kind.effect == "clock_drift":  # from noon to noon: a clock is looked after by day
            day = int(rng.integers(max(1, round(self._size.days))))
            begin = self._from_ms + day * DAY_MS
            return begin, begin + max(1, round(lasts / DAY_MS)) * DAY_MS
        latest = self._until_ms - lasts - 2 * HOUR_MS
        if latest <= self._from_ms:
            return None
        begin = int(rng.integers(self._from_ms, latest))
        return begin, begin + lasts

    def _all_nights(self) -> list[tuple[int, int]]:
        """Return switch-on and switch-off of every night of the course proper."""
        noons = range(self._from_ms, self._until_ms - DAY_MS + 1, DAY_MS)
        row = self._registry.rows_of("streetlight", "cabinet")[:1]
        found = []
        for noon in noons:
            began, ended, _ = self._sky.nights(row, np.array([noon + DAY_MS // 2]))
            found.append((int(np.ravel(began)[0]), int(np.ravel(ended)[0])))
        return found


_SINGLE = (
    "lamp_out", "day_burn", "cycling", "capacitor_loss", "string_loss", "pole_leak", "lamp_silent",
)  # fmt: skip
_NIGHTLY = (
    "lamps_out", "cabinet_out", "cable_cut", "cable_theft", "mains_dip", "dimmed", "feeder_leak_small", "pole_leak",
)  # fmt: skip


def _boxes(registry: Registry, rng: np.random.Generator) -> list[_Box]:
    """Return all cabinets with their lamps."""
    lamps: dict[str, list[tuple[str, int, str]]] = {}
    heavy: dict[str, float] = {}
    for row in registry.rows_of("streetlight", "lamp"):
        one = registry.assets[row]
        lamps.setdefault(one.cabinet, []).append((one.circuit, int(registry.pole_index[row]), one.id))
        heavy[one.cabinet] = max(heavy.get(one.cabinet, 0.0), float(one.facts["rated_power_w"]))
    boxes = []
    for number, row in enumerate(registry.rows_of("streetlight", "cabinet")):
        name = registry.assets[row].id
        poles = sorted(lamps.get(name, ()))
        circuits = {k: tuple(lamp for c, _, lamp in poles if c == k) for k in {c for c, _, _ in poles}}
        circuits = {k: held for k, held in circuits.items() if len(held) >= 6} or circuits
        discharge = number % DISCHARGE_IN == 2 and heavy.get(name, 0.0) >= DISCHARGE_W
        silent = bool(rng.random() < CIRCUIT_FED)
        boxes.append(_Box(name, tuple(lamp for _, _, lamp in poles), circuits, discharge, silent))
    return boxes
