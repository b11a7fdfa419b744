"""Sequence rules: one thing, and within so long of it another; or after it nothing more at all.

A blow on a cover is a lorry; a blow and a cover that lies aside, or a blow after which the sensor that wakes on blows
says nothing more, is a thief.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from alerts.columns import BatchColumns, columns_of
from alerts.expressions import Condition, condition
from alerts.fleet import NEVER_AGAIN, Fleet
from alerts.judge import State
from alerts.messages import transition
from alerts.places import found_of, some_of
from alerts.rules import Rule
from alerts.spans import duration_ms
from alerts.turns import rows_of_any, turns
from alerts.watches import Ints, Mask, Places, Watches
from devices.batch import Batch
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition
from devices.yamlfile import Node

VALUES = ("after_min", "within_min")
LOST_AFTER_MS = 30 * 86_400_000  # the device may be in a thief's hands: its silence ends nothing for a month


@dataclass(frozen=True, slots=True)
class Params:
    """A sequence rule's own keys.

    Attributes:
        first, then: what comes first, and what must follow.
        off: what ends the alert; None where only the contrary of ``then`` does.
        within_ms: how long after the first the other may come.
        silence_ms: so long without a word within that time counts as the other; 0 for never.
    """

    first: Condition
    then: Condition
    off: Condition | None
    within_ms: int
    silence_ms: int


def parse(own: Node, kind: Kind, role: str | None) -> Params:
    """Check a sequence rule's own keys. Raises ConfigError naming file, line and key."""
    own.only("first", "then", "off", "within", "silence")
    off, silence = own.get("off"), own.get("silence")
    within_ms = duration_ms(own.need("within"))
    if within_ms < 1:
        raise own.need("within").error("expected a length of time above zero")
    return Params(
        condition(own.need("first"), kind, role),
        condition(own.need("then"), kind, role),
        condition(off, kind, role) if off is not None else None,
        within_ms,
        duration_ms(silence) if silence is not None else 0,
    )


