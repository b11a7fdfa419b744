"""Which nodes of the tree explain what lamps and cabinets show, and what each of them names as the cause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alerts.causes_evidence import Evidence, Ints, Mask, together
from alerts.causes_settings import CauseSettings
from alerts.fleet import Fleet
from alerts.topology import CITY, Topology

SEVERAL = 3  # cabinets, or districts, that fail at once have one cause, however many there are
WHOLE = 0.9


@dataclass(frozen=True, slots=True)
class Seen:
    """A node that explains.

    Attributes:
        node: its name.
        onset_ms: when the first of it showed.
        low, high: between which moments it began, epoch milliseconds.
        cause: one of causes_words.NAMES.
        count, of, boxes, pole: lamps out, of so many, at so many cabinets; the first dark pole of a cut.
        told: whether the cabinet's own alerts say so.
        fed: whether most of the dark lamps have supply.
    """

    node: str
    onset_ms: int
    low: int
    high: int
    cause: str
    count: int
    of: int
    boxes: int = 1
    pole: int = 0
    told: bool = False
    fed: bool = False


class Explainer:
    """Finds the nodes that explain.

    Args:
        settings: shares, windows and conditions.
        topology: the tree.
    """

    def __init__(self, settings: CauseSettings, topology: Topology) -> None:
        self._settings, self._tree = settings, topology

    def _rated(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        return self._tree.registry.fact("rated_power_w", rows)

    def highest(self, lamps: Evidence, boxes: Evidence, fleet: Fleet) -> Iterator[Seen]:
        """Yield the nodes that explain and do not lie below another that does."""
        tree = self._tree
        circuits = dict(self._circuits(lamps, boxes, fleet))
        cabinets: dict[int, Seen] = {}
        for number in {int(tree.cabinet_of[one]) for one in circuits} | set(np.flatnonzero(boxes.dark).tolist()):
            below = [circuits[one] for one in np.flatnonzero(tree.cabinet_of == number).tolist() if one in circuits]
            found = self._cabinet(number, below, lamps, boxes, fleet)
            if found is not None:
                cabinets[number] = found
        districts: dict[int, tuple[Seen, set[int]]] = {}
        for number in sorted({int(tree.district_of[one]) for one in cabinets} - {-1}):
            mine = [one for one in sorted(cabinets) if tree.district_of[one] == number]
            whole = int(np.count_nonzero(tree.district_of == number))
            of = int(tree.size_of_cabinet[tree.district_of == number].sum())
            up = together_above(tree.districts[number], mine, cabinets, (whole, of), self._settings.window_ms)
            if up is not None:
                districts[number] = up
        covered = {one for _, members in districts.values() for one in members}
        above = [seen for seen, _ in districts.values()]
        whole = int(np.count_nonzero(np.bincount(tree.district_of[tree.district_of >= 0])))
        numbers = dict(enumerate(above))
        city = together_above(CITY, list(numbers), numbers, (whole, len(tree.lamps)), self._settings.window_ms)
        yield from above if city is None else [city[0]]
        yield from (seen for number, seen in sorted(cabinets.items()) if number not in covered and not seen.told)
        for number, seen in sorted(circuits.items()):
            if int(tree.cabinet_of[number]) not in cabinets:
                yield seen

    def _circuits(self, lamps: Evidence, boxes: Evidence, fleet: Fleet) -> Iterator[tuple[int, Seen]]:
        tree, out = self._tree, lamps.out
        count = np.bincount(tree.circuit[out], minlength=len(tree.circuits))
        for number in np.flatnonzero(count >= self._settings.least).tolist():
            mine = np.flatnonzero(tree.circuit == number)
            bad = mine[out[mine]]
            member, moment = together(lamps.low[bad], lamps.high[bad], self._settings.window_ms)
            of, group = len(mine), bad[member]
            cut = self._cut(mine, group)
            if len(group) < max(self._settings.least, self._settings.share * of) and not cut:
                continue
            cause = "cable_cut" if cut and len(group) < WHOLE * of else self._why(mine, group, lamps, boxes, fleet)
            low = int(lamps.low[group].max())
            about = (min(low, moment), moment, cause, len(group), of, 1, cut)
            yield number, Seen(tree.circuits[number], moment, *about, fed=_most(lamps.fed[group]))

    def _cut(self, mine: npt.NDArray[np.intp], group: npt.NDArray[np.intp]) -> int:
        """Return the first dark pole where all from it on are dark and some before it are not; 0 for no such pole."""
        poles = self._tree.pole[group]
        if len(group) < self._settings.least or (poles < 0).any():
            return 0
        first = int(poles.min())
        behind = np.count_nonzero(self._tree.pole[mine] >= first)
        return first if behind == len(group) < len(mine) and first > 0 else 0

    def _cabinet(self, number: int, below: list[Seen], lamps: Evidence, boxes: Evidence, fleet: Fleet) -> Seen | None:
        """Return a cabinet that explains: by its own word, or because all its circuits do."""
        tree, name = self._tree, self._tree.cabinets[number]
        of = int(tree.size_of_cabinet[number])
        if boxes.dark[number]:
            sign = self._settings.cabinet.signs[int(boxes.sign[number])].cause
            low, high = int(boxes.low[number]), int(boxes.high[number])
            return Seen(name, high, low, high, sign, of, of, told=True)
        mine = np.flatnonzero(tree.cabinet == number)
        if len(below) < np.count_nonzero(tree.cabinet_of == number) and not self._nobody_well(mine, below, lamps):
            return None
        bad = mine[lamps.out[mine]]
        member, moment = together(lamps.low[bad], lamps.high[bad], self._settings.window_ms)
        group = bad[member]
        if len(group) < max(self._settings.least, self._settings.share * of):
            return None
        low = min(int(lamps.low[group].max()), moment)
        cause, fed = self._why(mine, group, lamps, boxes, fleet), _most(lamps.fed[group])
        return Seen(name, moment, low, moment, cause, len(group), of, fed=fed)

    def _nobody_well(self, mine: npt.NDArray[np.intp], below: list[Seen], lamps: Evidence) -> bool:
        """Return whether hardly a lamp of a cabinet has been well since some of them went out: the rest will show."""
        if not below or any(one.cause == "cable_cut" for one in below):
            return False
        since_ms = max(one.onset_ms for one in below) + self._settings.window_ms
        return bool(np.count_nonzero(lamps.well[mine] > since_ms) <= (1 - WHOLE) * len(mine))

    def _why(
        self, mine: npt.NDArray[np.intp], group: npt.NDArray[np.intp], lamps: Evidence, boxes: Evidence, fleet: Fleet
    ) -> str:
        """Return what has put a group of lamps out, as far as telemetry tells."""
        poles = self._tree.pole[group]
        turn = np.unique(poles % 3)
        if len(turn) == 1 and (poles >= 0).all() and len(group) < WHOLE * len(mine):
            third = np.count_nonzero(self._tree.pole[mine] % 3 == turn[0])
            if len(group) >= WHOLE * third:
                return "phase_loss"
        number = int(self._tree.cabinet[group[0]])
        load = self._load(number, lamps, boxes, fleet)
        missing = len(group) / max(int(self._tree.size_of_cabinet[number]), 1)
        if not np.isnan(load):
            return "communications" if load > 1 - missing / 2 else "cable"
        if lamps.silent[group].all():
            return "communications"
        return "dark"

    def _load(self, number: int, lamps: Evidence, boxes: Evidence, fleet: Fleet) -> float:
        """Return what a cabinet draws of what its lamps should, NaN where it does not say or is silent."""
        row = int(self._tree.cabinet_row[number])
        if row < 0 or boxes.silent[number] or not boxes.judged[number]:
            return float("nan")
        live = fleet.live[self._settings.cabinet.device]
        if "feeder_power_w" not in live.columns:
            return float("nan")
        drawn = float(live.column("feeder_power_w")[live.local[row]])
        mine = np.flatnonzero((self._tree.cabinet == number) & lamps.judged & ~lamps.out)
        rows = self._tree.lamps[mine]
        power = (
            live.column("power_w")[live.local[rows]] / self._rated(rows) if "power_w" in live.columns else rows * 0.0
        )
        power = power[~np.isnan(power)]
        dimmed = float(np.median(power)) if len(power) else 1.0
        return drawn / (float(self._rated(np.array([row]))[0]) * max(dimmed, 0.1))


def _most(mask: Mask) -> bool:
    return 2 * int(np.count_nonzero(mask)) > len(mask)


def together_above(
    node: str, numbers: list[int], below: Mapping[int, Seen], whole: tuple[int, int], window_ms: int
) -> tuple[Seen, set[int]] | None:
    """Return the node above as explaining, with whom: all that lie below it at once, or several of them.

    Args:
        node: its name.
        numbers: of those below it that explain.
        below: these.
        whole: how many nodes lie below it, and how many lamps.
        window_ms: within this span is at once.
    """
    if len(numbers) < 2:
        return None
    low: Ints = np.array([below[one].low for one in numbers], dtype=np.int64)
    high: Ints = np.array([below[one].high for one in numbers], dtype=np.int64)
    member, moment = together(low, high, window_ms)
    chosen = [one for one, inside in zip(numbers, member.tolist(), strict=True) if inside]
    if len(chosen) < 2 or len(chosen) < min(whole[0], SEVERAL):
        return None
    parts = [below[one] for one in chosen]
    causes = [one.cause for one in parts]
    silent = all(one == "communications" for one in causes)
    cause = "communications" if silent else "dark" if all(one == "dark" for one in causes) else "supply"
    earliest = int(low[member].max())
    seen = Seen(
        node, moment, min(earliest, moment), moment, cause, sum(one.count for one in parts),
        whole[1], sum(one.boxes for one in parts), fed=all(one.fed for one in parts),
    )  # fmt: skip
    return seen, set(chosen)
