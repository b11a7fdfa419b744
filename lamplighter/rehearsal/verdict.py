"""What must hold in a rehearsal once all is well again: the house's books against the stage's and the oracle's."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from alerts.escalation import AGAIN
from alerts.policy_words import SUMMARY
from devices.batch import MARK_FUTURE, MARK_LATE
from devices.transition import ACTIVE, CLEARED, SEVERITIES, alert_id
from lamplighter.rehearsal import books
from lamplighter.rehearsal.checks import EVIDENCE, at_any_time
from simulators.oracle import Oracle
from simulators.stage import town
from storage.records import Record
from storage.timeseries import MARKS, SENT_MS

if TYPE_CHECKING:
    from lamplighter.rehearsal.play import Rehearsal
    from lamplighter.wiring import House


def at_the_end(play: Rehearsal) -> Iterator[str]:
    """Yield what is wrong once all is well (I1 to I6)."""
    house = play.house
    assert house is not None  # noqa: S101 - it is well
    house.journal.sync()
    records = books.records(play, house)
    at_any_time(play)
    yield from _store_is_journal(play, house)
    yield from _quarantine(play, house)
    yield from _alerts(house, records)
    yield from _gathered(play, house)
    yield from _notices(play, house)
    told = house.session.counters["session_lost"]
    if told < play.sessions_lost:
        yield f"the broker had lost the session {play.sessions_lost} times in this life, session_lost says {told}"


def _store_is_journal(play: Rehearsal, house: House) -> Iterator[str]:
    points = books.points(play)
    said = {(one.kind, one.device, one.ts): one for spoken in play.said.values() for one in spoken.readings}
    for place, point in points.items():
        values = {name: value for name, value in point.items() if name not in (SENT_MS, MARKS)}
        if place not in said:
            yield f"the store holds {place}, which nobody said"
            return
        if values != dict(said[place].values):
            yield f"the store holds {place} as {values}, it was said as {said[place].values}"
            return
    readings, _ = books.in_journal(play, house)
    twice = [place for place, values in readings.items() if len(values) > 1]
    if twice and not play.released:
        yield f"{len(twice)} readings are in the journal twice: {twice[:EVIDENCE]}"


def _quarantine(play: Rehearsal, house: House) -> Iterator[str]:
    kept = house.operations.quarantine_list(limit=100_000)
    unread = {(row.topic, row.payload) for row in kept if row.reason != "refused"}
    owed = {
        (spoken.topic, spoken.payload)
        for number, spoken in play.said.items()
        if not spoken.readings and number in play.broker.acknowledged and number < play.calm_number
    }
    said = {(spoken.topic, spoken.payload) for spoken in play.said.values() if not spoken.readings}
    if owed - unread:
        yield f"{len(owed - unread)} messages that cannot be read are not in quarantine: {min(owed - unread)}"
    if unread - said:
        yield f"quarantine holds what nobody said: {min(unread - said)}"
    refused = {row.payload for row in kept if row.reason == "refused"}
    lacking = [
        one
        for number, one in books.owed(play)
        if one.unwanted and number < play.calm_number and f"{one.kind} {one.device} {one.ts}".encode() not in refused
    ]
    if lacking:
        yield f"{len(lacking)} readings that the store refused are not in quarantine: {lacking[0]}"


# Alerts and notices.


def _alerts(house: House, records: list[Record]) -> Iterator[str]:
    """Compare alerts with what the slow oracle makes of the same records (I3)."""
    oracle = Oracle(house.rules, house.registry, house.sky)
    expected: dict[tuple[str, str, str], tuple[int, str]] = {}
    for record in records:
        oracle.begin(record.now_ms)
        told = []
        for batch in record.batches:
            names = batch.kind.field_names()
            rows = zip(
                batch.device.tolist(),
                batch.time_ms.tolist(),
                batch.marks.tolist(),
                batch.values.T.tolist(),
                strict=True,
            )
            for row, time_ms, marks, values in rows:
                held = {name: value for name, value in zip(names, values, strict=True) if not math.isnan(value)}
                late, ahead = bool(marks & MARK_LATE), bool(marks & MARK_FUTURE)
                told += oracle.reading(row, time_ms, held, record.now_ms, late=late, ahead=ahead)
        told += oracle.tick(record.now_ms)
        for one in told:
            about = f"{one.rule} on {one.entity} since {one.onset_ms}"
            expected.setdefault(
                (alert_id(one.rule, one.entity, one.onset_ms), one.state, about), (one.at_ms, one.reason)
            )
    found: dict[tuple[str, str, str], tuple[int, str]] = {}
    for row in house.operations.alerts(limit=100_000):
        about = _about(row.rule, row.entity, row.onset_ms)
        if row.active_ms is not None:
            found[row.id, ACTIVE, about] = (row.active_ms, "")
        if row.cleared_ms is not None:
            found[row.id, CLEARED, about] = (row.cleared_ms, row.reason)
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            yield f"{key[2]}, {key[1]}: the oracle says {expected.get(key)}, the house {found.get(key)}"
            return


def _about(rule: str, entity: str, onset_ms: int) -> str:
    return f"{rule} on {entity} since {onset_ms}"


def _gathered(play: Rehearsal, house: House) -> Iterator[str]:
    """Check that each alert is told in its incident, or explained by another that is; or over before it was told."""
    incidents = {row.id: row for row in house.operations.incidents(limit=100_000)}
    alerts = {row.id: row for row in house.operations.alerts(limit=100_000)}
    wait_ms = house.settings.incidents.group_wait_s * 1000
    for row in alerts.values():
        about = _about(row.rule, row.entity, row.onset_ms)
        incident = incidents.get(row.incident)
        if incident is None:
            yield f"{about} belongs to no incident"
            return
        parent = alerts.get(row.suppressed_by)
        if row.suppressed_by and (parent is None or parent.incident != row.incident):
            yield f"{about} is explained by {row.suppressed_by}, which is {parent and 'in another incident'}"
            return
        if incident.told_ms is not None or incident.reason == "merged":
            continue
        if incident.state != CLEARED or incident.reason != "brief":
            yield f"{about}: nobody was told of its incident {incident.id}, {incident.state} {incident.reason}"
            return
        if row.rule in town.EVENTS:
            yield f"{about} is an event, and nobody was told of it"
            return
        lasted_ms = (incident.closed_ms or 0) - incident.opened_ms
        if lasted_ms >= wait_ms and "clock jumps" not in {fault.name for fault in play.faults}:
            yield f"{about}: nobody was told of its incident, which lasted {lasted_ms} ms"
            return


def _owed(house: House) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return the keys that each receiver must have been shown, and those that it may have been shown.

    What has become graver owes its later notices to those who were not to be told of the first.
    """
    owed: set[tuple[str, str]] = set()
    allowed: set[tuple[str, str]] = set()
    for row in house.operations.incidents(limit=100_000):
        if row.told_ms is None:
            continue
        turns = [f"{row.id}:{ACTIVE}{n if n > 1 else ''}" for n in range(1, row.notices + 1)]
        ends = [f"{row.id}:{CLEARED}"] if row.state == CLEARED and row.reason == "recovered" else []
        for receiver in house.settings.notify:
            if SEVERITIES.index(row.severity) > SEVERITIES.index(receiver.min_severity):
                continue
            wants_all = receiver.min_severity == SEVERITIES[-1]
            keys = [*(turns if wants_all else turns[-1:]), *ends]
            owed |= {(receiver.name, f"{key}:{receiver.name}") for key in keys}
            allowed |= {(receiver.name, f"{key}:{receiver.name}") for key in [*turns, *ends]}
    return owed, allowed


