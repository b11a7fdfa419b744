"""What must hold in a rehearsal at every look, after every start, and soon after the last fault.

The other side of every comparison is kept by the stage (what the broker accepted, what phones showed, what the store
holds) or worked out anew by the slow oracle from the journal's records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamplighter.rehearsal import books
from storage.policyrows import GATHERED

if TYPE_CHECKING:
    from lamplighter.rehearsal.play import Rehearsal
    from lamplighter.wiring import House

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
    readings, rejects = books.in_journal(play, house)
    for number in sorted(play.broker.acknowledged):
        spoken = play.said.get(number)
        if spoken is None:
            continue
        lost = [one for one in spoken.readings if not books.held(one, readings)]
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
    counts = house.operations.outbox_counts()
    if due := counts["due"] + counts.get(GATHERED, 0):
        found.append(f"{due} notices due")
    if waiting := [row.id for row in house.operations.incidents("open", limit=1000) if row.told_ms is None]:
        found.append(f"{len(waiting)} incidents wait to be told")
    opened = {(row.rule, row.entity) for row in house.operations.alerts("open", limit=1000)}
    if missed := sorted(play.town.must_be_open - opened):
        found.append(f"not told: {missed[:EVIDENCE]}")
    if stale := sorted(opened - play.town.must_be_open):
        found.append(f"still open: {stale[:EVIDENCE]}")
    return found


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


def _not_stored(play: Rehearsal, _house: House) -> list[str]:
    """Return which readings said before the calm are not in the store."""
    points = books.points(play)
    lacking = [
        (number, one)
        for number, one in books.owed(play)
        if not one.unwanted and number < play.calm_number and (one.kind, one.device, one.ts) not in points
    ]
    return [f"{len(lacking)} readings not stored: {lacking[:EVIDENCE]}"] if lacking else []
