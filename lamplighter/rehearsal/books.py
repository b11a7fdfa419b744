"""The stage's books beside the house's: what was said, what the journal and the store hold, in comparable form."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from storage.records import Record
from storage.timeseries import SENT_MS

if TYPE_CHECKING:
    from lamplighter.rehearsal.play import Rehearsal
    from lamplighter.wiring import House
    from simulators.stage.town import Reading

Point = tuple[str, str, int]


def records(play: Rehearsal, house: House) -> list[Record]:
    """Return every record that was ever judged, those let go among them."""
    found = {**play.released, **dict(house.journal.read(house.journal.start))}
    return [found[position] for position in sorted(found) if position <= house.watch.position]


def in_journal(play: Rehearsal, house: House) -> tuple[dict[Point, list[dict[str, float]]], set[tuple[str, bytes]]]:
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


def held(one: Reading, readings: dict[Point, list[dict[str, float]]]) -> bool:
    """Return whether the journal holds a reading with just its values."""
    return dict(one.values) in readings.get((one.kind, one.device, one.ts), [])


def owed(play: Rehearsal) -> Iterator[tuple[int, Reading]]:
    """Yield every reading that the broker accepted, did not lose, and the house has acknowledged."""
    for number, spoken in play.said.items():
        if number in play.broker.acknowledged or number not in play.broker.lost:
            for one in spoken.readings:
                yield number, one


def points(play: Rehearsal) -> dict[Point, dict[str, float]]:
    """Return what the store holds by kind, device and sent time."""
    return {
        (kind, device, int(point.get(SENT_MS, time_us // 1000))): point
        for (kind, device, time_us), point in play.store.points.items()
    }
