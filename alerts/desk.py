"""A desk for each kind of facility: readings come in, are put in order, and are handed to whoever judges them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from alerts.bank import Bank
from alerts.columns import BatchColumns
from alerts.expression import ExpressionJudge
from alerts.fleet import Fleet
from alerts.judge import Clock, Ear, Judge, Reader
from alerts.turns import begins
from devices.batch import MARK_FUTURE, MARK_LATE, Batch
from devices.kinds import Kind
from devices.registry import Registry
from devices.transition import Transition

Places = npt.NDArray[np.intp]

PART = 16_384  # readings judged in one go: more would not stay in the processor's cache


class Desk:
    """Everybody who judges the readings of one kind.

    Attributes:
        clocks: those who judge the passing of time too.
        bank: the expression rules, None where there are none.
    """

    def __init__(self, kind: Kind, judges: Sequence[Judge], registry: Registry) -> None:
        mine = [judge for judge in judges if kind.name in judge.kinds]
        plain: list[ExpressionJudge] = [judge for judge in mine if isinstance(judge, ExpressionJudge)]
        others = [judge for judge in mine if isinstance(judge, Reader)]
        self.bank = Bank(kind, plain, registry) if plain else None
        self._ears = [judge for judge in mine if isinstance(judge, Ear)]
        self.clocks: list[Clock] = [*([self.bank] if self.bank is not None else []), *others, *self._ears]
        self._readers = others

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:
        """Judge a batch: what is late, or no newer than its device's reading before, is heard and not judged."""
        for ear in self._ears:
            ear.hear(batch, now_ms)
        if len(batch) <= PART:
            return self._part(fleet, batch, now_ms)
        cuts = [slice(first, first + PART) for first in range(0, len(batch), PART)]
        return [told for cut in cuts for told in self._part(fleet, _slice(batch, cut), now_ms)]

    def _part(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:
        live = fleet.live[batch.kind.name]
        at = live.local.take(batch.device).astype(np.intp)
        before = live.time_ms[at]
        newer = batch.time_ms > before
        if np.count_nonzero(batch.marks):
            newer |= (batch.marks & MARK_FUTURE) != 0  # judged as of its arrival, whatever the device said before
            newer &= (batch.marks & MARK_LATE) == 0
        if np.count_nonzero(newer) < len(at):
            live.seen_ms[at] = now_ms
            here = newer.nonzero()[0]
            if not len(here):
                return []
            batch, at, before = batch.take(here), at[here], before[here]
        live.hear(at, batch.time_ms, now_ms)  # of several readings of one device the last stays
        if np.count_nonzero(live.mark[at] == np.arange(len(at))) == len(at):
            return self._judge(fleet, BatchColumns(fleet, batch, at), now_ms)
        live.time_ms[at] = before
        rows, turn, group = in_turn(at, batch.time_ms)
        if len(rows) < len(at):
            batch, at = batch.take(rows), at[rows]
        live.time_ms[at] = batch.time_ms
        return self._judge(fleet, BatchColumns(fleet, batch, at, turn, group), now_ms)

    def _judge(self, fleet: Fleet, columns: BatchColumns, now_ms: int) -> list[Transition]:
        """Judge readings, each device's in order; the columns are the same for everybody."""
        fleet.about(columns.batch)[BatchColumns] = columns
        out = self.bank.readings(columns, now_ms) if self.bank is not None else []
        columns.live.update(columns.at, columns.trusted, columns.absent, columns.partial)
        for judge in self._readers:
            out += judge.readings(fleet, columns.batch, now_ms)
        return out


def _slice(batch: Batch, cut: slice) -> Batch:
    """Return consecutive readings without copying them."""
    columns = (batch.time_ms[cut], batch.device[cut], batch.values[:, cut], batch.suspect[:, cut])
    return Batch(batch.kind, batch.arrival_ms, *columns, batch.sent_ms[cut], batch.marks[cut])


def in_turn(at: Places, time_ms: npt.NDArray[np.int64]) -> tuple[Places, Places, Places]:
    """Return which readings are newer than all before them of the same device, and how they follow each other.

    Args:
        at: (n,) place of each reading's device.
        time_ms: (n,) device time, newer than what is known of the device.

    Returns:
        Their rows in order of arrival, (k,); how many of the same device stand before each, (k,); and a number for
        its device, (k,).
    """
    order = np.argsort(at, kind="stable")
    newer = begins(at[order])
    device = np.cumsum(newer) - 1
    rank = np.unique(time_ms, return_inverse=True)[1][order]
    height = device * len(at) + rank  # later devices stand above earlier ones whatever the time
    newer[1:] |= height[1:] > np.maximum.accumulate(height)[:-1]
    order, device = order[newer], device[newer]
    first = begins(device).nonzero()[0]
    turn = np.arange(len(order)) - np.repeat(first, np.diff(first, append=len(order)))
    back = np.argsort(order)
    return order[back], turn[back], device[back]
