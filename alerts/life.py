"""The life of pairs of rule and device, for all rules of a kind: waiting, firing, clearing, and back to rest.

A device is at rest, waiting (the condition holds, not yet long enough), firing, or clearing (firing, and the end holds,
not yet long enough). Clocks run in device time; between readings they run on in host time for at most ``hold``, so that
a device which reports only changes is judged too (docs/sources.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from alerts.changes import Changes
from alerts.expression import ExpressionJudge
from alerts.fleet import NEVER, NEVER_AGAIN
from alerts.slots import CLEARING, FIRING, NO_SPOKE, WAITING, Places, Slots
from alerts.wheel import SHIFT, Wheel
from devices.batch import Ints, Mask

_SEEN_MAX = np.iinfo(np.int16).max


class Life:
    """What is remembered of the devices of one kind, by all its expression rules.

    Args:
        rules: of the kind, in their order: a rule's number is its place here.
        role: (places,) role of each device.

    Attributes:
        slots: a slot for each pair that is not at rest.
    """

    def __init__(self, rules: Sequence[ExpressionJudge], role: npt.NDArray[np.int8]) -> None:
        self.slots, self._wheel = Slots(len(rules), len(role)), Wheel()
        self._role, self._roles = role, len(rules[0].hold_ms)
        self._for = np.array([held.rule.for_ms for held in rules], dtype=np.int64)
        self._keep = np.array([held.rule.keep_ms for held in rules], dtype=np.int64)
        self._samples = np.array([held.params.samples for held in rules], dtype=np.int64)
        self._hold = np.array([held.hold_ms for held in rules], dtype=np.int64).ravel()  # by rule and role
        self._lost = np.array([held.lost_ms for held in rules], dtype=np.int64).ravel()
        self._at_once = (self._for <= 0) & (self._samples <= 1)
        alone = (self._samples <= 1) & ~self._at_once  # fires by the clock if nothing more is heard, while hold lasts
        wait = np.repeat(np.where(alone, self._for, NEVER_AGAIN), self._roles)
        self._first = np.minimum(np.where(wait <= self._hold, wait, NEVER_AGAIN), self._lost + 1)

    @property
    def due_ms(self) -> int:
        """Return the host time before which the passing of time changes nothing."""
        return NEVER if self.slots.loaded else self._wheel.next_ms

    @property
    def nbytes(self) -> int:
        """Return the bytes of all that is remembered."""
        return self.slots.nbytes + self._wheel.nbytes

    def begin(self, rule: Places, place: Places, time_ms: Ints, now_ms: int) -> Mask | None:
        """Wake pairs at rest whose condition holds; return which of them fire at once, None for none."""
        s = self.slots
        slot = s.begin(rule, place)
        s.state[slot] = WAITING
        s.pend[slot] = s.last[slot] = time_ms
        s.heard[slot], s.seen[slot] = now_ms, 1
        due = now_ms + self._first[rule * self._roles + self._role[place]]
        s.spoke[slot] = due >> SHIFT
        self._wheel.put(slot, due)
        fires: Mask = self._at_once[rule]
        if not np.count_nonzero(fires):
            return None
        s.state[slot[fires]] = FIRING
        return fires

    def go_on(self, slot: Places, time_ms: Ints, now_ms: int) -> tuple[Mask, Ints]:
        """Let pairs wait on, whose condition holds still; return which fire now, and since when each has waited."""
        s = self.slots
        rule = s.rule[slot].astype(np.intp)
        apart = self._apart(rule, slot, time_ms)  # then the waiting starts again
        pend = np.where(apart, time_ms, s.pend[slot])
        seen = np.where(apart, 1, np.minimum(s.seen[slot], _SEEN_MAX - 1) + 1)
        fires: Mask = (time_ms - pend >= self._for[rule]) & (seen >= self._samples[rule])
        s.pend[slot], s.seen[slot], s.last[slot], s.heard[slot] = pend, seen, time_ms, now_ms
        s.state[slot[fires]] = FIRING
        return fires, pend

    def burn(self, slot: Places, time_ms: Ints, over: Mask, now_ms: int) -> tuple[Mask, Ints]:
        """Let open alerts go on, whose end holds or surely does not; return which are to end, and the onset of each."""
        s = self.slots
        rule = s.rule[slot].astype(np.intp)
        starts = (s.state[slot] == FIRING) | self._apart(rule, slot, time_ms)
        clear = np.where(starts, time_ms, s.clear[slot])
        ended: Mask = over & (time_ms - clear >= self._keep[rule])
        s.clear[slot], s.last[slot], s.heard[slot] = clear, time_ms, now_ms
        s.state[slot] = np.where(over, CLEARING, FIRING)
        return ended, s.pend[slot]

    def _apart(self, rule: Places, slot: Places, time_ms: Ints) -> Mask:
        """Return which pairs were unheard for too long for the last reading to stand until this one.

        So were those whose last reading is from a time that has not come yet: the host's clock was set back.
        """
        s = self.slots
        since = time_ms - s.last[slot]
        apart: Mask = (since > self._hold[rule * self._roles + self._role[s.place[slot]]]) | (since < 0)
        return apart

    def file(self, slot: Places, resumed_ms: int, now_ms: int) -> None:
        """File slots under the time at which the clock alone will change them, unless they are filed before it."""
        s = self.slots
        rule = s.rule[slot].astype(np.intp)
        kept = rule * self._roles + self._role[s.place[slot]]
        state = s.state[slot]
        waits = state == WAITING
        until = np.where(waits, s.pend[slot] + self._for[rule], s.clear[slot] + self._keep[rule])
        needed = np.maximum(until - s.last[slot], 0)
        heard = np.maximum(s.heard[slot], resumed_ms)
        acts = (state != FIRING) & (needed <= self._hold[kept]) & (heard + needed > now_ms)
        acts &= ~waits | (s.seen[slot] >= self._samples[rule])
        due = heard + np.minimum(np.where(acts, needed, NEVER_AGAIN), self._lost[kept] + 1)
        self._wheel.next_ms = min(self._wheel.next_ms, int(due.min()))
        spoke = due >> SHIFT
        sooner = (spoke < s.spoke[slot]).nonzero()[0]
        if len(sooner):
            slot = slot[sooner]
            s.spoke[slot] = spoke[sooner]
            self._wheel.put(slot, due[sooner])

    def due(self, resumed_ms: int, now_ms: int) -> Places:
        """Return the slots that the clock may change by now, by rule and place; they are filed no more."""
        s = self.slots
        if s.loaded or resumed_ms == now_ms:  # after a restart, a pause, or a host clock set back
            slot = s.busy()
            if resumed_ms == now_ms:
                s.heard[slot] = np.minimum(s.heard[slot], now_ms)
            s.loaded = False
            self._wheel.clear()
        else:
            slot = self._wheel.take(now_ms)
            slot = np.unique(slot[s.spoke[slot] <= now_ms >> SHIFT])  # the others are stale: free, or filed elsewhere
            slot = slot[np.lexsort((s.place[slot], s.rule[slot]))]
        s.spoke[slot] = NO_SPOKE
        return slot

    def run_on(self, slot: Places, resumed_ms: int, now_ms: int) -> Changes | None:
        """Let the clocks of these slots run on in host time; return what follows, by rule and place."""
        s = self.slots
        rule, place = s.rule[slot].astype(np.intp), s.place[slot].astype(np.intp)
        kept = rule * self._roles + self._role[place]
        state, pend, clear, last = s.state[slot], s.pend[slot], s.clear[slot], s.last[slot]
        silent = np.maximum(now_ms - np.maximum(s.heard[slot], resumed_ms), 0)
        stands, time = silent <= self._hold[kept], last + silent
        fires = (state == WAITING) & stands & (time - pend >= self._for[rule]) & (s.seen[slot] >= self._samples[rule])
        ended = (state == CLEARING) & stands & (time - clear >= self._keep[rule])
        lost = (silent > self._lost[kept]) & ~(fires | ended)
        s.state[slot[fires]] = FIRING
        gone = ended | lost
        if np.count_nonzero(gone):
            s.end(slot[gone], rule[gone], place[gone])
        left = slot[~gone]
        if len(left):
            self.file(left, resumed_ms, now_ms)
        here = (fires | ended | (lost & (state >= FIRING))).nonzero()[0]
        if not len(here):
            return None
        since = np.where(fires, pend + self._for[rule], clear + self._keep[rule])
        when = np.where(lost, now_ms, np.maximum(since, last))
        rows = np.arange(len(here))
        return Changes(rule[here], rows, place[here], fires[here], when[here], pend[here], lost[here])
