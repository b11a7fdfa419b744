"""Reading the optional keys of a rule: each with its default and its accepted form, all problems told at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from alerts.spans import duration_ms
from devices.yamlfile import ConfigError, Node

T = TypeVar("T")


class Keys:
    """The keys of one mapping; after the last has been asked for, ``done`` raises what was wrong.

    Args:
        node: the mapping, or None where it was left out and every default holds.
        known: the keys it may have.
    """

    def __init__(self, node: Node | None, *known: str) -> None:
        self.node = node
        self.problems: list[str] = []
        if node is not None:
            try:
                node.only(*known)
            except ConfigError as trouble:
                self.problems.extend(trouble.problems)

    def get(self, key: str) -> Node | None:
        """Return the node under ``key``, or None."""
        if self.node is None or not isinstance(self.node.value, dict):
            return None
        return self.node.get(key)

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """Return a number from ``low`` to ``high``."""
        return self.read(key, float(default), lambda node: node.number(low=low, high=high))

    def whole(self, key: str, default: int, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``."""
        found = self.number(key, default, low, high)
        if found != int(found):
            self.problem(key, f"expected a whole number, found {found}")
        return int(found)

    def length(self, key: str, default: int) -> int:
        """Return a length of time in milliseconds."""
        return self.read(key, default, duration_ms)

    def text(self, key: str, default: str, one_of: tuple[str, ...] = ()) -> str:
        """Return a word, one of ``one_of`` where that is given."""
        return self.read(key, default, lambda node: node.text(one_of=one_of))

    def problem(self, key: str, text: str) -> None:
        """Remember that something is wrong with ``key``."""
        node = self.get(key) or self.node
        self.problems.append(node.problem(text) if node is not None else f"{key}: {text}")

    def under(self, key: str, *known: str) -> Keys:
        """Return the keys of the mapping under ``key``; its problems are told with these."""
        below = Keys(self.get(key), *known)
        below.problems = self.problems + below.problems
        self.problems = below.problems
        return below

    def done(self) -> None:
        """Raise ConfigError with all problems, if there were any."""
        if self.problems:
            raise ConfigError(self.problems)

    def read(self, key: str, default: T, read: Callable[[Node], T]) -> T:
        """Return what ``read`` makes of the node under ``key``, or ``default``; its ConfigError is remembered."""
        node = self.get(key)
        if node is None:
            return default
        try:
            return read(node)
        except ConfigError as trouble:
            self.problems.extend(trouble.problems)
            return default
