"""Plays a course through the real engine and its root-cause stage, and writes down what was said, when and of whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from alerts.causes_place_settings import SAME_PLACE
from alerts.engine import Engine
from alerts.fleet import Fleet
from alerts.rules import RuleSet
from devices.batch import Batch
from devices.incident import Decided, IncidentChange
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, Transition
from simulators.card.match import Said
from simulators.course import Course
from simulators.faults import NEVER_MS, Fault

DAY_MS = 86_400_000
AWAY_MS = 30 * 60_000  # a course that steps more coarsely than this has left time out
BRIEF = "brief"  # incidents that were over before anybody was told of them


@dataclass(slots=True)
class _Alert:
    """What is known of one alert so far."""

    begun: Transition
    told_ms: int
    until_ms: int = NEVER_MS
    incident: str = ""
    by: str = ""


class Stage(Protocol):
    """What comes after the engine: finds what explains which alerts."""

    def step(self, told: Sequence[Transition], fleet: Fleet, now_ms: int) -> Decided:
        """Gather what a step of the engine has said, and the passing of time."""


class Listener:
    """One set of rules that listens to a course.

    Args:
        rules: as loaded.
        registry, sky: the course's.
        stage: says which alerts explain which; None to take every alert as it comes.

    Attributes:
        notices: how many times people would have been told something.
    """

    def __init__(self, rules: RuleSet, registry: Registry, sky: Sky, stage: Stage | None = None) -> None:
        self._engine = Engine(rules, registry, sky, AWAY_MS)
        self._stage = stage
        self._alerts: dict[str, _Alert] = {}
        self._brief: set[str] = set()
        self._before_ms = -1
        self.notices = 0

    def step(self, batches: Sequence[Batch], now_ms: int) -> None:
        """Judge what has arrived and the passing of time."""
        told: Sequence[Transition] = self._engine.step(batches, now_ms)
        if self._stage is not None:
            decided = self._stage.step(told, self._engine.fleet, now_ms)
            told = decided.transitions
            for one in told:
                self._note(one, now_ms)
            for mark in decided.marks:
                if mark.alert_id in self._alerts:
                    self._alerts[mark.alert_id].by = mark.suppressed_by
                    self._alerts[mark.alert_id].incident = mark.incident
            for change in decided.incidents:
                self._hear(change)
        else:
            for one in told:
                self._note(one, now_ms)
                self.notices += one.state == ACTIVE
        self._before_ms = now_ms

    def _note(self, one: Transition, now_ms: int) -> None:
        if one.state == ACTIVE:
            # What was decided by readings of this step would have been decided as they came; the rest only now.
            told_ms = one.at_ms if one.at_ms >= self._before_ms else now_ms
            self._alerts[one.alert_id] = _Alert(one, min(told_ms, now_ms), NEVER_MS, one.incident, one.suppressed_by)
        elif one.alert_id in self._alerts:
            self._alerts[one.alert_id].until_ms = one.at_ms

    def _hear(self, change: IncidentChange) -> None:
        self.notices += change.notice is not None and change.notice.state == ACTIVE
        if change.reason == BRIEF:
            self._brief.add(change.id)

    def said(self) -> list[Said]:
        """Return every alert so far, in the order in which they were told."""
        found = [
            Said(
                one.begun.rule, one.begun.entity, one.begun.severity, one.begun.onset_ms, one.told_ms, one.until_ms,
                bool(one.by) or one.incident in self._brief, one.incident,
            )
            for one in self._alerts.values()
        ]  # fmt: skip
        return sorted(found, key=lambda one: (one.told_ms, one.rule, one.entity))

    def gathered(self) -> dict[str, set[str]]:
        """Return for each place that explained alerts the devices of those: a place has none of its own."""
        out: dict[str, set[str]] = {}
        for one in self._alerts.values():
            cause = self._alerts.get(one.by)
            if cause is not None and cause.begun.rule == SAME_PLACE:
                out.setdefault(cause.begun.entity, set()).add(one.begun.entity)
        return out


class Observed:
    """How long each device was heard: days of the course on which it reported at least once.

    Args:
        devices: how many rows the registry has.
        start_ms: when the course begins.

    Attributes:
        readings: how many there were.
    """

    def __init__(self, devices: int, start_ms: int) -> None:
        self._start_ms = start_ms
        self._last = np.full(devices, -1, dtype=np.int32)
        self._days: npt.NDArray[np.int32] = np.zeros(devices, dtype=np.int32)
        self.readings = 0

    def hear(self, batches: Sequence[Batch], now_ms: int) -> None:
        """Note who has reported by ``now_ms``; what was before the course begins does not count."""
        self.readings += sum(len(batch) for batch in batches)
        day = (now_ms - 1 - self._start_ms) // DAY_MS
        if day < 0:
            return
        for batch in batches:
            fresh = batch.device[self._last[batch.device] != day]
            if len(fresh):
                self._last[fresh] = day
                self._days[np.unique(fresh)] += 1

    def days(self, end_ms: int) -> npt.NDArray[np.float64]:
        """Return device-days by row; a course that ends within its last day counts as much of it as it played."""
        whole = max(0.0, (end_ms - self._start_ms) / DAY_MS)
        found: npt.NDArray[np.float64] = np.minimum(self._days, whole)
        return found


@dataclass(slots=True)
class Played:
    """What came of a course.

    Attributes:
        course: which.
        said: by name of the rule set what it said.
        notices: by name of the rule set how many times people were told.
        faults: the truth.
        device_days: (devices,) days observed, by registry row.
        readings: how many were judged.
        generating_s, judging_s: CPU seconds spent on making readings, and by each rule set on judging them.
        gathered: by name of the rule set the devices of what each place explained.
    """

    course: Course
    said: dict[str, list[Said]]
    notices: dict[str, int]
    faults: Sequence[Fault]
    device_days: npt.NDArray[np.float64]
    readings: int
    generating_s: float = 0.0
    judging_s: dict[str, float] = field(default_factory=dict)
    gathered: dict[str, dict[str, set[str]]] = field(default_factory=dict)


def gathered(steps: Iterable[tuple[int, list[Batch]]], stride_ms: int) -> Iterator[tuple[int, list[Batch]]]:
    """Yield steps of ``stride_ms`` at least, what came in between put together, one batch a kind.

    Rules reckon in the readings' own time, so what they say of readings stays the same; what they say of the passing
    of time comes up to a stride later. A pause of the course is not gathered over.
    """
    waiting: list[Batch] = []
    since_ms = last_ms = -1
    for now_ms, batches in steps:
        if last_ms > since_ms and now_ms - last_ms > stride_ms:
            yield last_ms, together(waiting, last_ms)
            waiting, since_ms = [], last_ms
        waiting += batches
        if since_ms < 0 or now_ms - since_ms >= stride_ms:
            yield now_ms, together(waiting, now_ms)
            waiting, since_ms = [], now_ms
        last_ms = now_ms
    if last_ms > since_ms:
        yield last_ms, together(waiting, last_ms)


def together(batches: Sequence[Batch], now_ms: int) -> list[Batch]:
    """Return batches put together, one a kind, those of a kind in their order, arrived at ``now_ms``."""
    out: list[Batch] = []
    for name in dict.fromkeys(batch.kind.name for batch in batches):
        mine = [batch for batch in batches if batch.kind.name == name]
        if len(mine) == 1:
            out.append(replace(mine[0], arrival_ms=now_ms))
            continue
        columns = [np.concatenate([getattr(one, part) for one in mine]) for part in ("time_ms", "device")]
        tables = [np.concatenate([getattr(one, part) for one in mine], axis=1) for part in ("values", "suspect")]
        rest = [np.concatenate([getattr(one, part) for one in mine]) for part in ("sent_ms", "marks")]
        out.append(Batch(mine[0].kind, now_ms, *columns, *tables, *rest))
    return out


def play(
    course: Course,
    listeners: Mapping[str, Listener],
    cpu_s: Callable[[], float],
    progress: Callable[[float], None] | None = None,
    stride_ms: int = 0,
) -> Played:
    """Play a course to its end, every listener hearing the same.

    Args:
        course: what happens.
        listeners: rule sets by name.
        cpu_s: CPU seconds of this process so far.
        stride_ms: the engine is called so often at most; 0 for as often as the course steps.
        progress: told now and then which share of the course has been played.
    """
    observed = Observed(len(course.registry), course.start_ms)
    spent = dict.fromkeys(listeners, 0.0)
    generating, length = 0.0, max(1, course.end_ms - course.start_ms)
    begun = cpu_s()
    for number, (now_ms, batches) in enumerate(gathered(course.steps(), stride_ms)):
        observed.hear(batches, now_ms)
        made = cpu_s()
        generating += made - begun
        begun = made
        for name, listener in listeners.items():
            listener.step(batches, now_ms)
            judged = cpu_s()
            spent[name] += judged - begun
            begun = judged
        if progress is not None and number % 64 == 0:
            progress(min(1.0, max(0.0, (now_ms - course.start_ms) / length)))
    return Played(
        course,
        {name: listener.said() for name, listener in listeners.items()},
        {name: listener.notices for name, listener in listeners.items()},
        course.truth(),
        observed.days(course.end_ms),
        observed.readings,
        generating,
        spent,
        {name: listener.gathered() for name, listener in listeners.items()},
    )
