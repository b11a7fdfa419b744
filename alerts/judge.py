"""The face that every kind of rule shows to the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from alerts.fleet import Fleet
from devices.batch import Batch
from devices.transition import Transition

State = dict[str, npt.NDArray[np.generic]]


class Judge(Protocol):
    """One rule over all its entities, as columns. Deterministic: state and output depend on the calls alone.

    Attributes:
        rule_id: the rule's id.
        kinds: names of the kinds whose readings it wants.
        fingerprint: changes when the rule's meaning changes; state saved under another fingerprint is not restored.
    """

    rule_id: str
    kinds: tuple[str, ...]
    fingerprint: str

    def save(self) -> State:
        """Return the whole state as arrays; entity-keyed arrays go beside an array of the entities' names.

        The arrays are the caller's: nobody writes to them any more.
        """

    def load(self, state: State) -> None:
        """Take over a saved state; entities that no longer exist are let go, new ones start afresh."""

    def open(self) -> Mapping[str, int]:
        """Return entities whose alert is active, with the onset of each in epoch milliseconds."""


class Clock(Protocol):
    """Somebody who judges the passing of time."""

    @property
    def due_ms(self) -> int:
        """Return the host time before which nothing changes by itself, unless the house was away."""

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Judge the passing of time; called once a step, after the readings, with the host's time, when it is due."""


@runtime_checkable
class Reader(Judge, Clock, Protocol):
    """A judge that looks at readings by itself."""

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:
        """Judge readings, each newer than its device's reading before; ``fleet`` holds them already.

        A device may stand in a batch several times.
        """


@runtime_checkable
class Ear(Judge, Clock, Protocol):
    """A judge that hears every row, also what is late and nobody else judges; it speaks at the end of the step."""

    def hear(self, batch: Batch, now_ms: int) -> None:
        """Take in all rows of a batch."""
