"""Decides what becomes of notices that are owed: told, held back for now, gathered into a summary, or passed to a team.

A function of what is written down and of the time, so that it comes out the same after a restart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from zoneinfo import ZoneInfo

from alerts.policy import FLAPPING, SHELVED, Policy, Target
from alerts.policy_match import Alertlike, Matcher, Quiet
from devices.transition import ACTIVE, CLEARED, Transition

DUE, HELD, GATHERED, ROUTED, DROPPED, FAILED = "due", "held", "gathered", "routed", "dropped", "failed"
NEVER_TOLD = (HELD, DROPPED)
FLOOD, SUMMARY = "flood", "summary"


class Head(Alertlike, Protocol):
    """An open alert."""

    @property
    def alert_id(self) -> str:
        """Return its id."""


class Owed(Protocol):
    """A notice that is owed."""

    @property
    def id(self) -> int:
        """Return its number."""

    @property
    def receiver(self) -> str:
        """Return to whom."""

    @property
    def transition(self) -> Transition:
        """Return what it tells."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one notice.

    Attributes:
        id: its number.
        status: DUE, HELD, GATHERED, ROUTED, DROPPED or FAILED.
        why: the reason, in a word that a person understands.
        routed: for ROUTED, who gets it instead: name, status, why.
    """

    id: int
    status: str
    why: str = ""
    routed: tuple[tuple[str, str, str], ...] = ()

    @property
    def tells(self) -> bool:
        """Return whether anybody is told by it, now or in a summary."""
        return self.status in (DUE, GATHERED) or bool(self.routed)


@dataclass(slots=True)
class Situation:
    """All that the decision depends on.

    Attributes:
        now_ms: the present.
        policy, targets: what was agreed; receivers of the settings by name.
        zone: the city's.
        quiets: silences and windows that hold now.
        shelved: ids of alerts that are shelved now.
        flaps: pairs of rule and entity that flap now.
        opened: ids of the alerts and incidents among the held notices that are open.
        heads: by incident, its open alerts that nothing explains.
        begun: what became of the notice of each alert's beginning, by alert and receiver.
        recent: alarms that each receiver was told within the flood's window.
        floods: receivers who are in a flood; changed by deciding.
    """

    now_ms: int
    policy: Policy
    targets: Mapping[str, Target]
    zone: ZoneInfo
    quiets: Sequence[Quiet] = ()
    shelved: frozenset[str] = frozenset()
    flaps: frozenset[tuple[str, str]] = frozenset()
    opened: frozenset[str] = frozenset()
    heads: Mapping[str, Sequence[Head]] = field(default_factory=dict)
    begun: dict[str, dict[str, str]] = field(default_factory=dict)
    recent: dict[str, int] = field(default_factory=dict)
    floods: set[str] = field(default_factory=set)


def quiet_reason(situation: Situation, matcher: Matcher, notice: Transition) -> str:
    """Return why nobody is told of an alert or an incident just now; empty for no reason.

    An incident is told of as soon as one of its alerts, which nothing else explains, has no such reason.
    """
    if notice.alert_id in situation.shelved:
        return SHELVED
    if (notice.rule, notice.entity) in situation.flaps:
        return FLAPPING
    heads = situation.heads.get(notice.incident or notice.alert_id, ())
    reasons = [_reason(situation, matcher, one.alert_id, one) for one in heads]
    return "" if "" in reasons else [*reasons, _reason(situation, matcher, notice.alert_id, notice)][0]


def _reason(situation: Situation, matcher: Matcher, alert_id: str, alert: Alertlike) -> str:
    if alert_id in situation.shelved:
        return SHELVED
    return matcher.mark(situation.quiets, alert)


def decide(situation: Situation, matcher: Matcher, fresh: Sequence[Owed], held: Sequence[Owed]) -> list[Decision]:
    """Return what becomes of notices, oldest first.

    Args:
        situation: what it depends on; its floods and counts are brought up to date.
        matcher: knows what silences mean.
        fresh: notices that nobody has looked at.
        held: notices that were held back, to be looked at again.
    """
    out: dict[int, Decision] = {}
    looked_at = {one.id for one in held}
    waiting = {(one.transition.alert_id, one.receiver): one.id for one in held if one.transition.state == ACTIVE}
    for one in sorted([*held, *fresh], key=lambda each: each.id):
        notice = one.transition
        begun = situation.begun.setdefault(notice.alert_id, {})
        if notice.state == CLEARED:
            decision = _end(situation, one, begun)
            if decision.status == DROPPED and (first := waiting.get((notice.alert_id, one.receiver))) is not None:
                out[first] = Decision(first, DROPPED, "over before it was told")
        else:
            decision = _beginning(situation, matcher, one, is_held=one.id in looked_at)
        if notice.state == ACTIVE:
            begun[one.receiver] = decision.status
            for who, status, _ in decision.routed:
                begun[who] = status
        out[one.id] = decision
        if notice.state == ACTIVE and decision.status == HELD:
            waiting[notice.alert_id, one.receiver] = one.id
    return list(out.values())


def _beginning(situation: Situation, matcher: Matcher, one: Owed, *, is_held: bool) -> Decision:
    notice = one.transition
    if is_held and notice.alert_id not in situation.opened:
        return Decision(one.id, DROPPED, "over before it was told")
    reason = quiet_reason(situation, matcher, notice)
    if reason:
        return Decision(one.id, HELD, reason)
    return _told(situation, one, _people(situation, one.receiver, ()))


def _end(situation: Situation, one: Owed, begun: Mapping[str, str]) -> Decision:
    """Decide on the end of an alert: told to whoever was told of its beginning, flapping or not held back."""
    if begun.get(one.receiver) in NEVER_TOLD:
        return Decision(one.id, DROPPED, "its beginning was not told")
    if (one.transition.rule, one.transition.entity) in situation.flaps:
        return Decision(one.id, HELD, FLAPPING)
    knowing = [who for who, status in begun.items() if status not in NEVER_TOLD]
    return _told(situation, one, _people(situation, one.receiver, knowing))


def _people(situation: Situation, receiver: str, knowing: Sequence[str]) -> tuple[str, ...] | None:
    """Return who stands for a team: those on duty, and of the team those who know already; None for no team."""
    target = situation.targets.get(receiver)
    team = situation.policy.teams.get(target.team) if target is not None and target.team else None
    if team is None:
        return None
    on_duty = team.told(situation.now_ms, situation.zone)
    return tuple(dict.fromkeys([*on_duty, *(who for who in knowing if who in team.people())]))


def _told(situation: Situation, one: Owed, people: tuple[str, ...] | None) -> Decision:
    if people is None:
        status, why = _way(situation, one.receiver, one.transition)
        return Decision(one.id, status, why)
    if not people:
        team = situation.targets[one.receiver].team
        return Decision(one.id, FAILED, f"nobody of team {team} is on duty, and it has no fallback")
    ways = tuple((who, *_way(situation, who, one.transition)) for who in people)
    return Decision(one.id, ROUTED, ", ".join(people), ways)


def _way(situation: Situation, who: str, notice: Transition) -> tuple[str, str]:
    """Return how one person is told: at once, or in a summary."""
    flood = situation.policy.flood
    target = situation.targets.get(who)
    if target is not None and target.program:
        return DUE, ""
    if flood.on and notice.state == ACTIVE:
        situation.recent[who] = situation.recent.get(who, 0) + 1
        if situation.recent[who] >= flood.starts:
            situation.floods.add(who)
    if target is not None and target.summary_ms:
        return GATHERED, SUMMARY
    if flood.on and who in situation.floods and notice.severity in flood.gather:
        return GATHERED, FLOOD
    return DUE, ""


def ended_floods(situation: Situation) -> Iterator[str]:
    """Yield receivers whose flood is over."""
    flood = situation.policy.flood
    for who in sorted(situation.floods):
        if not flood.on or situation.recent.get(who, 0) < flood.ends:
            yield who
