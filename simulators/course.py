"""A course: a family's facilities with everything that befalls them, played in virtual time and scored by the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from devices.batch import Batch
from devices.registry import Registry
from devices.sky import Sky
from simulators.faults import Fault
from simulators.world import World

TRIES = 200  # random places for a fault before it is left out


@dataclass(frozen=True, slots=True)
class Size:
    """How large a course is.

    Attributes:
        devices: of the family's main role: lamps, stations, covers, trucks.
        days: simulated days, duty days or nights.
        each: faults of each kind, and as many of each confounder.
    """

    devices: int
    days: float
    each: int


class Course(Protocol):
    """What is played and scored.

    Attributes:
        name: of the family.
        registry, sky: as the engine takes them.
        start_ms, end_ms: city time.
    """

    name: str
    registry: Registry
    sky: Sky
    start_ms: int
    end_ms: int

    def steps(self) -> Iterator[tuple[int, list[Batch]]]:
        """Yield (now, batches since the step before) up to the end; once."""

    def truth(self) -> Sequence[Fault]:
        """Return faults and confounders; after the steps, with ``seen_ms``."""


@dataclass(slots=True)
class WorldCourse:
    """A course that a world plays.

    Attributes:
        world: with the faults in it.
        tick_ms: how often faults and weather are looked at.
        past: what was measured before the course begins, in the order of time, for rules that learn from it.
    """

    name: str
    world: World
    end_ms: int
    tick_ms: int = 60_000
    past: Sequence[tuple[int, list[Batch]]] = ()
    registry: Registry = field(init=False)
    sky: Sky = field(init=False)
    start_ms: int = field(init=False)

    def __post_init__(self) -> None:
        self.registry, self.sky, self.start_ms = self.world.registry, self.world.sky, self.world.start_ms

    def steps(self) -> Iterator[tuple[int, list[Batch]]]:
        """Yield (now, batches since the step before) up to the end; once."""
        yield from self.past
        yield from self.world.steps(self.end_ms, self.tick_ms)

    def truth(self) -> Sequence[Fault]:
        """Return faults and confounders; after the steps, with ``seen_ms``."""
        return self.world.truth()


class Diary:
    """Who is busy with a fault when, so that no two befall one entity at a time.

    Args:
        calm_ms: least time between two faults of one entity.
    """

    def __init__(self, calm_ms: int) -> None:
        self._calm_ms = calm_ms
        self._taken: dict[str, list[tuple[int, int]]] = {}

    def free(self, entity: str, on_ms: int, off_ms: int) -> bool:
        """Return whether nothing else befalls the entity about that time."""
        calm = self._calm_ms
        return all(off_ms + calm <= begin or on_ms >= end + calm for begin, end in self._taken.get(entity, ()))

    def take(self, entity: str, on_ms: int, off_ms: int) -> None:
        """Write down that something befalls the entity."""
        self._taken.setdefault(entity, []).append((on_ms, off_ms))

    def place(
        self, rng: np.random.Generator, entities: Sequence[str], span: tuple[int, int], lasts_ms: int
    ) -> tuple[str, int, int] | None:
        """Draw an entity and a time within ``span`` at which nothing else befalls it, and write it down.

        Returns:
            entity, from and until; None where the diary is full.
        """
        for _ in range(TRIES):
            entity = entities[int(rng.integers(len(entities)))]
            on_ms = int(rng.integers(span[0], max(span[1] - lasts_ms, span[0] + 1)))
            if self.free(entity, on_ms, on_ms + lasts_ms):
                self.take(entity, on_ms, on_ms + lasts_ms)
                return entity, on_ms, on_ms + lasts_ms
        return None
