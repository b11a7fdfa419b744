"""Filling rules: a condition over how a well fills while its pumps run, such as how soon it will overflow.

The level's rise is taken between readings some minutes apart, over waves and noise; where the well overflows is a fact.
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
from alerts.judge import State
from alerts.keys import Keys
from alerts.messages import transition
from alerts.rules import Rule
from alerts.saved import matching, take_over
from alerts.verdicts import Change, Verdicts
from alerts.wanted import Wanted
from devices.batch import Batch, Floats, Ints
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition
from devices.yamlfile import Node

Places = npt.NDArray[np.intp]
LOOK_MS = 600_000
HOLD_MS = 86_400_000
SPAN_MS = 300_000  # the rise is taken over at least so long, and over twice as long at most
GAP_MS = 900_000  # after a longer pause it begins afresh
DRY_MS = 24 * 3_600_000  # dry weather: no rain for so long
RAIN_MM = 0.01  # any rain that a gauge reports: in a minute light rain is no more
FIGURES: dict[str, str] = {
    "level_m": "level, m",
    "pumps_on": "pumps running",
    "rise_m_h": "rise of the level over the last minutes, metres an hour",
    "overflow_min": "minutes until the well overflows if it goes on so; unknown where it does not rise",
    "run_h": "hours for which pumps have run without a pause",
    "dry": "no rain for a day (yes or no)",
}
FIELDS = ("level_m", "pumps_on", "rain_mm")
VALUES = (*FIGURES, "value", "threshold")
NO_RISE_MIN = 1e6


@dataclass(frozen=True, slots=True)
class Params:
    """A filling rule's own keys: its condition, that of its end, and silence after which an alert ends as lost."""

    on: Condition
    off: Condition | None
    hold_ms: int


def parse(own: Node, kind: Kind, role: str | None) -> Params:
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    if not {"level_m", "pumps_on"} <= set(kind.field_names()):
        raise own.error(f"{kind.name} has no level_m and pumps_on: nothing is known of how it fills")
    keys = Keys(own, "on", "off", "hold")
    known = figures_kind(kind, FIGURES, ("dry",))
    off = own.get("off")
    params = Params(
        figures_condition(own.need("on"), known, role),
        figures_condition(off, known, role) if off is not None else None,
        keys.length("hold", HOLD_MS),
    )
    keys.done()
    return params


def message_names(kind: Kind, role: str | None) -> frozenset[str]:  # noqa: ARG001 - every kind of rule is asked alike
    """Return the names that a message may use beyond the common ones."""
    return frozenset(VALUES)


