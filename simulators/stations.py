"""Simulated pump stations: each reports its well, its rain gauge, its meters, and every pump."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from devices.registry import Asset, Registry
from devices.sky import Sky
from simulators.ailments import Ailing, Ailments
from simulators.catchment import CELL_MS, Catchments
from simulators.faults import FaultBook
from simulators.machine import Floats, Ints, Reports, Rows, Timetable
from simulators.station_reports import INLET, METERED, PLAIN, PUMP, Meters, Moments
from simulators.weather import DAY_MS, Rain
from simulators.wells import PUMPS, Pieces, Wells

READINGS_A_MESSAGE = 1200  # under 256 kB at the length of a station's reading
HISTORY_SPAN_MS = DAY_MS // 4
NIGHT_MIN = (90, 330)  # the stations' logs are closer then


class Stations:
    """All pump stations of a city, with their pumps and inlet wells.

    Args:
        registry, sky, rain: who they are, and the weather over them.
        book: faults.
        rng: their own random numbers.
        start_ms: city time at which they begin to report.
        station_s: seconds between reports of a station and of its pumps and well.
        pumps: whether pumps report too; the station's own readings tell most of them.

    Attributes:
        assets: the stations' files; every even one (from 0) has a flow meter, for the others inflow follows from
            level and pump runs.
        wells: the water.
    """

    def __init__(
        self,
        registry: Registry,
        sky: Sky,
        rain: Rain,
        book: FaultBook,
        rng: np.random.Generator,
        *,
        start_ms: int,
        station_s: float,
        pumps: bool = True,
    ) -> None:
        self._sky, self._rain = sky, rain
        self.assets = [registry.assets[row] for row in registry.rows_of("pump", "station")]
        count = len(self.assets)
        facts = {name: _facts(self.assets, name) for name in ("well_area_m2", "start_level_m", "stop_level_m")}
        self.rate_lps = _facts(self.assets, "pump_rate_lps")
        start, stop = facts["start_level_m"], facts["stop_level_m"]
        self.wells = Wells(facts["well_area_m2"], start, stop, self.rate_lps, rng.uniform(stop, start))
        self.wells.run_s = rng.uniform(1500, 9000, (count, PUMPS)) * 3600.0
        self.wells.starts = rng.integers(8_000, 60_000, (count, PUMPS))
        self._rows = np.array([registry.row[asset.id] for asset in self.assets], dtype=np.intp)
        self._pumps_speak = pumps
        held = [_of(registry, asset.id, "pump")[:PUMPS] for asset in self.assets]
        self._pump_rows = np.array([[registry.row[p.id] for p in each] for each in held], dtype=np.intp).reshape(
            count, PUMPS
        )
        rated_a = np.array([[p.facts["rated_current_a"] for p in each] for each in held]).reshape(count, PUMPS)
        inlets = [_of(registry, asset.id, "well") for asset in self.assets]
        self._inlet_row = np.array([registry.row[each[0].id] if each else -1 for each in inlets], dtype=np.intp)
        self._metered = np.arange(count) % 2 == 0
        self._meters = Meters(rng.spawn(1)[0], start, self.rate_lps, rated_a)
        self._times = Timetable(rng, count, station_s, start_ms)
        self._ailments = Ailments(
            book, [a.id for a in self.assets], [[p.id for p in each] for each in held], self.rate_lps,
            [each[0].id if each else "" for each in inlets],
        )  # fmt: skip
        self._water = rng.spawn(1)[0]
        self._catchments: Catchments | None = None
        self._told_ms = np.full(count, start_ms, dtype=np.int64)  # when each reported its rain last

    def tick(self, from_ms: int, until_ms: int) -> list[Reports]:
        """Live through (from, until]; faults hold from the moment that they begin."""
        out: list[Reports] = []
        if not len(self.assets):
            return out
        cuts = self._ailments.cuts(from_ms, until_ms)
        for begin, end in pairwise(cuts):
            station, time_ms = self._due(end)
            moments, ailing = self._live(begin, end, station, time_ms)
            if len(station):
                out += self._report(moments, ailing)
        return out

    def history(self, days: float, start_ms: int, *, day_s: int, night_s: int) -> Iterator[Reports]:
        """Yield the stations' own logs of the past ``days``, as many readings of one station as a message holds.

        The stations then live on from where their logs end. They log every ``day_s`` seconds by day, and at night, from
        half past one to half past five, every ``night_s`` seconds: often enough for the inflow to follow from level
        and pump runs where there is no flow meter. A station with a meter logs a third as often at night.
        """
        begin_ms = start_ms - round(days * DAY_MS)
        self._told_ms[:] = begin_ms
        logs: list[list[Reports]] = [[] for _ in self.assets]
        for span in range(begin_ms, start_ms, HISTORY_SPAN_MS):
            for begin, end in pairwise(self._ailments.cuts(span, min(span + HISTORY_SPAN_MS, start_ms))):
                station, time_ms = self._logged(begin, min(end, start_ms - 1), day_s, night_s)
                moments, ailing = self._live(begin, end, station, time_ms)
                if not len(station):
                    continue
                for reports in self._of_stations(moments, ailing):
                    for number in np.unique(reports.devices).tolist():
                        at = int(np.flatnonzero(self._rows == number)[0])
                        logs[at].append(reports.take(reports.devices == number))
        for log in logs:
            if log:
                yield from _messages(log)

    def _logged(self, begin_ms: int, end_ms: int, day_s: int, night_s: int) -> tuple[Rows, Ints]:
        """Return the stations and times of the log entries in (begin, end]."""
        found: list[tuple[Rows, Ints]] = []
        for metered in (True, False):
            step = night_s * 1000 * (3 if metered else 1)
            grid = np.arange(begin_ms // step + 1, end_ms // step + 1, dtype=np.int64) * step
            minute = self._sky.local_minute(grid) if len(grid) else grid
            night = (minute >= NIGHT_MIN[0]) & (minute < NIGHT_MIN[1])
            hours = (
                np.arange(begin_ms // (day_s * 1000) + 1, end_ms // (day_s * 1000) + 1, dtype=np.int64) * day_s * 1000
            )
            times = np.union1d(grid[night], hours)
            mine = np.flatnonzero(self._metered == metered)
            found.append((np.repeat(mine, len(times)), np.tile(times, len(mine))))
        return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])

    def _due(self, until_ms: int) -> tuple[Rows, Ints]:
        """Return the stations and times of the reports due by ``until_ms``, each station's in order."""
        times = self._times
        count = np.maximum((until_ms - times.next_ms) // times.interval_ms + 1, 0)
        station = np.repeat(np.arange(len(count)), count)
        turn = np.arange(len(station)) - np.repeat(np.cumsum(count) - count, count)
        due = times.next_ms[station] + turn * times.interval_ms[station]
        times.next_ms += count * times.interval_ms
        return station, due

    def _live(self, begin_ms: int, end_ms: int, station: Rows, time_ms: Ints) -> tuple[Moments, Ailing]:
        """Let the water flow through (begin, end] and return how ``station`` are at ``time_ms``."""
        if self._catchments is None:
            self._catchments = Catchments(self.rate_lps, self._rain, self._water, begin_ms)
        ailing = self._ailments.at(begin_ms)
        first, last = begin_ms // CELL_MS, (end_ms - 1) // CELL_MS
        inflow = np.empty((last - first + 1, len(self.assets)))
        for k, number in enumerate(range(first, last + 1)):
            middle = number * CELL_MS + CELL_MS // 2
            day, minute = self._sky.local_clock(middle)
            cell = self._catchments.cell(number, float(minute), int(day + 3) % 7)
            inflow[k] = cell.sewage + cell.ground * ailing.ground + cell.storm * ailing.storm + ailing.more_lps
        inner = np.arange(first + 1, last + 1, dtype=np.int64) * CELL_MS
        knots = (np.r_[begin_ms, inner, end_ms] - begin_ms) / 1000.0
        pieces = self.wells.live(knots, inflow, ailing.condition)
        return self._moments(pieces, begin_ms, station, time_ms), ailing

    def _moments(self, pieces: Pieces, begin_ms: int, station: Rows, time_ms: Ints) -> Moments:
        seconds = (time_ms - begin_ms) / 1000.0
        at = pieces.at(station, seconds)
        passed = seconds - pieces.time_s[at, station]
        running = pieces.running[at, station]
        return Moments(
            station,
            time_ms,
            pieces.level_m[at, station] + pieces.rise[at, station] * passed,
            pieces.inflow[at, station],
            pieces.flow[at, station],
            running,
            pieces.called[at, station] & ~running,
            pieces.run_s[at, station] + running * passed[:, np.newaxis],
            pieces.starts[at, station],
            pieces.warm[at, station],
            self._rained(station, time_ms),
        )

    def _rained(self, station: Rows, time_ms: Ints) -> Floats:
        """Return millimetres since each report's station spoke before."""
        first = np.r_[True, station[1:] != station[:-1]] if len(station) else np.zeros(0, dtype=np.bool_)
        before = np.where(first, self._told_ms[station], np.r_[0, time_ms[:-1]] if len(station) else time_ms)
        np.maximum.at(self._told_ms, station, time_ms)
        return self._rain.depths_mm(before, time_ms)

    def _report(self, moments: Moments, ailing: Ailing) -> list[Reports]:
        self._ailments.see(moments.station, moments.time_ms, moments.running, moments.waits)
        out = self._of_stations(moments, ailing)
        minute = self._sky.local_minute(moments.time_ms).astype(np.float64)
        for pump in range(PUMPS if self._pumps_speak else 0):
            columns = self._meters.pump(moments, ailing, pump, minute)
            out.append(PUMP.reports(self._pump_rows[moments.station, pump], moments.time_ms, *columns))
        inlet = self._inlet_row[moments.station]
        here = np.flatnonzero(inlet >= 0)
        if len(here):
            depth, velocity = self._meters.inlet(moments, ailing)
            out.append(INLET.reports(inlet[here], moments.time_ms[here], depth[here], velocity[here]))
        return out

    def _of_stations(self, moments: Moments, ailing: Ailing) -> list[Reports]:
        columns = self._meters.station(moments, ailing)
        out = []
        for form, metered in ((METERED, True), (PLAIN, False)):
            here = np.flatnonzero(self._metered[moments.station] == metered)
            if len(here):
                chosen = [column[here] for column in columns[: len(form.fields)]]
                out.append(form.reports(self._rows[moments.station[here]], moments.time_ms[here], *chosen))
        return out


def _messages(log: list[Reports]) -> Iterator[Reports]:
    """Yield one station's log in pieces that a message holds."""
    whole = Reports(
        log[0].form,
        np.concatenate([part.devices for part in log]),
        np.concatenate([part.time_ms for part in log]),
        tuple(np.concatenate([np.asarray(part.columns[k]) for part in log]) for k in range(len(log[0].columns))),
    )
    for first in range(0, len(whole.devices), READINGS_A_MESSAGE):
        yield whole.take(np.arange(first, min(first + READINGS_A_MESSAGE, len(whole.devices))))


def _facts(assets: list[Asset], name: str) -> npt.NDArray[np.float64]:
    return np.array([asset.facts[name] for asset in assets], dtype=np.float64)


def _of(registry: Registry, station: str, role: str) -> list[Asset]:
    rows = registry.rows_of("pump", role)
    return [registry.assets[row] for row in rows if registry.assets[row].cabinet == station]
