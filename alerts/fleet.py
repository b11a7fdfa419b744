"""What was last heard of every device: live columns a kind, which every judge reads and only the engine writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from devices.batch import Batch
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky

NEVER = np.iinfo(np.int64).min  # time of a device that has not been heard


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

    def update(self, batch: Batch) -> None:
        """Take in readings: at most one a device, each newer than its device's last."""
        at = self.local[batch.device]
        fresh = ~(np.isnan(batch.values) | batch.suspect)
        count = np.count_nonzero(fresh, axis=1)
        for number in np.flatnonzero(count):
            if count[number] == len(at):
                self.values[number, at] = batch.values[number]
            else:
                here = fresh[number]
                self.values[number, at[here]] = batch.values[number, here]
        self.time_ms[at] = batch.time_ms

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
        shared: what one judge worked out that the next may use, such as a batch's columns.
    """

    def __init__(self, registry: Registry, sky: Sky) -> None:
        self.registry = registry
        self.sky = sky
        self.live = {kind.name: Live(kind, registry) for kind in registry.catalog}
        self.resumed_ms: int = NEVER
        self.shared: dict[str, Any] = {}
