"""Slow twins of rise, sequence, source silent and clock rules: one device, one reading, one look at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from simulators.oracle_route import Event


@dataclass
class RiseTwin:
    """A rise rule on one device."""

    by: float
    off_by: float
    within_ms: int
    samples: int
    for_ms: int
    keep_ms: int
    past: list[tuple[int, float]] = field(default_factory=list)
    active: bool = False
    since_ms: int | None = None
    count: int = 0
    back_ms: int | None = None
    onset_ms: int = 0

    def reading(self, time_ms: int, value: float) -> Event | None:
        """Take in one reading."""
        half = self.within_ms // 2
        self.past.append((time_ms // half, value))
        rise = value - min(one for part, one in self.past if time_ms // half - part <= 2)
        if not self.active:
            if not rise > self.by:
                self.since_ms, self.count = None, 0
                return None
            self.since_ms = time_ms if self.since_ms is None else self.since_ms
            self.count += 1
            if time_ms - self.since_ms >= self.for_ms and self.count >= self.samples:
                self.active, self.onset_ms, self.back_ms = True, self.since_ms, None
                self.since_ms, self.count = None, 0
                return Event(active=True, at_ms=time_ms, onset_ms=self.onset_ms)
            return None
        if rise > self.off_by:
            self.back_ms = None
            return None
        self.back_ms = time_ms if self.back_ms is None else self.back_ms
        if time_ms - self.back_ms >= self.keep_ms:
            self.active, self.back_ms = False, None
            return Event(active=False, at_ms=time_ms, onset_ms=self.onset_ms, reason="recovered")
        return None


@dataclass
class SequenceTwin:
    """A sequence rule on one device; the conditions are worked out by whoever asks."""

    within_ms: int
    silence_ms: int
    keep_ms: int
    first_ms: int | None = None
    heard_ms: int = 0
    active: bool = False
    onset_ms: int = 0
    back_ms: int | None = None

    def reading(self, time_ms: int, now_ms: int, *, first: bool, then: bool, off: bool) -> Event | None:
        """Take in one reading, which arrives at ``now_ms``."""
        if self.active:
            if not off:
                self.back_ms = None
                return None
            self.back_ms = time_ms if self.back_ms is None else self.back_ms
            if time_ms - self.back_ms < self.keep_ms:
                return None
            self.active, self.back_ms = False, None
            return Event(active=False, at_ms=time_ms, onset_ms=self.onset_ms, reason="recovered")
        if self.first_ms is not None and time_ms - self.first_ms > self.within_ms:
            self.first_ms = None
        if first and self.first_ms is None:
            self.first_ms = time_ms
        if self.first_ms is None:
            return None
        self.heard_ms = now_ms
        if not then:
            return None
        self.active, self.onset_ms, self.first_ms, self.back_ms = True, self.first_ms, None, None
        return Event(active=True, at_ms=time_ms, onset_ms=self.onset_ms)

    def tick(self, now_ms: int) -> Event | None:
        """Let time pass."""
        if self.first_ms is None or not self.silence_ms or now_ms - self.heard_ms < self.silence_ms:
            return None
        self.active, self.onset_ms, self.first_ms, self.back_ms = True, self.first_ms, None, None
        return Event(active=True, at_ms=now_ms, onset_ms=self.onset_ms)


@dataclass
class SourceTwin:
    """A source silent rule with one source, or with a larger one that is judged before smaller ones.

    Attributes:
        late_ms: by device, after how long it is silent.
        sources: by source its devices, the large before the small.
    """

    late_ms: Mapping[str, int]
    sources: Mapping[str, Sequence[str]]
    children: int
    share: float
    off_share: float
    horizon_ms: int
    for_ms: int
    keep_ms: int
    seen_ms: dict[str, int] = field(default_factory=dict)
    since_ms: dict[str, int] = field(default_factory=dict)
    back_ms: dict[str, int] = field(default_factory=dict)
    onset_ms: dict[str, int] = field(default_factory=dict)

    def tick(self, now_ms: int) -> list[tuple[str, Event]]:
        """Look at all sources."""
        out = []
        horizons = sorted({max(late, self.horizon_ms) for late in self.late_ms.values()})
        silent = {name for name, seen in self.seen_ms.items() if seen < now_ms - self.late_ms[name]}
        covered: set[str] = set()
        smaller = {
            source: {
                child
                for other in list(self.sources)[k + 1 :]
                if other in self.onset_ms
                for child in self.sources[other]
            }
            for k, source in enumerate(self.sources)
        }
        for source, members in self.sources.items():
            mine = [name for name in members if name in self.seen_ms and name not in covered | smaller[source]]
            bad, back = False, bool(mine)
            for horizon in horizons:
                asked = [name for name in mine if self.late_ms[name] <= horizon]
                hushed = [name for name in asked if name in silent]
                bad = bad or (len(asked) >= self.children and len(hushed) > self.share * len(asked))
                back = back and len(hushed) <= self.off_share * len(asked)
            if bad:
                begun = self.since_ms.setdefault(source, now_ms)
                if source not in self.onset_ms and now_ms - begun >= self.for_ms:
                    self.onset_ms[source] = max(self.seen_ms[name] for name in mine if name in silent)
                    out.append((source, Event(active=True, at_ms=now_ms, onset_ms=self.onset_ms[source])))
                    self.back_ms.pop(source, None)
                    covered.update(members)
                    continue
            else:
                self.since_ms.pop(source, None)
            if source in self.onset_ms and back:
                begun = self.back_ms.setdefault(source, now_ms)
                if now_ms - begun >= self.keep_ms:
                    onset = self.onset_ms.pop(source)
                    self.back_ms.pop(source)
                    out.append((source, Event(active=False, at_ms=now_ms, onset_ms=onset, reason="recovered")))
            else:
                self.back_ms.pop(source, None)
            if bad or source in self.onset_ms:
                covered.update(members)
        return out


@dataclass
class ClockTwin:
    """A clock rule on one device, step by step."""

    ahead_ms: int
    behind_ms: int
    messages: int
    wrong: int
    ahead_messages: int = 3
    past: list[bool] = field(default_factory=list)
    fore: list[bool] = field(default_factory=list)
    since_ms: int = 0
    onset_ms: int = 0
    active: bool = False

    def step(self, sent_ms: Sequence[int], now_ms: int) -> Event | None:
        """Take in what one step brings of the device: the times at which its readings were dated."""
        best = min((sent - now_ms for sent in sent_ms), key=abs)
        self.past = [*self.past, best > self.ahead_ms or -best > self.behind_ms][-self.messages :]
        self.fore = [*self.fore, best > self.ahead_ms][-self.ahead_messages :]
        odd = sum(self.past)
        if odd == 0:
            self.since_ms = 0
        elif self.since_ms == 0:
            self.since_ms = now_ms
        ahead = len(self.fore) == self.ahead_messages and all(self.fore)
        if not self.active and (odd >= self.wrong or ahead):
            self.active, self.onset_ms = True, self.since_ms
            return Event(active=True, at_ms=now_ms, onset_ms=self.onset_ms)
        if self.active and odd <= self.messages - self.wrong and not any(self.past[-self.ahead_messages :]):
            self.active = False
            return Event(active=False, at_ms=now_ms, onset_ms=self.onset_ms, reason="recovered")
        return None
