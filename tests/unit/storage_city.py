"""A small city and its readings, for the tests of the storage room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from devices.batch import MARK_FUTURE, Batch, make_batch
from devices.kinds import Catalog
from devices.payloads import Reject
from devices.registry import Asset, Registry
from storage.journal import Record

T0 = 1_760_000_000_000


@dataclass(frozen=True)
class Crew:
    """A receiver as the operations database sees it."""

    name: str
    min_severity: str = "info"
    kinds: tuple[str, ...] = ()


def lamps(count: int) -> list[Asset]:
    return [
        Asset(f"lamp-{n:04d}", "streetlight", "lamp", lon=116.3 + n / 1e4, lat=39.9, district="海淀", road="长安街")
        for n in range(count)
    ]


def registry_of(catalog: Catalog, count: int = 10) -> Registry:
    return Registry(catalog, lamps(count))


def lamp_batch(catalog: Catalog, rows: Sequence[int], time_ms: int = T0, power_w: float = 60.0) -> Batch:
    kind = catalog["streetlight"]
    values = np.full((len(kind.fields), len(rows)), np.nan)
    values[kind.column("power_w")] = power_w + np.arange(len(rows))
    values[kind.column("voltage_v")] = 230.5
    return make_batch(kind, time_ms + 5, [time_ms] * len(rows), rows, values)


def dated_ahead(batch: Batch) -> Batch:
    """Return readings as if sent three hours later by devices whose clocks are ahead, judged at the same moments."""
    return replace(
        batch, sent_ms=batch.time_ms + 10_800_000, marks=np.full(len(batch), MARK_FUTURE, dtype=batch.marks.dtype)
    )


def lamp_record(catalog: Catalog, number: int, rows: Sequence[int] = (0, 1, 2)) -> Record:
    """Return a record of ``rows`` readings at second ``number``; every third has a reject and a duplicate too."""
    batch = lamp_batch(catalog, rows, T0 + number * 1000)
    record = Record(T0 + number * 1000 + 7, [batch], received={"streetlight": len(rows)})
    if number % 3 == 0:
        record.rejects = [bad_message(number)]
        record.received = {"streetlight": len(rows) + 1, "unknown": 1}
        record.duplicates = {"streetlight": 1}
    return record


def bad_message(number: int) -> Reject:
    return Reject(f"lamplighter/v1/x/{number}", b"\xff{" + bytes([number % 256]), "topic", "why", "", "", T0 + number)
