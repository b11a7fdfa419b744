"""What was last heard of every device: live columns a kind, which every judge reads and only the engine writes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky

NEVER = np.iinfo(np.int64).min  # time of a device that has not been heard
NEVER_AGAIN = np.iinfo(np.int64).max
_FEW = 256  # readings up to which one assignment of all columns is cheaper than one a column
_SPLITS = 4096  # combinations of fields that are kept at hand


def _split(absent: bytes, partial: bytes) -> tuple[npt.NDArray[np.intp], list[int]]:
    """Return the columns that every reading has, and those that only some have."""
    whole = [number for number, lacks in enumerate(partial) if not lacks]
    some = [number for number, lacks in enumerate(partial) if lacks and not absent[number]]
    return np.array(whole, dtype=np.intp), some


class Live:
    """Latest trusted values of one kind's devices.

    Attributes:
        kind: the kind.
        columns: column number of each field, by name.
        rows: (m,) registry rows of its devices, in order.
        local: (n,) place of each registry row in these columns, -1 for other kinds.
        values: (fields, m) latest value of each field that lay inside its physical range; NaN before the first.
        time_ms: (m,) device time of the newest reading judged, NEVER before the first.
        seen_ms: (m,) host time at which the device was last heard, NEVER before the first; what silence is judged by.
        mark: (m,) scratch room of the engine.
    """

    def __init__(self, kind: Kind, registry: Registry) -> None:
        self.kind = kind
        self.columns = {name: number for number, name in enumerate(kind.field_names())}
        self.rows = registry.rows_of(kind.name)
        self.local = np.full(len(registry), -1, dtype=np.int32)
        self.local[self.rows] = np.arange(len(self.rows), dtype=np.int32)
        self.values = np.full((len(kind.fields), len(self.rows)), np.nan)
        self.time_ms = np.full(len(self.rows), NEVER, dtype=np.int64)
        self.seen_ms = np.full(len(self.rows), NEVER, dtype=np.int64)
        self.mark = np.zeros(len(self.rows), dtype=np.int32)
        self._splits: dict[tuple[bytes, bytes], tuple[npt.NDArray[np.intp], list[int]]] = {}

    def update(
        self, at: npt.NDArray[np.intp], time_ms: npt.NDArray[np.int64], trusted: npt.NDArray[np.float64],
        absent: bytes, partial: bytes,
    ) -> None:  # fmt: skip
        """Take in readings, each newer than its device's reading before.

        Args:
            at: (n,) places; of several readings of one device the last stays.
            time_ms: (n,) device time.
            trusted: (fields, n) values inside their physical ranges, NaN for the others.
            absent, partial: a byte a field, one where no reading has it, and where some reading lacks it.
        """
        self.time_ms[at] = time_ms
        split = self._splits.get((absent, partial))
        if split is None:
            if len(self._splits) > _SPLITS:
                self._splits.clear()
            split = self._splits[absent, partial] = _split(absent, partial)
        whole, some = split
        if len(at) < _FEW:
            self.values[whole[:, None], at] = trusted[whole]
        else:
            for number in whole:
                self.values[number, at] = trusted[number]
        for number in some:
            here = (~np.isnan(trusted[number])).nonzero()[0]
            self.values[number, at[here]] = trusted[number, here]

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """Return the latest values of one field, (m,)."""
        found: npt.NDArray[np.float64] = self.values[self.columns[name]]
        return found


class Fleet:
    """Live columns of all kinds, with the registry and the sky over the city.

    Attributes:
        registry: who the rows are.
        live: by kind name.
        sky: sun and lighting schedules.
        resumed_ms: host time since which the house has watched without a pause; nothing before it counts as silence.
    """

    def __init__(self, registry: Registry, sky: Sky) -> None:
        self.registry = registry
        self.sky = sky
        self.live = {kind.name: Live(kind, registry) for kind in registry.catalog}
        self.resumed_ms: int = NEVER
