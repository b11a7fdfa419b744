"""How much people are told: alarms in ten minutes, floods, and the few rules and places that make most of it.

EEMUA 191: one alarm in ten minutes is manageable in the long run, ten in ten minutes are a flood, which is over below
five; ISA-18.2: less than one per cent of the time in floods, alerts that stand for more than a day are stale, three
changes within a minute are chatter, and about 5 per cent of alarms should be of high priority, 15 of medium
(docs/sources.md).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from alerts.policy import Flood
from devices.transition import SEVERITIES

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
STEADY_MS = 10 * MINUTE_MS  # the budget: one alarm in so long for each operator
CHATTER = 3  # changes within a minute
STALE_MS = 24 * HOUR_MS
WORST = 10


@dataclass(frozen=True, slots=True)
class Told:
    """One notice that somebody was told, at once or in a summary."""

    at_ms: int
    receiver: str
    rule: str
    entity: str
    alarm: bool  # a beginning: what EEMUA counts
    severity: str = SEVERITIES[-1]


@dataclass(frozen=True, slots=True)
class Desk:
    """What one receiver was told.

    Attributes:
        receiver: its name.
        notices, alarms: in the whole time; alarms are beginnings.
        last_10_min: alarms of the latest ten minutes.
        per_hour: alarms an hour on average.
        peak_10_min: alarms in the worst ten minutes.
        budget_share: alarms over one in ten minutes; above 1 is more than an operator can bear for long.
        flood_share: share of the time in floods, 0 to 1.
        in_flood: whether there is one now.
    """

    receiver: str
    notices: int
    alarms: int
    last_10_min: int
    per_hour: float
    peak_10_min: int
    budget_share: float
    flood_share: float
    in_flood: bool


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of a stretch of time.

    Attributes:
        from_ms, until_ms: which.
        desks: by receiver, the busiest first.
        worst: (rule, entity, alarms), the ten that were told most often.
        worst_share: their share of all alarms, 0 to 1.
        severities: alarms by severity, the gravest first; those of which there was none left out.
        chattering: (rule, entity, changes) of those that changed three times or more within a minute, most first.
        standing: alerts that are open now, and of these for longer than a day.
        stale: of them, for longer than a day.
    """

    from_ms: int
    until_ms: int
    desks: tuple[Desk, ...]
    worst: tuple[tuple[str, str, int], ...]
    worst_share: float
    severities: Mapping[str, int]
    chattering: tuple[tuple[str, str, int], ...]
    standing: int
    stale: int


def reckon(
    told: Sequence[Told],
    changes: Mapping[tuple[str, str], Sequence[int]],
    open_since_ms: Iterable[int],
    from_ms: int,
    until_ms: int,
    flood: Flood,
) -> Budget:
    """Return the budget.

    Args:
        told: notices of the time, in any order.
        changes: when alerts began and ended, by rule and entity, epoch milliseconds.
        open_since_ms: since when each open alert is there.
        from_ms, until_ms: the time; ``until_ms`` is now.
        flood: what counts as one.
    """
    by_receiver: dict[str, list[Told]] = defaultdict(list)
    for one in told:
        by_receiver[one.receiver].append(one)
    desks = [_desk(name, notices, from_ms, until_ms, flood) for name, notices in by_receiver.items()]
    # One alarm, however many were told.
    events = {(one.rule, one.entity, one.at_ms): one.severity for one in told if one.alarm}
    counts = Counter((rule, entity) for rule, entity, _ in events)
    grave = Counter(events.values())
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:WORST]
    chatter = [(*pair, _densest(times)) for pair, times in changes.items()]
    since = list(open_since_ms)
    return Budget(
        from_ms,
        until_ms,
        tuple(sorted(desks, key=lambda each: (-each.alarms, each.receiver))),
        tuple((*pair, number) for pair, number in ranked),
        sum(number for _, number in ranked) / len(events) if events else 0.0,
        {name: grave[name] for name in SEVERITIES if grave[name]},
        tuple(sorted((one for one in chatter if one[2] >= CHATTER), key=lambda each: (-each[2], each[0], each[1]))),
        len(since),
        sum(until_ms - at > STALE_MS for at in since),
    )


def _desk(name: str, notices: Sequence[Told], from_ms: int, until_ms: int, flood: Flood) -> Desk:
    times = np.sort(np.array([one.at_ms for one in notices if one.alarm], dtype=np.int64))
    hours = max(until_ms - from_ms, 1) / HOUR_MS
    looks = np.arange(from_ms, until_ms + 1, MINUTE_MS, dtype=np.int64)
    rolling = _within(times, looks, flood.within_ms)
    flooded = _floods(rolling, flood)
    peak = int(_within(times, times, STEADY_MS).max()) if len(times) else 0
    return Desk(
        name,
        len(notices),
        len(times),
        int(_within(times, np.array([until_ms], dtype=np.int64), STEADY_MS)[0]),
        len(times) / hours,
        peak,
        len(times) / (hours * HOUR_MS / STEADY_MS),
        float(flooded.mean()) if len(flooded) else 0.0,
        bool(flooded[-1]) if len(flooded) else False,
    )


def _within(times: npt.NDArray[np.int64], looks: npt.NDArray[np.int64], length_ms: int) -> npt.NDArray[np.int64]:
    """Return how many of the sorted times lie in the window that ends at each look, its end included."""
    return (
        np.searchsorted(times, looks, side="right") - np.searchsorted(times, looks - length_ms, side="right")
    ).astype(np.int64)


def _floods(rolling: npt.NDArray[np.int64], flood: Flood) -> npt.NDArray[np.bool_]:
    """Return at which looks there is a flood: from ``starts`` on until below ``ends``."""
    out = np.zeros(len(rolling), dtype=bool)
    on = False
    for place, number in enumerate(rolling.tolist()):
        on = number >= flood.ends if on else number >= flood.starts
        out[place] = on
    return out


def _densest(times: Sequence[int]) -> int:
    """Return the most changes within a minute."""
    ordered = sorted(times)
    if all(later - earlier > MINUTE_MS for earlier, later in pairwise(ordered)):
        return min(len(ordered), 1)
    found = np.array(ordered, dtype=np.int64)
    return int(_within(found, found, MINUTE_MS).max())
