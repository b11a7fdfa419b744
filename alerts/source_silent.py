"""Source silent rules: when most of those behind one gateway, cabinet or broker fall silent, the source is what failed.

Children are compared with their own report intervals. Where quick and slow ones hang on one source, the quick ones are
heard first: a source is judged by all whose silence could show after two minutes, then by all for which it takes ten,
and so on, and one such look that finds most of them silent is enough. The largest silent source speaks; what lies
below it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from alerts.columns import LiveColumns
from alerts.every import Every
from alerts.fleet import NEVER, NEVER_AGAIN, Fleet
from alerts.judge import State
from alerts.messages import transition
from alerts.places import found_of, some_of
from alerts.rules import Rule
from alerts.source_settings import Params, parse
from alerts.spans import report_s
from devices.batch import Batch
from devices.registry import PLACES, Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition

__all__ = ["VALUES", "SourceSilentJudge", "parse"]

VALUES = ("silent", "children", "share", "silent_min")
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class _Scope:
    """Sources of one scope, and who hangs on each.

    Attributes:
        entities: their names.
        member: (devices,) number of each device's source, -1 where it has none.
        alerted, since_ms, back_ms, onset_ms: (sources,) what is remembered of each.
    """

    def __init__(self, entities: list[str], member: npt.NDArray[np.int32]) -> None:
        self.entities, self.member = entities, member
        n = len(entities)
        self.alerted = np.zeros(n, dtype=np.bool_)
        self.since_ms, self.back_ms, self.onset_ms = (np.zeros(n, dtype=np.int64) for _ in range(3))

    def count(self, chosen: Mask) -> npt.NDArray[np.int64]:
        """Return how many of the chosen devices hang on each source, (sources,)."""
        members = self.member[chosen]
        return np.bincount(members[members >= 0], minlength=len(self.entities))


def _scope(registry: Registry, name: str) -> _Scope:
    n = len(registry)
    if name == "city":
        return _Scope(["city:*"], np.zeros(n, dtype=np.int32))
    if name in PLACES:
        group = registry.group(name)
        return _Scope([f"{name}:{label}" for label in group.names], group.code)
    known = registry.fact(name)
    numbers, member = np.unique(known[~np.isnan(known)], return_inverse=True)
    of = np.full(n, -1, dtype=np.int32)
    of[~np.isnan(known)] = member
    return _Scope([f"{name}:{number:g}" for number in numbers], of)


class SourceSilentJudge:
    """One source silent rule over all its sources; judged on ticks, from when each device was last heard."""

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule_id, self.kinds, self.fingerprint = rule.id, (rule.device,), rule.fingerprint
        self._rule, self._registry, self._sky = rule, registry, sky
        p = rule.params
        assert isinstance(p, Params)  # noqa: S101 - the table of rule kinds pairs parse and judge
        self._params = p
        n = len(registry)
        self._watched = np.zeros(n, dtype=np.bool_)
        lates = [NEVER_AGAIN]  # ms of silence that are too long, by kind and role; no device of the first
        self._pace_of = np.zeros(n, dtype=np.int16)
        self._kinds = list(registry.catalog) if p.all_kinds else [registry.catalog[rule.device]]
        for kind in self._kinds:
            for role in kind.roles:
                if rule.role in (None, role) or p.all_kinds:
                    rows = registry.rows_of(kind.name, role)
                    self._pace_of[rows] = len(lates)
                    lates.append(p.late.of(report_s(kind, role)))
                    self._watched[rows] = True
        self._lates = np.array(lates, dtype=np.int64)
        self._horizons = np.unique(np.maximum(self._late[self._watched], p.horizon_ms)).tolist()
        self._scopes = [_scope(registry, name) for name in p.scopes]
        self._since = np.zeros(n, dtype=np.int64)  # host time since when its condition holds, 0 where not
        self._least = int(np.floor(p.share * p.children)) + 1  # no source is silent with fewer
        self._pace = Every(p.every_ms)
        self._looked_ms: int = NEVER

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:  # noqa: ARG002 - judged on ticks
        """Do nothing: the fleet knows when each device was heard."""
        return []

    @property
    def _late(self) -> Ints:
        """Return (n,) for each device the silence that is too long, milliseconds."""
        found: Ints = self._lates[self._pace_of]
        return found

    @property
    def due_ms(self) -> int:
        """Return when sources are looked at again."""
        return self._pace.next_ms

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Look at all sources, at most once in ``every``."""
        if not self._pace.due(now_ms):
            return []
        first = self._looked_ms == NEVER
        seen = np.full(len(self._registry), NEVER, dtype=np.int64)
        for kind in self._kinds:
            live = fleet.live[kind.name]
            seen[live.rows] = live.seen_ms
        heard = self._watched & (seen != NEVER)
        counted = np.maximum(seen, fleet.resumed_ms)
        silent = heard & (counted < now_ms - self._late)
        busy = any(scope.alerted.any() or scope.since_ms.any() for scope in self._scopes)
        if not first and not busy and np.count_nonzero(silent) < self._least:
            return []
        heard &= self._expected(fleet, now_ms)
        silent &= heard & (self._since < now_ms - self._late)
        gone = heard & (seen < now_ms - self._late)  # also what a restart has not yet listened to for long enough
        return self._judge(heard, silent, gone, seen, now_ms)

    def _expected(self, fleet: Fleet, now_ms: int) -> Mask:
        """Return which devices are meant to report, and remember since when those with a condition are.

        Where nobody looked for a while, next to nobody was silent; so whoever is meant to report now was so then.
        """
        wanted = np.ones(len(self._registry), dtype=np.bool_)
        begin_ms = now_ms if self._looked_ms == NEVER else self._looked_ms
        self._looked_ms = now_ms
        for kind in self._kinds:
            live = fleet.live[kind.name]
            for role, held in self._params.conditions:
                if role not in kind.roles:
                    continue
                rows = self._registry.rows_of(kind.name, role)
                yes, _ = held(LiveColumns(fleet, live, live.local[rows].astype(np.intp), now_ms))
                holds = np.broadcast_to(yes, len(rows))
                wanted[rows] = holds
                before = self._since[rows]
                self._since[rows] = np.where(holds, np.where(before == 0, begin_ms, before), 0)
        return wanted

    def _judge(self, heard: Mask, silent: Mask, gone: Mask, seen: Ints, now_ms: int) -> list[Transition]:
        covered = np.zeros(len(heard), dtype=np.bool_)
        told: list[Transition] = []
        within = self._within()
        for scope, inside in zip(self._scopes, within, strict=True):
            mine = heard & ~covered & ~inside
            bad, back = self._look(scope, mine, silent & mine, gone)
            back &= scope.alerted
            scope.since_ms = np.where(bad, np.where(scope.since_ms == 0, now_ms, scope.since_ms), 0)
            scope.back_ms = np.where(back, np.where(scope.back_ms == 0, now_ms, scope.back_ms), 0)
            fire = ~scope.alerted & bad & (now_ms - scope.since_ms >= self._rule.for_ms)
            clear = back & (now_ms - scope.back_ms >= self._rule.keep_ms)
            for at in np.flatnonzero(fire).tolist():
                last = np.maximum(seen, self._since)  # who was not meant to report before is silent from then on
                scope.onset_ms[at] = int(last[silent & ~inside & (scope.member == at)].max())
            told += [
                self._tell(scope, at, mine, silent, now_ms, fired=bool(fire[at]))
                for at in np.flatnonzero(fire | clear).tolist()
            ]
            scope.alerted = (scope.alerted | fire) & ~clear
            scope.since_ms[~scope.alerted & ~bad] = 0
            loud = np.append(scope.alerted | bad, False)  # the last place answers for devices without a source
            covered |= loud[scope.member]
        return told

    def _within(self) -> list[Mask]:
        """Return for each scope who hangs on a smaller source that is silent already, which is not its doing."""
        inside = np.zeros(len(self._registry), dtype=np.bool_)
        out: list[Mask] = []
        for scope in reversed(self._scopes):
            out.append(inside)
            inside = inside | np.append(scope.alerted, False)[scope.member]
        return out[::-1]

    def _look(self, scope: _Scope, heard: Mask, silent: Mask, gone: Mask) -> tuple[Mask, Mask]:
        """Return which sources are silent by some look, and at which hardly anybody is by any."""
        p, n = self._params, len(scope.entities)
        bad, back = np.zeros(n, dtype=np.bool_), np.ones(n, dtype=np.bool_)
        anybody = np.zeros(n, dtype=np.bool_)
        for horizon in self._horizons:
            quick = self._late <= horizon
            all_, hushed, lost = (scope.count(quick & chosen) for chosen in (heard, silent, heard & gone))
            bad |= (all_ >= p.children) & (hushed > p.share * all_)
            back &= lost <= p.off_share * all_
            anybody |= all_ > 0
        return bad, back & anybody

    def _tell(self, scope: _Scope, at: int, heard: Mask, silent: Mask, now_ms: int, *, fired: bool) -> Transition:
        mine = scope.member == at
        hushed, all_ = silent & heard & mine, heard & mine
        share = 100.0 * float(hushed.sum()) / max(1.0, float(all_.sum()))
        onset_ms = int(scope.onset_ms[at])
        values = {
            "value": share, "threshold": 100.0 * self._params.share, "share": share,
            "silent": float(hushed.sum()), "children": float(all_.sum()), "silent_min": (now_ms - onset_ms) / 60_000,
        }  # fmt: skip
        about = (self._rule, self._registry, self._sky, scope.entities[at])
        state = ACTIVE if fired else CLEARED
        lon, lat = self._registry.lon[mine], self._registry.lat[mine]
        known = ~(np.isnan(lon) | np.isnan(lat))
        where = (float(lon[known].mean()), float(lat[known].mean())) if known.any() else None
        found = transition(*about, state, now_ms, onset_ms, values, where=where)
        most = np.bincount(self._registry.kind[all_]) if all_.any() else np.zeros(0, dtype=np.int64)
        return replace(found, kind=list(self._registry.catalog)[int(most.argmax())].name) if len(most) else found

    def open(self) -> Mapping[str, int]:
        """Return sources that are silent, with the time after which nothing more was heard."""
        return {
            scope.entities[at]: int(scope.onset_ms[at])
            for scope in self._scopes
            for at in np.flatnonzero(scope.alerted).tolist()
        }

    def save(self) -> State:
        """Return the state of every source and of every device with a condition."""
        at = np.flatnonzero(self._since)
        kept: State = {
            "next_ms": np.array([self._pace.next_ms, self._looked_ms], dtype=np.int64),
            **some_of(self._registry, np.arange(len(self._registry)), at),
            "since": self._since[at],
        }
        for name, scope in zip(self._params.scopes, self._scopes, strict=True):
            busy = np.flatnonzero(scope.alerted | (scope.since_ms > 0))
            kept[f"{name}.entity"] = np.array([scope.entities[k] for k in busy.tolist()], dtype=np.str_)
            for part in ("alerted", "since_ms", "back_ms", "onset_ms"):
                kept[f"{name}.{part}"] = getattr(scope, part)[busy]
        return kept

    def load(self, state: State) -> None:
        """Take over a saved state; sources and devices that no longer exist are let go."""
        self._pace.load(state)
        self._looked_ms = int(state["next_ms"].astype(np.int64)[1])
        found = found_of(self._registry, np.arange(len(self._registry)), state)
        self._since[found[found >= 0]] = state["since"][found >= 0]
        for name, scope in zip(self._params.scopes, self._scopes, strict=True):
            number = {entity: k for k, entity in enumerate(scope.entities)}
            for k, entity in enumerate(state.get(f"{name}.entity", np.zeros(0, dtype=np.str_)).tolist()):
                if entity in number:
                    for part in ("alerted", "since_ms", "back_ms", "onset_ms"):
                        getattr(scope, part)[number[entity]] = state[f"{name}.{part}"][k]
