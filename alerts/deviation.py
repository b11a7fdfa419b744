"""Deviation rules: a value that is no longer what it used to be for this very device, by the median of its past nights.

A lamp's power at full level is what its own nights say, not what somebody once entered as rated; a feeder's leakage is
what its own length and number of drivers bring (docs/sources.md, lighting). Readings during an alert, or out of the
ordinary, are not learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alerts.baselines import Baselines, night_of
from alerts.columns import BatchColumns, columns_of
from alerts.expressions import Condition, Quantity, condition, quantity
from alerts.fleet import NEVER_AGAIN, Fleet
from alerts.judge import State
from alerts.keys import Keys
from alerts.messages import transition
from alerts.places import ids_of, places_of
from alerts.rules import Rule
from alerts.saved import take_over
from alerts.spans import Span, report_s, span
from alerts.turns import turns
from devices.batch import Batch
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition
from devices.yamlfile import Node

VALUES = ("ratio", "usual", "level")
LEVELS = 4  # learned apart: four tenths from the least level up
IDLE, WAITING, ALERTED = 0, 1, 2
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Params:
    """A deviation rule's own keys.

    Attributes:
        value: what is compared with what it used to be.
        when: readings for which this does not hold are passed over.
        level: per cent, learned apart by tenths; None where there is one level only.
        level_least: least level that is judged.
        low, high: shares below and above usual that are an alert; None where that side is not looked at.
        off: share within which it is usual again.
        least: difference that it takes at least, in the value's own unit.
        samples: readings that must show it.
        nights, nights_min: past nights that the median is of, and how many it needs.
        readings_min: a night of fewer readings is not learned.
        hold: how long a reading stands; after a longer gap the waiting begins anew.
    """

    value: Quantity
    when: Condition | None
    level: Quantity | None
    level_least: float
    low: float | None
    high: float | None
    off: float
    least: float
    samples: int
    nights: int
    nights_min: int
    readings_min: int
    hold: Span


def parse(own: Node, kind: Kind, role: str | None) -> Params:
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    keys = Keys(
        own, "value", "when", "level", "level_min", "low", "high", "off", "least", "samples", "nights", "nights_min",
        "readings_min", "hold",
    )  # fmt: skip
    when, level = own.get("when"), own.get("level")
    params = Params(
        value=quantity(own.need("value"), kind, role),
        when=condition(when, kind, role) if when is not None else None,
        level=quantity(level, kind, role) if level is not None else None,
        level_least=keys.number("level_min", 70.0, 0, 100),
        low=keys.number("low", 0.25, 0.01, 1) if own.get("low") is not None else None,
        high=keys.number("high", 0.25, 0.01, 1000) if own.get("high") is not None else None,
        off=keys.number("off", 0.15, 0, 1000),
        least=keys.number("least", 0.0, 0, 1e6),
        samples=keys.whole("samples", 1, 1, 1000),
        nights=keys.whole("nights", 14, 1, 60),
        nights_min=keys.whole("nights_min", 3, 1, 60),
        readings_min=keys.whole("readings_min", 4, 1, 10_000),
        hold=keys.read("hold", Span(intervals=3.0), span),
    )
    if params.low is None and params.high is None:
        keys.problem("low", "expected 'low', 'high' or both: shares such as 0.25")
    if any(side is not None and params.off > side for side in (params.low, params.high)):
        keys.problem("off", "expected at most 'low' and 'high'")
    if params.nights_min > params.nights:
        keys.problem("nights_min", f"expected at most nights ({params.nights})")
    keys.done()
    return params


class DeviationJudge:
    """A deviation rule over all devices of its kind and role; each judged by its own readings alone."""

    due_ms: int = NEVER_AGAIN

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule_id, self.kinds, self.fingerprint = rule.id, (rule.device,), rule.fingerprint
        self._rule, self._registry, self._sky = rule, registry, sky
        params = rule.params
        assert isinstance(params, Params)  # noqa: S101 - the table of rule kinds pairs parse and judge
        self._params = params
        kind = registry.catalog[rule.device]
        self._rows = registry.rows_of(kind.name, rule.role) if rule.role else registry.rows_of(kind.name)
        size = len(self._rows)
        self._index = registry.places_in(self._rows)
        self._hold_ms = params.hold.of(report_s(kind, rule.role or kind.roles[0]))
        levels = LEVELS if params.level is not None else 1
        self.baselines = Baselines(size, levels, params.nights, params.nights_min, params.readings_min)
        self._phase = np.zeros(size, dtype=np.int8)
        self._samples = np.zeros(size, dtype=np.int32)
        self._since, self._back, self._last = (np.zeros(size, dtype=np.int64) for _ in range(3))

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:  # noqa: ARG002 - device time counts
        """Judge readings, and learn from those that are as usual."""
        value, level, here = self._measured(columns_of(fleet, batch), len(batch))
        here = here[self._index[batch.device[here]] >= 0]
        if not len(here):
            return []
        at, time_ms, value, level = self._index[batch.device[here]], batch.time_ms[here], value[here], level[here]
        return [
            told
            for turn in turns(at)
            for told in self._take(at[turn].astype(np.intp), time_ms[turn], value[turn], level[turn])
        ]

    def _take(
        self, at: npt.NDArray[np.intp], time_ms: npt.NDArray[np.int64], value: Floats, level: npt.NDArray[np.intp]
    ) -> list[Transition]:
        """Judge a reading of each of some devices."""
        self.baselines.turn(at, night_of(self._sky, time_ms))
        usual = self.baselines.usual[at, level]
        bad, good = self._compare(value, usual)
        told = self._stand(at, time_ms, bad, good, {"value": value, "usual": usual, "level": level.astype(np.float64)})
        learn = (np.isnan(usual) | good) & (self._phase[at] == IDLE)
        self.baselines.learn(at[learn], level[learn], value[learn])
        return told

    def _measured(self, columns: BatchColumns, count: int) -> tuple[Floats, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return values, levels' numbers, and which rows are judged at all."""
        p = self._params
        level = np.zeros(count, dtype=np.intp)
        with np.errstate(all="ignore"):
            held = None if p.when is None else p.when.yes.of(columns)
            value, share = p.value.number.of(columns), None if p.level is None else p.level.number.of(columns)
        if value is None or (p.when is not None and held is None) or (p.level is not None and share is None):
            return np.zeros(count), level, np.zeros(0, dtype=np.intp)
        value = np.broadcast_to(value, count)
        fit = ~np.isnan(value)
        if held is not None:
            fit &= np.broadcast_to(held, count)
        if share is not None:
            share = np.broadcast_to(share, count)
            fit &= share >= p.level_least  # of what is not known this does not hold
            tenths = np.floor((np.where(fit, share, p.level_least) - p.level_least) / 10.0)
            level = np.clip(tenths, 0, LEVELS - 1).astype(np.intp)
        return value, level, fit.nonzero()[0]

    def _compare(self, value: Floats, usual: Floats) -> tuple[Mask, Mask]:
        p = self._params
        known = ~np.isnan(usual)
        apart = np.abs(value - usual) >= p.least
        bad, good = np.zeros(len(value), dtype=bool), known.copy()
        if p.low is not None:
            bad |= known & apart & (value < (1.0 - p.low) * usual)
            good &= value > (1.0 - p.off) * usual
        if p.high is not None:
            bad |= known & apart & (value > (1.0 + p.high) * usual)
            good &= value < (1.0 + p.off) * usual
        return bad, good & ~bad

    def _stand(
        self,
        at: npt.NDArray[np.intp],
        time_ms: npt.NDArray[np.int64],
        bad: Mask,
        good: Mask,
        figures: dict[str, Floats],
    ) -> list[Transition]:
        """Let each device's alert live on by one reading."""
        phase = self._phase[at]
        stale = (phase == WAITING) & (time_ms - self._last[at] > self._hold_ms)
        rest = (phase == WAITING) & (~bad & good | stale)
        self._phase[at[rest]] = IDLE
        begins = bad & (self._phase[at] == IDLE)
        self._since[at[begins]], self._samples[at[begins]] = time_ms[begins], 0
        self._phase[at[begins]] = WAITING
        waits = bad & (self._phase[at] == WAITING)
        self._samples[at[waits]] += 1
        long = (time_ms - self._since[at] >= self._rule.for_ms) & (self._samples[at] >= self._params.samples)
        fires = waits & long
        self._phase[at[fires]] = ALERTED
        self._back[at[fires]] = 0
        open_ = (phase == ALERTED) & ~fires
        gap = time_ms - self._last[at] > self._hold_ms  # nobody knows what was in between
        fresh = open_ & good & ((self._back[at] == 0) | gap)
        self._back[at[fresh]] = time_ms[fresh]
        self._back[at[open_ & ~good]] = 0
        clears = open_ & good & (time_ms - self._back[at] >= self._rule.keep_ms)
        self._phase[at[clears]] = IDLE
        self._last[at] = time_ms
        return [
            self._tell(
                int(at[k]),
                ACTIVE if fires[k] else CLEARED,
                int(time_ms[k]),
                {n: float(c[k]) for n, c in figures.items()},
            )
            for k in (fires | clears).nonzero()[0].tolist()
        ]

    def _tell(self, at: int, state: str, at_ms: int, values: dict[str, float]) -> Transition:
        p = self._params
        side = p.high if values["value"] > values["usual"] else p.low
        share = side if side is not None else (p.low if p.low is not None else p.high) or 0.0
        values["level"] = p.level_least + 10.0 * values["level"] if p.level is not None else 100.0
        values["ratio"] = values["value"] / values["usual"] if values["usual"] else float("nan")
        values["threshold"] = values["usual"] * (1.0 + share if values["value"] > values["usual"] else 1.0 - share)
        entity = f"device:{self._registry.id_of(self._rows[at])}"
        return transition(self._rule, self._registry, self._sky, entity, state, at_ms, int(self._since[at]), values)

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:  # noqa: ARG002 - judged by readings only
        """Do nothing: what is not measured is not judged."""
        return []

    def open(self) -> Mapping[str, int]:
        """Return devices whose alert is active, with the onset of each."""
        return self._of(ALERTED)

    def pending(self) -> Mapping[str, int]:
        """Return devices that are waiting, with the time since when."""
        return self._of(WAITING)

    def _of(self, phase: int) -> dict[str, int]:
        places = np.flatnonzero(self._phase == phase)
        return {f"device:{self._registry.id_of(self._rows[k])}": int(self._since[k]) for k in places}

    def save(self) -> State:
        """Return what is remembered of every device."""
        kept: State = {name: column.copy() for name, column in self._columns().items()}
        return kept | {"ids": ids_of(self._registry, self._rows)} | self.baselines.save()

    def load(self, state: State) -> None:
        """Take over a saved state; devices that no longer exist are let go, new ones start afresh."""
        found = places_of(self._registry, self._rows, state["ids"])
        here = found >= 0
        take_over(self._columns(), state, "", found[here], np.flatnonzero(here))
        self.baselines.load(state, found[here], np.flatnonzero(here))

    def _columns(self) -> dict[str, npt.NDArray[np.generic]]:
        return {
            "phase": self._phase, "samples": self._samples, "since": self._since, "back": self._back,
            "last": self._last,
        }  # fmt: skip
