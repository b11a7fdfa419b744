"""The world: one city's machines under one sky, one rain and one list of faults, as messages in the order of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from devices import topics
from devices.batch import Batch, make_batch
from devices.kinds import Catalog
from devices.registry import Registry
from devices.sky import LightingSchedule, Sky
from simulators.city import City
from simulators.covers import Covers
from simulators.faults import Fault, FaultBook
from simulators.lighting import Streetlights
from simulators.link import Link, Mishaps
from simulators.machine import Machine, Message, Reports
from simulators.silence import Way
from simulators.stations import Stations
from simulators.trucks import Trucks
from simulators.weather import DAY_MS, HOUR_MS, Rain, seeded_rain

TICK_MS = 15_000  # faults and weather are looked at this often


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds between reports of each role; the defaults are the catalog's usual ones."""

    lamp_s: float = 900.0
    cabinet_s: float = 60.0
    cover_s: float = 1800.0
    station_s: float = 60.0
    pumps: bool = True  # whether pumps report beside their station
    truck_s: float = 15.0


USUAL = Intervals()
SUN = LightingSchedule()
NONE = Mishaps()
DEMO = Intervals(lamp_s=300.0, cover_s=600.0)
DRY_BEFORE_MS = 6 * DAY_MS + 12 * HOUR_MS  # no rain before a run, so that its night and the nights before are dry
DRY_AFTER_MS = 12 * HOUR_MS


