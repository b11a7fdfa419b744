"""Expression rules: a condition over each reading, with how long it must hold and how its end is recognised.

A device is at rest, waiting (the condition holds, not yet long enough), active, or clearing (active, and the end holds,
not yet long enough). Clocks run in device time; between readings they run on in host time for at most ``hold``, so that
a device which reports only changes is judged too. What needs an absent or suspect value is passed over: it neither
fires nor clears. Method: alerting.md parts 5 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alerts.columns import BatchColumns, Columns, LiveColumns, columns_of, known_names
from alerts.expressions import Condition, Quantity, condition, quantity
from alerts.fleet import Fleet
from alerts.judge import State
from alerts.messages import transition
from alerts.rules import Rule
from alerts.spans import Span, report_s, span
from alerts.templates import placeholders
from devices.batch import Batch
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition
from devices.yamlfile import Node

Places = npt.NDArray[np.signedinteger]
Mask = npt.NDArray[np.bool_]

REST, WAITING, FIRING, CLEARING = 0, 1, 2, 3
HOLD = Span(intervals=3)  # three missed reports and nobody knows any more (alerting.md 1.1, 5)
LOST_AFTER = Span(ms=24 * 3_600_000)  # a held alert is closed as data_lost after a day (alerting.md 5)


@dataclass(frozen=True, slots=True)
class Params:
    """An expression rule's own keys.

    Attributes:
        on: what must hold.
        off: what ends it; None for the contrary of ``on``.
        samples: readings that must show the condition before an alert.
        hold: how long a reading is taken to still stand when nothing more is heard.
        lost_after: silence after which an open alert is closed as ``data_lost``.
        carry: judge the latest trusted value of each field, not only the values of one reading.
        value, threshold: the numbers to tell; None for those of the comparison that holds.
        roles: roles that report every field the rule needs.
    """

    on: Condition
    off: Condition | None
    samples: int
    hold: Span
    lost_after: Span
    carry: bool
    value: Quantity | None
    threshold: Quantity | None
    roles: tuple[str, ...]


def parse(own: Node, kind: Kind, role: str | None) -> Params:
    """Check an expression rule's own keys. Raises ConfigError naming file, line, key and the known names."""
    own.only("on", "off", "samples", "hold", "lost_after", "carry", "value", "threshold")
    on = condition(own.need("on"), kind, role)
    off_node, hold, lost = own.get("off"), own.get("hold"), own.get("lost_after")
    value, threshold = own.get("value"), own.get("threshold")
    off = condition(off_node, kind, role) if off_node is not None else None
    for node, made in ((own.need("on"), on), (off_node, off)):
        if node is not None and made is not None and not set(made.names) & set(kind.field_names()):
            raise node.error("follows from no reading; it needs at least one of the device's fields")
    needed = [f for f in kind.fields if f.name in {*on.names, *(off.names if off else ())}]
    able = tuple(r for r in kind.roles if role in (None, r) and all(not f.roles or r in f.roles for f in needed))
    if not able:
        raise own.need("on").error(f"no role of {kind.name} reports all of {', '.join(f.name for f in needed)}")
    return Params(
        on,
        off,
        _samples(own.get("samples")),
        span(hold) if hold is not None else HOLD,
        span(lost) if lost is not None else LOST_AFTER,
        _carry(own.get("carry")),
        quantity(value, kind, role) if value is not None else None,
        quantity(threshold, kind, role) if threshold is not None else None,
        able,
    )


def message_names(kind: Kind, role: str | None) -> frozenset[str]:
    """Return the names that a message may use beyond the common ones."""
    return frozenset(known_names(kind, role))


def _samples(node: Node | None) -> int:
    if node is None:
        return 1
    count = node.number(low=1, high=1000)
    if count != int(count):
        raise node.error(f"expected a whole number of readings, found {node.value}")
    return int(count)


def _carry(node: Node | None) -> bool:
    if node is None:
        return False
    if not isinstance(node.value, bool):
        raise node.error("expected true or false")
    return node.value


