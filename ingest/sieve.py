"""Repetition is harmless: readings that were kept already are dropped, late ones are marked."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt

from devices.batch import MARK_FUTURE, MARK_LATE, Batch
from devices.payloads import FUTURE_MS

REMEMBERED = 1 << 20  # readings at least; twice as many at most, 8 bytes each and as much again while sorting
_CHUNK = 1 << 16  # keys that are sorted at a time
_LOW = np.iinfo(np.int64).min

Keys = npt.NDArray[np.uint64]

# Odd 64-bit multipliers: the golden ratio's, and each next one by multiplying with itself.
_SEED = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


class Sieve:
    """Knows what was kept lately, device by device.

    A reading is a duplicate when device, sent time and all values equal a reading of the recent past: the broker
    delivers again what was not acknowledged, and devices send again what they believe lost. The same time with other
    values is not a duplicate: devices may spread one moment over several messages.

    Args:
        rows: number of devices in the registry; it may grow.
        remembered: how many readings are remembered at least.

    Attributes:
        duplicates, late: readings dropped and marked since the start.
    """

    def __init__(self, rows: int, remembered: int = REMEMBERED) -> None:
        self.duplicates = 0
        self.late = 0
        self._newest_sent = np.full(rows, _LOW, dtype=np.int64)
        self._newest_time = np.full(rows, _LOW, dtype=np.int64)
        self._place = np.zeros(rows, dtype=np.int32)  # scratch, by device
        self._clamped = np.zeros(rows, dtype=np.int64)  # the last time given to a reading that was dated ahead
        self._memory = _Memory(remembered)

    def sift(self, batch: Batch) -> tuple[Batch, int]:
        """Return the batch without duplicates and how many there were; late rows carry MARK_LATE.

        Rows of one device come out in order of time, so only readings older than an earlier batch are late.
        """
        if not len(batch):
            return batch, 0
        self._grow(batch.device)
        keys = _keys(batch)
        rising = self._once_each(batch.device) or _rising(batch)
        keep = np.ones(len(batch), dtype=bool) if rising else _first_of_each(keys)
        doubtful = np.flatnonzero(batch.sent_ms <= self._newest_sent[batch.device])
        if len(doubtful):
            keep[doubtful] &= ~self._memory.holds(keys[doubtful])
        dropped = len(batch) - int(np.count_nonzero(keep))
        if dropped:
            batch, keys = batch.take(keep), keys[keep]
            self.duplicates += dropped
        if not rising:
            batch = _in_order(batch)
        batch = self._mark_late(self._set_apart(batch))
        self._note(batch, keys)
        return batch, dropped

    def remember(self, batch: Batch) -> None:
        """Take in a batch that was kept earlier, as read from the journal after a restart."""
        if len(batch):
            self._grow(batch.device)
            ahead = (batch.marks & MARK_FUTURE) != 0
            self._clamped[batch.device[ahead]] = batch.time_ms[ahead]
            self._late(batch)
            self._note(batch, _keys(batch))

    def _set_apart(self, batch: Batch) -> Batch:
        """Give readings that are judged as of their arrival times of their own, each behind its device's last one.

        So rules see those of one device that arrive in the same millisecond, in one group or in two, as one after the
        other.
        """
        rows = np.flatnonzero(batch.marks & MARK_FUTURE)
        if not len(rows):
            return batch
        rows = rows[np.lexsort((batch.sent_ms[rows], batch.device[rows]))]
        device, sent_ms, arrived_ms = batch.device[rows], batch.sent_ms[rows], batch.time_ms[rows]
        begins = np.append(True, device[1:] != device[:-1])
        later = np.cumsum(np.append(False, sent_ms[1:] != sent_ms[:-1]) & ~begins)  # what was sent at once stays so
        last_ms = self._clamped[device]
        taken = (last_ms >= arrived_ms) & (last_ms <= arrived_ms + FUTURE_MS)  # else the host's clock was set back
        first_ms = np.where(taken, last_ms + 1, arrived_ms)
        given_ms = first_ms + later - later[begins][np.cumsum(begins) - 1]
        time_ms = batch.time_ms.copy()
        time_ms[rows] = self._clamped[device] = given_ms
        return _in_order(replace(batch, time_ms=time_ms))

    def _late(self, batch: Batch) -> npt.NDArray[np.bool_]:
        """Return which rows are older than an earlier batch.

        Never late are those judged as of their arrival, and none because the host's clock was set back.
        """
        late: npt.NDArray[np.bool_] = batch.time_ms < self._newest_time[batch.device]
        if late.any():
            ahead = self._newest_time[batch.device] > batch.arrival_ms + FUTURE_MS
            self._newest_time[batch.device[ahead]] = batch.arrival_ms - FUTURE_MS
            late = batch.time_ms < self._newest_time[batch.device]
            clamped = late & ((batch.marks & MARK_FUTURE) != 0)
            self._newest_time[batch.device[clamped]] = batch.time_ms[clamped]
            late &= ~clamped
        return late

    def _mark_late(self, batch: Batch) -> Batch:
        late = self._late(batch)
        if not late.any():
            return batch
        self.late += int(np.count_nonzero(late))
        return replace(batch, marks=np.where(late, batch.marks | MARK_LATE, batch.marks).astype(np.uint8))

    def _note(self, batch: Batch, keys: Keys) -> None:
        self._memory.add(keys)
        np.maximum.at(self._newest_sent, batch.device, batch.sent_ms)
        np.maximum.at(self._newest_time, batch.device, batch.time_ms)

    def _once_each(self, device: npt.NDArray[np.int32]) -> bool:
        order = np.arange(len(device), dtype=np.int32)
        self._place[device] = order
        return bool((self._place[device] == order).all())

    def _grow(self, device: npt.NDArray[np.int32]) -> None:
        missing = int(device.max()) + 1 - len(self._place)
        if missing > 0:
            self._newest_sent = np.pad(self._newest_sent, (0, missing), constant_values=_LOW)
            self._newest_time = np.pad(self._newest_time, (0, missing), constant_values=_LOW)
            self._place = np.pad(self._place, (0, missing))
            self._clamped = np.pad(self._clamped, (0, missing))


def _rising(batch: Batch) -> bool:
    """Say whether each reading of a device is later than the one before it, as sent and as judged."""
    order = np.argsort(batch.device, kind="stable")
    device, sent_ms, time_ms = batch.device[order], batch.sent_ms[order], batch.time_ms[order]
    later = (sent_ms[1:] > sent_ms[:-1]) & (time_ms[1:] >= time_ms[:-1])
    return bool((later | (device[1:] != device[:-1])).all())


def _in_order(batch: Batch) -> Batch:
    """Return the rows with each device's readings in order of time, untouched where they are so already."""
    times, devices = batch.time_ms, batch.device
    by_device = np.argsort(devices, kind="stable")
    backwards = (np.diff(times[by_device]) < 0) & (np.diff(devices[by_device]) == 0)
    return batch.take(np.lexsort((times, devices))) if backwards.any() else batch


