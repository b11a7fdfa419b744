"""Clock rules: a device whose clock is wrong, seen from when its messages were dated and when they came.

Rows that are late are not judged by other rules, and a clock that was set back makes all of them late; so this rule
hears every row. Of several readings that come in one step the one dated best counts: a device that sends what it had
stored up has no wrong clock. What is dated ahead needs few messages: nothing that was held up on its way comes from the
future.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alerts.fleet import NEVER, NEVER_AGAIN, Fleet
from alerts.judge import State
from alerts.messages import transition
from alerts.places import ids_of, places_of
from alerts.rules import Rule
from alerts.saved import take_over
from alerts.spans import duration_ms
from devices.batch import Batch
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition
from devices.yamlfile import Node

VALUES = ("offset_min", "wrong", "messages")
RING = 32  # messages that can be remembered of each device: the bits of a number
_STORED = ("ring", "fore", "offset_ms", "since_ms", "alerted", "onset_ms")


@dataclass(frozen=True, slots=True)
class Params:
    """A clock rule's own keys.

    Attributes:
        ahead_ms, behind_ms: dated so long after, or before, the arrival is wrong.
        messages: how many are looked at.
        wrong: so many of them, dated wrongly, are an alert.
        ahead_messages: so many in a row that are dated ahead are one too; it ends when as many in a row are right.
    """

    ahead_ms: int
    behind_ms: int
    messages: int
    wrong: int
    ahead_messages: int


def parse(own: Node, kind: Kind, role: str | None) -> Params:  # noqa: ARG001 - as all kinds of rules
    """Check a clock rule's own keys. Raises ConfigError naming file, line and key."""
    own.only("ahead", "behind", "messages", "wrong", "ahead_messages")
    ahead, behind = own.get("ahead"), own.get("behind")
    messages = _whole(own.get("messages"), 20, RING)
    wrong = _whole(own.get("wrong"), messages // 2 + 1, messages)
    row = _whole(own.get("ahead_messages"), min(3, messages), messages)
    return Params(
        120_000 if ahead is None else duration_ms(ahead),
        600_000 if behind is None else duration_ms(behind),
        messages,
        wrong,
        row,
    )


def _whole(node: Node | None, otherwise: int, most: int) -> int:
    if node is None:
        return otherwise
    count = node.number(low=2, high=most)
    if count != int(count):
        raise node.error(f"expected a whole number, found {node.value}")
    return int(count)


class ClockSkewJudge:
    """One clock rule over the devices of every kind."""

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule_id, self.fingerprint = rule.id, rule.fingerprint
        self.kinds = tuple(kind.name for kind in registry.catalog)
        self._rule, self._registry, self._sky = rule, registry, sky
        assert isinstance(rule.params, Params)  # noqa: S101 - the table of rule kinds pairs parse and judge
        self._params = rule.params
        n = len(registry)
        self.ring = np.zeros(n, dtype=np.uint32)  # the newest message is the lowest bit, 1 where it was dated wrongly
        self.fore = np.zeros(n, dtype=np.uint32)  # the same for those that were dated ahead
        self.step_ms = np.full(n, -1, dtype=np.int64)  # when the newest one came
        self.offset_ms = np.zeros(n, dtype=np.int64)  # by how much it was dated wrongly
        self.since_ms, self.onset_ms = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self.alerted = np.zeros(n, dtype=np.bool_)
        self._mask = np.uint32((1 << self._params.messages) - 1)
        self._row = np.uint32((1 << self._params.ahead_messages) - 1)
        self._heard: list[npt.NDArray[np.intp]] = []  # rows to be judged at the end of the step

    def hear(self, batch: Batch, now_ms: int) -> None:
        """Take in all rows of a batch, late ones too."""
        p = self._params
        offset = batch.sent_ms - now_ms
        beyond = np.maximum(offset - p.ahead_ms, -offset - p.behind_ms)
        busy = (beyond > 0) | (self.ring[batch.device] != 0)
        rows = np.flatnonzero(busy)
        if not len(rows):
            self.step_ms[batch.device] = now_ms
            self.offset_ms[batch.device] = 0  # dated well: nothing else that comes in this step is better
            return
        order = np.lexsort((np.abs(offset), batch.device))
        device = batch.device[order]
        best = order[np.r_[True, device[1:] != device[:-1]]]  # of each device the row that is dated best
        at, offset = batch.device[best].astype(np.intp), offset[best]
        again = self.step_ms[at] == now_ms
        better = ~again | (np.abs(offset) < np.abs(self.offset_ms[at]))
        for ring, odd in ((self.ring, beyond[best] > 0), (self.fore, offset > p.ahead_ms)):
            past = np.where(again, ring[at] >> np.uint32(1), ring[at])
            bit = np.where(again & ~better, ring[at] & np.uint32(1), odd).astype(np.uint32)
            ring[at] = ((past << np.uint32(1)) | bit) & self._mask
        self.offset_ms[at] = np.where(better, offset, self.offset_ms[at])
        self.step_ms[at] = now_ms
        self._heard.append(at)

    @property
    def due_ms(self) -> int:
        """Return that it is due as soon as somebody has been heard."""
        return NEVER if self._heard else NEVER_AGAIN

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:  # noqa: ARG002 - judged by what was heard
        """Judge whom the step has brought; nobody before all of it is there."""
        if not self._heard:
            return []
        at = np.unique(np.concatenate(self._heard))
        self._heard.clear()
        odd = _bits(self.ring[at])
        begins = (odd > 0) & (self.since_ms[at] == 0)
        self.since_ms[at] = np.where(odd == 0, 0, np.where(begins, now_ms, self.since_ms[at]))
        ahead = (self.fore[at] & self._row) == self._row
        fires = ~self.alerted[at] & ((odd >= self._params.wrong) | ahead)
        right = (self.ring[at] & self._row) == 0
        clears = self.alerted[at] & (odd <= self._params.messages - self._params.wrong) & right
        self.onset_ms[at[fires]] = self.since_ms[at[fires]]
        self.alerted[at] = (self.alerted[at] | fires) & ~clears
        order = np.flatnonzero(fires | clears)
        return [self._tell(int(at[k]), ACTIVE if fires[k] else CLEARED, now_ms, int(odd[k])) for k in order.tolist()]

    def _tell(self, row: int, state: str, now_ms: int, odd: int) -> Transition:
        offset = float(self.offset_ms[row]) / 60_000
        values = {"offset_min": offset, "value": offset, "wrong": float(odd), "messages": float(self._params.messages)}
        values["threshold"] = (self._params.ahead_ms if offset > 0 else -self._params.behind_ms) / 60_000
        about = (self._rule, self._registry, self._sky, self._entity(row))
        return transition(*about, state, now_ms, int(self.onset_ms[row]), values)

    def _entity(self, row: int) -> str:
        return f"device:{self._registry.id_of(row)}"

    def open(self) -> Mapping[str, int]:
        """Return devices whose clock is wrong, with the time since when."""
        return {self._entity(row): int(self.onset_ms[row]) for row in np.flatnonzero(self.alerted).tolist()}

    def save(self) -> State:
        """Return the state of every device that was dated wrongly of late."""
        at = np.flatnonzero((self.ring != 0) | self.alerted)
        return {"ids": ids_of(self._registry, at)} | {name: getattr(self, name)[at] for name in _STORED}

    def load(self, state: State) -> None:
        """Take over a saved state; devices that no longer exist are let go."""
        found = places_of(self._registry, np.arange(len(self._registry)), state["ids"])
        take_over(
            {name: getattr(self, name) for name in _STORED}, state, "", found[found >= 0], np.flatnonzero(found >= 0)
        )


def _bits(ring: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """Return how many bits are set in each number."""
    return np.asarray(np.unpackbits(ring.view(np.uint8).reshape(-1, 4), axis=1).sum(axis=1), dtype=np.int64)
