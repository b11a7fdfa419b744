"""Section out: three and more poles in a row on one circuit that are dark. One cause, however few of all they are.

Three adjacent lights out head the fault list of a city's maintenance contract; with 1 % of lamps out by chance they
stand side by side in 0.48 of 10,000 nights of a 50-lamp road (docs/sources.md, lighting).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alerts.every import Every
from alerts.fleet import Fleet
from alerts.judge import State
from alerts.keys import Keys
from alerts.lighting import Sight
from alerts.lighting_settings import FRESH
from alerts.messages import transition
from alerts.rules import Rule
from alerts.spans import Span, report_s, span
from alerts.standing import Standing
from devices.batch import Batch
from devices.kinds import Kind
from devices.registry import Registry
from devices.sky import Sky
from devices.transition import ACTIVE, CLEARED, Transition
from devices.yamlfile import Node

VALUES = ("poles", "first_pole", "last_pole", "known", "expected")
UNKNOWN_MOST = 2  # poles of which nothing is known that may lie between two of a row

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Params:
    """A section rule's own keys.

    Attributes:
        poles: so many dark ones in a row are an alert.
        off_poles: fewer than this many in a row end it.
        lit_share: of the power due, above which a lamp burns.
        fresh: a lamp silent for longer is unknown.
        settle_ms: after the switch-on, before lamps count.
        every_ms: how often it is worked out.
        coverage: share of a circuit's poles that must be known before an alert ends.
    """

    poles: int = 3
    off_poles: int = 2
    lit_share: float = 0.3
    fresh: Span = FRESH
    settle_ms: int = 900_000
    every_ms: int = 60_000
    coverage: float = 0.5


def parse(own: Node, kind: Kind, role: str | None) -> Params:  # noqa: ARG001 - every kind of rule is asked alike
    """Check the rule's own keys. Raises ConfigError naming file, line, key and the accepted form."""
    if "power_w" not in kind.field_names():
        raise own.error(f"{kind.name} does not report power_w: nothing says if it burns")
    plain = Params()
    keys = Keys(own, "poles", "off_poles", "lit_share", "fresh", "settle", "every", "coverage")
    params = Params(
        poles=keys.whole("poles", plain.poles, 2, 1000),
        off_poles=keys.whole("off_poles", plain.off_poles, 1, 1000),
        lit_share=keys.number("lit_share", plain.lit_share, 0.01, 1),
        fresh=keys.read("fresh", plain.fresh, span),
        settle_ms=keys.length("settle", plain.settle_ms),
        every_ms=max(keys.length("every", plain.every_ms), 1000),
        coverage=keys.number("coverage", plain.coverage, 0, 1),
    )
    if params.off_poles > params.poles:
        keys.problem("off_poles", f"expected at most poles ({params.poles})")
    keys.done()
    return params


