"""Silences, maintenance, shelves, latches, chains, floods and flapping, on a real operations database."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from devices.incident import IncidentChange
from devices.registry import Asset, Registry
from lamplighter.settings import Receiver
from tests.unit.policy_city import CATALOG, HOUR, MINUTE, T0, Paper, transition

CREW = Receiver(name="crew", url="log", min_severity="info")


def test_a_notice_is_told_at_once_when_nothing_speaks_against_it(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    alert = paper.begin()
    assert paper.decide() == [("active", "crew")]
    paper.end(alert)
    assert paper.decide(MINUTE) == [("cleared", "crew")]


@pytest.mark.parametrize("sort", ["silence", "maintenance"])
@pytest.mark.parametrize(
    ("matchers", "meant"),
    [
        ({"rule": "lamp_*"}, True),
        ({"rule": "lamp_offline"}, False),
        ({"entity": "lamp-000?"}, True),
        ({"entity": "device:lamp-0001", "severity": "minor"}, False),
        ({"district": "East", "kind": "streetlight"}, True),
        ({"road": "Elm*"}, True),
        ({"road": "Oak Road"}, False),
        ({"cabinet": "cab-0"}, True),
    ],
)
def test_what_a_silence_means_is_not_told_while_it_holds(
    tmp_path: Path, sort: str, matchers: dict[str, str], *, meant: bool
) -> None:
    paper = Paper(tmp_path)
    paper.book.add_quiet(sort, matchers, T0, T0 + HOUR, "li", "works", T0)
    alert = paper.begin()
    assert paper.decide() == ([] if meant else [("active", "crew")])
    row = paper.operations.alert(alert)
    assert row is not None
    assert row.policy.marks == (({"silence": "silenced", "maintenance": "out_of_service"}[sort],) if meant else ())


def test_what_is_open_when_a_silence_ends_is_told_then(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    paper.book.add_quiet("silence", {"rule": "*"}, T0, T0 + HOUR, "li", "works", T0)
    alert = paper.begin()
    assert paper.decide() == []
    assert paper.decide(59 * MINUTE) == []
    paper.restart()
    assert paper.decide(MINUTE) == [("active", "crew")]
    row = paper.operations.alert(alert)
    assert row is not None
    assert row.policy.marks == ()


def test_what_came_and_went_in_a_silence_is_never_told(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    paper.book.add_quiet("silence", {"rule": "*"}, T0, T0 + HOUR, "li", "works", T0)
    alert = paper.begin()
    paper.decide()
    paper.end(alert)
    assert paper.decide(MINUTE) == []
    assert paper.decide(2 * HOUR) == []
    assert paper.fates() == {"dropped": 2}


def test_the_end_of_what_was_told_before_a_silence_is_told_in_it(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    alert = paper.begin()
    paper.decide()
    paper.book.add_quiet("silence", {"rule": "*"}, T0, T0 + HOUR, "li", "works", T0)
    paper.end(alert)
    assert paper.decide(MINUTE) == [("cleared", "crew")]


def test_a_silence_that_somebody_ends_holds_no_longer(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    quiet = paper.book.add_quiet("silence", {"rule": "*"}, T0, T0 + HOUR, "li", "works", T0)
    paper.begin()
    paper.decide()
    assert paper.book.end_quiet(quiet.id, "silence", "wang", T0 + 1) is not None
    assert paper.book.end_quiet(quiet.id, "silence", "wang", T0 + 2) is None
    assert paper.decide(MINUTE) == [("active", "crew")]
    assert [(row.who, row.what) for row in paper.book.audit()] == [("wang", "silence_end"), ("li", "silence")]


def test_what_the_registry_has_out_of_service_is_marked_and_not_told_until_it_is_in_service_again(
    tmp_path: Path,
) -> None:
    paper = Paper(tmp_path)
    lamps = [Asset("lamp-0001", "streetlight", "lamp", facts={"out_of_service": 1.0}), paper.registry.assets[2]]
    paper.house.registry = Registry(CATALOG, lamps)
    alert = paper.begin()
    paper.begin("lamp-0002")
    assert paper.decide() == [("active", "crew")]
    row = paper.operations.alert(alert)
    assert row is not None
    assert row.policy.marks == ("out_of_service",)
    paper.house.registry = paper.registry
    assert paper.decide(10_000) == [("active", "crew")]


def test_an_alert_that_is_shelved_before_it_is_told_is_told_when_the_shelf_ends(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    alert = paper.begin()
    paper.book.shelve(alert, T0 + HOUR, "li", "known", T0)
    assert paper.decide() == []
    assert paper.decide(59 * MINUTE) == []
    assert paper.decide(MINUTE + 1) == [("active", "crew")]


def test_an_alert_that_was_told_is_told_again_when_its_shelf_ends(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    alert = paper.begin(severity="minor")
    paper.decide()
    paper.book.shelve(alert, T0 + HOUR, "li", "known", T0)
    assert paper.decide(30 * MINUTE) == []
    paper.restart()
    assert [who for _, who in paper.decide(31 * MINUTE)] == ["crew"]
    assert "shelf" in paper.message("unshelved")
    assert paper.decide(HOUR) == []


def test_a_cleared_alert_cannot_be_shelved(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    alert = paper.begin()
    paper.end(alert)
    assert paper.book.shelve(alert, T0 + HOUR, "li", "", T0) is None


def test_a_latched_alert_stays_until_somebody_resets_it(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    alert = paper.begin(latch=True)
    paper.decide()
    paper.end(alert, latch=True)
    paper.decide(MINUTE)
    row = paper.operations.alert(alert)
    assert row is not None
    assert (row.state, row.cleared_ms) == ("latched", T0)
    assert [one.id for one in paper.operations.alerts("standing")] == [alert]
    assert paper.operations.alerts("open") == []
    assert paper.book.reset(alert, "li", "seen", T0 + HOUR) is not None
    assert paper.book.reset(alert, "li", "seen", T0 + HOUR) is None
    row = paper.operations.alert(alert)
    assert row is not None
    assert (row.state, row.policy.reset_by) == ("cleared", "li")


def test_what_latched_and_begins_again_is_one_alert_not_two(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    first = paper.begin(latch=True)
    paper.end(first, latch=True)
    paper.now_ms += MINUTE
    second = paper.begin(latch=True)
    assert [one.id for one in paper.operations.alerts("standing")] == [second]


CHAIN = """
teams:
  night:
    shifts:
      - {who: li, days: all, from: "20:00", until: "22:00"}
      - {who: wang, days: all, from: "22:00", until: "06:00"}
    fallback: boss
    handover: true
