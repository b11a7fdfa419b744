"""What the shipper takes from the journal at once, and whose readings of it can be stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from devices.batch import Batch
from devices.payloads import Reject
from devices.registry import Registry
from storage.journal import Journal
from storage.records import Totals
from storage.timeseries import StoreAway

RECORDS_MAX = 500  # records taken at once
ROWS_MAX = 20_000  # readings after which no further record is taken; four requests of InfluxDB's advised size


@dataclass(slots=True)
class Load:
    """Records read from the journal for one shipment.

    Attributes:
        position: behind the last of them.
        records: how many.
        batches, rejects: what they hold.
        totals: the journal's counts at ``position``.
        full: no further record was taken, though there may be one.
    """

    position: int
    records: int = 0
    batches: list[Batch] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    totals: Totals = field(default_factory=dict)
    full: bool = False


def take(journal: Journal, start: int, max_records: int = RECORDS_MAX, until: int | None = None) -> Load:
    """Return the journal's records from a position on, up to ``until`` or as many as go into one load.

    Raises:
        StoreAway: the disk does not let them be read; nothing of the load is used.
    """
    load = Load(start)
    rows = 0
    try:
        for position, record in journal.read(start):
            load.position, load.totals = position, record.totals
            load.records += 1
            load.batches.extend(record.batches)
            load.rejects.extend(record.rejects)
            rows += sum(len(batch) for batch in record.batches) + len(record.rejects)
            if load.records >= max_records or rows >= ROWS_MAX:
                load.full = True
                break
            if position == until:
                break
    except OSError as trouble:
        raise StoreAway(f"the journal in {journal.folder} cannot be read: {trouble}") from trouble
    return load


def known(batches: Sequence[Batch], registry: Registry) -> tuple[list[Batch], list[Reject]]:
    """Return batches of registered rows, and rejects for rows that the registry does not have (any more)."""
    found: list[Batch] = []
    strangers: list[Reject] = []
    count = len(registry)
    for batch in batches:
        if len(batch) == 0:
            continue
        if int(batch.device.max()) < count:
            found.append(batch)
            continue
        inside = batch.device < count
        found.append(batch.take(inside))
        for place in np.flatnonzero(~inside):
            detail = f"the registry has no row {batch.device[place]}; it may be older than the journal"
            values = zip(batch.kind.field_names(), batch.values[:, place], strict=True)
            text = " ".join(f"{name}={value:.17g}" for name, value in values if not np.isnan(value))
            payload = f"{text} {batch.time_ms[place]}".encode()
            strangers.append(Reject("", payload, "unknown_device", detail, "", batch.kind.name, batch.arrival_ms))
    return [batch for batch in found if len(batch)], strangers
