"""What a broker keeps for a house that is away."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Message:
    """One message that the broker accepted; numbers ascend."""

    number: int
    topic: str
    payload: bytes


@dataclass
class Kept:
    """What the broker keeps for the house while it is away, and what it is delivering."""

    queue: deque[Message] = field(default_factory=deque)
    under_way: dict[int, Message] = field(default_factory=dict)
    next_id: int = 1
    subscribed: bool = False

    def copy(self) -> Kept:
        """Return what an autosave writes."""
        return Kept(deque(self.queue), dict(self.under_way), self.next_id, self.subscribed)

    def messages(self) -> set[int]:
        """Return the numbers of all messages kept."""
        return {message.number for message in (*self.queue, *self.under_way.values())}
