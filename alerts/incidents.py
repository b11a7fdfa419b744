"""Incidents: after the engine, alerts are gathered under what explains them, and people are told once of each.

A pure stage: what comes out depends on the steps that it is given, the rules, the registry and the matrix alone. What
it remembers is saved and loaded beside the engine's memory. An incident bears the id of the alert that leads it, so
that a repeat after a crash is the same incident with the same notices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from alerts.causes import Causes
from alerts.causes_place_settings import same_place_rule
from alerts.causes_places import Places
from alerts.explaining import Explaining
from alerts.fleet import NEVER_AGAIN, Fleet
from alerts.incident_changes import annotated, changes, forgotten, ordered, unremembered
from alerts.incident_gathering import Gathering
from alerts.incident_notices import USUAL, Notices, Timing
from alerts.incident_patience import Patience
from alerts.incident_state import Agenda, Arrays, Member, Memory, Step, load
from alerts.inhibition import NOTHING, Inhibition, common_cause_rule
from alerts.memory import Opened
from alerts.rules import RuleSet
from alerts.topology import Topology
from devices.incident import Decided, IncidentChange, Mark
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition


class Incidents:
    """The stage.

    Args:
        rules, registry: as the engine has them.
        inhibition: which alerts explain which.
        timing: when people are told.
        sky: when lamps should burn; None looks for no causes among them.

    Attributes:
        memory: what it remembers.
        causes: looks for causes among lamps; None where there is nothing to look at.
        places: looks for causes among alerts that begin near each other.
    """

    def __init__(
        self, rules: RuleSet, registry: Registry, inhibition: Inhibition = NOTHING, timing: Timing = USUAL,
        sky: Sky | None = None,
    ) -> None:  # fmt: skip
        self.inhibition, self.timing = inhibition, timing
        causes = inhibition.causes
        self.topology = Topology(registry, causes.lamp.device, causes.lamp.role) if causes else Topology(registry)
        self.memory = Memory()
        self._registry = registry
        self._rules = {rule.id: rule for rule in (*rules, common_cause_rule(), same_place_rule())}
        self._explaining = Explaining(self._rules, inhibition, self.topology, registry)
        self._patience = Patience(self._rules, inhibition, timing, self._explaining, self.topology, sky)
        self._notices, self._freed = Notices(timing), Agenda()
        self._gathering = Gathering(self.memory, self._patience, self._notices, timing)
        self._going: dict[str, None] = {}  # ids of alerts that are over and stay until people have been told of them
        usable = sky if len(self.topology.lamps) else None
        self.causes = Causes(causes, self.topology, usable) if causes is not None and usable is not None else None
        self.places = Places(inhibition.places, self._rules, registry, sky)
        self._lost: list[Transition] = []  # alerts written down as open that nobody remembers
        self._lost_incidents: list[IncidentChange] = []

    # The step.

    def step(self, told: Sequence[Transition], fleet: Fleet, now_ms: int) -> Decided:
        """Gather what a step of the engine has said, and the passing of time.

        Args:
            told: what Engine.step returned.
            fleet: the engine's live columns after that step.
            now_ms: host time, as the engine was given it.

        Returns:
            what is to be committed together.
        """
        self._watch_clock(now_ms)
        if self.causes is not None:
            told = [*told, *self.causes.look(fleet, now_ms)]
        due = min(self._notices.agenda.next_ms, self._freed.next_ms, self.places.next_ms) <= now_ms
        if not (told or due or self._going or self._lost or self._lost_incidents):
            return Decided([], [], [])
        step = Step(now_ms)
        told, lost = [*told, *self._lost], self._lost_incidents
        self._lost, self._lost_incidents = [], []
        step.gone = [unremembered(one, self._rules.get(one.cause), now_ms) for one in lost]
        fresh = [self._enter(one, step) for one in ordered(told, ACTIVE)]
        self._explain(fresh, step)
        told = [*told, *self._place(fresh, [one.alert_id for one in told if one.state == CLEARED], step)]
        for member in fresh:
            if member.heads:
                self._gathering.gather(member, step)
        self._follow_all(step)
        for one in ordered(told, CLEARED):
            self._leave(one, step)
        self._let_go(step)
        self._notices.tell_due(self.memory, step)
        self._see_out(step)
        return self._decided(told, step)

    def _enter(self, begun: Transition, step: Step) -> Member:
        member = Member(begun, self.topology.keeper(begun.entity), step.now_ms)
        self.memory.members[begun.alert_id] = member
        self._explaining.add(member)
        return member

    def _explain(self, fresh: Sequence[Member], step: Step) -> None:
        """Find what explains fresh alerts, and what they explain of those that were there before."""
        members = self.memory.members
        for member in fresh:
            self._put_under(member, self._explaining.parent(member, members), step)
            if not member.by:
                self._put_after(member, step)
        for member in fresh:
            for child in self._explaining.explained(member, members):
                self._put_under(child, member.id, step)

    def _place(self, fresh: list[Member], ended: Sequence[str], step: Step) -> list[Transition]:
        """Put alerts that begin near each other under that of their place; return what begins and ends of places."""
        found = self.places.look([one.begun for one in fresh if one.heads], ended, step.now_ms)
        fresh += [self._enter(one, step) for one in ordered(found, ACTIVE)]
        for member in (self.memory.members.get(name) for name in self.places.taken):
            if member is not None and not member.by:
                self._put_under(member, self.places.parent(member.id), step)
        return found

    def _put_under(self, member: Member, parent: str, step: Step) -> None:
        """Let ``parent`` explain an alert; it leaves the incident that it led or was one of."""
        if not parent or parent == member.by:
            return
        if member.heads and member.incident:
            before = self.memory.incidents.get(member.incident)
            if before is not None and before.told_ms:
                step.owing.append(member.id)
            self._gathering.take_out(member, step, "merged")
        self._explaining.part(member)
        member.by, member.free_ms = parent, NEVER_AGAIN
        self._explaining.join(member)
        step.moved[member.id] = None

    def _put_after(self, member: Member, step: Step) -> None:
        """Give an alert time that shows late what is over already."""
        echo = self._explaining.echo(member, self.memory.echoes)
        if echo is None or (free_ms := self._patience.settled_ms(member, echo.ended_ms)) <= step.now_ms:
            return
        member.free_ms = free_ms
        member.parent, member.incident = echo.parent, echo.incident
        self._freed.put(member.free_ms, member.id)

    def _leave(self, ended: Transition, step: Step) -> None:
        """Let an alert go that is over, unless people must be told of it before."""
        member = self.memory.members.get(ended.alert_id)
        if member is not None and self._gathering.is_owed(member, step.now_ms):
            member.ended = ended
            self._going[member.id] = None
        elif member is not None:
            self._go(member, ended, step)

    def _see_out(self, step: Step) -> None:
        """Let alerts go that are over and have been told of, or that something else has come to explain."""
        for name in sorted(self._going):
            member = self.memory.members[name]
            if member.ended is not None and not self._gathering.is_owed(member, step.now_ms):
                del self._going[name]
                self._go(member, member.ended, step)

    def _go(self, member: Member, ended: Transition, step: Step) -> None:
        """Let an alert go; what it explained is explained by others, or given time to recover."""
        del self.memory.members[member.id]
        self._explaining.remove(member)
        step.ended[member.id] = member
        self._explaining.remember(member, self.memory.members, self.memory.echoes, step.now_ms)
        for name in self._explaining.children(member.id):
            child = self.memory.members[name]
            parent = self._explaining.parent(child, self.memory.members) or self.places.parent(name)
            self._explaining.part(child)
            if parent:
                child.by = parent
                self._explaining.join(child)
                step.moved[name] = None
            else:
                child.by, child.free_ms = "", self._patience.settled_ms(child, step.now_ms)
                self._freed.put(child.free_ms, name)
        if member.heads and member.incident:
            self._gathering.take_out(member, step, "recovered", ended)

    def _let_go(self, step: Step) -> None:
        """Let alerts stand for themselves that are still there although what explained them is over for long."""
        for due_ms, name in self._freed.take(step.now_ms):
            member = self.memory.members.get(name)
            if member is not None and member.free_ms == due_ms and not member.by:
                member.parent = ""
                self._gathering.gather(member, step)
                step.moved[name] = None

    # What comes out.

    def _decided(self, told: Sequence[Transition], step: Step) -> Decided:
        members = self.memory.members
        self._follow_all(step)
        for name in step.owing:
            self._owe(name, step)
        out = [annotated(one, members.get(one.alert_id) or step.ended.get(one.alert_id)) for one in told]
        said = {one.alert_id for one in told}
        marked = ((name, members.get(name) or step.ended.get(name)) for name in sorted(step.marked.keys() - said))
        marks = [Mark(name, member.incident, member.parent) for name, member in marked if member is not None]
        self._notices.tell_due(self.memory, step)  # what an explained alert has made critical
        return Decided(out, marks, [*step.gone, *changes(step, self.memory)])

    def _owe(self, name: str, step: Step) -> None:
        """Tell at once of what explains an alert that people were told of: they will hear of its end under that."""
        member = self.memory.members.get(name)
        incident = self.memory.incidents.get(member.incident) if member is not None else None
        if incident is not None and not incident.told_ms and incident.due_ms > step.now_ms:
            incident.due_ms = step.now_ms
            self._notices.agenda.put(step.now_ms, incident.id)

    def _follow_all(self, step: Step) -> None:
        """Bring all that something else explains now, and what they explain, to the root of it all."""
        moved, step.moved = step.moved, {}
        for name in moved:
            for member in self._explaining.with_all_below(name, self.memory.members):
                self._follow(member, step)

    def _follow(self, member: Member, step: Step) -> None:
        """Bring an explained alert to the incident of the alert at the root of it all."""
        root = self._explaining.root(member, self.memory.members)
        if root is member:
            return
        parent = root.id if root.free_ms == NEVER_AGAIN else root.parent  # what explained the root is over, it waits
        if member.parent == parent and member.incident == root.incident:
            return
        member.parent, before, member.incident = parent, member.incident, root.incident
        incident = self.memory.incidents.get(root.incident)
        if incident is not None and before != root.incident:
            self._gathering.count(incident, member, step)
        step.marked[member.id] = None

    # Time and memory.

    def _watch_clock(self, now_ms: int) -> None:
        """Let what waits wait no longer because the host's clock was set back."""
        back_ms, self.memory.now_ms = self.memory.now_ms - now_ms, now_ms
        if back_ms > 0:
            self.memory.set_back(back_ms)
            self._file()

    def _file(self) -> None:
        self._notices.agenda.clear()
        self._freed.clear()
        for incident in self.memory.incidents.values():
            self._notices.agenda.put(incident.due_ms, incident.id)
        for member in self.memory.members.values():
            self._freed.put(member.free_ms, member.id)

    def save(self) -> Arrays:
        """Return everything that is remembered, as named arrays without objects."""
        return {**self.memory.save(), **self.places.save(), **(self.causes.save() if self.causes is not None else {})}

    def load(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Take over what a stage remembered, of the same city at an earlier time or under other rules."""
        self.memory = load(state)
        self._going = {name: None for name, one in self.memory.members.items() if one.ended is not None}
        self.places.load(state)
        if self.causes is not None:
            self.causes.load(state)
        self._explaining.clear()
        for member in self.memory.members.values():
            self._explaining.add(member)
            if member.by in self.memory.members:
                self._explaining.join(member)
            elif member.by:  # cannot be, unless what was saved is damaged
                member.by, member.free_ms = "", self.memory.now_ms
        for echo in self.memory.echoes.values():
            self._explaining.keep(echo)
        self._gathering.take_up(self.memory)
        self._file()

    def compare(self, alerts: Iterable[Opened], incidents: Iterable[IncidentChange]) -> int:
        """Compare with what is written down as open; what nobody here remembers is closed by the next step.

        Args:
            alerts: as the operations database holds them open; those of rules are the engine's to end.
            incidents: as the operations database holds them open.

        Returns:
            how many alerts and incidents nobody remembers.
        """
        self._lost = forgotten(alerts, self.memory)
        self._lost_incidents = [one for one in incidents if one.id not in self.memory.incidents]
        return len(self._lost) + len(self._lost_incidents)
