"""What operators have agreed on: who is told when, how a flood is gathered, how long anything may be shelved.

Nothing of it enters the engine: the engine says what is so, and the policy decides what a person is told of it. The
figures are those of docs/alerts.md, which names their sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from alerts.roster import Team
from devices.transition import SEVERITIES

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
SILENCE, MAINTENANCE = "silence", "maintenance"
SILENCED, OUT_OF_SERVICE, FLAPPING, SHELVED = "silenced", "out_of_service", "flapping", "shelved"
WARNINGS = ("none", "blue", "yellow", "orange", "red")  # levels of a weather warning, mildest first
GATHERED = ("minor", "info")


@dataclass(frozen=True, slots=True)
class Flood:
    """When notices count as a flood, for each receiver (EEMUA 191: ten in ten minutes, over below five).

    Attributes:
        starts, ends: alarms within ``within_ms`` from which on, and below which, it is one.
        within_ms: the window, and the time between two summaries.
        gather: severities that are gathered into summaries meanwhile.
        on: False tells everything one by one, always.
    """

    starts: int = 10
    ends: int = 5
    within_ms: int = 10 * MINUTE_MS
    gather: tuple[str, ...] = GATHERED
    on: bool = True


@dataclass(frozen=True, slots=True)
class Flapping:
    """When an alert comes and goes too often to be told each time (Nagios: 21 states, newer changes weigh more).

    Attributes:
        slot_ms: length of one of the 20 slots that are looked at.
        high, low: per cent of weighed change above which it begins, and below which it ends.
        on: False never holds anything back for it.
    """

    slot_ms: int = 3 * MINUTE_MS
    high: float = 30.0
    low: float = 20.0
    on: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """Whom to tell when an alert has not been acknowledged for so long.

    Attributes:
        after_ms: since somebody was first told.
        to: name of a receiver of the settings.
    """

    after_ms: int
    to: str


@dataclass(frozen=True, slots=True)
class Shelving:
    """How long an alert may be put aside, and by whom for longer."""

    longest_ms: int = 8 * HOUR_MS
    supervisors: tuple[str, ...] = ()
    supervisors_longest_ms: int = 24 * HOUR_MS

    def allowed_ms(self, who: str) -> int:
        """Return how long this person may shelve, milliseconds."""
        return self.supervisors_longest_ms if who in self.supervisors else self.longest_ms


@dataclass(frozen=True, slots=True)
class Profile:
    """When the rules' overrides of one name hold: on some days of the year, or from a warning level on.

    Attributes:
        name: as rules call it under ``profiles``.
        days: (month, day) of the first and the last day, over the new year where the last is the earlier; None for no
            days of its own.
        warning: the mildest warning level that switches it on; empty for none.
        min_severity: by receiver, the least severity that it wants meanwhile.
    """

    name: str
    days: tuple[tuple[int, int], tuple[int, int]] | None = None
    warning: str = ""
    min_severity: Mapping[str, str] = field(default_factory=dict)

    def holds(self, month_day: tuple[int, int], warning: str) -> bool:
        """Return whether it is on, on a day of the local calendar and at a warning level."""
        if self.warning and WARNINGS.index(warning) >= WARNINGS.index(self.warning):
            return True
        if self.days is None:
            return False
        first, last = self.days
        return first <= month_day <= last if first <= last else month_day >= first or month_day <= last


@dataclass(frozen=True, slots=True)
class Policy:
    """All of it, as read from one file.

    Attributes:
        teams: who is on duty when, by team.
        escalation: by severity, the steps in their order.
        again_ms: by severity, after how long an open alert is told again; none for never.
        flood, flapping, shelving: see there.
        profiles: by name.
        alertmanager_repeat_ms: how often open alerts are told to an Alertmanager again.
        source: the file's text.
    """

    teams: Mapping[str, Team] = field(default_factory=dict)
    escalation: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)
    again_ms: Mapping[str, int] = field(default_factory=lambda: {"critical": HOUR_MS})
    flood: Flood = Flood()
    flapping: Flapping = Flapping()
    shelving: Shelving = Shelving()
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    alertmanager_repeat_ms: int = MINUTE_MS
    source: str = ""

    def people(self) -> set[str]:
        """Return the names of all receivers that the policy speaks of."""
        found = {step.to for steps in self.escalation.values() for step in steps}
        for team in self.teams.values():
            found |= team.people()
        for profile in self.profiles.values():
            found |= set(profile.min_severity)
        return found


@dataclass(frozen=True, slots=True)
class Target:
    """A receiver of the settings, as far as the policy needs it.

    Attributes:
        name: of the receiver.
        team: whose people on duty stand for it; empty for itself.
        summary_ms: it wants a summary so often instead of single notices; 0 for single notices.
        min_severity: the least severity that it wants.
        program: no person but a program, which is told everything one by one.
    """

    name: str
    team: str = ""
    summary_ms: int = 0
    min_severity: str = SEVERITIES[-1]
    program: bool = False