def _notices(play: Rehearsal, house: House) -> Iterator[str]:
    """Check that each incident reached each receiver, in order, under its keys, and nothing else did (I4).

    In a flood of alarms it may have reached one in a summary, which must have reached that one.
    """
    owed, allowed = _owed(house)
    shown: dict[tuple[str, str], list[tuple[float, bool]]] = {}
    for told in play.phones.told:
        shown.setdefault((told.receiver, told.key), []).append((told.at_s, told.answered))
    fates = house.operations.policy.fates()
    summaries = {(key.rpartition(":")[2], key) for key in fates if f":{SUMMARY}:" in key}
    summed = {(key.rpartition(":")[2], key): (key.rpartition(":")[2], why) for key, (_, why) in fates.items()}
    reached = shown.keys() | play.phones.refused
    owed -= {one for one in owed if summed.get(one) in summaries & reached}
    if missed := sorted((owed | summaries) - reached):
        yield f"{len(missed)} notices reached nobody: {missed[:EVIDENCE]}"
    repeated = {(key.rpartition(":")[2], key) for key in fates if f":{AGAIN}-" in key}  # an hour passed, by the clock
    if invented := sorted(shown.keys() - allowed - summaries - repeated):
        yield f"{len(invented)} notices tell of nothing that was decided: {invented[:EVIDENCE]}"
    for (who, key), times in shown.items():
        for (before_s, answered), (at_s, _) in pairwise(times):
            if answered and not _died_between(play, before_s, at_s):
                yield f"{key} was shown at {before_s:.3f} and again at {at_s:.3f} without a reason"
                return
        begun = shown.get((who, key.replace(f":{CLEARED}:", f":{ACTIVE}:")))
        if f":{CLEARED}:" in key and begun and times[0][0] < begun[0][0]:
            yield f"{key} was shown before the alert's beginning"


def _died_between(play: Rehearsal, from_s: float, until_s: float) -> bool:
    place = bisect.bisect_left(play.deaths, from_s)
    return place < len(play.deaths) and play.deaths[place] <= until_s
