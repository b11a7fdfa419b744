"""Lighting rate: more lamps out on a road, a cabinet or in a grid cell than chance explains.

A bare percentage is a false alarm machine on short roads: with a healthy 1 % out, a 20-lamp road is below 98 % on 18 %
of nights. An alert needs so many lamps out that fewer than one healthy night in a thousand would show as many
(docs/sources.md, lighting). The percentages themselves are told all the time, for reports and boards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from alerts.binomial import Critical, tail
from alerts.every import Every
from alerts.fleet import Fleet
from alerts.judge import State
from alerts.lightgroups import MAIN_RANKS, Groups, by_grid, by_place
from alerts.lighting import Rates, Sight, count
from alerts.lighting_settings import RateParams, parse
from alerts.messages import transition
from alerts.rules import Rule
from alerts.saved import matching, take_over
from alerts.spans import report_s
from devices.batch import Batch, Mask
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition

VALUES = ("rate", "rate_low", "rate_high", "coverage", "lit", "out", "known", "expected", "p_value", "block_m")
IDLE, ALERTED = 0, 1

__all__ = ["VALUES", "LightingRateJudge", "parse"]


class _Scope:
    """One scope's groups with their limits and the state of their alerts."""

    def __init__(self, groups: Groups, params: RateParams, behind_ms: int) -> None:
        self.groups, self.behind_ms = groups, behind_ms
        self.target = np.array([params.targets.get(rank, params.target) for rank in groups.rank])
        limits = {one: (Critical(1 - one, params.alpha), Critical(1 - one, params.off_p)) for one in set(self.target)}
        self._limits = [(np.flatnonzero(self.target == one), *pair) for one, pair in limits.items()]
        size = len(groups.names)
        self.state: dict[str, npt.NDArray[Any]] = {
            "phase": np.zeros(size, np.int8),
            **{name: np.zeros(size, np.int64) for name in ("since_ms", "onset_ms", "back_ms")},
        }
        self.entities = [f"{groups.scope}:{name}" for name in groups.names]

    def limits(self, known: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return for each group how many lamps out raise, and how many are still too many to end, an alert."""
        raising, ending = np.zeros(len(known), np.int64), np.zeros(len(known), np.int64)
        for here, on, off in self._limits:
            raising[here], ending[here] = on(known[here]), off(known[here])
        return raising, ending


class LightingRateJudge:
    """The lighting rate rule over all its scopes; worked out on ticks, from what was last heard of every lamp.

    Attributes:
        scopes: groups and states by scope.
        left_out: lamps that belong to no group of a scope, by scope.
    """

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule = rule
        self.rule_id = rule.id
        self.kinds = (rule.device,)
        self.fingerprint = rule.fingerprint
        self.registry, self.sky = registry, sky
        p: RateParams = rule.params
        self.params = p
        kind = registry.catalog[rule.device]
        role = rule.role or kind.roles[0]
        self.lamps = registry.rows_of(kind.name, role)
        self.fresh_ms = np.full(len(self.lamps), p.fresh.of(report_s(kind, role)), dtype=np.int64)
        self._sight = Sight(kind.name, self.lamps, p.lit_share)
        self.scopes: dict[str, _Scope] = {}
        self._district: dict[str, list[str]] = {}
        for name in p.scopes:
            few = p.grid_least if name == "grid" else p.least
            found = by_grid(registry, self.lamps, few) if name == "grid" else by_place(registry, self.lamps, name, few)
            ahead = sum(1 for scope in self.scopes.values() if scope.groups.names)
            behind_ms = ahead * round(report_s(kind, role) * 1000)
            self.scopes[name] = _Scope(found, p, behind_ms)
        self.left_out = {name: scope.groups.left_out for name, scope in self.scopes.items()}
        self._pace = Every(p.every_ms)

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:  # noqa: ARG002 - judged on ticks only
        """Do nothing: the fleet keeps the readings, the tick works the rates out."""
        return []

    @property
    def due_ms(self) -> int:
        """Return when the rates are worked out again."""
        return self._pace.next_ms

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Work out every group's rate, at most once in ``every``."""
        if not self._pace.due(now_ms):
            return []
        lamps = self._sight.look(fleet, now_ms, self.fresh_ms, self.params.settle_ms)
        out = lamps.due & lamps.known & ~lamps.lit
        return [
            found
            for scope in self.scopes.values()
            for found in self._judge(scope, count(scope.groups, lamps, due_only=True), out, now_ms)
        ]

    def _told_elsewhere(self, scope: _Scope, out: Mask) -> Mask:
        """Return of which groups half of the lamps out lie in groups of another scope with an open alert."""
        told = np.zeros(len(out), dtype=np.bool_)
        for other in self.scopes.values():
            if other is not scope and (other.state["phase"] == ALERTED).any():
                alerted = np.append(other.state["phase"] == ALERTED, False)  # the last answers for lamps of no group
                told |= alerted[other.groups.member]
        size, inside = len(scope.groups.names), scope.groups.member >= 0
        all_of = np.bincount(scope.groups.member[out & inside], minlength=size)
        told_of = np.bincount(scope.groups.member[out & inside & told], minlength=size)
        found: Mask = (told_of > 0) & (told_of >= 0.5 * all_of)
        return found

    def _judge(self, scope: _Scope, rates: Rates, lamps_out: Mask, now_ms: int) -> list[Transition]:
        s = scope.state
        known = rates.known.astype(np.int64)
        out = known - rates.lit.astype(np.int64)
        covered = rates.known >= self.params.coverage * rates.expected
        covered &= known > 0
        raising, ending = scope.limits(known)
        bad, good = covered & (out >= raising), covered & (out < ending)
        dark = rates.expected == 0
        s["since_ms"] = np.where(bad, np.where(s["since_ms"] == 0, now_ms, s["since_ms"]), s["since_ms"])
        s["since_ms"][dark | (covered & ~bad)] = 0
        fire = (s["phase"] == IDLE) & bad & (now_ms - s["since_ms"] >= self.rule.for_ms)
        if self.params.once and fire.any():
            fire &= now_ms - s["since_ms"] >= self.rule.for_ms + scope.behind_ms
            fire &= ~self._told_elsewhere(scope, lamps_out)
        s["onset_ms"][fire] = s["since_ms"][fire]
        s["phase"][fire] = ALERTED
        active = (s["phase"] == ALERTED) & ~fire
        s["back_ms"] = np.where(active & good, np.where(s["back_ms"] == 0, now_ms, s["back_ms"]), s["back_ms"])
        s["back_ms"][dark | (covered & ~good) | ~active] = 0
        clear = active & good & (now_ms - s["back_ms"] >= self.rule.keep_ms)
        ended = active & dark
        s["phase"][clear | ended] = IDLE
        s["back_ms"][clear] = 0
        told = []
        for at in np.flatnonzero(fire | clear | ended).tolist():
            reason = "" if fire[at] else "schedule_off" if ended[at] else "recovered"
            told.append(self._tell(scope, rates, at, now_ms, reason))
        return told

    def _tell(self, scope: _Scope, rates: Rates, at: int, now_ms: int, reason: str) -> Transition:
        groups = scope.groups
        known, lit = int(rates.known[at]), int(rates.lit[at])
        values = {
            "value": float(rates.rate[at]) * 100,
            "threshold": float(scope.target[at]) * 100,
            "rate": float(rates.rate[at]) * 100,
            "rate_low": float(rates.rate_low[at]) * 100,
            "rate_high": float(rates.rate_high[at]) * 100,
            "coverage": float(rates.coverage[at]) * 100,
            "lit": lit,
            "out": known - lit,
            "known": known,
            "expected": float(rates.expected[at]),
            "p_value": tail(known - lit, known, 1 - float(scope.target[at])),
            "block_m": float(groups.size_m[at]),
        }
        onset_ms = int(scope.state["onset_ms"][at])
        state = CLEARED if reason else ACTIVE
        where = self._middle(groups, at)
        about = (self.rule, self.registry, self.sky, scope.entities[at], state, now_ms, onset_ms, values)
        told = transition(*about, reason, where)
        main = self.params.main_severity if groups.rank[at] in MAIN_RANKS else ""
        return replace(told, severity=main) if main else told

    def _middle(self, groups: Groups, at: int) -> tuple[float, float]:
        members = self.lamps[groups.member == at]
        lon, lat = self.registry.lon[members], self.registry.lat[members]
        known = ~(np.isnan(lon) | np.isnan(lat))
        return (float(lon[known].mean()), float(lat[known].mean())) if known.any() else (float("nan"), float("nan"))

    def figures(self, fleet: Fleet, now_ms: int) -> Iterator[dict[str, Any]]:
        """Return the present rate of every group in which a lamp is meant to burn.

        The lamps are looked at now; the figures, which may be many, are made as they are asked for, in any thread.
        Each with ``scope name district rate rate_low rate_high coverage lit known expected``; shares from 0 to 1, NaN
        where no lamp is known.
        """
        sight = Sight(self.rule.device, self.lamps, self.params.lit_share)  # its own: others may ask at any time
        lamps = sight.look(fleet, now_ms, self.fresh_ms, self.params.settle_ms)
        return self._told({name: count(scope.groups, lamps, due_only=False) for name, scope in self.scopes.items()})

    def _told(self, counted: Mapping[str, Rates]) -> Iterator[dict[str, Any]]:
        for name, rates in counted.items():
            names, district = self.scopes[name].groups.names, self._districts(name)
            columns = {part: getattr(rates, part).tolist() for part in ("rate", "rate_low", "rate_high", "coverage")}
            columns |= {part: getattr(rates, part).astype(int).tolist() for part in ("lit", "known", "expected")}
            for at in np.flatnonzero(rates.expected > 0).tolist():
                told = {"scope": name, "name": names[at], "district": district[at]}
                yield told | {part: column[at] for part, column in columns.items()}

    def _districts(self, scope: str) -> list[str]:
        """Return the district of each group of a scope: that of its first lamp."""
        if scope not in self._district:
            member = self.scopes[scope].groups.member
            first = np.zeros(len(self.scopes[scope].groups.names), dtype=np.intp)
            backwards = np.flatnonzero(member >= 0)[::-1]
            first[member[backwards]] = self.lamps[backwards]  # of lamps of one group the first is written last
            of = self.registry.group("district")
            self._district[scope] = [of.names[code] if code >= 0 else "" for code in of.code[first].tolist()]
        return self._district[scope]

    def open(self) -> Mapping[str, int]:
        """Return the groups with an open alert, with the onset of each."""
        return self._since(ALERTED, "onset_ms")

    def pending(self) -> Mapping[str, int]:
        """Return the groups with too many lamps out, not yet for long enough."""
        return {entity: since for entity, since in self._since(IDLE, "since_ms").items() if since}

    def _since(self, phase: int, column: str) -> dict[str, int]:
        return {
            scope.entities[at]: int(scope.state[column][at])
            for scope in self.scopes.values()
            for at in np.flatnonzero(scope.state["phase"] == phase)
        }

    def save(self) -> State:
        """Return the whole state, by entity."""
        kept: State = self._pace.save()
        for name, scope in self.scopes.items():
            kept[f"{name}.entity"] = np.array(scope.entities, dtype=np.str_)
            kept.update({f"{name}.{part}": column.copy() for part, column in scope.state.items()})
        return kept

    def load(self, state: State) -> None:
        """Take over a saved state; groups that are gone are let go."""
        self._pace.load(state)
        for name, scope in self.scopes.items():
            if f"{name}.entity" not in state:
                continue
            at, place = matching(scope.entities, state[f"{name}.entity"])
            take_over(scope.state, state, f"{name}.", at, place)
