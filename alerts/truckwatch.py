"""What rules over single trucks have in common: one condition a truck, with its waiting, its end, its memory.

A kind of rule says of each reading whether its condition surely holds, surely has ended, or neither; here is how that
becomes an alert. Its slow twin is ``simulators/oracle_trucks.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from alerts.fleet import NEVER, NEVER_AGAIN, Fleet
from alerts.judge import State
from alerts.messages import transition
from alerts.rules import Rule
from alerts.saved import matching, take_over
from alerts.wanted import Wanted
from devices.batch import Batch
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

REST, WAITING, ALERTED = 0, 1, 2
LOOK_MS = 1_000  # how often open alerts of silent trucks are looked at
HOLD_MS = 86_400_000  # silent for so long with an alert open: it ends as data_lost
GAP_MS = 180_000  # a condition that nobody saw for so long begins to wait anew
USUAL = ("lon_deg", "lat_deg", "hdop", "satellites", "speed_kmh")
MAX_HDOP, MIN_SATELLITES = 6.0, 4.0


class Sight:
    """Readings of one call, one a truck: (n,) each.

    Attributes:
        truck: place among the watched trucks.
        time_ms: device time.
        east, north: metres from the city's centre, NaN where the fix is no good.
        speed: km/h, NaN where not reported.
        hdop: of the fix, 1 where not reported.
        more: further fields, by name.
    """

    def __init__(
        self, truck: npt.NDArray[np.intp], time_ms: Ints, columns: Mapping[str, Floats], at: tuple[Floats, Floats]
    ) -> None:
        self.truck, self.time_ms, self.more = truck, time_ms, columns
        self.east, self.north = at
        self.speed = columns["speed_kmh"]
        self.hdop = np.where(np.isnan(columns["hdop"]), 1.0, columns["hdop"])

    def __len__(self) -> int:
        return len(self.truck)


class TruckJudge:
    """A rule over trucks, each for itself.

    A subclass has the fields it ``WANTED``, its own columns of memory in ``COLUMNS`` (name to type and first value),
    and :meth:`look`.

    Attributes:
        rows: registry rows of the watched trucks.
        state: (trucks,) columns by name.
        samples: readings that must show the condition, unless it has held for ``for``; 0: only time counts.
    """

    WANTED: ClassVar[tuple[str, ...]] = ()
    COLUMNS: ClassVar[dict[str, tuple[type, float]]] = {}
    takes_runs = False

    def __init__(self, rule: Rule, registry: Registry, sky: Sky, rows: npt.NDArray[np.intp] | None = None) -> None:
        self.rule, self.rule_id, self.kinds, self.fingerprint = rule, rule.id, (rule.device,), rule.fingerprint
        self.registry, self.sky = registry, sky
        self.rows = registry.rows_of(rule.device, rule.role) if rows is None else rows
        self.index = np.full(len(registry), -1, dtype=np.int64)
        self.index[self.rows] = np.arange(len(self.rows))
        self.samples = 0
        self._names = (*USUAL, *self.WANTED)
        self._wanted = Wanted(registry.catalog[rule.device], self._names)
        n = len(self.rows)
        self.state: dict[str, npt.NDArray[Any]] = {
            "phase": np.zeros(n, np.int8), "seen": np.zeros(n, np.int32),
            **{name: np.zeros(n, np.int64) for name in ("onset_ms", "back_ms", "last_ms")},
            **{name: np.full(n, first, dtype=kind) for name, (kind, first) in self.COLUMNS.items()},
        }  # fmt: skip
        self.due_ms: int = NEVER

    def look(self, sight: Sight) -> tuple[Mask, Mask, dict[str, Floats]]:
        """Return where the condition surely holds, where it has surely ended, and the numbers to be told; (n,) each."""
        raise NotImplementedError

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:  # noqa: ARG002 - every judge is asked alike
        """Judge readings: at most one a truck, each newer than its truck's last."""
        truck = self.index[batch.device]
        rows = (truck >= 0).nonzero()[0]
        if not len(rows):
            return []
        columns = dict(zip(self._names, self._wanted.of(batch, rows), strict=True))
        lon, lat = columns["lon_deg"], columns["lat_deg"]
        east, north = self.registry.projection.to_metres(lon, lat)
        poor = (columns["hdop"] > MAX_HDOP) | (columns["satellites"] < MIN_SATELLITES) | ((lon == 0.0) & (lat == 0.0))
        east, north = np.where(poor, np.nan, east), np.where(poor, np.nan, north)
        sight = Sight(truck[rows], batch.time_ms[rows], columns, (east, north))
        holds, over, figures = self.look(sight)
        told = self._advance(sight, holds, over, figures, (lon, lat))
        self.state["last_ms"][sight.truck] = sight.time_ms
        self.due_ms = NEVER if told else self.due_ms
        return told

    def _advance(
        self, sight: Sight, holds: Mask, over: Mask, figures: dict[str, Floats], where: tuple[Floats, Floats]
    ) -> list[Transition]:
        s, truck, now = self.state, sight.truck, sight.time_ms
        phase = s["phase"][truck]
        gap = now - s["last_ms"][truck] > GAP_MS
        begin = holds & ((phase == REST) | ((phase == WAITING) & gap))
        s["onset_ms"][truck[begin]] = self.begun_ms(sight)[begin]
        s["seen"][truck[begin]] = 0
        phase = np.where(begin, WAITING, np.where((phase == WAITING) & over, REST, phase))
        waits = (phase == WAITING) & holds
        s["seen"][truck[waits]] += 1
        long = now - s["onset_ms"][truck] >= self.rule.for_ms
        if self.samples:
            long |= s["seen"][truck] >= self.samples
        fires = waits & long & self.may(sight)
        phase[fires] = ALERTED
        s["back_ms"][truck[fires]] = 0
        back = s["back_ms"][truck]
        ending = (phase == ALERTED) & over & ~fires
        back = np.where(ending, np.where((back == 0) | gap, now, back), np.where(holds, 0, back))
        clears = ending & (now - back >= self.rule.keep_ms)
        phase[clears] = REST
        s["back_ms"][truck], s["phase"][truck] = back, phase
        changed = (fires | clears).nonzero()[0]
        return [
            self._tell(
                int(truck[k]), bool(fires[k]), int(now[k]), {name: float(one[k]) for name, one in figures.items()},
                "" if fires[k] else "recovered", (float(where[0][k]), float(where[1][k])),
            )
            for k in changed.tolist()
        ]  # fmt: skip

    def begun_ms(self, sight: Sight) -> Ints:
        """Return when a condition began that holds first now: with this reading, unless a kind knows better, (n,)."""
        return sight.time_ms

    def may(self, sight: Sight) -> Mask:
        """Return where an alert may begin now; a kind that wants more than time has a word here."""
        return np.ones(len(sight), dtype=np.bool_)

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """End alerts of trucks that have been silent for a day."""
        if not np.count_nonzero(self.state["phase"] == ALERTED):
            self.due_ms = NEVER_AGAIN
            return []
        self.due_ms = now_ms + LOOK_MS
        live = fleet.live[self.rule.device]
        seen = np.maximum(live.seen_ms[live.local[self.rows]], fleet.resumed_ms)
        gone = ((self.state["phase"] == ALERTED) & (now_ms - seen >= HOLD_MS)).nonzero()[0]
        self.state["phase"][gone] = REST
        return [self._tell(int(k), False, now_ms, {}, "data_lost", None) for k in gone]  # noqa: FBT003 - an end

    def _tell(
        self, truck: int, active: bool, at_ms: int, figures: Mapping[str, float], reason: str,  # noqa: FBT001 - a state
        where: tuple[float, float] | None,
    ) -> Transition:  # fmt: skip
        entity = f"device:{self.registry.id_of(self.rows[truck])}"
        about = (self.rule, self.registry, self.sky, entity, ACTIVE if active else CLEARED, at_ms)
        return transition(*about, int(self.state["onset_ms"][truck]), figures, reason, where)

    def open(self) -> Mapping[str, int]:
        """Return trucks whose alert is active, with the onset of each."""
        return self._since(ALERTED)

    def pending(self) -> Mapping[str, int]:
        """Return trucks whose condition holds, not yet long enough."""
        return self._since(WAITING)

    def _since(self, phase: int) -> dict[str, int]:
        return {
            f"device:{self.registry.id_of(self.rows[k])}": int(self.state["onset_ms"][k])
            for k in np.flatnonzero(self.state["phase"] == phase).tolist()
        }

    def save(self) -> State:
        """Return the whole state, by device id."""
        kept: State = {"entity": np.array(self.registry.ids_of(self.rows), dtype=np.str_)}
        kept.update({f"watch.{name}": column.copy() for name, column in self.state.items()})
        return kept

    def load(self, state: State) -> None:
        """Take over a saved state; trucks that are gone are let go."""
        at, place = matching(self.registry.ids_of(self.rows), state["entity"])
        take_over(self.state, state, "watch.", at, place)
        self.due_ms = NEVER
