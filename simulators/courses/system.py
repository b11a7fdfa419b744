"""The system course: a whole city whose broker, gateways, base stations and clocks fail, while all devices are well."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from alerts.rules import RuleSet
from alerts.spans import report_s
from devices.kinds import Catalog
from devices.registry import Registry
from simulators.city import build_city
from simulators.course import TRIES, Diary, Size, WorldCourse
from simulators.faults import KINDS, Fault
from simulators.weather import DAY_MS, HOUR_MS
from simulators.world import World

ZONE = "Asia/Shanghai"
MIN_MS = 60_000
TICK_MS = 30_000
CALM_MS = 2 * HOUR_MS
QUIET_MS = 2 * HOUR_MS
CUT_AFTER_H = 3  # hours from one cut of the broker to the next, at least
CHILDREN = 20  # of a source that can be judged
DARK_H = (8.5, 11.5)  # hours after noon at which a lamp's gateway dies: its lamps are meant to burn for hours more
SINGLES = ("clock_wrong", "reports_lost", "unit_silent")
OFFLINE = {"cabinet": "cabinet_offline", "station": "station_offline"}  # what must be said of a unit that is silent
APART_MS = 15 * MIN_MS  # between a cut and a unit that is silent by itself: else nobody could tell which it was
LOST = (1.0, 2.0)  # report intervals for which a device is not heard when a report or two of it are lost


def build(seed: int, size: Size, catalog: Catalog, rules: RuleSet) -> WorldCourse:
    """Return the course: a city of about ``size.devices``, with sources that fall silent and clocks that are wrong."""
    devices = size.devices
    city = build_city(
        seed, lamps=max(120, devices // 2), covers=devices * 2 // 5, stations=max(8, devices // 100), trucks=0
    )
    registry = Registry(catalog, city.assets, city.roads, city.permits, city.centre)
    start_ms = int(datetime(2026, 4, 1 + seed % 28, 12, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
    end_ms = start_ms + round(size.days * DAY_MS)
    script = _Script(np.random.default_rng([seed, 43]), size, registry, start_ms, end_ms)
    world = World(city, catalog, ZONE, seed, start_ms, script.write(), schedule=rules.lighting)
    return WorldCourse("system", world, end_ms, TICK_MS)


class _Script:
    """Draws what goes wrong, and writes it down."""

    def __init__(self, rng: np.random.Generator, size: Size, registry: Registry, start_ms: int, end_ms: int) -> None:
        self._rng, self._size, self._registry = rng, size, registry
        self._start_ms, self._end_ms = start_ms, end_ms
        self._diary = Diary(CALM_MS)
        self._faults: list[Fault] = []

    def write(self) -> list[Fault]:
        """Return all faults; where the course is too short for ``size.each`` of a kind there are fewer."""
        self._cuts()
        self._sources("gateway_dead", self._cabinets())
        self._sources("radio_cell_out", self._cells())
        for number in range(self._size.each):
            for kind in SINGLES:
                self._single(kind, number)
        return self._faults

    def _lasts_ms(self, kind: str) -> int:
        low, high = KINDS[kind].lasts_min
        return round(min(self._rng.uniform(low, high) * MIN_MS, 0.6 * (self._end_ms - self._start_ms)))

    def _cuts(self) -> None:
        """Cut the broker off now and then; nothing else begins shortly before or after."""
        everybody = tuple(asset.id for asset in self._registry.assets)
        at = self._start_ms + QUIET_MS
        for number in range(self._size.each):
            at += round(self._rng.uniform(CUT_AFTER_H, 2.5 * CUT_AFTER_H) * HOUR_MS)
            until = at + self._lasts_ms("broker_cut")
            if until + HOUR_MS > self._end_ms:
                return
            self._diary.take("broker", at, until)
            self._add("broker_cut", f"{number + 1}", "source_silent", "city:*", (at, until), everybody)
            at = until

    def _cabinets(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return cabinets with enough lamps: entity, rule, and the lamps that speak through them."""
        members: dict[str, list[str]] = {}
        for asset in self._registry.assets:
            if asset.role == "lamp" and asset.cabinet:
                members.setdefault(asset.cabinet, []).append(asset.id)
        enough = {cabinet: tuple(lamps) for cabinet, lamps in members.items() if len(lamps) >= CHILDREN}
        return [(f"cabinet:{cabinet}", "source_silent", lamps) for cabinet, lamps in enough.items()]

    def _cells(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return radio cells that hear enough covers: entity, rule, covers."""
        rows = self._registry.rows_of("manhole", "cover")
        cell = self._registry.fact("gateway", rows)
        found = []
        for number in np.unique(cell[~np.isnan(cell)]).tolist():
            covers = tuple(self._registry.ids_of(rows[cell == number]))
            if len(covers) >= CHILDREN:
                found.append((f"gateway:{number:g}", "cells_silent", covers))
        return found

    def _sources(self, kind: str, among: Sequence[tuple[str, str, tuple[str, ...]]]) -> None:
        at_a_time = max(1, len(among) // 5)  # more would be the city's trouble, not that of one source
        for number in range(self._size.each if among else 0):
            lasts_ms = self._lasts_ms(kind)
            for turn in range(TRIES):
                entity, rule, children = among[int(self._rng.integers(len(among)))]
                slot = f"{kind} {turn % at_a_time}"
                on_ms = self._when(lasts_ms, dark=kind == "gateway_dead")
                if on_ms + lasts_ms > self._end_ms or not all(
                    self._diary.free(one, on_ms, on_ms + lasts_ms) for one in (entity, slot)
                ):
                    continue
                for one in (entity, slot, *children):
                    self._diary.take(one, on_ms, on_ms + lasts_ms)
                self._add(kind, f"{number + 1}", rule, entity, (on_ms, on_ms + lasts_ms), children)
                break

    def _when(self, lasts_ms: int, *, dark: bool) -> int:
        if not dark:
            return int(
                self._rng.integers(
                    self._start_ms + QUIET_MS, max(self._end_ms - lasts_ms, self._start_ms + QUIET_MS + 1)
                )
            )
        night = int(self._rng.integers(max(1, round(self._size.days)))) * DAY_MS
        return self._start_ms + night + round(self._rng.uniform(*DARK_H) * HOUR_MS)

    def _single(self, kind: str, number: int) -> None:
        """Let something befall one device."""
        roles = tuple(OFFLINE) if kind == "unit_silent" else ("cover", *OFFLINE)
        role = roles[number % len(roles)]
        units = [asset for asset in self._registry.assets if asset.role == role]
        among, lasts_ms = [asset.id for asset in units], self._lasts_ms(kind)
        if kind == "reports_lost":
            every_s = report_s(self._registry.catalog[units[0].kind], role)
            lasts_ms = round(self._rng.uniform(*LOST) * every_s * 1000)
        span = (self._start_ms + QUIET_MS, self._end_ms)
        found = self._diary.place(self._rng, among, span, lasts_ms)
        while found is not None and kind != "clock_wrong" and self._is_cut(*found[1:]):
            found = self._diary.place(self._rng, among, span, lasts_ms)  # what was drawn stays taken, so this ends
        if found is None:
            return
        size = float(self._rng.uniform(*KINDS[kind].magnitude)) * float(self._rng.choice([-1.0, 1.0]))
        rule = OFFLINE[role] if kind == "unit_silent" else next(iter(KINDS[kind].rules), "")
        self._add(kind, f"{number + 1}", rule, f"device:{found[0]}", found[1:], (found[0],), size)

    def _is_cut(self, on_ms: int, off_ms: int) -> bool:
        """Return whether the broker is cut off about that time."""
        cuts = (one for one in self._faults if one.kind == "broker_cut")
        return any(one.on_ms - APART_MS < off_ms and on_ms < one.off_ms + APART_MS for one in cuts)

    def _add(
        self,
        kind: str,
        name: str,
        rule: str,
        entity: str,
        span: tuple[int, int],
        targets: tuple[str, ...],
        size: float = 1.0,
    ) -> None:
        self._faults.append(Fault(f"{kind}-{name}", kind, rule, entity, *span, span[1], size, targets))
