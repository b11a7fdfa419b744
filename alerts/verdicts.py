"""How often in a row, or how often of the last so many, a condition must hold before an alert, and how its end is seen.

For rules that judge events (a pump cycle, an hour of inflow) and not readings: an event that says yes or no counts, one
of which nothing is known does not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from devices.batch import Ints, Mask

Places = npt.NDArray[np.intp]
IDLE, ALERTED = 0, 1


class Change(NamedTuple):
    """One entity's alert beginning or ending.

    Attributes:
        row: which of the events decided it.
        place: of the entity.
        active: begins or ends.
        onset_ms: begin of the first event that counted.
    """

    row: int
    place: int
    active: bool
    onset_ms: int


class Verdicts:
    """The alerts of one rule over its entities.

    Args:
        entities: how many.
        hits, of: so many of the last so many events must say yes.
        off_hits: so many in a row must say that it is over.
        for_ms, keep_ms: and for so long.

    Attributes:
        state: arrays (m,).
    """

    def __init__(self, entities: int, hits: int, of: int, off_hits: int, for_ms: int, keep_ms: int) -> None:
        self.hits, self.of, self.off_hits, self.for_ms, self.keep_ms = hits, of, off_hits, for_ms, keep_ms
        self.state: dict[str, npt.NDArray[Any]] = {
            "phase": np.zeros(entities, np.int8),
            "said": np.zeros(entities, np.int64),  # the last events, a bit each, the newest lowest
            "onset_ms": np.zeros(entities, np.int64),
            "calm": np.zeros(entities, np.int64),
            "calm_ms": np.zeros(entities, np.int64),
            "last_ms": np.zeros(entities, np.int64),
        }

    def take(
        self, at: Places, begin_ms: Ints, end_ms: Ints, yes: Mask, no: Mask, over: Mask, lasts: Mask
    ) -> list[Change]:
        """Take in events, at most one an entity; return what changed.

        Args:
            at: (k,) entities.
            begin_ms, end_ms: (k,) of each event.
            yes, no: (k,) the condition surely holds, surely does not.
            over, lasts: (k,) the same of the end.
        """
        s = self.state
        alight = s["phase"][at] == ALERTED
        s["last_ms"][at] = end_ms
        if not (yes.any() or alight.any() or s["said"][at].any()):
            return []
        counts = np.flatnonzero(~alight & (yes | no))
        out = self._wait(counts, at[counts], begin_ms[counts], end_ms[counts], yes[counts])
        burning = np.flatnonzero(alight & (over | lasts))
        here, calm = at[burning], over[burning]
        s["calm_ms"][here] = np.where(calm & (s["calm"][here] == 0), end_ms[burning], s["calm_ms"][here])
        s["calm"][here] = np.where(calm, s["calm"][here] + 1, 0)
        ended = calm & (s["calm"][here] >= self.off_hits) & (end_ms[burning] - s["calm_ms"][here] >= self.keep_ms)
        out += [
            Change(int(row), int(p), active=False, onset_ms=int(s["onset_ms"][p]))
            for row, p in zip(burning[ended], here[ended], strict=True)
        ]
        self._rest(here[ended])
        return sorted(out)

    def _wait(self, rows: Places, at: Places, begin_ms: Ints, end_ms: Ints, yes: Mask) -> list[Change]:
        s = self.state
        said = ((s["said"][at] << 1) | yes) & ((1 << self.of) - 1)
        if self.hits == self.of:  # in a row
            said[~yes] = 0
        window = self.of if self.hits == self.of else self.of - 1  # what the newest event pushes out counts no more
        fresh = yes & ((s["said"][at] & ((1 << window) - 1)) == 0)
        s["onset_ms"][at] = np.where(fresh, begin_ms, s["onset_ms"][at])
        s["said"][at] = said
        count = np.array([int(one).bit_count() for one in said.tolist()], dtype=np.int64)
        fires = yes & (count >= self.hits) & (end_ms - s["onset_ms"][at] >= self.for_ms)
        s["phase"][at[fires]], s["calm"][at[fires]] = ALERTED, 0
        return [
            Change(int(row), int(p), active=True, onset_ms=int(s["onset_ms"][p]))
            for row, p in zip(rows[fires], at[fires], strict=True)
        ]

    def _rest(self, at: Places) -> None:
        for name in ("phase", "said", "calm"):
            self.state[name][at] = 0

    def lost(self, before_ms: int) -> list[Change]:
        """End the alerts of entities without an event since ``before_ms``."""
        gone = np.flatnonzero((self.state["phase"] == ALERTED) & (self.state["last_ms"] < before_ms))
        out = [Change(-1, int(p), active=False, onset_ms=int(self.state["onset_ms"][p])) for p in gone]
        self._rest(gone)
        return out

    def open(self) -> Places:
        """Return the entities with an open alert."""
        return np.flatnonzero(self.state["phase"] == ALERTED)

    def pending(self) -> Places:
        """Return the entities of which something was said that is not enough yet."""
        return np.flatnonzero((self.state["phase"] == IDLE) & (self.state["said"] != 0))
