"""The policy's round: decides how notices are told that the loop has owed, twice a second, before they are sent.

What it decides follows from the operations database and the time alone, and is written down in one transaction: a house
that dies in a round begins it again, and a house that was away finds everything where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog

from alerts import alertmanager, policy_words
from alerts.escalation import what_next
from alerts.policy import OUT_OF_SERVICE, WARNINGS, Policy, Target
from alerts.policy_decide import (
    HELD,
    Decision,
    Situation,
    decide,
)
from alerts.policy_file import load_policy
from alerts.policy_match import Matcher, Quiet
from alerts.policy_profiles import active
from api.alerts import tell
from devices.transition import ACTIVE, CLEARED, Transition
from devices.yamlfile import ConfigError
from lamplighter.policy_budget import Budgets, budget_of
from lamplighter.policy_follow import FLOODS, Follow
from storage.operations import AlertRow
from storage.policybook import PolicyBook
from storage.policyrows import Notice, QuietRow, Verdict

if TYPE_CHECKING:
    from lamplighter.settings import Receiver, Settings
    from lamplighter.wiring import House

log = structlog.get_logger("policy")

WARNING, PROFILES = "warning", "profiles"  # names under which they are remembered
SLOW_MS = 10_000  # how often is looked at what only time changes: flapping, floods, hand-over


def targets_of(settings: Settings) -> dict[str, Target]:
    """Return the receivers of the settings as the policy needs them."""
    return {
        one.name: Target(one.name, one.team, one.summary_ms, one.min_severity, one.url.startswith(alertmanager.PREFIX))
        for one in settings.notify
    }


def policy_of(settings: Settings) -> Policy:
    """Read the policy that the settings name, and hold both together. Raises ConfigError for every mistake."""
    policy = load_policy(settings.policy, [one.name for one in settings.notify])
    teams = ", ".join(policy.teams) or "there is none; name them in the file of 'policy:'"
    problems = [
        f"settings: notify.{one.name}.team: no team '{one.team}' ({teams})"
        for one in settings.notify
        if one.team and one.team not in policy.teams
    ]
    named = {one.name for one in settings.notify if one.team}
    problems += [
        f"settings: policy: team {team.name} names '{name}', which stands for a team itself; name a person's receiver"
        for team in policy.teams.values()
        for name in sorted(team.people() & named)
    ]
    if problems:
        raise ConfigError(problems)
    return policy


class PolicyDesk:
    """Decides on notices.

    Args:
        house: whose notices.
        policy: as read.

    Attributes:
        policy: what holds now.
        profiles: names of the profiles under which the rules are now.
        budgets: what people were told lately.
        rounds: rounds that changed something.
    """

    def __init__(self, house: House, policy: Policy) -> None:
        self.house, self.policy = house, policy
        self.matcher = Matcher(lambda: house.registry)
        self.targets = targets_of(house.settings)
        self.zone = ZoneInfo(house.settings.city.timezone)
        self.rounds = 0
        self.changed: list[AlertRow] = []  # alerts whose marks have changed, for the live stream
        self._standing: object = None  # what held when held notices were last looked at
        self._slow_ms = 0
        self._marked: object = None
        self._pulse: object = None
        self._state: dict[str, str] | None = None
        self.profiles: tuple[str, ...] = ()
        self.receivers: tuple[Receiver, ...] = house.settings.told()
        self._wanted: tuple[str, ...] | None = None
        self.budgets = Budgets(lambda length_ms: budget_of(self.book, self.policy.flood, house.now_ms(), length_ms))
        self.follow = Follow(self)

    @property
    def book(self) -> PolicyBook:
        """Return what operators and policy have written down."""
        return self.house.operations.policy

    def round(self, now_ms: int) -> None:
        """Decide on what is owed. Blocking; raises AWAY when the operations database refuses."""
        slow = not 0 <= now_ms - self._slow_ms < SLOW_MS
        waits, pulse = self.book.pulse(now_ms)
        if not (waits or slow or pulse != self._pulse):
            return
        self._pulse = pulse
        verdict = Verdict()
        fresh = self.book.fresh()
        quiets = [quiet_of(row) for row in self.book.quiets(now_ms)]
        situation = self._situation(now_ms, quiets, slow=slow)
        held = self._held(situation, slow=slow)
        if fresh or held:
            self._decide(verdict, situation, fresh, held)
        self.follow.expired(verdict, situation)
        self.follow.chains(verdict, situation)
        if slow:
            self.follow.floods(verdict, situation)
            self.follow.steady(verdict, situation)
            self.follow.handover(verdict, situation)
            self._profiles(verdict, situation)
            self.follow.summaries(verdict, situation)
            self._slow_ms = now_ms
        self._marks(verdict, situation, fresh)
        if verdict:
            self.book.write(verdict, now_ms)
            self.rounds += 1
            self._state = None if verdict.state else self._state
            if changed := [*verdict.marks, *verdict.unshelved]:
                self.changed += self.book.about(changed).values()

    def tell(self) -> None:
        """Tell open consoles which alerts have other marks since the last call; on the loop."""
        changed, self.changed = self.changed, []
        if changed:
            tell(self.house.hub, changed, self.house.registry)

    def remembered(self) -> dict[str, str]:
        """Return what is remembered by name."""
        if self._state is None:
            self._state = self.book.state()
        return self._state

    # Profiles.

    def wanted(self, policy: Policy, now_ms: int) -> tuple[str, ...]:
        """Return the profiles that should hold now, by the days and by the weather warning. Blocking."""
        if not policy.profiles:
            return ()
        return active(policy.profiles, self.book.state().get(WARNING, WARNINGS[0]), now_ms, self.zone)

    def due_switch(self, now_ms: int) -> bool:
        """Return whether other profiles should hold than do; once after each slow part of a round that found so."""
        wanted, self._wanted = self._wanted, None
        return wanted is not None and wanted != self.profiles and now_ms >= self._slow_ms

    def take_up(self, policy: Policy, profiles: tuple[str, ...], now_ms: int) -> None:
        """Go on with another policy, and with rules under other profiles; on the loop, between two groups."""
        self.policy, self.profiles, self._wanted = policy, profiles, None
        self.follow = Follow(self)
        self._state, self._slow_ms = None, 0
        if profiles:
            log.info("profiles hold", names=list(profiles), at_ms=now_ms)
        least = {who: level for name in profiles for who, level in policy.profiles[name].min_severity.items()}
        self.receivers = tuple(
            one.model_copy(update={"min_severity": least[one.name]}) if one.name in least else one
            for one in self.house.settings.told()
        )
        self.targets = targets_of(self.house.settings)
        if hasattr(self.house, "watch"):
            self.house.watch.receivers = self.receivers

    def _profiles(self, verdict: Verdict, situation: Situation) -> None:
        """Tell which profiles have come on or gone off since that was last told, and note what should hold now."""
        before = [name for name in self.remembered().get(PROFILES, "").split(",") if name]
        if list(self.profiles) != before:
            verdict.state[PROFILES] = ",".join(self.profiles)
            level = self.remembered().get(WARNING, WARNINGS[0])
            for name in dict.fromkeys([*before, *self.profiles]):
                if (name in before) != (name in self.profiles):
                    told = policy_words.switched(name, name in self.profiles, level, situation.now_ms)
                    for one in self.house.settings.told():
                        self.follow.owe(verdict, situation, told, one.name)
        self._wanted = self.wanted(self.policy, situation.now_ms)

    # What the decision depends on.

    def _situation(self, now_ms: int, quiets: Sequence[Quiet], *, slow: bool) -> Situation:
        if slow:
            self._state = None
        state = self.remembered()
        floods = {name.removeprefix(FLOODS) for name, on in state.items() if name.startswith(FLOODS) and on}
        return Situation(
            now_ms,
            self.policy,
            self.targets,
            self.zone,
            [one for one in quiets if one.holds(now_ms)],
            frozenset(self.book.shelved(now_ms)),
            frozenset((one.rule, one.entity) for one in self.book.flaps()),
            floods=floods,
        )

    def _held(self, situation: Situation, *, slow: bool) -> list[Notice]:
        """Return the held notices when something has changed that holds them, else none."""
        out = self.matcher.out_of_service()
        standing: object = (tuple(one.id for one in situation.quiets), situation.shelved, situation.flaps, out)
        if standing == self._standing and not slow:
            return []
        self._standing = standing
        return self.book.held()

    def _decide(self, verdict: Verdict, situation: Situation, fresh: Sequence[Notice], held: Sequence[Notice]) -> None:
        about = self.book.standing_of({one.transition.alert_id for one in held})
        situation.opened = frozenset(name for name, one in about.items() if one.is_open)
        situation.begun = self.book.begun({one.transition.alert_id for one in [*fresh, *held]})
        situation.recent = self.book.recent(situation.now_ms, self.policy.flood.within_ms)
        before = set(situation.floods)
        self.look_inside(situation, [one.transition for one in [*fresh, *held]])
        self.follow.flapping(verdict, situation, fresh)
        known = {one.id: one for one in [*fresh, *held]}
        was = {one.id: HELD for one in held}
        for decision in decide(situation, self.matcher, fresh, held):
            if was.get(decision.id) == decision.status:
                continue
            self._apply(verdict, situation, known[decision.id], decision)
        for who in situation.floods - before:
            verdict.state[FLOODS + who] = str(situation.now_ms)
            log.warning("a flood of alarms: minor ones are gathered", receiver=who)

    def look_inside(self, situation: Situation, notices: Sequence[Transition]) -> None:
        """Fetch the alerts of incidents where something may hold their notices back."""
        if situation.quiets or situation.shelved or self.matcher.out_of_service():
            situation.heads = self.book.heads({one.incident or one.alert_id for one in notices})

    def _apply(self, verdict: Verdict, situation: Situation, notice: Notice, decision: Decision) -> None:
        verdict.changed.append((decision.id, decision.status, decision.why))
        for who, status, why in decision.routed:
            verdict.owed.append((notice.transition, who, status, why))
        told = notice.transition
        if told.state == ACTIVE and decision.tells and told.alert_id not in verdict.told:
            self._first_told(verdict, situation, told)

    def _first_told(self, verdict: Verdict, situation: Situation, told: Transition) -> None:
        now_ms = situation.now_ms
        verdict.told.append(told.alert_id)
        following = what_next(self.policy, told.severity, now_ms, now_ms, now_ms, acknowledged=False)
        if following is not None:
            verdict.chains.append((told.alert_id, following.label, following.due_ms))

    # Marks.

    def _marks(self, verdict: Verdict, situation: Situation, fresh: Sequence[Notice]) -> None:
        """Bring the marks of open alerts up to date: of all when what holds has changed, else of the new ones."""
        out = self.matcher.out_of_service()
        now = (tuple(one.id for one in situation.quiets), situation.flaps, out)
        if now != self._marked:
            rows = self.book.standing()
            self._marked = now
        elif fresh and (situation.quiets or situation.flaps or out):
            rows = list(self.book.about({one.transition.alert_id for one in fresh}).values())
        else:
            return
        for row in rows:
            found = [one.mark for one in situation.quiets if self.matcher.means(one, row)]
            found += [OUT_OF_SERVICE] if row.entity in out else []
            if (row.rule, row.entity) in situation.flaps:
                found.append("flapping")
            marks = tuple(dict.fromkeys(found))
            if row.state != CLEARED and marks != row.policy.marks:
                verdict.marks[row.id] = marks


def quiet_of(row: QuietRow) -> Quiet:
    """Return a silence or window in the form that matches."""
    return Quiet(row.id, row.sort, row.matchers, row.from_ms, row.until_ms, row.who, row.why)
