"""The house's own series: lighting rates, open alerts, ledger and pulse, for boards that watch the watcher."""

from __future__ import annotations

import asyncio
import math
import resource
from typing import TYPE_CHECKING

import structlog

from storage.timeseries import OwnPoint, StoreAway

if TYPE_CHECKING:
    from lamplighter.wiring import House

log = structlog.get_logger("own series")

PERIOD_S = 15.0  # host seconds between points; dashboards ask by the minute


async def write_own_series(house: House) -> None:
    """Write the own series for ever; what an absent database misses is let go: the journal holds the readings."""
    period_s = min(PERIOD_S, max(1.0, house.clock.host_s(60_000)))
    while True:
        points = own_points(house)
        try:
            await asyncio.to_thread(house.timeseries.write_own, points)
        except StoreAway as away:
            log.debug("own series not written", why=str(away))
        await asyncio.sleep(period_s)


def own_points(house: House) -> list[OwnPoint]:
    """Return the points of this moment."""
    now_ms = house.now_ms()
    return [*_ledger(house, now_ms), *_lighting(house, now_ms), *_alerts(house, now_ms), _pulse(house, now_ms)]


def _ledger(house: House, now_ms: int) -> list[OwnPoint]:
    points = []
    for kind, line in house.ledger().lines.items():
        fields = {
            "received": float(line.received),
            "stored": float(line.stored),
            "quarantined": float(line.quarantined),
            "duplicate": float(line.duplicate),
            "pending": float(line.pending),
        }
        points.append(OwnPoint("ledger", {"kind": kind}, fields, now_ms))
    return points


def _lighting(house: House, now_ms: int) -> list[OwnPoint]:
    points = []
    for rate in house.lighting():
        numbers = {
            "rate": rate.rate,
            "rate_low": rate.rate_low,
            "rate_high": rate.rate_high,
            "coverage": rate.coverage,
            "lit": float(rate.lit),
            "known": float(rate.known),
            "expected": float(rate.expected),
        }
        fields = {name: value for name, value in numbers.items() if not math.isnan(value)}
        tags = {"scope": rate.scope, "name": rate.name, "district": rate.district}
        points.append(OwnPoint("lighting_rate", tags, fields, now_ms))
    return points


def _alerts(house: House, now_ms: int) -> list[OwnPoint]:
    points = []
    for row in house.operations.alerts(state="open", limit=500):
        fields = {"active": 1.0}
        if not math.isnan(row.lat):
            fields |= {"lat": row.lat, "lon": row.lon}
        tags = {"rule": row.rule, "severity": row.severity, "kind": row.kind, "district": row.district}
        points.append(OwnPoint("alert", {**tags, "entity": row.entity}, fields, now_ms))
    return points


def _pulse(house: House, now_ms: int) -> OwnPoint:
    lag = house.watch.pulse.lag_ms
    fields = {
        "lag_ms": float(lag[-1]) if lag else 0.0,
        "batch_rows": house.watch.pulse.readings / max(house.watch.pulse.groups, 1),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "outbox_due": float(house.operations.outbox_counts().get("due", 0)),
        "journal_bytes": float(house.journal.end - house.journal.start),
    }
    return OwnPoint("house", {"city": house.settings.city.id}, fields, now_ms)
