"""Rules tried on what was measured: what would have been told, and how two sets of rules differ on the same data.

Time is device time: the clock ticks through the past, at each tick come the readings measured since the tick before.
What the house marked as late is heard and not judged, as it was then; what arrived late without being marked comes at
the time of which it speaks, for when it arrived is not stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from alerts.engine import AWAY_MS, Engine
from alerts.expression_keys import Params
from alerts.messages import subject
from alerts.offline import Params as OfflineParams
from alerts.rules import RuleSet
from devices.batch import Batch
from devices.kinds import Catalog
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, Transition

TICK_MS = 30_000  # a shorter one follows short waiting times more closely, a longer one is quicker


class Raised(NamedTuple):
    """One alert that would have been told.

    Attributes:
        rule, entity, severity: as the rule tells them.
        place: where, in English.
        since_ms: when its condition first held, epoch milliseconds.
        told_ms: when it would have been told.
        until_ms: when it would have ended, None where it was still open at the end.
        reason: why it ended, empty while open.
        value, threshold: the figures behind it, NaN where it has none.
    """

    rule: str
    entity: str
    severity: str
    place: str
    since_ms: int
    told_ms: int
    until_ms: int | None
    reason: str
    value: float
    threshold: float


class Backtest:
    """One set of rules on its way through the past.

    Args:
        rules: as loaded.
        registry: who the readings' rows are.
        zone: IANA time zone of the city.
        from_ms: where the past begins, epoch milliseconds.
        tick_ms: between two looks at the clock.

    Attributes:
        readings: how many were judged.
        now_ms: how far it has come.
    """

    def __init__(self, rules: RuleSet, registry: Registry, zone: str, from_ms: int, tick_ms: int = TICK_MS) -> None:
        self.registry, self.readings, self.now_ms = registry, 0, from_ms
        self._tick_ms = tick_ms
        sky = Sky(registry, zone, rules.lighting)
        self._engine = Engine(rules, registry, sky, max(AWAY_MS, 2 * tick_ms))
        self._open: dict[tuple[str, str], Raised] = {}
        self._over: list[Raised] = []

    def feed(self, batches: Sequence[Batch], until_ms: int) -> None:
        """Judge readings of the time from ``now_ms`` up to ``until_ms``, and the passing of that time.

        Args:
            batches: one a kind at most, each in order of time.
            until_ms: everything before this has been read.
        """
        moments = np.arange(self.now_ms + self._tick_ms, until_ms + self._tick_ms, self._tick_ms, dtype=np.int64)
        moments = np.minimum(moments, until_ms)
        cuts = [np.searchsorted(batch.time_ms, moments, side="left") for batch in batches]
        before = [0] * len(batches)
        for number, now in enumerate(moments.tolist()):
            parts = []
            for place, batch in enumerate(batches):
                end = int(cuts[place][number])
                if end > before[place]:
                    parts.append(_cut(batch, slice(before[place], end), now))
                before[place] = end
            for told in self._engine.step(parts, now):
                self._note(told)
        self.readings += sum(len(batch) for batch in batches)
        self.now_ms = until_ms

    def alerts(self) -> list[Raised]:
        """Return every alert so far, by the time at which it was told."""
        return sorted([*self._over, *self._open.values()], key=_by_time)

    def _note(self, one: Transition) -> None:
        key = (one.rule, one.entity)
        if one.state == ACTIVE:
            value, threshold = (one.values.get(name, float("nan")) for name in ("value", "threshold"))
            where = subject(self.registry, one.entity, one.kind).place["en"]
            about = (one.rule, one.entity, one.severity, where, one.onset_ms, one.at_ms)
            self._open[key] = Raised(*about, None, "", value, threshold)
        elif key in self._open:
            self._over.append(self._open.pop(key)._replace(until_ms=one.at_ms, reason=one.reason))


def _cut(batch: Batch, cut: slice, now_ms: int) -> Batch:
    columns = (batch.time_ms[cut], batch.device[cut], batch.values[:, cut], batch.suspect[:, cut])
    return replace(
        batch, arrival_ms=now_ms, time_ms=columns[0], device=columns[1], values=columns[2], suspect=columns[3],
        sent_ms=batch.sent_ms[cut], marks=batch.marks[cut],
    )  # fmt: skip


def fields_of(rule_sets: Sequence[RuleSet], catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """Return by kind the fields that the rules need to be judged; kinds that no rule watches are left out."""
    wanted: dict[str, set[str]] = {}
    for rule in (rule for rules in rule_sets for rule in rules):
        own = wanted.setdefault(rule.device, set())
        if isinstance(rule.params, Params):
            for part in (rule.params.on, rule.params.off, rule.params.value, rule.params.threshold):
                own |= set(part.names) if part is not None else set()
        elif isinstance(rule.params, OfflineParams):
            own |= set(rule.params.while_.names) if rule.params.while_ is not None else set()
        else:
            own |= set(catalog[rule.device].field_names())
    return {
        kind: tuple(name for name in catalog[kind].field_names() if name in names) for kind, names in wanted.items()
    }


@dataclass(frozen=True, slots=True)
class Difference:
    """How two sets of rules differ on the same data.

    Attributes:
        gone: only the old rules tell it.
        new: only the new rules tell it.
        moved: both tell it, (old, new), with another beginning, end, figure or severity.
        same: how many both tell alike.
    """

    gone: list[Raised]
    new: list[Raised]
    moved: list[tuple[Raised, Raised]]
    same: int


def compare(old: Sequence[Raised], new: Sequence[Raised]) -> Difference:
    """Compare what two sets of rules tell; alerts of one rule on one entity that overlap in time are the same one."""
    before: dict[tuple[str, str], list[Raised]] = {}
    for one in old:
        before.setdefault((one.rule, one.entity), []).append(one)
    moved: list[tuple[Raised, Raised]] = []
    added: list[Raised] = []
    same = 0
    for one in new:
        candidates = before.get((one.rule, one.entity), [])
        match = next((other for other in candidates if _overlap(one, other)), None)
        if match is None:
            added.append(one)
            continue
        candidates.remove(match)
        if _alike(one, match):
            same += 1
        else:
            moved.append((match, one))
    gone = sorted(
        (one for left in before.values() for one in left), key=lambda one: (one.told_ms, one.rule, one.entity)
    )
    return Difference(gone, added, moved, same)


def _by_time(one: Raised) -> tuple[int, str, str]:
    return one.told_ms, one.rule, one.entity


def _overlap(one: Raised, other: Raised) -> bool:
    ends = [each.until_ms if each.until_ms is not None else np.iinfo(np.int64).max for each in (one, other)]
    return one.since_ms <= ends[1] and other.since_ms <= ends[0]


def _alike(one: Raised, other: Raised) -> bool:
    return all(a == b or (a != a and b != b) for a, b in zip(one, other, strict=True))  # noqa: PLR0124 - NaN


def changes(found: Difference) -> Iterator[tuple[str, Raised]]:
    """Yield every difference as a sign (``-`` gone, ``+`` new, ``<`` moved from, ``>`` moved to) and an alert."""
    yield from (("-", one) for one in found.gone)
    yield from (("+", one) for one in found.new)
    for old, new in found.moved:
        yield "<", old
        yield ">", new
