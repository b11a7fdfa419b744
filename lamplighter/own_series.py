"""The house's own series: lighting rates, alerts, incidents, alarm budget, ledger and pulse, for boards."""

from __future__ import annotations

import asyncio
import math
import resource
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING

import structlog

from api.house import LightingRate
from devices.transition import SEVERITIES
from lamplighter.policy_budget import DAY_MS
from storage.operations import AWAY, AlertRow, in_words
from storage.timeseries import OwnPoint, StoreAway

if TYPE_CHECKING:
    from lamplighter.wiring import House

log = structlog.get_logger("own series")

OPEN_MAX = 500  # alerts on Grafana's map; more belong on the console's
CLEARED_MAX = 100  # written again every time, for a process that ended between a clear and its point
PERIOD_S = 15.0  # host seconds between points; dashboards ask by the minute
LIGHTING_MS = 60_000  # of the city, between lighting rates: a large one has many thousand cells


async def write_own_series(house: House) -> None:
    """Write the own series for ever; what an absent database misses is let go: the journal holds the readings."""
    lighting_s = max(1.0, house.clock.host_s(LIGHTING_MS))
    period_s = min(PERIOD_S, lighting_s)
    every = round(lighting_s / period_s)
    shown: list[OwnPoint] = []
    for turn in count():
        # Looks at the fleet here, while nobody changes it; not in the first turn, while the house is finding its feet.
        rates = house.lighting() if turn % every == min(1, every - 1) else ()
        try:
            points = await asyncio.to_thread(_points, house, rates, house.now_ms())
            over = ended(shown, points, house.now_ms())
            await asyncio.to_thread(house.timeseries.write_own, [*points, *over])
            shown = [point for point in points if _is_open(point)]
        except StoreAway as away:
            log.debug("own series not written", why=str(away))
        except AWAY as away:
            log.debug("own series not written", why=in_words(away))
        await asyncio.sleep(period_s)


def own_points(house: House) -> list[OwnPoint]:
    """Return the points of this moment."""
    return _points(house, house.lighting(), house.now_ms())


def _points(house: House, rates: Iterable[LightingRate], now_ms: int) -> list[OwnPoint]:
    """Return all points; in a thread, for there may be many, and a database may take its time to answer."""
    return [*_lighting(rates), *_of_books(house, now_ms)]


def _of_books(house: House, now_ms: int) -> list[OwnPoint]:
    """Return the points that are read from databases."""
    return [*_ledger(house, now_ms), *_alerts(house, now_ms), *_told(house, now_ms), _pulse(house, now_ms)]


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


def _lighting(rates: Iterable[LightingRate]) -> list[OwnPoint]:
    points = []
    for rate in rates:
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
        points.append(OwnPoint("lighting_rate", tags, fields, rate.time_ms))
    return points


def _alerts(house: House, now_ms: int) -> list[OwnPoint]:
    """Return open alerts as of now, and the latest cleared ones at the moment they cleared (a restart repeats them)."""
    points = [_alert(row, 1.0, now_ms) for row in house.operations.alerts(state="open", limit=OPEN_MAX)]
    cleared = house.operations.alerts(state="cleared", limit=CLEARED_MAX)
    return points + [_alert(row, 0.0, row.cleared_ms) for row in cleared if row.cleared_ms is not None]


def _alert(row: AlertRow, active: float, at_ms: int) -> OwnPoint:
    fields = {"active": active}
    if not math.isnan(row.lat):
        fields |= {"lat": row.lat, "lon": row.lon}
    tags = {"rule": row.rule, "severity": row.severity, "kind": row.kind, "district": row.district}
    return OwnPoint("alert", {**tags, "entity": row.entity}, fields, at_ms)


def _told(house: House, now_ms: int) -> list[OwnPoint]:
    """Return how many incidents are open by severity, and what each receiver was told within a day."""
    counts, explained, _ = house.operations.incident_counts()
    points = [
        OwnPoint("incident", {"severity": one}, {"open": float(counts.get(one, 0))}, now_ms) for one in SEVERITIES
    ]
    budget = house.budget(DAY_MS)
    city = {"city": house.settings.city.id}
    standing = {"explained": float(explained), "standing": float(budget.standing), "stale": float(budget.stale)}
    points.append(OwnPoint("alarms", city, standing, now_ms))
    for desk in budget.desks:
        fields = {
            "last_10_min": float(desk.last_10_min),
            "per_hour": desk.per_hour,
            "peak_10_min": float(desk.peak_10_min),
            "flood_share": desk.flood_share,
            "in_flood": float(desk.in_flood),
        }
        points.append(OwnPoint("budget", {"receiver": desk.receiver}, fields, now_ms))
    return points


def ended(before: list[OwnPoint], now: list[OwnPoint], now_ms: int) -> list[OwnPoint]:
    """Return a last point, not active, for every alert that was shown as open before and is not open any more.

    Without it a board that asks for the newest point would show an old alert for ever.
    """
    still = {tuple(point.tags.items()) for point in now if _is_open(point)}
    over = [point for point in before if _is_open(point) and tuple(point.tags.items()) not in still]
    return [OwnPoint(point.measurement, point.tags, {**point.fields, "active": 0.0}, now_ms) for point in over]


def _is_open(point: OwnPoint) -> bool:
    return point.measurement == "alert" and point.fields["active"] == 1.0


def _pulse(house: House, now_ms: int) -> OwnPoint:
    lag = house.watch.pulse.lag_ms
    fields = {
        "lag_ms": float(lag[-1]) if lag else 0.0,
        "batch_rows": house.watch.pulse.readings / max(house.watch.pulse.groups, 1),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "outbox_due": float(house.operations.outbox_counts().get("due", 0)),
        "journal_bytes": float(house.journal.bytes_used),
        "broker_dropped": float(house.losses.dropped),
        "readings_missing": float(house.gaps.counted.total() + house.gaps.estimated.total()),
    }
    return OwnPoint("house", {"city": house.settings.city.id}, fields, now_ms)
