"""The alarm budget as a number, the formula of flapping, and what comes next in a chain."""

from __future__ import annotations

import pytest

from alerts.budget import Told, reckon
from alerts.escalation import what_next
from alerts.flapping import SLOTS, judge, percent
from alerts.policy import Flapping, Flood, Policy, Step

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
T0 = 1_772_370_000_000


def told(minutes: list[float], receiver: str = "desk", rule: str = "lamp_out") -> list[Told]:
    return [Told(T0 + round(m * MINUTE), receiver, rule, f"device:{n}", alarm=True) for n, m in enumerate(minutes)]


def test_one_alarm_in_ten_minutes_is_just_the_budget() -> None:
    found = reckon(told([10 * n + 1 for n in range(144)]), {}, [], T0, T0 + DAY, Flood())
    (desk,) = found.desks
    assert (desk.alarms, desk.per_hour, desk.budget_share) == (144, 6.0, 1.0)
    assert (desk.peak_10_min, desk.flood_share, desk.in_flood) == (1, 0.0, False)


def test_a_flood_begins_with_ten_in_ten_minutes_and_ends_below_five() -> None:
    burst = [60 + n * 0.5 for n in range(12)]  # twelve from minute 60 to 65.5
    found = reckon(told(burst), {}, [], T0, T0 + 2 * HOUR, Flood())
    (desk,) = found.desks
    assert desk.peak_10_min == 12
    # The tenth comes at 64.5; after 73.5 fewer than five are younger than ten minutes: looks 65 to 73 of 121.
    assert desk.flood_share == pytest.approx(9 / 121)
    assert not desk.in_flood
    now = reckon(told(burst), {}, [], T0, T0 + 70 * MINUTE, Flood())
    assert now.desks[0].in_flood


def test_ends_count_as_notices_and_not_as_alarms() -> None:
    ends = [Told(T0 + n, "desk", "r", "e", alarm=False) for n in range(20)]
    (desk,) = reckon(ends, {}, [], T0, T0 + HOUR, Flood()).desks
    assert (desk.notices, desk.alarms, desk.flood_share) == (20, 0, 0.0)


def test_the_ten_worst_are_named_once_however_many_receivers_were_told() -> None:
    many = [Told(T0 + n, who, "lamp_out", "device:a", alarm=True) for n in range(5) for who in ("x", "y")]
    more = [Told(T0 + n, "x", "door_open", f"device:{n}", alarm=True) for n in range(20)]
    found = reckon(many + more, {}, [], T0, T0 + HOUR, Flood())
    assert found.worst[0] == ("lamp_out", "device:a", 5)
    assert len(found.worst) == 10
    assert found.worst_share == pytest.approx(14 / 25)


def test_alarms_are_split_by_severity_each_counted_once() -> None:
    grave = [Told(T0, who, "gas_h2s", "device:a", alarm=True, severity="critical") for who in ("x", "y")]
    mild = [Told(T0 + n, "x", "lamp_out", f"device:{n}", alarm=True, severity="minor") for n in range(3)]
    over = [Told(T0 + 9, "x", "door_open", "device:b", alarm=False, severity="major")]
    found = reckon(mild + grave + over, {}, [], T0, T0 + HOUR, Flood())
    assert list(found.severities.items()) == [("critical", 1), ("minor", 3)]


def test_chatter_and_stale_alerts_are_counted() -> None:
    changes = {("a", "x"): [T0, T0 + 20_000, T0 + 50_000], ("b", "x"): [T0, T0 + 50_000, T0 + 170_000]}
    found = reckon([], changes, [T0 - 2 * DAY, T0], T0, T0 + HOUR, Flood())
    assert found.chattering == (("a", "x", 3),)
    assert (found.standing, found.stale) == (2, 1)


def test_nagios_formula_of_all_none_and_the_newest_change() -> None:
    slot = 3 * MINUTE
    every = [T0 - n * slot for n in range(SLOTS)]
    assert percent(every, T0, slot) == pytest.approx(100.0)  # the weights add up to 20
    assert percent([], T0, slot) == 0.0
    assert percent([T0], T0, slot) == pytest.approx(100 * 1.25 / 20)
    assert percent([T0 - 19 * slot], T0, slot) == pytest.approx(100 * 0.75 / 20)
    assert percent([T0 - 20 * slot, T0 + 1], T0, slot) == 0.0  # outside the window
    assert percent([T0, T0 - 1, T0 - 2], T0, slot) == percent([T0], T0, slot)  # one slot changes once


@pytest.mark.parametrize(
    ("share", "flaps", "then"), [(30.0, False, False), (30.1, False, True), (25.0, True, True), (19.9, True, False)]
)
def test_between_the_limits_nothing_changes(share: float, flaps: bool, then: bool) -> None:  # noqa: FBT001
    assert judge(share, Flapping(), flaps=flaps) is then
    assert not judge(99.0, Flapping(on=False), flaps=flaps)


CHAIN = Policy(escalation={"major": (Step(15 * MINUTE, "lead"), Step(60 * MINUTE, "boss"))}, again_ms={"major": HOUR})


def test_the_chain_is_a_function_of_when_it_was_told() -> None:
    first = what_next(CHAIN, "major", T0, T0, T0, acknowledged=False)
    assert first is not None
    assert (first.label, first.due_ms, first.to) == ("escalated-1", T0 + 15 * MINUTE, "lead")
    second = what_next(CHAIN, "major", T0, first.due_ms, first.due_ms, acknowledged=False)
    assert second is not None
    assert (second.label, second.to) == ("escalated-2", "boss")
    taken = what_next(CHAIN, "major", T0, first.due_ms, first.due_ms, acknowledged=True)
    assert taken is not None
    assert (taken.label, taken.due_ms) == ("again-1", T0 + HOUR)
    late = what_next(CHAIN, "major", T0, T0 + HOUR, T0 + 5 * HOUR + 1, acknowledged=True)
    assert late is not None
    assert late.label == "again-6"  # those that were missed are not made up for
    assert what_next(CHAIN, "minor", T0, T0, T0, acknowledged=False) is None
