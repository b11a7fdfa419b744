"""Who speaks and should not: how many unknown devices there were lately, and where most of them claim to belong.

Memory does not grow with their number: distinct ids are counted by a bitmap for every five minutes (linear counting,
Whang et al. 1990: with 262,144 bits about 1 % off at a hundred thousand ids, 2 % at a million), and the commonest
topics by a list of 64 (Misra and Gries 1982: whatever makes up more than a 64th is on it).
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from devices.payloads import Reject

SLOT_MS = 300_000
SLOTS = 12  # an hour
BITS = 1 << 18
PREFIXES = 64
MANY = 200  # messages of strangers in five minutes that a log line is owed
PREFIX_CHARS = 12

_HEAD = re.compile(r"[a-z_-]*[a-z]?")


@dataclass(slots=True)
class _Slot:
    """Five minutes.

    Attributes:
        seen: one bit an id, by its checksum.
        messages: how many.
        prefixes: the commonest beginnings of topics, with counts that err by what was taken off.
    """

    seen: bytearray = field(default_factory=lambda: bytearray(BITS // 8))
    messages: int = 0
    prefixes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """The last hour.

    Attributes:
        devices: about how many unknown ids; a lower bound from three million on.
        messages: how many messages they sent.
        prefix: ``kind/beginning`` of most of them, empty where there were none.
        share: of the messages that this prefix makes up, 0 to 1, at least.
        impostors: messages that named another device than their topic.
    """

    devices: int
    messages: int
    prefix: str
    share: float
    impostors: int


class Strangers:
    """Counts messages of unknown devices and of devices that claim another's name, over the last hour."""

    def __init__(self) -> None:
        self._slots: dict[int, _Slot] = {}
        self._impostors: dict[int, int] = {}

    def note(self, rejects: Iterable[Reject], now_ms: int) -> bool:
        """Take notice of rejects, of which only some concern strangers.

        Args:
            rejects: of one group.
            now_ms: host time, epoch milliseconds.

        Returns:
            whether the messages of strangers have become many just now; once in five minutes at most.
        """
        many = False
        number = now_ms // SLOT_MS
        for reject in rejects:
            if reject.reason == "unknown_device":
                slot = self._slots.get(number) or self._new(number)
                slot.messages += 1
                many = many or slot.messages == MANY
                bit = zlib.crc32(reject.device_id.encode()) % BITS
                slot.seen[bit >> 3] |= 1 << (bit & 7)
                _count(slot.prefixes, prefix_of(reject))
            elif reject.reason == "identity":
                self._impostors[number] = self._impostors.get(number, 0) + 1
                self._forget(number)
        return many

    def report(self, now_ms: int) -> Report:
        """Return what the last hour brought."""
        number = now_ms // SLOT_MS
        slots = [slot for at, slot in self._slots.copy().items() if number - SLOTS < at <= number]
        impostors = sum(n for at, n in self._impostors.copy().items() if number - SLOTS < at <= number)
        messages = sum(slot.messages for slot in slots)
        if not messages:
            return Report(0, 0, "", 0.0, impostors)
        seen = np.bitwise_or.reduce([np.frombuffer(bytes(slot.seen), np.uint8) for slot in slots])
        prefixes: dict[str, int] = {}
        for slot in slots:
            for prefix, number_of in slot.prefixes.copy().items():
                prefixes[prefix] = prefixes.get(prefix, 0) + number_of
        most = max(prefixes, key=lambda prefix: prefixes[prefix], default="")
        return Report(_distinct(seen), messages, most, prefixes.get(most, 0) / messages, impostors)

    def _new(self, number: int) -> _Slot:
        self._forget(number)
        self._slots[number] = slot = _Slot()
        return slot

    def _forget(self, number: int) -> None:
        """Forget what is over an hour old, or later than now after the clock was set back."""
        for kept in (self._slots, self._impostors):
            for old in [at for at in kept if not number - SLOTS < at <= number]:
                del kept[old]


def prefix_of(reject: Reject) -> str:
    """Return kind and the letters that an id begins with: what ids that were made up in a row have in common."""
    found = _HEAD.match(reject.device_id)
    head = (found.group() if found else "")[:PREFIX_CHARS]
    return f"{reject.kind}/{head or reject.device_id[:2]}"


def _count(counts: dict[str, int], key: str) -> None:
    if key in counts or len(counts) < PREFIXES:
        counts[key] = counts.get(key, 0) + 1
        return
    for other in list(counts):
        counts[other] -= 1
        if not counts[other]:
            del counts[other]


def _distinct(seen: npt.NDArray[np.uint8]) -> int:
    free = BITS - int(np.unpackbits(seen).sum())
    return round(BITS * math.log(BITS / max(free, 1)))
