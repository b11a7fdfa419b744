"""Numbers about incidents for /metrics: what is open, what others explain, and what was worth telling, by cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.house import Figure
from devices.transition import SEVERITIES

if TYPE_CHECKING:
    from lamplighter.wiring import House


def figures(house: House) -> list[Figure]:
    """Return the numbers about incidents; asks the operations database."""
    by_severity, explained, notices = house.operations.incident_counts()
    return [
        Figure(
            "incidents_open",
            "Incidents that are open, waiting ones among them.",
            {(severity,): float(by_severity.get(severity, 0)) for severity in SEVERITIES},
            labels=("severity",),
        ),
        Figure(
            "alerts_suppressed", "Open alerts that another explains, of which nobody is told.", {(): float(explained)}
        ),
        Figure(
            "incident_notices",
            "Beginnings and changes of incidents that were worth telling, whoever was told.",
            {(cause,): float(count) for cause, count in sorted(notices.items())},
            labels=("cause",),
            counter=True,
        ),
    ]
