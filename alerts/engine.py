"""The engine: every rule over every reading, one step at a time. A pure function of the steps it is given.

The same steps give the same transitions, whatever the batches were cut into, before or after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from alerts.desk import Desk
from alerts.fleet import NEVER, Fleet, Live
from alerts.judge import Clock, Judge
from alerts.memory import Arrays, Opened, Orphan, disowned, load_fleet, load_judge, orphans, save_fleet, save_judge
from alerts.messages import transition
from alerts.rule_kinds import RULE_KINDS
from alerts.rules import Rule, RuleSet
from devices.batch import Batch
from devices.payloads import FUTURE_MS
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import CLEARED, Transition

AWAY_MS = 60_000  # a longer pause between two steps means that the house was away, or the host's clock was set
COLOURS = {"info": 1, "minor": 2, "major": 3, "critical": 4}  # of the map, by severity
FINE, SILENT = 0, -1


@dataclass(frozen=True, slots=True)
class Pending:
    """One rule waiting on one entity: its condition holds, not yet long enough for an alert."""

    rule: str
    entity: str
    since_ms: int


@runtime_checkable
class Waits(Protocol):
    """A judge that can say what it is waiting for."""

    def pending(self) -> Mapping[str, int]:
        """Return entities whose condition holds, not yet long enough, with the time since when."""


class Engine:
    """Judges readings by rules.

    Args:
        rules: as loaded.
        registry: who the batches' rows are.
        sky: sun and lighting hours over the city.
        away_ms: a pause between two steps longer than this counts as an absence; silence is then counted afresh. A
            clock that runs faster than the wall's needs a longer one.

    Attributes:
        fleet: what was last heard of every device.
        version: grows whenever an alert begins or ends.
    """

    def __init__(self, rules: RuleSet, registry: Registry, sky: Sky, away_ms: int = AWAY_MS) -> None:
        self.rules, self.registry, self.sky = rules, registry, sky
        self.fleet = Fleet(registry, sky)
        self.version = 0
        self._away_ms = away_ms
        self._now_ms = NEVER
        self._judges: list[tuple[Rule, Judge]] = [
            (rule, RULE_KINDS[rule.kind].judge(rule, registry, sky)) for rule in rules
        ]
        judges = self.judges
        self.desks = {kind.name: Desk(kind, judges, registry) for kind in registry.catalog}
        self._clocks: list[Clock] = [clock for desk in self.desks.values() for clock in desk.clocks]
        self._orphans: list[Orphan] = []
        self._colours: dict[str, tuple[int, npt.NDArray[np.int8]]] = {}

    def step(self, batches: Sequence[Batch], now_ms: int) -> list[Transition]:
        """Judge ``batches`` and then the passing of time.

        Args:
            batches: readings without duplicates; rows marked late are heard, not judged.
            now_ms: host time, epoch milliseconds.

        Returns:
            what changed, in the order in which it was decided.
        """
        self._watch_clock(now_ms)
        out = self._bury(now_ms) if self._orphans else []
        for batch in batches:
            out += self.desks[batch.kind.name].readings(self.fleet, batch, now_ms)
        resumed = self.fleet.resumed_ms == now_ms
        for clock in self._clocks:
            if resumed or now_ms >= clock.due_ms:
                out += clock.tick(self.fleet, now_ms)
        if out:
            self.version += 1
        return out

    def _watch_clock(self, now_ms: int) -> None:
        if self._now_ms == NEVER or not 0 <= now_ms - self._now_ms <= self._away_ms:
            self.fleet.resumed_ms = now_ms
            for live in self.fleet.live.values():
                np.minimum(live.seen_ms, now_ms, out=live.seen_ms)
                # Heard when the host's clock showed a later time than now; what comes is newer all the same.
                live.time_ms[live.time_ms > now_ms + FUTURE_MS] = now_ms - FUTURE_MS
        self._now_ms = now_ms

    def save(self) -> Arrays:
        """Return everything that the engine remembers, as named arrays without objects."""
        return {name: array if array.base is None else array.copy() for name, array in self.parts()}

    def parts(self) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
        """Yield the same array by array, so that not all need stand in memory at once; some will change."""
        yield from save_fleet(self.fleet)
        yield "engine.clock_ms", np.array([self._now_ms, self.fleet.resumed_ms], dtype=np.int64)
        for rule, judge in self._judges:
            yield from save_judge(rule, judge).items()

    def load(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Take over what an engine remembered, of the same city at an earlier time or under other rules.

        Alerts that were open and that no rule here has taken over are cleared by the next step.
        """
        load_fleet(self.fleet, state)
        if "engine.clock_ms" in state:
            self._now_ms, self.fleet.resumed_ms = (int(one) for one in state["engine.clock_ms"])
        for _, judge in self._judges:
            load_judge(judge, state)
        self._orphans = orphans(state, {rule.id: judge for rule, judge in self._judges})
        self.version += 1

    def compare(self, opened: Iterable[Opened]) -> int:
        """Compare with the alerts that are written down as open; those that no rule here knows end by the next step.

        Without it an alert whose beginning was written down, while the memory of it was lost, would stay for ever.

        Returns:
            how many of them nobody knows.
        """
        judges = {rule.id: judge for rule, judge in self._judges}
        known = {(one.rule.id, one.entity, one.onset_ms) for one in self._orphans}
        lost = disowned(opened, self.rules, judges)
        self._orphans += [one for one in lost if (one.rule.id, one.entity, one.onset_ms) not in known]
        return len(lost)

    def _bury(self, now_ms: int) -> list[Transition]:
        """Clear alerts that were left open by a rule or an entity that is gone."""
        left, self._orphans = self._orphans, []
        return [
            transition(one.rule, self.registry, self.sky, one.entity, CLEARED, now_ms, one.onset_ms, {}, one.reason)
            for one in left
        ]

    @property
    def judges(self) -> list[Judge]:
        """Return the judges, in the order of the rules."""
        return [judge for _, judge in self._judges]

    def open_alerts(self) -> dict[str, dict[str, int]]:
        """Return the onset of every active alert by rule and entity, epoch milliseconds."""
        return {rule.id: dict(judge.open()) for rule, judge in self._judges}

    def pending(self) -> list[Pending]:
        """Return what the rules are waiting for."""
        return [
            Pending(rule.id, entity, since)
            for rule, judge in self._judges
            if isinstance(judge, Waits)
            for entity, since in judge.pending().items()
        ]

    def unjudged(self) -> dict[str, int]:
        """Return by rule how many devices it passes over because a fact that it needs is not in the registry."""
        lacking = ((rule.id, getattr(judge, "unjudged", 0)) for rule, judge in self._judges)
        return {rule_id: number for rule_id, number in lacking if isinstance(number, int) and number}

    def severity(self, kind: str) -> npt.NDArray[np.int8]:
        """Return a colour for each of the kind's live rows: 0 fine, 1 info to 4 critical, -1 silent or never heard."""
        live = self.fleet.live[kind]
        known = self._colours.get(kind)
        if known is None or known[0] != self.version:
            known = (self.version, self._worst(kind, live))
            self._colours[kind] = known
        return np.where((known[1] == FINE) & (live.seen_ms == NEVER), SILENT, known[1]).astype(np.int8)

    def _worst(self, kind: str, live: Live) -> npt.NDArray[np.int8]:
        worst = np.zeros(len(live.rows), dtype=np.int8)
        silent = np.zeros(len(live.rows), dtype=bool)
        for rule, judge in self._judges:
            if kind not in judge.kinds:
                continue
            ids = (entity.removeprefix("device:") for entity in judge.open() if entity.startswith("device:"))
            rows = [row for row in map(self.registry.row.get, ids) if row is not None]
            places = live.local[np.array(rows, dtype=np.intp)]
            places = places[places >= 0]
            if rule.kind == "offline":
                silent[places] = True
            else:
                worst[places] = np.maximum(worst[places], COLOURS[rule.severity])
        worst[silent & (worst == FINE)] = SILENT
        return worst
