"""What must hold in a rehearsal: at every look, after every start, and in the end. Nothing here asks the engine.

The other side of every comparison is kept by the stage (what the broker accepted, what phones showed, what the store
holds) or worked out anew by the slow oracle from the journal's records.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from devices.batch import MARK_FUTURE, MARK_LATE
from devices.transition import ACTIVE, CLEARED, SEVERITIES, alert_id
from simulators.oracle import Oracle
from storage.records import Record
from storage.timeseries import MARKS, SENT_MS

if TYPE_CHECKING:
    from lamplighter.rehearsal.play import Rehearsal
    from lamplighter.wiring import House
    from simulators.stage.town import Reading

Point = tuple[str, str, int]
EVIDENCE = 3  # examples shown of each kind of failure


def at_any_time(play: Rehearsal) -> None:
    """Check what holds at every moment of a life: the ledger balances, every queue keeps its size."""
    house = play.house
    if house is None or play.loop.dead:
        return
    ledger = house.ledger()
    if not ledger.balance():
        odd = {name: line for name, line in ledger.lines.items() if not line.balanced}
        play.fail(f"the ledger does not balance: {odd}")
    if len(house.session.inbox) > house.session.inbox.size:
        play.fail(f"the inbox holds {len(house.session.inbox)} of {house.session.inbox.size}")
    if house.journal.bytes_used > house.journal.limit_bytes:
        play.fail(f"the journal holds {house.journal.bytes_used} of {house.journal.limit_bytes} bytes")


def after_start(play: Rehearsal) -> None:
    """Check that everything acknowledged so far is in the journal that was found (I1)."""
    house = play.house
    assert house is not None  # noqa: S101 - called when it has started
    readings, rejects = _in_journal(play, house)
    for number in sorted(play.broker.acknowledged):
        spoken = play.said.get(number)
        if spoken is None:
            continue
        lost = [one for one in spoken.readings if not _held(one, readings)]
        if lost or (not spoken.readings and (spoken.topic, spoken.payload) not in rejects):
            play.fail(f"message {number} was acknowledged and is not in the journal: {lost or spoken.payload[:60]!r}")
            return


def not_yet_well(play: Rehearsal) -> list[str]:
    """Return what is still missing once the faults have ended; empty when all is well (I7)."""
    house = play.house
    if house is None:
        return ["the house is not there"]
    looks = (_not_connected, _not_through, _not_told, _not_stored)  # the cheapest first
    return next((found for look in looks if (found := look(play, house))), [])


def _not_connected(play: Rehearsal, house: House) -> list[str]:
    found = []
    if not house.session.connected:
        found.append(f"not connected ({house.session.last_error}; next try in {house.session.retry_in_s:.1f} s)")
    elif not (play.broker.kept and play.broker.kept.subscribed):
        found.append("connected and not subscribed")
    elif not play.broker.waiting:
        play.heard_from = min(play.heard_from, len(play.broker.messages))
    if unheard := [number for number in play.broker.lost if number >= play.heard_from]:
        found.append(f"{len(unheard)} messages unheard, though the house was subscribed")
    return found


def _not_through(play: Rehearsal, house: House) -> list[str]:
    found = []
    if play.broker.waiting > 50 or len(house.session.inbox) > 50:
        found.append(f"the broker holds {play.broker.waiting} messages")
    pulse = house.watch.pulse
    found += [words for words in (pulse.journal_trouble, pulse.operations_trouble, pulse.snapshot_trouble) if words]
    if house.shipper.away:
        found.append(f"shipper: {house.shipper.away}")
    if (pending := house.ledger().total.pending) > 50:
        found.append(f"{pending} readings pending")
    return found


def _not_told(play: Rehearsal, house: House) -> list[str]:
    found = []
    if due := house.operations.outbox_counts()["due"]:
        found.append(f"{due} notices due")
    opened = {(row.rule, row.entity) for row in house.operations.alerts("open", limit=1000)}
    if missed := sorted(play.town.must_be_open - opened):
        found.append(f"not told: {missed[:EVIDENCE]}")
    if stale := sorted(opened - play.town.must_be_open):
        found.append(f"still open: {stale[:EVIDENCE]}")
    return found


def at_the_end(play: Rehearsal) -> Iterator[str]:
    """Yield what is wrong once all is well (I1 to I6)."""
    house = play.house
    assert house is not None  # noqa: S101 - it is well
    house.journal.sync()
    records = _records(play, house)
    at_any_time(play)
    yield from _store_is_journal(play, house)
    yield from _quarantine(play, house)
    yield from _alerts(house, records)
    yield from _notices(play, house)
    if play.sessions_lost_unseen > 0 and not house.session.counters["session_lost"]:
        yield "the broker lost the session, and session_lost does not say so"


def counts(play: Rehearsal) -> dict[str, int]:
    """Return how much of everything there was, for a reader to see that it was tried."""
    return {
        "messages": len(play.broker.messages),
        "lost by the broker": len(play.broker.lost),
        "points": len(play.store.points),
        "forgotten by the store": play.store.forgotten,
        "notices": len(play.phones.told),
        "faults": len(play.faults),
        "deaths": len(play.deaths),
    }


# Readings.


def _records(play: Rehearsal, house: House) -> list[Record]:
    """Return every record that was ever judged, those let go among them."""
    found = {**play.released, **dict(house.journal.read(house.journal.start))}
    return [found[position] for position in sorted(found) if position <= house.watch.position]


def _in_journal(play: Rehearsal, house: House) -> tuple[dict[Point, list[dict[str, float]]], set[tuple[str, bytes]]]:
    """Return the readings by kind, device and sent time, and the messages that could not be read."""
    readings: dict[Point, list[dict[str, float]]] = {}
    rejects: set[tuple[str, bytes]] = set()
    house.journal.sync()
    found = [*play.released.items(), *house.journal.read(house.journal.start)]
    for _, record in found:
        rejects.update((one.topic, one.payload) for one in record.rejects)
        for batch in record.batches:
            names = batch.kind.field_names()
            for row, sent, values in zip(
                batch.device.tolist(), batch.sent_ms.tolist(), batch.values.T.tolist(), strict=True
            ):
                held = {name: value for name, value in zip(names, values, strict=True) if not math.isnan(value)}
                place = (batch.kind.name, house.registry.assets[row].id, sent)
                readings.setdefault(place, []).append(held)
    return readings, rejects


def _held(one: Reading, readings: dict[Point, list[dict[str, float]]]) -> bool:
    return dict(one.values) in readings.get((one.kind, one.device, one.ts), [])


def _owed(play: Rehearsal) -> Iterator[tuple[int, Reading]]:
    """Yield every reading that the broker accepted, did not lose, and the house has acknowledged."""
    for number, spoken in play.said.items():
        if number in play.broker.acknowledged or number not in play.broker.lost:
            for one in spoken.readings:
                yield number, one


def _points(play: Rehearsal) -> dict[Point, dict[str, float]]:
    """Return what the store holds by kind, device and sent time."""
    return {
        (kind, device, int(point.get(SENT_MS, time_ms))): point
        for (kind, device, time_ms), point in play.store.points.items()
    }


def _not_stored(play: Rehearsal, _house: House) -> list[str]:
    """Return which readings said before the calm are not in the store."""
    points = _points(play)
    lacking = [
        (number, one)
        for number, one in _owed(play)
        if not one.unwanted and number < play.calm_number and (one.kind, one.device, one.ts) not in points
    ]
    return [f"{len(lacking)} readings not stored: {lacking[:EVIDENCE]}"] if lacking else []


def _store_is_journal(play: Rehearsal, house: House) -> Iterator[str]:
    points = _points(play)
    said = {(one.kind, one.device, one.ts): one for spoken in play.said.values() for one in spoken.readings}
    for place, point in points.items():
        values = {name: value for name, value in point.items() if name not in (SENT_MS, MARKS)}
        if place not in said:
            yield f"the store holds {place}, which nobody said"
            return
        if values != dict(said[place].values):
            yield f"the store holds {place} as {values}, it was said as {said[place].values}"
            return
    readings, _ = _in_journal(play, house)
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
        for number, one in _owed(play)
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


def _notices(play: Rehearsal, house: House) -> Iterator[str]:
    """Check that each transition reached each receiver, in order, under its key, and nothing else did (I4)."""
    owed: set[tuple[str, str]] = set()
    for row in house.operations.alerts(limit=100_000):
        states = [state for state, at in ((ACTIVE, row.active_ms), (CLEARED, row.cleared_ms)) if at is not None]
        for receiver in house.settings.notify:
            if SEVERITIES.index(row.severity) <= SEVERITIES.index(receiver.min_severity):
                owed |= {(receiver.name, f"{row.id}:{state}:{receiver.name}") for state in states}
    shown: dict[tuple[str, str], list[tuple[float, bool]]] = {}
    for told in play.phones.told:
        shown.setdefault((told.receiver, told.key), []).append((told.at_s, told.answered))
    if missed := sorted(owed - shown.keys() - play.phones.refused):
        yield f"{len(missed)} notices reached nobody: {missed[:EVIDENCE]}"
    if invented := sorted(shown.keys() - owed):
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
