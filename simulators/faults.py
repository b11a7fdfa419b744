"""Faults with their truth: what is broken, from when to when, and which rule must have said so by when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from simulators.injectors import drainage, lighting, manholes, system, trucks
from simulators.machine import Ints, Mask

NEVER_MS = np.iinfo(np.int64).max

FAMILIES = {
    "lighting": lighting.INJECTORS,
    "drainage": drainage.INJECTORS,
    "seepage": drainage.SLOW,
    "manholes": manholes.INJECTORS,
    "trucks": trucks.INJECTORS,
    "system": system.INJECTORS,
}
KINDS = {injector.kind: injector for family in FAMILIES.values() for injector in family}
EFFECTS = {kind: injector.effect for kind, injector in KINDS.items()}  # what is told to the machine


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, and what must be said about it.

    Attributes:
        id: unique in its script.
        kind: one of KINDS.
        rule: id of the rule that must say it; empty for a confounder.
        entity: what that rule must name: ``device:…``, ``road:…``, ``cabinet:…`` or ``grid:…``.
        on_ms, off_ms: city time between which it holds; ``off_ms`` NEVER_MS for what is not repaired.
        due_ms: latest city time by which the rule must have said it.
        magnitude: how much; its meaning stands with the kind, see :class:`~simulators.injectors.form.Injector`.
        targets: device ids that are touched.
        seen_ms: send time of the first message that shows it; 0 until there is one.
        parent: id of the fault of which this one is a part, and which explains it; empty where there is none.
    """

    id: str
    kind: str
    rule: str
    entity: str
    on_ms: int
    off_ms: int
    due_ms: int
    magnitude: float = 1.0
    targets: tuple[str, ...] = ()
    seen_ms: int = 0
    parent: str = ""

    @property
    def confounder(self) -> bool:
        """Return whether it only looks like a fault, and nothing may be said."""
        return KINDS[self.kind].confounder


class Spells:
    """Intervals during which an effect holds, for each of a kind's devices.

    Args:
        devices: device ids, in the order of the machine's columns.
        faults: those with the effect; targets that are not among ``devices`` are passed over.
    """

    def __init__(self, devices: Sequence[str], faults: Iterable[Fault]) -> None:
        place = {device: number for number, device in enumerate(devices)}
        self.items: list[tuple[Fault, npt.NDArray[np.intp]]] = []
        for fault in faults:
            touched = np.array([place[t] for t in fault.targets if t in place], dtype=np.intp)
            if len(touched):
                self.items.append((fault, touched))
        self._count = len(devices)
        self._edges = sorted({edge for fault, _ in self.items for edge in (fault.on_ms, fault.off_ms)})
        self._valid = (0, -1)
        self._mask: Mask = np.zeros(self._count, dtype=np.bool_)
        self._size: npt.NDArray[np.float64] = np.ones(self._count)

    def active(self, time_ms: int) -> Mask:
        """Return which devices are touched at ``time_ms``, (n,)."""
        self._update(time_ms)
        return self._mask

    def magnitude(self, time_ms: int) -> npt.NDArray[np.float64]:
        """Return the magnitude for each device touched at ``time_ms``, 1 elsewhere, (n,)."""
        self._update(time_ms)
        return self._size

    def since_ms(self, time_ms: int) -> Ints:
        """Return for each device how long it has been touched at ``time_ms``, -1 where it is not, (n,)."""
        since = np.full(self._count, -1, dtype=np.int64)
        for fault, touched in self.items:
            if fault.on_ms <= time_ms < fault.off_ms:
                since[touched] = time_ms - fault.on_ms
        return since

    def starting(self, from_ms: int, until_ms: int) -> Iterator[tuple[Fault, npt.NDArray[np.intp]]]:
        """Yield faults that begin in [from, until), with the places of their devices."""
        return ((fault, touched) for fault, touched in self.items if from_ms <= fault.on_ms < until_ms)

    def _update(self, time_ms: int) -> None:
        if self._valid[0] <= time_ms < self._valid[1]:
            return
        earlier = [edge for edge in self._edges if edge <= time_ms]
        later = [edge for edge in self._edges if edge > time_ms]
        self._valid = (earlier[-1] if earlier else 0, later[0] if later else NEVER_MS)
        self._mask = np.zeros(self._count, dtype=np.bool_)
        self._size = np.ones(self._count)
        for fault, touched in self.items:
            if fault.on_ms <= time_ms < fault.off_ms:
                self._mask[touched] = True
                self._size[touched] = fault.magnitude


class FaultBook:
    """All faults of a run, what was seen of each, and the truth as JSON lines.

    Raises:
        ValueError: for a kind that is not in KINDS, an id that stands twice, or a fault that ends before it begins.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = {fault.id: fault for fault in faults}
        if len(self.faults) != len(faults):
            raise ValueError("two faults have the same id")
        for fault in faults:
            if fault.kind not in EFFECTS:
                raise ValueError(f"fault {fault.id}: no kind '{fault.kind}'; known: {', '.join(EFFECTS)}")
            if fault.off_ms <= fault.on_ms:
                raise ValueError(f"fault {fault.id}: it ends before it begins")

    def spells(self, effect: str, devices: Sequence[str]) -> Spells:
        """Return when ``effect`` holds on each of ``devices``."""
        return Spells(devices, [fault for fault in self.faults.values() if EFFECTS[fault.kind] == effect])

    def see(self, fault: Fault, time_ms: int) -> None:
        """Note that a message sent at ``time_ms`` shows the fault; only the first counts."""
        known = self.faults[fault.id]
        if known.seen_ms == 0 or time_ms < known.seen_ms:
            self.faults[fault.id] = replace(known, seen_ms=time_ms)

    def see_rows(self, spells: Spells, rows: npt.NDArray[np.intp], times: Ints, from_ms: int) -> None:
        """Note faults that the reports of ``rows`` at ``times`` show, the effects being those at ``from_ms``."""
        for fault, touched in spells.items:
            if fault.on_ms <= from_ms < fault.off_ms and self.faults[fault.id].seen_ms == 0:
                shown = times[np.isin(rows, touched)]
                if len(shown):
                    self.see(fault, int(shown.min()))


def write_truth(path: Path, faults: Iterable[Fault]) -> None:
    """Write faults as JSON lines, one object a fault, keys as the attributes of Fault."""
    path.write_bytes(b"".join(msgspec.json.encode(asdict(fault)) + b"\n" for fault in faults))


def read_truth(path: Path) -> list[Fault]:
    """Read what :func:`write_truth` wrote. Raises msgspec.ValidationError for anything else."""
    decode = msgspec.json.Decoder(Fault).decode
    return [decode(line) for line in path.read_bytes().splitlines() if line.strip()]


def due_before(faults: Iterable[Fault], until_ms: int) -> list[Fault]:
    """Return the faults that must have been said by ``until_ms``."""
    return [fault for fault in faults if fault.due_ms <= until_ms]
