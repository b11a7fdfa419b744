"""Hourly inflow rules: a condition over the mean inflow of each hour, against the same hour of like days before.

A burst main or a hydrant left open shows within hours, long before the nights' least inflow does. Working days and free
days have hours of their own; hours in wet weather are neither taken for usual nor called dry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alerts.expressions import Condition
from alerts.figures import figures_condition, figures_kind
from alerts.fleet import NEVER, NEVER_AGAIN, Fleet
from alerts.inflow_book import RAIN, InflowBook, engines_own
from alerts.judge import State
from alerts.keys import Keys
from alerts.messages import transition
from alerts.rules import Rule
from alerts.saved import matching, take_over
from alerts.verdicts import Change, Verdicts
from devices.batch import Batch, Floats
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition
from devices.yamlfile import Node

Places = npt.NDArray[np.intp]
HOUR_MS, LOOK_MS = 3_600_000, 600_000
LIKE, LIKE_LEAST = 14, 5  # like days of which an hour is remembered, and how few will do
SEEN_S = 600.0  # inflow seen for so much of an hour is gone by, and not what is reckoned from what a pump used to move
RAIN_MM = 0.2  # an hour with less has none; of a reading a minute light rain is too little to be seen
SPREAD, SPREAD_LEAST = 1.4826, 0.05  # of a median deviation to a standard one; share of the usual that it is at least
FIGURES: dict[str, str] = {
    "inflow_lps": "mean inflow of the hour, L/s",
    "usual_lps": "median of the same hour on like days, L/s",
    "residual_lps": "the one less the other, L/s",
    "sigma_lps": "how far that hour usually strays, L/s",
    "day_lps": "mean of a usual day, L/s",
    "dry": "no rain for so long as the rule says (yes or no)",
}
VALUES = (*FIGURES, "value", "threshold", "hours")


@dataclass(frozen=True)
class Params:
    """An hourly inflow rule's own keys.

    Attributes:
        on, off: over the figures of one hour; ``off`` is None for the contrary of ``on``.
        hours, off_hours: so many in a row, to raise and to end.
        dry_ms: without rain for so long it is dry.
        coverage: share of an hour for which inflow must be known.
        hold_ms: silent for so long with an alert open: it ends as ``data_lost``.
    """

    on: Condition
    off: Condition | None
    hours: int
    off_hours: int
    dry_ms: int
    coverage: float
    hold_ms: int


def parse(own: Node, kind: Kind, role: str | None) -> Params:
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    if not set(kind.field_names()) & {"inflow_lps", "level_m"}:
        raise own.error(f"{kind.name} reports neither inflow_lps nor level_m: no inflow can be had from it")
    keys = Keys(own, "on", "off", "hours", "off_hours", "dry", "coverage", "hold")
    known = figures_kind(kind, FIGURES, ("dry",))
    off = own.get("off")
    params = Params(
        figures_condition(own.need("on"), known, role),
        figures_condition(off, known, role) if off is not None else None,
        keys.whole("hours", 2, 1, 24),
        keys.whole("off_hours", 3, 1, 24),
        keys.length("dry", 48 * HOUR_MS),
        keys.number("coverage", 0.4, 0.05, 1),
        keys.length("hold", 48 * HOUR_MS),
    )
    keys.done()
    return params


def message_names(kind: Kind, role: str | None) -> frozenset[str]:  # noqa: ARG001 - every kind of rule is asked alike
    """Return the names that a message may use beyond the common ones."""
    return frozenset(VALUES)


class Hours:
    """The hours of many stations.

    Attributes:
        state: arrays (m,) of the hour being gathered, and (m, 48, LIKE) of like hours before.
    """

    def __init__(self, stations: int, params: Params) -> None:
        self.params = params
        self.state: dict[str, npt.NDArray[Any]] = {
            "hour": np.full(stations, -1, np.int64),
            "like": np.zeros(stations, np.int64),
            "litres": np.zeros(stations),
            "seconds": np.zeros(stations),
            "seen_l": np.zeros(stations),
            "seen_s": np.zeros(stations),
            "rain_mm": np.zeros(stations),
            "rain_ms": np.zeros(stations, np.int64),  # end of the last hour with rain
            "past": np.full((stations, 48, LIKE), np.nan),
            "next": np.zeros((stations, 48), np.int64),
        }

    def finish(self, at: Places) -> dict[str, Floats]:
        """End the hour that stations ``at`` gather and return its figures, (k,) each."""
        s, p = self.state, self.params
        hour, like = s["hour"][at], s["like"][at]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean, seen = s["litres"][at] / s["seconds"][at], s["seen_l"][at] / s["seen_s"][at]
            lps = np.where(s["seen_s"][at] >= SEEN_S, seen, mean)
        lps[s["seconds"][at] < p.coverage * 3600.0] = np.nan
        wet = s["rain_mm"][at] >= RAIN_MM
        s["rain_ms"][at[wet]] = (hour[wet] + 1) * HOUR_MS
        dry = (hour + 1) * HOUR_MS - s["rain_ms"][at] >= p.dry_ms
        usual, sigma = _usual(s["past"][at, like])
        day = np.array([_day(s["past"][one]) for one in at.tolist()])
        figures = {
            "inflow_lps": lps, "usual_lps": usual, "residual_lps": lps - usual, "sigma_lps": sigma, "day_lps": day,
            "dry": dry.astype(np.float64),
        }  # fmt: skip
        kept = np.flatnonzero(dry & ~np.isnan(lps))
        a, of = at[kept], like[kept]
        s["past"][a, of, s["next"][a, of] % LIKE] = lps[kept]
        s["next"][a, of] += 1
        for name in ("litres", "seconds", "seen_l", "seen_s", "rain_mm"):
            s[name][at] = 0.0
        return figures


def _usual(past: Floats) -> tuple[Floats, Floats]:
    """Return median and spread of each row of hours, NaN where they are too few."""
    usual, sigma = np.full(len(past), np.nan), np.full(len(past), np.nan)
    enough = np.flatnonzero((~np.isnan(past)).sum(axis=1) >= LIKE_LEAST)
    if len(enough):
        usual[enough] = np.nanmedian(past[enough], axis=1)
        away = np.nanmedian(np.abs(past[enough] - usual[enough, np.newaxis]), axis=1)
        sigma[enough] = np.maximum(SPREAD * away, SPREAD_LEAST * usual[enough])
    return usual, sigma


def _day(past: Floats) -> float:
    """Return the mean of all hours that one station remembers: what flows in on a usual day."""
    known = past[~np.isnan(past)]
    return float(known.mean()) if len(known) >= 24 * LIKE_LEAST else float("nan")


class InflowHoursJudge:
    """One hourly inflow rule over all stations that can tell their inflow.

    Attributes:
        due_ms: host time before which the passing of time changes nothing.
    """

    told, counted = "inflow_lps", "hours"  # the figure that a message calls its value; how many in a row it takes

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule_id, self.kinds, self.fingerprint = rule.id, (rule.device,), rule.fingerprint
        self.rule, self.registry, self.sky = rule, registry, sky
        self.params: Params = rule.params
        kind = registry.catalog[rule.device]
        self.rows = registry.rows_of(rule.device) if rule.role is None else registry.rows_of(rule.device, rule.role)
        self.ids = registry.ids_of(self.rows)
        self.index = registry.places_in(self.rows)
        self._own = InflowBook(registry, rule.device)  # until the engine's own is met
        self._place = self.index[self._own.rows]  # of the book's rows among ours, -1 for another role's
        self.hours = Hours(len(self.rows), self.params)
        p = self.params
        self.verdicts = Verdicts(len(self.rows), p.hours, p.hours, p.off_hours, rule.for_ms, rule.keep_ms)
        self._facts = {f.name: registry.fact(f.name, self.rows) for f in kind.facts if f.name in p.on.names}
        self.due_ms: int = NEVER

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:
        """Take in readings, each station's in the order of time, and judge the hours that they end."""
        self._own = engines_own(fleet, self._own)
        heard = self._own.take(batch)
        mine = np.flatnonzero(self._place[heard.row] >= 0) if heard is not None else ()
        if heard is None or not len(mine):
            return []
        place, time_ms = self._place[heard.row[mine]].astype(np.intp), heard.time_ms[mine]
        litres, seconds, seen_s = (column[mine] for column in (heard.litres, heard.seconds, heard.seen_s))
        rain = heard.values[RAIN][mine]
        self.due_ms = min(self.due_ms, now_ms + LOOK_MS)
        hour = (time_ms - 1) // HOUR_MS  # a reading on the hour ends it
        told: list[Transition] = []
        for one in np.unique(hour).tolist():
            now = np.flatnonzero(hour == one)
            told += self._gather(place[now], one, litres[now], seconds[now], seen_s[now], rain[now])
        return told

    def _gather(
        self, at: Places, hour: int, litres: Floats, seconds: Floats, seen_s: Floats, rain: Floats
    ) -> list[Transition]:
        s = self.hours.state
        here = np.unique(at)
        over = here[(s["hour"][here] >= 0) & (s["hour"][here] < hour)]
        told = self._judge(over) if len(over) else []
        day, minute = self.sky.local_clock(hour * HOUR_MS)
        s["hour"][here] = hour
        s["like"][here] = int(minute) // 60 + 24 * (int(day + 3) % 7 >= 5)
        np.add.at(s["litres"], at, litres)
        np.add.at(s["seconds"], at, seconds)
        np.add.at(s["seen_l"], at, np.where(seen_s > 0, litres, 0.0))
        np.add.at(s["seen_s"], at, seen_s)
        np.add.at(s["rain_mm"], at, np.nan_to_num(rain))
        return told

    def _judge(self, at: Places) -> list[Transition]:
        end_ms = (self.hours.state["hour"][at] + 1) * HOUR_MS
        figures = self.hours.finish(at)

        def columns(name: str) -> Floats:
            return figures[name] if name in figures else self._facts[name][at]

        p = self.params
        yes, no = p.on(columns)
        over, lasts = p.off(columns) if p.off is not None else (no, yes)
        changes = self.verdicts.take(at, end_ms - HOUR_MS, end_ms, yes, no, over, lasts)
        return [self._tell(one, int(end_ms[one.row]), figures) for one in changes]

    def _tell(self, change: Change, at_ms: int, figures: dict[str, Floats] | None, reason: str = "") -> Transition:
        values: dict[str, float] = {}
        if figures is not None:
            values = {name: float(c[change.row]) for name, c in figures.items() if not np.isnan(c[change.row])}
            values |= {self.counted: float(self.params.hours), "value": float(figures[self.told][change.row])}
        state = ACTIVE if change.active else CLEARED
        entity = f"device:{self.ids[change.place]}"
        return transition(self.rule, self.registry, self.sky, entity, state, at_ms, change.onset_ms, values, reason)

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:  # noqa: ARG002 - every judge is asked alike
        """End the alerts of stations that fell silent for long."""
        told = [self._tell(one, now_ms, None, "data_lost") for one in self.verdicts.lost(now_ms - self.params.hold_ms)]
        self.due_ms = now_ms + LOOK_MS if len(self.verdicts.open()) else NEVER_AGAIN
        return told

    def open(self) -> Mapping[str, int]:
        """Return the stations with an open alert, with the onset of each."""
        return self._since(self.verdicts.open())

    def pending(self) -> Mapping[str, int]:
        """Return the stations of which too few hours have shown it yet."""
        return self._since(self.verdicts.pending())

    def _since(self, places: Places) -> dict[str, int]:
        return {f"device:{self.ids[at]}": int(self.verdicts.state["onset_ms"][at]) for at in places.tolist()}

    def _parts(self) -> tuple[tuple[str, dict[str, npt.NDArray[Any]]], ...]:
        return (("hours", self.hours.state), ("verdict", self.verdicts.state))

    def save(self) -> State:
        """Return the whole state, by device id."""
        kept: State = {"entity": np.array(self.ids, dtype=np.str_)}
        kept["book"] = np.array(self._own.ids, dtype=np.str_)
        for part, state in (*self._parts(), ("inflow", self._own.state)):
            kept.update({f"{part}.{name}": column.copy() for name, column in state.items()})
        return kept

    def load(self, state: State) -> None:
        """Take over a saved state; stations that are gone are let go."""
        at, place = matching(self.ids, state["entity"])
        for part, columns in self._parts():
            take_over(columns, state, f"{part}.", at, place)
        self._own.loaded = True
        take_over(self._own.state, state, "inflow.", *matching(self._own.ids, state.get("book", state["entity"])))
        self.due_ms = NEVER
