"""Which alert was about which fault: event matching along the topology, for many thousands of both at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulators.card.topology import Topology, as_lists, spread
from simulators.faults import NEVER_MS, Fault

Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

PAIRS_MOST = 4_000_000  # pairs of alert and fault looked at in one go: 100 MB
NOTHING = -1


class Said(NamedTuple):
    """One alert, from its beginning to its end.

    Attributes:
        rule, entity, severity: as the rule tells them.
        onset_ms: when its condition first held.
        told_ms: when it was decided: what a crew would have seen.
        until_ms: when it ended, NEVER_MS where it was still open at the end.
        suppressed: another alert explains it, so nobody was called for it.
        incident: what it was gathered into with others, for which people are told together; empty for none.
    """

    rule: str
    entity: str
    severity: str
    onset_ms: int
    told_ms: int
    until_ms: int
    suppressed: bool = False
    incident: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """What became of every alert and of every fault.

    Attributes:
        true: (alerts,) whether a true fault explains it.
        fault: (alerts,) the fault that it is counted for, NOTHING for a false alarm.
        beside: (alerts,) for a false alarm, the confounder or else the fault of other rules that was there at the
            time, NOTHING where nothing was.
        first_ms: (faults,) when the first notified alert about it was told, NEVER_MS where none was.
        first: (faults,) that alert, NOTHING where none was.
        own_ms: (faults,) the same for alerts of the one rule that must say it.
        found: (faults,) said itself, or its parent was.
        alerts: (faults,) notified alerts that are counted for it.
        told: (faults,) incidents that these were gathered into: how many times a crew was called for it.
        cascade: (faults,) suppressed alerts about it.
        judged: (faults,) rows that it touches, as a count; none where its entity is unknown.
    """

    true: Mask
    fault: Places
    beside: Places
    first_ms: Ints
    first: Places
    own_ms: Ints
    found: Mask
    alerts: Ints
    told: Ints
    cascade: Ints
    judged: Ints


def match(
    said: Sequence[Said],
    faults: Sequence[Fault],
    topology: Topology,
    says: Mapping[str, Sequence[str]],
    grace_ms: Mapping[str, int],
) -> Match:
    """Match alerts with faults.

    An alert is about a fault when its rule may say it, when the two touch a device in common (the alert's entity being
    the fault's, above it or below it), and when it was told while the fault held or within its grace after.

    Args:
        said: alerts.
        faults: the truth; confounders among them explain nothing.
        topology: who stands in whom.
        says: by kind of fault the rules that may say it; the fault's own rule always may.
        grace_ms: by kind of fault how long after its end an alert may still begin.
    """
    touched, fault_bounds = as_lists([topology.touched(fault.entity, fault.targets) for fault in faults])
    truth = _Truth(said, faults, says, grace_ms)
    names, of_entity = np.unique(np.array([one.entity for one in said], dtype=np.str_), return_inverse=True)
    rows, entity_bounds = as_lists([topology.rows(str(name)) for name in names])
    near, near_bounds = _neighbours(rows, entity_bounds, touched, fault_bounds, len(topology.registry))
    pieces = [truth.judge(*pair) for pair in _pairs(of_entity.astype(np.intp), near, near_bounds)]
    about = [np.concatenate([piece[k] for piece in pieces]) if pieces else np.zeros(0, np.intp) for k in range(4)]
    return _gather(truth, about[0], about[1], about[2], about[3], np.diff(fault_bounds))


class _Truth:
    """The alerts and faults as columns."""

    def __init__(
        self,
        said: Sequence[Said],
        faults: Sequence[Fault],
        says: Mapping[str, Sequence[str]],
        grace_ms: Mapping[str, int],
    ) -> None:
        rules = {name: number for number, name in enumerate(sorted({one.rule for one in said}))}
        kinds = {name: number for number, name in enumerate(sorted({fault.kind for fault in faults}))}
        self.rule = np.array([rules[one.rule] for one in said], dtype=np.intp)
        self.told_ms = np.array([one.told_ms for one in said], dtype=np.int64)
        self.quiet = np.array([one.suppressed for one in said], dtype=np.bool_)
        self.entity = np.array([one.entity for one in said], dtype=np.str_)
        named: dict[str, int] = {}
        numbers = [named.setdefault(one.incident or f" {k}", len(named)) for k, one in enumerate(said)]
        self.incident = np.array(numbers, dtype=np.int64)
        self.kind = np.array([kinds[fault.kind] for fault in faults], dtype=np.intp)
        self.own = np.array([rules.get(fault.rule, NOTHING) for fault in faults], dtype=np.intp)
        self.on_ms = np.array([fault.on_ms for fault in faults], dtype=np.int64)
        grace = np.array([grace_ms.get(fault.kind, 0) for fault in faults], dtype=np.int64)
        off = np.array([fault.off_ms for fault in faults], dtype=np.int64)
        self.until_ms = np.where(off >= NEVER_MS - grace, NEVER_MS, off + grace)
        self.confounder = np.array([fault.confounder for fault in faults], dtype=np.bool_)
        self.place = np.array([fault.entity for fault in faults], dtype=np.str_)
        ids = {fault.id: number for number, fault in enumerate(faults)}
        self.parent = np.array([ids.get(fault.parent, NOTHING) for fault in faults], dtype=np.intp)
        self.may = np.zeros((len(kinds), max(1, len(rules))), dtype=np.bool_)
        for kind, number in kinds.items():
            for rule in says.get(kind, ()):
                if rule in rules:
                    self.may[number, rules[rule]] = True

    def judge(self, alert: Places, fault: Places) -> tuple[Places, Places, Places, Places]:
        """Return the pairs of alert and fault that explain each other, and those that only met."""
        told = self.told_ms[alert]
        met = (told >= self.on_ms[fault]) & (told <= self.until_ms[fault])
        alert, fault = alert[met], fault[met]
        may = self.may[self.kind[fault], self.rule[alert]] | (self.own[fault] == self.rule[alert])
        may &= ~self.confounder[fault]
        return alert[may], fault[may], alert[~may], fault[~may]


def _neighbours(
    rows: Places, entity_bounds: Ints, touched: Places, fault_bounds: Ints, devices: int
) -> tuple[Places, Ints]:
    """Return the faults that touch a device in common with each entity, end to end, and where each list begins."""
    entities, faults = len(entity_bounds) - 1, len(fault_bounds) - 1
    of_fault = np.repeat(np.arange(faults), np.diff(fault_bounds))
    order = np.argsort(touched, kind="stable")
    at_row = np.searchsorted(touched[order], np.arange(devices + 1)).astype(np.int64)
    keys: list[Ints] = []
    sizes = np.diff(entity_bounds)
    costs = np.concatenate([[0], np.cumsum(np.diff(at_row)[rows])])[entity_bounds]
    first = 0
    while first < entities:
        last = max(first + 1, int(np.searchsorted(costs, costs[first] + PAIRS_MOST, side="right")) - 1)
        cut = slice(entity_bounds[first], entity_bounds[last])
        places, of = spread(at_row, rows[cut])
        entity = np.repeat(np.arange(first, last), sizes[first:last])[of]
        keys.append(np.unique(entity * max(1, faults) + of_fault[order[places]]))
        first = last
    key = np.concatenate(keys) if keys else np.zeros(0, dtype=np.int64)
    entity, fault = np.divmod(key, max(1, faults))
    return fault.astype(np.intp), np.searchsorted(entity, np.arange(entities + 1)).astype(np.int64)


def _pairs(of_entity: Places, near: Places, near_bounds: Ints) -> list[tuple[Places, Places]]:
    """Return pairs of alert and fault that touch a device in common, in pieces of bearable size."""
    sizes = np.diff(near_bounds)[of_entity]
    total = np.concatenate([[0], np.cumsum(sizes)])
    out, first = [], 0
    while first < len(of_entity):
        last = max(first + 1, int(np.searchsorted(total, total[first] + PAIRS_MOST, side="right")) - 1)
        places, of = spread(near_bounds, of_entity[first:last])
        out.append((of + first, near[places]))
        first = last
    return out


def _gather(truth: _Truth, alert: Places, fault: Places, stray: Places, bystander: Places, judged: Ints) -> Match:
    alerts, faults = len(truth.rule), len(truth.kind)
    true = np.zeros(alerts, dtype=np.bool_)
    true[alert] = True
    of = np.full(alerts, NOTHING, dtype=np.intp)
    same = truth.entity[alert] == truth.place[fault]
    own = truth.own[fault] == truth.rule[alert]
    of[alert], _ = _best(alert, fault, (truth.on_ms[fault], same, own))
    beside = np.full(alerts, NOTHING, dtype=np.intp)
    left = ~true[stray]
    stray, bystander = stray[left], bystander[left]
    if len(stray):
        beside[stray], _ = _best(stray, bystander, (truth.on_ms[bystander], truth.confounder[bystander]))
    loud = ~truth.quiet[alert]
    first_ms, first = _first(truth, alert[loud], fault[loud], faults)
    mine = loud & own
    own_ms, _ = _first(truth, alert[mine], fault[mine], faults)
    found = first_ms < NEVER_MS
    found |= (truth.parent >= 0) & found[truth.parent]
    counted = of[true & ~truth.quiet]
    calls = np.unique(counted * np.int64(alerts + 1) + truth.incident[true & ~truth.quiet]) // (alerts + 1)
    hushed = of[true & truth.quiet]
    return Match(
        true, of, beside, first_ms, first, own_ms, found, np.bincount(counted, minlength=faults),
        np.bincount(calls, minlength=faults), np.bincount(hushed, minlength=faults), judged,
    )  # fmt: skip


def _best(alert: Places, fault: Places, marks: tuple[npt.NDArray[np.generic], ...]) -> tuple[Places, Places]:
    """Return for each of the pairs the fault that its alert fits best: the last mark counts most, more is better."""
    if not len(alert):
        return fault, alert
    order = np.lexsort((*marks, alert))
    last = np.flatnonzero(np.diff(alert[order], append=NOTHING))
    chosen = fault[order[last]]
    number = np.searchsorted(alert[order[last]], alert)
    return chosen[number], order[last]


def _first(truth: _Truth, alert: Places, fault: Places, faults: int) -> tuple[Ints, Places]:
    """Return for each fault the time of its first alert, and that alert."""
    when = np.full(faults, NEVER_MS, dtype=np.int64)
    which = np.full(faults, NOTHING, dtype=np.intp)
    order = np.lexsort((truth.told_ms[alert], fault))
    lead = np.flatnonzero(np.diff(fault[order], prepend=NOTHING))
    when[fault[order[lead]]] = truth.told_ms[alert[order[lead]]]
    which[fault[order[lead]]] = alert[order[lead]]
    return when, which
