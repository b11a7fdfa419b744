"""Seepage: water in the sewers that nobody used, seen where the nights' least inflow rises and stays up.

The tenth percentile of a night's quarter hours between two and five, on dry nights only, against the median of the
station's own dry nights five weeks to eight days before (docs/sources.md, seepage). A night with too little
data, with rain, or whose rain is not known neither raises nor clears.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from alerts.fleet import NEVER, NEVER_AGAIN, Fleet
from alerts.inflow_book import RAIN, Heard, InflowBook, engines_own
from alerts.judge import State
from alerts.messages import transition
from alerts.nights import ALERTED, Night, NightParams, Nights
from alerts.rainfall import Rain
from alerts.rules import Rule
from alerts.saved import matching, take_over
from alerts.seepage_settings import parse
from devices.batch import Batch, Ints
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition

VALUES = ("inflow_lps", "baseline_lps", "excess_lps", "ratio", "nights")
LOOK_MS = 1_000  # how often silent stations and gauges are looked at while a night is under way or waits

__all__ = ["VALUES", "SeepageJudge", "parse"]


class SeepageJudge:
    """The seepage rule over all stations or wells that can tell their inflow.

    Attributes:
        due_ms: host time before which the passing of time changes nothing.
        nights: figures night by night, and ``nights.counts`` of what became of them.
    """

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule = rule
        self.rule_id = rule.id
        self.kinds = (rule.device,)
        self.fingerprint = rule.fingerprint
        self.registry, self.sky = registry, sky
        self.params = self._night_params()
        self._own = InflowBook(registry, rule.device)  # until the engine's own is met
        self.rows, self.ids, self.index = self._own.rows, self._own.ids, self._own.index
        self.rain = Rain(len(self.rows), self.params.until_min, by_event=self.params.by_event)
        self.nights = self._make_nights()
        self.gauges = self._gauges()
        self.watched = self._watched()
        self.due_ms: int = NEVER

    def _night_params(self) -> NightParams:
        params: NightParams = self.rule.params
        return params

    def _make_nights(self) -> Nights:
        return Nights(len(self.rows), self.params)

    def _watched(self) -> npt.NDArray[np.bool_]:
        """Return which rows the rule is about; the rain of all of them counts."""
        if self.rule.role is None:
            return np.ones(len(self.rows), dtype=np.bool_)
        role = self.registry.catalog[self.rule.device].roles.index(self.rule.role)
        return np.asarray(self.registry.role[self.rows] == role)

    def _gauges(self) -> list[list[int]]:
        """Return for each station the rows of the gauges whose rain counts for it; those of a district share a list."""
        if self.params.gauge:
            named = self.registry.row.get(self.params.gauge, -1)
            at = int(self.index[named]) if named >= 0 else -1
            return [[at] if at >= 0 else []] * len(self.rows)
        district = self.registry.group("district").code[self.rows].tolist()
        together: dict[int, list[int]] = {}
        for at, code in enumerate(district):
            together.setdefault(code, []).append(at)
        return [together[code] if code >= 0 else [at] for at, code in enumerate(district)]

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:
        """Take in readings; nights that have passed and whose rain is known are judged."""
        self._own = engines_own(fleet, self._own)
        heard = self._own.take(batch)
        if heard is None:
            return []
        day, minute = self.sky.local_clock(heard.time_ms)
        self.rain.take(heard.row, heard.time_ms, day, minute, heard.values[RAIN])
        self._gather(heard, day, minute)
        self.due_ms = min(self.due_ms, now_ms + LOOK_MS)
        return self._judge_waiting(None, 0)

    def _gather(self, heard: Heard, day: Ints, minute: Ints) -> None:
        """Take in readings, each with its local day and minute."""
        row, time_ms, _, litres, seconds, _ = heard
        if self.rule.role is not None:
            mine = np.flatnonzero(self.watched[row])
            row, time_ms, day, minute = row[mine], time_ms[mine], day[mine], minute[mine]
            litres, seconds = litres[mine], seconds[mine]
        self.nights.gather(row, time_ms, day, minute, litres, seconds)

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Judge nights of stations or gauges that fell silent, and end alerts of which nothing is known any more."""
        s, p = self.nights.state, self.params
        gathering = s["night"] >= 0
        if not (gathering.any() or s["waiting"].any() or (s["phase"] == ALERTED).any()):
            self.due_ms = NEVER_AGAIN
            return []
        self.due_ms = now_ms + LOOK_MS
        live = fleet.live[self.rule.device]
        silent_ms = now_ms - np.maximum(live.seen_ms[live.local[self.rows]], fleet.resumed_ms)
        over = np.flatnonzero(gathering & (now_ms >= s["end_ms"] + p.grace_ms) & (silent_ms >= p.grace_ms))
        if len(over):
            self.nights.finish(over)
        told = self._judge_waiting(silent_ms, now_ms)
        lost = np.flatnonzero((s["phase"] == ALERTED) & (silent_ms >= p.hold_ms))
        return told + [self._tell(self.nights.lost(int(at), now_ms)) for at in lost]

    def _judge_waiting(self, silent_ms: npt.NDArray[np.int64] | None, now_ms: int) -> list[Transition]:
        p, told = self.params, list[Transition]()

        @cache  # many stations ask for the same gauges
        def rained(gauge: int, day: int) -> bool | None:
            return self.rain.before(gauge, day, p.rain_days, p.rain_mm)

        @cache
        def lagging(gauge: int, day: int, end_ms: int, *, due: bool) -> bool:
            return self._lagging(gauge, day, end_ms, silent_ms if due else None)

        for station in self.nights.state["waiting"].nonzero()[0].tolist():
            for day in self.nights.unjudged(station):
                end_ms = int(self.nights.state["ended_ms"][station, day % self.nights.state["day"].shape[1]])
                due = silent_ms is not None and now_ms >= end_ms + p.grace_ms
                if any(lagging(gauge, day, end_ms, due=due) for gauge in self.gauges[station]):
                    break
                wet = self._wet([rained(gauge, day) for gauge in self.gauges[station]])
                found = self.nights.judge(station, day, wet=wet)
                if found is not None:
                    told.append(self._tell(found))
        return told

    def _lagging(self, gauge: int, day: int, end_ms: int, silent_ms: npt.NDArray[np.int64] | None) -> bool:
        """Return whether a gauge that takes part has yet to report up to the night's end, and is waited for."""
        if self.params.by_event:
            return False
        if self.rain.state["last_ms"][gauge] >= end_ms or not self.rain.watches(gauge, day, self.params.rain_days):
            return False
        return silent_ms is None or bool(silent_ms[gauge] < self.params.grace_ms)

    def _wet(self, found: list[bool | None]) -> bool | None:
        """Return whether rain bears on a night: any gauge that saw rain decides, else any that saw none."""
        if True in found:
            return True
        return False if False in found or self.params.without_rain else None

    def open(self) -> Mapping[str, int]:
        """Return the stations with an open alert, with the onset of each."""
        s = self.nights.state
        return {f"device:{self.ids[at]}": int(s["onset_ms"][at]) for at in np.flatnonzero(s["phase"] == ALERTED)}

    def pending(self) -> Mapping[str, int]:
        """Return the stations whose last dry nights were high, too few of them yet for an alert."""
        s = self.nights.state
        waiting = np.flatnonzero((s["phase"] != ALERTED) & (s["streak"] > 0))
        return {f"device:{self.ids[at]}": int(s["onset_ms"][at]) for at in waiting}

    def save(self) -> State:
        """Return the whole state, by device id."""
        kept: State = {"entity": np.array(self.ids, dtype=np.str_)}
        for part, state in self._parts():
            kept.update({f"{part}.{name}": column.copy() for name, column in state.items()})
        kept["counts"] = np.array(list(self.nights.counts.values()), dtype=np.int64)
        return kept

    def load(self, state: State) -> None:
        """Take over a saved state; stations that are gone are let go."""
        at, place = matching(self.ids, state["entity"])
        self._own.loaded = True
        for part, columns in self._parts():
            take_over(columns, state, f"{part}.", at, place)
        counts = (int(count) for count in state["counts"].astype(np.int64))
        self.nights.counts.update(zip(self.nights.counts, counts, strict=True))
        self.due_ms = NEVER

    def _parts(self) -> tuple[tuple[str, dict[str, npt.NDArray[Any]]], ...]:
        return (("inflow", self._own.state), ("rain", self.rain.state), ("nights", self.nights.state))

    def _tell(self, night: Night) -> Transition:
        entity, state = f"device:{self.ids[night.station]}", ACTIVE if night.active else CLEARED
        about = (self.rule, self.registry, self.sky, entity, state, night.end_ms, night.onset_ms, self._values(night))
        told = transition(*about, night.reason)
        return replace(told, severity="major") if self._worse(night) and told.severity in ("minor", "info") else told

    def _worse(self, night: Night) -> bool:
        """Return whether a night is graver than its rule says."""
        return night.active and _ratio(night) >= self.params.major_ratio

    def _values(self, night: Night) -> dict[str, float]:
        """Return the figures that a message may name."""
        return {
            "value": night.q_lps,
            "threshold": self.params.on_ratio * night.base_lps,
            "inflow_lps": night.q_lps,
            "baseline_lps": night.base_lps,
            "excess_lps": night.q_lps - night.base_lps,
            "ratio": _ratio(night),
            "nights": float(night.nights),
        }


def _ratio(night: Night) -> float:
    return night.q_lps / night.base_lps if night.base_lps > 0 else float("nan")
