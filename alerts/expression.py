"""Expression rules: a condition over each reading, with how long it must hold and how its end is recognised.

A device is at rest, waiting (the condition holds, not yet long enough), active, or clearing (active, and the end holds,
not yet long enough). Clocks run in device time; between readings they run on in host time for at most ``hold``, so that
a device which reports only changes is judged too. What needs an absent or suspect value is passed over: it neither
fires nor clears. See docs/sources.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from alerts.columns import BatchColumns, LiveColumns, columns_of
from alerts.expression_keys import Params, message_names, parse
from alerts.fleet import Fleet
from alerts.judge import State
from alerts.places import ids_of, places_of
from alerts.rules import Rule
from alerts.spans import report_s
from alerts.telling import Numbers, Teller
from devices.batch import Batch
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition

__all__ = ["ExpressionJudge", "message_names", "parse"]

Places = npt.NDArray[np.signedinteger]
Mask = npt.NDArray[np.bool_]

REST, WAITING, FIRING, CLEARING = 0, 1, 2, 3


class ExpressionJudge:
    """Judges one expression rule over all devices of its kind, as columns in the order of the kind's live columns.

    Attributes:
        rule_id, kinds, fingerprint: as the engine wants of every judge.
        unjudged: devices that lack a fact which the condition needs, and so are never judged.
    """

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule_id, self.kinds, self.fingerprint = rule.id, (rule.device,), rule.fingerprint
        self._rule, self._registry = rule, registry
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
        self._teller = Teller(rule, registry, sky)
        facts = [f.name for f in kind.facts if f.name in params.on.names]
        lacking = [np.isnan(registry.fact(name)[self._rows]) for name in facts]
        self.unjudged = int((np.any(lacking, axis=0) & self._watched).sum()) if lacking else 0
        self._state = np.zeros(count, dtype=np.int8)
        self._pend = np.zeros(count, dtype=np.int64)  # device time at which the condition first held
        self._clear = np.zeros(count, dtype=np.int64)  # device time at which its end first held
        self._last = np.zeros(count, dtype=np.int64)  # device time of the last reading that could be judged
        self._heard = np.zeros(count, dtype=np.int64)  # host time of the same
        self._seen = np.zeros(count, dtype=np.int32)  # readings that showed the condition
        self._awake: Places = np.zeros(0, dtype=np.intp)  # places that are not at rest, and some that were
        self._woken = False

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
        return self._judge(fleet, columns, active, places[active], yes[active], no[active], now_ms)

    def idle(self, fleet: Fleet, batch: Batch) -> bool:
        """Return whether the condition holds in no reading and every device is at rest, so that all will stay so."""
        if self._params.carry:
            return False
        yes, _ = self._params.on(BatchColumns(fleet, batch))
        places = fleet.live[self.kinds[0]].local[batch.device]
        return not yes.any() and not self._state[places].any()

    def _judge(
        self, fleet: Fleet, columns: BatchColumns, rows: Places, at: Places, yes: Mask, no: Mask, now_ms: int
    ) -> list[Transition]:
        time = columns.batch.time_ms[rows]
        state, pend, clear, seen = self._state[at], self._pend[at], self._clear[at], self._seen[at]
        apart = time - self._last[at] > self._hold[self._role[at]]  # too long unheard: the waiting starts again
        begins = yes & ((state == REST) | ((state == WAITING) & apart))
        goes_on = yes & (state == WAITING) & ~apart
        wakes = yes & (state == REST)
        if wakes.any():
            self._awake, self._woken = np.concatenate((self._awake, at[wakes])), True
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
        numbers = self._teller.numbers(columns, rows[changed])
        return self._tell(fleet, at[changed], fires[changed], time[changed], numbers)

    def _ending(self, columns: BatchColumns, rows: Places, yes: Mask, no: Mask) -> tuple[Mask, Mask]:
        if self._params.off is None:
            return no, yes
        over, lasts = self._params.off(columns)
        return over[rows], lasts[rows]

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Let the clocks run on in host time while the last reading still stands; close what was heard of no more."""
        if not len(self._awake):
            return []
        at = np.unique(self._awake) if self._woken else self._awake
        self._awake, self._woken = at[self._state[at] != REST], False
        at = self._awake
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
        if fires.any() or ended.any():
            moved = np.flatnonzero(fires | ended)
            since = np.where(fires, self._pend[at] + self._rule.for_ms, self._clear[at] + self._rule.keep_ms)
            when = np.maximum(since, self._last[at])[moved]
            columns = LiveColumns(fleet, fleet.live[self.kinds[0]], at[moved], now_ms)
            numbers = self._teller.numbers(columns, np.arange(len(moved)))
            out += self._tell(fleet, at[moved], fires[moved], when, numbers)
        if lost.any():
            hit = at[lost]
            nothing: Numbers = [{} for _ in hit]
            never = np.zeros(len(hit), dtype=bool)
            out += self._tell(fleet, hit, never, np.full(len(hit), now_ms), nothing, "data_lost")
        return out

    def _tell(
        self,
        fleet: Fleet,
        at: Places,
        fires: Mask,
        when: npt.NDArray[np.int64],
        numbers: Numbers,
        reason: str = "",
    ) -> list[Transition]:
        live = fleet.live[self.kinds[0]]
        return [
            self._teller.tell(
                live, int(p), ACTIVE if fires[k] else CLEARED, int(when[k]), int(self._pend[p]), numbers[k], reason
            )
            for k, p in enumerate(at)
        ]

    def open(self) -> Mapping[str, int]:
        """Return devices whose alert is active, with the onset of each."""
        return {self._teller.entity(int(p)): int(self._pend[p]) for p in self._places() if self._state[p] >= FIRING}

    def pending(self) -> Mapping[str, int]:
        """Return devices that are waiting, with the time since when."""
        return {self._teller.entity(int(p)): int(self._pend[p]) for p in self._places() if self._state[p] == WAITING}

    def _places(self) -> Places:
        """Return the places that are not at rest, in order."""
        at = np.unique(self._awake)
        busy: Places = at[self._state[at] != REST]
        return busy

    def save(self) -> State:
        """Return the state of every device that is not at rest."""
        at = self._places()
        return {"ids": ids_of(self._registry, self._rows[at])} | {
            name: column[at] for name, column in self._stored().items()
        }

    def load(self, state: State) -> None:
        """Take over a saved state; devices that no longer exist are let go."""
        found = places_of(self._registry, self._rows, state["ids"])
        here = found >= 0
        here[here] = self._watched[found[here]]
        for name, column in self._stored().items():
            column[:] = 0
            column[found[here]] = state[name][here]
        self._awake, self._woken = np.flatnonzero(self._state), False

    def _stored(self) -> dict[str, npt.NDArray[np.generic]]:
        return {
            "state": self._state, "pend": self._pend, "clear": self._clear,
            "last": self._last, "heard": self._heard, "seen": self._seen,
        }  # fmt: skip