class World:
    """Everything that happens in a simulated city from ``start_ms`` on.

    Args:
        city: from :func:`simulators.city.build_city`.
        catalog: kinds.
        timezone: IANA name; lighting hours and permits follow it.
        seed: what noise, traffic and weather are drawn from.
        start_ms: city time at which the devices begin to report.
        faults: what goes wrong.
        intervals: how often each role reports.
        schedule: when lamps should burn.
        rain: the weather; by default seeded, and dry around the start.
        mishaps: what happens on the way to the broker.

    Attributes:
        registry, sky, rain: as the machines see them.
        book: faults, and when each was first seen.
        link: counts of what happened on the way.
        now_ms: city time up to which messages have been handed out.
    """

    def __init__(
        self,
        city: City,
        catalog: Catalog,
        timezone: str,
        seed: int,
        start_ms: int,
        faults: Sequence[Fault] = (),
        *,
        intervals: Intervals = USUAL,
        schedule: LightingSchedule = SUN,
        rain: Rain | None = None,
        mishaps: Mishaps = NONE,
    ) -> None:
        self.registry = Registry(catalog, city.assets, city.roads, city.permits, city.centre)
        self.sky = Sky(self.registry, timezone, schedule)
        dry = (start_ms - DRY_BEFORE_MS, start_ms + DRY_AFTER_MS)
        self.rain = rain or seeded_rain(seed, start_ms - 120 * DAY_MS, start_ms + 120 * DAY_MS, dry=dry)
        self.book = FaultBook(faults)
        self.link = Link(seed, city.name, mishaps)
        self.start_ms = self.now_ms = start_ms
        self._edge_ms = start_ms
        self._waiting: list[Message] = []
        self._topics: dict[int, str] = {}
        lights, covers, water, trucks = np.random.default_rng([seed, 4]).spawn(4)
        common = (self.registry, self.sky)
        self._city = city.name
        self._stations = Stations(
            *common, self.rain, self.book, water, start_ms=start_ms, station_s=intervals.station_s,
            pumps=intervals.pumps,
        )  # fmt: skip
        self._machines: list[Machine] = [
            Streetlights(
                *common,
                self.book,
                lights,
                start_ms=start_ms,
                lamp_s=intervals.lamp_s,
                cabinet_s=intervals.cabinet_s,
                rain=self.rain,
            ),
            Covers(*common, self.rain, self.book, covers, start_ms=start_ms, cover_s=intervals.cover_s),
            self._stations,
            Trucks(*common, city.network, city.hauls, self.book, trucks, start_ms=start_ms, truck_s=intervals.truck_s),
        ]
        self._way = Way(self.registry, self.book)

    def history(self, days: float = 36.0, *, day_s: int = 3600, night_s: int = 180) -> Iterator[Message]:
        """Yield the pump stations' logs of the past ``days``, arrays of readings; before the first ``advance``.

        Args:
            days: how far back.
            day_s: seconds between logged readings by day.
            night_s: the same at night, when the inflow is least.
        """
        return map(self._log, self.logs(days, day_s=day_s, night_s=night_s))

    def logs(self, days: float, *, day_s: int = 3600, night_s: int = 180) -> Iterator[Reports]:
        """Yield the same as reports, station by station."""
        if self.now_ms != self.start_ms:
            raise ValueError("history belongs before the first advance")
        return self._stations.history(days, self.start_ms, day_s=day_s, night_s=night_s)

    def _log(self, log: Reports) -> Message:
        payload = f"[{','.join(log.form.texts(log))}]".encode()
        return Message(self._topic(int(log.devices[0])), payload, self.start_ms, len(log.devices))

    def advance(self, until_ms: int) -> list[Message]:
        """Return what arrives at the broker after ``now_ms`` and by ``until_ms``, in the order of time.

        The messages depend on the seed alone, never on the steps in which time is handed in.
        """
        while self._edge_ms < until_ms:
            begin, self._edge_ms = self._edge_ms, self._edge_ms + TICK_MS
            for machine in self._machines:
                for reports in machine.tick(begin, self._edge_ms):
                    self._waiting += reports.messages(self._topic)
        self._waiting.sort(key=_sent_ms)
        self.now_ms = max(self.now_ms, until_ms)
        cut = len(self._waiting)
        while cut and self._waiting[cut - 1].time_ms > until_ms:
            cut -= 1
        ready, self._waiting = self._waiting[:cut], self._waiting[cut:]
        return self.link.carry(self._way.spoken(ready))

    def steps(self, until_ms: int, tick_ms: int = TICK_MS) -> Iterator[tuple[int, list[Batch]]]:
        """Yield (city time, what arrived since) in virtual time, as batches; no mishaps on the way.

        A world is either told to a broker by :meth:`advance` or played by this: both come from the same machines.

        Args:
            until_ms: city time at which to end.
            tick_ms: how often faults and weather are looked at; longer is quicker and coarser.
        """
        while self._edge_ms < until_ms:
            begin, self._edge_ms = self._edge_ms, self._edge_ms + tick_ms
            told = [reports for machine in self._machines for reports in machine.tick(begin, self._edge_ms)]
            self.now_ms = self._edge_ms
            heard = [self._way.heard(reports) for reports in told]
            yield self.now_ms, self._way.dated(batches(heard, self.registry.catalog, self.now_ms))

    def truth(self) -> list[Fault]:
        """Return the faults with the moments at which they were first seen."""
        return list(self.book.faults.values())

    def _topic(self, row: int) -> str:
        known = self._topics.get(row)
        if known is None:
            asset = self.registry.assets[row]
            known = self._topics[row] = topics.up(self._city, asset.kind, asset.id)
        return known


def batches(told: Sequence[Reports], catalog: Catalog, now_ms: int) -> list[Batch]:
    """Return reports as batches, one a kind, each in the order of time; arrived at ``now_ms``."""
    out: list[Batch] = []
    for kind in catalog:
        parts = [reports for reports in told if reports.form.kind == kind.name and len(reports.devices)]
        if not parts:
            continue
        time_ms = np.concatenate([reports.time_ms for reports in parts])
        devices = np.concatenate([reports.devices for reports in parts])
        table = np.concatenate([reports.form.table(reports, kind) for reports in parts], axis=1)
        order = np.argsort(time_ms, kind="stable")
        out.append(make_batch(kind, now_ms, time_ms[order], devices[order], table[:, order]))
    return out


def _sent_ms(message: Message) -> int:
    return message.time_ms