class FillingJudge:
    """One filling rule over all stations.

    Attributes:
        due_ms: host time before which the passing of time changes nothing.
        state: arrays (m,): two earlier levels to take the rise from, since when pumps run, when it rained last.
    """

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule_id, self.kinds, self.fingerprint = rule.id, (rule.device,), rule.fingerprint
        self.rule, self.registry, self.sky = rule, registry, sky
        self.params: Params = rule.params
        kind = registry.catalog[rule.device]
        rows = registry.rows_of(rule.device) if rule.role is None else registry.rows_of(rule.device, rule.role)
        self.rows = rows
        self.ids = registry.ids_of(rows)
        self.index = registry.places_in(rows)
        self._facts = {f.name: registry.fact(f.name, rows) for f in kind.facts}
        self._wanted = Wanted(kind, FIELDS)
        self.verdicts = Verdicts(len(rows), 1, 1, 1, rule.for_ms, rule.keep_ms)
        count = len(rows)
        self.state: dict[str, npt.NDArray[Any]] = {
            **{
                name: np.zeros(count, np.int64)
                for name in ("old_ms", "new_ms", "run_ms", "rain_ms", "last_ms", "slot", "on")
            },
            **{name: np.full(count, np.nan) for name in ("old_m", "new_m")},
        }
        self.due_ms: int = NEVER

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:  # noqa: ARG002 - as every judge
        """Take in readings, each station's in the order of time, and judge them."""
        at = self.index[batch.device].astype(np.intp)
        mine = np.flatnonzero(at >= 0)
        if not len(mine):
            return []
        mine = mine[np.argsort(at[mine], kind="stable")]
        values = self._wanted.of(batch, np.arange(len(batch)))[:, mine]
        known = ~(np.isnan(values[0]) | np.isnan(values[1])) | (values[2] >= RAIN_MM)
        mine, values = mine[known], values[:, known]
        if not len(mine):
            return []
        place, time_ms = at[mine].astype(np.intp), batch.time_ms[mine]
        figures = self._figures(place, time_ms, *values)

        def columns(name: str) -> Floats:
            return figures[name] if name in figures else self._facts[name][place]

        yes, no = self.params.on(columns)
        over, lasts = self.params.off(columns) if self.params.off is not None else (no, yes)
        self.due_ms = min(self.due_ms, now_ms + LOOK_MS)
        return self._judge(place, time_ms, (yes, no, over, lasts), figures)

    def _judge(
        self, place: Places, time_ms: Ints, said: tuple[npt.NDArray[np.bool_], ...], figures: dict[str, Floats]
    ) -> list[Transition]:
        """Judge the readings of stations that say yes or of which something is remembered; the others are at rest."""
        s = self.verdicts.state
        concerned = (s["phase"] != 0) | (s["said"] != 0)
        concerned[place[said[0]]] = True
        s["last_ms"][place] = time_ms
        rows = np.flatnonzero(concerned[place])
        if not len(rows):
            return []
        first = np.flatnonzero(np.r_[True, place[rows][1:] != place[rows][:-1]])
        turn = np.arange(len(rows)) - np.repeat(first, np.diff(np.r_[first, len(rows)]))
        told: list[Transition] = []
        for number in range(int(turn.max()) + 1):
            here = rows[turn == number]
            times = time_ms[here]
            for one in self.verdicts.take(place[here], times, times, *(part[here] for part in said)):
                row = int(here[one.row])
                told.append(self._tell(one._replace(row=row), int(time_ms[row]), figures))
        return told

    def _figures(self, at: Places, time_ms: Ints, level: Floats, pumps: Floats, rain_mm: Floats) -> dict[str, Floats]:
        """Return the figures of readings in the order of station and time; a level counts where pumps are known too."""
        s = self.state
        rows = np.arange(len(at))
        head = np.maximum.accumulate(np.where(np.r_[True, at[1:] != at[:-1]], rows, 0))  # where each station's begin
        tail = np.flatnonzero(np.r_[at[1:] != at[:-1], True])

        def latest(which: npt.NDArray[np.bool_], *, before: bool = False) -> Ints:
            """Return the latest row up to each, or before each, of the same station at which it holds; -1 for none."""
            found = np.maximum.accumulate(np.where(which, rows, -1))
            found = np.r_[-1, found[:-1]] if before else found
            return np.where(found >= head, found, -1)

        def of(row: Ints, column: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
            """Return a column at rows, what is remembered where there is none."""
            return np.where(row >= 0, column[row], s[name][at])

        level = np.where(np.isnan(pumps), np.nan, level)
        has = ~np.isnan(level)
        wet = latest(rain_mm >= RAIN_MM)
        before = latest(has, before=True)
        apart = has & (time_ms - of(before, time_ms, "last_ms") > GAP_MS)  # the first of all too
        anew = latest(apart)
        slot = time_ms // SPAN_MS
        marks = has & (apart | (slot != of(before, slot, "slot")))  # the first of each slot of time
        mark = latest(marks)
        older = np.where(mark >= 0, latest(marks, before=True)[mark], -1)
        old_ms = np.where(mark >= 0, of(older, time_ms, "new_ms")[mark], s["old_ms"][at])
        old_m = np.where(mark >= 0, of(older, level, "new_m")[mark], s["old_m"][at])
        old_ms = np.where((anew >= 0) & (old_ms < time_ms[anew]), 0, old_ms)
        span = time_ms - old_ms
        with np.errstate(invalid="ignore", divide="ignore"):
            rise = np.where((old_ms > 0) & (span >= SPAN_MS), (level - old_m) / span * 3.6e6, np.nan)
            left = (self._facts["overflow_level_m"][at] - level) / rise * 60.0
            overflow = np.where(rise > 0, np.maximum(left, 0.0), NO_RISE_MIN)
            overflow = np.where(np.isnan(rise) | np.isnan(self._facts["overflow_level_m"][at]), np.nan, overflow)
        on = has & (pumps > 0)
        starts = on & (apart | (of(before, np.where(on, 1, 0), "on") == 0))
        run_ms = of(latest(starts), time_ms, "run_ms")
        rain_ms = of(wet, time_ms, "rain_ms")
        self._keep(at, tail, latest(has)[tail], (time_ms, slot, on, run_ms, rain_ms))
        s["old_ms"][at[tail]], s["old_m"][at[tail]] = old_ms[tail], old_m[tail]
        newest = mark[tail]
        kept = newest >= 0
        s["new_ms"][at[tail][kept]], s["new_m"][at[tail][kept]] = time_ms[newest[kept]], level[newest[kept]]
        return {
            "level_m": level, "pumps_on": pumps, "rise_m_h": rise, "overflow_min": overflow,
            "run_h": np.where(on, (time_ms - run_ms) / 3.6e6, np.where(has, 0.0, np.nan)),
            "dry": (time_ms - rain_ms >= DRY_MS).astype(np.float64),
        }  # fmt: skip

    def _keep(self, at: Places, tail: Places, last: Ints, columns: tuple[npt.NDArray[Any], ...]) -> None:
        """Remember of each station its last reading with a level, and when it rained."""
        s = self.state
        time_ms, slot, on, run_ms, rain_ms = columns
        s["rain_ms"][at[tail]] = rain_ms[tail]
        known = last >= 0
        rows, here = last[known], at[tail][known]
        s["last_ms"][here], s["slot"][here], s["on"][here], s["run_ms"][here] = (
            time_ms[rows], slot[rows], on[rows], run_ms[rows],
        )  # fmt: skip

    def _tell(self, change: Change, at_ms: int, figures: dict[str, Floats] | None, reason: str = "") -> Transition:
        values: dict[str, float] = {}
        if figures is not None:
            values = {name: float(c[change.row]) for name, c in figures.items() if not np.isnan(c[change.row])}
            values["value"] = values["level_m"]
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
        """Return the stations whose condition holds, not long enough yet."""
        return self._since(self.verdicts.pending())

    def _since(self, places: Places) -> dict[str, int]:
        return {f"device:{self.ids[at]}": int(self.verdicts.state["onset_ms"][at]) for at in places.tolist()}

    def save(self) -> State:
        """Return the whole state, by device id."""
        kept: State = {"entity": np.array(self.ids, dtype=np.str_)}
        for part, state in (("level", self.state), ("verdict", self.verdicts.state)):
            kept.update({f"{part}.{name}": column.copy() for name, column in state.items()})
        return kept

    def load(self, state: State) -> None:
        """Take over a saved state; stations that are gone are let go."""
        at, place = matching(self.ids, state["entity"])
        take_over(self.state, state, "level.", at, place)
        take_over(self.verdicts.state, state, "verdict.", at, place)
        self.due_ms = NEVER
