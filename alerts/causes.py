"""Root causes: lamps that go out together have one cause, found at the highest node of the tree that explains them.

A circuit explains when enough of its lamps are out since moments that can be one and the same, or all from some pole
on. A cabinet explains when its own telemetry says so, or all its circuits do. A district explains when all its cabinets
do at once, or three of them; so does the city. What holds for a while becomes an alert on that node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from alerts import causes_words as words
from alerts.causes_evidence import Evidence, Mask, Witnesses
from alerts.causes_settings import CauseSettings
from alerts.causes_tree import Explainer, Seen
from alerts.fleet import NEVER, Fleet
from alerts.saved import matching
from alerts.topology import Topology
from devices.sky import Sky
from devices.transition import Transition

NAME = "causes.found"
SPEECH = ("communications", "dark")  # causes that lamps tell of, not their cabinets


@dataclass(slots=True)
class Found:
    """A node that explains, and since when; host times in epoch milliseconds.

    Attributes:
        since_ms: when it was first seen to explain.
        onset_ms, cause, count, of, boxes, pole: as it was told.
        open: whether people can have heard of it.
        well_ms: since when hardly any of it is out, 0 for not.
        rests: it was open when the lamps were switched off: what has become of it shows when they burn again.
    """

    since_ms: int
    onset_ms: int
    cause: str
    count: int
    of: int
    boxes: int
    pole: int
    open: bool = False
    well_ms: int = 0
    rests: bool = False


class Causes:
    """Looks for causes.

    Args:
        settings: shares, windows and conditions.
        topology: the tree, of the lamps that ``settings`` names.
        sky: for local time.
    """

    def __init__(self, settings: CauseSettings, topology: Topology, sky: Sky) -> None:
        self._settings, self._tree, self._sky = settings, topology, sky
        registry = topology.registry
        self._lamps = Witnesses(settings.lamp, registry, topology.lamps)
        known = np.flatnonzero(topology.cabinet_row >= 0)
        self._box_order = known[np.argsort(topology.cabinet_row[known])]
        self._boxes = Witnesses(settings.cabinet, registry, topology.cabinet_row[self._box_order])
        self._explainer = Explainer(settings, topology)
        self._away_ms = np.full(len(topology.cabinets), NEVER, dtype=np.int64)  # when each last had no supply
        self.found: dict[str, Found] = {}
        self.next_ms: int = NEVER

    def look(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Return the alerts on nodes that begin or end now; looks at all lamps, every few seconds of host time."""
        if fleet.resumed_ms != now_ms and now_ms < self.next_ms <= now_ms + self._settings.every_ms:
            return []
        self.next_ms = now_ms + self._settings.every_ms
        boxes = self._boxes.look(fleet, now_ms) if len(self._boxes.rows) else None
        spread = self._spread(boxes)
        self._note_supply(spread, now_ms)
        lamps = self._lamps.look(fleet, now_ms, self._away_ms[self._tree.cabinet]) if len(self._lamps.rows) else None
        if lamps is None:
            self._rest(list(self.found))
            return []
        if not self.found and np.count_nonzero(lamps.out) < self._settings.least and not spread.dark.any():
            return []
        seen = {one.node: one for one in self._explainer.highest(lamps, spread, fleet)}
        return [*self._ended(seen, lamps, spread, now_ms), *self._begun(seen, now_ms)]

    def _note_supply(self, boxes: Evidence, now_ms: int) -> None:
        """Note which cabinets have no supply: lamps that come back need a report to say so, which is no new cause."""
        self._away_ms = np.minimum(self._away_ms, now_ms)
        self._away_ms[boxes.dark] = now_ms
        for name, held in self.found.items():
            if held.open and held.cause not in SPEECH and name.startswith(("district:", "city:")):
                self._away_ms[self._tree.inside(name) & (boxes.dark | boxes.silent)] = now_ms

    def _spread(self, boxes: Evidence | None) -> Evidence:
        """Return what cabinets show, by their numbers in the tree; those that the registry lacks show nothing."""
        count = len(self._tree.cabinets)
        judged, dark, silent, fed = (np.zeros(count, dtype=bool) for _ in range(4))
        low, high = (np.zeros(count, dtype=np.int64) for _ in range(2))
        out = Evidence(judged, dark, silent, low, high, np.full(count, -1, dtype=np.int8), np.zeros_like(low), fed)
        if boxes is not None:
            for name in Evidence.__slots__:
                getattr(out, name)[self._box_order] = getattr(boxes, name)
        return out

    # What begins and ends.

    def _begun(self, seen: Mapping[str, Seen], now_ms: int) -> Iterator[Transition]:
        for name, one in seen.items():
            held = self.found.get(name)
            if held is None:
                held = self.found[name] = Found(now_ms, one.onset_ms, one.cause, one.count, one.of, one.boxes, one.pole)
            elif not held.open:  # until it is told, more becomes known
                held.onset_ms, held.cause, held.pole = one.onset_ms, one.cause, one.pole
                held.count, held.of, held.boxes = one.count, one.of, one.boxes
            held.well_ms, held.rests = 0, False
            held.since_ms = min(held.since_ms, now_ms)
            hold_ms = max(self._settings.hold_ms, self._settings.restrike_ms if one.fed else 0)
            if not held.open and now_ms - held.since_ms >= hold_ms and not self._below_open(name):
                held.open = True
                yield self._tell(name, held, now_ms)

    def _below_open(self, name: str) -> bool:
        """Return whether a node above explains it already."""
        return any(one != name and one in self.found and self.found[one].open for one in self._tree.upwards(name))

    def _ended(
        self, seen: Mapping[str, Seen], lamps: Evidence, boxes: Evidence, now_ms: int
    ) -> Iterator[Transition]:  # fmt: skip
        self._rest([name for name in self.found if name not in seen and not lamps.judged[self._below(name)].any()])
        for name in [one for one in self.found if one not in seen]:
            held = self.found[name]
            if not held.open:
                del self.found[name]
                continue
            left = self._left(name, lamps.out & ~self._explained_below(name, seen), boxes.dark)
            if left > self._settings.clear_share * held.count or not self._shows(name, held, lamps, now_ms):
                held.well_ms = 0
                continue
            held.well_ms = min(held.well_ms, now_ms) or now_ms
            if now_ms - held.well_ms >= self._settings.keep_ms:
                del self.found[name]
                yield self._tell(name, held, now_ms, "recovered")

    def _left(self, name: str, out: Mask, down: Mask) -> int:
        """Return how many lamps below a node are out still, all of a cabinet that is down among them."""
        tree = self._tree
        boxes, lamps = tree.inside(name), self._below(name)
        if name.startswith("circuit:"):
            return int(np.count_nonzero(out & lamps))
        whole = down & boxes
        if name.startswith(("district:", "city:")) and self.found[name].cause not in SPEECH:
            return int(tree.size_of_cabinet[whole].sum())  # lamps may take a report to say so; cabinets do not
        return int(np.count_nonzero((out | down[tree.cabinet]) & lamps))

    def _below(self, name: str) -> Mask:
        """Return which lamps lie below a node, (lamps,)."""
        if name.startswith("circuit:"):
            return np.equal(self._tree.circuit, self._tree.circuits.index(name))
        return self._tree.inside(name)[self._tree.cabinet]

    def _explained_below(self, name: str, seen: Mapping[str, Seen]) -> Mask:
        """Return which lamps of a node are out for a smaller cause that is left: a gateway, when others are heard.

        Of supply that comes back cabinet by cabinet only the last one is: until then it is one matter.
        """
        below = [other for other in seen if other != name and name in self._tree.upwards(other)]
        found = np.zeros(len(self._tree.lamps), dtype=np.bool_)
        for other in below if len(below) == 1 or self.found[name].cause == "communications" else ():
            found |= self._below(other)
        return found

    def _rest(self, names: list[str]) -> None:
        """Keep what people were told of until lamps are to burn again: by day nobody can tell whether they would."""
        for name in names:
            held = self.found[name]
            held.well_ms, held.rests = 0, True
            if not held.open:
                del self.found[name]

    def _shows(self, name: str, held: Found, lamps: Evidence, now_ms: int) -> bool:
        """Return whether it shows what has become of a node since the lamps were switched on again."""
        if not held.rests:
            return True
        mine = self._below(name) & lamps.judged
        on_for = self._sky.switched_on_for_ms(self._tree.lamps[mine], now_ms)
        unknown = np.count_nonzero(lamps.well[mine] <= now_ms - on_for)
        return bool(
            mine.any()
            and (unknown <= self._settings.clear_share * held.count or on_for.min() > self._lamps.patience_ms)
        )

    def _tell(self, name: str, held: Found, at_ms: int, over: str = "") -> Transition:
        about = {"count": held.count, "of": held.of, "boxes": held.boxes, "pole": held.pole}
        return words.told(
            self._tree.registry, self._sky, name, held.onset_ms, held.cause, about, at_ms, over=over
        )  # fmt: skip

    # Memory.

    def save(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return everything that is remembered, as named arrays without objects."""
        found = np.frombuffer(msgspec.msgpack.encode((self.next_ms, self.found)), dtype=np.uint8).copy()
        names = np.array(self._tree.cabinets, dtype=np.str_)
        away = {"causes.cabinets": names, "causes.away_ms": self._away_ms.copy()}
        return {NAME: found, **away, **self._lamps.save("causes.lamps."), **self._boxes.save("causes.boxes.")}

    def load(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Take over what was saved; nodes that are no longer there are let go."""
        self._lamps.load(state, "causes.lamps.")
        self._boxes.load(state, "causes.boxes.")
        if "causes.cabinets" in state:
            at, place = matching(self._tree.cabinets, state["causes.cabinets"])
            self._away_ms[at] = state["causes.away_ms"].astype(np.int64)[place]
        if NAME in state:
            self.next_ms, found = msgspec.msgpack.decode(state[NAME].tobytes(), type=tuple[int, dict[str, Found]])
            self.found = {name: one for name, one in found.items() if self._tree.knows(name)}
