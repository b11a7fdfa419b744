"""Rise rules: a value has risen by so much within so long, whatever it was before.

The value is held against the lowest of the half windows that it stands in and the two before it, so that what counts
lies between one and one and a half windows back, and a device needs three numbers and no list of its past readings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alerts.columns import columns_of
from alerts.expressions import Condition, condition
from alerts.fleet import Fleet
from alerts.judge import State
from alerts.messages import transition
from alerts.places import found_of, some_of
from alerts.rules import Rule
from alerts.spans import duration_ms
from alerts.turns import turns
from alerts.watches import Watches
from devices.batch import Batch
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition
from devices.yamlfile import Node

VALUES = ("rise", "by", "now", "within_min")
HALVES = 3
LOST_AFTER_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Params:
    """A rise rule's own keys.

    Attributes:
        field: whose value.
        by, off_by: it has risen by more than the one; it is over when it has risen by no more than the other.
        within_ms: in so long.
        samples: readings that must show it.
        where: readings for which this does not hold are passed over; None for none.
    """

    field: str
    by: float
    off_by: float
    within_ms: int
    samples: int
    where: Condition | None


def parse(own: Node, kind: Kind, role: str | None) -> Params:
    """Check a rise rule's own keys. Raises ConfigError naming file, line and key."""
    own.only("field", "by", "off_by", "within", "samples", "where")
    reported = tuple(f.name for f in kind.fields if role is None or not f.roles or role in f.roles)
    field = own.need("field").text(one_of=reported)
    by = own.need("by").number()
    if by <= 0:
        raise own.need("by").error(f"expected how much it rises, above zero; found {by:g}")
    off, samples = own.get("off_by"), own.get("samples")
    off_by = by / 3 if off is None else off.number(low=0, high=by)
    within_ms = duration_ms(own.need("within"))
    if within_ms < 2:
        raise own.need("within").error("expected a length of time above zero")
    count = 1.0 if samples is None else samples.number(low=1, high=1000)
    if samples is not None and count != int(count):
        raise samples.error(f"expected a whole number of readings, found {samples.value}")
    where = own.get("where")
    held = condition(where, kind, role) if where is not None else None
    return Params(field, by, off_by, within_ms, int(count), held)


class RiseJudge:
    """One rise rule over the devices of its kind."""

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule_id, self.kinds, self.fingerprint = rule.id, (rule.device,), rule.fingerprint
        self._rule, self._registry, self._sky = rule, registry, sky
        assert isinstance(rule.params, Params)  # noqa: S101 - the table of rule kinds pairs parse and judge
        self._params = rule.params
        kind = registry.catalog[rule.device]
        self._rows = registry.rows_of(rule.device)
        role = registry.role[self._rows]
        self._watched = np.ones(len(role), bool) if rule.role is None else role == kind.roles.index(rule.role)
        self._half = np.full(len(self._rows), np.iinfo(np.int64).min // 2, dtype=np.int64)
        self._lows = np.full((HALVES, len(self._rows)), np.inf)
        self._watches = Watches(len(self._rows), rule.for_ms, rule.keep_ms, self._params.samples, LOST_AFTER_MS)

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:
        """Judge readings, each newer than its device's reading before."""
        columns = columns_of(fleet, batch)
        value, at = columns(self._params.field), columns.at
        if value is None:
            return []
        usable = ~np.isnan(value) & self._watched[at]
        if self._params.where is not None:
            with np.errstate(all="ignore"):
                held = self._params.where.yes.of(columns)
            usable &= False if held is None else held
        here = np.flatnonzero(usable)
        if not len(here):
            return []
        at, value, time_ms = at[here], value[here], batch.time_ms[here]
        return [told for turn in turns(at) for told in self._take(at[turn], value[turn], time_ms[turn], now_ms)]

    def _take(
        self, at: npt.NDArray[np.intp], value: npt.NDArray[np.float64], time_ms: npt.NDArray[np.int64], now_ms: int
    ) -> list[Transition]:
        """Judge a reading of each of some devices."""
        rise: npt.NDArray[np.float64] = np.subtract(value, self._lowest(at, value, time_ms))
        fired, cleared = self._watches.judge(at, time_ms, rise > self._params.by, rise <= self._params.off_by, now_ms)
        return [
            self._tell(int(at[k]), state, int(time_ms[k]), float(rise[k]), float(value[k]))
            for rows, state in ((fired, ACTIVE), (cleared, CLEARED))
            for k in rows.tolist()
        ]

    def _lowest(
        self, at: npt.NDArray[np.intp], value: npt.NDArray[np.float64], time_ms: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Return the lowest value of each device in this half window and the two before, this reading among them."""
        half = time_ms // (self._params.within_ms // 2)
        passed = np.clip(half - self._half[at], 0, HALVES)
        lows = self._lows[:, at]
        moved = np.full_like(lows, np.inf)
        for by in range(HALVES):
            same = passed == by
            moved[by:, same] = lows[: HALVES - by, same]
        moved[0] = np.minimum(moved[0], value)
        self._lows[:, at], self._half[at] = moved, np.maximum(half, self._half[at])
        return np.asarray(moved.min(axis=0))

    @property
    def due_ms(self) -> int:
        """Return when an alert of a silent device is closed."""
        return self._watches.due_ms

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:  # noqa: ARG002 - nothing of the fleet is needed
        """Close alerts of devices of which nothing usable is heard any more."""
        lost = self._watches.lost(now_ms)
        return [self._tell(place, CLEARED, now_ms, reason="data_lost") for place in lost]

    def _tell(
        self, place: int, state: str, at_ms: int, rise: float = np.nan, now: float = np.nan, reason: str = ""
    ) -> Transition:
        p = self._params
        values = {"rise": rise, "value": rise, "now": now, "by": p.by, "threshold": p.by}
        values = {name: number for name, number in values.items() if not np.isnan(number)}
        values["within_min"] = p.within_ms / 60_000
        onset_ms = self._watches.onset(place)
        about = (self._rule, self._registry, self._sky, self._entity(place))
        return transition(*about, state, at_ms, onset_ms, values, reason)

    def _entity(self, place: int) -> str:
        return f"device:{self._registry.id_of(self._rows[place])}"

    def open(self) -> Mapping[str, int]:
        """Return devices whose alert is active, with the onset of each."""
        return {self._entity(place): onset for place, onset in self._watches.open()}

    def pending(self) -> Mapping[str, int]:
        """Return devices that are waiting, with the time since when."""
        return {self._entity(place): since for place, since in self._watches.pending()}

    def save(self) -> State:
        """Return the state of every device that was heard."""
        at = np.flatnonzero(self._half > np.iinfo(np.int64).min // 2)
        kept: State = some_of(self._registry, self._rows, at) | {"half": self._half[at]}
        kept |= {f"low{number}": self._lows[number, at] for number in range(HALVES)}
        return kept | self._watches.save(at)

    def load(self, state: State) -> None:
        """Take over a saved state; devices that no longer exist are let go."""
        found = found_of(self._registry, self._rows, state)
        here = found >= 0
        here[here] = self._watched[found[here]]
        self._half[found[here]] = state["half"][here]
        for number in range(HALVES):
            self._lows[number, found[here]] = state[f"low{number}"][here]
        self._watches.load(state, found, here)
