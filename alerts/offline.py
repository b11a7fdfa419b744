"""Offline rules: a device that ought to report and does not, judged by the host's clock and never by messages.

Only time that the house has watched counts: after a restart, or a jump of the host's clock, silence is counted afresh
(docs/sources.md). A device that was never heard is not offline, unless the rule says after how long it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alerts.columns import LiveColumns
from alerts.expressions import Condition, condition
from alerts.fleet import NEVER, NEVER_AGAIN, Fleet
from alerts.judge import State
from alerts.messages import transition
from alerts.places import found_of, some_of
from alerts.rules import Rule
from alerts.spans import Span, duration_ms, report_s, span
from devices.batch import Batch
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition
from devices.yamlfile import Node

LOOK_MS = 10_000  # how often the condition of 'while' is looked at; the sun and the schedule are slower
RESTART_INTERVALS = 2  # whole report intervals to listen after a restart before anything is called silent
VALUES = ("silent_min", "after_min")


@dataclass(frozen=True, slots=True)
class Params:
    """An offline rule's own keys.

    Attributes:
        after: silence that makes a device offline.
        while_: silence counts only while this holds, over last known values, facts and derived names.
        reports: readings that must arrive before the alert clears.
        never_heard_after_ms: when a device that was never heard at all counts as offline; 0 for never.
    """

    after: Span
    while_: Condition | None
    reports: int
    never_heard_after_ms: int


def parse(own: Node, kind: Kind, role: str | None) -> Params:
    """Check an offline rule's own keys. Raises ConfigError naming file, line and key."""
    own.only("after", "while", "reports", "never_heard_after")
    held, reports, never = own.get("while"), own.get("reports"), own.get("never_heard_after")
    count = reports.number(low=1, high=100) if reports is not None else 1.0
    if reports is not None and count != int(count):
        raise reports.error(f"expected a whole number of readings, found {reports.value}")
    return Params(
        span(own.need("after")),
        condition(held, kind, role) if held is not None else None,
        int(count),
        duration_ms(never) if never is not None else 0,
    )


