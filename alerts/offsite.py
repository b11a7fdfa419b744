"""What trucks do away from their permitted sites: dump, load, stand, drive at hours that are not theirs.

One kind of rule with four things to look for, ``what``: each is a condition on load, bed, speed and hour that counts
only outside the sites of the truck's permits. A truck without a permit is not judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alerts.fleet import Fleet
from alerts.keys import Keys
from alerts.rules import Rule
from alerts.truckwatch import ALERTED, GAP_MS, REST, WAITING, Floats, Ints, Mask, Sight
from alerts.yards import YardJudge
from devices.batch import Batch
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, Transition
from devices.yamlfile import Node

WHAT = ("dump", "load", "stop", "hours")
VALUES = ("load_t", "changed_t", "driven_m", "stood_min", "score")
WINDOW_MS = 300_000  # a load that changes hands does so within five minutes (rule T3)
_LIFT, _FALL, _STAY = 0.4, 0.4, 0.2  # what each sign of dumping weighs; 0.8 make an alert (rule T3)
_ENOUGH = 0.8 - 1e-9
_RISE_T = 1.0  # what a load cell may err by on the road


@dataclass(frozen=True, slots=True)
class OffSiteParams:
    """Settings of the rule.

    Attributes:
        what: one of WHAT.
        site_margin_m: sites are this much larger than drawn.
        standing_kmh: what counts as standing, for dumping and loading; a stop is slower than ``stop_kmh``.
        bed_deg: a raised bed.
        share: of the payload, by which the load must fall or rise.
        loaded_t: a truck that carries more than this is loaded.
        peers_m: other trucks that stand within so many metres explain a stop.
        driving_kmh, driven_m: what counts as driving, and how far it must go.
        grace_min: minutes before and after the permit's hours.
    """

    what: str = "dump"
    site_margin_m: float = 50.0
    standing_kmh: float = 5.0
    stop_kmh: float = 3.0
    bed_deg: float = 20.0
    share: float = 0.4
    loaded_t: float = 4.0
    peers_m: float = 250.0
    driving_kmh: float = 10.0
    driven_m: float = 300.0
    grace_min: float = 10.0


def parse(own: Node, kind: Kind, role: str | None) -> OffSiteParams:  # noqa: ARG001 - every kind of rule is asked alike
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    needed = [name for name in ("lon_deg", "speed_kmh", "load_t") if name not in kind.field_names()]
    if needed:
        raise own.error(f"{kind.name} reports no {' and no '.join(needed)}: what it does off its sites cannot be told")
    plain = OffSiteParams()
    limits = {
        "site_margin_m": (0, 5_000), "standing_kmh": (0, 30), "stop_kmh": (0, 30), "bed_deg": (1, 89),
        "share": (0.05, 1), "loaded_t": (0.1, 100), "peers_m": (0, 5_000), "driving_kmh": (1, 100),
        "driven_m": (0, 100_000), "grace_min": (0, 600),
    }  # fmt: skip
    keys = Keys(own, "what", *limits)
    what = own.need("what").text(one_of=WHAT)
    numbers = {name: keys.number(name, getattr(plain, name), *limit) for name, limit in limits.items()}
    keys.done()
    return OffSiteParams(what, **numbers)


class OffSiteJudge(YardJudge):
    """The rule over all trucks that have a permit."""

    WANTED: ClassVar[tuple[str, ...]] = ("load_t", "bed_angle_deg", "ignition")
    COLUMNS: ClassVar[dict[str, tuple[type, float]]] = {
        "high_t": (float, np.nan), "high_ms": (int, 0), "low_t": (float, np.nan), "low_ms": (int, 0),
        "lift_ms": (int, 0), "driven_m": (float, 0.0), "home": (int, 0), "stood": (int, 0),
    }  # fmt: skip

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        super().__init__(rule, registry, sky)
        rows = self.rows
        self.params: OffSiteParams = rule.params
        payload = (
            registry.fact("max_load_t", rows)
            if "max_load_t" in {fact.name for fact in registry.catalog[rule.device].facts}
            else np.full(len(rows), np.nan)
        )
        self._payload = np.where(np.isnan(payload), 2.5 * self.params.loaded_t, payload)
        self._said: list[Transition] = []  # of stops, in this step, unless others explain them

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:
        """Judge readings: at most one a truck, each newer than its truck's last."""
        told = super().readings(fleet, batch, now_ms)
        if self.params.what != "stop":
            return told
        self._said += told
        return []

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Tell of stops once all of the step's readings are in, and end alerts of trucks silent for a day."""
        said, self._said = self._said, []
        explained: dict[str, int] = {}
        told = []
        for one in said:
            row = self.registry.row[one.entity.partition(":")[2]]
            if one.state == ACTIVE and self._company(fleet, row, one):
                explained[one.entity] = int(self.index[row])
            elif one.state == ACTIVE or one.entity not in explained:
                explained.pop(one.entity, None)
                told.append(one)
        for k in explained.values():  # as though it had not been told: the stop goes on waiting, if it goes on
            if self.state["phase"][k] == ALERTED:
                self.state["phase"][k] = REST if self.state["back_ms"][k] else WAITING
        return told + super().tick(fleet, now_ms)

    def busy(self, sight: Sight) -> Mask | None:
        """Return the trucks that stand or drive where and when they may not; the rest is seen turn by turn."""
        p, s = self.params, self.state
        if p.what == "stop":
            stands = (sight.more["load_t"] > p.loaded_t) & (sight.speed < p.stop_kmh)
            sight.more["away"] = away = stands & self.yards.away(sight, p.site_margin_m)
            return self.waking(sight.truck[away])
        if p.what == "hours":
            driving = sight.speed > p.driving_kmh
            rows = driving.nonzero()[0]
            strange = np.zeros(len(sight), dtype=np.bool_)
            if len(rows):
                minute = self.sky.local_minute(sight.time_ms[rows])
                strange[rows] = self.yards.early_or_late(sight.truck[rows], minute, p.grace_min)
            sight.more["away"] = away = strange & self.yards.away(sight, p.site_margin_m)
            found: Mask = self.waking(sight.truck[away]) | (s["driven_m"] != 0.0)
            return found
        return None

    def look(self, sight: Sight) -> tuple[Mask, Mask, dict[str, Floats]]:
        """Return where the condition holds and where it is over."""
        look = {"dump": self._dump, "load": self._load, "stop": self._stop, "hours": self._hours}[self.params.what]
        return look(sight)

    def _dump(self, sight: Sight) -> tuple[Mask, Mask, dict[str, Floats]]:
        p, s, truck, now = self.params, self.state, sight.truck, sight.time_ms
        load, bed = sight.more["load_t"], sight.more["bed_angle_deg"]
        fall = self._fallen(truck, now, load)
        high = s["high_t"][truck]
        standing = sight.speed < p.standing_kmh
        up = (bed > p.bed_deg) & standing
        lift_ms = np.where(up, np.where(s["lift_ms"][truck] == 0, now, s["lift_ms"][truck]), 0)
        recent = np.where(up, lift_ms, np.where(now - np.abs(s["lift_ms"][truck]) < WINDOW_MS, s["lift_ms"][truck], 0))
        s["lift_ms"][truck] = np.where(standing | np.isnan(sight.speed), recent, 0)
        lifted = (s["lift_ms"][truck] != 0) & (high > p.loaded_t)
        fallen = fall > p.share * np.maximum(high, p.loaded_t)
        score = _LIFT * lifted + _FALL * fallen + _STAY * standing
        likely = standing & (score >= _ENOUGH)
        drives = sight.speed > p.driving_kmh
        comes = standing & (s["stood"][truck] == 0) & (load > p.loaded_t)
        asked = likely | up | comes
        away = asked & self.yards.away(sight, p.site_margin_m)
        # Who was seen at its site since it last drove is there still, whatever its receiver says meanwhile.
        home = (s["home"][truck] > 0) & ~drives | asked & ~away & ~np.isnan(sight.east)
        s["home"][truck] = home
        s["stood"][truck] = np.where(np.isnan(sight.speed), s["stood"][truck], standing)
        holds = likely & away & ~home
        over = drives & (bed < p.bed_deg)
        return (
            holds,
            over,
            {"value": fall, "threshold": p.share * high, "load_t": load, "changed_t": fall, "score": score},
        )

    def _fallen(self, truck: Ints, now: Ints, load: Floats) -> Floats:
        """Return by how much the load has fallen below its highest of the last five minutes, tonnes."""
        s = self.state
        high, since = s["high_t"][truck], s["high_ms"][truck]
        anew = ~np.isnan(load) & (np.isnan(high) | (load >= 0.93 * high) | (now - since > WINDOW_MS))
        s["high_t"][truck], s["high_ms"][truck] = np.where(anew, load, high), np.where(anew, now, since)
        fall: Floats = s["high_t"][truck] - load
        return fall

    def _load(self, sight: Sight) -> tuple[Mask, Mask, dict[str, Floats]]:
        p, s, truck, now = self.params, self.state, sight.truck, sight.time_ms
        load = sight.more["load_t"]
        known = ~np.isnan(load)
        low, since = s["low_t"][truck], s["low_ms"][truck]
        # A rise is counted from what a truck carries when it leaves a site, or has carried for long. The least
        # load since then stands for it: a slow loader adds less between two reports than a load cell errs by.
        fresh = np.isnan(low) | (now - since > 4 * WINDOW_MS) | (now - s["last_ms"][truck] > GAP_MS)
        risen = ~fresh & (load > low + _RISE_T)
        away = risen & self.yards.away(sight, p.site_margin_m)
        at_home = risen & ~away & ~np.isnan(sight.east)
        anew, calm = known & (fresh | at_home), known & ~risen
        s["low_t"][truck] = np.where(anew, load, np.where(calm, np.minimum(low, load), low))
        s["low_ms"][truck] = np.where(anew | calm, now, since)
        rise = load - s["low_t"][truck]
        least = p.share * self._payload[truck]
        holds = away & (rise > least)
        over = known & ~holds & ~(risen & np.isnan(sight.east))
        return holds, over, {"value": rise, "threshold": least, "load_t": load, "changed_t": rise}

    def _stop(self, sight: Sight) -> tuple[Mask, Mask, dict[str, Floats]]:
        p, load = self.params, sight.more["load_t"]
        holds = sight.more["away"]
        over = (sight.speed >= p.stop_kmh) | (load <= p.loaded_t)
        stood = (sight.time_ms - self.state["onset_ms"][sight.truck]) / 60_000
        return (
            holds,
            over,
            {"value": stood, "threshold": np.full(len(sight), self.rule.for_ms / 60_000), "stood_min": stood},
        )

    def _hours(self, sight: Sight) -> tuple[Mask, Mask, dict[str, Floats]]:
        p, s, truck = self.params, self.state, sight.truck
        strange = np.zeros(len(sight), dtype=np.bool_)
        rows = ((sight.speed > p.driving_kmh) | (s["phase"][truck] != REST)).nonzero()[0]
        if len(rows):
            minute = self.sky.local_minute(sight.time_ms[rows])
            strange[rows] = self.yards.early_or_late(truck[rows], minute, p.grace_min)
        holds = sight.more["away"]
        passed_ms = sight.time_ms - s["last_ms"][truck]
        anew = (s["phase"][truck] == REST) | ((s["phase"][truck] == WAITING) & (passed_ms > GAP_MS))
        way = np.clip(passed_ms / 1000.0, 0.0, 60.0) * sight.speed / 3.6
        driven = np.where(holds, np.where(anew, 0.0, s["driven_m"][truck]) + way, s["driven_m"][truck])
        over = (sight.speed < p.stop_kmh) | ((s["phase"][truck] != REST) & ~strange)
        s["driven_m"][truck] = np.where(over, 0.0, driven)
        return holds, over, {"value": sight.speed, "threshold": np.full(len(sight), p.driving_kmh), "driven_m": driven}

    def may(self, sight: Sight) -> Mask:
        """Return where an alert may begin: a drive at strange hours that is long enough."""
        if self.params.what != "hours":
            return super().may(sight)
        return np.asarray(self.state["driven_m"][sight.truck] >= self.params.driven_m)

    def _company(self, fleet: Fleet, row: int, told: Transition) -> bool:
        """Return whether other trucks stand near one that has stopped, not at sites of theirs, by their last word."""
        live = fleet.live[self.rule.device]
        east, north = self.registry.projection.to_metres(live.column("lon_deg"), live.column("lat_deg"))
        at_east, at_north = self.registry.projection.to_metres(np.array([told.lon]), np.array([told.lat]))
        near = np.hypot(east - at_east, north - at_north) < self.params.peers_m
        near &= (live.column("speed_kmh") < self.params.standing_kmh) & (live.column("ignition") > 0)
        near &= np.abs(live.time_ms - told.at_ms) < 2 * 60_000
        near[live.local[row]] = False
        places = near.nonzero()[0]
        truck = self.index[live.rows[places]].astype(np.intp)
        at_site = np.zeros(len(places), dtype=np.bool_)  # who has no permit has no sites: it stands in the road
        at_site[truck >= 0] = self.yards.home(truck[truck >= 0], *(one[places[truck >= 0]] for one in (east, north)))
        return not at_site.all()
