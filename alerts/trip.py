"""Trips that do not end: a loaded truck that has left its site and reaches no other within twice the usual time.

The usual time is the truck's own: the longest of its past trips, forgotten by a fiftieth with each new one. Until it
has made a few, it follows from the length of its permitted way. Judged by the host's clock, so that a truck that is
heard of no more is missed too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alerts.fleet import Fleet
from alerts.keys import Keys
from alerts.rules import Rule
from alerts.truckwatch import ALERTED, REST, Floats, Mask, Sight
from alerts.yards import YardJudge
from devices.kinds import Kind
from devices.registry import Permit, Registry
from devices.sky import Sky
from devices.transition import Transition
from devices.yamlfile import Node

VALUES = ("minutes", "usual_min")
TRIPS_LEAST = 4  # own trips after which their length counts
FORGET = 0.98
_LOOK_MS = 15_000


@dataclass(frozen=True, slots=True)
class TripParams:
    """Settings of the rule.

    Attributes:
        times: so many times the usual length is too long.
        least_ms: no trip is missed sooner.
        pace_kmh: assumed of a truck that has made too few trips.
        loaded_t: a truck that carries more than this is loaded.
        site_margin_m: sites are this much larger than drawn.
    """

    times: float = 2.0
    least_ms: int = 1_200_000
    pace_kmh: float = 20.0
    loaded_t: float = 4.0
    site_margin_m: float = 50.0


def parse(own: Node, kind: Kind, role: str | None) -> TripParams:  # noqa: ARG001 - every kind of rule is asked alike
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    missing = [name for name in ("lon_deg", "lat_deg", "load_t") if name not in kind.field_names()]
    if missing:
        raise own.error(f"{kind.name} reports no {' and no '.join(missing)}: its trips cannot be followed")
    plain = TripParams()
    keys = Keys(own, "times", "least", "pace_kmh", "loaded_t", "site_margin_m")
    params = TripParams(
        keys.number("times", plain.times, 1, 100),
        keys.length("least", plain.least_ms),
        keys.number("pace_kmh", plain.pace_kmh, 1, 200),
        keys.number("loaded_t", plain.loaded_t, 0.1, 100),
        keys.number("site_margin_m", plain.site_margin_m, 0, 5_000),
    )
    keys.done()
    return params


class TripJudge(YardJudge):
    """The rule over all trucks that have a permit."""

    WANTED: ClassVar[tuple[str, ...]] = ("load_t",)
    COLUMNS: ClassVar[dict[str, tuple[type, float]]] = {
        "left_ms": (int, 0),
        "longest_s": (float, 0.0),
        "trips": (int, 0),
    }

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        super().__init__(rule, registry, sky)
        p: TripParams = rule.params
        self.params = p
        ways = [sum(_length_m(registry, permit) for permit in group) for group in self.permits]
        self._assumed_s = np.array(ways, dtype=np.float64) / (p.pace_kmh / 3.6)

    def limit_s(self) -> Floats:
        """Return after how many seconds each truck's trip is too long, (trucks,)."""
        s = self.state
        usual = np.where(s["trips"] >= TRIPS_LEAST, s["longest_s"], self._assumed_s)
        found: Floats = np.maximum(self.params.times * usual, self.params.least_ms / 1000.0)
        return found

    def busy(self, sight: Sight) -> Mask:
        """Return the trucks of which a trip begins or ends."""
        p, load = self.params, sight.more["load_t"]
        under_way, heavy = self.state["left_ms"][sight.truck] > 0, load > p.loaded_t
        away = self.yards.away(sight, p.site_margin_m)
        ends = under_way & ((~np.isnan(sight.east) & ~away) | (load < p.loaded_t / 2))
        return self.waking(sight.truck[ends | (~under_way & heavy & away)])

    def look(self, sight: Sight) -> tuple[Mask, Mask, dict[str, Floats]]:
        """Note which trips begin and end; that one does not end is seen by the clock."""
        p, s, truck, now = self.params, self.state, sight.truck, sight.time_ms
        load, placed = sight.more["load_t"], ~np.isnan(sight.east)
        away = self.yards.away(sight, p.site_margin_m)
        under_way = s["left_ms"][truck] > 0
        arrived = under_way & placed & ~away
        emptied = under_way & (load < p.loaded_t / 2)
        lasted = (now - s["left_ms"][truck]) / 1000.0
        learn = arrived & ~emptied & (s["phase"][truck] == REST)
        rows = truck[learn]
        s["longest_s"][rows] = np.maximum(lasted[learn], FORGET * s["longest_s"][rows])
        s["trips"][rows] += 1
        begins = ~under_way & away & (load > p.loaded_t)
        s["left_ms"][truck] = np.where(arrived | emptied, 0, np.where(begins, now, s["left_ms"][truck]))
        over = s["left_ms"][truck] != s["onset_ms"][truck]  # the trip that was told of is over, for as long as it takes
        minutes = lasted / 60.0
        usual = self.limit_s()[truck] / p.times / 60.0
        none = np.zeros(len(sight), dtype=np.bool_)
        return none, over, {"value": minutes, "threshold": usual * p.times, "minutes": minutes, "usual_min": usual}

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Tell of trips that have lasted too long, and end alerts of trucks that have been silent for a day."""
        s, p = self.state, self.params
        open_before = s["phase"] == ALERTED
        told = super().tick(fleet, now_ms)
        self.due_ms = now_ms + _LOOK_MS
        s["left_ms"][open_before & (s["phase"] == REST)] = 0  # lost for a day: nobody knows what became of the trip
        lasted = (now_ms - s["left_ms"]) / 1000.0
        limit = self.limit_s()
        late = ((s["left_ms"] > 0) & (s["phase"] == REST) & (lasted > limit)).nonzero()[0]
        live = fleet.live[self.rule.device]
        at = live.local[self.rows[late]]
        lon, lat = live.column("lon_deg")[at], live.column("lat_deg")[at]
        for number, k in enumerate(late.tolist()):
            s["phase"][k], s["onset_ms"][k], s["back_ms"][k] = ALERTED, s["left_ms"][k], 0
            usual = float(limit[k]) / p.times / 60.0
            minutes = float(lasted[k]) / 60.0
            figures = {"value": minutes, "threshold": usual * p.times, "minutes": minutes, "usual_min": usual}
            place = (float(lon[number]), float(lat[number]))
            told.append(self._tell(k, True, now_ms, figures, "", place))  # noqa: FBT003 - a beginning
        return told


def _length_m(registry: Registry, permit: Permit) -> float:
    if len(permit.route) < 2:
        return 0.0
    east, north = registry.projection.to_metres(*np.array(permit.route).T)
    return float(np.hypot(np.diff(east), np.diff(north)).sum())
