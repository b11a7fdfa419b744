"""What an expression rule tells of a device: the named numbers, and which value passed which threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from alerts.columns import BatchColumns, LiveColumns, known_names
from alerts.expression_keys import Params
from alerts.messages import transition
from alerts.quantities import Sheet
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

    def numbers(self, sheet: Sheet, rows: Places, length: int) -> Numbers:
        """Return the numbers behind each of ``rows`` of a sheet ``length`` rows long; what is unknown is left out."""

        def column(found: npt.NDArray[Any] | None, missing: object) -> npt.NDArray[Any]:
            return np.broadcast_to(np.asarray(missing if found is None else found), length)[rows]

        with np.errstate(all="ignore"):
            table = {name: column(sheet(name), np.nan) for name in self._names}
            yes = column(self._params.on.yes.of(sheet), missing=False)
            value, threshold = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
            for number, comparison in enumerate(self._params.on.comparisons):
                holds = column(comparison.truth.of(sheet), missing=False) & yes
                chosen = holds | (number == 0) | ~yes  # the last that holds; the last of all where the alert is over
                value[chosen] = column(comparison.value.of(sheet), np.nan)[chosen]
                threshold[chosen] = column(comparison.threshold.of(sheet), np.nan)[chosen]
            for name, asked in (("value", self._params.value), ("threshold", self._params.threshold)):
                if asked is not None:
                    table[name] = column(asked.number.of(sheet), np.nan)
        table = {"value": value, "threshold": threshold} | table
        return [{n: float(c[k]) for n, c in table.items() if not np.isnan(c[k])} for k in range(len(rows))]

    def where(self, columns: BatchColumns | LiveColumns, rows: Places) -> Sequence[tuple[float, float] | None]:
        """Return where the devices of ``rows`` were last heard, None for all that do not move."""
        if not self._mobile:
            return [None] * len(rows)
        sheet = columns.carried()
        lon, lat = sheet("lon_deg"), sheet("lat_deg")
        if lon is None or lat is None:
            return [None] * len(rows)
        return list(zip(lon[rows].tolist(), lat[rows].tolist(), strict=True))

    def entity(self, place: int) -> str:
        """Return the entity of the device at a place of the kind's live columns."""
        return f"device:{self._registry.id_of(self._rows[place])}"

    def tell(
        self,
        place: int,
        state: str,
        at_ms: int,
        onset_ms: int,
        numbers: dict[str, float],
        reason: str = "",
        where: tuple[float, float] | None = None,
    ) -> Transition:
        """Return the transition of the device at a place; a truck's is where it was last heard."""
        return transition(
            self._rule, self._registry, self._sky, self.entity(place), state, at_ms, onset_ms, numbers, reason, where
        )


def _told_names(rule: Rule, kind: Kind) -> list[str]:
    known = known_names(kind, rule.role)
    place = Node(None, "", rule.line, rule.id)
    asked = [name for text in rule.message.values() for name in placeholders(text, place)]
    return [name for name in dict.fromkeys([*rule.params.on.names, *asked]) if name in known]