def _first_of_each(keys: Keys) -> npt.NDArray[np.bool_]:
    keep = np.zeros(len(keys), dtype=bool)
    keep[np.unique(keys, return_index=True)[1]] = True
    return keep


def _keys(batch: Batch) -> Keys:
    """Return 64 bits for each row's device, sent time and values; equal rows have equal keys.

    Two different rows of the same kind share one by chance of 2**-64; the comparison is only made for readings
    that are not newer than everything of their device.
    """
    bits: Keys = batch.values.view(np.uint64)
    bits = bits ^ (bits >> np.uint64(32))  # the low bits of round numbers are all zero: bring the high ones down
    factors = _factors(len(bits) + 2)
    keys: Keys = batch.device.astype(np.uint64) * factors[0] + batch.sent_ms.astype(np.uint64) * factors[1]
    keys += (bits * factors[2:, None]).sum(axis=0, dtype=np.uint64)
    keys ^= keys >> np.uint64(29)
    keys *= factors[0]
    keys ^= keys >> np.uint64(32)
    return keys


@cache
def _factors(count: int) -> Keys:
    factors, value = [], _SEED
    for _ in range(count):
        factors.append(value)
        value = (value * 0xD1342543DE82EF95 + _SEED * 2) & _MASK | 1
    return np.array(factors, dtype=np.uint64)


class _Memory:
    """A set of keys that forgets the oldest: two generations of sorted runs, the older dropped as the newer fills."""

    def __init__(self, remembered: int) -> None:
        self._size = remembered
        self._old: list[Keys] = []
        self._runs: list[Keys] = []
        self._loose: list[Keys] = []
        self._loose_count = self._count = 0

    def add(self, keys: Keys) -> None:
        """Remember keys."""
        self._loose.append(keys)
        self._loose_count += len(keys)
        self._count += len(keys)
        if self._loose_count >= min(_CHUNK, self._size):
            self._settle()
            if self._count >= self._size:
                self._old, self._runs, self._count = self._runs, [], 0

    def holds(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Say which keys are remembered."""
        found = np.zeros(len(keys), dtype=bool)
        for run in (*self._old, *self._runs):
            place = np.searchsorted(run, keys)
            found |= run[np.minimum(place, len(run) - 1)] == keys
        if self._loose:
            found |= np.isin(keys, np.concatenate(self._loose))
        return found

    def _settle(self) -> None:
        """Sort what is loose, and merge it with runs of its size: few runs, each key sorted a few times."""
        run = np.sort(np.concatenate(self._loose))
        self._loose, self._loose_count = [], 0
        while self._runs and len(self._runs[-1]) <= len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)