class SequenceJudge:
    """One sequence rule over the devices of its kind."""

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule_id, self.kinds, self.fingerprint = rule.id, (rule.device,), rule.fingerprint
        self._rule, self._registry, self._sky = rule, registry, sky
        assert isinstance(rule.params, Params)  # noqa: S101 - the table of rule kinds pairs parse and judge
        self._params = rule.params
        kind = registry.catalog[rule.device]
        self._rows = registry.rows_of(rule.device)
        role = registry.role[self._rows]
        self._watched = np.ones(len(role), bool) if rule.role is None else role == kind.roles.index(rule.role)
        self._first_ms = np.zeros(len(self._rows), dtype=np.int64)  # device time of the first; 0 where there is none
        self._last_ms = np.zeros(len(self._rows), dtype=np.int64)  # host time of the last word since then
        self._watches = Watches(len(self._rows), 0, rule.keep_ms, 1, LOST_AFTER_MS)
        self._silent_ms: int = NEVER_AGAIN  # when a device that waits can have been silent for long enough

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:
        """Judge readings, each newer than its device's reading before."""
        p, sheet = self._params, columns_of(fleet, batch)
        at = sheet.at
        first, _ = self._holds(p.first, sheet, len(at))
        first &= self._watched[at]
        rows = rows_of_any(at, first | (self._first_ms[at] > 0) | self._watches.alerted[at])
        if not len(rows):
            return []
        then, over = self._holds(p.then, sheet, len(at))
        if p.off is not None:
            over, _ = self._holds(p.off, sheet, len(at))
        told: list[Transition] = []
        for turn in turns(at[rows]):
            now = rows[turn]
            told += self._take(at[now], batch.time_ms[now], (first[now], then[now], over[now]), now_ms)
        return told

    def _take(self, at: Places, time_ms: Ints, holds: tuple[Mask, Mask, Mask], now_ms: int) -> list[Transition]:
        """Judge a reading of each of some devices: whether the first holds, the other, and the end."""
        p, (first, then, over) = self._params, holds
        busy = first | (self._first_ms[at] > 0) | self._watches.alerted[at]
        known = self._first_ms[at]
        known = np.where((known > 0) & (time_ms - known > p.within_ms), 0, known)
        known = np.where(first & (known == 0), time_ms, known)
        fires = (known > 0) & then & ~self._watches.alerted[at]
        self._first_ms[at] = np.where(fires | self._watches.alerted[at], 0, known)
        self._last_ms[at] = np.where(known > 0, now_ms, self._last_ms[at])
        if p.silence_ms and (self._first_ms[at] > 0).any():
            self._silent_ms = min(self._silent_ms, now_ms + p.silence_ms)
        out = []
        rows = np.flatnonzero(busy)
        fired, cleared = self._watches.judge(at[rows], time_ms[rows], fires[rows], over[rows], now_ms)
        for k in rows[fired].tolist():
            self._watches.onset_ms[at[k]] = known[k]
            out.append(self._tell(int(at[k]), ACTIVE, int(time_ms[k]), int(time_ms[k] - known[k])))
        return out + [self._tell(int(at[k]), CLEARED, int(time_ms[k])) for k in rows[cleared].tolist()]

    @staticmethod
    def _holds(held: Condition, sheet: BatchColumns, count: int) -> tuple[Mask, Mask]:
        with np.errstate(all="ignore"):
            yes, no = held.yes.of(sheet), held.no.of(sheet)
        none = np.zeros(count, dtype=np.bool_)
        return (none if yes is None else np.array(np.broadcast_to(yes, count))), (
            none if no is None else np.array(np.broadcast_to(no, count))
        )

    @property
    def due_ms(self) -> int:
        """Return when silence can have lasted long enough, or an alert is closed."""
        return min(self._silent_ms, self._watches.due_ms)

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Take silence after the first for the other."""
        out = [
            self._tell(place, CLEARED, now_ms, reason="data_lost")
            for place in (self._watches.lost(now_ms) if now_ms >= self._watches.due_ms else ())
        ]
        if not self._params.silence_ms or (now_ms < self._silent_ms and fleet.resumed_ms != now_ms):
            return out
        waits: Places = np.flatnonzero(self._first_ms > 0)
        since = np.maximum(self._last_ms[waits], fleet.resumed_ms)
        gone = waits[now_ms - since >= self._params.silence_ms]
        left = since[now_ms - since < self._params.silence_ms]
        self._silent_ms = int(left.min()) + self._params.silence_ms if len(left) else NEVER_AGAIN
        for place in gone.tolist():
            onset_ms, self._first_ms[place] = int(self._first_ms[place]), 0
            self._watches.begin(place, onset_ms, now_ms)
            out.append(self._tell(place, ACTIVE, now_ms, now_ms - onset_ms))
        return out

    def _tell(self, place: int, state: str, at_ms: int, after_ms: int = -1, reason: str = "") -> Transition:
        within = self._params.within_ms / 60_000
        values = {"within_min": within, "threshold": within}
        if after_ms >= 0:
            values |= {"after_min": after_ms / 60_000, "value": after_ms / 60_000}
        about = (self._rule, self._registry, self._sky, self._entity(place))
        return transition(*about, state, at_ms, self._watches.onset(place), values, reason)

    def _entity(self, place: int) -> str:
        return f"device:{self._registry.id_of(self._rows[place])}"

    def open(self) -> Mapping[str, int]:
        """Return devices whose alert is active, with the onset of each."""
        return {self._entity(place): onset for place, onset in self._watches.open()}

    def pending(self) -> Mapping[str, int]:
        """Return devices to which the first has happened, with the time when it did."""
        return {self._entity(place): int(self._first_ms[place]) for place in np.flatnonzero(self._first_ms).tolist()}

    def save(self) -> State:
        """Return the state of every device that waits or is alerted."""
        at = np.flatnonzero((self._first_ms > 0) | self._watches.alerted)
        kept: State = some_of(self._registry, self._rows, at) | {"first_ms": self._first_ms[at]}
        return kept | {"last_ms": self._last_ms[at]} | self._watches.save(at)

    def load(self, state: State) -> None:
        """Take over a saved state; devices that no longer exist are let go."""
        found = found_of(self._registry, self._rows, state)
        here = found >= 0
        here[here] = self._watched[found[here]]
        self._first_ms[found[here]] = state["first_ms"][here]
        self._last_ms[found[here]] = state["last_ms"][here]
        self._watches.load(state, found, here)
        self._silent_ms = 0 if self._params.silence_ms and (self._first_ms > 0).any() else NEVER_AGAIN
