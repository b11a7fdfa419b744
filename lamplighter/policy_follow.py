"""What follows from an alert beyond its beginning and end: flapping, the chain, shelves that end, floods, hand-over.

Each part looks at what is written down and adds to the round's verdict (lamplighter/policy_desk.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from alerts import flapping, policy_words
from alerts.escalation import ESCALATED, what_next
from alerts.policy import MINUTE_MS
from alerts.policy_decide import DUE, FLOOD, Situation, ended_floods, quiet_reason
from devices.transition import ACTIVE, CLEARED, SEVERITIES, Transition
from storage.alertbook import AlertRow
from storage.policyrows import Chain, Flap, Notice, Standing, Verdict

if TYPE_CHECKING:
    from lamplighter.policy_desk import PolicyDesk

log = structlog.get_logger("policy")

FLOODS, DUTY = "flood:", "duty:"  # names under which it is remembered who is in a flood, and who was on duty
LATER_MS = MINUTE_MS  # an alert that is silenced or shelved when its chain is due is looked at again so much later


class Follow:
    """Adds to a verdict what follows.

    Args:
        desk: whose rounds.
    """

    def __init__(self, desk: PolicyDesk) -> None:
        self.desk = desk
        self.book, self.policy, self.matcher, self.zone = desk.book, desk.policy, desk.matcher, desk.zone

    def flapping(self, verdict: Verdict, situation: Situation, fresh: Sequence[Notice]) -> None:
        """Find what has begun to flap with these notices, and tell that once."""
        limits = self.policy.flapping
        pairs = {(one.transition.rule, one.transition.entity) for one in fresh} - situation.flaps
        if not (limits.on and pairs):
            return
        window = situation.now_ms - flapping.SLOTS * limits.slot_ms
        begun = set(situation.flaps)
        for pair, times in self.book.changes(pairs, window).items():
            share = flapping.percent(times, situation.now_ms, limits.slot_ms)
            if not flapping.judge(share, limits, flaps=False):
                continue
            begun.add(pair)
            verdict.flaps.append(Flap(*pair, situation.now_ms, share))
            tell: dict[str, Transition] = {}
            for one in fresh:
                if (one.transition.rule, one.transition.entity) == pair:
                    tell.setdefault(one.receiver, one.transition)
            for who, last in tell.items():
                if not quiet_reason(situation, self.matcher, last):
                    self.owe(verdict, situation, policy_words.flaps(last, share, len(times)), who)
        situation.flaps = frozenset(begun)

    def steady(self, verdict: Verdict, situation: Situation) -> None:
        """Let go what flaps no more; what was held back for it is looked at again in the next round."""
        limits = self.policy.flapping
        flaps = {(one.rule, one.entity): one for one in self.book.flaps()}
        if not flaps:
            return
        changes = self.book.changes(flaps, situation.now_ms - flapping.SLOTS * limits.slot_ms)
        held = self.book.held()
        for pair in flaps:
            share = flapping.percent(changes.get(pair, ()), situation.now_ms, limits.slot_ms)
            if flapping.judge(share, limits, flaps=True):
                continue
            verdict.steady.append(pair)
            last = [one for one in held if (one.transition.rule, one.transition.entity) == pair]
            if not last:
                continue
            name = last[-1].transition.alert_id
            row = self.book.standing_of([name]).get(name)
            still_open = row is not None and row.is_open
            told = policy_words.steady(last[-1].transition, share, still_open=still_open)
            for who in dict.fromkeys(one.receiver for one in last):
                self.owe(verdict, situation, told, who)

    # The chain.

    def chains(self, verdict: Verdict, situation: Situation) -> None:
        """Take the next step for every alert whose next step is due."""
        due = self.book.chains(situation.now_ms)
        if not due:
            return
        rows = self.book.standing_of([one.alert_id for one in due])
        for one in due:
            row = rows.get(one.alert_id)
            if row is None or not row.is_open:
                verdict.chains.append((one.alert_id, "", None))
                continue
            self._chain(verdict, situation, one, row)

    def _chain(self, verdict: Verdict, situation: Situation, due: Chain, row: Standing) -> None:
        now_ms, acknowledged = situation.now_ms, row.acknowledged
        told = self.book.told_of(due.alert_id)
        if not told:
            verdict.chains.append((due.alert_id, "", None))
            return
        self.desk.look_inside(situation, [told[0].transition])
        if quiet_reason(situation, self.matcher, told[0].transition):
            verdict.chains.append((due.alert_id, due.label, now_ms + LATER_MS))
            return
        first = told[0].transition
        minutes = round((now_ms - due.told_ms) / MINUTE_MS)
        step = what_next(
            self.policy, row.severity, due.told_ms, due.due_ms - 1, due.due_ms - 1, acknowledged=acknowledged
        )
        if due.label.startswith(ESCALATED):
            if not acknowledged and step is not None and step.to:
                self.owe(verdict, situation, policy_words.escalated(first, due.label, minutes), step.to)
        else:
            for who in dict.fromkeys(one.receiver for one in told):
                self.owe(verdict, situation, policy_words.again(first, due.label, minutes), who)
        following = what_next(self.policy, row.severity, due.told_ms, due.due_ms, now_ms, acknowledged=acknowledged)
        verdict.chains.append(
            (due.alert_id, "", None) if following is None else (due.alert_id, following.label, following.due_ms)
        )

    def expired(self, verdict: Verdict, situation: Situation) -> None:
        """Tell again of what was told before it was shelved, when the shelf has ended."""
        ended = self.book.expired(situation.now_ms)
        rows = self.book.about(ended) if ended else {}
        for name, until_ms in ended.items():
            verdict.unshelved.append(name)
            row = rows.get(name)
            if row is None or row.state == CLEARED:
                continue
            told = self.book.told_of(name) or (self.book.told_of(row.incident) if row.incident else [])
            for who in dict.fromkeys(one.receiver for one in told):
                self.owe(verdict, situation, policy_words.unshelved(told[-1].transition, until_ms), who)

    def owe(self, verdict: Verdict, situation: Situation, told: Transition, who: str) -> None:
        """Owe a notice of the policy's own: to a receiver, or to whoever is on duty for it."""
        target = situation.targets.get(who)
        team = self.policy.teams.get(target.team) if target is not None and target.team else None
        people = [who] if team is None else team.told(situation.now_ms, self.zone)
        for name in people:
            verdict.owed.append((told, name, DUE, ""))

    # Floods and summaries.

    def floods(self, verdict: Verdict, situation: Situation) -> None:
        """Note which floods are over."""
        if not situation.floods:
            return
        situation.recent = self.book.recent(situation.now_ms, self.policy.flood.within_ms)
        for who in list(ended_floods(situation)):
            situation.floods.discard(who)
            verdict.state[FLOODS + who] = ""
            log.info("the flood of alarms is over", receiver=who)

    def summaries(self, verdict: Verdict, situation: Situation) -> None:
        """Tell the summaries that are due: after the window, or when the flood is over."""
        now_ms = situation.now_ms
        for who, (since_ms, why) in self.book.gathering().items():
            target = situation.targets.get(who)
            every_ms = target.summary_ms if target is not None and target.summary_ms else self.policy.flood.within_ms
            over = why == FLOOD and who not in situation.floods
            if 0 <= now_ms - since_ms < every_ms and not over:
                continue
            notices = self.book.gathered(who)
            if not notices:
                continue
            told = policy_words.summary(who, [one.transition for one in notices], since_ms, now_ms, why)
            verdict.owed.append((told, who, DUE, ""))
            verdict.summed.append(([one.id for one in notices], f"{told.alert_id}:{told.state}:{who}"))

    def handover(self, verdict: Verdict, situation: Situation) -> None:
        """Tell those who have come on duty what is open."""
        now_ms, state = situation.now_ms, self.desk.remembered()
        for name, team in self.policy.teams.items():
            present = team.told(now_ms, self.zone)
            before = state.get(DUTY + name)
            if before == ",".join(present):
                continue
            verdict.state[DUTY + name] = ",".join(present)
            if not team.handover or before is None:
                continue
            fresh = [who for who in present if who not in before.split(",")]
            served = {one.name for one in situation.targets.values() if one.team == name}
            kinds = {each for one in self.desk.house.settings.notify if one.name in served for each in one.kinds}
            least = min((SEVERITIES.index(situation.targets[one].min_severity) for one in served), default=3)
            opened = [
                transition_of(row)
                for row in self.book.standing()
                if (not kinds or row.kind in kinds) and SEVERITIES.index(row.severity) <= least
            ]
            for who in fresh if opened else ():
                told = policy_words.summary(who, opened, now_ms, now_ms, "", sort=policy_words.HANDOVER)
                verdict.owed.append((told, who, DUE, ""))


def transition_of(row: AlertRow) -> Transition:
    """Return what an alert that is written down would tell."""
    return Transition(
        row.id, row.rule, row.entity, ACTIVE, row.begun_ms, row.onset_ms, row.severity, dict(row.message),
        dict(row.values), "", row.kind, row.lon, row.lat, row.district,
    )  # fmt: skip
