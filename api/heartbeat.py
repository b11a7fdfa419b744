"""Once a second, while somebody watches: which assets changed state, what moved, the clock, the ledger, the counts."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import structlog

from api.books import ledger_form
from api.house import House
from api.view import View
from devices.transition import SEVERITIES

BEAT_S = 1.0
MOVED_DEG = 1e-6  # 0.1 m: less is noise of the position

log = structlog.get_logger("api")


Floats = npt.NDArray[np.float64]


class _Told(NamedTuple):
    revision: str
    states: npt.NDArray[np.int8]
    lon: Floats
    lat: Floats


def _apart(new: Floats, old: Floats) -> npt.NDArray[np.bool_]:
    """Say where a coordinate has moved by more than noise, or become known."""
    with np.errstate(invalid="ignore"):
        far: npt.NDArray[np.bool_] = (np.abs(new - old) > MOVED_DEG) | (np.isnan(old) & ~np.isnan(new))
    return far


class Heartbeat:
    """Compares the fleet with what was told last and publishes the difference."""

    def __init__(self, house: House, view: View) -> None:
        self.house = house
        self.view = view
        self._told: _Told | None = None
        self._counted: tuple[int, dict[str, int]] | None = None

    def begin(self) -> None:
        """Remember how things stand, before the first client reads the map: what changes from here on is told."""
        if self._told is None:
            self._told = self._look()

    def _look(self) -> _Told:
        return _Told(self.view.revision(), self.view.states(), *self.view.positions())

    def beat(self, ledger: dict[str, Any]) -> None:
        """Publish what changed since the last beat; on the event loop."""
        old, new = self._told, self._look()
        hub = self.house.hub
        if old is not None and old.revision != new.revision:
            hub.publish("registry", {"revision": new.revision})
        elif old is not None:
            changed = np.flatnonzero(new.states != old.states)
            if len(changed):
                told = {"rows": changed.tolist(), "states": new.states[changed].tolist()}
                hub.publish("states", {"revision": new.revision, **told})
            moved = np.flatnonzero(_apart(new.lon, old.lon) | _apart(new.lat, old.lat))
            if len(moved):
                told = {"lon": np.round(new.lon[moved], 7).tolist(), "lat": np.round(new.lat[moved], 7).tolist()}
                hub.publish("moved", {"revision": new.revision, "rows": moved.tolist(), **told})
        self._told = new
        hub.publish("beat", self.pulse(ledger))

    def pulse(self, ledger: dict[str, Any]) -> dict[str, Any]:
        """Return clock, ledger and the numbers of open alerts by severity."""
        return {
            "now_ms": self.house.now_ms(),
            "speed": self.house.speed,
            "ledger": ledger,
            "open": self._open_alerts(),
            "pending": len(self.house.engine.pending()),
        }

    def _open_alerts(self) -> dict[str, int]:
        """Return the numbers of open alerts by severity; counted again only when an alert has begun or ended."""
        engine = self.house.engine
        if self._counted is None or self._counted[0] != engine.version:
            counts = dict.fromkeys(SEVERITIES, 0)
            for rule_id, entities in engine.open_alerts().items():
                counts[engine.rules[rule_id].severity] += len(entities)
            self._counted = (engine.version, counts)
        return self._counted[1]

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
