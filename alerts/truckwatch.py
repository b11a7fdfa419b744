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
from alerts.sight import Floats, Ints, Mask, Sight, seen
from devices.batch import Batch
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition

__all__ = ["ALERTED", "GAP_MS", "REST", "WAITING", "Floats", "Ints", "Mask", "Sight", "TruckJudge"]

REST, WAITING, ALERTED = 0, 1, 2
LOOK_MS = 1_000  # how often open alerts of silent trucks are looked at
HOLD_MS = 86_400_000  # silent for so long with an alert open: it ends as data_lost
GAP_MS = 180_000  # a condition that nobody saw for so long begins to wait anew
USUAL = ("lon_deg", "lat_deg", "hdop", "speed_kmh", "east", "north")


class TruckJudge:
    """A rule over trucks, each for itself.

    A subclass has the fields it ``WANTED``, its own columns of memory in ``COLUMNS`` (name to type and first value),
    and :meth:`look`; and :meth:`busy`, where it can say of many readings at once that they change nothing.

    Attributes:
        rows: registry rows of the watched trucks.
        state: (trucks,) columns by name.
        samples: readings that must show the condition, unless it has held for ``for``; 0: only time counts.
    """

    WANTED: ClassVar[tuple[str, ...]] = ()
    COLUMNS: ClassVar[dict[str, tuple[type, float]]] = {}

    def __init__(self, rule: Rule, registry: Registry, sky: Sky, rows: npt.NDArray[np.intp] | None = None) -> None:
        self.rule, self.rule_id, self.kinds, self.fingerprint = rule, rule.id, (rule.device,), rule.fingerprint
        self.registry, self.sky = registry, sky
        self.rows = registry.rows_of(rule.device, rule.role) if rows is None else rows
        self.index = registry.places_in(self.rows)
        self.samples = 0
        self._names = (*USUAL, *self.WANTED)
        n = len(self.rows)
        self.state: dict[str, npt.NDArray[Any]] = {
            "phase": np.zeros(n, np.int8), "seen": np.zeros(n, np.int32),
            **{name: np.zeros(n, np.int64) for name in ("onset_ms", "back_ms", "last_ms")},
            **{name: np.full(n, first, dtype=kind) for name, (kind, first) in self.COLUMNS.items()},
        }  # fmt: skip
        self.due_ms: int = NEVER

    def look(self, sight: Sight) -> tuple[Mask, Mask, dict[str, Floats]]:
        """Look at one turn; return where the condition surely holds, where it has surely ended, and what is told.

        All (n,) each, what is told by name.
        """
        raise NotImplementedError

    def busy(self, sight: Sight) -> Mask | None:  # noqa: ARG002 - every kind is asked alike
        """Return of which trucks the readings must be looked at turn by turn, (trucks,); None: of all.

        The others' change nothing but what is remembered here, and their condition neither holds nor held.
        """
        return None

    def prepare(self, fleet: Fleet, batch: Batch, sight: Sight) -> None:
        """Add to ``sight`` what is worked out of all readings of a batch at once; nothing here."""

    def waking(self, truck: npt.NDArray[np.intp]) -> Mask:
        """Return as busy the trucks given, and those whose alert waits or is open."""
        found: Mask = self.state["phase"] != REST
        found[truck] = True
        return found

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:  # noqa: ARG002 - every judge is asked alike
        """Judge readings, each newer than its truck's reading before."""
        sight = seen(fleet, batch).of(self.index, self._names)
        if not len(sight):
            return []
        told: list[Transition] = []
        self.prepare(fleet, batch, sight)
        busy = self.busy(sight)
        for turn in (sight if busy is None else sight.of(busy[sight.truck])).turns():
            told += self._advance(turn, *self.look(turn))
            self.state["last_ms"][turn.truck] = turn.time_ms
        self.state["last_ms"][sight.truck] = sight.time_ms  # of a truck's readings the last stays
        self.due_ms = NEVER if told else self.due_ms
        return told

    def _advance(self, turn: Sight, holds: Mask, over: Mask, figures: dict[str, Floats]) -> list[Transition]:
        concerned = (holds | (self.state["phase"][turn.truck] != REST)).nonzero()[0]
        if not len(concerned):
            return []
        rows, begun_ms = concerned.tolist(), self.begun_ms(turn)[concerned]
        fires, changed = self._live_on(turn.of_turn(concerned), holds[concerned], over[concerned], begun_ms)
        lon, lat = turn.more["lon_deg"], turn.more["lat_deg"]
        return [
            self._tell(
                int(turn.truck[k]), bool(fires[one]), int(turn.time_ms[k]),
                {name: float(column[k]) for name, column in figures.items()},
                "" if fires[one] else "recovered", (float(lon[k]), float(lat[k])),
            )
            for one, k in ((one, rows[one]) for one in changed.tolist())
        ]  # fmt: skip

    def _live_on(self, turn: Sight, holds: Mask, over: Mask, begun_ms: Ints) -> tuple[Mask, npt.NDArray[np.intp]]:
        """Let conditions wait, begin and end; return which alerts begin, (n,), and the rows of all that changed."""
        s, truck, now = self.state, turn.truck, turn.time_ms
        phase = s["phase"][truck]
        gap = now - s["last_ms"][truck] > GAP_MS
        begin = holds & ((phase == REST) | ((phase == WAITING) & gap))
        s["onset_ms"][truck[begin]] = begun_ms[begin]
        s["seen"][truck[begin]] = 0
        phase = np.where(begin, WAITING, np.where((phase == WAITING) & over, REST, phase))
        waits = (phase == WAITING) & holds
        s["seen"][truck[waits]] += 1
        long = (now - s["onset_ms"][truck] >= self.rule.for_ms) & (self.rule.for_ms > 0 or not self.samples)
        if self.samples:
            long |= s["seen"][truck] >= self.samples
        fires = waits & long & self.may(turn)
        phase[fires] = ALERTED
        s["back_ms"][truck[fires]] = 0
        back = s["back_ms"][truck]
        ending = (phase == ALERTED) & over & ~fires
        back = np.where(ending, np.where((back == 0) | gap, now, back), np.where(holds, 0, back))
        clears = ending & (now - back >= self.rule.keep_ms)
        phase[clears] = REST
        s["back_ms"][truck], s["phase"][truck] = back, phase
        return fires, (fires | clears).nonzero()[0]

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
