"""An expression rule: a condition over each reading, with how long it must hold and how its end is recognised.

Here is what one rule is, what it tells and what it saves; how the rules of a kind are judged, all together, stands in
alerts/bank.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from alerts.changes import Changes
from alerts.columns import BatchColumns, LiveColumns
from alerts.expression_keys import Params, message_names, parse
from alerts.judge import State
from alerts.places import ids_of, places_of
from alerts.rules import Rule
from alerts.slots import CLEARING, FIRING, REST, WAITING, Slots
from alerts.spans import report_s
from alerts.telling import Teller
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition

__all__ = ["ExpressionJudge", "message_names", "parse"]

Mask = npt.NDArray[np.bool_]

_SAVED = {
    "state": np.int8, "pend": np.int64, "clear": np.int64, "last": np.int64, "heard": np.int64, "seen": np.int32,
}  # fmt: skip


class ExpressionJudge:
    """One expression rule over the devices of its kind; a bank judges by it.

    Attributes:
        rule_id, kinds, fingerprint: as the engine wants of every judge.
        rule, params: as loaded.
        unjudged: devices that lack a fact which the condition needs, and so are never judged.
        watched: (roles,) which roles it watches; watches_all: whether these are all that there are.
        hold_ms, lost_ms: by role, how long a reading stands, and when an open alert is closed for want of one.
        names: what its condition is about.
        certain: its condition surely does not hold wherever it does not, if none of its names is lacking.
        over, lasts: where the end of an alert surely holds, and where it surely does not.
    """

    rule_id: str
    kinds: tuple[str, ...]
    fingerprint: str

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule_id, self.kinds, self.fingerprint = rule.id, (rule.device,), rule.fingerprint
        self.rule, self._registry = rule, registry
        params = rule.params
        assert isinstance(params, Params)  # noqa: S101 - the table of rule kinds pairs parse and judge
        self.params = params
        kind = registry.catalog[rule.device]
        self._rows = registry.rows_of(rule.device)
        self.watched = np.array([name in params.roles for name in kind.roles], dtype=bool)
        self.watches_all = bool(self.watched.all())
        self.hold_ms = [params.hold.of(report_s(kind, role)) for role in kind.roles]
        self.lost_ms = [params.lost_after.of(report_s(kind, role)) for role in kind.roles]
        self.over = params.off.yes if params.off is not None else params.on.no
        self.lasts = params.off.no if params.off is not None else params.on.yes
        self._teller = Teller(rule, registry, sky)
        facts = [f.name for f in kind.facts if f.name in params.on.names]
        lacking = [np.isnan(registry.fact(name, self._rows)) for name in facts]
        self.unjudged = int((np.any(lacking, axis=0) & self._watches(self._rows)).sum()) if lacking else 0
        self.names = frozenset(params.on.names)
        self.certain = params.on.closed and not params.carry and not self.unjudged
        self._slots, self._number = Slots(1, len(self._rows)), 0

    def _watches(self, rows: npt.NDArray[np.intp]) -> Mask:
        found: Mask = self.watched[self._registry.role[rows]]
        return found

    def join(self, slots: Slots, number: int) -> None:
        """Keep what is remembered in ``slots``, among rules of which this one is the ``number``-th."""
        self._slots, self._number = slots, number

    def tell(self, columns: BatchColumns | LiveColumns, changes: Changes) -> list[Transition]:
        """Return in words what changed for this rule; its rows are those of ``columns``."""
        sheet = columns.carried() if self.params.carry else columns
        numbers = self._teller.numbers(sheet, changes.row, len(columns))
        where = self._teller.where(columns, changes.row)
        out = []
        for k, place in enumerate(changes.place.tolist()):
            lost = bool(changes.lost[k])
            about = (place, ACTIVE if changes.fires[k] else CLEARED, int(changes.at_ms[k]), int(changes.onset_ms[k]))
            out.append(self._teller.tell(*about, {} if lost else numbers[k], "data_lost" if lost else "", where[k]))
        return out

    def open(self) -> Mapping[str, int]:
        """Return devices whose alert is active, with the onset of each."""
        return self._since((FIRING, CLEARING))

    def pending(self) -> Mapping[str, int]:
        """Return devices that are waiting, with the time since when."""
        return self._since((WAITING,))

    def _since(self, states: tuple[int, ...]) -> dict[str, int]:
        s = self._slots
        return {
            self._teller.entity(int(s.place[slot])): int(s.pend[slot])
            for slot in s.of_rule(self._number).tolist()
            if s.state[slot] in states
        }

    def save(self) -> State:
        """Return the state of every device that is not at rest."""
        slots = self._slots.of_rule(self._number)
        ids = ids_of(self._registry, self._rows[self._slots.place[slots]])
        return {"ids": ids} | {name: getattr(self._slots, name)[slots].astype(kind) for name, kind in _SAVED.items()}

    def load(self, state: State) -> None:
        """Take over a saved state; devices that no longer exist are let go."""
        s = self._slots
        found = places_of(self._registry, self._rows, state["ids"])
        here = found >= 0
        here[here] = self._watches(self._rows[found[here]])
        here &= state["state"] != REST
        old = s.of_rule(self._number)
        s.end(old, s.rule[old].astype(np.intp), s.place[old].astype(np.intp))
        place = found[here]
        slots = s.begin(np.full(len(place), self._number), place)
        for name in _SAVED:
            column = getattr(s, name)
            column[slots] = np.minimum(state[name][here].astype(np.int64), np.iinfo(column.dtype).max)
        s.loaded = True