class ExpressionJudge:
    """Judges one expression rule over all devices of its kind, as columns in the order of the kind's live columns.

    Attributes:
        rule_id, kinds, fingerprint: as the engine wants of every judge.
        unjudged: devices that lack a fact which the condition needs, and so are never judged.
    """

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule_id, self.kinds, self.fingerprint = rule.id, (rule.device,), rule.fingerprint
        self._rule, self._registry, self._sky = rule, registry, sky
        params = rule.params
        assert isinstance(params, Params)  # noqa: S101 - the table of rule kinds pairs parse and judge
        self._params = params
        kind = registry.catalog[rule.device]
        self._rows = registry.rows_of(rule.device)
        count = len(self._rows)
        role = registry.role[self._rows]
        self._watched = np.isin(role, [kind.roles.index(name) for name in params.roles])
        self._all_watched = bool(self._watched.all())
        self._hold = np.array([params.hold.of(report_s(kind, r)) for r in kind.roles], dtype=np.int64)
        self._lost = np.array([params.lost_after.of(report_s(kind, r)) for r in kind.roles], dtype=np.int64)
        self._role = role
        self._mobile = {"lon_deg", "lat_deg"} <= set(kind.field_names())
        self._told = _told_names(rule, kind)
        facts = [f.name for f in kind.facts if f.name in params.on.names]
        lacking = [np.isnan(registry.fact(name)[self._rows]) for name in facts]
        self.unjudged = int((np.any(lacking, axis=0) & self._watched).sum()) if lacking else 0
        self._state = np.zeros(count, dtype=np.int8)
        self._pend = np.zeros(count, dtype=np.int64)  # device time at which the condition first held
        self._clear = np.zeros(count, dtype=np.int64)  # device time at which its end first held
        self._last = np.zeros(count, dtype=np.int64)  # device time of the last reading that could be judged
        self._heard = np.zeros(count, dtype=np.int64)  # host time of the same
        self._seen = np.zeros(count, dtype=np.int32)  # readings that showed the condition
        self._stirred = False

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:
        """Judge readings: at most one a device, each newer than its device's last."""
        columns = columns_of(fleet, batch, carried=self._params.carry)
        yes, no = self._params.on(columns)
        places = fleet.live[self.kinds[0]].local[batch.device]
        state = self._state[places]
        touched = yes | (state != REST)
        if not self._all_watched:
            touched &= self._watched[places]
        active = np.flatnonzero(touched)
        if not len(active):
            return []
        self._stirred = True
        return self._judge(fleet, columns, active, places[active], yes[active], no[active], now_ms)

    def _judge(
        self, fleet: Fleet, columns: BatchColumns, rows: Places, at: Places, yes: Mask, no: Mask, now_ms: int
    ) -> list[Transition]:
        time = columns.batch.time_ms[rows]
        state, pend, clear, seen = self._state[at], self._pend[at], self._clear[at], self._seen[at]
        apart = time - self._last[at] > self._hold[self._role[at]]  # too long unheard: the waiting starts again
        begins = yes & ((state == REST) | ((state == WAITING) & apart))
        goes_on = yes & (state == WAITING) & ~apart
        pend[begins] = time[begins]
        seen = np.where(begins, 1, seen + goes_on)
        fires = (begins | goes_on) & (time - pend >= self._rule.for_ms) & (seen >= self._params.samples)
        new = np.where(begins, WAITING, np.where((state == WAITING) & no, REST, state)).astype(np.int8)
        new[fires] = FIRING
        known = yes | no
        alight = state >= FIRING
        ended: Mask = np.zeros(len(at), dtype=bool)
        if alight.any():
            over, lasts = self._ending(columns, rows, yes, no)
            known = np.where(alight, over | lasts, known)
            starts = over & ((state == FIRING) | ((state == CLEARING) & apart))
            clear[starts] = time[starts]
            ended = alight & over & (time - clear >= self._rule.keep_ms)
            new = np.where(starts, CLEARING, np.where((state == CLEARING) & lasts, FIRING, new)).astype(np.int8)
            new[ended] = REST
        self._state[at], self._pend[at], self._clear[at], self._seen[at] = new, pend, clear, seen
        self._last[at[known]] = time[known]
        self._heard[at[known]] = now_ms
        changed = np.flatnonzero(fires | ended)
        if not len(changed):
            return []
        told = self._values(columns, rows[changed])
        states = [ACTIVE if fires[k] else CLEARED for k in changed]
        return self._tell(fleet, at[changed], states, time[changed], told)

    def _ending(self, columns: BatchColumns, rows: Places, yes: Mask, no: Mask) -> tuple[Mask, Mask]:
        if self._params.off is None:
            return no, yes
        over, lasts = self._params.off(columns)
        return over[rows], lasts[rows]

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Let the clocks run on in host time while the last reading still stands; close what was heard of no more."""
        if not self._stirred:
            return []
        at = np.flatnonzero(self._state)
        self._stirred = bool(len(at))
        if fleet.resumed_ms == now_ms:  # after a pause, or a host clock set back
            self._heard[at] = np.minimum(self._heard[at], now_ms)
        state = self._state[at]
        silent = np.maximum(now_ms - np.maximum(self._heard[at], fleet.resumed_ms), 0)
        time = self._last[at] + silent
        stands = silent <= self._hold[self._role[at]]
        long_on = time - self._pend[at] >= self._rule.for_ms
        fires = (state == WAITING) & stands & long_on & (self._seen[at] >= self._params.samples)
        ended = (state == CLEARING) & stands & (time - self._clear[at] >= self._rule.keep_ms)
        lost = silent > self._lost[self._role[at]]
        self._state[at[fires]] = FIRING
        self._state[at[ended | lost]] = REST
        lost &= state >= FIRING
        out: list[Transition] = []
        if fires.any():
            hit = at[fires]
            when = np.maximum(self._pend[hit] + self._rule.for_ms, self._last[hit])
            out += self._tell(fleet, hit, [ACTIVE] * len(hit), when, self._live_values(fleet, hit, now_ms))
        if ended.any():
            hit = at[ended]
            when = np.maximum(self._clear[hit] + self._rule.keep_ms, self._last[hit])
            out += self._tell(fleet, hit, [CLEARED] * len(hit), when, self._live_values(fleet, hit, now_ms))
        if lost.any():
            hit = at[lost]
            empty: list[dict[str, float]] = [{} for _ in hit]
            out += self._tell(fleet, hit, [CLEARED] * len(hit), np.full(len(hit), now_ms), empty, "data_lost")
        return out

    def _values(self, columns: Columns, rows: Places) -> list[dict[str, float]]:
        """Return the numbers behind each of ``rows``: the named ones, and which value passed which threshold."""
        table = {name: columns(name)[rows] for name in self._told}
        value, threshold = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        shape = columns(self._told[0]).shape
        yes = self._params.on(columns)[0][rows]
        for number, comparison in enumerate(self._params.on.comparisons):
            with np.errstate(all="ignore"):
                holds = comparison.truth(columns)[0][rows] & yes
                left, right = comparison.value(columns), comparison.threshold(columns)
            chosen = holds | (number == 0) | ~yes  # the last that holds; the last of all where the alert is over
            value[chosen] = np.broadcast_to(left, shape)[rows][chosen]
            threshold[chosen] = np.broadcast_to(right, shape)[rows][chosen]
        for name, asked in (("value", self._params.value), ("threshold", self._params.threshold)):
            if asked is not None:
                table[name] = np.broadcast_to(asked(columns), shape)[rows]
        table = {"value": value, "threshold": threshold} | table
        return [{n: float(c[k]) for n, c in table.items() if not np.isnan(c[k])} for k in range(len(rows))]

    def _live_values(self, fleet: Fleet, at: Places, now_ms: int) -> list[dict[str, float]]:
        columns = LiveColumns(fleet, fleet.live[self.kinds[0]], at, now_ms)
        return self._values(columns, np.arange(len(at)))

    def _tell(
        self,
        fleet: Fleet,
        at: Places,
        states: list[str],
        when: npt.NDArray[np.int64],
        told: list[dict[str, float]],
        reason: str = "",
    ) -> list[Transition]:
        live = fleet.live[self.kinds[0]]
        out = []
        for k, place in enumerate(at):
            where = None
            if self._mobile:
                where = (float(live.column("lon_deg")[place]), float(live.column("lat_deg")[place]))
            entity, onset = self._entity(int(place)), int(self._pend[place])
            made = transition(
                self._rule, self._registry, self._sky, entity, states[k], int(when[k]), onset, told[k], reason, where
            )
            out.append(made)
        return out

    def _entity(self, place: int) -> str:
        return f"device:{self._registry.assets[self._rows[place]].id}"

    def open(self) -> Mapping[str, int]:
        """Return devices whose alert is active, with the onset of each."""
        return {self._entity(int(p)): int(self._pend[p]) for p in np.flatnonzero(self._state >= FIRING)}

    def pending(self) -> Mapping[str, int]:
        """Return devices that are waiting, with the time since when."""
        return {self._entity(int(p)): int(self._pend[p]) for p in np.flatnonzero(self._state == WAITING)}

    def save(self) -> State:
        """Return the state of every device that is not at rest."""
        at = np.flatnonzero(self._state)
        ids = np.array([self._registry.assets[self._rows[p]].id for p in at], dtype="S64")
        return {"ids": ids} | {name: column[at] for name, column in self._stored().items()}

    def load(self, state: State) -> None:
        """Take over a saved state; devices that no longer exist are let go."""
        places = {self._registry.assets[row].id.encode(): place for place, row in enumerate(self._rows)}
        found = np.array([places.get(bytes(name), -1) for name in state["ids"]], dtype=np.intp)
        here = found >= 0
        here[here] = self._watched[found[here]]
        for name, column in self._stored().items():
            column[:] = 0
            column[found[here]] = state[name][here]
        self._stirred = bool(here.any())

    def _stored(self) -> dict[str, npt.NDArray[np.generic]]:
        return {
            "state": self._state, "pend": self._pend, "clear": self._clear,
            "last": self._last, "heard": self._heard, "seen": self._seen,
        }  # fmt: skip


def _told_names(rule: Rule, kind: Kind) -> list[str]:
    known = known_names(kind, rule.role)
    place = Node(None, "", rule.line, rule.id)
    asked = [name for text in rule.message.values() for name in placeholders(text, place)]
    return [name for name in dict.fromkeys([*rule.params.on.names, *asked]) if name in known]
