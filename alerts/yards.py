"""The sites of trucks' permits: how far each truck is from its own, worked out once a batch for all rules that ask."""

from __future__ import annotations

import numpy as np

from alerts.corridor import Sites
from alerts.fleet import Fleet
from alerts.rules import Rule
from alerts.truckwatch import Floats, Ints, Mask, Sight, TruckJudge
from devices.batch import Batch
from devices.registry import Permit, Registry
from devices.sky import Sky

HOME_M = 30.0  # about a site: what a receiver errs by
REACH_M = 200.0  # so far from a site it is worked out how far, and farther only where a rule asks for it


class Yards:
    """The sites of every truck's permits, and its hours; in metres from the city's centre."""

    def __init__(self, registry: Registry, permits: list[list[Permit]]) -> None:
        to_metres = registry.projection.to_metres
        rings = [[to_metres(*np.array(ring).T) for permit in group for ring in permit.sites] for group in permits]
        self._sites = Sites(rings)
        most = max((len(group) for group in permits), default=0)
        hours = np.zeros((2, len(permits), most), dtype=np.int64)
        for k, group in enumerate(permits):
            for number in range(most):
                hours[:, k, number] = group[min(number, len(group) - 1)].hours
        self._begin = hours[0]
        self._lasts = np.where(hours[1] > hours[0], hours[1] - hours[0], hours[1] - hours[0] + 1440)

    def metres(self, sight: Sight, reach_m: float) -> Floats:
        """Return metres from the nearest own site, 0 inside, infinite beyond ``reach_m`` and where nobody knows."""
        found = np.full(len(sight), np.inf)
        rows = (~np.isnan(sight.east)).nonzero()[0]
        if len(rows):
            found[rows] = self._sites.metres(sight.truck[rows], sight.east[rows], sight.north[rows], reach_m)
        return found

    @staticmethod
    def away(sight: Sight, margin_m: float) -> Mask:
        """Return which trucks are surely outside all their sites; at an unknown place they are not."""
        found: Mask = ~np.isnan(sight.east) & (sight.more["site_m"] > margin_m)
        return found

    def home(self, truck: Ints, east: Floats, north: Floats) -> Mask:
        """Return which trucks stand at sites of their own, where they load and tip for minutes."""
        return self._sites.holds(truck, east, north, HOME_M)

    def early_or_late(self, truck: Ints, minute: Ints, grace_min: float) -> Mask:
        """Return for which trucks it is neither within the hours of a permit nor within the grace about them."""
        lasts = self._lasts[truck]
        since = np.mod(minute[:, None] - self._begin[truck] + grace_min, 1440)
        inside = (lasts >= 1440) | (since < lasts + 2 * grace_min)
        found: Mask = ~inside.any(axis=1)
        return found


class YardJudge(TruckJudge):
    """A rule over all trucks that have a permit, that asks whether they are at its sites.

    Attributes:
        permits: of each watched truck.
        yards: their sites and hours.
    """

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        found: dict[int, list[Permit]] = {}
        for permit in registry.permits:
            row = registry.row.get(permit.truck)
            if row is not None and registry.kind[row] == registry.catalog[rule.device].index:
                found.setdefault(row, []).append(permit)
        rows = np.array(sorted(found), dtype=np.intp)
        super().__init__(rule, registry, sky, rows)
        self.permits = [found[row] for row in rows.tolist()]
        self.yards = Yards(registry, self.permits)
        self._reach_m = max(REACH_M, float(rule.params.site_margin_m))

    def prepare(self, fleet: Fleet, batch: Batch, sight: Sight) -> None:
        """Work out how far all trucks are from their sites, unless another rule has asked for it."""
        made, key = fleet.about(batch), (YardJudge, self._reach_m)
        if key not in made:
            made[key] = self.yards.metres(sight, self._reach_m)
        sight.more["site_m"] = made[key]
