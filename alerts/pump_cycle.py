"""Pump cycle rules: a condition over the figures of each pump cycle, such as what the pump moved against its own past.

The figures (alerts/pump_cycles.py) follow from the station's own readings: level, pumps running and which, power. All
pump cycle rules of an engine share one book of cycles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from alerts.expressions import Condition
from alerts.figures import figures_condition, figures_kind
from alerts.fleet import NEVER, NEVER_AGAIN, Fleet
from alerts.judge import State
from alerts.keys import Keys
from alerts.messages import transition
from alerts.pump_cycles import FIGURES, PUMPS, Cycles
from alerts.rules import Rule
from alerts.saved import matching, take_over
from alerts.station_runs import FIELDS, Runs
from alerts.verdicts import Change, Verdicts
from alerts.wanted import Wanted
from devices.batch import Batch, Floats
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition
from devices.yamlfile import Node

Places = npt.NDArray[np.intp]
LOOK_MS = 600_000  # how often stations that fell silent are looked for
HOLD_MS = 3 * 86_400_000
VALUES = (*FIGURES, "cycles", "value", "threshold")


@dataclass(frozen=True, slots=True)
class Params:
    """A pump cycle rule's own keys.

    Attributes:
        on, off: over the figures of one cycle; ``off`` is None for the contrary of ``on``.
        cycles, of: so many of the last so many cycles must show it.
        off_cycles: so many in a row must show its end.
        by_pump: the alert names the pump, not the station.
        hold_ms: without a cycle for so long an open alert ends as ``data_lost``.
    """

    on: Condition
    off: Condition | None
    cycles: int
    of: int
    off_cycles: int
    by_pump: bool
    hold_ms: int


def parse(own: Node, kind: Kind, role: str | None) -> Params:
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    if not {"level_m", "pumps_on"} <= set(kind.field_names()) or "well_area_m2" not in {f.name for f in kind.facts}:
        raise own.error(f"{kind.name} has no level_m, pumps_on and well_area_m2: no pump cycles can be had from it")
    keys = Keys(own, "on", "off", "cycles", "of", "off_cycles", "names", "hold")
    figures = figures_kind(kind, FIGURES, ("wet",))
    on = figures_condition(own.need("on"), figures, role)
    off_node = own.get("off")
    cycles = keys.whole("cycles", 1, 1, 32)
    params = Params(
        on,
        figures_condition(off_node, figures, role) if off_node is not None else None,
        cycles,
        keys.whole("of", cycles, 1, 32),
        keys.whole("off_cycles", 1, 1, 32),
        keys.text("names", "pump", ("pump", "station")) == "pump",
        keys.length("hold", HOLD_MS),
    )
    if params.of < params.cycles:
        keys.problem("of", f"expected at least 'cycles' ({params.cycles})")
    keys.done()
    return params


def message_names(kind: Kind, role: str | None) -> frozenset[str]:  # noqa: ARG001 - every kind of rule is asked alike
    """Return the names that a message may use beyond the common ones."""
    return frozenset(VALUES)


@dataclass(slots=True)
class Found:
    """The cycles that some readings complete; ``turn`` tells how many of the same station stand before each."""

    station: Places
    pump: npt.NDArray[np.int64]
    begin_ms: npt.NDArray[np.int64]
    end_ms: npt.NDArray[np.int64]
    figures: dict[str, Floats]
    turn: Places


class Stations:
    """The stations of a kind whose wells are known, worked out once for all rules.

    Attributes:
        rows, ids: of the stations; ``index`` leads from a registry row to its place among them.
        entities: of each station, and then of each of its pumps: the station's own where the registry has no such pump.
    """

    def __init__(self, registry: Registry, kind: str) -> None:
        rows = registry.rows_of(kind)
        has = ~np.isnan(registry.fact("well_area_m2", rows))
        roles = registry.catalog[kind].roles
        able = np.array([_runs_pumps(registry.catalog[kind], role) for role in roles])
        self.rows = rows[has & able[registry.role[rows]]]
        self.ids = registry.ids_of(self.rows)
        self.index = registry.places_in(self.rows)
        self.entities = [f"device:{one}" for one in self.ids] + self._pumps(registry, kind)

    def _pumps(self, registry: Registry, kind: str) -> list[str]:
        rows, place = registry.rows_of(kind), registry.group("cabinet")
        rows = rows[~np.isnan(registry.fact("rated_current_a", rows))]
        held: dict[str, list[str]] = {}
        for pump, code in zip(registry.ids_of(rows), place.code[rows].tolist(), strict=True):
            if code >= 0 and place.names[code] != pump:
                held.setdefault(place.names[code], []).append(pump)
        out = []
        for station in self.ids:
            pumps = sorted(held.get(station, ()))
            out += [f"device:{pumps[k] if k < len(pumps) else station}" for k in range(PUMPS)]
        return out


class Book:
    """The cycles of all stations of an engine, worked out once for all rules.

    Attributes:
        loaded: it has taken over a saved state.
    """

    def __init__(self, registry: Registry, kind: str, stations: Stations) -> None:
        self.index = stations.index
        names = ("well_area_m2", "start_level_m", "stop_level_m", "pump_rate_lps")
        self.runs = Runs(len(stations.rows))
        self.cycles = Cycles(*(registry.fact(name)[stations.rows] for name in names))
        self._wanted = Wanted(registry.catalog[kind], FIELDS)
        self.loaded = False
        self._batch: Batch | None = None
        self._found: Found | None = None
        self.saved: State = {}  # of the present state, for the next rule that asks

    def take(self, batch: Batch) -> Found | None:
        """Return the cycles that a batch completes, None where there are none."""
        if batch is not self._batch:
            self._batch, self._found = batch, self._work_out(batch)
        return self._found

    def _work_out(self, batch: Batch) -> Found | None:
        at = self.index[batch.device].astype(np.intp)
        mine = np.flatnonzero(at >= 0)
        if not len(mine):
            return None
        self.saved = {}
        ended = self.runs.take(at[mine], batch.time_ms[mine], self._wanted.of(batch, mine))
        station = ended["station"]
        if not len(station):
            return None
        first = np.flatnonzero(np.r_[True, station[1:] != station[:-1]])
        turn = np.arange(len(station)) - np.repeat(first, np.diff(np.r_[first, len(station)]))
        rounds = []
        for turned in range(int(turn.max()) + 1):
            here = np.flatnonzero(turn == turned)
            part = self.cycles.take({name: column[here] for name, column in ended.items()})
            if len(part[0]):
                rounds.append((*part, np.full(len(part[0]), turned)))
        if not rounds:
            return None
        whole = [np.concatenate([one[k] for one in rounds]) for k in (0, 1, 2, 3, 5)]
        figures = {name: np.concatenate([one[4][name] for one in rounds]) for name in FIGURES}
        station, pump, begin_ms, end_ms, number = whole
        return Found(station, pump, begin_ms, end_ms, figures, number)

    def save(self) -> State:
        """Return what is remembered, the same arrays for every rule that asks, not to be written to."""
        if not self.saved:
            for part, state in self.parts():
                self.saved.update({f"{part}.{name}": column.copy() for name, column in state.items()})
            for column in self.saved.values():
                column.setflags(write=False)
        return self.saved

    def parts(self) -> tuple[tuple[str, dict[str, npt.NDArray[Any]]], ...]:
        """Return what is remembered, by name."""
        return (("runs", self.runs.state), ("cycles", self.cycles.state))


_BOOKS: WeakKeyDictionary[Fleet, dict[str, Book]] = WeakKeyDictionary()
_STATIONS: WeakKeyDictionary[Registry, dict[str, Stations]] = WeakKeyDictionary()


class PumpCycleJudge:
    """One cycle rule over all stations whose wells are known.

    Attributes:
        due_ms: host time before which the passing of time changes nothing.
    """

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule_id, self.kinds, self.fingerprint = rule.id, (rule.device,), rule.fingerprint
        self.rule, self.registry, self.sky = rule, registry, sky
        self.params: Params = rule.params
        self._stations = stations = _stations(registry, rule.device)
        self._own: Book | None = None  # the engine's, once it was met
        self.ids, self.entities = stations.ids, stations.entities
        p = self.params
        self.verdicts = Verdicts(len(self.entities), p.cycles, p.of, p.off_cycles, rule.for_ms, rule.keep_ms)
        self._facts = {
            f.name: registry.fact(f.name, stations.rows)
            for f in registry.catalog[rule.device].facts
            if f.name in {*p.on.names, *(p.off.names if p.off else ())}
        }
        self.due_ms: int = NEVER

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:
        """Take in readings and judge the cycles that they complete."""
        found = self._book(fleet).take(batch)
        self.due_ms = min(self.due_ms, now_ms + LOOK_MS)
        return self._judge(found) if found is not None else []

    def _judge(self, found: Found) -> list[Transition]:
        def columns(name: str) -> Floats:
            return found.figures[name] if name in found.figures else self._facts[name][found.station]

        p = self.params
        yes, no = p.on(columns)
        over, lasts = p.off(columns) if p.off is not None else (no, yes)
        place = found.station.astype(np.intp)
        if p.by_pump:
            named = found.pump >= 0
            place = np.where(named, len(self.ids) + found.station * PUMPS + found.pump, found.station)
        told: list[Transition] = []
        for number in np.unique(found.turn).tolist():
            rows = np.flatnonzero(found.turn == number)
            said = (yes[rows], no[rows], over[rows], lasts[rows])
            for one in self.verdicts.take(place[rows], found.begin_ms[rows], found.end_ms[rows], *said):
                row = int(rows[one.row])
                told.append(self._tell(one._replace(row=row), int(found.end_ms[row]), found))
        return told

    def _tell(self, change: Change, at_ms: int, found: Found | None, reason: str = "") -> Transition:
        values: dict[str, float] = {}
        if found is not None:
            row = change.row
            values = {name: float(column[row]) for name, column in found.figures.items() if not np.isnan(column[row])}
            values["cycles"] = float(self.params.cycles)
            for one in self.params.on.comparisons[:1]:
                sheet = _Sheet(
                    {name: column[row : row + 1] for name, column in found.figures.items()}, self._facts, found, row
                )
                for name, number in (("value", one.value.of(sheet)), ("threshold", one.threshold.of(sheet))):
                    if number is not None and not np.isnan(np.ravel(number)[0]):
                        values[name] = float(np.ravel(number)[0])
        state = ACTIVE if change.active else CLEARED
        entity = self.entities[change.place]
        return transition(self.rule, self.registry, self.sky, entity, state, at_ms, change.onset_ms, values, reason)

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:  # noqa: ARG002 - every judge is asked alike
        """End the alerts of stations of which no cycle was heard for long."""
        told = [self._tell(one, now_ms, None, "data_lost") for one in self.verdicts.lost(now_ms - self.params.hold_ms)]
        self.due_ms = now_ms + LOOK_MS if len(self.verdicts.open()) else NEVER_AGAIN
        return told

    def _book(self, fleet: Fleet) -> Book:
        """Return the engine's book; the first rule that meets it brings what it has loaded."""
        books = _BOOKS.setdefault(fleet, {})
        book = books.get(self.rule.device)
        if book is None or (self._own is not None and self._own.loaded and not book.loaded):
            book = books[self.rule.device] = self._mine()
        self._own = book
        return book

    def _mine(self) -> Book:
        if self._own is None:
            self._own = Book(self.registry, self.rule.device, self._stations)
        return self._own

    def open(self) -> Mapping[str, int]:
        """Return the entities with an open alert, with the onset of each."""
        return self._since(self.verdicts.open())

    def pending(self) -> Mapping[str, int]:
        """Return the entities of which too few cycles have shown it yet."""
        return self._since(self.verdicts.pending())

    def _since(self, places: Places) -> dict[str, int]:
        onset = self.verdicts.state["onset_ms"]
        return {self.entities[at]: int(onset[at]) for at in places.tolist()}

    def save(self) -> State:
        """Return the whole state, by device id."""
        kept: State = {"entity": np.array(self.ids, dtype=np.str_)}
        kept |= self._mine().save()
        count = len(self.ids)
        for name, column in self.verdicts.state.items():
            kept[f"station.{name}"] = column[:count].copy()
            kept[f"pump.{name}"] = column[count:].reshape(count, PUMPS).copy()
        return kept

    def load(self, state: State) -> None:
        """Take over a saved state; stations that are gone are let go."""
        at, place = matching(self.ids, state["entity"])
        book = self._mine()
        book.loaded, book.saved = True, {}
        for part, columns in book.parts():
            take_over(columns, state, f"{part}.", at, place)
        count, verdicts = len(self.ids), self.verdicts.state
        take_over({name: column[:count] for name, column in verdicts.items()}, state, "station.", at, place)
        views = {name: column[count:].reshape(count, PUMPS) for name, column in verdicts.items()}
        take_over(views, state, "pump.", at, place)
        self.due_ms = NEVER


class _Sheet:
    """One cycle's figures, as terms of a condition look them up."""

    def __init__(self, figures: dict[str, Floats], facts: dict[str, Floats], found: Found, row: int) -> None:
        self._figures, self._facts, self._station = figures, facts, found.station[row : row + 1]
        self.made: dict[Any, Any] = {}

    def __call__(self, name: str) -> Floats:
        return self._figures[name] if name in self._figures else self._facts[name][self._station]


def _stations(registry: Registry, kind: str) -> Stations:
    kinds = _STATIONS.setdefault(registry, {})
    if kind not in kinds:
        kinds[kind] = Stations(registry, kind)
    return kinds[kind]


def _runs_pumps(kind: Kind, role: str) -> bool:
    """Return whether a role reports level and running pumps."""
    wanted = [f for f in kind.fields if f.name in ("level_m", "pumps_on")]
    return all(not f.roles or role in f.roles for f in wanted)
