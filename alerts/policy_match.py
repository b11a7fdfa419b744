"""Which alerts a silence or a maintenance window means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

import numpy as np

from alerts.messages import subject
from alerts.policy import MAINTENANCE, OUT_OF_SERVICE, SILENCED
from devices.registry import Registry

MATCHERS = ("rule", "entity", "district", "kind", "severity", "road", "cabinet")
NEED_PLACE = ("road", "cabinet")


class Alertlike(Protocol):
    """What can be matched: a transition, or an alert that is written down."""

    @property
    def rule(self) -> str:
        """Return the rule's id."""

    @property
    def entity(self) -> str:
        """Return what it is about."""

    @property
    def kind(self) -> str:
        """Return the kind of facility."""

    @property
    def district(self) -> str:
        """Return the district."""

    @property
    def severity(self) -> str:
        """Return how grave it is."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """A silence or a maintenance window.

    Attributes:
        id: its number.
        sort: SILENCE or MAINTENANCE.
        matchers: patterns (``*``, ``?``, ``[…]``) by name of MATCHERS; all must match.
        from_ms, until_ms: when it holds, ``until_ms`` not included.
        who, why: who made it, and the reason given.
    """

    id: int
    sort: str
    matchers: Mapping[str, str]
    from_ms: int
    until_ms: int
    who: str
    why: str

    def holds(self, now_ms: int) -> bool:
        """Return whether it holds now."""
        return self.from_ms <= now_ms < self.until_ms

    @property
    def mark(self) -> str:
        """Return what an alert is called that it means."""
        return OUT_OF_SERVICE if self.sort == MAINTENANCE else SILENCED


def problems(matchers: Mapping[str, str]) -> list[str]:
    """Return what is wrong with matchers that a person wrote."""
    found = [f"'{name}' is no matcher; known: {', '.join(MATCHERS)}" for name in matchers if name not in MATCHERS]
    if not any(value for value in matchers.values()):
        found.append(f"needs at least one of {', '.join(MATCHERS)}; what matches everything stops every notice")
    return found


class Matcher:
    """Matches alerts against silences and windows.

    Args:
        registry: asked for the registry, by which roads and cabinets of devices are known.
    """

    def __init__(self, registry: Callable[[], Registry]) -> None:
        self._registry = registry
        self._seen: Registry | None = None
        self._out: frozenset[str] = frozenset()

    def out_of_service(self) -> frozenset[str]:
        """Return the entities that the registry has out of service (the fact ``out_of_service`` is 1)."""
        registry = self._registry()
        if registry is not self._seen:
            rows = np.flatnonzero(registry.fact(OUT_OF_SERVICE) > 0)
            self._out = frozenset(f"device:{registry.id_of(int(row))}" for row in rows)
            self._seen = registry
        return self._out

    def mark(self, quiets: Sequence[Quiet], alert: Alertlike) -> str:
        """Return why an alert is quiet, as ``silenced 3``; empty for not."""
        if alert.entity in self.out_of_service():
            return f"{OUT_OF_SERVICE} by the registry"
        found = self.first(quiets, alert)
        return "" if found is None else f"{found.mark} {found.id}"

    def means(self, quiet: Quiet, alert: Alertlike) -> bool:
        """Return whether a silence or window means an alert, whenever it holds."""
        return all(
            self._fits(name, pattern, alert)
            for name, pattern in sorted(quiet.matchers.items(), key=lambda one: one[0] in NEED_PLACE)
        )

    def first(self, quiets: Sequence[Quiet], alert: Alertlike) -> Quiet | None:
        """Return the first that means an alert, windows before silences; None for none."""
        for quiet in sorted(quiets, key=lambda one: (one.sort != MAINTENANCE, one.id)):
            if self.means(quiet, alert):
                return quiet
        return None

    def _fits(self, name: str, pattern: str, alert: Alertlike) -> bool:
        if name in NEED_PLACE:
            about = subject(self._registry(), alert.entity, alert.kind)
            return fnmatchcase(getattr(about, name), pattern)
        if name == "entity":
            return fnmatchcase(alert.entity, pattern) or fnmatchcase(alert.entity.partition(":")[2], pattern)
        return fnmatchcase(getattr(alert, name), pattern)
