"""What a truck does in a night: its hauls, and whatever a fault makes of one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from simulators.driving import CRUISE_MPS, Tracks
from simulators.faults import EFFECTS, Fault
from simulators.haulage import HOURS, LOAD_T, Detour, Haul, find_detour
from simulators.network import Network, Points, chainage, distance_to
from simulators.shift import (
    DAY_S,
    DUMPING,
    EMPTY,
    HOME,
    LOADED,
    LOADING,
    OUT,
    PARKED,
    STRANGE_LOAD,
    STRANGE_TIP,
    WASHING,
    Shift,
)  # fmt: skip
from simulators.strays import Compound, beside, keeps_out, spur

LAST_LOAD_MIN = 75  # a load taken up later would not be home when the permit's hours end
ON_LOADED = (
    "detour", "diversion", "parallel", "fence_incursion", "fence_graze", "illegal_dump", "roadside_stop", "vanish",
    "overspeed",
)  # fmt: skip
ON_EMPTY = ("unpermitted_load", "empty_wash")
_NOON_MIN = 720
SET_OUT_MS = 85 * 60_000  # within so long of a fault's beginning the trip sets out that goes wrong
LATE_MIN = 40  # an off-hours trip sets out so long after the permit's hours
LIMIT_KMH = 60.0
_OUTING_M = 1_500.0  # an off-hours trip leads farther than yards are wide
_TRIES = 8  # places tried, until one keeps clear of all compounds
_SHARES = (0.65, 0.6, 0.55, 0.5, *(0.45,) * 10)  # of the leg, led along another road: the same


class Errands:
    """Plans shifts.

    Args:
        network, hauls: streets and each truck's work.
        tracks: where lines are driven on.
        compounds: closed areas beside lines, by the line's ``id``.

    Attributes:
        base: track of each haul's own line.
        hauls, tracks, compounds: as given.
        used: (fault, truck) pairs that have befallen already.
    """

    def __init__(self, network: Network, hauls: Sequence[Haul], tracks: Tracks, compounds: dict[int, Compound]) -> None:
        self._network, self.hauls, self.tracks, self.compounds = network, hauls, tracks, compounds
        lines: dict[int, int] = {}
        for haul in hauls:
            if id(haul.line) not in lines:
                end = float(chainage(haul.line)[-1])
                lines[id(haul.line)] = tracks.add(haul.line, [0.0, haul.site_m, end])
        self.base = [lines[id(haul.line)] for haul in hauls]
        self._detours: dict[int, Detour | None] = {}
        self.used: set[tuple[str, int]] = set()
        self._spots: dict[tuple[str, int], float] = {}

    def night(
        self, k: int, noon_ms: int, rng: np.random.Generator, faults: Sequence[Fault], full_t: float, pace: float
    ) -> Shift:
        """Return truck ``k``'s shift from noon to noon; ``faults`` are those that touch it then."""
        return _Night(self, k, noon_ms, rng, faults, full_t, pace).made()

    def detour(self, k: int) -> Detour | None:
        """Return the other way of a truck's line, None where there is none."""
        key = id(self.hauls[k].line)
        if key not in self._detours:
            try:
                self._detours[key] = find_detour(self._network, self.hauls[k])
            except ValueError:
                self._detours[key] = None
        return self._detours[key]

    def spot(self, fault: Fault, k: int, first: int) -> float:
        """Return where on truck ``k``'s line the traffic stands, NaN where it does not pass there."""
        key = (fault.id, self.base[k])
        if key not in self._spots:
            haul = self.hauls[first]
            end = float(chainage(haul.line)[-1])
            place, _ = self.tracks.at(np.array([self.base[first]]), np.array([haul.site_m + 0.8 * (end - haul.site_m)]))
            line = self.hauls[k].line
            found = np.nan
            if distance_to(line, place)[0] < 25.0:
                places = np.arange(self.hauls[k].site_m, float(chainage(line)[-1]), 10.0)
                spots, _ = self.tracks.at(np.full(len(places), self.base[k]), places)
                found = float(places[np.hypot(*(spots - place[0]).T).argmin()])
            self._spots[key] = found
        return self._spots[key]


