"""The book of losses: what the broker could not keep for us, when, how much, and how that is known.

A broker may drop messages when its queue is full and forget a queue when it is killed; the device was told that all is
well. It is noticed by what the broker says of itself (``ingest/broker_says.py``), by a session that it does not know
any more, and by what is missing afterwards (``ingest/gaps.py``). ``losses.json`` in the data folder remembers across
restarts when the broker was last heard and what it had dropped by then, and the losses found.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import structlog
from mqtt5 import ConnAckPacket

from ingest.gaps import Absence, Gaps
from ingest.session import Session

log = structlog.get_logger("losses")

LOOK_S = 1.0  # how often it is looked at
SAVE_MS = 10_000  # how often the time at which the broker was last heard is written down
RISE_MS = 30_000  # a count of dropped messages that comes so soon after an absence belongs to it
RESTART_MS = 120_000  # the broker tells its uptime now and then, rounded; a start later than this is another one
ESTIMATE_MIN = 5  # reports missing by interval alone that are worth a word: fewer are the radio's own
INTERVALS = 2  # of the slowest device: when it has reported again, the count is complete
SETTLE_MIN_MS, SETTLE_MAX_MS = 60_000, 7_200_000
TOLD_MS = 3_600_000  # so long a loss makes the house unwell; its words stay
BEHIND = 0.25  # of the inbox: fuller means that the broker's queue for us may grow, and drop what is ours
KEPT = 100  # losses in the book


@dataclass(slots=True)
class Loss:
    """One stretch of time and what was lost in it; epoch milliseconds.

    Attributes:
        from_ms, until_ms: while the broker could not hand over, or while its count rose.
        forgotten: times that the broker had no queue of ours any more.
        restarted: times that the broker had been started anew, as far as it tells.
        dropped: messages that the broker says it dropped, of all its clients.
        counted, estimated: readings missing by the devices' counters, and reports missing by their intervals.
        devices: how many devices lack something.
        away: whether it was an absence; else the broker dropped while we were connected.
        behind: whether we did not keep up while the broker dropped.
        complete: nothing more is expected to be found.
    """

    from_ms: int
    until_ms: int
    forgotten: int = 0
    restarted: int = 0
    dropped: int = 0
    counted: int = 0
    estimated: int = 0
    devices: int = 0
    away: bool = True
    behind: bool = False
    complete: bool = False

    @property
    def missing(self) -> bool:
        """Whether readings are known or believed to be missing."""
        return bool(self.counted) or self.estimated >= ESTIMATE_MIN

    @property
    def worth_telling(self) -> bool:
        """Whether there is anything to say about it."""
        return self.missing or bool(self.forgotten or self.dropped)

    def grave(self, now_ms: int) -> bool:
        """Whether it makes the house unwell: something of ours is lost, or may be and is still being counted."""
        if not (self.away or self.behind) or now_ms - self.until_ms > TOLD_MS:
            return False
        return self.missing or (self.worth_telling and not self.complete) or self.behind

    def words(self, zone: tzinfo) -> str:
        """Return what happened, for an operator."""
        begin, end = (datetime.fromtimestamp(at / 1000, zone) for at in (self.from_ms, self.until_ms))
        said = []
        if self.forgotten:
            said.append("the broker had forgotten our queue")
        if self.restarted:
            said.append("it had been started anew")
        if self.dropped:
            said.append(f"it dropped {self.dropped:,} messages (of all its clients)")
        if self.counted:
            said.append(f"{self.counted:,} readings are missing by the devices' own counters")
        if self.estimated >= ESTIMATE_MIN:
            said.append(f"about {self.estimated:,} reports are missing by the devices' intervals")
        if self.devices and self.missing:
            said.append(f"{self.devices:,} devices concerned")
        elif self.complete and self.away:
            said.append("no reading is found missing")
        if not self.complete:
            said.append("still counting")
        where = f"away {begin:%m-%d %H:%M:%S} to {end:%H:%M:%S}" if self.away else f"until {end:%m-%d %H:%M:%S}"
        return f"{where}: {'; '.join(said)}"


class Losses:
    """Watches session and gaps, and keeps the book.

    Args:
        folder: the data folder.
        session, gaps: what is looked at.
        now_ms: the city's time, epoch milliseconds.
        speed: city seconds a host second; 1 except in a demo.

    Attributes:
        found: what was lost, oldest first; the last may still grow.
        dropped: messages that the broker dropped while or since we listened, of all its clients.
        forgotten, restarted: times that the broker had lost our queue, or had been started anew.
    """

    def __init__(self, folder: Path, session: Session, gaps: Gaps, now_ms: Callable[[], int], speed: float = 1) -> None:
        self.path = folder / "losses.json"
        self.session = session
        self.gaps = gaps
        self.speed = speed
        self._now_ms = now_ms
        self.found: list[Loss] = []
        self.dropped = self.forgotten = self.restarted = 0
        self._who = f"{session.options.host}:{session.options.port}/{session.options.client_id}"
        self._heard_ms: int | None = None
        self._count: int | None = None
        self._begun_ms: int | None = None
        self._uptime_s = 0
        self._back_ms = self._saved_ms = self._behind_ms = 0
        self._open: Loss | None = None
        self._load()
        session.on_welcome = self._back

    @property
    def settle_ms(self) -> int:
        """Return how long after an absence its count is complete: every device has reported again, if it does."""
        return min(max(INTERVALS * self.gaps.slowest_ms, SETTLE_MIN_MS), SETTLE_MAX_MS)

    def look(self) -> None:
        """Look at session and gaps; called every second on the event loop."""
        now_ms = self._now_ms()
        session = self.session
        if len(session.inbox) >= session.inbox.size * BEHIND:
            self._behind_ms = now_ms
        if session.connected:
            self._listen(now_ms)
            self._heard_ms = now_ms
        self._follow(now_ms)
        if now_ms - self._saved_ms >= SAVE_MS * self.speed:
            self.save()

    def save(self) -> None:
        """Write the book; a disk that refuses is told of elsewhere, and the next look tries again."""
        self._saved_ms = self._now_ms()
        held = {
            "heard_ms": self._heard_ms,
            "dropped": self._count,
            "begun_ms": self._begun_ms,
            "uptime_s": self._uptime_s,
        }
        text = json.dumps({"broker": self._who, **held, "found": [asdict(one) for one in self.found]}, indent=1)
        draft = self.path.with_suffix(".draft")
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(self.path)
        except OSError:
            draft.unlink(missing_ok=True)

    def _load(self) -> None:
        try:
            book: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
            self.found = [Loss(**one) for one in book["found"]]
            if book["broker"] == self._who:
                self._heard_ms, self._count = book["heard_ms"], book["dropped"]
                self._begun_ms, self._uptime_s = book["begun_ms"], book["uptime_s"]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as trouble:
            log.warning("the book of losses cannot be read: it begins anew", why=str(trouble))
            self.found = []
        self._open = next((one for one in self.found if one.away and not one.complete), None)

    # An absence, and what came of it.

    def _back(self, welcome: ConnAckPacket) -> None:
        """Note an absence, ahead of the first message after it: since the broker was last heard until now."""
        self._back_ms = now_ms = self._now_ms()
        if self._heard_ms is None:
            return
        heard_ms = min(self._heard_ms, now_ms)
        if self._open is None:
            self._open = Loss(heard_ms, now_ms)
            self._add(self._open)
        self._open.until_ms = now_ms
        self._count_for(self._open)
        if not welcome.session_present:
            self.forgotten += 1
            self._open.forgotten += 1
            log.warning(
                "the broker has no queue of ours any more: what it held for us is lost",
                away_s=(now_ms - heard_ms) // 1000,
            )
        self.save()

    def _follow(self, now_ms: int) -> None:
        """Keep the open loss in step with what is found missing; end it when no more is expected."""
        loss = self._open
        if loss is None:
            if self.gaps.absence is not None:
                self.gaps.settle()  # a snapshot remembered one that has ended since
            return
        absence = self._count_for(loss)
        loss.counted, loss.estimated, loss.devices = absence.counted, absence.estimated, absence.devices
        if now_ms - loss.until_ms >= self.settle_ms:
            loss.complete = True
            self.gaps.settle()
            self._open = None
            if loss.worth_telling:
                log.warning("readings were lost while the broker could not hand over", **asdict(loss))
            else:
                self.found.remove(loss)
            self.save()

    def _count_for(self, loss: Loss) -> Absence:
        """Let the gaps count for this loss, from what is known of it; a snapshot may know more, or of another."""
        known = self.gaps.absence
        if known is not None and known.from_ms != loss.from_ms:
            self.gaps.settle()
            known = None
        absence = self.gaps.away(loss.from_ms, loss.until_ms)
        if known is None:
            absence.counted, absence.estimated, absence.devices = loss.counted, loss.estimated, loss.devices
        return absence

    # What the broker says.

    def _listen(self, now_ms: int) -> None:
        says = self.session.says
        again = False
        if says.uptime_s is not None:
            again = self._began_anew(says.uptime_s, now_ms)
            says.uptime_s = None
        if says.dropped is None:
            return
        before = self._count
        self._count = says.dropped
        if before is not None:
            rise = says.dropped if again or says.dropped < before else says.dropped - before
            if rise:
                self._dropped(rise, now_ms)

    def _began_anew(self, uptime_s: int, now_ms: int) -> bool:
        """Note how long the broker has been running; say whether it was started since the last time."""
        begun_ms = now_ms - round(uptime_s * 1000 * self.speed)
        known = self._begun_ms
        again = known is not None and (uptime_s < self._uptime_s or begun_ms - known > RESTART_MS * self.speed)
        if known is None or again:
            self._begun_ms = begun_ms
        self._uptime_s = uptime_s
        if again:
            self.restarted += 1
            if self._open is not None:
                self._open.restarted += 1
        return again

    def _dropped(self, rise: int, now_ms: int) -> None:
        self.dropped += rise
        loss = self._open if self._open is not None and now_ms - self._back_ms <= RISE_MS * self.speed else None
        if loss is None:
            last = self.found[-1] if self.found else None
            loss = last if last is not None and not last.away and now_ms - last.until_ms < self.settle_ms else None
        if loss is None:
            loss = Loss(self._heard_ms or now_ms, now_ms, away=False, complete=True)
            self._add(loss)
        if not loss.away:
            loss.until_ms = now_ms
            loss.behind |= now_ms - self._behind_ms <= RISE_MS * self.speed
        loss.dropped += rise
        log.warning("the broker dropped messages, of all its clients", messages=rise, while_we_were_away=loss.away)
        self.save()

    def _add(self, loss: Loss) -> None:
        self.found = [*self.found[1 - KEPT :], loss]
