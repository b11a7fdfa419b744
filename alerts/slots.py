"""Room for what rules remember of devices: none for a device at rest, one slot for each rule that is not.

Most pairs of rule and device are at rest most of the time. A pair that is not has a slot, found through four bytes a
rule and device; one bit a rule and device says beforehand whether there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.intp]
REST, WAITING, FIRING, CLEARING = 0, 1, 2, 3
NO_SPOKE = np.iinfo(np.uint32).max  # filed nowhere
_GROWTH = 1.25
_COLUMNS: dict[str, type[np.generic]] = {
    "rule": np.int16,
    "place": np.int32,
    "state": np.int8,
    "seen": np.int16,  # readings that showed the condition
    "pend": np.int64,  # device time at which the condition first held
    "clear": np.int64,  # device time at which its end first held
    "last": np.int64,  # device time of the last reading that could be judged
    "heard": np.int64,  # host time of the same
    "spoke": np.uint32,  # where the wheel of due times has it
}


class Slots:
    """The slots of one kind's rules.

    Args:
        rules: how many rules.
        places: how many devices.

    Attributes:
        rule, place, state, seen, pend, clear, last, heard, spoke: by slot; one at rest is free.
        awake: (words, places) a bit for each pair that has a slot.
        width: bits, and so rules, a word.
        loaded: slots were taken over from a saved state, and nobody has looked at them yet.
    """

    rule: npt.NDArray[np.int16]
    place: npt.NDArray[np.int32]
    state: npt.NDArray[np.int8]
    seen: npt.NDArray[np.int16]
    pend: npt.NDArray[np.int64]
    clear: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    heard: npt.NDArray[np.int64]
    spoke: npt.NDArray[np.uint32]

    def __init__(self, rules: int, places: int) -> None:
        self._places = places
        self._slot = np.zeros(rules * places, dtype=np.int32)  # by rule and place; 0 for none
        word: type[np.unsignedinteger] = np.uint8 if rules <= 8 else np.uint16 if rules <= 16 else np.uint32
        self.width = np.iinfo(word).bits
        self._bit = np.left_shift(1, np.arange(rules) % self.width).astype(word)
        self.awake = np.zeros((-(-rules // self.width), places), dtype=word)
        self.loaded = False
        self._end = 1  # slots from here on were never used; slot 0 stands for none
        self._free = np.zeros(0, dtype=np.int32)
        self._freed = 0  # how many of _free count
        for name, kind in _COLUMNS.items():
            setattr(self, name, np.zeros(1, dtype=kind))

    def find(self, rule: Places, place: Places) -> Places:
        """Return the slots of pairs, 0 for those at rest."""
        found: Places = self._slot[rule * self._places + place].astype(np.intp)
        return found

    def begin(self, rule: Places, place: Places) -> Places:
        """Return new slots for pairs that are at rest, by rule; their columns are for the caller to fill."""
        slots = self._take(len(rule))
        self._slot[rule * self._places + place] = slots
        for number, cut in runs(rule):
            self.awake[number // self.width, place[cut]] |= self._bit[number]
        self.rule[slots], self.place[slots] = rule, place
        self.spoke[slots] = NO_SPOKE
        return slots

    def end(self, slots: Places, rule: Places, place: Places) -> None:
        """Put pairs to rest, by rule; their slots are free."""
        self._slot[rule * self._places + place] = 0
        for number, cut in runs(rule):
            self.awake[number // self.width, place[cut]] &= ~self._bit[number]
        self.state[slots] = REST
        self.spoke[slots] = NO_SPOKE
        count = len(slots)
        if self._freed + count > len(self._free):
            size = max(int(len(self._free) * _GROWTH), self._freed + count, 64)
            kept, self._free = self._free, np.zeros(size, dtype=np.int32)
            self._free[: len(kept)] = kept
        self._free[self._freed : self._freed + count] = slots
        self._freed += count

    def busy(self) -> Places:
        """Return the slots in use, by rule and place."""
        slots = self.state[: self._end].nonzero()[0]
        found: Places = slots[np.lexsort((self.place[slots], self.rule[slots]))]
        return found

    def of_rule(self, rule: int) -> Places:
        """Return one rule's slots in use, by place."""
        slots = ((self.rule[: self._end] == rule) & (self.state[: self._end] != REST)).nonzero()[0]
        found: Places = slots[np.argsort(self.place[slots])]
        return found

    def _take(self, count: int) -> Places:
        again = min(count, self._freed)
        self._freed -= again
        slots = np.arange(self._end - again, self._end - again + count, dtype=np.intp)
        slots[:again] = self._free[self._freed : self._freed + again]
        self._end += count - again
        if self._end > len(self.state):
            size = max(int(len(self.state) * _GROWTH), self._end, 64)
            for name, kind in _COLUMNS.items():
                kept, grown = getattr(self, name), np.zeros(size, dtype=kind)
                grown[: len(kept)] = kept
                setattr(self, name, grown)
        return slots

    @property
    def nbytes(self) -> int:
        """Return the bytes of all columns."""
        columns = sum(getattr(self, name).nbytes for name in _COLUMNS)
        return int(columns + self._slot.nbytes + self.awake.nbytes + self._free.nbytes)


def runs(rule: Places) -> Iterator[tuple[int, slice]]:
    """Yield each rule of a column sorted by rule, with where it stands."""
    cuts = [0, *((rule[1:] != rule[:-1]).nonzero()[0] + 1).tolist(), len(rule)]
    for begin, end in pairwise(cuts):
        if end > begin:
            yield int(rule[begin]), slice(begin, end)