class SectionJudge:
    """A section rule over all circuits; worked out on ticks, from what was last heard of every lamp."""

    def __init__(self, rule: Rule, registry: Registry, sky: Sky) -> None:
        self.rule_id, self.kinds, self.fingerprint = rule.id, (rule.device,), rule.fingerprint
        self._rule, self._registry, self._sky = rule, registry, sky
        params = rule.params
        assert isinstance(params, Params)  # noqa: S101 - the table of rule kinds pairs parse and judge
        self._params = params
        kind = registry.catalog[rule.device]
        role = rule.role or kind.roles[0]
        self._number(registry, registry.rows_of(kind.name, role))
        self._fresh_ms = np.full(len(self._lamps), params.fresh.of(report_s(kind, role)), dtype=np.int64)
        self._sight = Sight(kind.name, self._lamps, params.lit_share)
        self._standing = Standing(self._circuits, rule.for_ms, rule.keep_ms)
        self._pace = Every(params.every_ms)

    def _number(self, registry: Registry, rows: npt.NDArray[np.intp]) -> None:
        """Put poles in the order of their circuits; lamps on one pole are one."""
        box, line, pole = registry.group("cabinet"), registry.group("circuit"), registry.pole_index
        rows = rows[(box.code[rows] >= 0) & (line.code[rows] >= 0) & (pole[rows] >= 0)]
        self._lamps = rows
        lines, places = len(line.names) + 1, int(pole[rows].max(initial=0)) + 1  # one number sorts faster than three
        both = box.code[rows].astype(np.int64) * lines + line.code[rows]
        poles, self._member = np.unique(both * places + pole[rows], return_inverse=True)
        self._pole: Ints = poles % places
        circuits, self._circuit = np.unique(poles // places, return_inverse=True)
        named = zip((circuits // lines).tolist(), (circuits % lines).tolist(), strict=True)
        self._circuits = [f"circuit:{box.names[b]}/{line.names[c]}" for b, c in named]

    def readings(self, fleet: Fleet, batch: Batch, now_ms: int) -> list[Transition]:  # noqa: ARG002 - judged on ticks only
        """Do nothing: the fleet keeps the readings, the tick looks at the poles."""
        return []

    @property
    def due_ms(self) -> int:
        """Return when the poles are looked at again."""
        return self._pace.next_ms

    def tick(self, fleet: Fleet, now_ms: int) -> list[Transition]:
        """Look at every circuit's poles, at most once in ``every``."""
        p = self._params
        if not self._pace.due(now_ms):
            return []
        if not len(self._lamps):
            return []
        lamps = self._sight.look(fleet, now_ms, self._fresh_ms, p.settle_ms)
        due = self._poles(lamps.due)
        lit, known = self._poles(lamps.lit & lamps.due) > 0, self._poles(lamps.known & lamps.due) > 0
        longest, first, last = self._rows(known & ~lit, known)
        size = len(self._circuits)
        expected = np.bincount(self._circuit[due > 0], minlength=size)
        heard = np.bincount(self._circuit[known], minlength=size)
        covered = (heard > 0) & (heard >= p.coverage * expected)
        bad, good = longest >= p.poles, covered & (longest < p.off_poles)
        told = []
        figures = {"poles": longest, "first_pole": first, "last_pole": last, "known": heard, "expected": expected}
        for state, places in zip((ACTIVE, CLEARED), self._standing.judge(now_ms, bad, good), strict=True):
            for k in places.tolist():
                values = {name: float(column[k]) for name, column in figures.items()}
                told.append(self._tell(k, state, now_ms, values))
        return told

    def _poles(self, mask: npt.NDArray[np.bool_]) -> Ints:
        return np.bincount(self._member[mask], minlength=len(self._pole)).astype(np.int64)

    def _rows(self, out: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_]) -> tuple[Ints, Ints, Ints]:
        """Return of every circuit's longest row of dark poles the length, the first pole and the last."""
        at = np.flatnonzero(known)
        dark, circuit = out[at], self._circuit[at]
        begins = np.ones(len(at), dtype=bool)
        begins[1:] = ~dark[1:] | ~dark[:-1] | (circuit[1:] != circuit[:-1]) | (np.diff(at) > UNKNOWN_MOST + 1)
        row = np.cumsum(begins) - 1
        length = np.bincount(row[dark], minlength=int(row[-1]) + 1 if len(row) else 0)
        head = np.flatnonzero(begins)
        longest, first, last = (np.zeros(len(self._circuits), dtype=np.int64) for _ in range(3))
        order = np.argsort(length, kind="stable")
        order = order[length[order] > 0]
        where = circuit[head[order]]
        longest[where] = length[order]  # of several the last written stays: the longest
        first[where] = self._pole[at[head[order]]]
        last[where] = self._pole[at[head[order] + length[order] - 1]]
        return longest, first, last

    def _tell(self, at: int, state: str, now_ms: int, values: dict[str, float]) -> Transition:
        values |= {"value": values["poles"], "threshold": float(self._params.poles)}
        members = self._lamps[self._circuit[self._member] == at]
        lon, lat = self._registry.lon[members], self._registry.lat[members]
        fixed = ~(np.isnan(lon) | np.isnan(lat))
        where = (float(lon[fixed].mean()), float(lat[fixed].mean())) if fixed.any() else None
        about = (self._rule, self._registry, self._sky, self._circuits[at], state, now_ms)
        return transition(*about, int(self._standing.onset_ms[at]), values, "", where)

    def open(self) -> Mapping[str, int]:
        """Return the circuits with an open alert, with the onset of each."""
        return self._standing.open()

    def pending(self) -> Mapping[str, int]:
        """Return the circuits with too many dark poles in a row, not yet for long enough."""
        return self._standing.pending()

    def save(self) -> State:
        """Return the whole state, by circuit."""
        return self._pace.save() | self._standing.save()

    def load(self, state: State) -> None:
        """Take over a saved state; circuits that are gone are let go."""
        self._pace.load(state)
        self._standing.load(state)
