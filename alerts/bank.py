"""All expression rules of one kind at once: their conditions in one pass, what they remember in one set of slots.

What a batch costs hangs on how many pairs of rule and device are not at rest, hardly on how many rules there are: a
condition that holds in no reading ends with the first part of it that says so, and the life of all pairs that matter,
of whatever rule, goes on in the same few numpy calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from alerts.changes import Changes
from alerts.columns import BatchColumns, LiveColumns
from alerts.expression import ExpressionJudge
from alerts.fleet import Fleet
from alerts.life import Life
from alerts.slots import FIRING, REST, WAITING, Places
from alerts.terms import Truth
from devices.batch import Mask
from devices.kinds import Kind
from devices.registry import Registry
from devices.transition import Transition

PART = 8192  # readings looked at in one go: their columns stay in the processor's cache
_NOBODY: Places = np.zeros(0, dtype=np.intp)


class Bank:
    """Judges the expression rules of one kind over all its devices.

    What needs an absent or suspect value is passed over: it neither fires nor clears (docs/sources.md).

    Attributes:
        life: what is remembered of the devices.
    """

    def __init__(self, kind: Kind, rules: Sequence[ExpressionJudge], registry: Registry) -> None:
        self._kind, self._fields = kind.name, kind.field_names()
        self._rules = list(rules)
        self._role = registry.role[registry.rows_of(kind.name)]
        self.life = Life(rules, self._role)
        self._looking: dict[bytes, list[tuple[int, Truth, bool]]] = {}
        for number, held in enumerate(rules):
            held.join(self.life.slots, number)

    @property
    def due_ms(self) -> int:
        """Return the host time before which the passing of time changes nothing."""
        return self.life.due_ms

    def readings(self, columns: BatchColumns, now_ms: int) -> list[Transition]:
        """Judge readings, each newer than its device's reading before; the live columns do not hold them yet."""
        with np.errstate(all="ignore"):
            if len(columns) > PART and columns.turn is None:
                return [told for part in columns.parts(PART) for told in self._part(part, now_ms)]
            return self._part(columns, now_ms)

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Let the clocks run on in host time while the last reading still stands; close what was heard of no more."""
        slot = self.life.due(fleet.resumed_ms, now_ms)
        changes = self.life.run_on(slot, fleet.resumed_ms, now_ms) if len(slot) else None
        if changes is None:
            return []
        return self._tell(LiveColumns(fleet, fleet.live[self._kind], changes.place, now_ms), changes)

    def _part(self, columns: BatchColumns, now_ms: int) -> list[Transition]:
        hits: dict[int, Mask] = {}
        for number, holds, carry in self._concerned(columns.absent):
            mask = holds.of(columns.carried() if carry else columns)
            if mask is not None:
                hits[number] = mask if mask.ndim else np.broadcast_to(mask, len(columns))
        awake = self.life.slots.awake.take(columns.at, axis=1)
        if not hits and not np.count_nonzero(awake):
            return []
        rule, row, yes = self._touched(columns, hits, awake)
        found: list[Changes] = []
        if columns.turn is None:
            self._live_on(columns, rule, row, yes, now_ms, found)
        else:
            turns = columns.turn[row]
            order = np.argsort(turns, kind="stable")
            for one in np.split(order, np.diff(turns[order]).nonzero()[0] + 1):
                self._live_on(columns, rule[one], row[one], yes[one], now_ms, found)
        return self._tell(columns, _joined(found)) if found else []

    def _concerned(self, absent: bytes) -> list[tuple[int, Truth, bool]]:
        """Return the rules whose condition could hold although these fields are absent."""
        found = self._looking.get(absent)
        if found is None:
            if len(self._looking) > PART:
                self._looking.clear()
            gone = {name for name, lacks in zip(self._fields, absent, strict=True) if lacks}
            conditions = ((number, held.params.on.yes, held.params.carry) for number, held in enumerate(self._rules))
            found = [(number, yes, carry) for number, yes, carry in conditions if carry or not yes.needs & gone]
            self._looking[absent] = found
        return found

    def _touched(
        self, columns: BatchColumns, hits: dict[int, Mask], awake: npt.NDArray[np.uint8]
    ) -> tuple[Places, Places, Mask]:
        """Return pairs of rule and row in which something may change, by rule, and whether the condition holds."""
        planes = np.bitwise_or.reduce(awake, axis=1).tolist()
        rules: list[Places] = []
        rows: list[Places] = []
        holds: list[Mask] = []
        for number, held in enumerate(self._rules):
            yes = touched = hits.get(number)
            if planes[number >> 3] >> (number & 7) & 1:
                busy = (awake[number >> 3] & (1 << (number & 7))) != 0
                touched = busy if yes is None else busy | yes
            if touched is None:
                continue
            if columns.group is not None:  # what one reading begins concerns the device's others in the batch
                concerned = np.zeros(len(columns), dtype=bool)
                concerned[columns.group[touched]] = True
                touched = concerned[columns.group]
            if not held.watches_all:
                touched = touched & held.watched[self._role[columns.at]]
            here = touched.nonzero()[0]
            rules.append(np.full(len(here), number))
            rows.append(here)
            holds.append(np.zeros(len(here), dtype=bool) if yes is None else yes[here])
        return np.concatenate(rules), np.concatenate(rows), np.concatenate(holds)

    def _live_on(
        self, columns: BatchColumns, rule: Places, row: Places, yes: Mask, now_ms: int, found: list[Changes]
    ) -> None:
        """Let pairs live on by one reading each, every pair once, in the order of the rules; add what changed."""
        place = columns.at[row]
        slot = self.life.slots.find(rule, place)
        state = self.life.slots.state[slot]
        touched: list[Places] = []
        fresh = (yes & (state == REST)).nonzero()[0]
        if len(fresh):
            time = columns.time_ms[row[fresh]]
            slots, fires = self.life.begin(rule[fresh], place[fresh], time, now_ms)
            touched.append(slots)
            _note(found, columns, rule[fresh], row[fresh], fires, fires, time)
        waiting = state == WAITING
        if np.count_nonzero(waiting):
            self._rest(columns, rule, row, slot, waiting & ~yes)
            on = (waiting & yes).nonzero()[0]
            if len(on):
                fires, onset = self.life.go_on(slot[on], columns.time_ms[row[on]], now_ms)
                touched.append(slot[on])
                _note(found, columns, rule[on], row[on], fires, fires, onset)
        alight = (state >= FIRING).nonzero()[0]
        if len(alight):
            touched.append(self._burn(columns, rule[alight], row[alight], slot[alight], now_ms, found))
        known = np.concatenate(touched) if touched else _NOBODY
        if len(known):
            self.life.file(known, columns.fleet.resumed_ms, now_ms)

    def _rest(self, columns: BatchColumns, rule: Places, row: Places, slot: Places, asked: Mask) -> None:
        """Put those to rest that waited and whose condition surely does not hold any more."""
        here = asked.nonzero()[0]
        if len(here):
            over = self._where(columns, rule[here], row[here], lambda held: held.params.on.no)
            if np.count_nonzero(over):
                self.life.slots.end(slot[here[over]])

    def _burn(
        self, columns: BatchColumns, rule: Places, row: Places, slot: Places, now_ms: int, found: list[Changes]
    ) -> Places:
        """Let open alerts go on or end; return the slots of those that go on."""
        over = self._where(columns, rule, row, lambda held: held.over)
        known = (over | self._where(columns, rule, row, lambda held: held.lasts)).nonzero()[0]
        if not len(known):
            return known
        ended, onset = self.life.burn(slot[known], columns.time_ms[row[known]], over[known], now_ms)
        _note(found, columns, rule[known], row[known], ended, ~ended, onset)
        return slot[known[~ended]]

    def _where(
        self, columns: BatchColumns, rule: Places, row: Places, which: Callable[[ExpressionJudge], Truth]
    ) -> Mask:
        """Return in which pairs that term of the pair's rule holds."""
        out = np.zeros(len(rule), dtype=bool)
        for number, cut in _runs(rule):
            held = self._rules[number]
            mask = which(held).of(columns.carried() if held.params.carry else columns)
            if mask is not None:
                out[cut] = mask[row[cut]] if mask.ndim else mask
        return out

    def _tell(self, columns: BatchColumns | LiveColumns, changes: Changes) -> list[Transition]:
        """Put what changed into words."""
        return [
            told for number, cut in _runs(changes.rule) for told in self._rules[number].tell(columns, changes.take(cut))
        ]


def _runs(rule: Places) -> Iterator[tuple[int, slice]]:
    """Yield each rule of a column sorted by rule, with where it stands."""
    cuts = [0, *((rule[1:] != rule[:-1]).nonzero()[0] + 1).tolist(), len(rule)]
    for begin, end in pairwise(cuts):
        yield int(rule[begin]), slice(begin, end)


def _note(
    found: list[Changes], columns: BatchColumns, rule: Places, row: Places, told: Mask, fires: Mask, onset_ms: Places
) -> None:
    """Add the pairs that are to be told of."""
    here = told.nonzero()[0]
    if len(here):
        rows = row[here]
        lost = np.zeros(len(here), dtype=bool)
        found.append(
            Changes(rule[here], rows, columns.at[rows], fires[here], columns.time_ms[rows], onset_ms[here], lost)
        )


def _joined(found: list[Changes]) -> Changes:
    """Return all changes by rule and row."""
    if len(found) == 1:
        return found[0]
    whole = Changes(*(np.concatenate([getattr(one, name) for one in found]) for name in Changes.__slots__))
    return whole.take(np.lexsort((whole.row, whole.rule)))
