"""What an expression rule tells of a device: the named numbers, and which value passed which threshold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alerts.columns import Columns, known_names
from alerts.expression_keys import Params
from alerts.fleet import Live
from alerts.messages import transition
from alerts.rules import Rule
from alerts.templates import placeholders
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import Transition
from devices.yamlfile import Node

Places = npt.NDArray[np.signedinteger]
Numbers = list[dict[str, float]]


class Teller:
    """Puts the transitions of one expression rule into numbers and words."""

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self._rule, self._registry, self._sky = rule, registry, sky
        self._params: Params = rule.params
        kind = registry.catalog[rule.device]
        self._rows = registry.rows_of(rule.device)
        self._names = _told_names(rule, kind)
        self._mobile = {"lon_deg", "lat_deg"} <= set(kind.field_names())

    def numbers(self, columns: Columns, rows: Places) -> Numbers:
        """Return the numbers behind each of ``rows``; what is unknown is left out."""
        table = {name: columns(name)[rows] for name in self._names}
        shape = columns(self._names[0]).shape
        yes = self._params.on(columns)[0][rows]
        value, threshold = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        with np.errstate(all="ignore"):
            for number, comparison in enumerate(self._params.on.comparisons):
                holds = comparison.truth(columns)[0][rows] & yes
                chosen = holds | (number == 0) | ~yes  # the last that holds; the last of all where the alert is over
                value[chosen] = np.broadcast_to(comparison.value(columns), shape)[rows][chosen]
                threshold[chosen] = np.broadcast_to(comparison.threshold(columns), shape)[rows][chosen]
        for name, asked in (("value", self._params.value), ("threshold", self._params.threshold)):
            if asked is not None:
                table[name] = np.broadcast_to(asked(columns), shape)[rows]
        table = {"value": value, "threshold": threshold} | table
        return [{n: float(c[k]) for n, c in table.items() if not np.isnan(c[k])} for k in range(len(rows))]

    def entity(self, place: int) -> str:
        """Return the entity of the device at a place of the kind's live columns."""
        return f"device:{self._registry.assets[self._rows[place]].id}"

    def tell(
        self, live: Live, place: int, state: str, at_ms: int, onset_ms: int, numbers: dict[str, float], reason: str = ""
    ) -> Transition:
        """Return the transition of the device at a place; a truck's is where it was last heard."""
        where = None
        if self._mobile:
            where = (float(live.column("lon_deg")[place]), float(live.column("lat_deg")[place]))
        return transition(
            self._rule, self._registry, self._sky, self.entity(place), state, at_ms, onset_ms, numbers, reason, where
        )


def _told_names(rule: Rule, kind: Kind) -> list[str]:
    known = known_names(kind, rule.role)
    place = Node(None, "", rule.line, rule.id)
    asked = [name for text in rule.message.values() for name in placeholders(text, place)]
    return [name for name in dict.fromkeys([*rule.params.on.names, *asked]) if name in known]
