"""Faults of one's own for the report card: what a city knows to happen, as a change of what devices report.

A fault says whose readings change and how: ``power_w`` is 1.35 times what it was, ``cover_closed`` is 0. It is laid
over a family's course, on devices that nothing else befalls at the time, and is scored like those of the simulators.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alerts.expressions import Condition, condition
from alerts.spans import duration_ms
from devices.batch import Batch, Floats
from devices.kinds import Catalog, Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.yamlfile import ConfigError, Node, read_yaml
from simulators.course import Course, Diary
from simulators.faults import KINDS, NEVER_MS, Fault
from simulators.injectors.form import Injector

FAMILY_OF = {"streetlight": "lighting", "pump": "drainage", "manhole": "manholes", "truck": "trucks"}
KIND = re.compile(r"^[a-z][a-z0-9_]{1,47}$")
HOWS: dict[str, Callable[[Floats, float], Floats]] = {
    "set": lambda now, by: np.where(np.isnan(now), now, by),  # what a device does not report stays unknown
    "times": lambda now, by: now * by,
    "plus": lambda now, by: now + by,
}
CALM_MS = 6 * 3_600_000  # between two faults of one device


@dataclass(frozen=True, slots=True)
class OwnFault:
    """A kind of fault as written.

    Attributes:
        kind: its name.
        about: what happens, in a sentence.
        device, role: whose readings change.
        changes: field, ``set``, ``times`` or ``plus``, and by how much.
        when: only readings for which this holds change; None for all.
        lasts_ms: shortest and longest.
        rules: that may say it; the first must.
        confounder: it is no fault, and nothing may be said.
        each: so many a course; None for as many as the course has of each of its own.
    """

    kind: str
    about: str
    device: str
    role: str
    changes: tuple[tuple[str, str, float], ...]
    when: Condition | None
    lasts_ms: tuple[int, int]
    rules: tuple[str, ...]
    confounder: bool
    each: int | None

    @property
    def family(self) -> str:
        """Return whose courses it is laid over."""
        return FAMILY_OF[self.device]


def load_own_faults(path: Path, catalog: Catalog) -> tuple[OwnFault, ...]:
    """Read and check a file of faults. Raises ConfigError with every problem, each naming file, line and key."""
    root = read_yaml(path)
    root.only("faults")
    found: list[OwnFault] = []
    problems: list[str] = []
    for node in root.need("faults").elements():
        try:
            found.append(_fault(node, catalog))
        except ConfigError as trouble:
            problems += trouble.problems
    if problems:
        raise ConfigError(problems)
    return tuple(found)


def _fault(node: Node, catalog: Catalog) -> OwnFault:
    node.only("kind", "about", "device", "role", "change", "when", "lasts", "rules", "confounder", "each")
    name = node.need("kind").text()
    if not KIND.fullmatch(name):
        raise node.need("kind").error(f"2 to 48 of a-z, 0-9 and _, beginning with a letter; found '{name}'")
    if name in KINDS and KINDS[name].effect:
        raise node.need("kind").error(f"'{name}' is a kind of the simulators already; call yours otherwise")
    kind = catalog[node.need("device").text(one_of=tuple(one for one in FAMILY_OF if one in catalog.kinds))]
    role = node.need("role").text(one_of=kind.roles)
    rules, confounder = node.get("rules"), node.get("confounder")
    if confounder is not None and not isinstance(confounder.value, bool):
        raise confounder.error("expected true or false")
    sham = confounder is not None and bool(confounder.value)
    if rules is None and not sham:
        raise node.error("the key 'rules' is missing: ids of the rules that may say it, the first of them must")
    when, each, about = node.get("when"), node.get("each"), node.get("about")
    return OwnFault(
        name, about.text() if about is not None else "", kind.name, role, _changes(node.need("change"), kind, role),
        _when(when, kind, role) if when is not None else None, _lasts(node.need("lasts")),
        tuple(one.text() for one in rules.elements()) if rules is not None else (), sham,
        None if each is None else int(each.number(low=1, high=100_000)),
    )  # fmt: skip


def _changes(node: Node, kind: Kind, role: str) -> tuple[tuple[str, str, float], ...]:
    own = {one.name: one for one in kind.fields if not one.roles or role in one.roles}
    out = []
    for name, how in node.items():
        if name not in own:
            raise how.error(f"a {role} of {kind.name} has no field '{name}'; it has {', '.join(own)}")
        how.only(*HOWS)
        out += [(name, word, amount.number()) for word, amount in how.items()]
    if not out:
        raise node.error("says nothing that changes; expected such as {power_w: {times: 1.35}}")
    return tuple(out)


def _when(node: Node, kind: Kind, role: str) -> Condition:
    found = condition(node, kind, role)
    strange = [name for name in found.names if name not in kind.field_names()]
    if strange:
        raise node.error(f"only fields of the reading can be asked about here, not '{strange[0]}'")
    return found


def _lasts(node: Node) -> tuple[int, int]:
    listed = node.elements() if isinstance(node.value, list) else [node, node]
    if len(listed) != 2:
        raise node.error("expected a length of time, or the shortest and the longest, such as [2h, 6h]")
    low, high = (duration_ms(one) for one in listed)
    if not 0 < low <= high:
        raise node.error("expected a length of time, or the shortest and the longest, such as [2h, 6h]")
    return low, high


def declare(faults: Iterable[OwnFault]) -> None:
    """Make kinds known under their names, in this process: a fault says by its kind whether it is a confounder."""
    for one in faults:
        KINDS[one.kind] = Injector(one.kind, "", one.about, one.rules, confounder=one.confounder)


class Overlaid:
    """A course with faults of one's own laid over it.

    Args:
        course: what else happens.
        own: the faults.
        seed: what devices and times are drawn from.
        each: faults of each kind that does not say itself.
    """

    def __init__(self, course: Course, own: Sequence[OwnFault], seed: int, each: int) -> None:
        self._course, self._own = course, {one.kind: one for one in own}
        self.name: str = course.name
        self.registry: Registry = course.registry
        self.sky: Sky = course.sky
        self.start_ms, self.end_ms = course.start_ms, course.end_ms
        self._faults = self._draw(np.random.default_rng([seed, 91]), each)
        self._seen: dict[str, int] = {}
        self._rows = np.array([course.registry.row[one.targets[0]] for one in self._faults], dtype=np.int64)
        self._spans = np.array([(one.on_ms, one.off_ms) for one in self._faults], dtype=np.int64).reshape(-1, 2)

    def _draw(self, rng: np.random.Generator, each: int) -> list[Fault]:
        others = [one for one in self._others() if one.on_ms > self.start_ms]
        diary = Diary(CALM_MS)
        for other in others:
            until = min(other.off_ms, self.end_ms)
            for target in other.targets:
                diary.take(target, other.on_ms, until)
        # Where the course's own faults begin, what rules need to learn has been seen.
        first = min((one.on_ms for one in others), default=self.start_ms)
        out: list[Fault] = []
        for kind in self._own.values():
            devices = self.registry.ids_of(self.registry.rows_of(kind.device, kind.role))
            for number in range((each if kind.each is None else kind.each) if devices else 0):
                lasts = round(float(rng.uniform(*kind.lasts_ms)))
                found = diary.place(rng, devices, (first, self.end_ms), lasts)
                if found is not None:
                    rule = kind.rules[0] if kind.rules else ""
                    about = (f"own-{kind.kind}-{number}", kind.kind, rule, f"device:{found[0]}")
                    out.append(Fault(*about, found[1], found[2], NEVER_MS, 1.0, (found[0],)))
        return out

    def _others(self) -> Sequence[Fault]:
        book = getattr(self._course, "book", None)
        return list(book.faults.values()) if book is not None else self._course.truth()

    def steps(self) -> Iterator[tuple[int, list[Batch]]]:
        """Yield what the course does, changed where a fault holds."""
        for now_ms, batches in self._course.steps():
            yield now_ms, [self._changed(batch) for batch in batches]

    def _changed(self, batch: Batch) -> Batch:
        if not len(batch):
            return batch
        first, last = int(batch.time_ms.min()), int(batch.time_ms.max())
        now = np.flatnonzero((self._spans[:, 0] <= last) & (self._spans[:, 1] > first))
        values = batch.values.copy() if len(now) else batch.values
        for k in now.tolist():
            fault = self._faults[k]
            here = np.flatnonzero(batch.device == self._rows[k])
            here = here[(batch.time_ms[here] >= fault.on_ms) & (batch.time_ms[here] < fault.off_ms)]
            if len(here):
                self._befall(fault, batch, values, here)
        return replace(batch, values=values)

    def _befall(self, fault: Fault, batch: Batch, values: Floats, here: npt.NDArray[np.intp]) -> None:
        kind, own = batch.kind, self._own[fault.kind]
        if own.when is not None:
            yes, _ = own.when(lambda name: batch.values[kind.column(name), here])
            here = here[yes]
        for name, how, amount in own.changes:
            column, field = kind.column(name), kind.fields[kind.column(name)]
            now = values[column, here]
            values[column, here] = np.clip(HOWS[how](now, amount), field.low, field.high)
            shown = here[~np.isnan(now)]
            if len(shown):
                seen = int(batch.time_ms[shown].min())
                self._seen[fault.id] = min(seen, self._seen.get(fault.id, seen))

    def truth(self) -> Sequence[Fault]:
        """Return the course's faults and one's own; after the steps, with ``seen_ms``."""
        mine = [replace(one, seen_ms=self._seen.get(one.id, 0)) for one in self._faults]
        return [*self._course.truth(), *mine]
