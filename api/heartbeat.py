"""Once a second, while somebody watches: which assets changed state, what moved, the clock, the ledger, the counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import numpy as np
import structlog

from api.books import ledger_form
from api.house import House
from api.view import View

BEAT_S = 1.0
MOVED_DEG = 1e-6  # 0.1 m: less is noise of the position

log = structlog.get_logger("api")


class Heartbeat:
    """Compares the fleet with what was told last and publishes the difference."""

    def __init__(self, house: House, view: View) -> None:
        self.house = house
        self.view = view
        self._revision = ""
        self._states = np.zeros(0, dtype=np.int8)
        self._lon = np.zeros(0)
        self._lat = np.zeros(0)

    def beat(self, ledger: dict[str, Any]) -> None:
        """Publish what changed since the last beat; on the event loop."""
        revision = self.view.revision()
        states, (lon, lat) = self.view.states(), self.view.positions()
        if revision != self._revision:
            if self._revision:
                self.house.hub.publish("registry", {"revision": revision})
        else:
            changed = np.flatnonzero(states != self._states)
            if len(changed):
                told = {"rows": changed.tolist(), "states": states[changed].tolist()}
                self.house.hub.publish("states", {"revision": revision, **told})
            with np.errstate(invalid="ignore"):
                moved = np.flatnonzero((np.abs(lon - self._lon) > MOVED_DEG) | (np.abs(lat - self._lat) > MOVED_DEG))
            if len(moved):
                told = {"lon": np.round(lon[moved], 7).tolist(), "lat": np.round(lat[moved], 7).tolist()}
                self.house.hub.publish("moved", {"revision": revision, "rows": moved.tolist(), **told})
        self._revision, self._states, self._lon, self._lat = revision, states, lon, lat
        self.house.hub.publish("beat", self.pulse(ledger))

    def pulse(self, ledger: dict[str, Any]) -> dict[str, Any]:
        """Return clock, ledger and the numbers of open alerts by severity."""
        engine = self.house.engine
        severity = {rule.id: rule.severity for rule in engine.rules.rules}
        counts: Counter[str] = Counter()
        for rule_id, entities in engine.open_alerts().items():
            counts[severity.get(rule_id, "info")] += len(entities)
        return {
            "now_ms": self.house.now_ms(),
            "speed": self.house.speed,
            "ledger": ledger,
            "open": dict(counts),
            "pending": len(engine.pending()),
        }

    async def run(self) -> None:
        """Beat until cancelled; while nobody watches, nothing is computed."""
        while True:
            await asyncio.sleep(BEAT_S)
            if not len(self.house.hub):
                continue
            try:
                ledger = await asyncio.to_thread(self.house.ledger)
                self.beat(ledger_form(ledger))
            except Exception:
                # A beat lost is a second's delay on a screen; the next one tells the difference whole.
                log.exception("a beat of the live stream failed")
