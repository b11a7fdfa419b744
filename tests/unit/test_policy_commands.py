"""Operators' commands as a person types them: on a house's operations database, beside or without the house."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from devices.yamlfile import ConfigError
from lamplighter.__main__ import app
from lamplighter.settings import load_settings
from storage.operations import Operations
from tests.unit.policy_city import transition

POLICY = """\
teams:
  night: {shifts: [{who: log, days: mon-fri}], fallback: log}
shelving: {longest: 2h, supervisors: [wang], supervisors_longest: 12h}
profiles:
  storm: {warning: orange}
"""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "lamplighter.yaml").write_text("data: data\npolicy: policy.yaml\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), terminal_width=140)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return str(done.output)


def an_alert(house: Path, *, latch: bool = False, ended: bool = False) -> str:
    operations = Operations(load_settings(house / "lamplighter.yaml").operations_url())
    begun = transition("lamp-0001", "active", 1_000, 1_000, latch=latch)
    operations.commit([begun], [], 1_000)
    if ended:
        operations.commit([transition("lamp-0001", "cleared", 2_000, 1_000, latch=latch)], [], 2_000)
    operations.close()
    return begun.alert_id


def test_a_silence_is_previewed_made_listed_and_ended(house: Path) -> None:
    (house / "data").mkdir()
    alert = an_alert(house)
    assert alert in run("silence", "add", "--rule", "lamp_*", "--preview")
    assert run("silence", "list") == "none\n"
    assert "silence 1: until" in run("silence", "add", "--rule", "lamp_*", "--until", "2h", "--why", "cable works")
    assert "rule=lamp_*" in run("silence", "list")
    assert run("maintenance", "list") == "none\n"
    assert run("silence", "end", "1", "--who", "li") == "silence 1: ended\n"
    assert run("silence", "list") == "none\n"
    assert "over" in run("silence", "list", "--all")
    assert "li  silence_end  silence:1" in run("audit")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("silence", "add", "--until", "2h", "--why", "x"), "needs at least one of rule"),
        (("silence", "add", "--rule", "x"), "--until and --why are needed"),
        (("silence", "add", "--rule", "x", "--until", "soon", "--why", "x"), "expected 2h, or a time"),
        (("maintenance", "end", "7"), "there is no maintenance 7"),
        (("warning", "purple"), "expected one of none, blue"),
        (("reset", "abcd"), "is not there"),
    ],
)
def test_what_cannot_be_is_refused_in_words(house: Path, words: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        run(*words)


def test_shelving_is_limited_and_longer_for_a_supervisor(house: Path) -> None:
    (house / "data").mkdir()
    alert = an_alert(house)
    with pytest.raises(ConfigError, match="li may shelve for at most 2 h"):
        run("shelve", alert, "--why", "known", "--until", "3h", "--who", "li")
    assert "shelved until" in run("shelve", alert, "--why", "known", "--until", "3h", "--who", "wang")
    assert "is shelved no more" in run("unshelve", alert, "--who", "li")


def test_a_latched_alert_is_reset_by_a_person(house: Path) -> None:
    (house / "data").mkdir()
    alert = an_alert(house, latch=True, ended=True)
    assert "reset" in run("reset", alert, "--why", "cover is back", "--who", "li")
    assert "cover is back" in run("audit", "--subject", f"alert:{alert}")


def test_warning_duty_and_budget_speak_plainly(house: Path) -> None:
    assert "warning none; profiles: storm" in run("warning")
    assert "warning red" in run("warning", "red", "--who", "li")
    assert "night: " in run("duty")
    assert "gaps in 14 days" in run("duty")
    assert "no alarm within 24 h" in run("budget")


def test_the_doctor_names_hours_without_anybody_and_profiles_that_nothing_switches(house: Path) -> None:
    rules = (
        "rules:\n  - {id: hot, device: streetlight, on: power_w > 5, severity: minor,\n"
        "     message: {en: x, zh: x}, profiles: {heat: {severity: major}}}\n"
    )
    (house / "rules.yaml").write_text(rules, encoding="utf-8")
    with (house / "lamplighter.yaml").open("a", encoding="utf-8") as file:
        file.write("rules: rules.yaml\nbroker: {port: 1}\n")
    told = " ".join(run("doctor").split())
    assert "team night: nobody is on duty" in told
    assert "'log' is told then" in told
    assert "rules name profiles that nothing switches on: heat" in told