class _Night:
    """One shift in the making."""

    def __init__(
        self, of: Errands, k: int, noon_ms: int, rng: np.random.Generator, faults: Sequence[Fault], full_t: float,
        pace: float,
    ) -> None:  # fmt: skip
        self.of, self.k, self.noon_ms, self.rng, self.full = of, k, noon_ms, rng, full_t
        self.faults = [(EFFECTS[fault.kind], fault) for fault in faults]
        self.haul, self.base = of.hauls[k], of.base[k]
        self.end = of.tracks.length(self.base)
        self.shift = Shift(of.tracks, rng, self.base, 0.0, pace)
        self.jams = [fault for effect, fault in self.faults if effect == "congestion"]

    def due(self, effects: Iterable[str]) -> tuple[str, Fault] | None:
        """Return a fault that now befalls the truck, once each."""
        for effect, fault in self.faults:
            at_ms = self.noon_ms + self.shift.now * 1000
            until_ms = fault.off_ms if effect == "diversion" else min(fault.off_ms, fault.on_ms + SET_OUT_MS)
            if effect in effects and fault.on_ms <= at_ms < until_ms and (fault.id, self.k) not in self.of.used:
                if effect != "diversion":
                    self.of.used.add((fault.id, self.k))
                return effect, fault
        return None

    def made(self) -> Shift:
        shift, rng = self.shift, self.rng
        begin = (HOURS[0] - _NOON_MIN) * 60.0
        finish = (HOURS[1] + 1440 - _NOON_MIN) * 60.0
        shift.stay(begin + 60.0 * rng.uniform(0.0, 20.0))
        shift.phase(OUT)
        self.way(0.0, self.haul.site_m)
        while shift.now < finish - 60.0 * LAST_LOAD_MIN:
            if not self.haul_once():
                shift.phase(PARKED)
                shift.close()
                return shift
        shift.phase(HOME)
        self.way(self.haul.site_m, 0.0)
        shift.phase(PARKED)
        late = finish + 60.0 * LATE_MIN
        shift.stay(max(late - shift.now, 1.0))
        after = self.due(("off_hours",))
        if after:
            short = self.haul.site_m < _OUTING_M  # a building site at the depot's gate: on to the disposal site
            far = self.haul.site_m + _OUTING_M if short else min(0.9 * self.haul.site_m, 4_000.0)
            far = min(far, 0.9 * self.end)
            shift.phase(OUT)
            shift.span("driving:" + after[1].id, shift.now, shift.now + 1200.0)
            shift.drive(self.base, 0.0, far)
            shift.stay(120.0)
            shift.phase(HOME)
            shift.drive(self.base, far, 0.0)
            shift.phase(PARKED)
        shift.close()
        return shift

    def haul_once(self) -> bool:
        """Load, haul, dump and come back; return whether the truck is at its site again."""
        shift, rng = self.shift, self.rng
        heavy = self.due(("overweight",))
        load = heavy[1].magnitude * LOAD_T if heavy else self.full
        shift.phase(LOADING)
        shift.stay(rng.uniform(420.0, 660.0), load)
        shift.phase(LOADED)
        if heavy:
            shift.span("heavy:" + heavy[1].id, shift.now, shift.now + 3600.0)
        found = self.due(ON_LOADED)
        if found is None:
            self.way(self.haul.site_m, self.end)
        elif not self.astray(*found):
            return found[0] != "vanish"
        shift.phase(DUMPING)
        shift.stay(rng.uniform(160.0, 280.0), 0.0)
        self.back(self.end)
        return True

    def back(self, from_m: float) -> None:
        """Come back empty to the site."""
        shift, rng = self.shift, self.rng
        shift.phase(EMPTY)
        found = self.due(ON_EMPTY)
        if found is None:
            self.way(from_m, self.haul.site_m)
            return
        place, line = self.off_road(0.3, 0.7, 40.0)
        self.way(from_m, place)
        shift.drive(line, 0.0, 40.0)
        if found[0] == "empty_wash":
            shift.phase(WASHING)
            shift.span("bed", shift.now + 60.0, shift.now + 60.0 + rng.uniform(45.0, 90.0), 40.0)
            shift.stay(240.0)
            shift.phase(EMPTY)
            shift.drive(line, 40.0, 0.0)
            self.way(place, self.haul.site_m)
            return
        shift.phase(STRANGE_LOAD)
        shift.span("strange:" + found[1].id, shift.now, shift.now + 480.0)
        shift.stay(60.0)
        shift.stay(rng.uniform(240.0, 420.0), self.full)
        shift.phase(LOADED)
        shift.drive(line, 40.0, 0.0)
        self.way(place, self.end)
        shift.phase(DUMPING)
        shift.stay(rng.uniform(160.0, 280.0), 0.0)
        shift.phase(EMPTY)
        self.way(self.end, self.haul.site_m)

    def between(self, low: float, high: float) -> float:
        """Return a place on the way from the building site to the disposal site."""
        return self.haul.site_m + float(self.rng.uniform(low, high)) * (self.end - self.haul.site_m)

    def off_road(self, low: float, high: float, aside_m: float) -> tuple[float, int]:
        """Return a place on the loaded leg and the track of a way straight off the road there, into no compound."""
        places = [self.between(low, high) for _ in range(_TRIES)]
        for place, side in ((place, side) for place in places for side in (1.0, -1.0)):
            if keeps_out(spur(self.haul.line, place, side * aside_m), self.of.compounds.values()):
                return place, self.aside(place, side * aside_m)
        return places[0], self.aside(places[0], aside_m)

    def other_road(self, aside_m: float) -> tuple[float, float, Points]:
        """Return where a way beside the loaded leg leaves it and comes back, and that way; through no compound."""
        ways = []
        for share in _SHARES:
            leave = float(self.rng.uniform(0.1, 0.9 - share))
            begin, end = (self.haul.site_m + one * (self.end - self.haul.site_m) for one in (leave, leave + share))
            side = aside_m * float(self.rng.choice([-1.0, 1.0]))
            ways += [(begin, end, beside(self.haul.line, begin, end, one)) for one in (side, -side)]
        clear = (way for way in ways if keeps_out(way[2], self.of.compounds.values()))
        return next(clear, ways[0])

    def aside(self, place_m: float, aside_m: float) -> int:
        return self.of.tracks.add(spur(self.haul.line, place_m, aside_m), [abs(aside_m)])

    def way(self, from_m: float, until_m: float) -> None:
        """Drive along the own line, and stand where the traffic does."""
        shift = self.shift
        at = from_m
        for fault in self.jams:
            spot = self.of.spot(fault, self.k, self.first(fault))
            if not min(from_m, until_m) + 60.0 < spot < max(from_m, until_m) - 60.0 or (spot - at) * (until_m - at) < 0:
                continue
            needed = abs(spot - at) / (0.8 * CRUISE_MPS)
            if fault.on_ms <= self.noon_ms + (shift.now + needed) * 1000 < fault.off_ms:
                stop = spot - np.sign(until_m - from_m) * float(self.rng.uniform(0.0, 50.0))
                shift.drive(self.base, at, stop)
                over = (fault.off_ms - self.noon_ms) / 1000.0 + float(self.rng.uniform(0.0, 90.0))
                shift.stay(max(over - shift.now, 5.0))
                at = stop
        shift.drive(self.base, at, until_m)

    def first(self, fault: Fault) -> int:
        names = [haul.truck for haul in self.of.hauls]
        return names.index(fault.targets[0])

    def astray(self, effect: str, fault: Fault) -> bool:
        """Live through a loaded leg that goes wrong; return whether it ends at the disposal site, loaded."""
        shift, start = self.shift, self.haul.site_m
        if effect in ("detour", "diversion"):
            other = self.of.detour(self.k)
            if other is None:
                self.way(start, self.end)
                return True
            self.way(start, other.leave_m)
            line = self.of.tracks.add(other.line, [])
            shift.span("away:" + fault.id, shift.now, shift.now + 7200.0, 80.0)
            shift.drive(line, 0.0, self.of.tracks.length(line))
            self.way(other.return_m, self.end)
        elif effect == "parallel":
            leave, back, other_way = self.other_road(fault.magnitude)
            self.way(start, leave)
            line = self.of.tracks.add(other_way, [])
            shift.span("away:" + fault.id, shift.now, shift.now + 7200.0, 0.8 * fault.magnitude)
            shift.drive(line, 0.0, self.of.tracks.length(line))
            self.way(back, self.end)
        elif effect in ("fence_incursion", "fence_graze"):
            self.trespass(fault)
        elif effect == "overspeed":
            self.race(fault)
        else:
            return self.halt(effect, fault)
        return True

    def trespass(self, fault: Fault) -> None:
        """Turn into the compound beside the road, ``magnitude`` metres deep, stay, and go on."""
        shift, compound = self.shift, self.of.compounds.get(id(self.haul.line))
        if compound is None:
            self.way(self.haul.site_m, self.end)
            return
        self.way(self.haul.site_m, compound.place_m)
        deep = 25.0 + fault.magnitude
        line = self.aside(compound.place_m, compound.side * deep)
        shift.drive(line, 0.0, deep)
        lasts = float(self.rng.uniform(120.0, 600.0))
        shift.span("shown:" + fault.id, shift.now, shift.now + lasts)
        shift.stay(lasts)
        shift.drive(line, deep, 0.0)
        self.way(compound.place_m, self.end)

    def race(self, fault: Fault) -> None:
        """Drive ``magnitude`` km/h above the limit for half a minute and more, where the road is straight."""
        shift = self.shift
        speed = (LIMIT_KMH + fault.magnitude) / 3.6
        begin, end = self.of.tracks.straight(self.base, self.haul.site_m + 100.0, self.end - 100.0)
        end = min(end, begin + speed * float(self.rng.uniform(35.0, 60.0)))
        if end - begin < 33.0 * speed:
            self.way(self.haul.site_m, self.end)
            return
        self.way(self.haul.site_m, begin)
        shift.span("shown:" + fault.id, shift.now, shift.now + (end - begin) / speed)
        shift.drive(self.base, begin, end, faster=speed / CRUISE_MPS)
        self.way(end, self.end)

    def halt(self, effect: str, fault: Fault) -> bool:
        """Stop beside the road: to stand, to dump, or for good."""
        shift, rng = self.shift, self.rng
        aside = float(rng.uniform(20.0, 60.0))
        place, line = self.off_road(0.55, 0.65, aside) if effect == "vanish" else self.off_road(0.25, 0.75, aside)
        self.way(self.haul.site_m, place)
        if effect == "roadside_stop":
            shift.span("shown:" + fault.id, shift.now, shift.now + 900.0)
            shift.stay(900.0)
            self.way(place, self.end)
            return True
        if effect == "vanish":
            shift.span("shown:" + fault.id, shift.now, shift.now + 60.0)
            shift.stay(25.0)
            shift.span("off", shift.now, DAY_S)
            shift.span("gone", shift.now + 20.0, DAY_S)
            return False
        shift.drive(line, 0.0, aside)
        lift, lasts = float(rng.uniform(40.0, 90.0)), float(rng.uniform(180.0, 360.0))
        shift.phase(STRANGE_TIP)
        before = float(rng.uniform(30.0, lasts - lift - 30.0))
        shift.stay(before)
        shift.span("bed", shift.now, shift.now + lift, 45.0)
        shift.span("shown:" + fault.id, shift.now, shift.now + lift)
        shift.stay(lift, 0.0)
        shift.stay(lasts - before - lift)
        shift.phase(EMPTY)
        shift.drive(line, aside, 0.0)
        self.way(place, self.haul.site_m)
        return False
