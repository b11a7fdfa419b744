"""What a step of the incidents changes, in the form in which it is committed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from alerts import incident_words as words
from alerts.incident_state import Incident, Member, Memory, Step
from alerts.inhibition import FOUND
from alerts.memory import Opened
from alerts.rules import Rule
from devices.incident import IncidentChange
from devices.transition import ACTIVE, CLEARED, Transition, alert_id


def changes(step: Step, memory: Memory) -> list[IncidentChange]:
    """Return the incidents that changed in a step, each notice with one change, in order."""
    out = []
    owed: dict[str, list[tuple[Transition, bool]]] = {}
    for name, notice, again in step.notices:
        owed.setdefault(name, []).append((notice, again))
    for name in sorted(step.touched):
        closed = step.closed.get(name)
        incident = closed[0] if closed else memory.incidents.get(name)
        if incident is None:
            continue
        reason = closed[1] if closed else ""
        notices = owed.get(name, [])
        out += [_change(incident, "", step, memory, one) for one in notices[:-1]]
        out.append(_change(incident, reason, step, memory, notices[-1] if notices else None))
    return out


def ordered(told: Iterable[Transition], state: str) -> list[Transition]:
    """Return transitions of a state in an order that no cutting of batches changes."""
    chosen = [one for one in told if one.state == state]
    return sorted(chosen, key=lambda one: (one.rule, one.entity, one.onset_ms))


def annotated(told: Transition, member: Member | None) -> Transition:
    """Return a transition with its incident and with what explains it; unchanged where nobody here knows of it."""
    return told if member is None else replace(told, incident=member.incident, suppressed_by=member.parent)


def forgotten(alerts: Iterable[Opened], memory: Memory) -> list[Transition]:
    """Return the ends of what this stage finds by itself, written down as open, that nobody here remembers."""
    return [
        Transition(
            name, one.rule, one.entity, CLEARED, one.onset_ms, one.onset_ms, one.severity,
            {"en": "Cleared: common cause", "zh": "【解除】共同原因"}, reason="data_lost", kind=one.kind,
        )
        for one in alerts
        if one.rule in FOUND
        and (name := alert_id(one.rule, one.entity, one.onset_ms)) not in memory.members
    ]  # fmt: skip


def unremembered(change: IncidentChange, rule: Rule | None, now_ms: int) -> IncidentChange:
    """Return the end of an incident that is written down as open and that nobody here remembers.

    What must be told even when it is over, and was not told yet, is told by what is written down.
    """
    ended = replace(change, is_open=False, at_ms=now_ms, reason="data_lost")
    if change.told or rule is None or not (rule.event or rule.latch):
        return ended
    notice = Transition(
        change.id, rule.id, change.node, ACTIVE, change.onset_ms, change.onset_ms, change.severity, change.message,
        kind=change.kind, lon=change.lon, lat=change.lat, district=change.district, incident=change.id,
        latch=rule.latch, event=rule.event,
    )  # fmt: skip
    return replace(ended, told=True, notice=notice)


def _change(
    incident: Incident, reason: str, step: Step, memory: Memory, notice: tuple[Transition, bool] | None
) -> IncidentChange:
    lead = incident.lead
    heads = [memory.members[one].begun for one in incident.heads if one in memory.members]
    message = {language: words.sentence(incident, heads, language) for language in ("en", "zh")}
    return IncidentChange(
        id=incident.id, cause=_cause(lead), node=lead.entity,
        kind=lead.kind, district=lead.district, keeper=incident.keeper, severity=incident.severity,
        is_open=not reason, onset_ms=lead.onset_ms, opened_ms=incident.opened_ms, at_ms=step.now_ms,
        told=bool(incident.told_ms), alerts=incident.alerts, suppressed=incident.suppressed, devices=incident.size,
        message=message, lon=lead.lon, lat=lead.lat, reason=reason,
        notice=notice[0] if notice else None, again=bool(notice and notice[1]),
    )  # fmt: skip


def _cause(lead: Transition) -> str:
    """Return what a leading alert names as its cause: the tree's finding, or the rule itself."""
    return lead.words.get("en", {}).get("cause") or lead.rule
