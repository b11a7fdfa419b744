"""Staged phones: each receiver takes notices, or is busy, refuses, is slow, or takes one and its answer is lost."""

from __future__ import annotations

from dataclasses import dataclass

from simulators.stage.dice import Dice, Trace
from simulators.stage.workers import pause

MOODS = ("busy", "answer lost", "slow", "refuses", "flaky")
STATUS = {"busy": 503, "answer lost": 502, "refuses": 404}
SLOW_S = 20.0  # longer than the house waits for an answer


@dataclass(frozen=True, slots=True)
class Told:
    """A notice that a phone has shown.

    Attributes:
        at_s: virtual seconds.
        life: which life of the house sent it.
        receiver, key, alert_id, state: what it said.
        answered: whether the house was told so in time.
    """

    at_s: float
    life: int
    receiver: str
    key: str
    alert_id: str
    state: str
    answered: bool


class StagedPhones:
    """All receivers' phones.

    Attributes:
        moods: by receiver, empty when it is well.
        told: notices shown, in order.
        refused: keys that a phone has refused for good, as ``(receiver, key)``.
    """

    def __init__(self, dice: Dice, trace: Trace) -> None:
        self._dice, self._trace = dice, trace
        self.moods: dict[str, str] = {}
        self.told: list[Told] = []
        self.refused: set[tuple[str, str]] = set()

    def ring(self, receiver: str, key: str, alert_id: str, state: str, life: int, now_s: float) -> int:
        """Take one notice; return the HTTP status that the house gets to see."""
        mood = self.moods.get(receiver, "")
        if mood == "flaky":
            mood = self._dice.pick(("", "busy", "answer lost", "slow"))
        if mood == "busy":
            self._trace.note(f"phone {receiver} busy {key}")
            return STATUS[mood]
        if mood == "refuses":
            self.refused.add((receiver, key))
            self._trace.note(f"phone {receiver} refuses {key}")
            return STATUS[mood]
        self.told.append(Told(now_s, life, receiver, key, alert_id, state, not mood))
        self._trace.note(f"phone {receiver} shows {key}{', ' + mood if mood else ''}")
        if mood == "slow":
            pause(SLOW_S)
        return STATUS.get(mood, 200)
