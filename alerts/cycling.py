"""Cycle rules: something that goes on and off again and again, such as a discharge lamp at the end of its life.

Two things are counted between consecutive readings: rises of the device's own counter of switchings, which sees what
happens between reports, and crossings of the value from below ``low`` to above ``high`` and back, for devices without
such a counter. What happens to the neighbours too (dips of the mains) is no fault of the device.

The counts stand in a ring of slots an eighth of the window long, so the window is kept to an eighth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alerts.columns import BatchColumns, Floats, Ints, Places, columns_of
from alerts.expressions import Condition, Quantity, condition, quantity
from alerts.fleet import NEVER_AGAIN, Fleet
from alerts.judge import State
from alerts.keys import Keys
from alerts.messages import transition
from alerts.places import ids_of, places_of
from alerts.rules import Rule
from alerts.saved import take_over
from alerts.spans import Span, report_s, span
from alerts.turns import Mask, before, turns
from devices.batch import Batch
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition
from devices.yamlfile import Node

VALUES = ("changes", "neighbours", "within_min")
SLOTS = 8  # of a ring; the window is so many slots
IDLE, WAITING, ALERTED = 0, 1, 2
LOW, HIGH, UNKNOWN = 0, 1, -1
COUNTER_MOST = 40  # a larger rise between two readings is a counter that was exchanged
BESIDE = ("cabinet", "circuit", "road", "grid")


@dataclass(frozen=True, slots=True)
class Params:
    """A cycle rule's own keys.

    Attributes:
        value: what goes up and down.
        low, high: it is off below the one and on above the other; between them it stays what it was.
        counter: a field that counts switchings; None where there is none.
        per_rise: how many changes a rise of the counter by one is.
        while_: only between readings for which this holds, changes count.
        changes: so many within the window are an alert.
        within_ms: the window.
        quiet_ms: without a change for so long, of the time in which changes count, the alert ends.
        beside: place that neighbours share; empty where neighbours are not asked.
        neighbours_most: more changes than this, in the median of the neighbours, are no fault of the device.
        hold: readings farther apart than this are not compared.
    """

    value: Quantity
    low: float
    high: float
    counter: Quantity | None
    per_rise: float
    while_: Condition | None
    changes: int
    within_ms: int
    quiet_ms: int
    beside: str
    neighbours_most: float
    hold: Span


def parse(own: Node, kind: Kind, role: str | None) -> Params:
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    keys = Keys(
        own, "value", "low", "high", "counter", "per_rise", "while", "changes", "within", "quiet", "neighbours",
        "neighbours_max", "hold",
    )  # fmt: skip
    counter, held = own.get("counter"), own.get("while")
    params = Params(
        value=quantity(own.need("value"), kind, role),
        low=keys.number("low", 0.2, -1e6, 1e6),
        high=keys.number("high", 0.6, -1e6, 1e6),
        counter=quantity(counter, kind, role) if counter is not None else None,
        per_rise=keys.number("per_rise", 1.0, 0.1, 10),
        while_=condition(held, kind, role) if held is not None else None,
        changes=keys.whole("changes", 4, 2, 1000),
        within_ms=max(keys.length("within", 3_600_000), 8000),
        quiet_ms=keys.length("quiet", 21_600_000),
        beside=keys.text("neighbours", "", BESIDE),
        neighbours_most=keys.number("neighbours_max", 1.0, 0, 1000),
        hold=keys.read("hold", Span(intervals=3.0), span),
    )
    if params.low >= params.high:
        keys.problem("high", f"expected more than low ({params.low:g})")
    keys.done()
    return params


class CycleJudge:
    """A cycle rule over all devices of its kind and role.

    Readings are counted as they come; whether an alert begins or ends is decided at the end of a step, when the
    neighbours' readings of the same moment are counted too.
    """

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
        self._slot_ms = params.within_ms // SLOTS
        self._beside = self._neighbours(registry)
        self._ring = np.zeros((size, SLOTS + 1), dtype=np.float32)
        self._stirred = np.zeros(size, dtype=np.bool_)  # whose ring holds anything: hardly any
        self._slot = np.zeros(size, dtype=np.int64)  # the slot up to which the ring was moved on
        self._state = np.full(size, UNKNOWN, dtype=np.int8)
        self._count = np.full(size, np.nan)
        self._last, self._since, self._calm_ms = (np.zeros(size, dtype=np.int64) for _ in range(3))
        self._phase = np.zeros(size, dtype=np.int8)
        self._touched: set[int] = set()

    def _neighbours(self, registry: Registry) -> npt.NDArray[np.int64]:
        """Return a number of each device's neighbourhood, -1 where it has none."""
        beside = self._params.beside
        if not beside:
            return np.full(len(self._rows), -1, dtype=np.int64)
        code = registry.group(beside).code[self._rows].astype(np.int64)
        if beside != "circuit":
            return code
        box = registry.group("cabinet").code[self._rows].astype(np.int64)
        return np.where((code >= 0) & (box >= 0), box * (len(registry.group("circuit").names) + 1) + code, -1)

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:  # noqa: ARG002 - device time counts
        """Count what has changed since each device's reading before."""
        place = self._index[batch.device]
        mine = (place >= 0).nonzero()[0]
        if not len(mine):
            return []
        measured = self._measured(columns_of(fleet, batch), len(batch))
        value, count, held = measured[0][mine], measured[1][mine], measured[2][mine]
        at, time_ms = place[mine].astype(np.intp), batch.time_ms[mine]
        if not held.any() and not self._last[at].any():
            return []
        known = ~np.isnan(value) & held
        followed = before(at, known, self._last > 0)  # else nothing is known of the device, nor to be learned
        rows = (held | followed).nonzero()[0]
        for turn in turns(at[rows]):
            now = rows[turn]
            self._take(at[now], time_ms[now], value[now], count[now], known[now])
        return []

    def _take(self, at: Places, time_ms: Ints, value: Floats, count: Floats, known: Mask) -> None:
        """Take in a reading of each of some devices, known where it was measured under the rule's condition."""
        state = np.where(value < self._params.low, LOW, np.where(value > self._params.high, HIGH, self._state[at]))
        near = known & (self._last[at] > 0) & (time_ms - self._last[at] <= self._hold_ms)
        crossed = near & (self._state[at] != UNKNOWN) & (state != self._state[at])
        rise = np.where(near, count - self._count[at], 0.0)
        rise = np.where((rise > 0) & (rise <= COUNTER_MOST), rise * self._params.per_rise, 0.0)
        changes = np.maximum(rise, crossed * 1.0)
        self._move(at, time_ms)
        risen = changes.nonzero()[0]
        if len(risen):
            self._ring[at[risen], self._slot[at[risen]] % (SLOTS + 1)] += changes[risen]
            self._stirred[at[risen]] = True
        passed = np.where(near, time_ms - self._last[at], 0)
        self._calm_ms[at] = np.where(changes > 0, 0, self._calm_ms[at] + passed)
        self._state[at] = np.where(known, state, UNKNOWN)
        self._count[at] = np.where(known, count, np.nan)
        self._last[at] = np.where(known, time_ms, 0)
        awake = self._phase[at] != IDLE
        stirred = self._stirred[at].nonzero()[0]
        if len(stirred):
            inside = self._ring[at[stirred]].sum(axis=1)
            awake[stirred] |= inside >= self._params.changes
            self._stirred[at[stirred]] = inside > 0.0
        self._touched.update(at[awake & known].tolist())

    def _measured(
        self, columns: BatchColumns, size: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        p = self._params
        with np.errstate(all="ignore"):
            value = p.value.number.of(columns)
            count = None if p.counter is None else p.counter.number.of(columns)
            held = None if p.while_ is None else p.while_.yes.of(columns)
        mask = np.ones(size, dtype=bool) if p.while_ is None else np.zeros(size, dtype=bool)
        return (
            np.broadcast_to(np.nan if value is None else value, size),
            np.broadcast_to(np.nan if count is None else count, size),
            mask if held is None else np.broadcast_to(held, size),
        )

    def _move(self, at: npt.NDArray[np.int64], time_ms: npt.NDArray[np.int64]) -> None:
        """Move rings on to the slots of these times; what has left the window is forgotten."""
        slot, before = time_ms // self._slot_ms, self._slot[at]
        stirred = self._stirred[at].nonzero()[0]
        if len(stirred):
            those, now = at[stirred], slot[stirred]
            ahead = np.clip(now - before[stirred], 0, SLOTS + 1)
            for step in range(1, int(ahead.max()) + 1):
                here = ahead >= step
                self._ring[those[here], (now[here] - step + 1) % (SLOTS + 1)] = 0.0
        self._slot[at] = np.maximum(slot, before)

    @property
    def due_ms(self) -> int:
        """Return when something is to be decided: at once where a reading has shown changes."""
        return 0 if self._touched else NEVER_AGAIN

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:  # noqa: ARG002 - device time counts
        """Decide about the devices whose readings came in this step."""
        told = [one for at in sorted(self._touched) if (one := self._decide(at)) is not None]
        self._touched.clear()
        return told

    def _decide(self, at: int) -> Transition | None:
        p, time_ms = self._params, int(self._last[at])
        if not time_ms:
            return None
        changes = float(self._ring[at].sum())
        beside = self._median(at, time_ms) if changes >= p.changes else 0.0
        bad = changes >= p.changes and beside <= p.neighbours_most
        if self._phase[at] == ALERTED:
            if int(self._calm_ms[at]) < p.quiet_ms:
                return None
            self._phase[at] = IDLE
            return self._tell(at, CLEARED, time_ms, changes, beside)
        if not bad:
            self._phase[at] = IDLE
            return None
        if self._phase[at] == IDLE:
            self._phase[at], self._since[at] = WAITING, time_ms
        if time_ms - int(self._since[at]) < self._rule.for_ms:
            return None
        self._phase[at] = ALERTED
        return self._tell(at, ACTIVE, time_ms, changes, beside)

    def _median(self, at: int, time_ms: int) -> float:
        """Return the median of the neighbours' changes within the window before ``time_ms``, 0 without neighbours."""
        if self._beside[at] < 0:
            return 0.0
        others = np.flatnonzero(self._beside == self._beside[at])
        others = others[others != at]
        if not len(others):
            return 0.0
        slots = self._slot[others, None] - np.arange(SLOTS + 1)
        within = slots >= time_ms // self._slot_ms - SLOTS  # a neighbour that was heard long ago shows old changes
        changes = np.take_along_axis(self._ring[others], slots % (SLOTS + 1), axis=1)
        return float(np.median(np.where(within, changes, 0.0).sum(axis=1)))

    def _tell(self, at: int, state: str, at_ms: int, changes: float, beside: float) -> Transition:
        values = {"changes": changes, "neighbours": beside, "within_min": self._params.within_ms / 60_000}
        values |= {"value": changes, "threshold": float(self._params.changes)}
        entity = f"device:{self._registry.id_of(self._rows[at])}"
        return transition(self._rule, self._registry, self._sky, entity, state, at_ms, int(self._since[at]), values)

    def state_of(self, device: str) -> float:
        """Return how many changes of a device stand in its window."""
        return float(self._ring[self._index[self._registry.row[device]]].sum())

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
        return {"ids": ids_of(self._registry, self._rows)} | {n: c.copy() for n, c in self._columns().items()}

    def load(self, state: State) -> None:
        """Take over a saved state; devices that no longer exist are let go, new ones start afresh."""
        found = places_of(self._registry, self._rows, state["ids"])
        here = found >= 0
        take_over(self._columns(), state, "", found[here], np.flatnonzero(here))
        self._stirred[:] = self._ring.any(axis=1)

    def _columns(self) -> dict[str, npt.NDArray[np.generic]]:
        return {
            "ring": self._ring, "slot": self._slot, "state": self._state, "count": self._count, "last": self._last,
            "since": self._since, "calm_ms": self._calm_ms, "phase": self._phase,
        }  # fmt: skip
