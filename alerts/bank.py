"""All expression rules of one kind at once: their conditions in one pass, what they remember in one set of slots.

What a batch costs hangs on how many pairs of rule and device are not at rest, hardly on how many rules there are: a
condition that holds in no reading ends with the first part of it that says so, and the life of all pairs that matter,
of whatever rule, goes on in the same few numpy calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from alerts.changes import Changes, Pairs
from alerts.columns import BatchColumns, LiveColumns
from alerts.expression import ExpressionJudge
from alerts.fleet import Fleet
from alerts.life import Life
from alerts.slots import WAITING, Places, runs
from alerts.terms import Truth
from devices.batch import Ints, Mask
from devices.kinds import Kind
from devices.registry import Registry
from devices.transition import Transition

_REMEMBERED = 4096  # combinations of fields for which the rules that matter are kept at hand
Words = npt.NDArray[np.unsignedinteger]


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
        self._certain: dict[bytes, Mask] = {}
        for number, held in enumerate(rules):
            held.join(self.life.slots, number)

    @property
    def due_ms(self) -> int:
        """Return the host time before which the passing of time changes nothing."""
        return self.life.due_ms

    def readings(self, columns: BatchColumns, now_ms: int) -> list[Transition]:
        """Judge readings, each newer than its device's reading before; the live columns do not hold them yet."""
        with np.errstate(all="ignore"):
            return self._readings(columns, now_ms)

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Let the clocks run on in host time while the last reading still stands; close what was heard of no more."""
        slot = self.life.due(fleet.resumed_ms, now_ms)
        changes = self.life.run_on(slot, fleet.resumed_ms, now_ms) if len(slot) else None
        if changes is None:
            return []
        return self._tell(LiveColumns(fleet, fleet.live[self._kind], changes.place, now_ms), changes)

    def _readings(self, columns: BatchColumns, now_ms: int) -> list[Transition]:
        hits: dict[int, Mask] = {}
        for number, holds, carry in self._concerned(columns.absent):
            mask = holds.of(columns.carried() if carry else columns)
            if mask is not None:
                hits[number] = mask if mask.ndim else np.broadcast_to(mask, len(columns))
        awake = self.life.slots.awake.take(columns.at, axis=1)
        if not hits and not np.count_nonzero(awake):
            return []
        found: list[Changes] = []
        if columns.turn is None:
            self._live_on(columns, *self._pairs(columns, hits, awake), now_ms, found)
        else:
            for fresh, busy in self._turns(columns, columns.turn, self._touched(columns, hits, awake)):
                self._live_on(columns, fresh, busy, now_ms, found)
        return self._tell(columns, _joined(found)) if found else []

    def _concerned(self, absent: bytes) -> list[tuple[int, Truth, bool]]:
        """Return the rules whose condition could hold although these fields are absent."""
        found = self._looking.get(absent)
        if found is None:
            if len(self._looking) > _REMEMBERED:
                self._looking.clear()
            gone = {name for name, lacks in zip(self._fields, absent, strict=True) if lacks}
            conditions = ((number, held.params.on.yes, held.params.carry) for number, held in enumerate(self._rules))
            found = [(number, yes, carry) for number, yes, carry in conditions if carry or not yes.needs & gone]
            self._looking[absent] = found
        return found

    def _pairs(self, columns: BatchColumns, hits: dict[int, Mask], awake: Words) -> tuple[Pairs, Pairs]:
        """Return the pairs that were at rest and whose condition holds, and those that were not at rest."""
        width, words = self.life.slots.width, np.bitwise_or.reduce(awake, axis=1).tolist()
        fresh: list[tuple[int, Places, Mask | None]] = []
        busy: list[tuple[int, Places, Mask | None]] = []
        for number, held in enumerate(self._rules):
            yes = hits.get(number)
            word, bit = number // width, 1 << number % width
            if words[word] & bit:
                here = (awake[word] & awake.dtype.type(bit)) != 0
                rows = here.nonzero()[0]
                busy.append((number, rows, None if yes is None else yes[rows]))
                yes = None if yes is None else np.greater(yes, here)  # those that were at rest
            if yes is not None:
                fresh.append((number, self._watched(columns, held, yes).nonzero()[0], None))
        return Pairs.of(fresh), Pairs.of(busy)

    def _touched(self, columns: BatchColumns, hits: dict[int, Mask], awake: Words) -> Pairs:
        """Return all pairs of rule and reading that matter where a device may stand several times.

        What one reading begins concerns the device's others.
        """
        width = self.life.slots.width
        group = columns.group
        assert group is not None  # noqa: S101 - with turns come groups
        found: list[tuple[int, Places, Mask | None]] = []
        for number, held in enumerate(self._rules):
            yes = hits.get(number)
            touched = (awake[number // width] & awake.dtype.type(1 << number % width)) != 0
            concerned = np.zeros(len(columns), dtype=bool)
            concerned[group[touched if yes is None else touched | yes]] = True
            rows = self._watched(columns, held, concerned[group]).nonzero()[0]
            if len(rows):
                found.append((number, rows, None if yes is None else yes[rows]))
        return Pairs.of(found)

    def _watched(self, columns: BatchColumns, held: ExpressionJudge, mask: Mask) -> Mask:
        """Return where the mask holds and the rule watches the device's role."""
        if held.watches_all:
            return mask
        watched: Mask | None = columns.made.get(held.params.roles)
        if watched is None:
            watched = columns.made[held.params.roles] = held.watched[self._role[columns.at]]
        return mask & watched

    def _turns(self, columns: BatchColumns, turn: Places, pairs: Pairs) -> Iterator[tuple[Pairs, Pairs]]:
        """Yield pairs turn by turn, each as those at rest whose condition holds, and those that are not at rest."""
        turns = turn[pairs.row]
        order = np.argsort(turns, kind="stable")
        for one in np.split(order, np.diff(turns[order]).nonzero()[0] + 1):
            now = pairs.take(one)
            busy = self.life.slots.find(now.rule, columns.at[now.row]) > 0
            yield now.take(np.greater(now.yes, busy)), now.take(busy)

    def _live_on(self, columns: BatchColumns, fresh: Pairs, busy: Pairs, now_ms: int, found: list[Changes]) -> None:
        """Let pairs live on by one reading each, every pair once, in the order of the rules; add what changed."""
        if len(fresh.row):
            time = columns.time_ms[fresh.row]
            fires = self.life.begin(fresh.rule, columns.at[fresh.row], time, now_ms)
            if fires is not None:
                _note(found, columns, fresh, fires, fires, time)
        if not len(busy.row):
            return
        slot = self.life.slots.find(busy.rule, columns.at[busy.row])
        waiting = self.life.slots.state[slot] == WAITING
        over = np.greater(waiting, busy.yes).nonzero()[0]
        if len(over):
            self._rest(columns, busy.take(over), slot[over])
        on = (waiting & busy.yes).nonzero()[0]
        if len(on):
            still, slots = busy.take(on), slot[on]
            fires, onset = self.life.go_on(slots, columns.time_ms[still.row], now_ms)
            self.life.file(slots, columns.fleet.resumed_ms, now_ms)
            _note(found, columns, still, fires, fires, onset)
        alight = (~waiting).nonzero()[0]
        if len(alight):
            self._burn(columns, busy.take(alight), slot[alight], now_ms, found)

    def _rest(self, columns: BatchColumns, pairs: Pairs, slot: Places) -> None:
        """Put those to rest that waited and whose condition surely does not hold any more."""
        sure = self._sure(columns.partial)[pairs.rule]
        if np.count_nonzero(sure) < len(sure):
            here = sure | self._where(columns, pairs, lambda held: held.params.on.no)
            pairs, slot = pairs.take(here), slot[here]
        if len(slot):
            self.life.slots.end(slot, pairs.rule, columns.at[pairs.row])

    def _sure(self, partial: bytes) -> Mask:
        """Return of which rules a condition that does not hold surely does not hold, where only these fields lack."""
        found = self._certain.get(partial)
        if found is None:
            if len(self._certain) > _REMEMBERED:
                self._certain.clear()
            lacking = {name for name, lacks in zip(self._fields, partial, strict=True) if lacks}
            found = self._certain[partial] = np.array(
                [held.certain and not lacking & held.names for held in self._rules]
            )
        return found

    def _burn(self, columns: BatchColumns, pairs: Pairs, slot: Places, now_ms: int, found: list[Changes]) -> None:
        """Let open alerts go on or end."""
        over = self._where(columns, pairs, lambda held: held.over)
        known = over | self._where(columns, pairs, lambda held: held.lasts)
        pairs, slot = pairs.take(known), slot[known]
        if not len(slot):
            return
        ended, onset = self.life.burn(slot, columns.time_ms[pairs.row], over[known], now_ms)
        if np.count_nonzero(ended):
            gone = pairs.take(ended)
            self.life.slots.end(slot[ended], gone.rule, columns.at[gone.row])
            _note(found, columns, pairs, ended, ~ended, onset)
        if np.count_nonzero(ended) < len(slot):
            self.life.file(slot[~ended], columns.fleet.resumed_ms, now_ms)

    def _where(self, columns: BatchColumns, pairs: Pairs, which: Callable[[ExpressionJudge], Truth]) -> Mask:
        """Return in which pairs that term of the pair's rule holds."""
        out = np.zeros(len(pairs.rule), dtype=bool)
        for number, cut in runs(pairs.rule):
            held = self._rules[number]
            mask = which(held).of(columns.carried() if held.params.carry else columns)
            if mask is not None:
                out[cut] = mask[pairs.row[cut]] if mask.ndim else mask
        return out

    def _tell(self, columns: BatchColumns | LiveColumns, changes: Changes) -> list[Transition]:
        """Put what changed into words."""
        return [
            told for number, cut in runs(changes.rule) for told in self._rules[number].tell(columns, changes.take(cut))
        ]


def _note(found: list[Changes], columns: BatchColumns, pairs: Pairs, told: Mask, fires: Mask, onset_ms: Ints) -> None:
    """Add the pairs that are to be told of."""
    here = told.nonzero()[0]
    if len(here):
        rows = pairs.row[here]
        where = columns.at[rows], fires[here], columns.time_ms[rows]
        found.append(Changes(pairs.rule[here], rows, *where, onset_ms[here], np.zeros(len(here), dtype=bool)))


def _joined(found: list[Changes]) -> Changes:
    """Return all changes by rule and row."""
    if len(found) == 1:
        return found[0]
    whole = Changes(*(np.concatenate([getattr(one, name) for one in found]) for name in Changes.__slots__))
    return whole.take(np.lexsort((whole.row, whole.rule)))
