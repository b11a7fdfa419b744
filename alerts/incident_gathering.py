"""Who stands in which incident: alerts open one, join one that waits or whose company they are, and leave it again."""

from __future__ import annotations

from alerts import incident_words as words
from alerts.fleet import NEVER_AGAIN
from alerts.incident_notices import Notices, Timing
from alerts.incident_patience import Patience
from alerts.incident_state import Incident, Member, Memory, Step
from devices.transition import Transition


class Gathering:
    """Keeps incidents and the alerts in them.

    Args:
        memory: what the stage remembers.
        patience, notices, timing: when people are told.
    """

    def __init__(self, memory: Memory, patience: Patience, notices: Notices, timing: Timing) -> None:
        self._patience, self._notices, self._timing = patience, notices, timing
        self.take_up(memory)

    def take_up(self, memory: Memory) -> None:
        """Go on with what a stage remembered."""
        self._memory = memory
        waiting = [one for one in memory.incidents.values() if one.key and not one.told_ms]
        self._waiting = {one.key: one.id for one in waiting}  # key to the id of the incident that gathers now

    def gather(self, member: Member, step: Step) -> None:
        """Open an incident for an alert that stands for itself, or let it join one that waits for others like it."""
        begun, incidents = member.begun, self._memory.incidents
        wait_ms = self._patience.wait_ms(begun)
        key = f"{begun.rule}|{begun.severity}|{member.keeper}|{begun.district}" if wait_ms else ""
        found = incidents.get(member.id)  # which it led before, and others stand in still
        company = incidents.get(self._patience.explaining.company(member, self._memory.members))
        waiting = incidents.get(self._waiting.get(key, "")) if key else None
        if found is None and company is not None:
            found = company
            self._notices.join(company, member.id, step.now_ms, wait_ms)
        elif found is None and waiting is not None and not waiting.told_ms:
            found = waiting
        elif found is None:
            found = self._open(member, key, step.now_ms, wait_ms)
        elif found.told_ms:
            self._notices.put(found, max(found.told_ms + self._timing.interval_ms, step.now_ms))
        member.incident, member.by, member.free_ms = found.id, "", NEVER_AGAIN
        found.heads[member.id] = None
        found.call(begun)
        found.behind = max(found.behind, self._patience.behind(begun))
        self.count(found, member, step)

    def _open(self, member: Member, key: str, now_ms: int, wait_ms: int) -> Incident:
        opened_ms = max(now_ms, member.closed_ms + 1)  # a second life of one that was merged into another
        made = Incident(member.id, member.begun, member.keeper, opened_ms, key, now_ms + wait_ms, turns=member.turns)
        self._memory.incidents[made.id] = made
        self._notices.agenda.put(made.due_ms, made.id)
        if key:
            self._waiting[key] = made.id
        return made

    def count(self, incident: Incident, member: Member, step: Step) -> None:
        """Count an alert as one that an incident has gathered."""
        incident.alerts += 1
        incident.suppressed += not member.heads
        if member.begun.entity.startswith("device:"):
            incident.devices[member.begun.entity] = None
        incident.weigh(member.begun.severity)
        self._notices.schedule(incident, step)
        step.touched[incident.id] = None
        step.marked[member.id] = None

    def is_owed(self, member: Member, now_ms: int) -> bool:
        """Return whether an alert that is over must be told of all the same, and has not been yet.

        So it is with what waits for nothing, what is an event, and what stays until a person resets it.
        """
        incident = self._memory.incidents.get(member.incident) if member.heads else None
        if incident is None or (incident.told_ms and member.id not in incident.fresh):
            return False
        return member.begun.event or member.begun.latch or incident.due_ms <= now_ms

    def take_out(self, member: Member, step: Step, reason: str, ended: Transition | None = None) -> None:
        """Take an alert out of the incident that it stands in; without any the incident is over."""
        incidents = self._memory.incidents
        incident = incidents.get(member.incident)
        if incident is None:
            return
        incident.heads.pop(member.id, None)
        if incident.id == member.id:
            member.turns, member.closed_ms = incident.turns, step.now_ms
        step.touched[incident.id] = None
        if incident.heads:
            return
        del incidents[incident.id]
        if self._waiting.get(incident.key) == incident.id:
            del self._waiting[incident.key]
        if not incident.told_ms and reason == "recovered":
            reason = "brief"
        step.closed[incident.id] = (incident, reason)
        if incident.told_ms and ended is not None and reason == "recovered":
            step.notices.append((incident.id, words.over(incident, ended), False))
