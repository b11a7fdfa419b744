"""What befalls reports on their way, whoever sends them: devices that say nothing, and clocks that are wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from devices.batch import MARK_FUTURE, Batch
from devices.payloads import FUTURE_MS
from devices.registry import Registry
from simulators.faults import EFFECTS, Fault, FaultBook
from simulators.machine import Ints, Mask, Message, Reports, Rows

HOUR_MS = 3_600_000
_TS = re.compile(rb'"ts":(\d+)')


class Way:
    """The faults that befall reports on the way.

    Args:
        registry: who the devices are.
        book: faults; those with the effects ``silent`` and ``clock`` are looked at.
    """

    def __init__(self, registry: Registry, book: FaultBook) -> None:
        self._book, self._registry = book, registry
        self._silent = self._of("silent")
        self._wrong = self._of("clock")
        self._mute_ends, self._wrong_ends = _by_end(self._silent), _by_end(self._wrong)

    def _of(self, effect: str) -> list[tuple[Fault, Rows]]:
        faults = [fault for fault in self._book.faults.values() if EFFECTS[fault.kind] == effect]
        return [(fault, self._rows(fault)) for fault in faults]

    def _rows(self, fault: Fault) -> Rows:
        known = (self._registry.row.get(target) for target in fault.targets)
        return np.array([row for row in known if row is not None], dtype=np.intp)

    def heard(self, reports: Reports) -> Reports:
        """Return the reports of devices that are not silent."""
        if not self._silent or not len(reports.time_ms):
            return reports
        first, last = int(reports.time_ms.min()), int(reports.time_ms.max())
        keep: Mask | None = None
        for fault, rows in self._silent:
            if fault.on_ms > last or fault.off_ms <= first:
                continue
            during = (reports.time_ms >= fault.on_ms) & (reports.time_ms < fault.off_ms)
            unsent = during & np.isin(reports.devices, rows)
            if unsent.any():
                self._book.see(fault, int(reports.time_ms[unsent].min()))
                keep = ~unsent if keep is None else keep & ~unsent
        return reports if keep is None else reports.take(keep)

    def dated(self, batches: list[Batch]) -> list[Batch]:
        """Date readings by the clocks of their devices, and clamp what lies ahead, as the house does."""
        for fault, rows in self._wrong:
            for batch in batches:
                if not len(batch) or fault.on_ms > int(batch.sent_ms.max()) or fault.off_ms <= int(batch.sent_ms.min()):
                    continue
                during = (batch.time_ms >= fault.on_ms) & (batch.time_ms < fault.off_ms)
                wrong = np.flatnonzero(during & np.isin(batch.device, rows))
                if len(wrong):
                    self._book.see(fault, int(batch.time_ms[wrong].min()))
                    _date(batch, wrong, round(fault.magnitude * HOUR_MS))
        return batches

    def spoken(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Yield the messages of devices that are not silent, dated by their clocks."""
        mute, wrong = self._mute_ends, self._wrong_ends
        for message in messages:
            if not mute and not wrong:
                yield message
                continue
            end = message.topic[message.topic.rindex("/", 0, -3) :]
            if self._during(mute.get(end, ()), message.time_ms) is not None:
                continue
            fault = self._during(wrong.get(end, ()), message.time_ms)
            if fault is None:
                yield message
                continue
            yield message._replace(payload=_redated(message.payload, round(fault.magnitude * HOUR_MS)))

    def _during(self, faults: Iterable[Fault], time_ms: int) -> Fault | None:
        """Return the fault that holds at a time, and note that it was seen."""
        for fault in faults:
            if fault.on_ms <= time_ms < fault.off_ms:
                self._book.see(fault, time_ms)
                return fault
        return None


def _by_end(faults: list[tuple[Fault, Rows]]) -> dict[str, list[Fault]]:
    """Return faults by the end of the topic of each device that they befall."""
    found: dict[str, list[Fault]] = {}
    for fault, _ in faults:
        for target in fault.targets:
            found.setdefault(f"/{target}/up", []).append(fault)
    return found


def _redated(payload: bytes, ahead_ms: int) -> bytes:
    return _TS.sub(lambda ts: b'"ts":%d' % (int(ts[1]) + ahead_ms), payload)


def _date(batch: Batch, rows: Rows, ahead_ms: int) -> None:
    """Date some rows by a clock that is wrong; what other clocks have dated stays."""
    own: Ints = batch.time_ms[rows] + ahead_ms
    future = own > batch.arrival_ms + FUTURE_MS
    batch.sent_ms, batch.time_ms, batch.marks = batch.sent_ms.copy(), batch.time_ms.copy(), batch.marks.copy()
    batch.sent_ms[rows] = own
    batch.time_ms[rows] = np.where(future, batch.arrival_ms, own)
    batch.marks[rows[future]] |= MARK_FUTURE
