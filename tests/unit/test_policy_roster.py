"""Who is on duty, by the clock on the wall; and every mistake in a policy file by line, key and accepted form."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from alerts.policy import Policy
from alerts.policy_file import KEYS, parse_policy
from alerts.policy_profiles import active
from devices.yamlfile import ConfigError, parse_yaml

ZONE = ZoneInfo("Europe/Berlin")
TEAM = """
teams:
  lighting:
    shifts:
      - {who: zhang, days: mon-fri, from: "08:00", until: "20:00"}
      - {who: [li, chen], days: mon-fri, from: "20:00", until: "08:00"}
      - {who: wang, days: [sat, sun]}
    overrides:
      - {date: 2026-10-01, who: zhao}
      - {from: "2026-12-24", until: "2026-12-26", who: [zhao]}
    fallback: boss
"""


def policy(text: str, receivers: tuple[str, ...] = ()) -> Policy:
    return parse_policy(parse_yaml(text, "policy.yaml"), receivers, text)


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp() * 1000)


@pytest.mark.parametrize(
    ("moment", "who"),
    [
        ("2026-03-02T08:00", ("zhang",)),  # Monday
        ("2026-03-02T19:59", ("zhang",)),
        ("2026-03-02T20:00", ("li", "chen")),
        ("2026-03-03T07:59", ("li", "chen")),
        ("2026-03-02T07:59", ()),  # Sunday's shift ended at midnight, Monday's night has not begun
        ("2026-03-07T00:30", ("li", "chen", "wang")),  # Friday's night goes on into Saturday
        ("2026-03-07T12:00", ("wang",)),
        ("2026-10-01T09:00", ("zhao",)),
        ("2026-10-02T07:00", ("zhao",)),  # the night that began on that day
        ("2026-10-02T09:00", ("zhang",)),
        ("2026-12-26T12:00", ("zhao",)),
    ],
)
def test_who_is_on_duty_follows_the_wall_clock(moment: str, who: tuple[str, ...]) -> None:
    assert policy(TEAM).teams["lighting"].on_duty(at(moment), ZONE) == who


def test_a_night_in_which_the_clocks_change_has_no_gap() -> None:
    text = 'teams: {t: {shifts: [{who: a, from: "08:00", until: "20:00"}, {who: b, from: "20:00", until: "08:00"}]}}'
    team = policy(text).teams["t"]
    assert team.gaps(at("2026-03-28T12:00"), ZONE, days=2) == []
    assert team.gaps(at("2026-10-24T12:00"), ZONE, days=2) == []


def test_a_shift_from_noon_to_noon_is_a_whole_day_that_began_the_day_before() -> None:
    team = policy('teams: {t: {shifts: [{who: a, days: mon, from: "12:00", until: "12:00"}]}}').teams["t"]
    assert team.on_duty(at("2026-03-02T11:59"), ZONE) == ()  # Monday morning
    assert team.on_duty(at("2026-03-02T12:00"), ZONE) == ("a",)
    assert team.on_duty(at("2026-03-03T11:59"), ZONE) == ("a",)
    assert team.on_duty(at("2026-03-03T12:00"), ZONE) == ()


def test_gaps_are_named_and_the_fallback_is_told_in_them() -> None:
    team = policy(TEAM).teams["lighting"]
    gaps = team.gaps(at("2026-03-01T12:00"), ZONE, days=7)
    assert gaps == [(at("2026-03-02T00:00"), at("2026-03-02T08:00"))]
    assert team.told(gaps[0][0], ZONE) == ("boss",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("teams: {a: {shifts: [{who: x, days: someday}]}}", r"policy.yaml:1: .*days: expected days such as mon-fri"),
        ('teams: {a: {shifts: [{who: x, from: "25:00"}]}}', "expected a time of day"),
        ("teams: {a: {shift: []}}", "unknown key"),
        ("teams: {a: {shifts: [{who: x}], overrides: [{date: soon, who: x}]}}", "expected a day such as"),
        ("escalation: {critical: [{after: 15m, to: x}, {after: 5m, to: y}]}", "each step comes later"),
        ("escalation: {grave: []}", "unknown key; known here: critical"),
        ("flood: {starts: 5, ends: 6}", "a flood ends below as many"),
        ("flapping: {high: 20, low: 30}", "smaller share"),
        ("shelving: {longest: 8}", "a number without a unit"),
        ("profiles: {storm: {}}", "needs days"),
        ('profiles: {wet: {from: "05-15", until: "13-01"}}', "expected a day of the year"),
        ("profiles: {storm: {warning: purple}}", "expected one of blue"),
        ("alertmanager: {repeat: 10m}", "expected at most 150s"),
        ("colour: red", "unknown key; known here: teams"),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        policy(text)


def test_a_person_whom_the_settings_do_not_know_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'boss' is no receiver of the settings \(notify: zhang, li\)"):
        policy("teams: {a: {shifts: [{who: zhang}], fallback: boss}}", ("zhang", "li"))


@pytest.mark.parametrize(
    ("moment", "warning", "names"),
    [
        ("2026-06-01T12:00", "none", ("flood_season",)),
        ("2026-06-01T12:00", "red", ("flood_season", "storm")),
        ("2026-01-01T12:00", "yellow", ("winter",)),
        ("2026-01-01T12:00", "orange", ("storm", "winter")),
        ("2026-09-30T23:59", "none", ("flood_season",)),
        ("2026-10-01T00:00", "none", ()),
    ],
)
def test_profiles_hold_by_day_and_by_warning(moment: str, warning: str, names: tuple[str, ...]) -> None:
    found = policy(
        'profiles: {flood_season: {from: "05-15", until: "09-30"}, storm: {warning: orange}, '
        'winter: {from: "12-01", until: "02-29"}}'
    )
    assert active(found.profiles, warning, at(moment), ZONE) == names


def test_the_pages_example_is_a_policy_and_says_the_defaults() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
    text = page.split("```yaml\n")[1].split("```")[0]
    names = ("zhang", "li", "chen", "wang", "zhao", "duty-manager", "shift-lead", "lighting")
    found = policy(text, names)
    plain = Policy()
    assert (found.flood, found.flapping, found.again_ms) == (plain.flood, plain.flapping, plain.again_ms)
    assert found.alertmanager_repeat_ms == plain.alertmanager_repeat_ms
    assert (found.shelving.longest_ms, found.shelving.supervisors_longest_ms) == (8 * 3_600_000, 24 * 3_600_000)
    assert all(f"`{key}" in page for key in KEYS)
