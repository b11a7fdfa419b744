"""When people are told of an incident: opened after a wait, grown, worse, still there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alerts import incident_words as words
from alerts.fleet import NEVER_AGAIN
from alerts.incident_state import Agenda, Incident, Member, Memory, Step
from devices.transition import SEVERITIES

GRAVE = SEVERITIES[:2]  # told again while they last
GROWN_LEAST = 3  # devices more than were told, before an incident has grown


@dataclass(frozen=True, slots=True)
class Timing:
    """When people are told, milliseconds of host time.

    Attributes:
        wait_ms: what may have a cause waits so long for it, and for others like it.
        critical_wait_ms: so long waits what is critical.
        interval_ms: at least so long between two notices of one incident, unless it becomes critical.
        repeat_ms: a major or critical one that lasts and that nobody took on is told again after so long; 0 for never.
        grown: it has grown when it concerns so many times the devices that were told.
    """

    wait_ms: int = 180_000
    critical_wait_ms: int = 0
    interval_ms: int = 300_000
    repeat_ms: int = 4 * 3_600_000
    grown: float = 2.0


USUAL = Timing()


class Notices:
    """Tells of incidents when it is time.

    Attributes:
        agenda: incidents by the time at which they are to be told.
    """

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self.agenda = Agenda()

    def schedule(self, incident: Incident, step: Step) -> None:
        """Note when an incident that has grown or become graver is to be told."""
        due_ms, timing = incident.due_ms, self._timing
        if not incident.told_ms:
            if incident.severity == "critical":
                due_ms = min(due_ms, step.now_ms + timing.critical_wait_ms)
        elif _graver(incident) and incident.severity == "critical":
            due_ms = step.now_ms
        elif _graver(incident) or self._has_grown(incident):
            due_ms = min(due_ms, max(incident.told_ms + timing.interval_ms, step.now_ms))
        self.put(incident, due_ms)

    def put(self, incident: Incident, due_ms: int) -> None:
        """Have an incident told at ``due_ms`` and not at any other time."""
        if due_ms != incident.due_ms:
            incident.due_ms = due_ms
            self.agenda.put(due_ms, incident.id)

    def tell_due(self, memory: Memory, step: Step) -> None:
        """Tell of every incident whose time has come."""
        for due_ms, name in self.agenda.take(step.now_ms):
            incident = memory.incidents.get(name)
            if incident is None or incident.due_ms != due_ms:
                continue
            joined = [one for one in incident.fresh if one in incident.heads]
            if incident.fresh and not joined and incident.told_ms and not _graver(incident):
                self._rest(incident)  # what had joined is over before it was told
                continue
            if not incident.told_ms:
                why, joined = words.OPENED, []
            elif _graver(incident):
                why = words.WORSE
            elif joined:
                why = words.ALSO
            else:
                why = words.GROWN if self._has_grown(incident) else words.STILL
            self._tell(incident, [memory.members[one] for one in joined or incident.heads], why, step)

    def join(self, incident: Incident, alert: str, now_ms: int, wait_ms: int) -> None:
        """Note that an alert of another rule has joined as company: what waits for nothing is told at once."""
        incident.mixed += 1
        due_ms = now_ms + wait_ms
        if incident.told_ms:
            incident.fresh.append(alert)
            due_ms = max(due_ms, incident.told_ms + self._timing.interval_ms) if wait_ms else now_ms
        self.put(incident, min(incident.due_ms, due_ms))

    def _tell(self, incident: Incident, heads: Sequence[Member], why: str, step: Step) -> None:
        """Tell of an incident now; ``heads`` are its alerts that stand for themselves, told the gravest first."""
        heads = sorted(heads, key=lambda one: SEVERITIES.index(one.begun.severity))
        ended = [one.ended.at_ms - one.begun.onset_ms for one in heads if one.ended is not None]
        lasted_ms = max(ended) if ended and len(ended) == len(heads) else None
        notice = words.begun(incident, [one.begun for one in heads], why, lasted_ms)
        step.notices.append((incident.id, notice, why == words.STILL))
        incident.turns += 1
        incident.stood = max(incident.stood, len(heads))
        incident.told_ms, incident.told_severity, incident.told_devices = step.now_ms, incident.severity, incident.size
        self._rest(incident)
        step.touched[incident.id] = None

    def _rest(self, incident: Incident) -> None:
        """Have an incident repeated, if it lasts and is grave."""
        incident.fresh.clear()
        again = self._timing.repeat_ms if incident.severity in GRAVE else 0
        incident.due_ms = incident.told_ms + again if again else NEVER_AGAIN
        self.agenda.put(incident.due_ms, incident.id)

    def _has_grown(self, incident: Incident) -> bool:
        told = incident.told_devices
        return incident.size >= max(self._timing.grown * told, told + GROWN_LEAST)


def _graver(incident: Incident) -> bool:
    return SEVERITIES.index(incident.severity) < SEVERITIES.index(incident.told_severity or SEVERITIES[-1])
