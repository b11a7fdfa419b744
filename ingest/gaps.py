"""What should have come and did not: gaps in a device's own counter, and reports missing across an absence.

A kind may declare one field as its sequence number (``sequence: true``): it goes up by one a message and wraps at the
end of its range. A jump is so many messages missing, exactly. Where a device has none, its usual interval tells how
many reports fell into an absence of ours and did not come afterwards: an estimate, and silence of the device's own
looks the same. A device that never comes back is not counted here: the offline rules tell of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alerts.fleet import NEVER, Fleet
from alerts.places import ids_of, places_of
from devices.batch import MARK_LATE, Batch
from devices.registry import Registry

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]

# A counter that jumps further than the time since the last reading allows was set anew (a reboot, a new controller).
BURST = 64  # messages that may have been missed at once whatever the interval, such as a backlog
HASTE = 8  # times as fast as usual that a device may report
SILENT = 3  # intervals without a report before an absence: that device was off by itself


@dataclass(slots=True)
class Absence:
    """A stretch of host time in which the broker could not hand over, and what turned out to be missing from it.

    Attributes:
        from_ms, until_ms: epoch milliseconds.
        counted: readings missing by the devices' counters.
        estimated: reports missing by the devices' intervals.
        devices: how many devices lack something.
    """

    from_ms: int
    until_ms: int
    counted: int = 0
    estimated: int = 0
    devices: int = 0


class Gaps:
    """Looks at every batch before it is judged; costs nothing for kinds without a counter while nobody was away.

    Args:
        registry: who reports, and how often.

    Attributes:
        absence: the stretch whose consequences are being counted, None when there is none.
        counted: readings missing by counters since the start, by kind, less those that came late.
        estimated: reports missing by intervals since the start, by kind.
        resets: counters that began anew.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.absence: Absence | None = None
        self._lacking = np.zeros(len(registry), dtype=bool)
        self.counted: Counter[str] = Counter()
        self.estimated: Counter[str] = Counter()
        self.resets = 0
        self._last = np.full(len(registry), np.nan)
        self._owed = np.zeros(len(registry), dtype=np.int64)
        self._interval_ms = _intervals_ms(registry)
        self._counters: dict[str, tuple[str, float, float]] = {}
        for kind in registry.catalog:
            if kind.sequence is not None:
                declared = kind.fields[kind.sequence]
                self._counters[kind.name] = (declared.name, declared.low, declared.high - declared.low + 1)
                self.counted[kind.name] = 0

    def take_up(self, registry: Registry) -> None:
        """Go on with a registry that has grown; what is known of its devices stays."""
        self.registry = registry
        grown = (0, len(registry) - len(self._last))
        self._lacking = np.pad(self._lacking, grown)
        self._last = np.pad(self._last, grown, constant_values=np.nan)
        self._owed = np.pad(self._owed, grown)
        self._interval_ms = _intervals_ms(registry)

    @property
    def slowest_ms(self) -> int:
        """Return the longest usual interval between two reports of a device, milliseconds."""
        return int(self._interval_ms.max(initial=1))

    def away(self, from_ms: int, until_ms: int) -> Absence:
        """Begin to count what is missing from a stretch of host time; one that is being counted is lengthened."""
        if self.absence is None:
            self.absence = Absence(from_ms, until_ms)
        self.absence.until_ms = until_ms
        return self.absence

    def settle(self) -> None:
        """End the counting for the present absence."""
        self.absence = None
        self._lacking[:] = False

    def look(self, batches: Sequence[Batch], fleet: Fleet) -> None:
        """Look at readings that the fleet has not taken in yet.

        Args:
            batches: without duplicates, each device's readings in order of time, late ones marked.
            fleet: knows the newest reading of each device before these.
        """
        for batch in batches:
            absence = self.absence
            counter = self._counters.get(batch.kind.name)
            if counter is not None and bool(np.isnan(batch.column(counter[0])).all()):
                counter = None  # nobody here counts
            if counter is None and absence is None:
                continue
            live = fleet.live[batch.kind.name]
            newest_ms = live.time_ms[live.local[batch.device]]
            if counter is not None or (absence is not None and bool((newest_ms < absence.until_ms).any())):
                self._look(batch, newest_ms, counter)

    def _look(self, batch: Batch, newest_ms: Ints, counter: tuple[str, float, float] | None) -> None:
        on_time = (batch.marks & MARK_LATE) == 0
        order = np.argsort(batch.device, kind="stable")
        rows = order[on_time[order]]
        device, time_ms = batch.device[rows], batch.time_ms[rows].astype(np.float64)
        before_ms = _previous(device, time_ms, newest_ms[rows].astype(np.float64))
        uncounted = np.ones(len(rows), dtype=bool)
        if counter is not None:
            name, low, modulus = counter
            value = batch.trusted(name)
            has = ~np.isnan(value[rows])
            if has.any():
                uncounted = ~has
                uncounted[has] = self._by_counter(
                    batch.kind.name, device[has], value[rows][has] - low, modulus, before_ms[has], time_ms[has]
                )
            if not on_time.all():
                self._came_late(batch.kind.name, batch.device[~on_time & ~np.isnan(value)])
        if self.absence is not None and uncounted.any():
            found = device[uncounted], before_ms[uncounted], time_ms[uncounted]
            self._by_interval(batch.kind.name, self.absence, *found)

    def _by_counter(
        self, kind: str, device: Rows, value: Floats, modulus: float, before_ms: Floats, time_ms: Floats
    ) -> npt.NDArray[np.bool_]:
        """Count jumps; return the rows that have nothing to be compared with."""
        prior = _previous(device, value, self._last[device])
        step = np.mod(value - prior, modulus)
        allowed = BURST + HASTE * np.maximum(time_ms - before_ms, 0) / self._interval_ms[device]
        jump = (step > 1) & (step <= np.minimum(allowed, modulus / 2))
        self.resets += int(np.count_nonzero((step > 1) & ~jump))
        self._last[device] = value
        if jump.any():
            missing = (step[jump] - 1).astype(np.int64)
            np.add.at(self._owed, device[jump], missing)
            self.counted[kind] += int(missing.sum())
            self._charge(device[jump], missing, before_ms[jump], time_ms[jump])
        unknown: npt.NDArray[np.bool_] = np.isnan(prior)
        return unknown

    def _charge(self, device: Rows, missing: Ints, before_ms: Floats, time_ms: Floats) -> None:
        """Put what is missing on the absence's account, where it overlaps."""
        if self.absence is not None:
            within = (before_ms < self.absence.until_ms) & (time_ms > self.absence.from_ms)
            self.absence.counted += int(missing[within].sum())
            self._note(self.absence, device[within])

    def _came_late(self, kind: str, device: Rows) -> None:
        """Take back what was counted as missing and has come after all."""
        rows, times = np.unique(device, return_counts=True)
        filled = np.minimum(times, self._owed[rows])
        self._owed[rows] -= filled
        self.counted[kind] -= int(filled.sum())
        if self.absence is not None:
            self.absence.counted = max(self.absence.counted - int(filled.sum()), 0)

    def _by_interval(self, kind: str, absence: Absence, device: Rows, before_ms: Floats, time_ms: Floats) -> None:
        """Estimate how many reports fell into the absence: they were due at whole intervals after the one before."""
        interval_ms = self._interval_ms[device]
        skipped = np.rint((time_ms - before_ms) / interval_ms) - 1
        by_end = np.minimum(np.floor((absence.until_ms - before_ms) / interval_ms), skipped)
        by_begin = np.maximum(np.floor((absence.from_ms - before_ms) / interval_ms), 0)
        touched = (before_ms > NEVER) & (before_ms < absence.until_ms) & (time_ms > absence.from_ms)
        missing = np.where(touched & (by_begin < SILENT), np.maximum(by_end - by_begin, 0), 0)
        if (total := int(missing.sum())) > 0:
            absence.estimated += total
            self._note(absence, device[missing > 0])
            self.estimated[kind] += total

    def _note(self, absence: Absence, device: Rows) -> None:
        """Count devices that lack something, each once."""
        fresh = np.unique(device)
        absence.devices += int(np.count_nonzero(~self._lacking[fresh]))
        self._lacking[fresh] = True

    # Beside the engine's state in a snapshot.

    def save(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return what is remembered, as named arrays without objects."""
        rows = np.flatnonzero(~np.isnan(self._last))
        one = self.absence
        numbers = [] if one is None else [one.from_ms, one.until_ms, one.counted, one.estimated, one.devices]
        return {
            "gaps.ids": ids_of(self.registry, rows),
            "gaps.last": self._last[rows],
            "gaps.owed": self._owed[rows],
            "gaps.absence": np.array(numbers, dtype=np.int64),
        }

    def load(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Take over what was remembered; devices that no longer exist are let go."""
        if "gaps.ids" not in arrays:
            return
        found = places_of(self.registry, np.arange(len(self.registry)), arrays["gaps.ids"])
        here = found >= 0
        self._last[found[here]] = arrays["gaps.last"][here]
        self._owed[found[here]] = arrays["gaps.owed"][here]
        if len(arrays["gaps.absence"]):
            self.absence = Absence(*(int(number) for number in arrays["gaps.absence"]))


def _intervals_ms(registry: Registry) -> Floats:
    """Return (n,) the usual interval between two reports of each device, milliseconds."""
    intervals = np.ones(len(registry))
    for kind in registry.catalog:
        rows = registry.rows_of(kind.name)
        intervals[rows] = np.array(kind.report_s)[registry.role[rows]] * 1000
    return intervals


def _previous(device: Rows, values: Floats, first: Floats) -> Floats:
    """Return the value before each row's of the same device: that of the row before, or the remembered ``first``.

    ``device`` is sorted.
    """
    prior = first.copy()
    again = np.flatnonzero(device[1:] == device[:-1])
    prior[again + 1] = values[again]
    return prior


def reports_per_s(registry: Registry) -> float:
    """Return how many reports a second the registered devices send by their usual intervals."""
    return float((1000 / _intervals_ms(registry)).sum()) if len(registry) else 0.0
