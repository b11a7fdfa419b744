"""The alarm budget of a running house, reckoned from what its outbox says was told; for API, metrics and health."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from alerts.budget import Budget, Told, reckon
from alerts.policy import HOUR_MS, Flood
from api.house import Figure
from storage.policybook import PolicyBook

DAY_MS = 24 * HOUR_MS
FRESH_S = 15.0  # a budget is reckoned no more often than this for each length of time


def budget_of(book: PolicyBook, flood: Flood, now_ms: int, length_ms: int = DAY_MS) -> Budget:
    """Return the budget of the latest ``length_ms``. Blocking."""
    since_ms = now_ms - length_ms
    told = [Told(*row) for row in book.told(since_ms)]
    return reckon(told, book.all_changes(since_ms), book.open_since(), since_ms, now_ms, flood)


def in_words(budget: Budget) -> str:
    """Return the budget in one sentence, for the health and the doctor."""
    hours = (budget.until_ms - budget.from_ms) / HOUR_MS
    stale = f"; {budget.stale} of {budget.standing} open alerts are older than a day" if budget.stale else ""
    if not budget.desks:
        return f"no alarm within {hours:.0f} h{stale}"
    busiest = budget.desks[0]
    flood = "; a flood is on" if any(one.in_flood for one in budget.desks) else ""
    return (
        f"{busiest.receiver} was told {busiest.per_hour:.1f} alarms an hour within {hours:.0f} h "
        f"(6 are manageable), at most {busiest.peak_10_min} in ten minutes, "
        f"{100 * busiest.flood_share:.1f} % of the time in floods{flood}{stale}"
    )


@dataclass
class Budgets:
    """Budgets by length of time, kept for a few seconds, for metrics are asked for often.

    Attributes:
        reckoned: gives the budget of so many milliseconds.
    """

    reckoned: Callable[[int], Budget]
    _kept: dict[int, tuple[float, Budget]] = field(default_factory=dict)

    def of(self, length_ms: int = DAY_MS) -> Budget:
        """Return the budget of the latest ``length_ms``. Blocking."""
        known = self._kept.get(length_ms)
        if known is None or time.monotonic() - known[0] > FRESH_S:
            known = self._kept[length_ms] = (time.monotonic(), self.reckoned(length_ms))
        return known[1]


def figures(budget: Budget, marked: dict[str, int]) -> list[Figure]:
    """Return the budget for /metrics."""
    by: dict[str, dict[tuple[str, ...], float]] = {"now": {}, "hour": {}, "peak": {}, "share": {}, "flood": {}}
    for desk in budget.desks:
        name = (desk.receiver,)
        by["now"][name], by["hour"][name] = float(desk.last_10_min), desk.per_hour
        by["peak"][name], by["share"][name] = float(desk.peak_10_min), desk.flood_share
        by["flood"][name] = float(desk.in_flood)
    who = ("receiver",)
    return [
        Figure("alarms_10_min", "Alarms told within the latest ten minutes; 1 is the budget.", by["now"], who),
        Figure("alarms_per_hour", "Alarms told an hour, average of the latest day; 6 is the budget.", by["hour"], who),
        Figure("alarms_peak_10_min", "Alarms told in the worst ten minutes of the latest day.", by["peak"], who),
        Figure("alarm_flood_share", "Share of the latest day in a flood of alarms; below 0.01.", by["share"], who),
        Figure("alarm_flood", "1 while there is a flood of alarms.", by["flood"], who),
        Figure("alarms_worst_ten_share", "Share of a day's alarms that ten make.", {(): budget.worst_share}),
        Figure("alarms_by_severity", "Alarms told within the latest day; about 5, 15 and 80 of a hundred are usual.",
               {(name,): float(number) for name, number in budget.severities.items()}, ("severity",)),
        Figure("alerts_stale", "Alerts that are open for longer than a day.", {(): float(budget.stale)}),
        Figure("alerts_chattering", "Alerts of a day that changed thrice in a minute.", {(): len(budget.chattering)}),
        Figure("alerts_marked", "Open alerts by what people and policy say of them.",
               {(name,): float(number) for name, number in marked.items()}, ("mark",)),
    ]  # fmt: skip
