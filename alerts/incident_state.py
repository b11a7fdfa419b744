"""What the incident stage remembers: open alerts, open incidents, who explains whom; saved as bytes without objects."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from alerts.fleet import NEVER_AGAIN
from devices.incident import IncidentChange
from devices.transition import SEVERITIES, Transition

Arrays = dict[str, npt.NDArray[np.generic]]
NAME = "incidents.state"
NAMES_KEPT = 8


@dataclass(slots=True)
class Member:
    """One open alert.

    Attributes:
        begun: its beginning, as it was decided.
        keeper: the unit that looks after what it is about.
        since_ms: host time at which it came.
        incident: id of its incident.
        by: id of the open alert that explains it; empty for none.
        free_ms: host time at which it stands for itself again, what explained it being over; NEVER_AGAIN otherwise.
        parent: what it is told to be explained by, while ``by`` or ``free_ms`` holds.
        turns, closed_ms: of the incident that it led before it was explained: notices, and when that was over.
        ended: its end, where it is over and stays until people have been told of it.
    """

    begun: Transition
    keeper: str
    since_ms: int
    incident: str = ""
    by: str = ""
    free_ms: int = NEVER_AGAIN
    parent: str = ""
    turns: int = 0
    closed_ms: int = 0
    ended: Transition | None = None

    @property
    def id(self) -> str:
        """Return the alert's id."""
        return self.begun.alert_id

    @property
    def heads(self) -> bool:
        """Return whether it stands for itself."""
        return not self.by and self.free_ms == NEVER_AGAIN


@dataclass(slots=True)
class Echo:
    """An alert that is over and that may still explain what shows late: lamps report a quarter of an hour apart.

    Attributes:
        begun: its beginning.
        ended_ms: host time at which it was over.
        parent: what explained it, or itself.
        incident: id of its incident.
    """

    begun: Transition
    ended_ms: int
    parent: str
    incident: str


@dataclass(slots=True)
class Incident:
    """One open incident.

    Attributes:
        id: of the alert that leads it.
        lead: that alert's beginning.
        keeper: whose work it is.
        opened_ms: host time at which it was opened.
        key: alerts of the same key join while it waits; empty for none.
        due_ms: host time at which it is to be told (again); NEVER_AGAIN for never.
        heads: ids of its open alerts that stand for themselves.
        names: of the facilities that its heads were about, the first few.
        devices: entities of single devices among its alerts.
        behind: how many devices lie behind its heads.
        alerts, suppressed: how many alerts it has gathered, and how many of them others explain.
        severity: the gravest so far.
        told_ms: host time of the latest notice, 0 before the first.
        told_severity, told_devices: as that notice said.
        turns: notices worth telling so far.
        stood: alerts that stood for themselves when it was told, all notices together.
        fresh: ids of alerts of another rule that have joined since it was told last, and must be told.
        mixed: how many alerts have joined it as company, of other rules than its first.
    """

    id: str
    lead: Transition
    keeper: str
    opened_ms: int
    key: str = ""
    due_ms: int = NEVER_AGAIN
    heads: dict[str, None] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    devices: dict[str, None] = field(default_factory=dict)
    behind: int = 0
    alerts: int = 0
    suppressed: int = 0
    severity: str = SEVERITIES[-1]
    told_ms: int = 0
    told_severity: str = ""
    told_devices: int = 0
    turns: int = 0
    stood: int = 0
    fresh: list[str] = field(default_factory=list)
    mixed: int = 0

    @property
    def size(self) -> int:
        """Return how many devices it concerns."""
        return max(len(self.devices), self.behind, 1)

    def call(self, begun: Transition) -> None:
        """Take in the name of the facility that an alert is about."""
        name = begun.words.get("zh", {}).get("name") or begun.entity.partition(":")[2]
        if name not in self.names and len(self.names) < NAMES_KEPT:
            self.names.append(name)

    def weigh(self, severity: str) -> None:
        """Take in how grave an alert is."""
        self.severity = min(self.severity, severity, key=SEVERITIES.index)


@dataclass(slots=True)
class Memory:
    """Everything that the stage remembers.

    Attributes:
        now_ms: host time of the latest step.
        members: open alerts by id.
        incidents: open incidents by id.
        echoes: alerts that are over and explained others, by id.
    """

    now_ms: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    echoes: dict[str, Echo] = field(default_factory=dict)

    def set_back(self, back_ms: int) -> None:
        """Let what waits wait no longer because the host's clock was set back."""
        for incident in self.incidents.values():
            incident.due_ms -= back_ms if incident.due_ms != NEVER_AGAIN else 0
            incident.told_ms -= back_ms if incident.told_ms else 0
        for member in self.members.values():
            member.free_ms -= back_ms if member.free_ms != NEVER_AGAIN else 0

    def save(self) -> Arrays:
        """Return it as one array of bytes."""
        return {NAME: np.frombuffer(msgspec.msgpack.encode(self), dtype=np.uint8).copy()}


def load(arrays: Mapping[str, npt.NDArray[np.generic]]) -> Memory:
    """Return what :meth:`Memory.save` gave; an empty memory where there is none, or of a form that is not known."""
    found = arrays.get(NAME)
    if found is None:
        return Memory()
    try:
        return msgspec.msgpack.decode(found.tobytes(), type=Memory)
    except msgspec.DecodeError:
        return Memory()


class Agenda:
    """What is due when, by host time: a heap whose entries may be stale."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []

    @property
    def next_ms(self) -> int:
        """Return when something may be due."""
        return self._heap[0][0] if self._heap else NEVER_AGAIN

    def put(self, due_ms: int, name: str) -> None:
        """Enter something."""
        if due_ms != NEVER_AGAIN:
            heapq.heappush(self._heap, (due_ms, name))

    def take(self, now_ms: int) -> Iterator[tuple[int, str]]:
        """Yield what is due by now, with when it was, in order of time and name; it is gone."""
        while self._heap and self._heap[0][0] <= now_ms:
            yield heapq.heappop(self._heap)

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()


class Step:
    """What happens in one step.

    Attributes:
        now_ms: host time.
        moved: ids of alerts that something else explains now.
        marked: ids of alerts whose incident or explanation is to be written down.
        touched: ids of incidents that changed.
        ended: alerts that are over, by id.
        closed: incidents that are over, with the reason.
        notices: incident, what is to be told, and whether it only repeats.
        owing: ids of alerts that people were told of and that something else explains now: it must be told too.
        gone: incidents that nobody remembers.
    """

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.moved: dict[str, None] = {}
        self.marked: dict[str, None] = {}
        self.touched: dict[str, None] = {}
        self.ended: dict[str, Member] = {}
        self.closed: dict[str, tuple[Incident, str]] = {}
        self.notices: list[tuple[str, Transition, bool]] = []
        self.owing: list[str] = []
        self.gone: list[IncidentChange] = []
