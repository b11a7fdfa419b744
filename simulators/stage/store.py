"""A staged store of readings: takes what it is given like a real one, or is away, slow, throttled or of two minds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from devices.batch import Batch
from devices.registry import Registry
from simulators.stage.dice import Dice, Trace
from simulators.stage.loop import VirtualLoop
from simulators.stage.workers import pause
from storage.timeseries import HEARD, MARKS, SENT_MS, History, OwnPoint, Refused, StoreAway, Written, moments_us

Point = dict[str, float]
Place = tuple[str, str, int]

STARTED_MS = 1_781_553_600_000  # its clock at virtual zero; any but 0, which would mean that it never forgets
MOODS = ("away", "slow", "answer lost", "half taken", "throttled", "asks too much")
UNWANTED = 13.0  # a field of this value makes the store refuse the reading, as a type conflict would
UNWANTED_FIELD = {"manhole": "battery_percent", "streetlight": "energy_kwh", "pump": "rain_mm", "truck": "fuel_percent"}


class StagedStore:
    """A TimeSeries in memory.

    Attributes:
        mood: empty, or one of MOODS.
        forgets_s: what it took in so many last seconds is gone when it is killed.
        forgotten: how many writes were.
        points: fields by kind, device and moment, epoch microseconds.
        writes: how often a reading was written to a place.
    """

    def __init__(self, loop: VirtualLoop, dice: Dice, trace: Trace) -> None:
        self._loop, self._dice, self._trace = loop, dice, trace
        self.mood = ""
        self.forgets_s = 0.0
        self.forgotten = 0
        self._started_s = -3600.0
        self._written: list[tuple[float, Place, Point | None]] = []  # when, where, and what stood there before
        self.points: dict[Place, Point] = {}
        self.writes: dict[Place, int] = {}
        self.own = 0

    def write(self, batches: Sequence[Batch], registry: Registry) -> Written:
        """Store readings, in the mood of the day."""
        mood = self.mood
        pause(self._dice.between(0.5, 8.0) if mood == "slow" else self._dice.lag_s())
        if mood == "away":
            raise StoreAway("the store does not answer")
        if mood in ("throttled", "asks too much"):
            asked_s = self._dice.between(0.5, 5.0) if mood == "throttled" else 1e9
            raise StoreAway("the store cannot just now (429)", min(asked_s, 8.0))
        rows = [(batch, place) for batch in batches for place in range(len(batch))]
        if mood == "half taken":
            rows = rows[: self._dice.whole(0, len(rows))]
        written = Written()
        for batch, place in rows:
            self._take(batch, place, registry, written)
        total = sum(written.rows.values())
        self._trace.note(f"store takes {total}, refuses {len(written.refused)}{', ' + mood if mood else ''}")
        pause(self._dice.lag_s())
        if mood in ("answer lost", "half taken"):
            raise StoreAway("the store's answer was lost")
        return written

    def _take(self, batch: Batch, place: int, registry: Registry, written: Written) -> None:
        kind, device = batch.kind.name, registry.assets[int(batch.device[place])].id
        values = batch.values[:, place].tolist()
        names = batch.kind.field_names()
        point = {name: value for name, value in zip(names, values, strict=True) if not math.isnan(value)}
        time_ms, sent_ms = int(batch.time_ms[place]), int(batch.sent_ms[place])
        if point.get(UNWANTED_FIELD.get(kind, "")) == UNWANTED:
            line = f"{kind} {device} {sent_ms}"
            written.refused.append(Refused(kind, device, "field type conflict", line))
            return
        if not point:
            point[HEARD] = 1.0
        if batch.marks[place]:
            point[MARKS] = float(batch.marks[place])
        if sent_ms != time_ms:
            point[SENT_MS] = float(sent_ms)
        where = (kind, device, int(moments_us(batch)[place]))
        before = self.points.get(where)
        self._written.append((self._loop.now_s, where, before))
        self.points[where] = {**(before or {}), **point}
        self.writes[where] = self.writes.get(where, 0) + 1
        written.rows[kind] = written.rows.get(kind, 0) + 1

    def write_own(self, points: Sequence[OwnPoint]) -> None:
        """Count the house's own points."""
        if self.mood:
            raise StoreAway("the store does not answer")
        self.own += len(points)

    def history(
        self, kind: str, device_id: str, fields: Sequence[str], from_ms: int, until_ms: int, points_max: int
    ) -> History:
        """Return readings of one device, the first ``points_max`` of them."""
        found = sorted(
            (time_us // 1000, point)
            for (a_kind, a_device, time_us), point in self.points.items()
            if (a_kind, a_device) == (kind, device_id) and from_ms * 1000 <= time_us < until_ms * 1000
        )[:points_max]
        values = {name: [point.get(name) for _, point in found] for name in fields}
        return History([time_ms for time_ms, _ in found], values)

    def last_time_ms(self, kind: str) -> int | None:
        """Return the newest reading's time."""
        return max((time_us // 1000 for a_kind, _, time_us in self.points if a_kind == kind), default=None)

    def check(self) -> str | None:
        """Return what is wrong, or None."""
        return self.mood or None

    def started_ms(self) -> int | None:
        """Return since when it runs."""
        pause(self._dice.lag_s())
        if self.mood == "away":
            raise StoreAway("the store does not answer")
        return STARTED_MS + round(self._started_s * 1000)

    def kill(self) -> None:
        """End the store at once; what it took last is forgotten, and it begins anew when its mood is well again."""
        self.mood, self._started_s = "away", self._loop.now_s
        while self._written and self._written[-1][0] > self._loop.now_s - self.forgets_s:
            _, where, before = self._written.pop()
            self.forgotten += 1
            if before is None:
                self.points.pop(where, None)
            else:
                self.points[where] = before
        self._trace.note(f"store killed, {self.forgotten} writes forgotten so far")

    def close(self) -> None:
        """Stay: the store is another machine."""
