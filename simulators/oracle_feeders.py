"""Slow twins of what cabinets and lamps are held against: their hours, lamps, neighbours, their own past nights.

One look, one lamp, one reading at a time, in plain ifs (alerts/schedule.py, alerts/loop.py, alerts/deviation.py,
alerts/cycling.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from alerts.cycling import COUNTER_MOST
from alerts.cycling import Params as CycleParams
from alerts.deviation import Params as DeviationParams
from alerts.loop import Params as LoopParams
from alerts.schedule import Params as ScheduleParams
from simulators.oracle_lighting import StandingTwin, UsualTwin
from simulators.oracle_route import Event


@dataclass
class LampSeen:
    """What was last heard of a lamp; NaN for what it never said.

    Attributes:
        rated_w: its rated power.
        seen_ms, time_ms: host time at which it was heard last, None before, and the time of that reading.
    """

    rated_w: float
    seen_ms: int | None = None
    time_ms: int = 0
    power_w: float = math.nan
    command: float = math.nan


@dataclass
class BoxSeen:
    """What was last heard of a cabinet; NaN for what it never said."""

    seen_ms: int | None = None
    contactor: float = math.nan
    feeder_w: float = math.nan


@dataclass(frozen=True, slots=True)
class Hours:
    """Where a moment lies in the lighting hours, all in milliseconds.

    Attributes:
        began, ended: the night that is now, or the last one.
        next_began: the begin of the night that is now, or of the next one.
        sun_deg: the sun's altitude.
    """

    began: int
    ended: int
    next_began: int
    sun_deg: float


def heard(seen_ms: int | None, now_ms: int, fresh_ms: int) -> bool:
    """Say whether something was heard so recently that it stands."""
    return seen_ms is not None and now_ms - seen_ms < fresh_ms


@dataclass
class ScheduleTwin:
    """The contactor of one cabinet against the lighting hours."""

    p: ScheduleParams
    standing: StandingTwin
    box_fresh_ms: int
    lamp_fresh_ms: int
    closed_ms: int = 0  # seen closed last
    open_ms: int = 0  # seen open last
    shut_ms: int = 0  # at first sight of its being closed, the last time

    def contactor(self, box: BoxSeen, now_ms: int) -> bool | None:
        """Note whether the contactor is closed; None where that is not known."""
        if not heard(box.seen_ms, now_ms, self.box_fresh_ms) or math.isnan(box.contactor):
            return None
        if box.contactor == 1.0:
            if self.open_ms >= self.closed_ms:
                self.shut_ms = now_ms
            self.closed_ms = now_ms
            return True
        self.open_ms = now_ms
        return False

    def look(
        self, now_ms: int, h: Hours, lamps: Sequence[LampSeen], *, closed: bool | None, others: Sequence[bool | None]
    ) -> Event | None:
        """Take in one look.

        Args:
            closed: what :meth:`contactor` said.
            others: the same of the city's other cabinets.
            lamps: those of this cabinet.
            now_ms: host time.
            h: where that lies in the night.
        """
        wrong = self._wrong(now_ms, h, others, closed=closed, called=self._called(lamps, now_ms))
        bad = any(name in self.p.watch for name in wrong)
        good = closed is not None and not bad
        if "day_burn" in self.p.watch and good:
            good = closed is False and not h.began <= now_ms < h.ended
        return self.standing.look(now_ms, bad=bad, good=good)

    def _called(self, lamps: Sequence[LampSeen], now_ms: int) -> bool | None:
        """Say whether the lamps say that they are commanded on; None where none is heard."""
        told = [
            one.command > 0
            for one in lamps
            if heard(one.seen_ms, now_ms, self.lamp_fresh_ms) and not math.isnan(one.command)
        ]
        return sum(told) >= self.p.share * len(told) if told else None

    def _wrong(
        self, now_ms: int, h: Hours, others: Sequence[bool | None], *, closed: bool | None, called: bool | None
    ) -> set[str]:
        p, wrong = self.p, set[str]()
        if closed is None:
            return wrong
        if h.began <= now_ms < h.ended:
            if not closed and now_ms - h.began > p.late_on_ms:
                if self.closed_ms < h.began and called is not True:
                    wrong.add("late_on")
                if self.closed_ms >= h.began and called is False and h.ended - now_ms > p.early_off_ms:
                    wrong.add("early_off")
            return wrong
        if not closed:
            return wrong
        off_for = now_ms - h.ended
        if called is not False and off_for > p.late_off_ms and self.open_ms < h.ended:
            wrong.add("late_off")
        if called is not True and off_for > p.late_off_ms // 2 and h.sun_deg > p.sun_deg:
            wrong.add("day_burn")
        if called is not False and self.open_ms >= h.ended and self._early(others, now_ms, h):
            wrong.add("early_on")
        return wrong

    def _early(self, others: Sequence[bool | None], now_ms: int, h: Hours) -> bool:
        """Say whether this cabinet alone was switched on long before its time, and that is near now."""
        known = [one for one in others if one is not None]
        if 2 * sum(known) >= max(len(known), 1):
            return False
        near = now_ms < h.next_began <= now_ms + self.p.early_on_ms
        return near and h.next_began - self.shut_ms > self.p.early_on_ms


@dataclass
class LoopTwin:
    """One feeder against its lamps."""

    p: LoopParams
    standing: StandingTwin
    usual: UsualTwin
    box_fresh_ms: int
    lamp_fresh_ms: int

    def look(
        self, box: BoxSeen, lamps: Sequence[LampSeen], now_ms: int, night: int, on_for_ms: int, off_for_ms: int
    ) -> Event | None:  # fmt: skip
        """Take in one look.

        Args:
            box, lamps: as last heard.
            now_ms: host time.
            night: number of the night, noon to noon.
            on_for_ms, off_for_ms: since the last switch, -1 in the other half of the day.
        """
        p, bad, good = self.p, False, False
        known = heard(box.seen_ms, now_ms, self.box_fresh_ms) and not math.isnan(box.feeder_w)
        due_w, called = self._due(lamps, now_ms, on_for_ms)
        if known and on_for_ms >= p.settle_ms and called >= p.level_least and box.contactor != 0.0 and due_w > 0:
            usual, ratio = self.usual.turn(night), box.feeder_w / due_w
            if usual is not None:
                share = ratio / usual - 1.0
                bad, good = share < -p.low or share > p.high, abs(share) < p.off
            if not self.standing.active and (usual is None or good):
                self.usual.learn(ratio)
        elif known and off_for_ms >= 2 * p.settle_ms and box.contactor != 1.0:
            bad = box.feeder_w > p.day_share * sum(one.rated_w for one in lamps)
        return self.standing.look(now_ms, bad=bad, good=good)

    def _due(self, lamps: Sequence[LampSeen], now_ms: int, on_for_ms: int) -> tuple[float, float]:
        """Return what the lamps should draw, watts, and the level that they are commanded to on average, per cent."""
        known = [heard(one.seen_ms, now_ms, self.lamp_fresh_ms) and now_ms - one.time_ms <= on_for_ms for one in lamps]
        level = [100.0 if math.isnan(one.command) else one.command for one in lamps]
        told = [one for one, there in zip(level, known, strict=True) if there]
        called = sum(told) / len(told) if told else 100.0
        due = 0.0
        for lamp, its, there in zip(lamps, level, known, strict=True):
            should = lamp.rated_w * (its if there else called) / 100.0
            if not (there and lamp.power_w < 0.3 * should):  # one that says itself that it is out draws nothing
                due += should
        return due, called


@dataclass
class DeviationTwin:
    """One device against its own past nights, reading by reading; what is not judged at all is left to the caller."""

    p: DeviationParams
    for_ms: int
    keep_ms: int
    hold_ms: int
    usual: dict[int, UsualTwin] = field(default_factory=dict)
    phase: str = "rest"
    since_ms: int = 0
    shown: int = 0
    back_ms: int | None = None
    last_ms: int = 0

    def reading(self, time_ms: int, night: int, value: float, level: float = 100.0) -> Event | None:
        """Take in a reading; of level counts the tenth of per cent in which it lies."""
        p = self.p
        tenth = min(int((level - p.level_least) // 10), 3) if p.level is not None else 0
        past = self.usual.setdefault(tenth, UsualTwin(p.nights, p.nights_min, p.readings_min))
        usual = past.turn(night)
        bad = good = False
        if usual is not None:
            apart = abs(value - usual) >= p.least
            bad = apart and (
                (p.low is not None and value < (1 - p.low) * usual)
                or (p.high is not None and value > (1 + p.high) * usual)
            )
            good = not bad
            good = good and (p.low is None or value > (1 - p.off) * usual)
            good = good and (p.high is None or value < (1 + p.off) * usual)
        event = self._stand(time_ms, bad=bad, good=good)
        if self.phase == "rest" and (usual is None or good):
            past.learn(value)
        return event

    def _stand(self, time_ms: int, *, bad: bool, good: bool) -> Event | None:
        gap, self.last_ms = time_ms - self.last_ms > self.hold_ms, time_ms
        if self.phase == "waiting" and (good or gap):
            self.phase = "rest"
        if self.phase == "alert":
            if not good:
                self.back_ms = None
                return None
            if self.back_ms is None or gap:
                self.back_ms = time_ms
            if time_ms - self.back_ms < self.keep_ms:
                return None
            self.phase = "rest"
            return Event(active=False, at_ms=time_ms, onset_ms=self.since_ms, reason="recovered")
        if not bad:
            return None
        if self.phase == "rest":
            self.phase, self.since_ms, self.shown = "waiting", time_ms, 0
        self.shown += 1
        if time_ms - self.since_ms < self.for_ms or self.shown < self.p.samples:
            return None
        self.phase, self.back_ms = "alert", None
        return Event(active=True, at_ms=time_ms, onset_ms=self.since_ms)


@dataclass
class CycleTwin:
    """How often one lamp goes on and off, reading by reading; neighbours are asked about when a step ends.

    Attributes:
        slots: into how many the window is cut; it is kept to one of them.
        counts: time and changes of each reading.
    """

    p: CycleParams
    for_ms: int
    hold_ms: int
    slots: int
    counts: list[tuple[int, float]] = field(default_factory=list)
    last_ms: int | None = None
    side: str = ""
    count: float = math.nan
    calm_ms: int = 0
    phase: str = "rest"
    since_ms: int = 0
    heard: bool = False

    def reading(self, time_ms: int, value: float, count: float, *, held: bool) -> None:
        """Take in a reading; changes are counted from the one before, if that counted too and is not long ago."""
        self.heard = False
        if not held or math.isnan(value):
            self.last_ms, self.side, self.count = None, "", math.nan
            return
        side = "low" if value < self.p.low else "high" if value > self.p.high else self.side
        changes = 0.0
        if self.last_ms is not None and time_ms - self.last_ms <= self.hold_ms:
            rise = count - self.count
            changes = rise * self.p.per_rise if 0 < rise <= COUNTER_MOST else 0.0
            if self.side and side != self.side:
                changes = max(changes, 1.0)
            self.calm_ms = 0 if changes > 0 else self.calm_ms + time_ms - self.last_ms
        self.counts.append((time_ms, changes))
        self.last_ms, self.side, self.count, self.heard = time_ms, side, count, True

    def within(self, now_ms: int) -> float:
        """Return the changes within the window before ``now_ms``, and since."""
        slot_ms = self.p.within_ms // self.slots
        return sum(changes for time_ms, changes in self.counts if time_ms // slot_ms >= now_ms // slot_ms - self.slots)

    def end_of_step(self, neighbours: Sequence[CycleTwin]) -> Event | None:
        """Decide, once all of the step's readings are in."""
        now_ms, heard, self.heard = self.last_ms, self.heard, False
        if now_ms is None or not heard:
            return None
        changes = self.within(now_ms)
        if self.phase == "alert":
            if self.calm_ms < self.p.quiet_ms:
                return None
            self.phase = "rest"
            return Event(active=False, at_ms=now_ms, onset_ms=self.since_ms)
        beside = median(one.within(now_ms) for one in neighbours) if neighbours else 0.0
        if changes < self.p.changes or beside > self.p.neighbours_most:
            self.phase = "rest"
            return None
        if self.phase == "rest":
            self.phase, self.since_ms = "waiting", now_ms
        if now_ms - self.since_ms < self.for_ms:
            return None
        self.phase = "alert"
        return Event(active=True, at_ms=now_ms, onset_ms=self.since_ms)