escalation:
  critical: [{after: 5m, to: lead}, {after: 15m, to: boss}]
"""
PEOPLE = (
    Receiver(name="desk", team="night", min_severity="minor"),
    *(Receiver(name=name, url="log", direct=False) for name in ("li", "wang", "lead", "boss")),
)


def test_an_alert_that_nobody_takes_on_goes_up_the_chain_once_each_and_across_a_restart(tmp_path: Path) -> None:
    paper = Paper(tmp_path, CHAIN, PEOPLE)
    paper.begin()
    assert paper.decide() == [("active", "li")]
    assert paper.decide(5 * MINUTE - 1) == []
    assert paper.decide(1) == [("escalated-1", "lead")]
    paper.restart()
    assert paper.decide(MINUTE) == []
    assert paper.decide(9 * MINUTE) == [("escalated-2", "boss")]
    assert "Nobody has taken this on for 15 min" in paper.message("escalated-2")
    assert paper.decide(44 * MINUTE) == []
    assert paper.decide(MINUTE) == [("again-1", "wang"), ("handover", "wang")]  # it is 22:00


def test_a_house_that_was_away_takes_each_step_that_came_due_once(tmp_path: Path) -> None:
    paper = Paper(tmp_path, CHAIN, PEOPLE)
    paper.begin()
    paper.decide()
    paper.restart()
    told = paper.decide(20 * MINUTE) + paper.decide(1) + paper.decide(1)
    assert told == [("escalated-1", "lead"), ("escalated-2", "boss")]


def test_who_takes_an_alert_on_ends_the_chain(tmp_path: Path) -> None:
    paper = Paper(tmp_path, CHAIN, PEOPLE)
    alert = paper.begin()
    paper.decide()
    paper.operations.acknowledge(alert, "li", "", paper.now_ms)
    assert paper.decide(20 * MINUTE) == []
    paper.end(alert)
    assert [state for state, _ in paper.decide()] == ["cleared"]
    assert paper.decide(2 * HOUR) == []


def test_a_shelved_alert_does_not_go_up_the_chain(tmp_path: Path) -> None:
    paper = Paper(tmp_path, CHAIN, PEOPLE)
    alert = paper.begin()
    paper.decide()
    paper.book.shelve(alert, T0 + HOUR, "li", "known", T0)
    assert paper.decide(30 * MINUTE) == []


def test_the_end_goes_to_those_on_duty_and_to_those_who_were_told_the_beginning(tmp_path: Path) -> None:
    paper = Paper(tmp_path, CHAIN, PEOPLE)
    alert = paper.begin(severity="minor")
    paper.decide()
    paper.now_ms += 2 * HOUR  # 23:00: wang is on duty
    paper.end(alert)
    assert sorted(paper.decide()) == [("cleared", "li"), ("cleared", "wang")]


def test_nobody_on_duty_means_the_fallback(tmp_path: Path) -> None:
    paper = Paper(tmp_path, CHAIN, PEOPLE)
    paper.now_ms += 12 * HOUR
    paper.begin()
    assert paper.decide() == [("active", "boss")]


def test_who_comes_on_duty_is_told_what_is_open(tmp_path: Path) -> None:
    paper = Paper(tmp_path, CHAIN, PEOPLE)
    paper.begin(severity="minor")
    paper.begin("lamp-0002", severity="info")  # less than the desk wants
    paper.decide()
    assert paper.decide(HOUR) == [("handover", "wang")]
    assert "1 alerts are open" in paper.message("handover")


def test_in_a_flood_minor_alarms_come_as_one_summary_and_none_is_missing(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    told = []
    for number in range(30):
        paper.begin(f"lamp-{number:04d}", severity="minor")
        told += paper.decide(1000)
    assert told == [("active", "crew")] * 9
    paper.begin("lamp-0035", severity="critical")
    assert paper.decide() == [("active", "crew")]
    assert paper.decide(10 * MINUTE) == [("summary", "crew")]
    assert "21 began and 0 ended" in paper.message("summary")
    assert paper.fates() == {"sent": 11, "summed": 21}
    assert paper.decide(10 * MINUTE) == []  # the flood is over
    paper.begin("lamp-0039", severity="minor")
    assert paper.decide() == [("active", "crew")]


def test_a_flood_from_before_the_clock_was_set_back_ends_and_is_told(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    for number in range(30):
        paper.begin(f"lamp-{number:04d}", severity="minor")
        paper.decide(1000)
    assert paper.fates()["gathered"] == 21
    assert paper.decide(-HOUR) == [("summary", "crew")]
    paper.begin("lamp-0039", severity="minor")
    assert paper.decide(MINUTE) == [("active", "crew")]


def test_a_receiver_may_want_summaries_always(tmp_path: Path) -> None:
    paper = Paper(tmp_path, "", (Receiver(name="office", url="log", summary="15m", min_severity="info"), CREW))
    alert = paper.begin()
    paper.end(alert)
    assert sorted(paper.decide()) == [("active", "crew"), ("cleared", "crew")]
    assert paper.decide(14 * MINUTE) == []
    assert paper.decide(MINUTE) == [("summary", "office")]
    assert "1 began and 1 ended" in paper.message("summary")


def test_what_flaps_is_told_once_and_again_when_it_is_steady(tmp_path: Path) -> None:
    paper = Paper(tmp_path, "", (CREW,))
    told: list[tuple[str, str]] = []
    for _ in range(10):
        alert = paper.begin(severity="major")
        told += paper.decide(3 * MINUTE)
        paper.end(alert)
        told += paper.decide(3 * MINUTE)
    states = [state for state, _ in told]
    assert states.count("flapping") == 1
    assert states.index("flapping") == len(states) - 1  # nothing more after it
    assert len(states) < 9
    last = paper.begin(severity="major")
    paper.decide(3 * MINUTE)
    row = paper.operations.alert(last)
    assert row is not None
    assert row.policy.marks == ("flapping",)
    quiet = [paper.decide(3 * MINUTE) for _ in range(20)]
    states = [state for part in quiet for state, _ in part]
    assert sorted(states) == ["active", "cleared", "steady"]  # the end of what had been told is told too
    assert paper.book.flaps() == []


def test_repeating_a_round_tells_nothing_twice(tmp_path: Path) -> None:
    paper = Paper(tmp_path, CHAIN, PEOPLE)
    paper.begin()
    paper.decide()
    for _ in range(5):
        paper.restart()
        assert paper.decide() == []


def an_incident(paper: Paper, *lamps: str) -> str:
    """Let alerts begin that one incident tells of."""
    begun = [transition(lamp, "active", paper.now_ms, paper.now_ms) for lamp in lamps]
    name = begun[0].alert_id
    mine = [replace(one, incident=name) for one in begun]
    notice = replace(mine[0], alert_id=name)
    change = IncidentChange(
        name, "lamp_out", mine[0].entity, "streetlight", "East", "", "critical", is_open=True,
        onset_ms=paper.now_ms, opened_ms=paper.now_ms, at_ms=paper.now_ms, told=True, alerts=len(lamps), suppressed=0,
        devices=len(lamps), message=notice.message, notice=notice,
    )  # fmt: skip
    told = paper.house.settings.told()
    paper.operations.commit(mine, told, paper.now_ms, incidents=[change], undecided=True)
    return name


@pytest.mark.parametrize(
    ("road", "told"), [("Elm Road", [("active", "crew")]), ("*", [])], ids=["one of its two", "both of them"]
)
def test_an_incident_is_held_back_only_while_all_its_alerts_are_silenced(
    tmp_path: Path, road: str, told: list[tuple[str, str]]
) -> None:
    paper = Paper(tmp_path)
    paper.book.add_quiet("silence", {"road": road}, T0, T0 + HOUR, "li", "works", T0)
    an_incident(paper, "lamp-0001", "lamp-0007")  # in Elm Road and in Oak Road
    assert paper.decide() == told


def test_an_incident_that_somebody_takes_on_goes_up_no_chain(tmp_path: Path) -> None:
    paper = Paper(tmp_path, CHAIN, PEOPLE)
    incident = an_incident(paper, "lamp-0001", "lamp-0007")
    assert paper.decide() == [("active", "li")]
    assert paper.decide(5 * MINUTE) == [("escalated-1", "lead")]
    paper.operations.acknowledge_incident(incident, "li", "", paper.now_ms)
    assert paper.decide(20 * MINUTE) == []