class OfflineJudge:
    """Judges one offline rule over all devices of its kind and role, as columns in the order of the live columns."""

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule_id, self.kinds, self.fingerprint = rule.id, (rule.device,), rule.fingerprint
        self._rule, self._registry, self._sky = rule, registry, sky
        params = rule.params
        assert isinstance(params, Params)  # noqa: S101 - the table of rule kinds pairs parse and judge
        self._params = params
        kind = registry.catalog[rule.device]
        self._rows = registry.rows_of(rule.device)
        self._place = registry.places_in(self._rows)
        role = registry.role[self._rows]
        self._watched = np.ones(len(role), dtype=bool) if rule.role is None else role == kind.roles.index(rule.role)
        after = [params.after.of(report_s(kind, r)) for r in kind.roles]
        listen = [round(RESTART_INTERVALS * report_s(kind, r) * 1000) for r in kind.roles]
        self._after, self._listen = np.array(after, dtype=np.int64), np.array(listen, dtype=np.int64)  # by role
        self._role = role
        self._offline = np.zeros(len(role), dtype=bool)
        self._silent = 0  # how many of them are
        self._onset = np.zeros(len(role), dtype=np.int64)
        self._heard = np.zeros(len(role), dtype=np.int32)  # readings since it was called offline
        self._since = np.zeros(len(role), dtype=np.int64)  # host time since which 'while' has held, 0 where it does not
        self._known = np.zeros(len(role), dtype=np.int64)  # host time at which the device was first expected, 0 before
        self._least_ms = int(self._after[role].min()) if len(role) else 0
        self._looked_ms: int = NEVER
        self._next_ms: int = NEVER  # nothing can be due before this
        self._came = False  # whether anybody who is offline has been heard in this step

    def hear(self, batch: Batch, now_ms: int) -> None:  # noqa: ARG002 - what is late is heard as well
        """Count the readings of those who are offline: a clock that was set back makes all that it says late."""
        if not self._silent:
            return
        places = self._place[batch.device]
        back = places[self._offline[places]]
        np.add.at(self._heard, back, 1)
        self._came |= len(back) > 0

    def _welcome(self, now_ms: int) -> list[Transition]:
        """Clear devices that have reported often enough."""
        self._came = False
        done = np.flatnonzero(self._offline & (self._heard >= self._params.reports))
        self._offline[done] = False
        self._silent -= len(done)
        self._next_ms = min(self._next_ms, now_ms + self._least_ms)  # it may fall silent again
        return [self._tell(int(place), CLEARED, now_ms, 0) for place in done]

    @property
    def due_ms(self) -> int:
        """Return when a device can have become due, or when the condition of ``while`` is looked at again."""
        if self._came:
            return NEVER
        return self._look_ms

    @property
    def _look_ms(self) -> int:
        return self._next_ms if self._params.while_ is None or self._looked_ms == NEVER else self._looked_ms + LOOK_MS

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Clear who reports again, call silent devices offline. Looks at all only when one can have become due."""
        told = self._welcome(now_ms) if self._came else []
        if fleet.resumed_ms != now_ms and now_ms < self._look_ms:
            return told
        self._looked_ms = now_ms
        if self._params.while_ is not None:
            self._hold(fleet, now_ms)
            if now_ms < self._next_ms and fleet.resumed_ms != now_ms:
                return told
        return told + self._look(fleet, now_ms)

    def _hold(self, fleet: Fleet, now_ms: int) -> None:
        """Write down for whom 'while' has begun or ceased to hold; whose silence begins to count is due no sooner."""
        held = self._holding(fleet, now_ms)
        changed = np.flatnonzero(held != (self._since != 0))
        if len(changed):
            self._since[changed] = np.where(held[changed], now_ms, 0)
            self._next_ms = min(self._next_ms, now_ms + self._least_ms)

    def _look(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        live = fleet.live[self.kinds[0]]
        if self._params.never_heard_after_ms:
            self._known[self._known == 0] = now_ms
        never = live.seen_ms == NEVER
        wanted = self._watched & ~self._offline
        if not self._params.never_heard_after_ms:
            wanted &= ~never
        counted = np.maximum(live.seen_ms, fleet.resumed_ms)
        if self._params.while_ is not None:
            wanted &= self._since != 0
            counted = np.maximum(counted, self._since)
        usual, at_first = self._after[self._role], np.maximum(self._after, self._listen)[self._role]
        after = np.where(counted > live.seen_ms, at_first, usual)
        if self._params.never_heard_after_ms:
            after = np.where(never, np.maximum(after, self._params.never_heard_after_ms), after)
            counted = np.where(never, np.maximum(self._known, counted), counted)
        again = self._offline & (now_ms - counted > after) & (self._heard > 0)
        self._heard[again] = 0  # fell silent again before it had reported often enough
        returning = self._offline & (self._heard > 0)
        due = wanted & (now_ms - counted >= after)
        waits = (wanted & ~due) | returning
        soonest = int((counted + after)[waits].min()) if waits.any() else NEVER_AGAIN
        self._next_ms = min(soonest, now_ms + self._least_ms)
        hit = np.flatnonzero(due)
        self._offline[hit] = True
        self._silent += len(hit)
        self._heard[hit] = 0
        self._onset[hit] = np.where(never[hit], self._known[hit], live.seen_ms[hit])
        return [self._tell(int(p), ACTIVE, int(counted[p] + after[p]), now_ms - int(self._onset[p])) for p in hit]

    def _holding(self, fleet: Fleet, now_ms: int) -> npt.NDArray[np.bool_]:
        held = self._params.while_
        assert held is not None  # noqa: S101 - the caller has looked
        live = fleet.live[self.kinds[0]]
        yes, _ = held(LiveColumns(fleet, live, np.arange(len(live.rows)), now_ms))
        return np.broadcast_to(yes, len(live.rows))

    def _tell(self, place: int, state: str, at_ms: int, silent_ms: int) -> Transition:
        after_min = float(self._after[self._role[place]]) / 60_000
        values = {"after_min": after_min, "threshold": after_min}
        if state == ACTIVE:
            values |= {"silent_min": silent_ms / 60_000, "value": silent_ms / 60_000}
        onset = int(self._onset[place])
        return transition(self._rule, self._registry, self._sky, self._entity(place), state, at_ms, onset, values)

    def _entity(self, place: int) -> str:
        return f"device:{self._registry.id_of(self._rows[place])}"

    def open(self) -> Mapping[str, int]:
        """Return devices that are offline, with the host time at which each was last heard."""
        return {self._entity(int(place)): int(self._onset[place]) for place in np.flatnonzero(self._offline)}

    def save(self) -> State:
        """Return the state of every device that is offline or whose time is being counted."""
        counted = (self._since != 0) | (self._params.never_heard_after_ms > 0)
        at = np.flatnonzero(self._watched & (self._offline | counted))
        kept = some_of(self._registry, self._rows, at)
        clock = {"looked_ms": np.array([self._looked_ms], dtype=np.int64)}
        return kept | clock | {name: column[at] for name, column in self._stored().items()}

    def load(self, state: State) -> None:
        """Take over a saved state; devices that no longer exist are let go, new ones start afresh."""
        found = found_of(self._registry, self._rows, state)
        here = found >= 0
        here[here] = self._watched[found[here]]
        for name, column in self._stored().items():
            column[found[here]] = state[name][here]
        self._silent = int(np.count_nonzero(self._offline))
        self._looked_ms, self._next_ms = int(state["looked_ms"][0]), NEVER

    def _stored(self) -> dict[str, npt.NDArray[np.generic]]:
        return {
            "offline": self._offline, "onset": self._onset, "heard": self._heard,
            "since": self._since, "known": self._known,
        }  # fmt: skip
