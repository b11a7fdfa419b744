"""What every store of readings can do; InfluxDB and SQLite stand behind this one face."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from devices.batch import MARK_FUTURE, Batch
from devices.registry import Registry

# Fields that a store adds to a reading beside those of its kind, where there is something to say.
HEARD = "heard"  # 1: the reading carried no value at all
SUSPECT = "suspect"  # how many of its values lie outside their physical range
MARKS = "marks"  # MARK_ bits of devices.batch: late, clamped from the future
SENT_MS = "sent_ms"  # device time as sent, where it was clamped


def moments_us(batch: Batch) -> npt.NDArray[np.int64]:
    """Return (n,) the moments at which a store keeps readings, epoch microseconds.

    A reading that was dated ahead, and so is judged as of its arrival, lies a part of a millisecond behind it: where no
    reading that is dated rightly can be, whenever that one comes, nor another that was sent at another time.
    """
    ahead = (batch.marks & MARK_FUTURE) != 0
    found: npt.NDArray[np.int64] = batch.time_ms * 1000
    if ahead.any():
        found += np.where(ahead, 1 + batch.sent_ms % 999, 0)
    return found


class StoreAway(RuntimeError):  # noqa: N818 - a state of the world, not a mistake
    """The store cannot take readings now; they stay in the journal.

    Attributes:
        retry_after_s: what the store asked to be waited, 0 where it did not say.
        needs_person: True where waiting alone will not help (wrong token, no such database).
    """

    def __init__(self, reason: str, retry_after_s: float = 0.0, *, needs_person: bool = False) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.needs_person = needs_person


class Refused(NamedTuple):
    """One reading that a store will never take, with its reason.

    Attributes:
        kind: kind name.
        device_id: whose reading it is.
        reason: as the store said it.
        line: the reading as it was sent.
    """

    kind: str
    device_id: str
    reason: str
    line: str


@dataclass(slots=True)
class Written:
    """What a store did with batches: every reading is either among ``rows`` or in ``refused``.

    Attributes:
        rows: readings taken, by kind name.
        refused: readings that it will never take.
    """

    rows: dict[str, int] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class OwnPoint:
    """One point of Lamplighter's own series (``lighting_rate``, ``alert``, ``ledger``, ``house``).

    Attributes:
        measurement: name of the series.
        tags: what it is about; empty values are left out.
        fields: numbers; those that are not finite are left out.
        time_ms: epoch milliseconds.
    """

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, float]
    time_ms: int

    def finite(self) -> dict[str, float]:
        """Return the fields that are numbers."""
        return {name: float(value) for name, value in self.fields.items() if math.isfinite(value)}


@dataclass(slots=True)
class History:
    """Readings of one device over time.

    Attributes:
        time_ms: epoch milliseconds, ascending; beginnings of the intervals where readings were thinned.
        values: by field name, as long as ``time_ms``; None where absent.
    """

    time_ms: list[int]
    values: dict[str, list[float | None]]


class TimeSeries(Protocol):
    """A store of readings. Blocking: called from worker threads, several at once.

    All methods raise StoreAway for anything that may be well again later.
    """

    def write(self, batches: Sequence[Batch], registry: Registry) -> Written:
        """Store readings; writing the same ones again changes nothing, fields of one device and time are merged."""

    def write_own(self, points: Sequence[OwnPoint]) -> None:
        """Store points of Lamplighter's own series."""

    def history(
        self, kind: str, device_id: str, fields: Sequence[str], from_ms: int, until_ms: int, points_max: int
    ) -> History:
        """Return readings of one device with from_ms <= time < until_ms, thinned to ``points_max`` or fewer.

        Thinned numbers are means of an interval, states the highest, codes the last.
        """

    def last_time_ms(self, kind: str) -> int | None:
        """Return the time of the newest reading of a kind, None where there is none."""

    def check(self) -> str | None:
        """Return what is wrong with the store and what to do about it, or None."""

    def started_ms(self) -> int | None:
        """Return since when the store runs, epoch milliseconds by its own clock; None where it does not tell.

        One that says yes only when a reading is safe may return 0: it never forgets.
        """

    def close(self) -> None:
        """Let go of files and connections."""


def interval_ms(from_ms: int, until_ms: int, points_max: int) -> int:
    """Return the length of the intervals that readings are thinned to, whole seconds where they are that long.

    One interval is left in reserve, for intervals are aligned to the epoch and not to ``from_ms``.
    """
    bare = math.ceil((until_ms - from_ms) / max(1, points_max - 1))
    return max(1, bare if bare < 1000 else math.ceil(bare / 1000) * 1000)
