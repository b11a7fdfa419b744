"""Route deviation: a truck that leaves its permitted route, long enough and far enough to be no fault of its receiver.

Outside beyond ``on_m`` and back within ``off_m``, for so long and so many metres driven, each fix believed by dead
reckoning (docs/sources.md, routes). Inside a permit's sites a truck is never off route; without a valid permit it is
not judged. Silence neither raises nor clears.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from alerts.fleet import NEVER, NEVER_AGAIN, Fleet
from alerts.judge import State
from alerts.messages import transition
from alerts.reckoning import KMH, Fixes
from alerts.route_settings import RouteParams, parse
from alerts.routewatch import ALERTED, OUTSIDE, RouteWatch, Verdict
from alerts.rules import Rule
from alerts.saved import matching, take_over
from alerts.sight import seen
from devices.batch import Batch
from devices.registry import Permit, Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition

VALUES = ("distance_m", "outside_min", "outside_m")
WANTED = ("lon_deg", "lat_deg", "hdop", "satellites", "speed_kmh", "heading_deg")
LOOK_MS = 1_000  # how often it is looked whether a truck off its route has fallen silent

Place = tuple[float, float]  # longitude and latitude

__all__ = ["VALUES", "RouteDeviationJudge", "parse"]


class RouteDeviationJudge:
    """The route deviation rule over all trucks that have a permit.

    Attributes:
        due_ms: host time before which the passing of time changes nothing.
        watch: its columns, and ``watch.counts`` of what was judged and what was not.
    """

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule = rule
        self.rule_id = rule.id
        self.kinds = (rule.device,)
        self.fingerprint = rule.fingerprint
        self.registry = registry
        self.sky = sky
        given: RouteParams = rule.params
        params = replace(given, for_ms=rule.for_ms or given.for_ms, keep_ms=rule.keep_ms or given.keep_ms)
        permits = _by_truck(registry, rule)
        self.rows = np.array(sorted(permits), dtype=np.int64)
        self.index = registry.places_in(self.rows)
        self.permits = [permits[int(row)] for row in self.rows]
        self.watch = RouteWatch(self.permits, sky.local_minute, params)
        self.due_ms: int = NEVER

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:  # noqa: ARG002 - every judge is asked alike
        """Judge fixes, each newer than its truck's fix before."""
        sight = seen(fleet, batch).of(self.index, WANTED)
        self.watch.counts["no_permit"] += len(batch) - len(sight)
        p, watched = self.watch.params, len(sight)
        lon, lat, hdop, satellites = (sight.more[name] for name in WANTED[:4])
        usable = ~(np.isnan(lon) | np.isnan(lat) | (hdop > p.max_hdop) | (satellites < p.min_satellites))
        usable &= (lon != 0.0) | (lat != 0.0)
        if np.count_nonzero(usable) < watched:
            sight, _ = sight.among(usable)
        lon, lat, hdop, _, speed, heading = (sight.more[name] for name in WANTED)
        east, north = self.watch.to_metres(sight.truck, lon, lat)
        where = (east, north, speed / KMH, np.radians(heading))
        fixes = Fixes(sight.truck, sight.time_ms, *where, self._narrow(hdop))
        verdicts = self.watch.turns(fixes, sight.cuts, watched - len(sight))
        if not verdicts:
            return []
        self.due_ms = NEVER
        places: dict[tuple[int, int], Place] = {}
        for verdict in verdicts:
            k = int(((sight.truck == verdict.truck) & (sight.time_ms == verdict.at_ms)).nonzero()[0][0])
            places[verdict.truck, verdict.at_ms] = float(lon[k]), float(lat[k])
        return self._tell(verdicts, places)

    def _narrow(self, hdop: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
        """Return which share of the corridor each fix deserves: the better the reception, the narrower."""
        p = self.watch.params
        if p.per_hdop_m <= 0:
            return None
        share = np.clip((p.sharp_m + p.per_hdop_m * hdop) / p.on_m, 0.1, 1.0)
        return np.where(np.isnan(share), 1.0, share)

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """End alerts of trucks that have been silent for longer than the rule holds them."""
        if not np.count_nonzero(self.watch.state["phase"] == ALERTED):
            self.due_ms = NEVER_AGAIN
            return []
        self.due_ms = now_ms + LOOK_MS
        live = fleet.live[self.rule.device]
        at = live.local[self.rows]
        verdicts = self.watch.lost(np.maximum(live.seen_ms[at], fleet.resumed_ms), now_ms)
        lon, lat = live.column("lon_deg"), live.column("lat_deg")
        places = {(v.truck, v.at_ms): (float(lon[at[v.truck]]), float(lat[at[v.truck]])) for v in verdicts}
        return self._tell(verdicts, places)

    def open(self) -> Mapping[str, int]:
        """Return the trucks off their route, with the onset of each."""
        return self._since(ALERTED)

    def pending(self) -> Mapping[str, int]:
        """Return the trucks outside, not yet for long or far enough."""
        return self._since(OUTSIDE)

    def _since(self, phase: int) -> dict[str, int]:
        state = self.watch.state
        return {
            f"device:{self.registry.id_of(self.rows[i])}": int(state["onset_ms"][i])
            for i in np.flatnonzero(state["phase"] == phase)
        }

    def save(self) -> State:
        """Return the whole state, by device id and by permit."""
        watch = self.watch
        kept: State = {"entity": np.array(self.registry.ids_of(self.rows), dtype=np.str_)}
        kept.update({f"watch.{name}": column.copy() for name, column in watch.state.items()})
        kept.update({f"gate.{name}": column.copy() for name, column in watch.reckoning.state.items()})
        kept["permit"] = np.array(self._permit_keys(), dtype=np.str_)
        kept["hint"] = np.where(watch.hint < 0, -1, watch.hint - watch.corridors.first)
        kept["counts"] = np.array([*watch.counts.values(), watch.reckoning.resyncs], dtype=np.int64)
        return kept

    def load(self, state: State) -> None:
        """Take over a saved state; trucks and permits that are gone are let go."""
        watch = self.watch
        at, place = matching(self.registry.ids_of(self.rows), state["entity"])
        take_over(watch.state, state, "watch.", at, place)
        take_over(watch.reckoning.state, state, "gate.", at, place)
        at, place = matching(self._permit_keys(), state["permit"])
        kept = state["hint"][place].astype(np.int64)
        watch.hint[at] = np.where(kept < 0, -1, kept + watch.corridors.first[at])
        *counts, watch.reckoning.resyncs = (int(count) for count in state["counts"].astype(np.int64))
        watch.counts.update(zip(watch.counts, counts, strict=True))
        self.due_ms = NEVER

    def _permit_keys(self) -> list[str]:
        return [f"{permit.truck}|{permit.id}" for group in self.permits for permit in group]

    def _tell(self, verdicts: list[Verdict], where: Mapping[tuple[int, int], Place]) -> list[Transition]:
        """Put verdicts into words; ``where`` holds the place of each one's truck at its time."""
        told = []
        for verdict in verdicts:
            row = int(self.rows[verdict.truck])
            values = {
                "value": verdict.distance_m,
                "threshold": self.watch.params.on_m,
                "distance_m": verdict.distance_m,
                "outside_min": verdict.outside_ms / 60_000,
                "outside_m": verdict.outside_m,
            }
            if verdict.active:  # where, for whoever asks if others left their ways there too
                values |= {"left_lon": verdict.left[0], "left_lat": verdict.left[1]}
            entity, state = f"device:{self.registry.id_of(row)}", ACTIVE if verdict.active else CLEARED
            about = (self.rule, self.registry, self.sky, entity, state, verdict.at_ms, verdict.onset_ms, values)
            told.append(transition(*about, verdict.reason, where[verdict.truck, verdict.at_ms]))
        return told


def _by_truck(registry: Registry, rule: Rule) -> dict[int, list[Permit]]:
    """Return the permits of each truck's row; a permit without a drawn route permits nothing that could be judged."""
    kind = registry.catalog[rule.device].index
    found: dict[int, list[Permit]] = {}
    for permit in registry.permits:
        row = registry.row.get(permit.truck)
        if row is not None and registry.kind[row] == kind and len(permit.route) > 1:
            found.setdefault(row, []).append(permit)
    return found
