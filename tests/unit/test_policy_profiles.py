"""A weather warning switches a running house's rules and receivers, tells people, and outlives a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from alerts.rules import parse_rules
from devices.kinds import load_catalog
from devices.yamlfile import ConfigError, parse_yaml
from lamplighter.clock import Clock
from lamplighter.settings import City, Receiver, Settings
from lamplighter.wiring import House
from tests.small_house import CITY, NIGHT_MS, ZONE

pytestmark = pytest.mark.anyio
RULE = """
rules:
  - id: well_high
    device: pump
    on: level_m > 3.2
    for: 5m
    severity: major
    message: {{en: high, zh: 高}}
    profiles: {profiles}
"""
STORM = "{storm: {severity: critical, for: 1m, on: level_m > 2.5}}"
POLICY = "profiles: {storm: {warning: orange, min_severity: {office: info}}}\n"


class Held(Clock):
    """A clock that stands where it is put."""

    def __init__(self, now_ms: int) -> None:
        super().__init__(now_ms, 1.0)
        self.held_ms = now_ms

    def now_ms(self) -> int:
        return self.held_ms


def settings(folder: Path) -> Settings:
    (folder / "rules.yaml").write_text(RULE.format(profiles=STORM), encoding="utf-8")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    return Settings(
        city=City(id=CITY, timezone=ZONE), data=folder / "data", rules=folder / "rules.yaml",
        policy=folder / "policy.yaml", notify=(Receiver(name="office", url="log", min_severity="major"),),
    )  # fmt: skip


async def reload(house: House) -> None:
    """Have the house reload between two groups of its loop, which is not running here."""
    asked = asyncio.create_task(house.reloader.reload())
    async with asyncio.timeout(30):
        while not house.watch.changes and not asked.done():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)
        while house.watch.changes:
            await house.watch.changes.popleft()()
    assert (await asked).taken


async def test_a_warning_switches_rules_and_receivers_and_is_told(tmp_path: Path) -> None:
    wanted, clock = settings(tmp_path), Held(NIGHT_MS)
    house = House(wanted, clock)
    house.policy.round(clock.held_ms)
    assert not house.policy.due_switch(clock.held_ms)
    assert (house.rules["well_high"].severity, house.rules["well_high"].for_ms) == ("major", 300_000)

    house.operations.policy.put_state("warning", "red", "li", clock.held_ms)
    clock.held_ms += 10_000
    house.policy.round(clock.held_ms)
    assert house.policy.due_switch(clock.held_ms)
    await reload(house)
    assert (house.rules["well_high"].severity, house.rules["well_high"].for_ms) == ("critical", 60_000)
    assert house.engine.rules is house.rules
    assert house.profiles() == ("storm",)
    assert [one.min_severity for one in house.watch.receivers] == ["info"]
    clock.held_ms += 10_000
    house.policy.round(clock.held_ms)
    (told,) = house.operations.outbox_due(clock.held_ms)
    assert (told.state, told.receiver) == ("active", "office")
    assert "Profile storm is on" in told.transition.message["en"]
    house.operations.outbox_sent(told.id, clock.held_ms)
    assert not house.policy.due_switch(clock.held_ms)
    house.close()

    house = House(wanted, clock)  # the warning holds still
    assert house.rules["well_high"].severity == "critical"
    assert [one.min_severity for one in house.watch.receivers] == ["info"]
    house.operations.policy.put_state("warning", "none", "li", clock.held_ms)
    house.policy.round(clock.held_ms)
    assert house.operations.outbox_due(clock.held_ms) == []  # nothing was switched by the restart
    assert house.policy.due_switch(clock.held_ms)
    await reload(house)
    assert house.rules["well_high"].severity == "major"
    house.policy.round(clock.held_ms)
    assert [one.state for one in house.operations.outbox_due(clock.held_ms)] == ["cleared"]
    house.close()


@pytest.mark.parametrize(
    ("profiles", "told"),
    [
        ("{storm: {on: levle_m > 2}}", r"levle_m.* \(under profile storm\)"),
        ("{storm: {severity: grave}}", r"severity: expected one of critical.* \(under profile storm\)"),
        ("{storm: {id: other}}", "a profile cannot change this"),
        ("{storm: {}}", "changes nothing"),
        ("{storm: {colour: red}}", r"unknown key.* \(under profile storm\)"),
    ],
)
def test_every_variant_of_a_rule_is_checked_where_it_stands(profiles: str, told: str) -> None:
    text = RULE.format(profiles=profiles)
    with pytest.raises(ConfigError, match=told) as wrong:
        parse_rules(parse_yaml(text, "rules.yaml"), load_catalog())
    assert all(one.startswith("rules.yaml:9: ") for one in wrong.value.problems)


def test_a_rule_without_its_profile_keeps_its_meaning() -> None:
    def fingerprint(text: str, *names: str) -> Any:  # noqa: ANN401 - a string
        return parse_rules(parse_yaml(text, "rules.yaml"), load_catalog(), "", names)["well_high"].fingerprint

    plain = RULE.format(profiles=STORM).replace("    profiles: " + STORM + "\n", "")
    assert fingerprint(RULE.format(profiles=STORM)) == fingerprint(plain)
    assert fingerprint(RULE.format(profiles=STORM), "storm") != fingerprint(plain)
    assert fingerprint(RULE.format(profiles=STORM), "other") == fingerprint(plain)
