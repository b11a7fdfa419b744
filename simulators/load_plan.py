"""What a load should be, whose turn it is in it, and what has come of it."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from simulators.load_frames import Fault, Faults, Group, Ints

FINEST = 64  # messages for which one group is worth a choice; shares are kept over longer stretches


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send, and how.

    Attributes:
        host, port, tls: the broker; tls is a client context or None.
        username, password: of all connections.
        client_prefix: client ids are this, a dash and a number.
        connections: how many carry all devices; 0 gives every device one of its own.
        qos: 0 or 1.
        rate: messages a second; 0 for as many as the broker takes.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = None
    client_prefix: str = "load"
    connections: int = 4
    qos: int = 1
    rate: float = 0.0


@dataclass(slots=True)
class Sent:
    """What a run has done; messages unless it says readings.

    Attributes:
        messages, accepted, refused, unanswered: as Tally has them, over all groups.
        readings: accepted readings by kind.
        seconds: from the first to the last message.
        behind: the most messages that were due and could not be sent yet.
        ahead_ms: the most that a reading's time was put ahead of the clock, so that no device says two things at once.
        losses, trouble: connections that broke, and the latest reason.
        faults: faults that were told.
    """

    messages: int = 0
    accepted: int = 0
    refused: int = 0
    unanswered: int = 0
    readings: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    behind: int = 0
    ahead_ms: int = 0
    connects: int = 0
    losses: int = 0
    trouble: str = ""
    faults: list[Fault] = field(default_factory=list)


class Turn:
    """Whose turn it is among the groups, each by its share; who owes most goes first, a message by its readings."""

    def __init__(self, shares: npt.NDArray[np.float64], readings: npt.NDArray[np.int64] | None = None) -> None:
        self._shares = shares / max(shares.sum(), 1e-12)
        self._weights = np.ones(len(shares)) if readings is None else readings
        self._owed = np.zeros(len(shares))

    def choose(self, count: int, able: npt.NDArray[np.bool_] | None = None) -> int:
        """Return the group that should send next."""
        owed = (self._owed + self._shares * min(count, FINEST)) * self._weights
        return int((owed if able is None else np.where(able, owed, -np.inf)).argmax())

    def took(self, group: int, count: int) -> None:
        """Note what a group has sent."""
        self._owed += self._shares * count
        self._owed[group] -= count


class Queue:
    """The devices of one lane in one group, one after the other."""

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high, self._next = low, high, low

    def take(self, count: int) -> Ints:
        """Return the rows of the next devices, at most ``count``."""
        rows = np.arange(self._next, min(self._next + count, self._high))
        self._next = self._low if rows[-1] + 1 == self._high else int(rows[-1]) + 1
        return rows


def choose_faults(groups: Sequence[Group], share: float, seed: int, from_ms: int, until_ms: int) -> int:
    """Choose the devices that go wrong between two moments, the given share of each kind; return how many.

    Groups whose fault no rule tells of stay well.
    """
    rng = np.random.default_rng([seed, 17])
    total = 0
    for group in groups:
        number = round(share * len(group)) if group.spoken.rule else 0
        rows = np.sort(rng.choice(len(group), number, replace=False)).astype(np.int64)
        times = rng.integers(from_ms, max(from_ms + 1, until_ms), number)
        group.break_down(Faults(rows, times, np.zeros(number, np.int64)))
        total += number
    return total
